// SPDX-License-Identifier: Apache-2.0

// Tests that the chain of every contender does its work: spans, metrics, tokens and rules.

package main

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// patience ends a wait that should take no time.
const patience = 20 * time.Second

func (c *chain) links() *chain { return c }

// TestChains makes a few calls with every contender that has a chain, and compares what
// the chain has counted with the calls. One with a message that breaks its rule fails.
func TestChains(t *testing.T) {
	const calls = 3
	tooLong := make([]byte, 1<<20+1)
	contenders := 0
	for _, e := range entries {
		for _, w := range works {
			if !e.does(w) || w.extra != chained || e.library == bareHTTP {
				continue
			}
			contenders++
			t.Run(e.String()+"/"+w.name, func(t *testing.T) {
				opened, err := e.open(new(network), w, 1)
				if err != nil {
					t.Fatal(err)
				}
				end := sync.OnceValue(opened.Close)
				defer end()
				c := newCaller(0, opened, w, w.payload(), calls)
				for range calls {
					if err := c.call(t.Context(), 5); err != nil {
						t.Fatal(err)
					}
				}
				c.data = tooLong
				if err := c.call(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "1048576 bytes") {
					t.Errorf("got error %v for a message of 1 MiB and a byte, want the rule that it breaks", err)
				}
				links := opened.(interface{ links() *chain }).links()
				if got := links.verified.Load(); got != calls+1 {
					t.Errorf("the server has verified %d tokens, want %d", got, calls+1)
				}
				if err := end(); err != nil { // ends the calls on both sides
					t.Fatal(err)
				}
				// Servers may return from Close a little before their handlers end.
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				got, want := links.count(t), counts{spans: 2 * (calls + 1), client: calls + 1, server: calls + 1}
				for ; got != want && ctx.Err() == nil; got = links.count(t) {
					time.Sleep(time.Millisecond)
				}
				if got != want {
					t.Errorf("got %+v, want %+v", got, want)
				}
			})
		}
	}
	if contenders == 0 {
		t.Error("no contender has a chain")
	}
}

// counts are the spans that have ended, and the calls in the histograms of each side.
type counts struct{ spans, client, server int }

func (c *chain) count(t *testing.T) counts {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := c.reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	n := counts{spans: int(c.spans.spans.Load())}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			h, ok := m.Data.(metricdata.Histogram[float64])
			if !ok || !strings.HasSuffix(m.Name, ".duration") {
				continue
			}
			for _, point := range h.DataPoints {
				switch {
				case strings.HasPrefix(m.Name, "rpc.client."):
					n.client += int(point.Count)
				case strings.HasPrefix(m.Name, "rpc.server."):
					n.server += int(point.Count)
				}
			}
		}
	}
	return n
}

func TestVerify(t *testing.T) {
	c := newChain()
	if subject, err := c.verify(c.token); subject != "bench" || err != nil {
		t.Errorf("got %q and %v for the right token", subject, err)
	}
	for _, token := range []string{"", "bench", "bench.", "bench.zz", strings.Replace(c.token, "bench", "other", 1), c.token + "00"} {
		if subject, err := c.verify(token); err == nil {
			t.Errorf("%q: got %q, want an error", token, subject)
		}
	}
	if got := c.verified.Load(); got != 1 {
		t.Errorf("got %d verified tokens, want 1", got)
	}
}

// TestChainNote checks that the table says what a work with a chain measures.
func TestChainNote(t *testing.T) {
	for _, w := range works {
		if w.extra != chained {
			continue
		}
		var out bytes.Buffer
		printCase(&out, caseReport{work: w})
		if !strings.Contains(out.String(), chainNote) {
			t.Errorf("%s: got %q, want the note in it", w.name, out.String())
		}
	}
}
