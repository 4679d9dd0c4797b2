// SPDX-License-Identifier: Apache-2.0

// This file checks the window limit and the decoders that are kept.

package zstd

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
)

// windowed returns a frame that asks for a window and holds n bytes.
func windowed(t *testing.T, window, n int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	for range n { // in steps, so that the size is not known beforehand
		_, _ = w.Write([]byte{'x'})
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestWindowLimit(t *testing.T) {
	for _, test := range []struct {
		window  int
		setting []Setting
		refused bool
	}{
		{8 << 20, nil, false},
		{16 << 20, nil, true},
		{16 << 20, []Setting{MaxWindow(16 << 20)}, false},
		{1 << 20, []Setting{MaxWindow(1 << 19)}, true},
	} {
		d := NewDecompressor(test.setting...)
		_ = d.Reset(bytes.NewReader(windowed(t, test.window, 100)))
		got, err := io.ReadAll(d)
		refused := errors.Is(err, zstd.ErrWindowSizeExceeded)
		if refused != test.refused || !refused && len(got) != 100 {
			t.Errorf("window %d: got %d bytes, %v, want refused: %v", test.window, len(got), err, test.refused)
		}
	}
}

// A frame whose content is its window is limited in the same way.
func TestSingleSegmentLimit(t *testing.T) {
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 1, 0, 0, 0, 0x29, 0, 0, 'h', 'e', 'l', 'l', 'o'} // claims 4 GiB
	d := NewDecompressor()
	_ = d.Reset(bytes.NewReader(frame))
	if got, err := io.ReadAll(d); err == nil || len(got) > 0 {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestLargeDecoderIsNotKept(t *testing.T) {
	for window, want := range map[int]bool{1 << 20: false, 2 << 20: true, 8 << 20: true} {
		d, err := newDecoder(bytes.NewReader(windowed(t, window, 100)), defaultWindow)
		if err != nil {
			t.Fatal(err)
		}
		if d.large() {
			t.Errorf("window %d: large before the first Read", window)
		}
		if _, err := io.Copy(io.Discard, d); err != nil {
			t.Fatal(err)
		}
		if got := d.large(); got != want {
			t.Errorf("window %d: got large %v, want %v", window, got, want)
		}
	}
}

// A stream may have frames, of which the first asks for little.
func TestLargeDecoderOfFramesIsNotKept(t *testing.T) {
	small, large := windowed(t, 1<<10, 100), windowed(t, 8<<20, 100)
	skipped := []byte{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 0}
	for name, test := range map[string]struct {
		data []byte
		want bool
	}{
		"one frame":           {small, false},
		"a large second one":  {slices.Concat(small, large), true},
		"one that is skipped": {slices.Concat(skipped, large), true},
		"skipped in between":  {slices.Concat(small, skipped, large), true},
	} {
		for reads, source := range map[string]io.Reader{"at once": bytes.NewReader(test.data), "byte by byte": iotest.OneByteReader(bytes.NewReader(test.data))} {
			d, err := newDecoder(source, defaultWindow)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, d); err != nil {
				t.Fatal(err)
			}
			if got := d.large(); got != test.want {
				t.Errorf("%s, %s: got large %v, want %v", name, reads, got, test.want)
			}
			if err := d.Reset(bytes.NewReader(small)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, d); err != nil || d.large() {
				t.Errorf("%s, %s: got error %v and large %v of a small stream after it, want neither", name, reads, err, d.large())
			}
		}
	}
}

func TestMaxWindowChecksItsValue(t *testing.T) {
	for _, bad := range []int{-1, 0, 1023, 1<<29 + 1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d: got no panic", bad)
				}
			}()
			MaxWindow(bad)
		}()
	}
}
