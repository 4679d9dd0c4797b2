// SPDX-License-Identifier: Apache-2.0

// The inbox of a stream: bytes that were received and not read yet.
//
// Invariants. The chunks from first to last hold the unread bytes in order; off bytes of
// the first were read, and size bytes are left. The reading goroutine alone appends: it
// may write into the free space of last without the lock between space and put
// (filling), and until then last is not freed. err, once set, follows the bytes. mu is
// taken after conn.mu, and no other mutex is taken under it.

package h2

import (
	"context"
	"io"
	"os"
	"sync"
	"time"
)

// Sizes of chunks. Bodies of few bytes take a small one.
const (
	smallChunk = 2 << 10
	largeChunk = 64 << 10
)

var (
	smallChunks = sync.Pool{New: func() any { return &chunk{data: make([]byte, 0, smallChunk)} }}
	largeChunks = sync.Pool{New: func() any { return &chunk{data: make([]byte, 0, largeChunk)} }}
)

// A chunk is a piece of a body.
type chunk struct {
	data []byte
	next *chunk
}

func newChunk(size int) *chunk {
	if size <= smallChunk {
		return smallChunks.Get().(*chunk)
	}
	return largeChunks.Get().(*chunk)
}

func (c *chunk) free() {
	c.data, c.next = c.data[:0], nil
	if cap(c.data) <= smallChunk {
		smallChunks.Put(c)
	} else {
		largeChunks.Put(c)
	}
}

// An inbox holds what a stream has received. The connection's reading goroutine puts bytes
// in, one goroutine at a time takes them out. The stream's flow-control window bounds the
// bytes, and little more bounds the memory: a chunk is filled before the next begins, and
// freed when all of it was read.
type inbox struct {
	mu          sync.Mutex
	first, last *chunk
	off         int   // how much of first was read
	size        int   // bytes not read yet
	err         error // follows the bytes: io.EOF, or the reason for an early end
	filling     bool  // the reading goroutine fills the free space of last
	abandoned   bool  // the reader is gone: bytes are dropped
	timedOut    bool  // the read deadline has passed
	deadline    *time.Timer
	wake        chan struct{} // has room for one; made when a reader first waits
}

// signal wakes the goroutine that waits in read, or the next that would wait.
func (in *inbox) signal() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.signalLocked()
}

func (in *inbox) signalLocked() {
	if in.wake != nil {
		signal(in.wake)
	}
}

// wakerLocked returns the channel of signal.
func (in *inbox) wakerLocked() chan struct{} {
	if in.wake == nil {
		in.wake = make(chan struct{}, 1)
	}
	return in.wake
}

// space returns memory for up to n more bytes, at least one, which put then counts.
func (in *inbox) space(n int) []byte {
	in.mu.Lock()
	defer in.mu.Unlock()
	c := in.last
	if c == nil || len(c.data) == cap(c.data) {
		c = newChunk(n)
		if in.last == nil {
			in.first = c
		} else {
			in.last.next = c
		}
		in.last = c
	}
	in.filling = true
	free := c.data[len(c.data):cap(c.data)]
	return free[:min(n, len(free))]
}

// put makes the first n bytes of the last space readable. It reports false if the inbox
// dropped them because its reader is gone.
func (in *inbox) put(n int) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.filling = false
	if in.abandoned || in.last == nil {
		in.dropLocked()
		return false
	}
	in.last.data = in.last.data[:len(in.last.data)+n]
	in.size += n
	return true
}

// end sets the error that follows the bytes. The first call counts.
func (in *inbox) end(err error) {
	in.mu.Lock()
	if in.err == nil {
		in.err = err
	}
	in.mu.Unlock()
}

// abandon is called when the reader is gone. The inbox drops the bytes that it holds and
// all that arrive later, and reads fail with err, also one that waits. It returns how
// many bytes were unread. A chunk that the reading goroutine is filling is left to the
// garbage collector.
func (in *inbox) abandon(err error) int {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.deadline != nil {
		in.deadline.Stop()
	}
	if in.abandoned {
		return 0
	}
	in.abandoned = true
	if in.err == nil || in.err == io.EOF {
		in.err = err
	}
	n := in.size
	in.size, in.off = 0, 0
	in.signalLocked()
	for in.first != nil && (in.first != in.last || !in.filling) {
		c := in.first
		in.first = c.next
		c.free()
	}
	in.first, in.last = nil, nil
	return n
}

// dropLocked frees all chunks, for the reading goroutine.
func (in *inbox) dropLocked() {
	for in.first != nil {
		c := in.first
		in.first = c.next
		c.free()
	}
	in.last, in.size, in.off = nil, 0, 0
}

// read moves bytes to p. If there are none it waits until some arrive, the body ends,
// ctx is done, or the read deadline passes. It returns io.EOF together with the last
// bytes if the end has arrived, so that a short message costs one call.
//
// An early end of the stream (RST_STREAM, or the end of the connection) comes after the
// bytes that had arrived: a server may send a complete response and then reset the
// stream, and its client must not discard that response. [RFC 9113, section 8.1] The
// deadline comes first, except before a body that has arrived completely.
func (in *inbox) read(ctx context.Context, p []byte) (n int, err error) {
	in.mu.Lock()
	for in.size == 0 || in.timedOutLocked() {
		if in.err != nil || in.timedOut {
			in.signalLocked() // another goroutine may wait too, which callers must not do
		}
		switch {
		case in.timedOutLocked():
			in.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case in.err != nil:
			err := in.err
			in.mu.Unlock()
			return 0, err
		case len(p) == 0:
			in.mu.Unlock()
			return 0, nil
		}
		wake := in.wakerLocked()
		in.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
		in.mu.Lock()
	}
	for n < len(p) && in.size > 0 {
		c := in.first
		moved := copy(p[n:], c.data[in.off:])
		n += moved
		in.off += moved
		in.size -= moved
		if in.off < len(c.data) {
			break
		}
		if c == in.last {
			if in.filling {
				break
			}
			in.last = nil
		}
		in.first, in.off = c.next, 0
		c.free()
	}
	if in.size == 0 && in.err == io.EOF {
		err = io.EOF
	}
	in.mu.Unlock()
	return n, err
}

// timedOutLocked reports whether reads fail because of the deadline. A body that has
// arrived completely can still be read.
func (in *inbox) timedOutLocked() bool { return in.timedOut && in.err != io.EOF }

// setDeadline makes reads fail from t on, never if t is zero. A deadline that has passed
// stays: [http.ResponseController] promises no way back.
func (in *inbox) setDeadline(t time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	passed := in.deadline != nil && !in.deadline.Stop() // its function may wait for mu
	if in.timedOut || passed || in.abandoned {
		return
	}
	in.deadline = nil
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		in.timedOut = true
		in.signalLocked()
		return
	}
	in.deadline = time.AfterFunc(wait, func() {
		in.mu.Lock()
		defer in.mu.Unlock()
		in.timedOut = true
		in.signalLocked()
	})
}
