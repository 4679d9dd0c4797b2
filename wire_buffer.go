// SPDX-License-Identifier: Apache-2.0

// Pooled byte buffers that grow with what arrives, not with what is promised.

package connect

import (
	"io"
	"math/bits"
	"sync"
)

const (
	bufferSize    = 4 << 10  // of a new buffer
	bufferSmall   = 256      // of one that waits for a message
	bufferKept    = 64 << 10 // what is held on the strength of a promise, or while nothing is due
	bufferMax     = 8 << 20  // larger ones are left to the garbage collector
	hintMax       = 1 << 30  // what is believed of an announced length
	emptyReadsMax = 100      // consecutive reads without data or error before giving up
)

// buffer is a byte slice from a pool. Its owner frees it once and then holds no
// slice of it.
type buffer struct {
	data []byte
}

// bufferPool is where buffers come from: pools of the garbage collector, or in
// tests one that watches its users.
type bufferPool interface {
	// get returns an empty buffer with room for size bytes, nil if size is more
	// than bufferKept and there is none.
	get(size int) *buffer
	// put takes a buffer back. It may come with more memory than it left with.
	put(*buffer)
}

var buffers bufferPool = new(sizedPools)

// sizedPools keeps buffers by size, from bufferSize to bufferMax by powers of two, and
// those of bufferSmall bytes last. The garbage collector empties each within two cycles, so that what one rush of
// messages needed is not held for good.
type sizedPools [13]sync.Pool

// class returns the index of the pool for buffers of size bytes, and up to twice
// as many.
func class(size int) int {
	if size == bufferSmall {
		return len(sizedPools{}) - 1
	}
	return bits.Len(uint(size/bufferSize)) - 1
}

// roundUp returns the capacity of a buffer for size bytes: a power of two, so that
// it fits other messages, too.
func roundUp(size int) int {
	switch {
	case size == bufferSmall:
		return size
	case size <= bufferSize:
		return bufferSize
	case size > bufferMax:
		return size
	}
	return 1 << bits.Len(uint(size-1))
}

func (p *sizedPools) get(size int) *buffer {
	if size > bufferMax {
		return nil
	}
	room := roundUp(size)
	b, _ := p[class(room)].Get().(*buffer)
	if b == nil && size <= bufferKept {
		b = &buffer{make([]byte, 0, room)}
	}
	return b
}

func (p *sizedPools) put(b *buffer) {
	if size := cap(b.data); bufferSize <= size && size <= bufferMax || size == bufferSmall {
		p[class(size)].Put(b)
	}
}

// newBuffer returns an empty buffer for size bytes, of which it may have room for
// the first ones only: size is a promise, 0 if unknown.
func newBuffer(size int) *buffer {
	return buffers.get(min(size, bufferKept))
}

// free gives the buffer back. It is a no-op for nil.
func (b *buffer) free() {
	if b != nil {
		b.data = b.data[:0]
		buffers.put(b)
	}
}

// reserve makes room for size bytes that are sure to come.
func (b *buffer) reserve(size int) {
	if size += len(b.data); size <= cap(b.data) {
		return
	}
	other := buffers.get(size)
	if other == nil {
		other = &buffer{make([]byte, 0, roundUp(size))}
	}
	b.move(other)
}

// move continues in the memory of another buffer, and frees its own.
func (b *buffer) move(other *buffer) {
	other.data = append(other.data, b.data...)
	b.data, other.data = other.data, b.data
	other.free()
}

// Write appends p. It never fails.
func (b *buffer) Write(p []byte) (int, error) {
	if len(p) > cap(b.data)-len(b.data) {
		b.reserve(max(len(p), len(b.data)))
	}
	b.data = append(b.data, p...)
	return len(p), nil
}

// Read takes bytes from the front, so that a buffer can stand for a body.
func (b *buffer) Read(p []byte) (int, error) {
	if len(b.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, nil
}

// room makes space for at least one byte more, for as many as wanted if they
// are few. Memory is spent as data arrives, whatever a peer claims to send: up to
// bufferKept comes on credit, then what arrived earns three times as much of new
// memory. Of memory that is there already, in the pool, it earns all that is
// wanted, up to 32 times as much, so that a message of a megabyte is not copied
// on the way.
func (b *buffer) room(wanted int) {
	have := len(b.data)
	if have < cap(b.data) {
		return
	}
	wanted = max(1, wanted)
	if have < bufferKept {
		b.reserve(min(wanted, bufferKept-have))
		return
	}
	if all := roundUp(have + wanted); all/32 <= have {
		if other := buffers.get(all); other != nil {
			b.move(other)
			return
		}
	}
	b.reserve(min(wanted, 3*have))
}

// readN appends exactly n bytes of r. It returns io.ErrUnexpectedEOF if there
// are fewer.
func (b *buffer) readN(r io.Reader, n int) error {
	end := len(b.data) + n
	for empty := 0; len(b.data) < end; {
		b.room(end - len(b.data))
		space := b.data[len(b.data):min(cap(b.data), end)]
		got, err := r.Read(space)
		b.data = b.data[:len(b.data)+got]
		if empty++; got > 0 {
			empty = 0
		}
		switch {
		case len(b.data) == end:
			return nil
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case empty == emptyReadsMax:
			return io.ErrNoProgress
		}
	}
	return nil
}

// readAll appends r up to its end. It stops with errTooLarge once the buffer
// holds more than limit bytes; limit 0 is none. hint is how many bytes are
// likely to come, 0 if unknown.
func (b *buffer) readAll(r io.Reader, hint, limit int) error {
	if limit > 0 {
		hint = min(hint, limit)
	}
	for empty := 0; ; {
		wanted := hint + 1 - len(b.data)
		if wanted <= 0 {
			wanted = max(len(b.data), 512) // more than was announced
		}
		b.room(wanted)
		space := b.data[len(b.data):cap(b.data)]
		if limit > 0 && len(space) > limit-len(b.data)+1 {
			space = space[:limit-len(b.data)+1]
		}
		got, err := r.Read(space)
		b.data = b.data[:len(b.data)+got]
		if empty++; got > 0 {
			empty = 0
		}
		switch {
		case limit > 0 && len(b.data) > limit:
			return errTooLarge
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case empty == emptyReadsMax:
			return io.ErrNoProgress
		}
	}
}
