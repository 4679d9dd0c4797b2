// SPDX-License-Identifier: Apache-2.0

// This file checks for leaked goroutines and lists the formats under test.

package compress_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/compress/br"
	"github.com/seed-b7c59c10/connect/compress/deflate"
	"github.com/seed-b7c59c10/connect/compress/gzip"
	"github.com/seed-b7c59c10/connect/compress/snappy"
	"github.com/seed-b7c59c10/connect/compress/zstd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// format is one package below this one.
type format struct {
	name       string
	compress   func() connect.Compressor
	decompress func() connect.Decompressor
	option     func() connect.Option
	emptyOK    bool // no bytes at all are a valid empty stream
	endless    bool // the format has no end mark
	unchecked  bool // the format has no checksum
}

var formats = []format{
	{
		name:       zstd.Name,
		compress:   func() connect.Compressor { return zstd.NewCompressor() },
		decompress: func() connect.Decompressor { return zstd.NewDecompressor() },
		option:     func() connect.Option { return zstd.With() },
		emptyOK:    true,
	},
	{
		name:       br.Name,
		compress:   func() connect.Compressor { return br.NewCompressor() },
		decompress: br.NewDecompressor,
		option:     func() connect.Option { return br.With() },
		unchecked:  true,
	},
	{
		name:       snappy.Name,
		compress:   snappy.NewCompressor,
		decompress: snappy.NewDecompressor,
		option:     snappy.With,
		emptyOK:    true,
		endless:    true,
	},
	{
		name:       deflate.Name,
		compress:   func() connect.Compressor { return deflate.NewCompressor() },
		decompress: deflate.NewDecompressor,
		option:     func() connect.Option { return deflate.With() },
	},
	{
		name:       gzip.Name,
		compress:   func() connect.Compressor { return gzip.NewCompressor() },
		decompress: gzip.NewDecompressor,
		option:     func() connect.Option { return gzip.With() },
	},
}

// each runs a test once per format.
func each(t *testing.T, test func(*testing.T, format)) {
	t.Helper()
	for _, f := range formats {
		t.Run(f.name, func(t *testing.T) { test(t, f) })
	}
}

// text returns n bytes that compress well but not to nothing.
func text(n int) []byte {
	words := []string{"ping", "pong", "connect", "stream", "header", "trailer", "message"}
	random := rand.New(rand.NewPCG(1, uint64(n)))
	out := make([]byte, 0, n+16)
	for len(out) < n {
		out = fmt.Append(out, words[random.IntN(len(words))], random.IntN(1000), " ")
	}
	return out[:n]
}

// noise returns n bytes that do not compress.
func noise(n int) []byte {
	random := rand.NewChaCha8([32]byte{byte(n)})
	out := make([]byte, n)
	_, _ = random.Read(out)
	return out
}

func pack(t testing.TB, c connect.Compressor, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	c.Reset(&out)
	if _, err := c.Write(data); err != nil {
		t.Fatalf("Write: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return out.Bytes()
}

func unpack(d connect.Decompressor, packed []byte) ([]byte, error) {
	if err := d.Reset(bytes.NewReader(packed)); err != nil {
		return nil, err
	}
	return io.ReadAll(d)
}
