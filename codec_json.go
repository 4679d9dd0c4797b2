// SPDX-License-Identifier: Apache-2.0

// How deeply google.protobuf.Any is nested in JSON, found in one pass.

package connect

import (
	"bytes"
	"encoding/json"
)

// anyKey is the key by which an object is an Any. [Protobuf JSON mapping, "Any"]
const anyKey = "@type"

// mayNestAny reports whether JSON has enough of what may be an Any's key to have more
// than limit levels of them. Most messages have none.
func mayNestAny(data []byte, limit int) bool {
	return bytes.Count(data, []byte(anyKey+`"`))+bytes.Count(data, []byte(`\u`)) > limit
}

// nestsAny reports whether JSON has more than limit levels of Any in each other. An
// object's key may stand after what is inside it, so that levels are counted from
// within. What is not JSON is left to the decoder to refuse.
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

// endOfString returns where the string ends that begins at i.
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

// isAnyKey reports whether a quoted string is an Any's key, which may be escaped.
func isAnyKey(quoted []byte) bool {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted) == `"`+anyKey+`"`
	}
	const longest = len(`"`) + 6*len(anyKey) + len(`"`) // each letter as an escape
	var text string
	return len(quoted) <= longest && json.Unmarshal(quoted, &text) == nil && text == anyKey
}

// isKey reports whether a string that is followed by rest is a key.
func isKey(rest []byte) bool {
	rest = bytes.TrimLeft(rest, " \t\r\n")
	return len(rest) > 0 && rest[0] == ':'
}
