// SPDX-License-Identifier: Apache-2.0

// Frames: taken apart as they were put together, however the bytes arrive, and in
// how much memory.

package connect

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// frame returns payload with a prefix.
func frame(flags uint8, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(payload)))
	return append(b, payload...)
}

// chopped returns a reader of data in pieces of random sizes, some of them empty.
// The end comes together with the last piece or after it.
func chopped(r *rand.Rand, data []byte) io.Reader {
	if r.IntN(2) == 0 {
		return iotest.DataErrReader(&choppedReader{r, data})
	}
	return &choppedReader{r, data}
}

type choppedReader struct {
	r    *rand.Rand
	data []byte
}

func (c *choppedReader) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	if c.r.IntN(8) == 0 {
		return 0, nil
	}
	n := min(len(p), len(c.data))
	if n > 1 && c.r.IntN(2) == 0 {
		n = 1 + c.r.IntN(n)
	}
	copy(p, c.data[:n])
	c.data = c.data[n:]
	return n, nil
}

// randomSize returns the size of a payload: small ones mostly, and those around
// the sizes of buffers.
func randomSize(r *rand.Rand) int {
	switch r.IntN(10) {
	case 0:
		return 0
	case 1:
		return bufferSize - 10 + r.IntN(20)
	case 2:
		return bufferKept - 10 + r.IntN(20)
	case 3:
		return r.IntN(3 * bufferKept)
	}
	return r.IntN(300)
}

// noise is the source of the bytes of payloads.
var noise = func() []byte {
	b := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}()

func payloadOf(r *rand.Rand, size int) []byte {
	from := r.IntN(len(noise) - size)
	return bytes.Clone(noise[from : from+size])
}

func TestFrames(t *testing.T) {
	randomly(t, 400, func(t *testing.T, r *rand.Rand) {
		var payloads [][]byte
		var flags []uint8
		var body []byte
		for range r.IntN(8) {
			payloads = append(payloads, payloadOf(r, randomSize(r)))
			flags = append(flags, uint8(r.Uint32()))
			b := append(make([]byte, prefixSize), payloads[len(payloads)-1]...)
			putPrefix(b, flags[len(flags)-1])
			body = append(body, b...)
		}
		f := frameReader{src: chopped(r, body)}
		for i, want := range payloads {
			gotFlags, size, err := f.prefix()
			if err != nil || gotFlags != flags[i] || int(size) != len(want) {
				t.Fatalf("prefix %d: got %#x, %d, %v, want %#x, %d", i, gotFlags, size, err, flags[i], len(want))
			}
			got, err := f.payload(int(size))
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("payload %d of %d bytes: got %d bytes, %v", i, len(want), len(got), err)
			}
		}
		if !f.atEnd() {
			t.Errorf("got more, want the end")
		}
		if _, _, err := f.prefix(); err != io.EOF {
			t.Errorf("after the last frame: got %v, want %v", err, io.EOF)
		}
		f.free()
		if _, _, err := f.prefix(); err != io.EOF {
			t.Errorf("after free: got %v, want %v", err, io.EOF)
		}
		f.free()
	})
}

// TestCutFrames: a body that ends within a frame never looks complete.
// [checklist 29]
func TestCutFrames(t *testing.T) {
	for _, size := range []int{1, 100, bufferSize, bufferSize + 1, 2 * bufferKept} {
		whole := frame(0, make([]byte, size))
		for _, cut := range []int{1, 4, prefixSize, prefixSize + 1, len(whole) / 2, len(whole) - 1} {
			if cut >= len(whole) {
				continue
			}
			for name, end := range map[string]error{"end": io.EOF, "unexpected end": io.ErrUnexpectedEOF} {
				f := frameReader{src: io.MultiReader(bytes.NewReader(whole[:cut]), iotest.ErrReader(end))}
				_, n, err := f.prefix()
				if err == nil {
					_, err = f.payload(int(n))
				}
				if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
					t.Errorf("%d of %d bytes, then %s: got %v, want %v", cut, len(whole), name, err, io.ErrUnexpectedEOF)
				}
				f.free()
			}
			broken := errors.New("broken")
			f := frameReader{src: io.MultiReader(bytes.NewReader(whole[:cut]), iotest.ErrReader(broken))}
			_, n, err := f.prefix()
			if err == nil {
				_, err = f.payload(int(n))
			}
			if !errors.Is(err, broken) {
				t.Errorf("%d of %d bytes, then an error: got %v, want %v", cut, len(whole), err, broken)
			}
			f.free()
		}
	}
}

// stuckReader returns neither data nor an error.
type stuckReader struct{}

func (stuckReader) Read([]byte) (int, error) { return 0, nil }

func TestNoProgress(t *testing.T) {
	f := frameReader{src: stuckReader{}}
	defer f.free()
	if _, _, err := f.prefix(); err != io.ErrNoProgress {
		t.Errorf("prefix: got %v, want %v", err, io.ErrNoProgress)
	}
	g := frameReader{src: io.MultiReader(bytes.NewReader(frame(0, make([]byte, 2*bufferSize))[:100]), stuckReader{})}
	defer g.free()
	if _, n, err := g.prefix(); err != nil {
		t.Error(err)
	} else if _, err := g.payload(int(n)); err != io.ErrNoProgress {
		t.Errorf("payload: got %v, want %v", err, io.ErrNoProgress)
	}
	b := newBuffer(0)
	defer b.free()
	if err := b.readAll(stuckReader{}, 0, 0); err != io.ErrNoProgress {
		t.Errorf("readAll: got %v, want %v", err, io.ErrNoProgress)
	}
}

// TestPromises: memory grows with the bytes that arrive, and not with the length that
// a prefix announces.
func TestPromises(t *testing.T) {
	body := append([]byte{0, 0x7f, 0xff, 0xff, 0xff}, make([]byte, 10)...)
	got := allocated(func() {
		u := unpacker{codec: protoCodec{}, framed: true}
		u.frames.src = bytes.NewReader(body)
		if _, err := u.next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v, want %v", err, io.ErrUnexpectedEOF)
		}
		u.free()
	})
	if most := uint64(4 * bufferKept); got > most {
		t.Errorf("a frame of 2 GiB with 10 bytes: got %d bytes allocated, want at most %d", got, most)
	}
	got = allocated(func() {
		u := unpacker{codec: protoCodec{}, hint: bufferKept}
		u.frames.src = bytes.NewReader(body)
		if p, err := u.next(); err != nil || len(p.data) != len(body) {
			t.Errorf("got %d bytes, %v, want %d", len(p.data), err, len(body))
		}
		u.free()
	})
	if most := uint64(4 * bufferKept); got > most {
		t.Errorf("a body of 15 bytes that is announced as large: got %d bytes allocated, want at most %d", got, most)
	}
}
