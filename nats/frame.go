// SPDX-License-Identifier: Apache-2.0

// Frames: the payloads of the NATS messages of a call. [PROTOCOL.md, section 3]

package natsrpc

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/seed-b7c59c10/connect"
)

// version is the value of the field Rpc-Version. A server refuses others.
const version = "1"

// A frameType is the first byte of a frame, without its flag.
type frameType byte

const (
	frameOpen   frameType = 1 // client: the request's head, and the start of its body
	frameAccept frameType = 2 // server: its window, and the subject for further frames
	frameHead   frameType = 3 // server: the response's head, and the start of its body
	frameData   frameType = 4 // a part of a body
	frameWindow frameType = 5 // the reader has made room for more bytes
	framePing   frameType = 6
	framePong   frameType = 7
	frameReset  frameType = 8 // the call ends early
)

// flagEnd marks the last frame of a body. Only frames that can have a part of a body may
// have it.
const flagEnd = 0x80

var frameNames = [...]string{1: "OPEN", 2: "ACCEPT", 3: "HEAD", 4: "DATA", 5: "WINDOW", 6: "PING", 7: "PONG", 8: "RESET"}

func (t frameType) String() string {
	if t == 0 || int(t) >= len(frameNames) {
		return fmt.Sprintf("frame of type %d", byte(t))
	}
	return frameNames[t]
}

// hasBody reports whether frames of this type have a part of a body.
func (t frameType) hasBody() bool { return t == frameOpen || t == frameHead || t == frameData }

// A frame is one message of a call.
type frame struct {
	kind    frameType
	end     bool   // of the body
	seq     uint64 // counts the frames of one direction from 0; always 0 in a RESET
	payload []byte // a part of a body, or what pack… of the type has made
}

// frameOverhead is the most bytes of a frame beside its payload.
const frameOverhead = 1 + binary.MaxVarintLen64

// appendFrame appends a frame to b.
func appendFrame(b []byte, f frame) []byte {
	first := byte(f.kind)
	if f.end {
		first |= flagEnd
	}
	b = append(b, first)
	b = binary.AppendUvarint(b, f.seq)
	return append(b, f.payload...)
}

// parseFrame reads a frame. Its payload is a part of b.
func parseFrame(b []byte) (frame, error) {
	if len(b) == 0 {
		return frame{}, fmt.Errorf("reading a frame: got no bytes, want at least 2")
	}
	f := frame{kind: frameType(b[0] &^ flagEnd), end: b[0]&flagEnd != 0}
	if f.kind < frameOpen || f.kind > frameReset {
		return frame{}, fmt.Errorf("reading a frame: unknown type %d, want 1 to %d", f.kind, frameReset)
	}
	if f.end && !f.kind.hasBody() {
		return frame{}, fmt.Errorf("reading a frame: %v with the end of a body, which only OPEN, HEAD and DATA have", f.kind)
	}
	seq, rest, err := readUvarint(b[1:])
	if err != nil {
		return frame{}, fmt.Errorf("reading the sequence number of a frame: %w", err)
	}
	f.seq, f.payload = seq, rest
	switch {
	case f.kind == frameReset && seq != 0:
		return frame{}, fmt.Errorf("reading a frame: RESET with sequence number %d, want 0", seq)
	case (f.kind == framePing || f.kind == framePong) && len(rest) > 0:
		return frame{}, fmt.Errorf("reading a frame: %v with a payload of %d bytes, want none", f.kind, len(rest))
	}
	return f, nil
}

// readUvarint reads a number from the start of b, in its shortest form alone, so that each
// frame has one form.
func readUvarint(b []byte) (n uint64, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	switch {
	case size == 0:
		return 0, nil, fmt.Errorf("got %d bytes, and the number goes on", len(b))
	case size < 0:
		return 0, nil, fmt.Errorf("the number exceeds 64 bits")
	case size > 1 && b[size-1] == 0:
		return 0, nil, fmt.Errorf("the number has %d bytes, more than it needs", size)
	}
	return n, b[size:], nil
}

// packCount returns the payload of an ACCEPT or WINDOW.
func packCount(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

// maxWindow is the largest window that a peer may announce.
const maxWindow = 1 << 30

// parseCount reads the payload of an ACCEPT or WINDOW.
func parseCount(f frame) (int, error) {
	n, rest, err := readUvarint(f.payload)
	switch {
	case err != nil:
		return 0, fmt.Errorf("reading the count of a %v: %w", f.kind, err)
	case len(rest) > 0:
		return 0, fmt.Errorf("reading a %v: %d bytes follow its count, want none", f.kind, len(rest))
	case n == 0 || n > maxWindow:
		return 0, fmt.Errorf("reading a %v: got %d bytes, want 1 to %d", f.kind, n, maxWindow)
	}
	return int(n), nil
}

// A reset is the payload of a RESET: why a call ends early.
type reset struct {
	code        connect.Code
	unprocessed bool // no handler has seen the request
	text        string
}

// maxResetText is the most bytes of a text that are sent and read.
const maxResetText = 1 << 10

const flagUnprocessed = 1

func packReset(r reset) []byte {
	b := binary.AppendUvarint(nil, uint64(r.code))
	flags := byte(0)
	if r.unprocessed {
		flags = flagUnprocessed
	}
	return append(append(b, flags), cleanText(r.text)...)
}

// parseReset reads the payload of a RESET. Flags that it does not have are left to later
// versions.
func parseReset(payload []byte) (reset, error) {
	code, rest, err := readUvarint(payload)
	switch {
	case err != nil:
		return reset{}, fmt.Errorf("reading the code of a RESET: %w", err)
	case code < uint64(connect.CodeCanceled) || code > uint64(connect.CodeUnauthenticated):
		return reset{}, fmt.Errorf("reading a RESET: code %d, want 1 to %d", code, connect.CodeUnauthenticated)
	case len(rest) == 0:
		return reset{}, fmt.Errorf("reading a RESET: its flags are missing")
	}
	return reset{connect.Code(code), rest[0]&flagUnprocessed != 0, cleanText(string(rest[1:]))}, nil
}

// cleanText bounds a text, and makes it one line of valid UTF-8.
func cleanText(s string) string {
	if len(s) > maxResetText {
		s = s[:maxResetText]
	}
	s = strings.ToValidUTF8(s, "")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
}
