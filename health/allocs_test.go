// SPDX-License-Identifier: Apache-2.0

//go:build !race

// The allocation budget of a Check, with client and server.

package health

import (
	"net/http"
	"runtime/debug"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/inprocess"
)

func TestAllocs(t *testing.T) {
	const budget = 56
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	status := New("acme.v1.S")
	_, handler := NewHandler(status)
	client := NewClient(&http.Client{Transport: inprocess.NewTransport(handler)}, "http://in.process", connect.WithGRPC())
	got := testing.AllocsPerRun(200, func() {
		if got, err := client.Check(t.Context(), "acme.v1.S"); err != nil || got != StatusServing {
			t.Fatal(got, err)
		}
	})
	t.Logf("got %v allocations, want at most %v", got, budget)
	if got > budget {
		t.Errorf("got %v allocations, want at most %v", got, budget)
	}
	if got := testing.AllocsPerRun(200, func() { status.Status("acme.v1.S") }); got > 0 {
		t.Errorf("Status: got %v allocations, want none", got)
	}
}
