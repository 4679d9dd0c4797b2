// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"
)

// TestRun plays all parts quickly. No call fails.
func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out, false, 500*time.Millisecond); err != nil {
		t.Fatalf("got %v, want no failed call\n%s", err, out.String())
	}
	t.Log(out.String())
	for _, p := range parts {
		if !strings.Contains(out.String(), "== "+p.title) {
			t.Errorf("got no table for %q\n%s", p.title, out.String())
		}
	}
	if !strings.Contains(out.String(), " 0 failed;") {
		t.Errorf("got no summary\n%s", out.String())
	}
}
