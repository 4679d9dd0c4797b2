// SPDX-License-Identifier: Apache-2.0

// Frames: the golden bytes, the inverse of appendFrame, and input of a hostile peer.

package natsrpc

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/seed-b7c59c10/connect"
)

func TestFrameBytes(t *testing.T) {
	for _, test := range []struct {
		frame frame
		want  string
	}{
		{frame{kind: frameOpen}, "01 00"},
		{frame{kind: frameOpen, end: true, payload: []byte("hi")}, "81 00 68 69"},
		{frame{kind: frameAccept, payload: packCount(256 << 10)}, "02 00 80 80 10"},
		{frame{kind: frameHead, end: true, seq: 1, payload: []byte{5}}, "83 01 05"},
		{frame{kind: frameData, seq: 128, payload: []byte{1}}, "04 80 01 01"},
		{frame{kind: frameWindow, seq: 3, payload: packCount(1)}, "05 03 01"},
		{frame{kind: framePing, seq: math.MaxUint64}, "06 ff ff ff ff ff ff ff ff ff 01"},
		{frame{kind: framePong, seq: 127}, "07 7f"},
		{frame{kind: frameReset, payload: packReset(reset{connect.CodeUnavailable, true, "no"})}, "08 00 0e 01 6e 6f"},
	} {
		b := appendFrame(nil, test.frame)
		if got := fmt.Sprintf("% x", b); got != test.want {
			t.Errorf("%v: got %s, want %s", test.frame.kind, got, test.want)
		}
		got, err := parseFrame(b)
		if err != nil || got.kind != test.frame.kind || got.end != test.frame.end || got.seq != test.frame.seq || !bytes.Equal(got.payload, test.frame.payload) {
			t.Errorf("%v: got %+v and error %v, want %+v", test.frame.kind, got, err, test.frame)
		}
	}
}

func TestMalformedFrames(t *testing.T) {
	for _, test := range []struct{ bytes, want string }{
		{"", "no bytes"},
		{"\x00\x00", "unknown type 0"},
		{"\x09\x00", "unknown type 9"},
		{"\x7f\x00", "unknown type 127"},
		{"\x04", "the number goes on"},
		{"\x04\x80", "the number goes on"},
		{"\x04\x80\x00", "more than it needs"},
		{"\x04\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "exceeds 64 bits"},
		{"\x85\x00\x01", "WINDOW with the end"},
		{"\x88\x00\x01\x00", "RESET with the end"},
		{"\x06\x00x", "PING with a payload"},
		{"\x08\x01\x01\x00", "RESET with sequence number 1"},
	} {
		if _, err := parseFrame([]byte(test.bytes)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got error %v, want one with %q", test.bytes, err, test.want)
		}
	}
	for _, test := range []struct{ payload, want string }{
		{"", "the number goes on"}, {"\x00", "got 0 bytes"}, {"\x01x", "1 bytes follow"},
		{"\x81\x80\x80\x80\x04", "1073741825 bytes"},
	} {
		if _, err := parseCount(frame{kind: frameWindow, payload: []byte(test.payload)}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got error %v, want one with %q", test.payload, err, test.want)
		}
	}
	for _, test := range []struct{ payload, want string }{
		{"", "the number goes on"}, {"\x00\x00", "code 0"}, {"\x11\x00", "code 17"}, {"\x01", "flags are missing"},
	} {
		if _, err := parseReset([]byte(test.payload)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got error %v, want one with %q", test.payload, err, test.want)
		}
	}
}

// A text of the peer is short, one line, and UTF-8.
func TestResetText(t *testing.T) {
	for _, text := range []string{"", "plain", "two\nlines\x00", "\xff\xfe bad", strings.Repeat("é", maxResetText)} {
		r, err := parseReset(packReset(reset{code: connect.CodeInternal, text: text}))
		if err != nil || len(r.text) > maxResetText || !utf8.ValidString(r.text) || strings.ContainsAny(r.text, "\n\x00") {
			t.Errorf("%.20q: got %.40q and error %v, want a short line", text, r.text, err)
		}
	}
}

func FuzzFrame(f *testing.F) {
	for _, seed := range []string{"\x81\x00hi", "\x02\x00\x80\x80\x10", "\x05\x03\x01", "\x08\x00\x0e\x01no", "\x04\x80\x01x", "\x06\x01"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		one, err := parseFrame(b)
		if err != nil {
			return
		}
		if again := appendFrame(nil, one); !bytes.Equal(again, b) {
			t.Fatalf("got % x, want the only form % x", again, b)
		}
		if n, err := parseCount(one); err == nil && !bytes.Equal(packCount(n), one.payload) {
			t.Fatalf("count %d: got % x, want % x", n, packCount(n), one.payload)
		}
		if r, err := parseReset(one.payload); err == nil {
			if again, err := parseReset(packReset(r)); err != nil || again != r {
				t.Fatalf("got %+v and error %v, want %+v", again, err, r)
			}
		}
	})
}
