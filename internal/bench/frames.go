// SPDX-License-Identifier: Apache-2.0

// The framing of the floors: a length before each message, and a length and a count
// as the request for a stream.

package main

import (
	"bufio"
	"encoding/binary"
	"io"
)

const frameHead = 4 // bytes of a frame's length

// appendFrame appends a message with its length.
func appendFrame(b, data []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

// readFrame reads one message into b, which grows if it must. It returns io.EOF
// at the end.
func readFrame(r *bufio.Reader, b []byte) ([]byte, error) {
	head, err := r.Peek(frameHead)
	if err != nil {
		if len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return b, err
	}
	size := int(binary.BigEndian.Uint32(head))
	if _, err := r.Discard(frameHead); err != nil {
		return b, err
	}
	b = resize(b, size)
	_, err = io.ReadFull(r, b)
	return b, err
}

// resize returns a slice of a size, b's own if it fits.
func resize(b []byte, size int) []byte {
	if cap(b) < size {
		return make([]byte, size)
	}
	return b[:size]
}

// frames is a reader of one frame, many times over.
type frames struct {
	frame []byte
	count int
	pos   int // in the first of the frames that are left
}

func (f *frames) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && f.count > 0 {
		m := copy(p[n:], f.frame[f.pos:])
		n += m
		if f.pos += m; f.pos == len(f.frame) {
			f.pos = 0
			f.count--
		}
	}
	if f.count == 0 {
		return n, io.EOF
	}
	return n, nil
}
