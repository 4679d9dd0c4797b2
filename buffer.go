// SPDX-License-Identifier: Apache-2.0

// Pooled byte buffers that grow with what arrives, not with what is promised.

package connect

import (
	"io"
	"slices"
	"sync"
)

const (
	bufferSize    = 4 << 10  // of a new buffer
	bufferKept    = 64 << 10 // larger ones are left to the garbage collector
	growthAtOnce  = 64 << 10 // what is allocated on the strength of a promise
	hintMax       = 1 << 30  // what is believed of an announced length
	emptyReadsMax = 100      // consecutive reads without data or error before giving up
)

// buffer is a byte slice from a pool. Its owner frees it once and then holds no
// slice of it.
type buffer struct {
	data []byte
}

// bufferPool is a sync.Pool, or in tests one that watches its users.
type bufferPool interface {
	Get() any
	Put(any)
}

var buffers bufferPool = &sync.Pool{New: func() any { return &buffer{make([]byte, 0, bufferSize)} }}

// newBuffer returns an empty buffer.
func newBuffer() *buffer {
	return buffers.Get().(*buffer)
}

// free gives the buffer back. It is a no-op for nil.
func (b *buffer) free() {
	if b != nil && bufferSize <= cap(b.data) && cap(b.data) <= bufferKept {
		b.data = b.data[:0]
		buffers.Put(b)
	}
}

// Write appends p. It never fails.
func (b *buffer) Write(p []byte) (int, error) {
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
// are few: memory is spent as data arrives, whatever a peer claims to send. What
// arrived earns three times as much on credit.
func (b *buffer) room(wanted int) {
	if len(b.data) == cap(b.data) {
		credit := max(growthAtOnce, 3*len(b.data))
		b.data = slices.Grow(b.data, max(1, min(wanted, credit)))
	}
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
		b.room(max(hint+1-len(b.data), len(b.data), 512))
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
