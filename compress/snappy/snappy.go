// SPDX-License-Identifier: Apache-2.0

// Package snappy adds Snappy, in its framing format, to clients and handlers:
// little CPU time for a modest ratio, for fast links and busy machines.
//
// The format has no end mark and no levels. If a stream is cut between two of its
// frames, the decompressor does not notice, as those of the other formats do; the
// message's own parser may.
package snappy

import (
	"io"

	"github.com/klauspost/compress/s2"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/compress"
	"github.com/seed-b7c59c10/connect/compress/internal/stream"
)

// Name is the algorithm's name on the wire, for [connect.WithSendCompression].
const Name = "snappy"

// maxBlock is the most that one frame may hold, by the framing format's
// section 4.2.
const maxBlock = 64 << 10

// With makes Snappy available to a client or a handler.
func With() connect.Option {
	return compress.With(Name, NewDecompressor, NewCompressor)
}

// NewCompressor returns a compressor to Reset before use.
func NewCompressor() connect.Compressor {
	return stream.NewWriter(Name, s2.NewWriter(nil,
		s2.WriterSnappyCompat(),
		s2.WriterBlockSize(maxBlock),
		s2.WriterConcurrency(1), // compresses in Write, without goroutines
	))
}

// NewDecompressor returns a decompressor to Reset before use.
func NewDecompressor() connect.Decompressor {
	return stream.NewReader(Name, newDecoder, nil)
}

func newDecoder(source io.Reader) (stream.Decoder, error) {
	return &decoder{s2.NewReader(source, s2.ReaderMaxBlockSize(maxBlock))}, nil
}

// decoder is the library's reader with the signature of Reset that package stream
// needs.
type decoder struct{ *s2.Reader }

func (d *decoder) Reset(source io.Reader) error {
	d.Reader.Reset(source)
	return nil
}
