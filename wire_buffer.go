// SPDX-License-Identifier: Apache-2.0

// Pooled byte buffers. They grow with the bytes that arrive, and not with the
// length that a peer announces.

package connect

import (
	"io"
	"math/bits"
	"sync"
)

const (
	bufferSize    = 4 << 10  // of a new buffer
	bufferSmall   = 256      // of the buffer of a stream that waits for a message
	bufferKept    = 64 << 10 // most that is allocated for an announced length before bytes arrive
	bufferMax     = 8 << 20  // of the largest pooled buffer
	hintMax       = 1 << 30  // most that an announced length counts as
	emptyReadsMax = 100      // consecutive reads without data or error that end in io.ErrNoProgress
)

// buffer is a byte slice from a pool. Its owner frees it once, and keeps no slice of
// it afterwards.
type buffer struct {
	data []byte
}

// bufferPool is the source of buffers: sizedPools, or in tests a pool that checks
// the code that uses it.
type bufferPool interface {
	// get returns an empty buffer with room for size bytes. It returns nil if size is
	// more than bufferKept and the pool has no such buffer.
	get(size int) *buffer
	// put takes a buffer back, perhaps with another slice than get returned.
	put(*buffer)
}

var buffers bufferPool = new(sizedPools)

// sizedPools has a pool for each power of two from bufferSize to bufferMax, and a
// last one for buffers of bufferSmall bytes. The garbage collector empties a
// sync.Pool within two cycles, so that the memory of one rush of messages is not
// kept for good.
type sizedPools [13]sync.Pool

// class returns the index of the pool for buffers of at least size bytes and less
// than twice as many.
func class(size int) int {
	if size == bufferSmall {
		return len(sizedPools{}) - 1
	}
	return bits.Len(uint(size/bufferSize)) - 1
}

// roundUp returns the capacity of a buffer for size bytes: a power of two, so that
// other messages can use it, or size if it is more than bufferMax.
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

// newBuffer returns an empty buffer. The size is the number of bytes that a peer has
// announced, 0 if it is unknown: the buffer has room for at most bufferKept of them.
func newBuffer(size int) *buffer {
	return buffers.get(min(size, bufferKept))
}

// free gives the buffer back to the pool. A nil buffer has nothing to give back.
func (b *buffer) free() {
	if b != nil {
		b.data = b.data[:0]
		buffers.put(b)
	}
}

// reserve makes room for size more bytes, however many they are.
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

// move copies the bytes into the memory of another buffer, takes that over, and
// frees its own.
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

// Read removes bytes from the front, so that a buffer can be the body of a GET.
func (b *buffer) Read(p []byte) (int, error) {
	if len(b.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, nil
}

// room makes room for at least one more byte, and for up to wanted bytes. The room
// depends on the bytes that have arrived, and not on the length that a peer
// announces. Up to bufferKept bytes are always granted. After that the buffer grows
// by new memory of at most three times the bytes that have arrived, or takes a
// buffer from the pool for all wanted bytes, if that has at most 32 times the bytes
// that have arrived. With a pooled buffer, a message of a megabyte is copied once.
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

// readN appends exactly n bytes of r. It returns io.EOF if r has fewer, and whether the
// end of r came with the last ones.
func (b *buffer) readN(r io.Reader, n int) (ended bool, err error) {
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
			return err == io.EOF, nil
		case err != nil:
			return false, err
		case empty == emptyReadsMax:
			return false, io.ErrNoProgress
		}
	}
	return false, nil
}

// readAll appends all bytes of r. It stops with errTooLarge once the buffer holds
// more than limit bytes; limit 0 is no limit. The hint is the likely number of
// bytes, 0 if it is unknown.
func (b *buffer) readAll(r io.Reader, hint, limit int) error {
	if limit > 0 {
		hint = min(hint, limit)
	}
	for empty := 0; ; {
		wanted := hint + 1 - len(b.data)
		if wanted <= 0 {
			wanted = max(len(b.data), 512) // more bytes came than hint
		}
		b.room(wanted)
		space := b.data[len(b.data):cap(b.data)]
		if limit > 0 && len(space)-1 > limit-len(b.data) { // one byte more shows that the limit is exceeded
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
