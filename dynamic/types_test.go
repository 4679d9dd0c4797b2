// SPDX-License-Identifier: Apache-2.0

// Types: what a method costs, and names that a peer has chosen.

package dynamic_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/seed-b7c59c10/connect/dynamic"
)

// A method costs little, however large its file is.
func TestMethodsOfLargeFiles(t *testing.T) {
	file := fileOf(t, `{"name":"a.proto","package":"a","service":[{"name":"S","method":[{"name":"M","inputType":".a.M0","outputType":".a.M0"}]}]}`)
	for i := range 2000 {
		file.MessageType = append(file.MessageType, &descriptorpb.DescriptorProto{Name: proto.String(fmt.Sprintf("M%d", i))})
	}
	schema := schemaOf(t, file)
	method, err := schema.Method("/a.S/M")
	if err != nil {
		t.Fatal(err)
	}
	before := new(runtime.MemStats)
	runtime.ReadMemStats(before)
	for range 100 {
		dynamic.WithMethod(method)
	}
	after := new(runtime.MemStats)
	runtime.ReadMemStats(after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("got %d bytes for a hundred options, want less than a MiB", got)
	}
}

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
