// SPDX-License-Identifier: Apache-2.0

// The meaning of outcomes for endpoints, where clocks or contexts of programs are at odds.

package balance

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
)

// A lateContext has a deadline and does not end then, as one that was made before the wall
// clock was set ahead.
type lateContext struct {
	context.Context
	deadline time.Time
}

func (c *lateContext) Deadline() (time.Time, bool) { return c.deadline, true }

// TestVerdictDoesNotWait has a server report that the time of a call is over, whose context
// goes on: the call returns, and nothing is known about the endpoint.
func TestVerdictDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		began := time.Now()
		v, timed := verdictOf(&lateContext{ctx, began.Add(-time.Minute)}, connect.NewWireError(connect.CodeDeadlineExceeded, errors.New("late")))
		if took := time.Since(began); v != neutral || timed || took > time.Second {
			t.Errorf("got verdict %d, timed %t after %v, want %d, false within a second", v, timed, took, neutral)
		}
	})
}
