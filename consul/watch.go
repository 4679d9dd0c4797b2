// SPDX-License-Identifier: Apache-2.0

// The loop of blocking queries, by the rules of Consul's documentation ("Blocking queries").

package consul

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	queryWait  = 5 * time.Minute // of a blocking query
	queryFirst = 30 * time.Second
	queryGrace = 10 * time.Second // beyond the wait, and the sixteenth that agents add
	pace       = 100 * time.Millisecond
	paceBlind  = time.Second // of an agent that sends no index
	backoffMin = 100 * time.Millisecond
	backoffMax = 30 * time.Second
)

// A query asks the agent, and returns the index of the answer.
type query func(q *api.QueryOptions) (index uint64, err error)

// A watch is a loop of queries for one thing.
type watch struct {
	query  query
	report func(err error)      // after each query, nil for success
	wait   func() time.Duration // bounds the wait of the next query; nil: queryWait
}

// run repeats the query until ctx ends.
//
// An index that goes back, or an error, begins anew without an index. Queries follow each
// other at the pace, whatever the agent answers: an agent that does not block, or whose index
// jumps, costs ten queries a second.
func (w *watch) run(ctx context.Context) {
	var index uint64
	failures := 0
	for ctx.Err() == nil {
		began := time.Now()
		next, err := w.once(ctx, index)
		if ctx.Err() != nil {
			return
		}
		w.report(err)
		pause := pace
		switch {
		case err != nil:
			failures++
			index, pause = 0, backoff(failures)
		case next == 0:
			failures, index, pause = 0, 0, paceBlind
		case next < index:
			failures, index = 0, 0
		default:
			failures, index = 0, next
		}
		if err == nil {
			pause -= time.Since(began)
		}
		if !w.sleep(ctx, pause) {
			return
		}
	}
}

// once makes one query. With an index it waits for a change.
func (w *watch) once(ctx context.Context, index uint64) (uint64, error) {
	wait, bound := queryWait, queryFirst
	if w.wait != nil {
		wait = min(wait, w.wait())
	}
	if index > 0 {
		bound = wait + wait/16 + queryGrace
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	next, err := w.query((&api.QueryOptions{WaitIndex: index, WaitTime: wait}).WithContext(ctx))
	if err != nil && ctx.Err() == context.DeadlineExceeded {
		err = fmt.Errorf("no answer within %v: %w", bound, err)
	}
	return next, err
}

// sleep waits, and returns false if ctx ends first.
func (w *watch) sleep(ctx context.Context, pause time.Duration) bool {
	if pause <= 0 {
		return true
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// backoff returns the pause after a number of failures, from 1. Half of it is random, so that
// the services of a host do not ask a restarted agent all at once.
func backoff(failures int) time.Duration {
	most := min(backoffMin<<min(failures-1, 16), backoffMax)
	return most/2 + rand.N(most/2+1)
}

// explain returns an error of the agent with a hint on how to mend it.
func explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	var status api.StatusError
	if errors.As(err, &status) && status.Code == http.StatusForbidden {
		return fmt.Errorf("consul: %s: %w: give the client a token with service:write for the service", doing, err)
	}
	return fmt.Errorf("consul: %s: %w", doing, err)
}
