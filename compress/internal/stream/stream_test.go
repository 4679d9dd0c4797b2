// SPDX-License-Identifier: Apache-2.0

// This file checks which decoders a Reader keeps, with decoders made up for it.

package stream

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// plain copies its source. Its Reset fails with resetErr.
type plain struct {
	source   io.Reader
	resetErr error
}

func (p *plain) Read(b []byte) (int, error) { return p.source.Read(b) }

func (p *plain) Reset(source io.Reader) error {
	p.source = source
	return p.resetErr
}

func TestKeptDecoders(t *testing.T) {
	for _, test := range []struct {
		name string
		n    int64 // how much is read of the first stream
		size int
		big  bool
		want int // how many decoders two streams need
	}{
		{"read to the end", 1 << 30, 100, false, 1},
		{"not read", 0, 100, false, 1},
		{"read without seeing the end", 50, 100, false, 2},
		{"largest output kept", 1 << 30, maxKept, false, 1},
		{"larger output", 1 << 30, maxKept + 1, false, 2},
		{"grown", 1 << 30, 100, true, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			opened := 0
			r := NewReader("plain",
				func(source io.Reader) (Decoder, error) { opened++; return &plain{source: source}, nil },
				func(Decoder) bool { return test.big })
			for i, n := range []int64{test.n, 1 << 30} {
				if err := r.Reset(strings.NewReader(strings.Repeat("x", test.size))); err != nil {
					t.Fatal(err)
				}
				got, err := io.Copy(io.Discard, io.LimitReader(r, n))
				if want := min(n, int64(test.size)); err != nil || got != want {
					t.Fatalf("stream %d: got %d bytes, %v, want %d", i, got, err, want)
				}
			}
			if opened != test.want {
				t.Errorf("got %d decoders, want %d", opened, test.want)
			}
		})
	}
}

func TestFailedOpenIsTriedAgain(t *testing.T) {
	cause := errors.New("bad header")
	opened := 0
	r := NewReader("plain", func(source io.Reader) (Decoder, error) {
		opened++
		if opened == 1 {
			return (*plain)(nil), cause
		}
		return &plain{source: source}, nil
	}, func(d Decoder) bool { return d.(*plain).source == nil })
	_ = r.Reset(strings.NewReader("x"))
	for range 2 {
		if _, err := r.Read(make([]byte, 1)); !errors.Is(err, cause) {
			t.Errorf("got %v, want %v", err, cause)
		}
	}
	_ = r.Reset(strings.NewReader("x"))
	if got, err := io.ReadAll(r); err != nil || string(got) != "x" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFailedResetDropsTheDecoder(t *testing.T) {
	first := &plain{}
	opened := 0
	r := NewReader("plain", func(source io.Reader) (Decoder, error) {
		opened++
		if opened == 1 {
			first.source = source
			return first, nil
		}
		return &plain{source: source}, nil
	}, nil)
	read := func() error {
		_ = r.Reset(strings.NewReader("x"))
		_, err := io.Copy(io.Discard, r)
		return err
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	first.resetErr = io.EOF // the source ended within the header
	if err := read(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want an unexpected EOF", err)
	}
	if err := read(); err != nil || opened != 2 {
		t.Errorf("got %v with %d decoders, want none with 2", err, opened)
	}
}
