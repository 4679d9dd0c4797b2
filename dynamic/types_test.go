// SPDX-License-Identifier: Apache-2.0

// Names that a peer has chosen.

package dynamic_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// The time to look up a name in a schema grows with the square of its length, so names of
// more than 4 KiB are not looked up. A schema that has such names shows which are.
func TestLongNames(t *testing.T) {
	for _, test := range []struct {
		size int // of the full names
		want error
	}{{4 << 10, nil}, {4<<10 + 1, protoregistry.NotFound}} {
		name := strings.Repeat("m", test.size-len("p."))
		schema := schemaOf(t, fileOf(t, fmt.Sprintf(`{"name":"p.proto","package":"p","messageType":[{"name":%q,"extensionRange":[{"start":1,"end":2}]}]}`, name)),
			fileOf(t, fmt.Sprintf(`{"name":"e.proto","package":"p","dependency":["p.proto"],"extension":[{"name":%q,"extendee":".p.%s","number":1,"label":"LABEL_OPTIONAL","type":"TYPE_INT32"}]}`,
				strings.Repeat("e", len(name)), name)))
		types := schema.Types()
		full := protoreflect.FullName("p." + name)
		if _, err := types.FindMessageByName(full); err != test.want {
			t.Errorf("%d bytes: got error %v for a message, want %v", test.size, err, test.want)
		}
		if _, err := types.FindMessageByURL("type.example.com/" + string(full)); err != test.want {
			t.Errorf("%d bytes: got error %v for a URL, want %v", test.size, err, test.want)
		}
		if _, err := types.FindExtensionByName(protoreflect.FullName("p." + strings.Repeat("e", len(name)))); err != test.want {
			t.Errorf("%d bytes: got error %v for an extension, want %v", test.size, err, test.want)
		}
	}
	if _, err := testSchema(t).Method("/" + strings.Repeat("a.", 1<<20) + "S/M"); err == nil || len(err.Error()) > 200 {
		t.Errorf("got error %.300v for the path of a long name, want a short one", err)
	}
}
