// SPDX-License-Identifier: Apache-2.0

// The body of a request that is still being written.

package connect

import (
	"context"
	"errors"
	"io"
	"sync"
)

// pipeBuffered is how many bytes may wait for the transport before a writer
// waits, too. Larger messages are not copied but handed over.
const pipeBuffered = 32 << 10

// pipe is an [http.Request.Body] that messages are written to. Small messages
// wait in a buffer, so that the transport takes as many as there are with one
// Read; one that waits for data gets a message at once.
//
// Read and write end when the context does, and when the other side closed.
type pipe struct {
	ctx  context.Context
	data chan struct{} // has a token when Read may find something new
	room chan struct{} // has a token when write may

	mu         sync.Mutex
	buffer     *buffer // bytes to be read, from start on; nil if there are none
	start      int
	large      []byte // after these, the rest of a large message whose writer waits
	readClosed bool   // by the transport: nothing will be read
	ended      bool   // by the sender: nothing will be written
}

func newPipe(ctx context.Context) *pipe {
	return &pipe{ctx: ctx, data: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// errEnded is the error of a write after end.
var errEnded = errors.New("the request is closed")

// signal leaves a token, if there is none.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// write sends a message and does not keep it. It returns io.EOF if the
// transport has closed the body before it took all of the message.
func (p *pipe) write(message []byte) error {
	large := len(message) > pipeBuffered
	written := false
	for {
		p.mu.Lock()
		if written && len(p.large) == 0 {
			p.mu.Unlock()
			return nil // whatever has happened since
		}
		err := p.ctx.Err()
		if err == nil && p.readClosed {
			err = io.EOF
		}
		switch {
		case err != nil:
			p.large = nil // Read copies under the lock: the message is the caller's again
			p.mu.Unlock()
			return err
		case p.ended && !written:
			p.mu.Unlock()
			return errEnded
		case written:
		case large && p.waiting() == 0:
			p.large, written = message, true
			signal(p.data)
		case !large && p.waiting()+len(message) <= pipeBuffered+prefixSize:
			p.append(message)
			signal(p.data)
			p.mu.Unlock()
			return nil
		}
		p.mu.Unlock()
		select {
		case <-p.room:
		case <-p.ctx.Done():
		}
	}
}

// waiting returns how many bytes wait to be read.
func (p *pipe) waiting() int {
	if p.buffer == nil {
		return len(p.large)
	}
	return len(p.buffer.data) - p.start + len(p.large)
}

func (p *pipe) append(message []byte) {
	if p.buffer == nil {
		p.buffer = newBuffer(0)
	}
	b := p.buffer
	if p.start > 0 && len(b.data)+len(message) > cap(b.data) {
		b.data = b.data[:copy(b.data, b.data[p.start:])]
		p.start = 0
	}
	_, _ = b.Write(message)
}

// free gives the buffer back: nothing will be read any more.
func (p *pipe) free() {
	p.buffer.free()
	p.buffer, p.start = nil, 0
}

// end lets Read return io.EOF once everything is read.
func (p *pipe) end() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	signal(p.data)
}

// complete reports whether end was called.
func (p *pipe) complete() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// Read returns what was written, as soon as there is something.
func (p *pipe) Read(b []byte) (int, error) {
	for {
		p.mu.Lock()
		n, err := p.copyTo(b)
		p.mu.Unlock()
		if n > 0 || err != nil || len(b) == 0 {
			signal(p.room)
			return n, err
		}
		select {
		case <-p.data:
		case <-p.ctx.Done():
			return 0, p.ctx.Err()
		}
	}
}

// copyTo copies waiting bytes to b. It returns io.EOF with the last ones. A call
// that was given up does not look like a request that is complete.
func (p *pipe) copyTo(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	if p.readClosed {
		return 0, io.ErrClosedPipe
	}
	n := 0
	if p.buffer != nil {
		n = copy(b, p.buffer.data[p.start:])
		p.start += n
		if p.start == len(p.buffer.data) {
			p.buffer.data, p.start = p.buffer.data[:0], 0
		}
	}
	if p.waiting() == len(p.large) {
		m := copy(b[n:], p.large)
		p.large = p.large[m:]
		n += m
	}
	if p.ended && p.waiting() == 0 {
		p.free()
		return n, io.EOF
	}
	return n, nil
}

// Close is called by the transport when it reads no more.
func (p *pipe) Close() error {
	p.mu.Lock()
	p.readClosed = true
	p.free()
	p.mu.Unlock()
	signal(p.room)
	signal(p.data)
	return nil
}
