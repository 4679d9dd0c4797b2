// SPDX-License-Identifier: Apache-2.0

// Package stream turns the encoders and decoders of other modules into
// compressors and decompressors that may be pooled, reset and closed in any
// order.
package stream

import (
	"errors"
	"fmt"
	"io"
)

// maxKept is the most output after which a decoder is kept: the memory of a decoder
// grows with its output.
const maxKept = 1 << 20

var errClosed = errors.New("closed")

// Decoder is the decoder of a format's library. Reset starts a new stream and may
// read its header.
type Decoder interface {
	io.Reader
	Reset(source io.Reader) error
}

// Reader is a connect.Decompressor over a [Decoder]. It is in one of three
// states:
//
//	state   set by                    Read returns
//	closed  NewReader, Close          errClosed
//	fresh   Reset                     opens the stream, then as open
//	open    the first Read            output; an error is final and repeated
//
// Reset and Close are allowed in every state, any number of times. Reset does
// not read, so it cannot fail on bad data: the first Read does.
//
// A Reader is not safe for concurrent use.
type Reader struct {
	name  string
	open  func(source io.Reader) (Decoder, error)
	large func(Decoder) bool

	src   source  // the only reference to the caller's reader
	dec   Decoder // nil before the first stream and after one not worth keeping
	fresh bool    // the stream has a source and has not been opened
	total int64   // output of this stream
	err   error   // nil while Read may go on
}

// NewReader returns a closed Reader. The name begins its errors. The function
// open returns a decoder of a source. The function large, which may be nil, reports
// whether a decoder is too large to be kept, even after little output.
func NewReader(name string, open func(io.Reader) (Decoder, error), large func(Decoder) bool) *Reader {
	return &Reader{name: name, open: open, large: large, err: errClosed}
}

// Read implements io.Reader. It returns io.EOF only at the proper end of the
// compressed data.
func (r *Reader) Read(p []byte) (int, error) {
	if r.fresh {
		r.fresh = false
		r.start()
	}
	if r.err != nil {
		return 0, r.fault()
	}
	n, err := r.dec.Read(p)
	r.total += int64(n)
	r.err = err
	if err != nil {
		return n, r.fault()
	}
	return n, nil
}

// Reset starts a new stream. A nil source is the same as Close. It never fails.
func (r *Reader) Reset(source io.Reader) error {
	r.release()
	if source == nil {
		return nil
	}
	r.src.r, r.fresh, r.err = source, true, nil
	return nil
}

// Close drops the source and, unless the stream was read to its end, the
// decoder's state. It never fails.
func (r *Reader) Close() error {
	r.release()
	return nil
}

// start opens the stream. If the source ends in the header, the error is not
// io.EOF: the data is incomplete.
func (r *Reader) start() {
	if r.dec == nil {
		r.dec, r.err = r.open(&r.src)
	} else {
		r.err = r.dec.Reset(&r.src)
	}
	if r.err == io.EOF {
		r.err = io.ErrUnexpectedEOF
	}
}

// release ends the stream and keeps the decoder only if it came to its end and
// stayed small.
func (r *Reader) release() {
	opened := r.err != errClosed && !r.fresh
	if opened && (r.err != io.EOF || r.total > maxKept || r.large != nil && r.large(r.dec)) {
		r.dec = nil
	}
	r.src.r, r.fresh, r.total, r.err = nil, false, 0, errClosed
}

// fault returns the error of this stream for the caller. It returns io.EOF as it
// is, as io.Reader requires.
func (r *Reader) fault() error {
	if r.err == io.EOF {
		return io.EOF
	}
	return fmt.Errorf("decompress %s: %w", r.name, r.err)
}

// source is between a decoder and the caller's reader. It drops the reader when the
// stream ends, which some decoders do not, and hides its other methods: some
// libraries decode a *bytes.Buffer whole, however large the output is.
type source struct{ r io.Reader }

func (s *source) Read(p []byte) (int, error) {
	if s.r == nil {
		return 0, io.EOF
	}
	return s.r.Read(p)
}
