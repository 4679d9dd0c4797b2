// SPDX-License-Identifier: Apache-2.0

// Frames: the five-byte prefix before each message of a framed body.

package connect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A frame is one byte of flags, four bytes of length, big-endian, and as many
// bytes of payload. [Connect protocol, "Enveloped-Message"; gRPC
// PROTOCOL-HTTP2, "Length-Prefixed-Message"]
const (
	prefixSize = 5

	flagCompressed uint8 = 1 << 0
	flagEndConnect uint8 = 1 << 1 // the payload is a Connect end-of-stream message
	flagEndWeb     uint8 = 1 << 7 // the payload is gRPC-Web's trailers
)

// putPrefix writes the prefix into the first bytes of frame, which are reserved for
// it.
func putPrefix(frame []byte, flags uint8) {
	frame[0] = flags
	binary.BigEndian.PutUint32(frame[1:prefixSize], uint32(len(frame)-prefixSize))
}

// aheadMax is the most bytes that a frameReader reads ahead.
const aheadMax = 32 << 10

// frameReader reads frames from a body. It reads ahead, at most to the size of its
// buffer, so that small messages need few reads. The buffer grows after a read has
// filled it.
type frameReader struct {
	src   io.Reader
	ahead *buffer // bytes read; those before pos are consumed
	pos   int
	err   error   // of src, returned when all bytes before it are consumed
	large *buffer // for a message that is larger than ahead
	begun bool    // the prefix of a frame was read, and its payload was not
	whole bool    // the end of src came with its last bytes
	lost  bool    // src has failed inside a payload, and not just ended
}

// prefix reads the prefix of the next frame. It returns io.EOF if there is none.
func (f *frameReader) prefix() (flags uint8, size uint32, err error) {
	f.begun = false
	f.shrink()
	if err := f.fill(prefixSize); err != nil {
		if got := f.buffered(); err == io.EOF && got > 0 {
			f.drop()
			err = fmt.Errorf("protocol error: incomplete envelope: got %d of %d bytes: %w", got, prefixSize, io.ErrUnexpectedEOF)
		}
		return 0, 0, err
	}
	p := f.ahead.data[f.pos:]
	f.pos += prefixSize
	f.begun = true
	return p[0], binary.BigEndian.Uint32(p[1:prefixSize]), nil
}

// payload reads the size bytes that follow a prefix. They are valid until the
// next call of the reader.
func (f *frameReader) payload(size int) ([]byte, error) {
	if size <= cap(f.ahead.data) {
		if err := f.fill(size); err != nil {
			got := f.buffered()
			f.drop()
			return nil, f.short(err, got, size)
		}
		data := f.ahead.data[f.pos : f.pos+size]
		f.pos += size
		return data, nil
	}
	if f.large == nil {
		f.large = newBuffer(size)
	}
	b := f.large
	b.data = append(b.data[:0], f.ahead.data[f.pos:]...)
	f.pos = len(f.ahead.data)
	if f.err != nil {
		return nil, f.short(f.err, len(b.data), size)
	}
	ended, err := b.readN(f.src, size-len(b.data))
	if err != nil {
		return nil, f.short(err, len(b.data), size)
	}
	if ended {
		f.err, f.whole = io.EOF, true
	}
	return b.data, nil
}

func (f *frameReader) short(err error, got, size int) error {
	f.lost = err != io.EOF
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("protocol error: promised %d bytes in enveloped message, got %d bytes: %w", size, got, io.ErrUnexpectedEOF)
	}
	return err
}

// drop consumes the bytes that are buffered.
func (f *frameReader) drop() { f.pos = len(f.ahead.data) }

// skip consumes the payload of a frame. If the body ends before, the next read returns
// the error.
func (f *frameReader) skip(size uint32) {
	if buffered := f.buffered(); uint64(size) <= uint64(buffered) {
		f.pos += int(size)
		return
	}
	left := int64(size) - int64(f.buffered())
	f.drop()
	if f.err == nil {
		_, f.err = io.CopyN(io.Discard, f.src, left)
	}
}

// atEnd reports whether no byte follows. It reports true if a read fails: the frames
// before are complete.
func (f *frameReader) atEnd() bool {
	return f.fill(1) != nil
}

// endedWith reports whether the end of the body came with its last bytes, of which a
// number are not consumed.
func (f *frameReader) endedWith(unread uint32) bool {
	return f.whole && f.err == io.EOF && uint64(f.buffered()) == uint64(unread)
}

// shrink replaces the buffer by a small one before a wait that may be long. It keeps
// the buffer if the last read has filled it, because more bytes are likely to be
// there already.
func (f *frameReader) shrink() {
	if f.ahead == nil || f.buffered() > 0 || cap(f.ahead.data) <= bufferSmall || len(f.ahead.data) == cap(f.ahead.data) {
		return
	}
	f.ahead.free()
	f.ahead, f.pos = newBuffer(bufferSmall), 0
}

func (f *frameReader) buffered() int {
	if f.ahead == nil {
		return 0
	}
	return len(f.ahead.data) - f.pos
}

// fill reads until n unconsumed bytes are buffered. n is at most the buffer's
// capacity.
func (f *frameReader) fill(n int) error {
	if f.ahead == nil {
		f.ahead = newBuffer(0)
	}
	b := f.ahead
	if len(b.data)-f.pos >= n {
		return nil
	}
	full := len(b.data) == cap(b.data)
	if f.pos > 0 {
		b.data = b.data[:copy(b.data[:cap(b.data)], b.data[f.pos:])]
		f.pos = 0
	}
	if full && cap(b.data) < aheadMax {
		b.reserve(min(4*cap(b.data), aheadMax) - len(b.data))
	}
	for empty := 0; len(b.data) < n; {
		if f.err != nil {
			return f.err
		}
		got, err := f.src.Read(b.data[len(b.data):cap(b.data)])
		b.data = b.data[:len(b.data)+got]
		f.err = err
		if empty++; got > 0 {
			empty, f.whole = 0, err == io.EOF
		}
		if empty == emptyReadsMax {
			f.err = io.ErrNoProgress
		}
	}
	return nil
}

// free frees the buffers. Afterwards the body has no more bytes.
func (f *frameReader) free() {
	f.ahead.free()
	f.large.free()
	*f = frameReader{src: emptyReader{}}
}
