// SPDX-License-Identifier: Apache-2.0

// What a stream has received and nobody has read yet.

package h2

import (
	"context"
	"io"
	"os"
	"sync"
	"time"
)

// Sizes of the pieces in which bodies are kept. Small bodies take a small one.
const (
	smallChunk = 2 << 10
	largeChunk = 64 << 10
)

var (
	smallChunks = sync.Pool{New: func() any { return &chunk{data: make([]byte, 0, smallChunk)} }}
	largeChunks = sync.Pool{New: func() any { return &chunk{data: make([]byte, 0, largeChunk)} }}
)

// A chunk is a piece of a body, in the order of arrival.
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

// An inbox is the receiving half of a stream. The connection's reading goroutine
// puts bytes in, one goroutine at a time takes them out. Its bytes are bounded by
// the stream's flow-control window, and its memory by little more: a chunk is
// filled before the next is begun, and freed when all of it was read.
type inbox struct {
	mu          sync.Mutex
	first, last *chunk
	off         int   // of the first chunk: what was read
	size        int   // bytes not read yet
	err         error // after the bytes: io.EOF or why there are no more
	filling     bool  // the reading goroutine fills the free space of last
	abandoned   bool  // bytes are dropped: they will not be read
	timedOut    bool  // the read deadline has passed
	deadline    *time.Timer
	wake        chan struct{} // has room for one; made when somebody first waits
}

// signal wakes who waits for the inbox, now or next. Without mu.
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

// waker returns the channel that tells of news. With mu held.
func (in *inbox) wakerLocked() chan struct{} {
	if in.wake == nil {
		in.wake = make(chan struct{}, 1)
	}
	return in.wake
}

// space returns where up to n more bytes go, at least one, for put to count.
// Only the reading goroutine appends, so it may fill the space without mu.
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

// put makes the first n bytes of the last space readable. It reports false if
// they were dropped because nobody will read them.
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

// end says that nothing follows the bytes, because of err. The first call counts.
func (in *inbox) end(err error) {
	in.mu.Lock()
	if in.err == nil {
		in.err = err
	}
	in.mu.Unlock()
}

// abandon drops what is there and what will come; reads fail with err from now
// on. It returns how many bytes were not read.
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
	in.first, in.last = nil, nil // the garbage collector frees a chunk that is being filled
	return n
}

// drop frees all chunks. With mu held, by the reading goroutine.
func (in *inbox) dropLocked() {
	for in.first != nil {
		c := in.first
		in.first = c.next
		c.free()
	}
	in.last, in.size, in.off = nil, 0, 0
}

// read moves bytes to p, waiting for the first until ctx ends or the deadline
// passes. It returns io.EOF with the last bytes if the end is known by then.
func (in *inbox) read(ctx context.Context, p []byte) (n int, err error) {
	in.mu.Lock()
	for in.size == 0 || in.timedOutLocked() {
		if in.err != nil || in.timedOut {
			in.signalLocked() // for another goroutine that waits, against the rules
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

// lateLocked reports whether reads fail because of the deadline. It does not matter
// to a body that is here as a whole.
func (in *inbox) timedOutLocked() bool { return in.timedOut && in.err != io.EOF }

// setDeadline lets reads fail from t on, never if t is zero. A deadline that has
// passed stays: [http.ResponseController] has no way back.
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
