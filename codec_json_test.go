// SPDX-License-Identifier: Apache-2.0

// Tests of the bound on nested Any: the objects that count, and messages below the
// bound.

package connect

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// nestedAny returns JSON of that many Any in each other around an empty message. The
// key is before or after the content.
func nestedAny(levels int, key string, first bool) string {
	inner := `{"@type":"type.googleapis.com/google.protobuf.Empty","value":{}}`
	kind := key + `:"type.googleapis.com/google.protobuf.Any"`
	for range levels - 1 {
		if first {
			inner = `{` + kind + `,"value":` + inner + `}`
		} else {
			inner = `{"value":` + inner + `, ` + kind + ` }`
		}
	}
	return inner
}

func TestNestedAny(t *testing.T) {
	for _, key := range []string{`"@type"`, `"\u0040type"`, `"\u0040\u0074\u0079\u0070\u0065"`} {
		for _, first := range []bool{true, false} {
			for _, limit := range []int{1, 2, 50, anyNesting} {
				for _, levels := range []int{1, limit, limit + 1, 3 * limit} {
					data := []byte(nestedAny(levels, key, first))
					if err := protojson.Unmarshal(data, new(anypb.Any)); err != nil {
						t.Fatalf("%d levels: the test's own JSON is wrong: %v", levels, err)
					}
					codec := NewProtoJSONCodec(limit)
					if err := codec.Unmarshal(data, new(anypb.Any)); (err != nil) != (levels > limit) {
						t.Errorf("%s, first %t: %d levels with a limit of %d: got %v", key, first, levels, limit, err)
					}
				}
			}
		}
	}
	if err := (jsonCodec{}).Unmarshal([]byte(nestedAny(anyNesting+1, `"@type"`, true)), new(anypb.Any)); err == nil {
		t.Error("got no error beyond the default, want one")
	}
}

// TestNestedOthers: other messages may be nested as deeply as Protobuf's decoder
// allows, and any number of Any may be beside each other.
func TestNestedOthers(t *testing.T) {
	beside := "[" + strings.TrimSuffix(strings.Repeat(nestedAny(2, `"@type"`, true)+",", 1000), ",") + "]"
	values := `"@type"`
	for range 500 {
		values = `{"@types":"@type","a":["@type", ` + values + `]}`
	}
	for name, text := range map[string]string{
		"lists":   strings.Repeat("[", 3000) + strings.Repeat("]", 3000),
		"objects": strings.Repeat(`{"a":`, 3000) + "1" + strings.Repeat("}", 3000),
		"beside":  beside,
		"values":  values,
		"braces":  `{"a":"` + strings.Repeat(`{\"@type\":`, 1000) + `"}`,
	} {
		if err := (jsonCodec{}).Unmarshal([]byte(text), new(structpb.Value)); err != nil {
			t.Errorf("%s: got %v, want no error", name, err)
		}
	}
	for _, text := range []string{"", "}", `"`, `"\`, `{"@type"`, strings.Repeat(`{"@type":`, 1000), strings.Repeat("}", 1000)} {
		_ = anyBounds{1, 1}.check([]byte(text)) // no panic
	}
}
