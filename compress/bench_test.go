// SPDX-License-Identifier: Apache-2.0

// This file measures time and ratio per format, beside the standard library's
// gzip.

package compress_test

import (
	"bytes"
	stdgzip "compress/gzip"
	"io"
	"testing"

	"github.com/seed-b7c59c10/connect"
)

func benchmarked() []format {
	return append([]format{{
		name:       "stdgzip",
		compress:   func() connect.Compressor { return stdgzip.NewWriter(io.Discard) },
		decompress: func() connect.Decompressor { return &stdgzip.Reader{} },
	}}, formats...)
}

func BenchmarkCompress(b *testing.B) {
	data := text(16 << 10)
	for _, f := range benchmarked() {
		b.Run(f.name, func(b *testing.B) {
			c := f.compress()
			var out bytes.Buffer
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				out.Reset()
				c.Reset(&out)
				_, _ = c.Write(data)
				_ = c.Close()
			}
			b.ReportMetric(float64(len(data))/float64(out.Len()), "ratio")
		})
	}
}

func BenchmarkDecompress(b *testing.B) {
	data := text(16 << 10)
	for _, f := range benchmarked() {
		b.Run(f.name, func(b *testing.B) {
			packed := pack(b, f.compress(), data)
			d, source := f.decompress(), bytes.NewReader(nil)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				source.Reset(packed)
				_ = d.Reset(source)
				_, _ = io.Copy(io.Discard, d)
				_ = d.Close()
			}
		})
	}
}
