// SPDX-License-Identifier: Apache-2.0

// This file fuzzes every decompressor with bytes from the network, and every
// pair as inverse functions.

package compress_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/seed-b7c59c10/connect"
)

// pair is a format's compressor and decompressor, reused for every input.
type pair struct {
	name string
	c    connect.Compressor
	d    connect.Decompressor
}

func newPairs() []pair {
	var pairs []pair
	for _, f := range formats {
		pairs = append(pairs, pair{f.name, f.compress(), f.decompress()})
	}
	return pairs
}

// FuzzDecompress reads any bytes with any format: no panic, no end without an
// answer, and the decompressor works afterwards.
func FuzzDecompress(f *testing.F) {
	for i, format := range formats {
		packed := pack(f, format.compress(), text(300))
		f.Add(byte(i), packed)
		f.Add(byte(i), packed[:len(packed)/2])
		f.Add(byte(i), append(bytes.Clone(packed), packed...))
		f.Add(byte(i), pack(f, format.compress(), nil))
		f.Add(byte(i), pack(f, format.compress(), make([]byte, 1<<17)))
	}
	f.Add(byte(0), []byte("\x50\x2a\x4d\x18\x04\x00\x00\x00skip"))                             // zstd: a skippable frame
	f.Add(byte(0), []byte("\x28\xb5\x2f\xfd\xe0\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00")) // zstd: claims 2^64-1 bytes
	f.Add(byte(1), []byte("\x5b\xff\xff\x7f"))                                                 // br: claims 16 MiB
	f.Add(byte(2), []byte("\xff\x06\x00\x00sNaPpY\x80\xff\xff\xff"))                           // snappy: skips 16 MiB
	f.Add(byte(3), []byte("\x78\xbb\x00\x00\x00\x01"))                                         // zlib: needs a dictionary
	f.Add(byte(4), []byte("\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff\xff\xff"))                 // gzip: an extra field without end
	pairs := newPairs()
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		format := pairs[int(which)%len(pairs)]
		d := format.d
		if err := d.Reset(bytes.NewReader(data)); err != nil {
			t.Fatalf("Reset: %v", err)
		}
		const limit = 1 << 20
		got, err := io.ReadAll(io.LimitReader(d, limit))
		if len(got) < limit && err == nil {
			if n, err := d.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("after the end: got %d, %v, want 0, EOF", n, err)
			}
		}
		if err := d.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		want := []byte("afterwards")
		if got, err := unpack(d, pack(t, format.c, want)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("good data afterwards: got %q, %v", got, err)
		}
	})
}

// FuzzRoundTrip compresses and decompresses any bytes, in two writes.
func FuzzRoundTrip(f *testing.F) {
	for i := range formats {
		f.Add(byte(i), []byte("hello, hello, hello"), uint16(5))
		f.Add(byte(i), []byte{}, uint16(0))
		f.Add(byte(i), noise(500), uint16(499))
	}
	pairs := newPairs()
	f.Fuzz(func(t *testing.T, which byte, data []byte, split uint16) {
		format := pairs[int(which)%len(pairs)]
		at := min(int(split), len(data))
		var packed bytes.Buffer
		c := format.c
		c.Reset(&packed)
		for _, part := range [][]byte{data[:at], data[at:]} {
			if n, err := c.Write(part); n != len(part) || err != nil {
				t.Fatalf("Write: got %d, %v, want %d", n, err, len(part))
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := unpack(format.d, packed.Bytes())
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: got %d bytes, %v, want %d", format.name, len(got), err, len(data))
		}
	})
}
