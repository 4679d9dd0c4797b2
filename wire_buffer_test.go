// SPDX-License-Identifier: Apache-2.0

// Buffers: their growth, and their size when they go back to the pool.

package connect

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
)

// TestReadAll: a limit is exact, and no Read asks for more than one byte beyond it.
func TestReadAll(t *testing.T) {
	randomly(t, 500, func(t *testing.T, r *rand.Rand) {
		data := payloadOf(r, randomSize(r))
		limit := max(1, len(data)-5+r.IntN(10))
		if r.IntN(3) == 0 {
			limit = 0
		}
		src := &countingReader{r: chopped(r, data)}
		b := newBuffer(0)
		defer b.free()
		err := b.readAll(src, r.IntN(2*bufferKept), limit)
		switch {
		case limit > 0 && len(data) > limit:
			if err != errTooLarge || src.n > limit+1 {
				t.Errorf("%d bytes, limit %d: got %v after %d bytes, want %v", len(data), limit, err, src.n, errTooLarge)
			}
		case err != nil || !bytes.Equal(b.data, data):
			t.Errorf("%d bytes, limit %d: got %d bytes, %v", len(data), limit, len(b.data), err)
		}
	})
}

type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// TestBufferSizes: a buffer from the pool is empty, and has enough room and not much
// more.
func TestBufferSizes(t *testing.T) {
	withPool(new(sizedPools), func() {
		for _, size := range []int{0, 1, bufferSize, bufferSize + 1, bufferKept, bufferKept + 1, 1 << 20, 1<<20 + 1, bufferMax, bufferMax + 1} {
			for _, b := range []*buffer{newBuffer(0), {}, {make([]byte, 0, size)}} {
				if _, err := b.Write(make([]byte, size)); err != nil {
					t.Fatal(err)
				}
				b.free()
			}
		}
		(&buffer{}).free() // of a codec that returned a slice of its own
		(&buffer{make([]byte, 3)}).free()
		var taken []*buffer
		for range 20 {
			for _, size := range []int{0, bufferSize + 1, bufferKept, bufferKept + 1, 1 << 20, 1<<20 + 1, bufferMax - 1, bufferMax, bufferMax + 1} {
				b := buffers.get(size)
				if b == nil && size > bufferKept {
					continue
				}
				if room := cap(b.data); len(b.data) != 0 || room < max(size, bufferSize) || room >= max(4*size, 2*bufferSize) {
					t.Errorf("got a buffer with %d of %d bytes for %d", len(b.data), room, size)
				}
				taken = append(taken, b)
			}
		}
		for _, b := range taken {
			b.free()
		}
		var none *buffer
		none.free()
	})
}

// TestClasses: every size has a pool, whose buffers are as large, and the pools
// are in the order of sizes.
func TestClasses(t *testing.T) {
	last := 0
	for size := bufferSize; size <= bufferMax; size += 1 + size/1000 {
		room := roundUp(size)
		if room < size || room >= 2*size || roundUp(room) != room {
			t.Fatalf("%d bytes: got a buffer of %d", size, room)
		}
		got := class(room)
		if got < last || got > last+1 || got >= len(sizedPools{}) {
			t.Fatalf("%d bytes: got class %d after %d", room, got, last)
		}
		if below := class(size); size < room && below != got-1 || size == room && below != got {
			t.Fatalf("%d bytes: got class %d, want the one below %d", size, below, got)
		}
		last = got
	}
	if got, want := class(bufferMax), len(sizedPools{})-2; got != want || class(bufferSmall) != want+1 {
		t.Errorf("got %d as the class of the largest and %d as that of the smallest, want %d and the next", got, class(bufferSmall), want)
	}
}

// TestReserve: there is room afterwards, and the bytes before stay.
func TestReserve(t *testing.T) {
	randomly(t, 300, func(t *testing.T, r *rand.Rand) {
		b := newBuffer(0)
		defer b.free()
		var want []byte
		for range 4 {
			piece := payloadOf(r, randomSize(r))
			b.reserve(len(piece))
			if room := cap(b.data) - len(b.data); room < len(piece) {
				t.Fatalf("got room for %d bytes, want %d", room, len(piece))
			}
			if r.IntN(2) == 0 {
				b.data = append(b.data, piece...)
			} else if _, err := b.Write(piece); err != nil {
				t.Fatal(err)
			}
			want = append(want, piece...)
		}
		if !bytes.Equal(b.data, want) {
			t.Errorf("got %d bytes, want the %d that were written", len(b.data), len(want))
		}
	})
}
