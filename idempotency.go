// SPDX-License-Identifier: Apache-2.0

// The promises of a schema about repeated calls.

package connect

import "fmt"

// An IdempotencyLevel is a schema's promise about calls that are repeated: the
// option idempotency_level of a method in a Protobuf schema.
type IdempotencyLevel int

const (
	// IdempotencyUnknown promises nothing. It is the default.
	IdempotencyUnknown IdempotencyLevel = 0
	// IdempotencyNoSideEffects promises that a call changes nothing: it is
	// "safe" as in RFC 9110, section 9.2.1. Clients may send such calls as HTTP
	// GET and repeat them, and caches may answer them.
	IdempotencyNoSideEffects IdempotencyLevel = 1
	// IdempotencyIdempotent promises that several equal calls have the effect of
	// one: RFC 9110, section 9.2.2.
	IdempotencyIdempotent IdempotencyLevel = 2
)

// String returns the name of the level in Protobuf schemas, in lower case, and
// "idempotency_N" for a number N that is none of the three levels.
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
