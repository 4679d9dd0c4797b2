// SPDX-License-Identifier: Apache-2.0

// The read buffer of a connection, which takes memory only while it holds bytes.
//
// Invariants. A connection that waits for its peer's next frame has no buffer of more
// than waitBuffer bytes, and a socket has none. Between calls the bytes from r to w of
// buf are buffered, and big is borrowed if buf is its memory. The bytes that peek
// returns are valid until the next call. The reading goroutine owns an inbound.

package h2

import (
	"io"
	"net"
	"sync"
)

const (
	readBuffer = 32 << 10 // bytes, borrowed while there is something to read
	waitBuffer = 512      // bytes, for connections on which only Read waits
)

var readBuffers = sync.Pool{New: func() any { return new([readBuffer]byte) }}

// A waitReader waits until a socket has bytes to read, and then reads.
type waitReader interface {
	// read reads into the memory that borrow returns. It calls borrow once the socket
	// may have bytes, and giveBack if it then had none.
	read(borrow func() []byte, giveBack func()) (int, error)
}

// An inbound reads from a connection.
type inbound struct {
	nc       net.Conn
	socket   waitReader        // nil if nc is no socket
	before   func()            // runs before a read that may wait
	after    func(n int)       // runs after a read that returned n bytes
	limit    func() int        // how many bytes a read may buffer
	big      *[readBuffer]byte // borrowed
	small    *[waitBuffer]byte // for connections that are no sockets
	buf      []byte            // all of big or small
	r, w     int               // buffered are the bytes of buf from r to w
	borrow   func() []byte     // the methods borrowBig and giveBigBack, kept
	giveBack func()            // as values so that no call allocates one
}

func (b *inbound) init(nc net.Conn) {
	b.nc, b.socket = nc, newWaitReader(nc)
	b.borrow, b.giveBack = b.borrowBig, b.giveBigBack
}

// buffered returns how many bytes can be read without waiting.
func (b *inbound) buffered() int { return b.w - b.r }

// borrowBig makes a large buffer the one that is read into.
func (b *inbound) borrowBig() []byte {
	if b.big == nil {
		b.big = readBuffers.Get().(*[readBuffer]byte)
	}
	if b.buf = b.big[:]; b.buffered() > 0 {
		panic("h2: a buffer is replaced that holds something")
	}
	return b.buf[:b.limit()]
}

// giveBigBack gives the large buffer back.
func (b *inbound) giveBigBack() {
	if b.big != nil {
		readBuffers.Put(b.big)
		b.big, b.buf = nil, nil
	}
}

// fill reads once, and waits if need be. Behind buffered bytes it reads more of the same
// frame, without waiting for a socket first: the buffer is borrowed already. With an
// empty buffer it gives the buffer back before it waits.
func (b *inbound) fill() error {
	b.before()
	var n int
	var err error
	switch {
	case b.buffered() > 0:
		b.makeRoom()
		n, err = b.nc.Read(b.buf[b.w:])
		b.w += n
	case b.socket != nil:
		b.giveBigBack()
		b.r, b.w = 0, 0
		n, err = b.socket.read(b.borrow, b.giveBack)
		b.w = n
	default:
		full := b.w == waitBuffer && b.big == nil // there is likely to be more
		b.giveBigBack()
		b.r, b.w = 0, 0
		if full {
			b.borrowBig()
		} else {
			b.useSmall()
		}
		n, err = b.nc.Read(b.buf[:min(len(b.buf), b.limit())])
		b.w = n
	}
	if n > 0 {
		b.after(n)
		return nil // the next read returns the error again
	}
	return err
}

func (b *inbound) useSmall() {
	if b.small == nil {
		b.small = new([waitBuffer]byte)
	}
	b.buf = b.small[:]
}

// makeRoom moves the buffered bytes to the beginning of the buffer, or of a large buffer
// if they fill the small one.
func (b *inbound) makeRoom() {
	rest := b.buf[b.r:b.w]
	if b.big == nil && len(rest) == len(b.buf) {
		b.big = readBuffers.Get().(*[readBuffer]byte)
		b.buf = b.big[:]
	}
	b.w = copy(b.buf, rest)
	b.r = 0
}

// peek returns the next n bytes, at most readBuffer, and leaves them buffered. With an
// error it returns the bytes that there are.
func (b *inbound) peek(n int) ([]byte, error) {
	for b.buffered() < n {
		if n > readBuffer {
			return nil, io.ErrShortBuffer
		}
		if err := b.fill(); err != nil {
			return b.buf[b.r:b.w], err
		}
	}
	return b.buf[b.r : b.r+n], nil
}

// skip drops the next n bytes.
func (b *inbound) skip(n int) error {
	for {
		some := min(n, b.buffered())
		b.r += some
		if n -= some; n == 0 {
			return nil
		}
		if err := b.fill(); err != nil {
			return err
		}
	}
}

// ReadByte reads a byte.
func (b *inbound) ReadByte() (byte, error) {
	p, err := b.peek(1)
	if err != nil {
		return 0, err
	}
	b.r++
	return p[0], nil
}

// Read reads buffered bytes. If there are none it waits for some.
func (b *inbound) Read(p []byte) (int, error) {
	if b.buffered() == 0 && len(p) > 0 {
		if err := b.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.buf[b.r:b.w])
	b.r += n
	return n, nil
}

// readPast reads straight into p. The buffer is empty.
func (b *inbound) readPast(p []byte) (int, error) {
	b.before()
	b.giveBigBack()
	n, err := b.nc.Read(p)
	if n > 0 {
		b.after(n)
	}
	return n, err
}
