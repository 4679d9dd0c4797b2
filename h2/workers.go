// SPDX-License-Identifier: Apache-2.0

// Workers: the goroutines of handlers, kept for the next request because their stacks
// have grown to the size that handlers need, and ended when none comes for a second.
//
// The worker of a connection's first request ends: many connections carry only one.
//
// Invariants. A parked worker waits for its channel, which has room for one request;
// taking a channel out of parked is the right to send one, or to close it. workers.mu is
// taken after idleWorkers.mu.

package h2

import (
	"sync"
	"time"
)

const (
	workersKept = 64          // parked workers of a connection, at most
	workersRest = time.Second // without a request, then parked workers end
)

// workers are the goroutines of one connection's handlers.
type workers struct {
	idle *idleWorkers

	mu      sync.Mutex
	parked  []chan *serverStream // channels of parked workers; the last was parked last
	ended   bool
	watched bool   // idle looks at these workers
	runs    uint64 // requests so far
	seen    uint64 // runs at the last tick of idle, whose mutex guards it
}

// run gives a request to a parked worker, or else to a new one.
func (w *workers) run(s *serverStream) {
	w.mu.Lock()
	w.runs++
	if n := len(w.parked); n > 0 {
		next := w.parked[n-1]
		w.parked = w.parked[:n-1]
		w.mu.Unlock()
		next <- s // has room for it
		return
	}
	w.mu.Unlock()
	go w.work(s)
}

// work serves s and then, while it may park, one request after the other.
func (w *workers) work(s *serverStream) {
	var next chan *serverStream
	for s != nil {
		s.run()
		if next == nil {
			next = make(chan *serverStream, 1)
		}
		w.mu.Lock()
		if w.ended || w.runs == 1 || len(w.parked) >= workersKept {
			w.mu.Unlock()
			return
		}
		w.parked = append(w.parked, next)
		watch := !w.watched
		w.watched = true
		w.mu.Unlock()
		if watch {
			w.idle.watch(w)
		}
		s = <-next
	}
}

// end ends the parked workers; the others end when their handlers return.
func (w *workers) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.dismissLocked()
}

// dismissLocked ends the parked workers.
func (w *workers) dismissLocked() {
	for _, next := range w.parked {
		close(next)
	}
	w.parked = nil
}

// idleWorkers ends the parked workers of connections that had no request between two
// ticks, which are a second apart. It ticks while there are any.
type idleWorkers struct {
	mu    sync.Mutex
	all   []*workers
	timer *time.Timer // runs while all is not empty
}

func (i *idleWorkers) watch(w *workers) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.all = append(i.all, w)
	switch {
	case len(i.all) > 1:
	case i.timer == nil:
		i.timer = time.AfterFunc(workersRest, i.tick)
	default:
		i.timer.Reset(workersRest)
	}
}

// tick looks at all connections with parked workers.
func (i *idleWorkers) tick() {
	i.mu.Lock()
	defer i.mu.Unlock()
	kept := i.all[:0]
	for _, w := range i.all {
		w.mu.Lock()
		if w.runs == w.seen || w.ended {
			w.dismissLocked()
			w.watched = false
		} else {
			w.seen = w.runs
			kept = append(kept, w)
		}
		w.mu.Unlock()
	}
	clear(i.all[len(kept):])
	i.all = kept
	if len(kept) > 0 {
		i.timer.Reset(workersRest)
	}
}
