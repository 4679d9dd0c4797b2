// SPDX-License-Identifier: Apache-2.0

// Package bytepipe moves bytes between goroutines of one process, as a connection of a
// network does: a writer waits only when its reader has fallen behind by a window.
package bytepipe

import (
	"io"
	"os"
	"sync"
	"time"
)

// Window is the most bytes that wait in a Pipe. It is that of HTTP/2 before a peer
// changes it. [RFC 9113, section 6.9.2]
const Window = 64 << 10

// startSize is the memory of a Pipe's first bytes.
const startSize = 4 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, startSize); return &b }}

// A Pipe is one direction. The zero value is empty and open. Its methods are safe for
// concurrent use, and a Pipe must not be copied.
//
// Bytes that fit into the window are copied, and their writer goes on. A larger Write is
// lent: it returns once the reader has copied so much of it that the rest fits. A Pipe
// without unread bytes holds no buffer.
type Pipe struct {
	mu      sync.Mutex
	buffer  *[]byte // from the pool, nil if no bytes wait
	off     int     // how much of buffer was read
	lent    []byte  // unread bytes of the writer's own, after those of buffer
	lending bool    // a writer waits until lent was read
	lost    int     // bytes of it that a close has dropped

	end       error // follows the bytes, nil while the writing side is open
	dropped   bool  // the reading side is closed: end does not wait for bytes
	writesEnd error // of writes, nil while both sides are open

	read, write         deadline
	canRead, canWrite   sync.Cond
	readers, writers    int  // goroutines that wait
	KeepPassedDeadlines bool // set before use: a read deadline that has passed cannot be moved
}

// unread returns how many bytes wait.
func (p *Pipe) unread() int {
	n := len(p.lent)
	if p.buffer != nil {
		n += len(*p.buffer) - p.off
	}
	return n
}

// wait releases the lock until the condition may have changed.
func (p *Pipe) wait(c *sync.Cond, waiting *int) {
	if c.L == nil {
		c.L = &p.mu
	}
	*waiting++
	c.Wait()
	*waiting--
}

// wakeReaders and wakeWriters are called with the lock held.
func (p *Pipe) wakeReaders() {
	if p.readers > 0 {
		p.canRead.Broadcast()
	}
}

func (p *Pipe) wakeWriters() {
	if p.writers > 0 {
		p.canWrite.Broadcast()
	}
}

// Write writes b. It waits while b does not fit into the window, until the reader has
// made room, one side is closed, or the write deadline has passed: then it returns an
// error, and how many bytes the reader can still have. It does not use b after its
// return.
func (p *Pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.writesEnd == nil && !p.write.passed && p.lending {
		p.wait(&p.canWrite, &p.writers) // until another writer has finished
	}
	switch {
	case p.writesEnd != nil:
		return 0, p.writesEnd
	case p.write.passed:
		return 0, os.ErrDeadlineExceeded
	case len(b) == 0:
		return 0, nil
	case p.unread()+len(b) <= Window:
		p.append(b)
		p.wakeReaders()
		return len(b), nil
	}
	p.lent, p.lending = b, true
	p.wakeReaders()
	for p.writesEnd == nil && !p.write.passed && len(p.lent) > 0 {
		p.wait(&p.canWrite, &p.writers)
	}
	left := len(p.lent) + p.lost
	p.lent, p.lending = nil, false
	p.wakeWriters()
	switch {
	case left == 0:
		return len(b), nil
	case p.writesEnd != nil:
		return len(b) - left, p.writesEnd
	}
	return len(b) - left, os.ErrDeadlineExceeded
}

// append copies bytes behind those of the buffer.
func (p *Pipe) append(b []byte) {
	if p.buffer == nil {
		p.buffer = buffers.Get().(*[]byte)
	}
	data := *p.buffer
	if p.off > 0 && len(data)+len(b) > cap(data) {
		data = data[:copy(data, data[p.off:])]
		p.off = 0
	}
	*p.buffer = append(data, b...)
}

// Lend makes b all that the reader gets, followed by io.EOF. It returns at once: b must
// not be changed before the reader has read it, or Detach was called. The Pipe must be
// new.
func (p *Pipe) Lend(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lent = b
	p.end, p.writesEnd = io.EOF, io.ErrClosedPipe
}

// Detach ends the use of a slice of Lend, by copying what is unread.
func (p *Pipe) Detach() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.lending && len(p.lent) > 0 {
		p.lent = append([]byte(nil), p.lent...)
	}
}

// Read waits for at least one byte and copies as many as there are. With the last bytes
// before the end it also returns io.EOF.
func (p *Pipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.dropped:
			return 0, p.end
		case p.read.passed && p.end != io.EOF:
			return 0, os.ErrDeadlineExceeded
		case p.unread() > 0:
			n := p.copyTo(b)
			if p.end == io.EOF && p.unread() == 0 {
				return n, io.EOF
			}
			return n, nil
		case p.end != nil:
			return 0, p.end
		case len(b) == 0:
			return 0, nil
		}
		p.wait(&p.canRead, &p.readers)
	}
}

// copyTo moves unread bytes to b, and then those of a writer that waits to the buffer,
// if they fit.
func (p *Pipe) copyTo(b []byte) int {
	n := 0
	if p.buffer != nil {
		n = copy(b, (*p.buffer)[p.off:])
		if p.off += n; p.off == len(*p.buffer) {
			p.free()
		}
	}
	if p.buffer == nil && n < len(b) {
		m := copy(b[n:], p.lent)
		p.lent = p.lent[m:]
		n += m
	}
	if p.lending && len(p.lent) > 0 && p.unread() <= Window {
		p.append(p.lent)
		p.lent = nil
	}
	if len(p.lent) == 0 {
		p.wakeWriters()
	}
	return n
}

// free gives the buffer back.
func (p *Pipe) free() {
	if p.buffer == nil {
		return
	}
	*p.buffer = (*p.buffer)[:0]
	buffers.Put(p.buffer)
	p.buffer, p.off = nil, 0
}

// drop ends the use of lent.
func (p *Pipe) drop() {
	if p.lending {
		p.lost += len(p.lent)
	}
	p.lent = nil
}

// Peek copies the first unread bytes to b, and leaves them unread.
func (p *Pipe) Peek(b []byte) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	if p.buffer != nil {
		n = copy(b, (*p.buffer)[p.off:])
	}
	return n + copy(b[n:], p.lent)
}

// CloseWrite ends the writing side: after the bytes, reads return reads, and writes
// return writes. If a writer waits, its bytes are lost, and io.EOF becomes
// io.ErrUnexpectedEOF. The first call, of this method or of CloseRead, counts.
func (p *Pipe) CloseWrite(reads, writes error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end != nil {
		return
	}
	if len(p.lent) > 0 && reads == io.EOF {
		reads = io.ErrUnexpectedEOF
	}
	p.drop()
	p.end, p.writesEnd = reads, writes
	p.wakeReaders()
	p.wakeWriters()
}

// CloseRead ends the reading side: it drops all bytes, reads return reads, and writes
// return writes, unless CloseWrite has set an error for them. The first call counts.
func (p *Pipe) CloseRead(reads, writes error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dropped {
		return
	}
	p.dropped = true
	p.free()
	p.drop()
	if p.end = reads; p.writesEnd == nil {
		p.writesEnd = writes
	}
	p.read.stop()
	p.wakeReaders()
	p.wakeWriters()
}

// WriteError returns the error of writes, nil while both sides are open.
func (p *Pipe) WriteError() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writesEnd
}

// ---- deadlines ----

// A deadline is a point in time after which an operation fails.
type deadline struct {
	timer  *time.Timer
	passed bool
	count  int // of set: a timer that fired too late changes nothing
}

// stop keeps the timer from firing.
func (d *deadline) stop() {
	d.count++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

// SetReadDeadline makes reads fail with os.ErrDeadlineExceeded from t on, never if t is
// zero. All bytes of a body that is complete can still be read.
func (p *Pipe) SetReadDeadline(t time.Time) {
	p.set(&p.read, t, p.KeepPassedDeadlines, (*Pipe).wakeReaders)
}

// SetWriteDeadline makes writes fail with os.ErrDeadlineExceeded from t on, never if t is
// zero.
func (p *Pipe) SetWriteDeadline(t time.Time) {
	p.set(&p.write, t, false, (*Pipe).wakeWriters)
}

func (p *Pipe) set(d *deadline, t time.Time, keep bool, wake func(*Pipe)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if keep && d.passed || p.dropped {
		return
	}
	d.stop()
	d.passed = false
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.passed = true
		wake(p)
		return
	}
	count := d.count
	d.timer = time.AfterFunc(wait, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if d.count == count {
			d.passed = true
			wake(p)
		}
	})
}

// StopTimers stops the timers of both deadlines. It is for owners whose work is done.
func (p *Pipe) StopTimers() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read.stop()
	p.write.stop()
}
