// SPDX-License-Identifier: Apache-2.0

// The buffer of the reading goroutine, which holds memory only while something is in it.
//
// Invariants. A connection that waits for its peer's next frame has no buffer of more
// than waitBuffer bytes: sockets are waited for without any. The bytes that peek
// returns are valid until the next call.

package h2

import (
	"io"
	"net"
	"sync"
)

const (
	readBuffer = 32 << 10 // borrowed while something is read
	waitBuffer = 512      // for connections that cannot be waited for without one
)

var readBuffers = sync.Pool{New: func() any { return new([readBuffer]byte) }}

// A waitReader waits for a socket to have something to read, and then reads.
type waitReader interface {
	// read reads into what borrow returns, which it calls when there is something to
	// read, once or more often. What was borrowed for nothing goes to giveBack.
	read(borrow func() []byte, giveBack func()) (int, error)
}

// An inbound reads from a connection. The reading goroutine owns it.
type inbound struct {
	nc       net.Conn
	socket   waitReader        // nil if nc is none
	before   func()            // is called before a read that may wait
	after    func(n int)       // is called after a read that brought something
	limit    func() int        // how much a read may bring
	big      *[readBuffer]byte // borrowed
	small    *[waitBuffer]byte // of connections that are no sockets
	buf      []byte            // all of big or small
	r, w     int               // of buf, what is buffered
	borrow   func() []byte     // methods, as values of their own, so that no call
	giveBack func()            // allocates one
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

// fill reads once, and waits if need be.
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
		return nil // an error comes again
	}
	return err
}

func (b *inbound) useSmall() {
	if b.small == nil {
		b.small = new([waitBuffer]byte)
	}
	b.buf = b.small[:]
}

// makeRoom moves what is buffered to the beginning, of a large buffer if the small one
// is full.
func (b *inbound) makeRoom() {
	rest := b.buf[b.r:b.w]
	if b.big == nil && len(rest) == len(b.buf) {
		b.big = readBuffers.Get().(*[readBuffer]byte)
		b.buf = b.big[:]
	}
	b.w = copy(b.buf, rest)
	b.r = 0
}

// peek returns the next n bytes, which have room in the buffer, and leaves them there.
// With an error it returns what there is.
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

// Read reads what is buffered, or waits for something.
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

// readPast reads into p, past the buffer, which is empty.
func (b *inbound) readPast(p []byte) (int, error) {
	b.before()
	b.giveBigBack()
	n, err := b.nc.Read(p)
	if n > 0 {
		b.after(n)
	}
	return n, err
}

// close gives back what was borrowed.
func (b *inbound) close() {
	b.r, b.w = 0, 0
	b.giveBigBack()
}
