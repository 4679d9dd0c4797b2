// SPDX-License-Identifier: Apache-2.0

// Pooled buffers that transports may read after a call has ended.

package connect

import (
	"errors"
	"io"
	"sync"
)

// lentBuffer is a buffer with an owner and several readers. It is freed when the
// owner has given it back and all readers are closed. It and its first reader are
// parts of the exchange, and so need no allocation.
type lentBuffer struct {
	mu    sync.Mutex
	b     *buffer
	users int
}

// errLentBack is the error of open after the buffer was freed.
var errLentBack = errors.New("the call has ended: its request body is gone")

// lend takes a buffer over, with one user: the owner. The owner calls it once.
func (l *lentBuffer) lend(b *buffer) {
	l.b, l.users = b, 1
}

// reader returns a new reader of the buffer, for GetBody of a request.
func (l *lentBuffer) reader() (io.ReadCloser, error) {
	r := new(lentReader)
	if err := l.open(r); err != nil {
		return nil, err
	}
	return r, nil
}

// open makes r, which is new, a user.
func (l *lentBuffer) open(r *lentReader) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users == 0 {
		return errLentBack
	}
	l.users++
	r.lent = l
	return nil
}

// giveBack ends the use by the owner or by one reader. The last one frees the buffer.
func (l *lentBuffer) giveBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users--; l.users == 0 {
		l.b.free()
		l.b = nil
	}
}

// lentReader is a reader of a lentBuffer, and the body of a request. Read and WriteTo
// hold the lock, so that neither uses the buffer after Close has returned.
type lentReader struct {
	lent   *lentBuffer
	mu     sync.Mutex
	pos    int
	closed bool
}

func (r *lentReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, io.ErrClosedPipe
	}
	data := r.lent.b.data[r.pos:]
	if len(data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, data)
	r.pos += n
	return n, nil
}

// WriteTo writes the unread bytes without a copy. Close waits for it.
func (r *lentReader) WriteTo(w io.Writer) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, io.ErrClosedPipe
	}
	n, err := w.Write(r.lent.b.data[r.pos:])
	r.pos += n
	return int64(n), err
}

// InMemory reports whether Read never waits. Transports such as that of package h2
// call it, with the body as self. If self is not r, another type embeds r, and may
// have a Read of its own that waits.
func (r *lentReader) InMemory(self io.Reader) bool { return self == io.Reader(r) }

func (r *lentReader) Close() error {
	r.mu.Lock()
	closed := r.closed
	r.closed = true
	r.mu.Unlock()
	if !closed {
		r.lent.giveBack()
	}
	return nil
}
