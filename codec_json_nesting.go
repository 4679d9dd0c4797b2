// SPDX-License-Identifier: Apache-2.0

// The depth of nested google.protobuf.Any in JSON, found in one pass.

package connect

import (
	"bytes"
	"encoding/json"
)

// anyKey is the key that an object has if it is an Any. [Protobuf JSON mapping,
// "Any"]
const anyKey = "@type"

// mayNestAny reports whether JSON has enough possible keys of an Any for more than
// limit levels. It is quick, and false for most messages.
func mayNestAny(data []byte, limit int) bool {
	return bytes.Count(data, []byte(anyKey+`"`))+bytes.Count(data, []byte(`\u`)) > limit
}

// nestsAny reports whether JSON has more than limit levels of Any in each other. It
// counts the levels from the innermost object outwards, because an object's key
// "@type" may come after its content. It reports false for bytes that are not JSON,
// which the decoder refuses.
func nestsAny(data []byte, limit int) bool {
	type object struct {
		inside int // levels
		isAny  bool
	}
	var open []object
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{':
			open = append(open, object{})
		case '}':
			if len(open) == 0 {
				return false
			}
			last := open[len(open)-1]
			open = open[:len(open)-1]
			if last.isAny {
				last.inside++
			}
			if last.inside > limit {
				return true
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
	return false
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
