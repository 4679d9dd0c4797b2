// SPDX-License-Identifier: Apache-2.0

// Pooled buffers that a transport reads for as long as it likes.

package connect

import (
	"errors"
	"io"
	"sync"
)

// lentBuffer is a buffer that several readers share. It goes back to its pool
// when its owner and all readers have given it back, and cannot be
// read then. It and its first reader are parts of the conn, so that they cost no
// allocation.
type lentBuffer struct {
	mu    sync.Mutex
	b     *buffer
	users int
}

// errLentBack is the error of a reader that is opened after the call.
var errLentBack = errors.New("the call has ended: its request body is gone")

// lend takes the buffer over, with one user: its owner. It is called once.
func (l *lentBuffer) lend(b *buffer) {
	l.b, l.users = b, 1
}

// reader returns a body that reads the buffer from its start.
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

// giveBack ends the use of one user.
func (l *lentBuffer) giveBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users--; l.users == 0 {
		l.b.free()
		l.b = nil
	}
}

// lentReader is one user of a lentBuffer. Read copies under the lock, so that
// none is under way when Close returns.
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

// WriteTo writes what was not read yet, without a copy. Close waits for it.
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

// InMemory says to transports that ask, as that of package h2 does, that Read never
// waits. A type that has this method because it embeds a lentReader may have a Read of
// its own: so self is the body as it was found.
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
