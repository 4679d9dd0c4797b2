// SPDX-License-Identifier: Apache-2.0

// The pipe: the body of a request whose messages are sent one by one.

package connect

import (
	"context"
	"errors"
	"io"
	"sync"
)

// pipeBuffered is the most bytes that wait in a pipe. If a message would exceed it,
// its writer waits. A larger message is not copied: its writer waits until the
// transport has read it.
const pipeBuffered = 32 << 10

// pipe is the body of an [http.Request]: Send writes messages to it, and the
// transport reads them. Small messages wait in a buffer, and one Read takes as many
// as there are. A Read that waits gets a message at once.
//
// Read and write return when the context ends, and when the other side has closed.
type pipe struct {
	ctx  context.Context
	data chan struct{} // has a token after write, end or Close: Read looks again
	room chan struct{} // has a token after Read or Close: write looks again

	mu         sync.Mutex
	buffer     *buffer // unread bytes, from start on; nil if there are none
	start      int
	large      []byte // after these, the unread rest of a large message whose writer waits
	readClosed bool   // the transport reads no more
	ended      bool   // the sender writes no more
}

func newPipe(ctx context.Context) *pipe {
	return &pipe{ctx: ctx, data: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// errEnded is the error of a write after end.
var errEnded = errors.New("the request is closed: CloseRequest or CloseAndReceive was called before")

// signal leaves a token, if there is none.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// write writes a message, and does not use its slice after it has returned. It
// returns io.EOF if the transport closes the body before it has read the whole
// message, and errEnded after end.
func (p *pipe) write(message []byte) error {
	large := len(message) > pipeBuffered
	written := false
	for {
		p.mu.Lock()
		if written && len(p.large) == 0 {
			p.mu.Unlock()
			return nil // the transport has the message, even if the context has ended since
		}
		err := p.ctx.Err()
		if err == nil && p.readClosed {
			err = io.EOF
		}
		switch {
		case err != nil:
			p.large = nil // no Read uses it any more, as Read copies under the lock
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

// waiting returns the number of unread bytes.
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

// free frees the buffer. The transport reads no more.
func (p *pipe) free() {
	p.buffer.free()
	p.buffer, p.start = nil, 0
}

// end ends the body: Read returns io.EOF after the last byte.
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

// Read waits for at least one byte and returns those that there are.
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

// copyTo copies unread bytes to b. It returns io.EOF with the last ones. It looks at
// the context first, so that a cancelled request does not look complete.
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

// Close ends reads and writes. The transport calls it when it reads no more, and
// release when the call ends.
func (p *pipe) Close() error {
	p.mu.Lock()
	p.readClosed = true
	p.free()
	p.mu.Unlock()
	signal(p.room)
	signal(p.data)
	return nil
}
