// SPDX-License-Identifier: Apache-2.0

// This file holds the table of compressions beyond the built-in gzip.

package conntest

import (
	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/compress"
	"github.com/seed-b7c59c10/connect/compress/br"
	"github.com/seed-b7c59c10/connect/compress/deflate"
	"github.com/seed-b7c59c10/connect/compress/snappy"
	"github.com/seed-b7c59c10/connect/compress/zstd"
)

// A compression holds an algorithm's name and the option that adds it to handlers and
// clients.
type compression struct {
	name   string
	with   func() connect.Option
	shared connect.Option // one for many tests, and so one pool of compressors
}

func newCompression(name string, with func() connect.Option) compression {
	return compression{name, with, with()}
}

// option returns the option for a test. zstd's decompressors hold channels, which
// must not leave a synctest bubble.
func (c compression) option(m mode) connect.Option {
	if m.bubble {
		return c.with()
	}
	return c.shared
}

// extraCompressions take turns as the third compression of the matrix: those
// of the compress module and one that an application brings along.
var extraCompressions = []compression{
	newCompression(zstd.Name, func() connect.Option { return zstd.With() }),
	newCompression(br.Name, func() connect.Option { return br.With() }),
	newCompression(snappy.Name, func() connect.Option { return snappy.With() }),
	newCompression(deflate.Name, func() connect.Option { return deflate.With() }),
	newCompression("zlib", func() connect.Option {
		return compress.With("zlib",
			func() connect.Decompressor { return new(zlibDecompressor) },
			func() connect.Compressor { return newZlibCompressor() })
	}),
}
