// SPDX-License-Identifier: Apache-2.0

// What the packages on both sides rely on.

package tried_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/tried"
)

func TestSet(t *testing.T) {
	if s := tried.From(t.Context()); s != nil || s.Has("a:1") || !s.Empty() {
		t.Errorf("got set %v without With, want none", s)
	}
	tried.From(t.Context()).Add("a:1") // no panic
	ctx, s := tried.With(t.Context())
	if tried.From(ctx) != s || !s.Empty() {
		t.Errorf("got another set from the context, want the new one, empty")
	}
	var adding sync.WaitGroup
	for range 8 {
		adding.Go(func() {
			for i := range 4 {
				s.Add(fmt.Sprint("a:", i))
				s.Has("a:1")
			}
			s.Add("")
		})
	}
	adding.Wait()
	for _, test := range []struct {
		name string
		want bool
	}{{"a:0", true}, {"a:3", true}, {"a:4", false}, {"", false}} {
		if got := s.Has(test.name); got != test.want {
			t.Errorf("Has(%q): got %v, want %v", test.name, got, test.want)
		}
	}
}

func TestRemove(t *testing.T) {
	_, s := tried.With(t.Context())
	if !s.Add("a:1") || s.Add("a:1") || !s.Add("b:1") || s.Add("") {
		t.Error("got another report of Add, want true for each new name")
	}
	s.Remove("a:1")
	s.Remove("c:1")
	if s.Has("a:1") || !s.Has("b:1") {
		t.Error("got another set, want b:1 alone")
	}
	s.Remove("b:1")
	if !s.Empty() {
		t.Error("got a set with names, want an empty one")
	}
	tried.From(t.Context()).Remove("a:1") // no panic
}

func TestMark(t *testing.T) {
	if got := tried.Mark(nil, "a:1"); got != nil {
		t.Errorf("got %v for nil, want nil", got)
	}
	err := error(connect.NewError(connect.CodeUnavailable, errors.New("restarting")))
	if got := tried.Mark(err, ""); got != err {
		t.Errorf("got %v without an endpoint, want the error itself", got)
	}
	got := tried.Mark(tried.Mark(err, "a:1"), "b:1")
	var coded *connect.Error
	if !errors.As(got, &coded) || coded != err || got.Error() != err.Error() || connect.CodeOf(got) != connect.CodeUnavailable {
		t.Errorf("got %v, want an error with the text and the tree of %v", got, err)
	}
	if name := tried.Of(fmt.Errorf("more: %w", got)); name != "a:1" {
		t.Errorf("got endpoint %q, want that of the attempt, a:1", name)
	}
	if name := tried.Of(err); name != "" {
		t.Errorf("got endpoint %q of an error without one, want none", name)
	}
}

func TestAttemptTimeout(t *testing.T) {
	err := tried.AttemptTimeout
	if !errors.Is(err, context.DeadlineExceeded) || !os.IsTimeout(err) || err.Error() != context.DeadlineExceeded.Error() {
		t.Errorf("got %v, want an error like context.DeadlineExceeded", err)
	}
}
