// SPDX-License-Identifier: Apache-2.0

// The allocations of a call that succeeds. The race detector makes pools forget at random.

//go:build !race

package retry_test

import (
	"context"
	"net/http"
	"runtime"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/retry"
)

// TestSuccessAllocs compares a call that succeeds with a policy, and without an
// interceptor: there is no allocation more.
func TestSuccessAllocs(t *testing.T) {
	s := serve(t, func(_ context.Context, _ int, _ http.Header, _ func() (*message, error), out func(*message) error) error {
		return out(new(message))
	})
	request := wrapperspb.String("a")
	measure := func(interceptors ...connect.Interceptor) float64 {
		c := connect.NewClient[message, message](&http.Client{Transport: s.transport}, "http://test.local"+pathUnary,
			connect.WithIdempotency(idempotent), connect.WithInterceptors(interceptors...))
		best := 1e9
		for range 5 {
			best = min(best, mallocs(200, func() {
				if _, err := c.CallUnary(context.Background(), connect.NewRequest(request)); err != nil {
					t.Fatal(err)
				}
			}))
		}
		return best
	}
	if with, without := measure(retry.New()), measure(); with > without+0.5 {
		t.Errorf("got %v allocations a call with a policy and %v without an interceptor, want no more", with, without)
	}
}

// mallocs is testing.AllocsPerRun with a fraction: connections allocate now and then, and
// the whole number below an average that is nearly whole changes from run to run.
func mallocs(runs int, f func()) float64 {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	f()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / float64(runs)
}
