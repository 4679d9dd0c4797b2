// SPDX-License-Identifier: Apache-2.0

// Package deflate adds the content coding "deflate" to clients and handlers,
// for peers that support nothing better. On HTTP this name means the zlib format
// (RFC 9110, section 8.4.1.2, and RFC 1950), not a bare DEFLATE stream.
package deflate

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zlib"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/compress"
	"github.com/seed-b7c59c10/connect/compress/internal/stream"
)

// Name is the algorithm's name on the wire, for [connect.WithSendCompression].
const Name = "deflate"

const defaultLevel = 6

var errTrailing = errors.New("data after the end of the zlib stream")

// A Setting changes a default of this package. A nil one is ignored.
type Setting func(*settings)

type settings struct{ level int }

// Level sets how hard to compress: 1 is the fastest, 6 the default, 9 the
// smallest output. Any other level panics.
func Level(level int) Setting {
	if level < zlib.BestSpeed || level > zlib.BestCompression {
		panic(fmt.Sprintf("deflate: level %d, expected %d to %d", level, zlib.BestSpeed, zlib.BestCompression))
	}
	return func(s *settings) { s.level = level }
}

// With makes deflate available to a client or a handler.
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
	enc, err := zlib.NewWriterLevel(io.Discard, s.level)
	if err != nil {
		panic("deflate: " + err.Error()) // the level is checked above
	}
	return stream.NewWriter(Name, enc)
}

// NewDecompressor returns a decompressor to Reset before use.
func NewDecompressor() connect.Decompressor {
	return stream.NewReader(Name, newDecoder, nil)
}

// decoder reads exactly one zlib stream.
type decoder struct {
	in *bufio.Reader // keeps the library from reading ahead or allocating its own
	z  io.ReadCloser
}

func newDecoder(source io.Reader) (stream.Decoder, error) {
	in := bufio.NewReader(source)
	z, err := zlib.NewReader(in)
	if err != nil {
		return nil, err
	}
	return &decoder{in: in, z: z}, nil
}

func (d *decoder) Reset(source io.Reader) error {
	d.in.Reset(source)
	return d.z.(zlib.Resetter).Reset(d.in, nil)
}

// Read returns an error for bytes after the stream, which the library ignores.
func (d *decoder) Read(p []byte) (int, error) {
	n, err := d.z.Read(p)
	if err == io.EOF {
		if _, more := d.in.ReadByte(); more == nil {
			err = errTrailing
		} else if more != io.EOF {
			err = more
		}
	}
	return n, err
}
