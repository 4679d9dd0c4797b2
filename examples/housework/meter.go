// SPDX-License-Identifier: Apache-2.0

// Metrics without a library: one call interceptor, and a page that Prometheus reads.

package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/seed-b7c59c10/connect"
)

// A callKey is what calls are counted by. Its values are those of the schema and the list
// of codes, so that clients cannot make the metrics grow.
type callKey struct{ procedure, code string }

type callCount struct {
	calls uint64
	time  time.Duration
}

// A meter counts calls and chores. It is safe for concurrent use.
type meter struct {
	file *file

	mu     sync.Mutex
	counts map[callKey]callCount
}

// intercept counts a call, also one that is refused.
func (m *meter) intercept(next connect.CallFunc) connect.CallFunc {
	return func(ctx context.Context, call *connect.Call) error {
		err := next(ctx, call)
		key := callKey{call.Spec().Procedure, "ok"}
		if err != nil {
			key.code = connect.CodeOf(err).String()
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		count := m.counts[key]
		m.counts[key] = callCount{count.calls + 1, count.time + time.Since(call.Stats().Begin)}
		return err
	}
}

// ServeHTTP writes the metrics in the text format of Prometheus, version 0.0.4.
func (m *meter) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	m.mu.Lock()
	counts := maps.Clone(m.counts)
	m.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	fmt.Fprint(w, "# HELP housework_call_seconds Calls that have ended, and how long they took.\n# TYPE housework_call_seconds summary\n")
	byName := func(a, b callKey) int {
		return cmp.Or(cmp.Compare(a.procedure, b.procedure), cmp.Compare(a.code, b.code))
	}
	for _, key := range slices.SortedFunc(maps.Keys(counts), byName) {
		labels, count := fmt.Sprintf("{procedure=%q,code=%q}", key.procedure, key.code), counts[key]
		fmt.Fprintf(w, "housework_call_seconds_count%s %d\n", labels, count.calls)
		fmt.Fprintf(w, "housework_call_seconds_sum%s %g\n", labels, count.time.Seconds())
	}
	done, chores := 0, m.file.read().Chores
	for _, c := range chores {
		if c.CompletedBy != "" {
			done++
		}
	}
	fmt.Fprint(w, "# HELP housework_chores Chores in the file.\n# TYPE housework_chores gauge\n")
	fmt.Fprintf(w, "housework_chores{state=\"open\"} %d\nhousework_chores{state=\"done\"} %d\n", len(chores)-done, done)
}
