// SPDX-License-Identifier: Apache-2.0

// This file checks the promises of every compressor and decompressor, with good
// and with bad data.

package compress_test

import (
	"bytes"
	stdgzip "compress/gzip"
	stdzlib "compress/zlib"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"weak"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/compress/br"
	"github.com/seed-b7c59c10/connect/compress/deflate"
	"github.com/seed-b7c59c10/connect/compress/gzip"
	"github.com/seed-b7c59c10/connect/compress/zstd"
)

func TestRoundTripReused(t *testing.T) {
	each(t, func(t *testing.T, f format) {
		c, d := f.compress(), f.decompress()
		for _, n := range []int{0, 1, 100, 4096, 65535, 65536, 65537, 1 << 20, 3<<20 + 1, 10} {
			inputs := map[string][]byte{"text": text(n)}
			if n <= 1<<16+1 {
				inputs["noise"], inputs["zeros"] = noise(n), make([]byte, n)
			}
			for kind, data := range inputs {
				packed := pack(t, c, data)
				got, err := unpack(d, packed)
				if err != nil {
					t.Fatalf("%s of %d bytes: %v", kind, n, err)
				}
				if !bytes.Equal(got, data) {
					t.Fatalf("%s of %d bytes: got %d other bytes", kind, n, len(got))
				}
				if kind == "zeros" && n >= 4096 && len(packed) > n/8 {
					t.Errorf("%d zeros: got %d bytes, want less than an eighth", n, len(packed))
				}
			}
		}
	})
}

// Small writes and small reads give the same as large ones.
func TestSmallSteps(t *testing.T) {
	each(t, func(t *testing.T, f format) {
		data := text(10_000)
		var packed bytes.Buffer
		c := f.compress()
		c.Reset(&packed)
		for chunk := range slicesOf(data, 7) {
			if _, err := c.Write(chunk); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		d := f.decompress()
		if err := d.Reset(iotest.OneByteReader(&packed)); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(iotest.OneByteReader(d))
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("got %d bytes and %v, want %d and no error", len(got), err, len(data))
		}
	})
}

func slicesOf(data []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(data) > 0 {
			k := min(n, len(data))
			if !yield(data[:k]) {
				return
			}
			data = data[k:]
		}
	}
}

// Each name on the wire has the format of its specification.
func TestWireFormat(t *testing.T) {
	hello := []byte("hello")

	t.Run("gzip", func(t *testing.T) {
		r, err := stdgzip.NewReader(bytes.NewReader(pack(t, gzip.NewCompressor(), hello)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, hello) {
			t.Fatalf("got %q, %v", got, err)
		}
		var b bytes.Buffer
		w := stdgzip.NewWriter(&b)
		_, _ = w.Write(hello)
		_ = w.Close()
		if got, err := unpack(gzip.NewDecompressor(), b.Bytes()); err != nil || !bytes.Equal(got, hello) {
			t.Fatalf("got %q, %v", got, err)
		}
	})
	t.Run("deflate", func(t *testing.T) {
		r, err := stdzlib.NewReader(bytes.NewReader(pack(t, deflate.NewCompressor(), hello)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, hello) {
			t.Fatalf("got %q, %v", got, err)
		}
		var b bytes.Buffer
		w := stdzlib.NewWriter(&b)
		_, _ = w.Write(hello)
		_ = w.Close()
		if got, err := unpack(deflate.NewDecompressor(), b.Bytes()); err != nil || !bytes.Equal(got, hello) {
			t.Fatalf("got %q, %v", got, err)
		}
	})

	// Streams written by hand: magic number, then one uncompressed block.
	var sum [4]byte
	crc := crc32.Checksum(hello, crc32.MakeTable(crc32.Castagnoli))
	binary.LittleEndian.PutUint32(sum[:], (crc>>15|crc<<17)+0xa282ead8)
	for _, test := range []struct{ name, packed string }{
		{"zstd", "\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00hello"},                                 // RFC 8878, 3.1.1
		{"br", "\x0b\x02\x80hello\x03"},                                                       // RFC 7932, 9.2
		{"snappy", "\xff\x06\x00\x00sNaPpY\x01\x09\x00\x00" + string(sum[:]) + string(hello)}, // framing_format.txt, 4.1 and 4.3
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, f := range formats {
				if f.name != test.name {
					continue
				}
				if got, err := unpack(f.decompress(), []byte(test.packed)); err != nil || !bytes.Equal(got, hello) {
					t.Fatalf("got %q, %v", got, err)
				}
				packed := pack(t, f.compress(), text(1000))
				if magic := test.packed[:4]; f.name != br.Name && !strings.HasPrefix(string(packed), magic) {
					t.Errorf("output begins % x, want % x", packed[:4], magic)
				}
			}
		})
	}
}

// A stream cut anywhere is an error, and never more than a part of the data.
func TestTruncated(t *testing.T) {
	each(t, func(t *testing.T, f format) {
		data := append(text(3000), noise(200)...)
		packed := pack(t, f.compress(), data)
		d := f.decompress()
		for cut := range len(packed) {
			got, err := unpack(d, packed[:cut])
			if !bytes.HasPrefix(data, got) {
				t.Fatalf("cut at %d: got other data", cut)
			}
			if err == nil && (cut > 0 || !f.emptyOK) && (!f.endless || len(got) == len(data)) {
				t.Errorf("cut at %d of %d: got no error and %d bytes", cut, len(packed), len(got))
			}
			if cut > 0 && !f.endless && err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("cut at %d of %d: got %v, want an unexpected EOF", cut, len(packed), err)
			}
		}
		if got, err := unpack(d, packed); err != nil || !bytes.Equal(got, data) {
			t.Errorf("whole stream afterwards: got %d bytes, %v", len(got), err)
		}
	})
}

// A damaged byte is found by the checksum, where there is one, and never makes
// a decompressor unusable.
func TestCorrupt(t *testing.T) {
	each(t, func(t *testing.T, f format) {
		data := text(2000)
		packed := pack(t, f.compress(), data)
		d := f.decompress()
		for i := range packed {
			for _, flip := range []byte{0x01, 0x80, 0xff} {
				bad := bytes.Clone(packed)
				bad[i] ^= flip
				got, err := io.ReadAll(io.LimitReader(reset(t, d, bad), 1<<20))
				if err == nil && !f.unchecked && !bytes.Equal(got, data) && len(got) > 0 {
					t.Fatalf("byte %d: got %d other bytes and no error", i, len(got))
				}
			}
		}
		if got, err := unpack(d, packed); err != nil || !bytes.Equal(got, data) {
			t.Errorf("good data afterwards: got %d bytes, %v", len(got), err)
		}
	})
}

func reset(t *testing.T, d connect.Decompressor, packed []byte) io.Reader {
	t.Helper()
	if err := d.Reset(bytes.NewReader(packed)); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTrailingData(t *testing.T) {
	each(t, func(t *testing.T, f format) {
		packed := pack(t, f.compress(), text(100))
		for _, tail := range []string{"\x00", "x", "garbage that is no frame of any format"} {
			got, err := unpack(f.decompress(), append(bytes.Clone(packed), tail...))
			if err == nil {
				t.Errorf("tail %q: got %d bytes and no error", tail, len(got))
			}
		}
	})
}

func TestErrorsAreFinalAndNamed(t *testing.T) {
	each(t, func(t *testing.T, f format) {
		d := f.decompress()
		_, first := unpack(d, []byte("this is not compressed at all"))
		if first == nil {
			t.Fatal("got no error")
		}
		if want := "decompress " + f.name + ": "; !strings.HasPrefix(first.Error(), want) {
			t.Errorf("got %q, want it to begin with %q", first, want)
		}
		n, again := d.Read(make([]byte, 10))
		if n != 0 || again == nil || again.Error() != first.Error() {
			t.Errorf("second Read: got %d, %v, want 0, %v", n, again, first)
		}
	})
}

func TestSourceErrorIsKept(t *testing.T) {
	each(t, func(t *testing.T, f format) {
		packed := pack(t, f.compress(), noise(100_000))
		cause := errors.New("connection lost")
		d := f.decompress()
		for _, after := range []int{0, 3, 50_000} {
			source := io.MultiReader(bytes.NewReader(packed[:after]), iotest.ErrReader(cause))
			if err := d.Reset(source); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, d); !errors.Is(err, cause) {
				t.Errorf("after %d bytes: got %v, want %v", after, err, cause)
			}
		}
	})
}

// Every order of Reset, Read and Close is allowed.
func TestStates(t *testing.T) {
	each(t, func(t *testing.T, f format) {
		data := text(200_000)
		packed := pack(t, f.compress(), data)
		d := f.decompress()
		closed := func(when string) {
			t.Helper()
			if n, err := d.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
				t.Errorf("Read %s: got %d, %v, want an error", when, n, err)
			}
		}
		closed("before Reset")
		for range 2 {
			if err := d.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		closed("after Close")
		_ = d.Reset(nil)
		closed("after Reset(nil)")

		_, _ = io.ReadFull(reset(t, d, packed), make([]byte, 1000)) // not to the end
		if got, err := unpack(d, packed); err != nil || !bytes.Equal(got, data) {
			t.Errorf("after half a stream: got %d bytes, %v", len(got), err)
		}
		_, _ = io.ReadFull(reset(t, d, packed), make([]byte, 1000))
		if err := d.Close(); err != nil {
			t.Errorf("Close in the middle: %v", err)
		}
		closed("after Close in the middle")
		if got, err := unpack(d, packed); err != nil || !bytes.Equal(got, data) {
			t.Errorf("after Close in the middle: got %d bytes, %v", len(got), err)
		}
		reset(t, d, packed)
		_ = d.Close() // never read
		if got, err := unpack(d, packed); err != nil || !bytes.Equal(got, data) {
			t.Errorf("after Close without Read: got %d bytes, %v", len(got), err)
		}
	})
}

func TestCompressorStates(t *testing.T) {
	each(t, func(t *testing.T, f format) {
		c := f.compress()
		if _, err := c.Write([]byte("x")); err == nil {
			t.Error("Write before Reset: got no error")
		}
		if err := c.Close(); err != nil {
			t.Errorf("Close before Reset: %v", err)
		}
		data := text(100_000)
		var dropped, out bytes.Buffer
		c.Reset(&dropped)
		_, _ = c.Write(data) // never closed
		c.Reset(&out)
		_, _ = c.Write(data)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		size := out.Len()
		if err := c.Close(); err != nil || out.Len() != size {
			t.Errorf("second Close: got %v and %d more bytes", err, out.Len()-size)
		}
		if _, err := c.Write([]byte("x")); err == nil {
			t.Error("Write after Close: got no error")
		}
		if got, err := unpack(f.decompress(), out.Bytes()); err != nil || !bytes.Equal(got, data) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		c.Reset(nil)
		if _, err := c.Write([]byte("x")); err == nil {
			t.Error("Write after Reset(nil): got no error")
		}

		cause := errors.New("disk full")
		c.Reset(failingWriter{cause})
		_, err := c.Write(noise(1 << 20))
		if err == nil {
			err = c.Close()
		}
		if !errors.Is(err, cause) {
			t.Errorf("failing sink: got %v, want %v", err, cause)
		}
		if got, err := unpack(f.decompress(), pack(t, c, data)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("after a failing sink: got %d bytes, %v", len(got), err)
		}
	})
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// A closed decompressor and a reset compressor hold on to nothing of the
// caller's.
func TestReferencesAreReleased(t *testing.T) {
	each(t, func(t *testing.T, f format) {
		packed := pack(t, f.compress(), text(5000))
		for name, release := range map[string]func(connect.Decompressor){
			"Close":        func(d connect.Decompressor) { _ = d.Close() },
			"Reset(nil)":   func(d connect.Decompressor) { _ = d.Reset(nil) },
			"Reset(other)": func(d connect.Decompressor) { _ = d.Reset(strings.NewReader("")) },
		} {
			for _, n := range []int64{0, 10, 1 << 20} { // unread, in the middle, to the end
				d := f.decompress()
				source := bytes.NewReader(bytes.Clone(packed))
				held := weak.Make(source)
				_ = d.Reset(source)
				_, _ = io.CopyN(io.Discard, d, n)
				release(d)
				source = nil
				runtime.GC()
				if held.Value() != nil {
					t.Errorf("%s after %d bytes: the source is still held", name, n)
				}
				runtime.KeepAlive(d)
			}
		}
		c := f.compress()
		sink := new(bytes.Buffer)
		held := weak.Make(sink)
		c.Reset(sink)
		_, _ = c.Write(packed)
		_ = c.Close()
		c.Reset(nil)
		sink = nil
		runtime.GC()
		if held.Value() != nil {
			t.Error("compressor: the sink is still held")
		}
		runtime.KeepAlive(c)
	})
}

// Reading a little of a small message that inflates to a lot costs a little.
// The source is a *bytes.Buffer, which some libraries decode whole.
func TestBomb(t *testing.T) {
	each(t, func(t *testing.T, f format) {
		const size = 32 << 20
		var packed bytes.Buffer
		c := f.compress()
		c.Reset(&packed)
		if _, err := io.CopyN(c, zeros{}, size); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d MiB in %d bytes", size>>20, packed.Len())

		d := f.decompress()
		allocated := allocation(func() {
			source := bytes.NewBuffer(packed.Bytes())
			if err := d.Reset(source); err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, d, 1000); err != nil {
				t.Fatal(err)
			}
			if left := source.Len(); left == 0 && packed.Len() > 128<<10 {
				t.Errorf("read all %d bytes of the source for 1000 bytes of output", packed.Len())
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		})
		if allocated > 12<<20 {
			t.Errorf("allocated %d KiB for 1000 bytes of output", allocated>>10)
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func allocation(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestLevels(t *testing.T) {
	data := text(300_000)
	for name, level := range map[string]func(int) connect.Compressor{
		"zstd":    func(n int) connect.Compressor { return zstd.NewCompressor(zstd.Level(n)) },
		"br":      func(n int) connect.Compressor { return br.NewCompressor(br.Level(n)) },
		"deflate": func(n int) connect.Compressor { return deflate.NewCompressor(deflate.Level(n)) },
		"gzip":    func(n int) connect.Compressor { return gzip.NewCompressor(gzip.Level(n)) },
	} {
		fast, small := pack(t, level(1), data), pack(t, level(9), data)
		if len(small) >= len(fast) {
			t.Errorf("%s: level 9 gives %d bytes, level 1 %d", name, len(small), len(fast))
		}
		for _, bad := range []int{-3, 23} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: level %d: got no panic", name, bad)
					}
				}()
				level(bad)
			}()
		}
	}
}

// A nil setting is one that a program leaves out. Without that, each message would panic.
func TestNilSettings(t *testing.T) {
	for name, c := range map[string]connect.Compressor{
		zstd.Name: zstd.NewCompressor(nil), br.Name: br.NewCompressor(nil), gzip.Name: gzip.NewCompressor(nil), deflate.Name: deflate.NewCompressor(nil),
	} {
		if c == nil {
			t.Errorf("%s: got no compressor", name)
		}
	}
}
