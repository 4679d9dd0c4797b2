// SPDX-License-Identifier: Apache-2.0

// This file holds the table of compressions beyond the built-in gzip.

package conntest

import (
	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/compress/br"
	"github.com/seed-b7c59c10/connect/compress/deflate"
	"github.com/seed-b7c59c10/connect/compress/snappy"
	"github.com/seed-b7c59c10/connect/compress/zstd"
)

// A compression holds an algorithm's name and the options that add it to handlers and
// clients.
type compression struct {
	name    string
	handler connect.HandlerOption
	client  connect.ClientOption
}

// extraCompressions take turns as the third compression of the matrix: those
// of the compress module and one that an application brings along.
var extraCompressions = []compression{
	{name: zstd.Name, handler: zstd.With(), client: zstd.With()},
	{name: br.Name, handler: br.With(), client: br.With()},
	{name: snappy.Name, handler: snappy.With(), client: snappy.With()},
	{name: deflate.Name, handler: deflate.With(), client: deflate.With()},
	{
		name: "zlib",
		handler: connect.WithCompression("zlib",
			func() connect.Decompressor { return new(zlibDecompressor) },
			func() connect.Compressor { return newZlibCompressor() }),
		client: connect.WithAcceptCompression("zlib",
			func() connect.Decompressor { return new(zlibDecompressor) },
			func() connect.Compressor { return newZlibCompressor() }),
	},
}
