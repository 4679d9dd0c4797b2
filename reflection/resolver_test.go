// SPDX-License-Identifier: Apache-2.0

// A server that answers with files in which what was asked for is not, and nothing where
// something is needed.

package reflection

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/reflect/protoregistry"
	_ "google.golang.org/protobuf/types/known/durationpb" // a type that is linked into the program

	"github.com/seed-b7c59c10/connect/registry"
)

func TestResolverOtherFiles(t *testing.T) {
	var questions atomic.Int32
	s := serveScript(t, func(string, string) (string, error) {
		questions.Add(1)
		return `name: "other.proto" package: "other" message_type { name: "M" }`, nil
	})
	r := NewClient(s.Client(), s.URL).Resolver(testContext(t))
	for range 3 {
		if m, err := r.FindMessageByName("google.protobuf.Duration"); err != nil || m.Descriptor().FullName() != "google.protobuf.Duration" {
			t.Errorf("got %v and %v, want the type that is linked", m, err)
		}
		if m, err := r.FindMessageByName("acme.Missing"); err != protoregistry.NotFound {
			t.Errorf("got %v and %v, want %v", m, err, protoregistry.NotFound)
		}
		if m, err := r.FindMessageByName("other.M"); err != nil || m.Descriptor().FullName() != "other.M" {
			t.Errorf("got %v and %v, want other.M", m, err)
		}
	}
	if got := questions.Load(); got != 2 {
		t.Errorf("got %d questions, want one for each name that the server does not have", got)
	}
}

// Mistakes of programs panic when the handler is made, and not with the first call.
func TestNil(t *testing.T) {
	for want, misuse := range map[string]func(){
		"reflection: New: the registry is nil":         func() { New(nil) },
		"reflection: NewHandler: the reflector is nil": func() { NewHandler(nil) },
		"reflection: AddSchema: the schema is nil":     func() { New(new(registry.Registry)).AddSchema(nil) },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.HasPrefix(got, want) {
					t.Errorf("got the panic %q, want %q", got, want)
				}
			}()
			misuse()
		}()
	}
}
