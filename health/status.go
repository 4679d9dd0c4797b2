// SPDX-License-Identifier: Apache-2.0

// The statuses, with the numbers and names of the schema.

package health

import "strconv"

// A Status is the state of a service, or of a whole server. The numbers are those of
// grpc.health.v1.HealthCheckResponse.ServingStatus.
type Status int32

const (
	// StatusUnknown is a status that was not determined yet.
	StatusUnknown Status = 0
	// StatusServing means that the service takes calls.
	StatusServing Status = 1
	// StatusNotServing means that the service does not take calls now.
	StatusNotServing Status = 2
	// StatusServiceUnknown means that the server does not have the service. It appears in
	// Watch alone: for Check it is an error with CodeNotFound.
	StatusServiceUnknown Status = 3
)

// String returns the status's name in the schema, such as "NOT_SERVING", or "Status(7)"
// for a number that the schema does not have.
func (s Status) String() string {
	switch s {
	case StatusUnknown:
		return "UNKNOWN"
	case StatusServing:
		return "SERVING"
	case StatusNotServing:
		return "NOT_SERVING"
	case StatusServiceUnknown:
		return "SERVICE_UNKNOWN"
	}
	return "Status(" + strconv.Itoa(int(s)) + ")"
}
