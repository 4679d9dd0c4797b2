// SPDX-License-Identifier: Apache-2.0

// The messages of a response stream that are sent faster than they are flushed.

package connect

import (
	"fmt"
	"net/http"
	"sync"
)

// outboxMax is how many bytes of messages may wait for the flush before a sender
// waits, too.
const outboxMax = 32 << 10

// outbox writes to a ResponseWriter in a goroutine of its own: what is sent while
// a flush is under way is carried by the next one. No message waits for a later
// one, as the goroutine begins to write as soon as there is something.
//
// While the outbox is idle, its one sender may use the ResponseWriter itself.
type outbox struct {
	w       http.ResponseWriter
	filled  chan struct{} // has a token when the goroutine may find something to do
	emptied chan struct{} // has a token when the sender may find the outbox emptier
	done    chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex
	waiting *buffer // messages that are not being written yet
	writing bool    // the goroutine uses w
	ended   bool    // the sender wants the goroutine to end
	err     error   // of w; nothing is written after it
	panic   any     // of w, for the handler's goroutine
}

func newOutbox(w http.ResponseWriter) *outbox {
	o := &outbox{w: w, filled: make(chan struct{}, 1), emptied: make(chan struct{}, 1), done: make(chan struct{}), waiting: newBuffer(0)}
	go o.run()
	return o
}

// add sends a message and does not keep it. It waits while there is too much
// already.
func (o *outbox) add(message []byte) error {
	o.mu.Lock()
	for o.err == nil && len(o.waiting.data) > 0 && len(o.waiting.data)+len(message) > outboxMax {
		o.mu.Unlock()
		<-o.emptied
		o.mu.Lock()
	}
	err, first := o.err, len(o.waiting.data) == 0
	if err == nil {
		_, _ = o.waiting.Write(message)
	}
	o.mu.Unlock()
	if err == nil && first {
		signal(o.filled)
	}
	return err
}

// isIdle reports whether nothing waits and nothing is being written.
func (o *outbox) isIdle() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.writing && len(o.waiting.data) == 0 && o.err == nil
}

// drain waits until the outbox is idle.
func (o *outbox) drain() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.err == nil && (o.writing || len(o.waiting.data) > 0) {
		o.mu.Unlock()
		<-o.emptied
		o.mu.Lock()
	}
	return o.err
}

// end ends the goroutine and writes what it left, without flushing it.
func (o *outbox) end() {
	o.mu.Lock()
	o.ended = true
	o.mu.Unlock()
	signal(o.filled)
	<-o.done
	if o.panic != nil {
		panic(o.panic) // where net/http, or the middleware whose writer it is, expects it
	}
	if o.err == nil && len(o.waiting.data) > 0 {
		if _, err := o.w.Write(o.waiting.data); err != nil {
			return // see run
		}
	}
	o.waiting.free()
}

func (o *outbox) run() {
	defer close(o.done)
	batch := newBuffer(0)
	defer func() {
		if o.err == nil { // otherwise a Write that was given up may still read it
			batch.free()
		}
	}()
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.ended {
		if len(o.waiting.data) == 0 {
			o.mu.Unlock()
			<-o.filled
			o.mu.Lock()
			continue
		}
		batch, o.waiting = o.waiting, batch
		o.waiting.data = o.waiting.data[:0]
		o.writing = true
		o.mu.Unlock()
		signal(o.emptied)
		err := o.write(batch.data)
		o.mu.Lock()
		o.writing = false
		if err != nil {
			o.err, o.ended = err, true
		}
		signal(o.emptied)
	}
}

// write writes and flushes. A panic of the ResponseWriter must not end the
// program: it is kept for the handler's goroutine, where it would have been.
func (o *outbox) write(messages []byte) (err error) {
	defer func() {
		if o.panic = recover(); o.panic != nil {
			err = fmt.Errorf("%T panicked: %v", o.w, o.panic)
		}
	}()
	if _, err := o.w.Write(messages); err != nil {
		return err
	}
	return http.NewResponseController(o.w).Flush()
}
