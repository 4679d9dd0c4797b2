// SPDX-License-Identifier: Apache-2.0

package reflectcall

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// Answers are bytes of a server. Fields that are read are those that a decoder of Protobuf
// would read, and nothing panics.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("\x3a\x06\x08\x05\x12\x02no"))
	f.Add([]byte("\x32\x05\x0a\x03\x0a\x01a"))
	f.Add([]byte("\x2a\x04\x12\x02\x01\x02"))
	f.Add([]byte("\x0b\x0c\x0d\x01\x02\x03\x04"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		valid := true
		for rest := answer; len(rest) > 0 && valid; {
			_, _, n := protowire.ConsumeField(rest)
			if valid = n >= 0; valid {
				rest = rest[n:]
			}
		}
		fields := 0
		err := eachField(answer, func(protowire.Number, []byte, uint64) error { fields++; return nil })
		if (err == nil) != valid {
			t.Errorf("%x: got error %v, want one: %v", answer, err, !valid)
		}
		if failureOf(answer) == nil {
			t.Errorf("%x: got no error of an ErrorResponse", answer)
		}
	})
}
