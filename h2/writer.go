// SPDX-License-Identifier: Apache-2.0

// Gathered writing: whoever has frames appends them, and whoever finds nobody
// sending sends for all.

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
	outFull         = 128 << 10 // beyond, DATA waits until some of it is sent
	outMax          = 4 << 20   // beyond, the peer lets us answer without taking the answers
	writeThroughMin = 16 << 10  // DATA of this length is written from where it lies
	yieldBelow      = 1 << 10   // with less, it is worth a moment to see who adds to it
)

// A writer gathers frames and writes them. The connection's mutex guards it; no
// goroutine waits for the network while it holds the mutex, and none but a
// goroutine made for that waits at all: what the socket does not take at once is
// left to [conn.writeRest].
type writer struct {
	nc         net.Conn
	socket     tryWriter     // writes without waiting; nil if nc cannot
	timeout    time.Duration // for the peer to take something
	out        []byte        // frames to write; see outLocked
	buffer     *outBuffer    // the memory of out; nil if there is none
	writing    bool          // somebody is writing, and will write what out has by then
	inFlight   int           // callers and handlers under way, who may add to out
	afterWrite []func()      // to be called when nobody writes
}

// A tryWriter writes what a socket takes without waiting.
type tryWriter interface {
	// tryWrite writes one after the other. It returns how many bytes were taken,
	// which may be none.
	tryWrite(head, body []byte) (int, error)
}

func newWriter(nc net.Conn, timeout time.Duration) writer {
	return writer{nc: nc, socket: newTryWriter(nc), timeout: timeout}
}

// An outBuffer is memory for frames. Connections that have none to write have none.
type outBuffer struct{ b []byte }

var outBuffers = sync.Pool{New: func() any { return &outBuffer{make([]byte, 0, outStart)} }}

// outLocked returns the frames that have gathered, for more to be appended.
func (c *conn) outLocked() []byte {
	w := &c.writer
	if w.buffer == nil {
		w.buffer = outBuffers.Get().(*outBuffer)
		w.out = w.buffer.b
	}
	return w.out
}

// full reports whether DATA should wait.
func (w *writer) fullLocked() bool { return len(w.out) >= outFull && w.writing }

// flush sends what has gathered, or leaves it to who is sending. The caller holds
// c.mu, which is released and taken again. It does not wait for the network.
func (c *conn) flushRelocking() {
	c.mu.assertHeld()
	w := &c.writer
	if w.writing || len(w.out) == 0 {
		return
	}
	w.writing = true
	for len(w.out) > 0 && c.err == nil {
		if w.inFlight > 1 && len(w.out) < yieldBelow {
			// Others are about to add theirs: one write carries all of it.
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

// canPass reports whether DATA may be written from where it lies, without being
// gathered. With mu held.
func (w *writer) canWriteThroughLocked(n int) bool {
	return n >= writeThroughMin && w.socket != nil && !w.writing
}

// pass writes what has gathered, and then data that is too long to be worth
// copying. The frame's header was gathered last. What the socket does not take is
// copied. With mu held, which it gives away meanwhile.
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
	w.writing = false // flush goes on with what has gathered meanwhile
	c.flushRelocking()
}

// written ends the writing. With mu held.
func (c *conn) endWriteLocked() {
	c.writer.writing = false
	quiet := c.writer.afterWrite
	c.writer.afterWrite = nil
	for _, f := range quiet {
		f()
	}
}

// afterWriting calls f, with mu held, when all that was said has been written or
// the connection is over. With mu held.
func (c *conn) afterWritingLocked(f func()) {
	if c.writer.writing {
		c.writer.afterWrite = append(c.writer.afterWrite, f)
	} else {
		f()
	}
}

// swapLocked takes what has gathered.
func (w *writer) takeLocked() *outBuffer {
	out := w.buffer
	out.b = w.out
	w.out, w.buffer = nil, nil
	return out
}

// recycleLocked gives the memory of what was written to the next connection.
func (w *writer) recycleLocked(out *outBuffer) {
	if cap(out.b) <= outKept {
		out.b = out.b[:0]
		outBuffers.Put(out)
	}
}

// writeRest writes out from n on, and then all that gathers meanwhile. It is the
// goroutine that waits where flush must not.
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

// write writes all of b, as long as some of it is taken within each timeout. So a peer
// that stops taking is found out within two: in the first it has taken some. A TLS
// connection is over after a timeout; there, some of it is a record of up to 16 KiB.
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

// roomMade wakes the streams whose DATA waited for room. With mu held.
func (c *conn) wakeIfRoomLocked() {
	if len(c.writer.out) < outFull {
		c.wakeSendersLocked()
	}
}

func isTimeout(err error) bool {
	t, ok := err.(net.Error)
	return ok && t.Timeout()
}
