// SPDX-License-Identifier: Apache-2.0

// The outbox: it gathers the messages that a handler sends while earlier ones are
// written and flushed.

package connect

import (
	"fmt"
	"net/http"
	"sync"
)

// outboxMax is the most bytes of messages that wait in an outbox. If a message would
// exceed it, its sender waits.
const outboxMax = 32 << 10

// outbox writes messages to a ResponseWriter from a goroutine of its own. Messages
// that are sent during a flush share the next write and flush. The goroutine begins
// to write as soon as there is a message, so no message waits for a later one.
//
// While the outbox is idle, its one sender may use the ResponseWriter itself.
type outbox struct {
	w       http.ResponseWriter
	filled  chan struct{} // has a token after messages or the end came
	emptied chan struct{} // has a token after the goroutine took messages or has written them
	done    chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex
	waiting *buffer // messages that the goroutine has not taken yet
	writing bool    // the goroutine uses w
	ended   bool    // the goroutine must end
	err     error   // of w; nothing is written after it
	panic   any     // the value of a panic of w, for the handler's goroutine
}

func newOutbox(w http.ResponseWriter) *outbox {
	o := &outbox{w: w, filled: make(chan struct{}, 1), emptied: make(chan struct{}, 1), done: make(chan struct{}), waiting: newBuffer(0)}
	go o.run()
	return o
}

// add copies a message into the outbox. It waits while there is no room for it.
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

// isIdle reports whether no message waits and the goroutine does not write.
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

// end ends the goroutine and writes the messages that wait, without a flush.
func (o *outbox) end() {
	o.mu.Lock()
	o.ended = true
	o.mu.Unlock()
	signal(o.filled)
	<-o.done
	if o.panic != nil {
		panic(o.panic) // in the handler's goroutine, where net/http and middleware recover
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
		if o.err == nil { // after an error net/http's goroutine may still read it
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

// write writes and flushes. It recovers from a panic of the ResponseWriter, which
// would end the program here, and keeps its value for the handler's goroutine.
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
