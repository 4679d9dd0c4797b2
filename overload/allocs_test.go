// SPDX-License-Identifier: Apache-2.0

// What limits cost in allocations. The race detector allocates, too.

//go:build !race

package overload_test

import (
	"net/http"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/inprocess"
	"github.com/seed-b7c59c10/connect/overload"
)

// TestAlloc compares calls that are let in with calls without limits.
func TestAlloc(t *testing.T) {
	measure := func(h http.Handler) float64 {
		c := newClient(inprocess.NewTransport(h), pathUnary)
		request := connect.NewRequest(wrapperspb.String("a"))
		return testing.AllocsPerRun(2000, func() {
			if _, err := c.CallUnary(t.Context(), request); err != nil {
				t.Error(err)
			}
		})
	}
	handler := new(service).handler()
	without := measure(handler)
	for name, c := range map[string]struct {
		options []overload.Option
		more    float64
	}{
		"adaptive":          {nil, 1},
		"fixed":             {[]overload.Option{overload.Fixed(100)}, 0},
		"with rates":        {[]overload.Option{overload.Fixed(100), overload.Rate(1e9, 1000, nil), overload.Rate(1e9, 1000, overload.ByPeer)}, 0},
		"rates by a field":  {[]overload.Option{overload.Fixed(100), overload.Rate(1e9, 1000, overload.ByField("user-agent"))}, 0},
		"with its priority": {[]overload.Option{overload.Fixed(100), overload.Priority(func(http.Header) int { return 0 })}, 9},
	} {
		if got := measure(overload.Handler(handler, c.options...)); got > without+c.more {
			t.Errorf("%s: got %v allocations, %v without limits, want at most %v more", name, got, without, c.more)
		} else {
			t.Logf("%s: %v more allocations than %v", name, got-without, without)
		}
	}
}

// TestAllocRefusal bounds the allocations of a refusal on the direct path, those of the test
// included.
func TestAllocRefusal(t *testing.T) {
	for contentType, most := range map[string]float64{"application/proto": 5, "application/grpc": 5, "application/grpc-web": 5} {
		refuse := refuser(contentType)
		if n := refuse(); n.status == 0 {
			t.Errorf("%s: got no response, want an error", contentType)
		}
		got := testing.AllocsPerRun(1000, func() { refuse() })
		if got > most {
			t.Errorf("%s: got %v allocations of a refusal, want at most %v", contentType, got, most)
		}
		t.Logf("%s: %v allocations of a refusal", contentType, got)
	}
}
