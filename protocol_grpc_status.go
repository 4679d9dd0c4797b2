// SPDX-License-Identifier: Apache-2.0

// The status, the message and the timeout of gRPC as header values.

package connect

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// The numbers of the fields in google.rpc.Status and google.protobuf.Any.
const (
	statusCode    protowire.Number = 1
	statusMessage protowire.Number = 2
	statusDetails protowire.Number = 3
	anyTypeURL    protowire.Number = 1
	anyValue      protowire.Number = 2
)

// appendStatus appends err as a google.rpc.Status message.
func appendStatus(b []byte, err *Error) []byte {
	if err.code != 0 {
		b = protowire.AppendTag(b, statusCode, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(err.code))
	}
	if message := err.text(); message != "" {
		b = protowire.AppendTag(b, statusMessage, protowire.BytesType)
		b = protowire.AppendString(b, message)
	}
	for _, d := range err.details {
		var a []byte
		a = protowire.AppendTag(a, anyTypeURL, protowire.BytesType)
		a = protowire.AppendString(a, d.typeURL)
		if len(d.value) > 0 {
			a = protowire.AppendTag(a, anyValue, protowire.BytesType)
			a = protowire.AppendString(a, d.value)
		}
		b = protowire.AppendTag(b, statusDetails, protowire.BytesType)
		b = protowire.AppendBytes(b, a)
	}
	return b
}

// parseStatus is the inverse of appendStatus. A field with another wire type counts
// as an unknown field, as in Protobuf.
func parseStatus(b []byte) (*Error, error) {
	e := &Error{wire: true}
	var message string
	err := eachField(b, func(f field) error {
		switch {
		case f.number == statusCode && f.wireType == protowire.VarintType:
			e.code = Code(uint32(f.varint))
		case f.number == statusMessage && f.wireType == protowire.BytesType:
			message = string(f.bytes)
		case f.number == statusDetails && f.wireType == protowire.BytesType:
			d, err := parseAny(f.bytes)
			e.details = append(e.details, d)
			return err
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("google.rpc.Status: %w", err)
	}
	e.cause = messageError(message)
	return e, nil
}

func parseAny(b []byte) (*ErrorDetail, error) {
	d := &ErrorDetail{}
	return d, eachField(b, func(f field) error {
		switch {
		case f.number == anyTypeURL && f.wireType == protowire.BytesType:
			d.typeURL = string(f.bytes)
		case f.number == anyValue && f.wireType == protowire.BytesType:
			d.value = string(f.bytes)
		}
		return nil
	})
}

// field is a field of a message. Its wire type decides whether varint or bytes is
// set.
type field struct {
	number   protowire.Number
	wireType protowire.Type
	varint   uint64
	bytes    []byte
}

// eachField calls visit for each field of a message.
func eachField(b []byte, visit func(field) error) error {
	for len(b) > 0 {
		number, wireType, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		size := protowire.ConsumeFieldValue(number, wireType, b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		f := field{number: number, wireType: wireType}
		switch wireType {
		case protowire.VarintType:
			f.varint, _ = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			f.bytes, _ = protowire.ConsumeBytes(b)
		}
		if err := visit(f); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

// messageError returns the underlying error for a received message. It is never nil,
// so that Unwrap of a received error returns an error even if the message is empty.
func messageError(message string) error { return errors.New(message) }

// encodeMessage percent-encodes all bytes but printable ASCII, and spaces at the
// ends, which HTTP trims. [gRPC PROTOCOL-HTTP2, "Percent-Encoded"]
func encodeMessage(message string) string {
	plain := func(i int) bool {
		c := message[i]
		return ' ' < c && c <= '~' && c != '%' || c == ' ' && 0 < i && i < len(message)-1
	}
	i := 0
	for i < len(message) && plain(i) {
		i++
	}
	if i == len(message) {
		return message
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(message) + 16)
	b.WriteString(message[:i])
	for ; i < len(message); i++ {
		if c := message[i]; plain(i) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&0xf]})
		}
	}
	return b.String()
}

// decodeMessage is the inverse of encodeMessage. It copies escapes that are not
// valid, and returns no error: with a malformed message the code must still reach
// the caller. [gRPC PROTOCOL-HTTP2, "Percent-Encoded"]
func decodeMessage(message string) string {
	i := strings.IndexByte(message, '%')
	if i < 0 {
		return message
	}
	b := make([]byte, i, len(message))
	copy(b, message)
	for ; i < len(message); i++ {
		if message[i] == '%' && i+2 < len(message) {
			if c, err := strconv.ParseUint(message[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(c))
				i += 2
				continue
			}
		}
		b = append(b, message[i])
	}
	return string(b)
}

// timeoutUnits are the units of a Grpc-Timeout, the finest first.
var timeoutUnits = [...]struct {
	letter byte
	size   time.Duration
}{
	{'n', time.Nanosecond}, {'u', time.Microsecond}, {'m', time.Millisecond},
	{'S', time.Second}, {'M', time.Minute}, {'H', time.Hour},
}

// timeoutMax is the least number with more than the 8 digits of a Grpc-Timeout.
const timeoutMax = 100_000_000

// formatGRPCTimeout returns a timeout in the finest unit in which it has at most 8
// digits, rounded up. [gRPC PROTOCOL-HTTP2, "Timeout"]
func formatGRPCTimeout(d time.Duration) string {
	if d <= 0 {
		return "0n"
	}
	for _, unit := range timeoutUnits {
		n := int64(d / unit.size)
		if d%unit.size > 0 {
			n++
		}
		if n < timeoutMax {
			b := strconv.AppendInt(make([]byte, 0, 9), n, 10)
			return string(append(b, unit.letter))
		}
	}
	return "" // no time.Duration is that long
}

// parseGRPCTimeout is the inverse of formatGRPCTimeout. A timeout that is too long
// for a time.Duration, of more than 292 years, counts as none.
func parseGRPCTimeout(s string) (d time.Duration, timed bool, err error) {
	if s == "" {
		return 0, false, errors.New("no digits")
	}
	digits, letter := s[:len(s)-1], s[len(s)-1]
	n, err := parseDigits(digits, 8)
	if err != nil {
		return 0, false, fmt.Errorf("%q is not 1 to 8 digits and a unit: %w", s, err)
	}
	for _, unit := range timeoutUnits {
		if unit.letter == letter {
			if n > math.MaxInt64/int64(unit.size) {
				return 0, false, nil
			}
			return time.Duration(n) * unit.size, true, nil
		}
	}
	return 0, false, fmt.Errorf("%q has no unit of %q", s, "numMSH")
}

// parseDigits returns the number of 1 to most digits, without signs and spaces.
func parseDigits(s string, most int) (int64, error) {
	if s == "" {
		return 0, errors.New("no digits")
	}
	if len(s) > most {
		return 0, fmt.Errorf("more than %d digits", most)
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, fmt.Errorf("%q is not a digit", s[i])
		}
		n = 10*n + int64(s[i]-'0')
	}
	return n, nil
}
