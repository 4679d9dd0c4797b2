// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// TestRun plays all parts quickly. No allowed call fails.
func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out, "", 50*time.Millisecond); err != nil {
		t.Fatalf("got %v, want no failed call\n%s", err, out.String())
	}
	t.Log("\n" + out.String())
	for _, p := range parts {
		if !strings.Contains(out.String(), p.title) {
			t.Errorf("got no line for %q\n%s", p.title, out.String())
		}
	}
	if !strings.Contains(out.String(), "web has had 2 certificates of 2 roots; 0 allowed calls failed") {
		t.Errorf("got no summary\n%s", out.String())
	}
}

// TestNoRealAgent has no agent where the flag leads.
func TestNoRealAgent(t *testing.T) {
	o, err := newOperator("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := o.healthy(t.Context(), 3); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v, want that the connection was refused", err)
	}
}
