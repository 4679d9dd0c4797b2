// SPDX-License-Identifier: Apache-2.0

// Field sections on their way out: encoded into the connection's buffer and cut into
// HEADERS and CONTINUATION frames. [RFC 9113, sections 6.2 and 6.10]
//
// Invariants. conn.mu is held from beginFieldsLocked to endFieldsLocked, so no frame
// comes between HEADERS and its CONTINUATIONs, and blocks are encoded in the order in
// which they are sent, as the peer's HPACK table requires. [RFC 9113, section 4.3]

package h2

import "github.com/seed-b7c59c10/connect/h2/internal/wire"

// beginFieldsLocked reserves a frame header and returns its offset in out.
func (c *conn) beginFieldsLocked() int {
	c.mu.assertHeld()
	at := len(c.writer.out)
	c.writer.out = c.enc.Begin(append(c.outLocked(), 0, 0, 0, 0, 0, 0, 0, 0, 0))
	return at
}

// fieldLocked encodes one field.
func (c *conn) fieldLocked(name, value string) {
	c.writer.out = c.enc.Append(c.writer.out, name, wire.Trimmed(value), wire.Volatile(name))
}

// endFieldsLocked makes the fields encoded since beginFieldsLocked a HEADERS frame,
// followed by CONTINUATIONs if they exceed the peer's SETTINGS_MAX_FRAME_SIZE.
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
