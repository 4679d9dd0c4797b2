// SPDX-License-Identifier: Apache-2.0

// Handlers that run on the reading goroutine only while their request is the only one.

package h2_test

import (
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

const (
	shortRun   = 100 * time.Microsecond
	shortPause = 50 * time.Microsecond
)

// dialShort connects to a server whose handler is short.
func dialShort(t *testing.T) *inlinePeer {
	return &inlinePeer{dial(t, startServer(t, tellsInline(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(shortRun)
		answerOK(w, r)
	}))), nil, 1}
}

// short sends n requests in one piece, and a pause after their answers. It returns how
// many ran inline.
func (p *inlinePeer) short(n int) (inline int) {
	p.t.Helper()
	inline = p.wantInline(p.batch(slices.Repeat([]string{"short"}, n)...)...)
	time.Sleep(shortPause)
	return inline
}

// wantInline reads the answers to requests and returns how many ran inline.
func (p *inlinePeer) wantInline(ids ...uint32) (inline int) {
	p.t.Helper()
	for _, id := range ids {
		if a := p.wantAnswer(id, "200"); field(a.header, "x-inline") != "" {
			inline++
		}
	}
	return inline
}

// TestInlineShort makes requests one after the other, which run inline, and then some that
// are not the only ones.
func TestInlineShort(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		p := dialShort(t)
		workers := 0
		for p.short(1) == 0 {
			if workers++; workers > inlineBy {
				t.Fatalf("got %d requests on workers, want one inline by then", workers)
			}
		}
		if workers < 16 {
			t.Errorf("got request %d inline, want some on workers first", workers)
		}
		for range 3 {
			if n := p.short(2); n > 0 {
				t.Errorf("got %d of 2 requests inline that came together, want both on workers", n)
			}
			if p.short(1) == 0 {
				t.Error("got a single request on a worker, want it inline again")
			}
		}
		upload := p.next
		p.next += 2
		p.post(upload)
		time.Sleep(2 * shortRun)
		if p.short(1) != 0 {
			t.Error("got a request inline beside an open stream, want it on a worker")
		}
		p.data(upload, true, []byte("end"))
		p.wantAnswer(upload, "200")
		if p.short(1) == 0 {
			t.Error("got a request on a worker after the other stream, want it inline again")
		}
	})
}

// TestInlineShortWaited makes requests that come while a short handler runs inline: before
// long they find workers.
func TestInlineShortWaited(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		p := dialShort(t)
		for range 2 * inlineBy {
			p.short(1)
		}
		overlapping := func() (inline int) {
			first := p.batch("short")
			time.Sleep(shortRun / 2)
			second := p.batch("short")
			inline = p.wantInline(append(first, second...)...)
			time.Sleep(shortPause)
			return inline
		}
		if n := overlapping(); n != 2 {
			t.Fatalf("got %d of 2 requests inline, want both at first", n)
		}
		for n := 0; overlapping() > 0; n++ {
			if n > 200 {
				t.Fatal("got requests inline that make others wait, want them on workers before long")
			}
		}
		began := time.Now()
		for range restAtOnce/2 - 2 {
			if overlapping() > 0 {
				t.Fatal("got a request inline soon after, want all on workers for a while")
			}
		}
		if each := time.Since(began) / (restAtOnce/2 - 2); each != shortRun/2+shortRun+shortPause {
			t.Errorf("got %v for two overlapping requests, want them to run side by side", each)
		}
	})
}

// TestInlineShortBlocks has a short handler block that runs inline.
func TestInlineShortBlocks(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		held := newGate(t)
		p := &inlinePeer{dial(t, startServer(t, tellsInline(func(w http.ResponseWriter, r *http.Request) {
			if time.Sleep(shortRun); r.Header.Get("X-Do") == "block" {
				held.wait()
			}
			answerOK(w, r)
		}))), nil, 1}
		for range 2 * inlineBy {
			p.wantInline(p.batch("short")...)
			time.Sleep(shortPause)
		}
		began := time.Now()
		blocked := p.batch("block")
		synctest.Wait()
		if n := p.wantInline(p.batch("short")...); n != 0 {
			t.Error("got a request inline behind one that blocks, want it on a worker")
		}
		within(t, "the time until its answer", time.Since(began), 0, inlineWait+2*shortRun)
		held.open()
		if n := p.wantInline(blocked...); n != 1 {
			t.Error("got the request that blocks on a worker, want it inline")
		}
	})
}
