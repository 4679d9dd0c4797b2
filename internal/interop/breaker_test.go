// SPDX-License-Identifier: Apache-2.0

// This file has calls of package retry pass a circuit breaker of another project.

package interop_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/interop"
	"github.com/seed-b7c59c10/connect/retry"
	"github.com/sony/gobreaker/v2"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

func TestBreaker(t *testing.T) {
	const failures = 6 // in a row, after which the breaker opens
	var runs atomic.Int64
	var repaired atomic.Bool
	url := serve(t, http1, connect.NewUnaryHandler(interop.EmptyCall, func(context.Context, *connect.Request[testpb.Empty]) (*connect.Response[testpb.Empty], error) {
		runs.Add(1)
		if !repaired.Load() {
			return nil, connect.NewError(connect.CodeUnavailable, errors.New("broken"))
		}
		return connect.NewResponse(new(testpb.Empty)), nil
	}))
	newBreaker := func(open time.Duration) *gobreaker.TwoStepCircuitBreaker[any] {
		return gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
			Timeout:     open,
			ReadyToTrip: func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures == failures },
		})
	}
	newClient := func(breaker retry.Breaker) *connect.Client[testpb.Empty, testpb.Empty] {
		policy := retry.New(retry.Attempts(3), retry.Backoff(time.Microsecond, time.Microsecond, 1), retry.WithBreaker(func(connect.Spec) retry.Breaker { return breaker }))
		return connect.NewClient[testpb.Empty, testpb.Empty](http.DefaultClient, url+interop.EmptyCall, connect.WithInterceptors(policy))
	}
	call := func(client *connect.Client[testpb.Empty, testpb.Empty]) error {
		_, err := client.CallUnary(t.Context(), connect.NewRequest(new(testpb.Empty)))
		return err
	}

	breaker := newBreaker(time.Hour)
	client := newClient(breaker)
	for range 10 {
		if err := call(client); connect.CodeOf(err) != connect.CodeUnavailable {
			t.Fatalf("got %v, want unavailable", err)
		}
	}
	if err := call(client); !errors.Is(err, gobreaker.ErrOpenState) {
		t.Errorf("got %v, want the breaker's error", err)
	}
	if runs.Load() != failures || breaker.State() != gobreaker.StateOpen {
		t.Errorf("got %d runs and a breaker that is %v, want %d and open", runs.Load(), breaker.State(), failures)
	}

	breaker = newBreaker(time.Nanosecond) // one call for trial at once
	client = newClient(breaker)
	for range failures {
		_ = call(client)
	}
	repaired.Store(true)
	if err := call(client); err != nil || breaker.State() != gobreaker.StateClosed {
		t.Errorf("got %v and a breaker that is %v, want no error and closed", err, breaker.State())
	}
}
