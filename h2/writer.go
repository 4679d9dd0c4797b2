// SPDX-License-Identifier: Apache-2.0

// Gathered writing: any goroutine appends its frames to one buffer, and the goroutine
// that finds no other writing writes them all.
//
// Invariants. One goroutine writes at a time: the one that set writing, or the writeRest
// to which it handed over. While writing is set, frames that others append leave with
// the next write of that goroutine; a goroutine that appends while it is not set flushes
// before it waits for anything. No goroutine waits for the network under conn.mu, and
// only writeRest waits for it at all: bytes that a socket does not take at once are left
// to it, and so is everything for connections that cannot be written to without waiting.

package h2

import (
	"net"
	"runtime"
	"sync"
	"time"
)

const (
	outStart        = 4 << 10
	outKept         = 256 << 10 // larger buffers are left to the garbage collector
	outFull         = 128 << 10 // beyond, DATA waits until some is written
	outMax          = 4 << 20   // beyond, the peer takes too little: the connection ends
	writeThroughMin = 16 << 10  // DATA of this length is written from where it lies
	yieldBelow      = 1 << 10   // with less to write, others get a moment to append
)

// A writer gathers frames and writes them. conn.mu guards it.
type writer struct {
	nc         net.Conn
	socket     tryWriter     // writes to nc without waiting; nil if nc is no socket
	timeout    time.Duration // how long the peer may take no byte; 0: for ever
	out        []byte        // frames to write; see outLocked
	buffer     *outBuffer    // the memory of out; nil if there is none
	writing    bool          // a goroutine writes, and goes on with out
	inFlight   int           // calls in flight, whose goroutines may append to out
	afterWrite []func()      // functions to run when all is written
}

// A tryWriter writes as many bytes as a socket takes without waiting.
type tryWriter interface {
	// tryWrite writes head, then body, and returns how many bytes the socket took,
	// which may be none.
	tryWrite(head, body []byte) (int, error)
}

func newWriter(nc net.Conn, timeout time.Duration) writer {
	return writer{nc: nc, socket: newTryWriter(nc), timeout: timeout}
}

// An outBuffer is memory for frames. Connections that have no frames to write have none.
type outBuffer struct{ b []byte }

var outBuffers = sync.Pool{New: func() any { return &outBuffer{make([]byte, 0, outStart)} }}

// outLocked returns the frames that have gathered. The caller appends and stores the
// result in writer.out.
func (c *conn) outLocked() []byte {
	w := &c.writer
	if w.buffer == nil {
		w.buffer = outBuffers.Get().(*outBuffer)
		w.out = w.buffer.b
	}
	return w.out
}

// fullLocked reports whether DATA should wait.
func (w *writer) fullLocked() bool { return len(w.out) >= outFull && w.writing }

// flushRelocking writes the frames that have gathered, unless another goroutine writes:
// that one then writes these, too. It does not wait for the network.
//
// The loop writes until nothing is left, because frames appended during a write have no
// other goroutine to write them. With several calls in flight and little to write it
// yields once before each write, so that others append first and one write carries the
// frames of all. The frames of a stream keep their order [RFC 9113, section 5], because
// they are appended and taken under the lock, and one goroutine writes at a time. The
// bytes that a socket does not take go to writeRest, which is then the goroutine that
// writes.
func (c *conn) flushRelocking() {
	c.mu.assertHeld()
	w := &c.writer
	if w.writing || len(w.out) == 0 {
		return
	}
	w.writing = true
	for len(w.out) > 0 && c.err == nil {
		if w.inFlight > 1 && len(w.out) < yieldBelow {
			c.mu.Unlock()
			runtime.Gosched()
			c.mu.Lock()
		}
		out := w.takeLocked()
		if w.socket == nil {
			go c.writeRest(out, 0)
			return
		}
		c.mu.Unlock()
		n, err := w.socket.tryWrite(out.b, nil)
		c.mu.Lock()
		switch {
		case err != nil:
			c.failLocked(c.explainLocked(err))
		case n < len(out.b):
			go c.writeRest(out, n)
			return
		}
		w.recycleLocked(out)
		c.wakeIfRoomLocked()
	}
	c.endWriteLocked()
}

// canWriteThroughLocked reports whether DATA of n bytes may be written from where it
// lies, without a copy into out.
func (w *writer) canWriteThroughLocked(n int) bool {
	return n >= writeThroughMin && w.socket != nil && !w.writing
}

// writeThroughRelocking writes all that has gathered, and behind it data, whose frame
// header was gathered last. Bytes of data that the socket does not take are copied: the
// caller may use its memory again.
func (c *conn) writeThroughRelocking(data []byte) {
	w := &c.writer
	w.writing = true
	out := w.takeLocked()
	c.mu.Unlock()
	n, err := w.socket.tryWrite(out.b, data)
	c.mu.Lock()
	switch {
	case err != nil:
		c.failLocked(c.explainLocked(err))
	case n < len(out.b)+len(data):
		if n < len(out.b) {
			out.b = append(out.b, data...)
		} else {
			out.b, n = append(out.b[:0], data[n-len(out.b):]...), 0
		}
		go c.writeRest(out, n)
		return
	}
	w.recycleLocked(out)
	c.wakeIfRoomLocked()
	if len(w.out) == 0 || c.err != nil {
		c.endWriteLocked()
		return
	}
	w.writing = false // or the flush would leave what has gathered to this goroutine
	c.flushRelocking()
}

// endWriteLocked ends the writing and runs the functions of afterWritingLocked.
func (c *conn) endWriteLocked() {
	c.writer.writing = false
	functions := c.writer.afterWrite
	c.writer.afterWrite = nil
	for _, f := range functions {
		f()
	}
}

// afterWritingLocked runs f with mu held when all frames are written or the connection
// has ended: at once if no goroutine writes, so the caller flushes first.
func (c *conn) afterWritingLocked(f func()) {
	if c.writer.writing {
		c.writer.afterWrite = append(c.writer.afterWrite, f)
	} else {
		f()
	}
}

// takeLocked takes the frames that have gathered, to be written.
func (w *writer) takeLocked() *outBuffer {
	out := w.buffer
	out.b = w.out
	w.out, w.buffer = nil, nil
	return out
}

// recycleLocked puts a buffer that was written back into the pool.
func (w *writer) recycleLocked(out *outBuffer) {
	if cap(out.b) <= outKept {
		out.b = out.b[:0]
		outBuffers.Put(out)
	}
}

// writeRest writes out from n on, and then all that gathers meanwhile. It runs in a
// goroutine of its own and waits for the network.
func (c *conn) writeRest(out *outBuffer, n int) {
	w := &c.writer
	for {
		err := w.write(out.b[n:])
		c.mu.Lock()
		if err != nil {
			c.failLocked(c.explainLocked(err))
		}
		w.recycleLocked(out)
		if len(w.out) == 0 || c.err != nil {
			c.endWriteLocked()
			c.wakeIfRoomLocked()
			c.mu.Unlock()
			return
		}
		out, n = w.takeLocked(), 0
		c.wakeIfRoomLocked()
		c.mu.Unlock()
	}
}

// write writes all of b, as long as the peer takes at least a byte within each timeout.
// So a peer that takes no more is found out within two timeouts: in the first it may
// have taken a byte. A TLS connection cannot be used after a timeout, so there the peer
// must take a record of up to 16 KiB within each.
func (w *writer) write(b []byte) error {
	const piece = 16 << 10
	for len(b) > 0 {
		if w.timeout > 0 {
			_ = w.nc.SetWriteDeadline(time.Now().Add(w.timeout))
		}
		n, err := w.nc.Write(b[:min(len(b), piece)])
		b = b[n:]
		switch {
		case err == nil:
		case isTimeout(err) && n == 0:
			return errWriteStalled
		case !isTimeout(err):
			return err
		}
	}
	if w.timeout > 0 {
		_ = w.nc.SetWriteDeadline(time.Time{})
	}
	return nil
}

// wakeIfRoomLocked wakes the streams whose DATA waits, if there is room.
func (c *conn) wakeIfRoomLocked() {
	if len(c.writer.out) < outFull {
		c.wakeSendersLocked()
	}
}

func isTimeout(err error) bool {
	t, ok := err.(net.Error)
	return ok && t.Timeout()
}
