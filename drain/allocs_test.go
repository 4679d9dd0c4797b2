// SPDX-License-Identifier: Apache-2.0

// The allocations of a call, and how many calls TestInFlight makes. The race detector
// allocates, and makes each call slow.

//go:build !race

package drain_test

import (
	"net/http"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/drain"
	"github.com/seed-b7c59c10/connect/inprocess"
)

const inFlight = 10_000

// TestAlloc checks what a Drainer costs on the direct path.
func TestAlloc(t *testing.T) {
	handler := new(service).handler()
	measure := func(h http.Handler) float64 {
		c := newClient(inprocess.NewTransport(h), pathUnary)
		request := connect.NewRequest(wrapperspb.String("a"))
		return testing.AllocsPerRun(2000, func() {
			if _, err := c.CallUnary(t.Context(), request); err != nil {
				t.Error(err)
			}
		})
	}
	without, with := measure(handler), measure(drain.New(new(http.Server)).Handler(handler))
	if with > without+1 {
		t.Errorf("got %v allocations with a Drainer and %v without, want one more", with, without)
	}
	t.Logf("%v allocations with a Drainer, %v without", with, without)
}
