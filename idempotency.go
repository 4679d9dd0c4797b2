// SPDX-License-Identifier: Apache-2.0

// What a schema promises about repeating a call.

package connect

import "fmt"

// An IdempotencyLevel says what happens when a call is made more than once. It
// is the idempotency_level option of a method in a Protobuf schema.
type IdempotencyLevel int

const (
	// IdempotencyUnknown promises nothing. It is the default.
	IdempotencyUnknown IdempotencyLevel = 0
	// IdempotencyNoSideEffects promises that a call changes nothing: it is
	// "safe" as in RFC 9110, section 9.2.1. Such calls may be sent as HTTP GET,
	// be cached and be repeated.
	IdempotencyNoSideEffects IdempotencyLevel = 1
	// IdempotencyIdempotent promises that repeating a call has the effect of
	// making it once: RFC 9110, section 9.2.2.
	IdempotencyIdempotent IdempotencyLevel = 2
)

// String returns the name that Protobuf schemas use, in lower case.
func (i IdempotencyLevel) String() string {
	switch i {
	case IdempotencyUnknown:
		return "idempotency_unknown"
	case IdempotencyNoSideEffects:
		return "no_side_effects"
	case IdempotencyIdempotent:
		return "idempotent"
	}
	return fmt.Sprintf("idempotency_%d", int(i))
}
