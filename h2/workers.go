// SPDX-License-Identifier: Apache-2.0

// The goroutines of handlers, kept for the next request because their stacks have
// grown to what handlers need.

package h2

import "sync"

// workersKept is how many goroutines of a connection wait for work.
const workersKept = 64

// workers are the goroutines of one connection's handlers.
type workers struct {
	mu     sync.Mutex
	parked []chan *serverStream // of goroutines without work; the last has waited least
	ended  bool
}

// run gives a request to a goroutine.
func (w *workers) run(s *serverStream) {
	w.mu.Lock()
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

// work serves one request after the other.
func (w *workers) work(s *serverStream) {
	var next chan *serverStream
	for s != nil {
		s.run()
		if next == nil {
			next = make(chan *serverStream, 1)
		}
		w.mu.Lock()
		if w.ended || len(w.parked) >= workersKept {
			w.mu.Unlock()
			return
		}
		w.parked = append(w.parked, next)
		w.mu.Unlock()
		s = <-next
	}
}

// end lets goroutines without work end, and the others when they have none.
func (w *workers) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	for _, next := range w.parked {
		close(next)
	}
	w.parked = nil
}
