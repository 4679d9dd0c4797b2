// SPDX-License-Identifier: Apache-2.0

// Bounds on nested google.protobuf.Any in JSON, checked in one pass.

package connect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
)

// anyKey is the key that an object has if it is an Any. [Protobuf JSON mapping,
// "Any"]
const anyKey = "@type"

// anyBounds bound the work for the google.protobuf.Any in one message. protojson
// decodes and encodes the content of an Any once for each Any around it.
type anyBounds struct {
	levels int // of Any in each other
	bytes  int // sum of the sizes of all Any
}

// anyBounds returns the bounds for a message of a size.
func (c jsonCodec) anyBounds(size int) anyBounds {
	switch levels := c.options.AnyNesting; {
	case levels <= 0:
		return anyBounds{anyNesting, anyFree + anyTimes*size}
	case levels <= anyNesting:
		return anyBounds{levels, anyFree + anyTimes*size}
	default: // the program has chosen
		return anyBounds{levels, math.MaxInt}
	}
}

func (b anyBounds) errLevels() error {
	return fmt.Errorf("google.protobuf.Any is nested more than %d levels deep: JSONOptions.AnyNesting sets the limit", b.levels)
}

func (b anyBounds) errBytes() error {
	return fmt.Errorf("google.protobuf.Any are nested in each other with more than %d bytes in all: JSONOptions.AnyNesting above %d allows it", b.bytes, anyNesting)
}

// mayExceed reports whether JSON has enough possible keys of an Any to exceed the
// bounds. It is quick, and false for most messages.
func (b anyBounds) mayExceed(data []byte) bool {
	keys := bytes.Count(data, []byte(anyKey+`"`)) + bytes.Count(data, []byte(`\u`))
	return keys > b.levels || keys > b.bytes/len(data)
}

// check returns an error for JSON that exceeds the bounds. It counts the levels from
// the innermost object outwards, because an object's key "@type" may come after its
// content. It returns nil for bytes that are not JSON, which the decoder refuses.
func (b anyBounds) check(data []byte) error {
	type object struct {
		start  int
		inside int // levels
		isAny  bool
	}
	var open []object
	sum := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{':
			open = append(open, object{start: i})
		case '}':
			if len(open) == 0 {
				return nil
			}
			last := open[len(open)-1]
			open = open[:len(open)-1]
			if last.isAny {
				last.inside++
				sum += i + 1 - last.start
			}
			if last.inside > b.levels {
				return b.errLevels()
			}
			if sum > b.bytes {
				return b.errBytes()
			}
			if n := len(open); n > 0 {
				open[n-1].inside = max(open[n-1].inside, last.inside)
			}
		case '"':
			end := endOfString(data, i)
			if n := len(open); n > 0 && isAnyKey(data[i:end]) && isKey(data[end:]) {
				open[n-1].isAny = true
			}
			i = end - 1
		}
	}
	return nil
}

// endOfString returns the index after the string that begins at i.
func endOfString(data []byte, i int) int {
	for i++; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

// isAnyKey reports whether a quoted string is the key of an Any, perhaps with
// escapes.
func isAnyKey(quoted []byte) bool {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted) == `"`+anyKey+`"`
	}
	const longest = len(`"`) + 6*len(anyKey) + len(`"`) // each letter as an escape
	var text string
	return len(quoted) <= longest && json.Unmarshal(quoted, &text) == nil && text == anyKey
}

// isKey reports whether the string before rest is a key: a colon follows it.
func isKey(rest []byte) bool {
	rest = bytes.TrimLeft(rest, " \t\r\n")
	return len(rest) > 0 && rest[0] == ':'
}
