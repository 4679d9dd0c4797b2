// SPDX-License-Identifier: Apache-2.0

// Tests of the floors' framing.

package main

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// TestFrames checks that readFrame reads the messages of frames from pieces of any size.
func TestFrames(t *testing.T) {
	const count = 5
	for _, data := range []string{"", "a", strings.Repeat("long ", 2000)} {
		for name, piece := range map[string]func(io.Reader) io.Reader{
			"whole":  func(r io.Reader) io.Reader { return r },
			"bytes":  iotest.OneByteReader,
			"halves": iotest.HalfReader,
		} {
			r := bufio.NewReader(piece(&frames{frame: appendFrame(nil, []byte(data)), count: count}))
			var got []string
			for {
				message, err := readFrame(r, nil)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(message))
			}
			if want := slices.Repeat([]string{data}, count); !slices.Equal(got, want) {
				t.Errorf("%s, %d bytes: got %d messages, want %d", name, len(data), len(got), count)
			}
		}
	}
	for _, cut := range []string{"\x00\x00", "\x00\x00\x00\x02a"} {
		if _, err := readFrame(bufio.NewReader(strings.NewReader(cut)), nil); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: got %v, want %v", cut, err, io.ErrUnexpectedEOF)
		}
	}
}
