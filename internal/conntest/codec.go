// SPDX-License-Identifier: Apache-2.0

// This file holds a codec and a compression of an application, which the library
// does not have.

package conntest

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"
)

// flipCodec carries Protobuf messages with every bit flipped, so that no other
// codec takes them for its own. It implements the three methods of connect.Codec
// and none of the optional ones.
type flipCodec struct{}

func (flipCodec) Name() string { return "flip" }

func (flipCodec) Marshal(message any) ([]byte, error) {
	m, ok := message.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("marshaling flip: %T is not a Protobuf message", message)
	}
	data, err := proto.Marshal(m)
	flip(data)
	return data, err
}

func (flipCodec) Unmarshal(data []byte, message any) error {
	m, ok := message.(proto.Message)
	if !ok {
		return fmt.Errorf("unmarshaling flip: %T is not a Protobuf message", message)
	}
	data = bytes.Clone(data) // it belongs to the library
	flip(data)
	return proto.Unmarshal(data, m)
}

func flip(data []byte) {
	for i := range data {
		data[i] = ^data[i]
	}
}

// zlibCompressor and zlibDecompressor are a compression of an application.
type zlibCompressor struct{ *zlib.Writer }

func newZlibCompressor() zlibCompressor { return zlibCompressor{zlib.NewWriter(io.Discard)} }

type zlibDecompressor struct{ source io.ReadCloser }

func (d *zlibDecompressor) Read(p []byte) (int, error) {
	if d.source == nil {
		return 0, io.EOF
	}
	return d.source.Read(p)
}

func (d *zlibDecompressor) Reset(r io.Reader) error {
	if resetter, ok := d.source.(zlib.Resetter); ok {
		return resetter.Reset(r, nil)
	}
	source, err := zlib.NewReader(r)
	if err != nil {
		return err
	}
	d.source = source
	return nil
}

func (d *zlibDecompressor) Close() error {
	if d.source == nil {
		return nil
	}
	return d.source.Close()
}
