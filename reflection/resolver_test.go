// SPDX-License-Identifier: Apache-2.0

// A server that answers with files in which what was asked for is not.

package reflection

import (
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/reflect/protoregistry"
	_ "google.golang.org/protobuf/types/known/durationpb" // a type that is linked into the program
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
