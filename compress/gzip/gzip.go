// SPDX-License-Identifier: Apache-2.0

// Package gzip replaces the built-in gzip of clients and handlers, which is at
// level 1, with one that compresses as level 6 does in about the same CPU time, and
// whose level a program can set. The wire format (RFC 1952) and the name are the
// same, so either side may change alone.
package gzip

import (
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/compress"
	"github.com/seed-b7c59c10/connect/compress/internal/stream"
)

// Name is the algorithm's name on the wire, for [connect.WithSendCompression].
const Name = "gzip"

const defaultLevel = 6

// A Setting changes a default of this package. A nil one is ignored.
type Setting func(*settings)

type settings struct{ level int }

// Level sets how hard to compress: 1 is the fastest, 6 the default, 9 the
// smallest output. Any other level panics.
func Level(level int) Setting {
	if level < gzip.BestSpeed || level > gzip.BestCompression {
		panic(fmt.Sprintf("gzip: level %d, expected %d to %d", level, gzip.BestSpeed, gzip.BestCompression))
	}
	return func(s *settings) { s.level = level }
}

// With replaces gzip on a client or a handler.
func With(settings ...Setting) connect.Option {
	return compress.With(Name,
		func() connect.Decompressor { return NewDecompressor() },
		func() connect.Compressor { return NewCompressor(settings...) },
	)
}

// NewCompressor returns a compressor to Reset before use.
func NewCompressor(list ...Setting) connect.Compressor {
	s := settings{level: defaultLevel}
	for _, set := range list {
		if set != nil {
			set(&s)
		}
	}
	enc, err := gzip.NewWriterLevel(io.Discard, s.level)
	if err != nil {
		panic("gzip: " + err.Error()) // the level is checked above
	}
	return stream.NewWriter(Name, enc)
}

// NewDecompressor returns a decompressor to Reset before use.
func NewDecompressor() connect.Decompressor {
	return stream.NewReader(Name, newDecoder, nil)
}

// The library's Reset returns io.EOF for a source without data, which package
// stream reports as an unexpected end.
func newDecoder(source io.Reader) (stream.Decoder, error) {
	return gzip.NewReader(source)
}
