// SPDX-License-Identifier: Apache-2.0

// Hedged calls that wait for their next attempt.

package retry_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/retry"
)

// TestHedgeWaitEnds cancels a hedged call while it waits for the time that the server has
// named, and no attempt runs: it returns at once, with the error of its attempt.
func TestHedgeWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(context.Context, int, http.Header, func() (*message, error), func(*message) error) error {
			return withMeta(connect.CodeUnavailable, "Grpc-Retry-Pushback-Ms", "60000")
		})
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		time.AfterFunc(time.Second, cancel)
		_, err := call(ctx, s.client(pathUnary, idempotent, retry.New(retry.Hedge(time.Hour, 3))), pathUnary)
		if took := time.Since(began); took != time.Second || connect.CodeOf(err) != connect.CodeUnavailable || retry.AttemptsOf(err) != 1 {
			t.Errorf("got %v of %d attempts after %v, want unavailable of 1 after 1s", err, retry.AttemptsOf(err), took)
		}
		s.wantRuns(t, 1)
	})
}

// TestHedgeKeepsGrantedAttempt has two attempts overlap and fail. The budget allows an
// attempt after the first failure, and none after the second: the allowed one is made.
func TestHedgeKeepsGrantedAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(_ context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
			if run <= 2 {
				time.Sleep(800 * time.Millisecond) // meanwhile the second attempt begins
				return withMeta(connect.CodeUnavailable, "Grpc-Retry-Pushback-Ms", "10000")
			}
			return echo(in, out)
		})
		policy := retry.New(retry.Hedge(500*time.Millisecond, 3), retry.Tokens(4, 0.1)) // the second failure leaves half
		if _, err := call(t.Context(), s.client(pathUnary, idempotent, policy), pathUnary); err != nil {
			t.Errorf("got %v, want the answer of the attempt that the first failure has brought", err)
		}
		s.wantRuns(t, 3)
	})
}
