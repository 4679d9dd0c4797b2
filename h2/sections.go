// SPDX-License-Identifier: Apache-2.0

// How field sections leave: encoded into the connection's buffer, cut into frames.

package h2

import (
	"errors"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// beginFields reserves a frame header and returns where it is. With mu held.
func (c *conn) beginFieldsLocked() int {
	c.mu.assertHeld()
	at := len(c.writer.out)
	c.writer.out = c.enc.Begin(append(c.outLocked(), 0, 0, 0, 0, 0, 0, 0, 0, 0))
	return at
}

// field encodes one field. With mu held.
func (c *conn) fieldLocked(name, value string) {
	c.writer.out = c.enc.Append(c.writer.out, name, wire.Trimmed(value), wire.Volatile(name))
}

// endFields makes what was encoded since beginFields a HEADERS frame, followed by
// CONTINUATIONs if it is longer than the peer takes. With mu held.
func (c *conn) endFieldsLocked(at int, id uint32, end bool) {
	var flags uint8 = wire.FlagEndHeaders
	if end {
		flags |= wire.FlagEndStream
	}
	c.addCreditLocked(0)
	out := c.writer.out
	size := len(out) - at - wire.FrameHeaderLen
	if size <= c.peerFrame {
		wire.AppendFrame(out[:at], wire.FrameHeaders, flags, id, size)
		return
	}
	block := append([]byte(nil), out[at+wire.FrameHeaderLen:]...)
	out = wire.AppendFrame(out[:at], wire.FrameHeaders, flags&^wire.FlagEndHeaders, id, c.peerFrame)
	out = append(out, block[:c.peerFrame]...)
	for block = block[c.peerFrame:]; len(block) > 0; {
		n := min(len(block), c.peerFrame)
		flags = 0
		if n == len(block) {
			flags = wire.FlagEndHeaders
		}
		out = wire.AppendFrame(out, wire.FrameContinuation, flags, id, n)
		out = append(out, block[:n]...)
		block = block[n:]
	}
	c.writer.out = out
}

// errTooManyFields is why a message is not sent.
var errTooManyFields = errors.New("h2: header is larger than the peer accepts")
