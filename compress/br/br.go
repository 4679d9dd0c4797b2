// SPDX-License-Identifier: Apache-2.0

// Package br adds Brotli (RFC 7932, content coding "br") to clients and
// handlers: the best ratio for text, and an algorithm that all browsers
// support. It takes more CPU time than zstd for the same ratio.
//
// A peer may ask for a window of up to 16 MiB per message in flight. The
// decompressor cannot set a smaller limit. It allocates a large window only for
// a message that claims to be that large.
package br

import (
	"fmt"
	"io"

	"github.com/andybalholm/brotli"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/compress"
	"github.com/seed-b7c59c10/connect/compress/internal/stream"
)

// Name is the algorithm's name on the wire, for [connect.WithSendCompression].
const Name = "br"

// defaultLevel is for content made per call; Brotli's own defaults are for
// content compressed once.
const defaultLevel = 4

// A Setting changes a default of this package. A nil one is ignored.
type Setting func(*settings)

type settings struct{ level int }

// Level sets how hard to compress: 0 is the fastest, 4 the default, 11 the
// smallest output. Levels above 6 are for content that is compressed once and
// read often. Any other level panics.
func Level(level int) Setting {
	if level < brotli.BestSpeed || level > brotli.BestCompression {
		panic(fmt.Sprintf("br: level %d, expected %d to %d", level, brotli.BestSpeed, brotli.BestCompression))
	}
	return func(s *settings) { s.level = level }
}

// With makes Brotli available to a client or a handler.
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
	return stream.NewWriter(Name, brotli.NewWriterLevel(io.Discard, s.level))
}

// NewDecompressor returns a decompressor to Reset before use.
func NewDecompressor() connect.Decompressor {
	return stream.NewReader(Name, newDecoder, nil)
}

func newDecoder(source io.Reader) (stream.Decoder, error) {
	return brotli.NewReader(source), nil
}
