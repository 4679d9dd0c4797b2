// SPDX-License-Identifier: Apache-2.0

// HEADERS and CONTINUATION: field sections, decoded. [RFC 9113, sections 6.2 and 6.10]
//
// Invariants. Every block is decoded to its end, also for a stream that is reset or gone:
// all streams of the connection share the HPACK tables. [RFC 9113, section 4.3] No more of
// a block is kept than the limit on field sections.

package h2

import (
	"encoding/binary"
	"io"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

const (
	continuationsMax = 16       // short CONTINUATION frames of a block
	blockMax         = 16 << 20 // bytes of a block, kept or not
)

// headers reads a HEADERS frame. Only clients open streams, and their numbers are odd.
// [RFC 9113, sections 5.1.1 and 6.2]
func (c *conn) headers(h wire.FrameHeader) error {
	if h.Stream%2 == 0 {
		return violated(ErrCodeProtocol, "HEADERS on stream %d, want an odd number", h.Stream)
	}
	length, padding, err := c.unpad(h)
	if err != nil {
		return err
	}
	dependsOn := uint32(0)
	if h.Has(wire.FlagPriority) {
		length -= 5
		if length >= 0 {
			b, err := c.rd.in.peek(5)
			if err != nil {
				return midFrame(err)
			}
			dependsOn = binary.BigEndian.Uint32(b) & wire.StreamIDMax
			_ = c.rd.in.skip(5)
		}
	}
	if length < 0 {
		return violated(ErrCodeProtocol, "HEADERS is shorter than its priority")
	}
	c.mu.Lock()
	s := c.table.open[h.Stream]
	c.mu.Unlock()
	c.rd.fields.Begin(s != nil && s.trailing)
	if dependsOn == h.Stream && dependsOn != 0 {
		c.rd.fields.Malformed("stream %d depends on itself", h.Stream)
	}
	if h.Has(wire.FlagEndHeaders) && length <= min(readBuffer, c.limits.maxHeaderList) {
		// The usual case: decoded in the read buffer.
		b, err := c.rd.in.peek(length)
		if err != nil {
			return midFrame(err)
		}
		if err := c.decode(b); err != nil {
			return err
		}
		_ = c.rd.in.skip(length)
	} else if err := c.collect(length); err != nil {
		return err
	}
	if err := c.rd.in.skip(padding); err != nil {
		return midFrame(err)
	}
	if !h.Has(wire.FlagEndHeaders) {
		c.rd.pendingHeaders, c.rd.continued = h, 0
		return nil
	}
	return c.endHeaders(h)
}

// collect takes n bytes of a header block. It keeps them until the block is complete, as
// long as the block is no longer than a field section may be. A longer one is decoded
// piece by piece, only to update the HPACK tables, and dropped: its section is then too
// large, and its stream alone fails.
func (c *conn) collect(n int) error {
	if c.rd.blockSize += n; c.rd.blockSize > blockMax {
		return violated(ErrCodeEnhanceYourCalm, "header block of more than %d bytes", blockMax)
	}
	if c.rd.blockSize <= c.limits.maxHeaderList {
		have := len(c.rd.block)
		c.rd.block = append(c.rd.block, make([]byte, n)...)
		_, err := io.ReadFull(&c.rd.in, c.rd.block[have:])
		return midFrame(err)
	}
	if err := c.skip(c.rd.block); err != nil {
		return err
	}
	c.rd.block = c.rd.block[:0]
	for n > 0 {
		piece, err := c.rd.in.peek(min(n, readBuffer))
		if err != nil {
			return midFrame(err)
		}
		if err := c.skip(piece); err != nil {
			return err
		}
		_ = c.rd.in.skip(len(piece))
		n -= len(piece)
	}
	return nil
}

// skip decodes a piece of a block that is too long.
func (c *conn) skip(piece []byte) error {
	if err := c.rd.dec.Skip(piece); err != nil {
		return violated(ErrCodeCompression, "%v", err)
	}
	return nil
}

// continuation reads a CONTINUATION frame. A block may have few that are much shorter
// than a frame can be: each costs the peer less than this side (CVE-2023-45288).
func (c *conn) continuation(h wire.FrameHeader) error {
	if c.rd.pendingHeaders.Stream == 0 {
		return violated(ErrCodeProtocol, "CONTINUATION without HEADERS")
	}
	if h.Length < wire.FrameSizeMin/2 {
		c.rd.continued++
	}
	if c.rd.continued > continuationsMax {
		return violated(ErrCodeEnhanceYourCalm, "more than %d short CONTINUATION frames", continuationsMax)
	}
	if err := c.collect(h.Length); err != nil {
		return err
	}
	if !h.Has(wire.FlagEndHeaders) {
		return nil
	}
	began := c.rd.pendingHeaders
	c.rd.pendingHeaders = wire.FrameHeader{}
	return c.endHeaders(began)
}

// decode decodes a whole header block. An error leaves the tables unknown and ends the
// connection. [RFC 9113, section 4.3]
func (c *conn) decode(block []byte) error {
	if err := c.rd.dec.Decode(block); err != nil {
		return violated(ErrCodeCompression, "%v", err)
	}
	return nil
}

// endHeaders acts on a complete field section.
func (c *conn) endHeaders(h wire.FrameHeader) error {
	if err := c.endBlock(); err != nil {
		return err
	}
	c.mu.Lock()
	s := c.table.open[h.Stream]
	c.mu.Unlock()
	return c.side.headers(s, h.Stream, h.Has(wire.FlagEndStream))
}

// endBlock decodes the block that collect has gathered.
func (c *conn) endBlock() (err error) {
	switch {
	case c.rd.blockSize > c.limits.maxHeaderList:
		if err = c.rd.dec.EndSkip(); err != nil {
			err = violated(ErrCodeCompression, "%v", err)
		}
	case c.rd.blockSize > 0:
		err = c.decode(c.rd.block)
	}
	c.rd.block, c.rd.blockSize = c.rd.block[:0], 0
	if cap(c.rd.block) > readBuffer {
		c.rd.block = nil
	}
	return err
}
