// SPDX-License-Identifier: Apache-2.0

// The reading goroutine: one frame after the other, each checked before it has
// an effect. [RFC 9113, sections 4 to 6]

package h2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

const continuationsMax = 16

// readFrames reads until the connection is over. It returns why; a server's also
// when another goroutine reads on, see inline.go: then it has touched nothing since.
func (c *conn) readFrames() error {
	for {
		if len(c.starts) > 0 && c.br.Buffered() < wire.FrameHeaderLen && !c.side.(*serverConn).startInline() {
			return errTakenOver
		}
		b, err := c.br.Peek(wire.FrameHeaderLen)
		if err != nil {
			if err == io.EOF && len(b) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		h := wire.ParseFrameHeader(b)
		_, _ = c.br.Discard(wire.FrameHeaderLen)
		c.bulk = h.Type == wire.FrameData && h.Length >= bulkFrame
		if err := c.frame(h); err != nil {
			return err
		}
	}
}

// frame reads the payload of a frame and acts on it.
func (c *conn) frame(h wire.FrameHeader) error {
	switch {
	case h.Length > c.limits.maxFrame:
		return violated(ErrCodeFrameSize, "frame of %d bytes, want at most %d", h.Length, c.limits.maxFrame)
	case c.began.Stream != 0 && (h.Type != wire.FrameContinuation || h.Stream != c.began.Stream):
		return violated(ErrCodeProtocol, "frame of type %d inside the header block of stream %d", h.Type, c.began.Stream)
	case !c.greeted && (h.Type != wire.FrameSettings || h.Has(wire.FlagAck)):
		return violated(ErrCodeProtocol, "first frame is of type %d, want SETTINGS", h.Type)
	}
	switch h.Type {
	case wire.FrameData:
		return c.data(h)
	case wire.FrameHeaders:
		return c.headers(h)
	case wire.FrameContinuation:
		return c.continuation(h)
	case wire.FrameSettings:
		return c.settings(h)
	case wire.FrameWindowUpdate:
		return c.windowUpdate(h)
	case wire.FrameRSTStream:
		return c.rstStream(h)
	case wire.FramePing:
		return c.pingFrame(h)
	case wire.FrameGoAway:
		return c.goAwayFrame(h)
	case wire.FramePriority:
		return c.priority(h)
	case wire.FramePushPromise:
		return violated(ErrCodeProtocol, "PUSH_PROMISE, which was not enabled")
	}
	// Unknown types are ignored [RFC 9113, section 4.1]: up to a point.
	if !c.allow(&c.buckets.priority) {
		return c.flooded("frames of unknown types")
	}
	_, err := c.br.Discard(h.Length)
	return err
}

// payload returns the whole payload of a small frame, valid until the next read.
func (c *conn) payload(h wire.FrameHeader, want int) ([]byte, error) {
	if h.Length != want {
		return nil, violated(ErrCodeFrameSize, "frame of type %d with %d bytes, want %d", h.Type, h.Length, want)
	}
	b, err := c.br.Peek(want)
	_, _ = c.br.Discard(len(b))
	return b, midFrame(err)
}

// unpad reads the length of the padding, if the frame has any. It returns the
// length of what is left before the padding. [RFC 9113, section 6.1]
func (c *conn) unpad(h wire.FrameHeader) (length, padding int, err error) {
	if !h.Has(wire.FlagPadded) {
		return h.Length, 0, nil
	}
	if h.Length == 0 {
		return 0, 0, violated(ErrCodeFrameSize, "padded frame of type %d without a length of its padding", h.Type)
	}
	b, err := c.br.ReadByte()
	if err != nil {
		return 0, 0, midFrame(err)
	}
	if padding = int(b); padding >= h.Length {
		return 0, 0, violated(ErrCodeProtocol, "frame of type %d is shorter than its padding", h.Type)
	}
	return h.Length - 1 - padding, padding, nil
}

// midFrame is for errors where a frame has begun.
func midFrame(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// allow spends a token.
func (c *conn) allow(b *bucket) bool { return b.take(time.Now()) }

// allowEarned spends what our own frames have earned the peer, or else a token:
// those who are sent much have to answer with WINDOW_UPDATEs, and gRPC's clients
// measure with PINGs.
func (c *conn) allowEarned(b *bucket, credit *int) bool {
	c.mu.Lock()
	earned := *credit > 0
	if earned {
		*credit--
	}
	c.mu.Unlock()
	return earned || b.take(time.Now())
}

// flooded returns the error that ends a connection whose peer sends too many
// frames that cost it nothing.
func (c *conn) flooded(what string) error {
	return violated(ErrCodeEnhanceYourCalm, "too many %s", what)
}

// resetAllowed spends a token for a stream that ends early. With mu held.
func (c *conn) resetAllowedLocked() bool { return c.buckets.resets.take(time.Now()) }

// reject resets a stream because of what the peer sent on it. That counts like a
// reset of the peer's own, or it could have streams reset without end.
func (c *conn) reject(id uint32, code ErrCode, format string, args ...any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rejectLocked(id, code, fmt.Errorf(format, args...))
}

func (c *conn) rejectLocked(id uint32, code ErrCode, cause error) error {
	if !c.resetAllowedLocked() {
		return c.flooded("streams that end in errors")
	}
	c.count("stream_", code)
	if s := c.streams[id]; s != nil {
		c.abortLocked(s, code, cause)
	} else if c.err == nil {
		c.appendResetLocked(id, code)
	}
	c.answers = true
	return c.drownedLocked()
}

// drowned returns an error if the peer makes us answer and takes no answers. With
// mu held.
func (c *conn) drownedLocked() error {
	if len(c.writer.out) > outBroken {
		return c.flooded("frames that ask for answers, while none are read")
	}
	return nil
}

// ---- DATA ----

func (c *conn) data(h wire.FrameHeader) error {
	if h.Stream == 0 {
		return violated(ErrCodeProtocol, "DATA without a stream")
	}
	length, padding, err := c.unpad(h)
	if err != nil {
		return err
	}
	if length == 0 && !h.Has(wire.FlagEndStream) && !c.allow(&c.buckets.empty) {
		return c.flooded("DATA frames without data")
	}

	c.mu.Lock()
	if h.Length > c.recvLeft {
		c.mu.Unlock()
		return violated(ErrCodeFlowControl, "DATA exceeds the connection's window")
	}
	c.recvLeft -= h.Length
	c.owed += h.Length
	s := c.streams[h.Stream]
	switch {
	case s == nil:
		c.repayLocked()
		err := c.strayFrameLocked(h)
		c.answers = true
		c.mu.Unlock()
		if err != nil {
			return err
		}
		_, err = c.br.Discard(length + padding)
		return midFrame(err)
	case s.got:
		return c.refuseData(s, length+padding, ErrCodeStreamClosed, errStreamOver)
	case !s.trailing:
		return c.refuseData(s, length+padding, ErrCodeProtocol, errors.New("DATA before the head of the response"))
	case h.Length > s.recvLeft:
		return c.refuseData(s, length+padding, ErrCodeFlowControl, errors.New("DATA exceeds the stream's window"))
	}
	s.recvLeft -= h.Length
	c.mu.Unlock()

	s.received += int64(length)
	if err := c.fill(s, length); err != nil {
		return midFrame(err)
	}
	if _, err := c.br.Discard(padding); err != nil {
		return midFrame(err)
	}
	if extra := h.Length - length; extra > 0 {
		s.taken(extra)
	}
	end := h.Has(wire.FlagEndStream)
	switch {
	case s.declared < 0 || s.received < s.declared && !end || s.received == s.declared:
	case s.received < s.declared && c.limits.maxStreams == 0:
		// The response is over, whatever we say: its reader gets what net/http gives.
		c.mu.Lock()
		defer c.mu.Unlock()
		c.endOfBodyLocked(s, io.ErrUnexpectedEOF)
		c.wakeLater(s)
		return nil
	default:
		return c.reject(s.id, ErrCodeProtocol, "body of %d bytes or more, Content-Length says %d", s.received, s.declared)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.repayLocked() {
		c.answers = true
	}
	if end {
		c.endOfBodyLocked(s, io.EOF)
	}
	c.wakeLater(s)
	return nil
}

// refuseData resets a stream because of DATA, of which n bytes are still to be read.
// With mu held, which it releases.
func (c *conn) refuseData(s *stream, n int, code ErrCode, cause error) error {
	err := c.rejectLocked(s.id, code, cause)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	_, err = c.br.Discard(n)
	return midFrame(err)
}

// fill reads n bytes into the stream's inbox.
func (c *conn) fill(s *stream, n int) error {
	for n > 0 {
		space := s.in.space(n)
		if err := c.fillFrom(space); err != nil {
			return err
		}
		n -= len(space)
		c.unread.Add(int64(len(space)))
		if !s.in.put(len(space)) {
			c.unread.Add(-int64(len(space)))
			s.credit.Add(int64(len(space)))
		}
	}
	return nil
}

// endOfBody closes the peer's half. err is io.EOF if the body is whole. With mu
// held.
func (c *conn) endOfBodyLocked(s *stream, err error) {
	s.got = true
	s.in.end(err)
	s.user.finishedLocked()
	c.forgetIfDoneLocked(s)
}

// strayFrame says what to do about a frame on a stream that is not open. With mu
// held. [RFC 9113, section 5.1]
func (c *conn) strayFrameLocked(h wire.FrameHeader) error {
	switch {
	case c.isIdleLocked(h.Stream):
		return violated(ErrCodeProtocol, "frame of type %d on stream %d, which was never opened", h.Type, h.Stream)
	case c.recentlyResetLocked(h.Stream):
		return nil // it was under way
	case h.Type == wire.FrameData:
		return c.rejectLocked(h.Stream, ErrCodeStreamClosed, errStreamOver)
	}
	return nil
}

// isIdle reports whether a stream was never opened. With mu held.
func (c *conn) isIdleLocked(id uint32) bool {
	ofClient := id%2 == 1
	return !ofClient || id > c.maxID
}

// ---- HEADERS ----

// headers reads a HEADERS frame, of which a CONTINUATION may follow.
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
			b, err := c.br.Peek(5)
			if err != nil {
				return midFrame(err)
			}
			dependsOn = binary.BigEndian.Uint32(b) & wire.StreamIDMax
			_, _ = c.br.Discard(5)
		}
	}
	if length < 0 {
		return violated(ErrCodeProtocol, "HEADERS is shorter than its priority")
	}
	if length > c.blockMax() {
		return violated(ErrCodeEnhanceYourCalm, "header block of more than %d bytes", c.blockMax())
	}
	c.mu.Lock()
	s := c.streams[h.Stream]
	c.mu.Unlock()
	c.fields.Begin(s != nil && s.trailing)
	if dependsOn == h.Stream && dependsOn != 0 {
		c.fields.Malformed("stream %d depends on itself", h.Stream)
	}
	if h.Has(wire.FlagEndHeaders) && length <= c.br.Size() {
		// The usual case: decoded where it lies.
		b, err := c.br.Peek(length)
		if err != nil {
			return midFrame(err)
		}
		if err := c.decode(b); err != nil {
			return err
		}
		_, _ = c.br.Discard(length)
	} else if err := c.keepBlock(length); err != nil {
		return err
	}
	if _, err := c.br.Discard(padding); err != nil {
		return midFrame(err)
	}
	if !h.Has(wire.FlagEndHeaders) {
		c.began, c.continued = h, 0
		return nil
	}
	return c.endHeaders(h)
}

// blockMax is how long a header block may be: what it decodes to is bounded by
// the same number.
func (c *conn) blockMax() int { return c.limits.maxHeaderList }

// keepBlock appends n bytes to the header block that is collected.
func (c *conn) keepBlock(n int) error {
	have := len(c.block)
	if have+n > c.blockMax() {
		return violated(ErrCodeEnhanceYourCalm, "header block of more than %d bytes", c.blockMax())
	}
	c.block = append(c.block, make([]byte, n)...)
	_, err := io.ReadFull(c.br, c.block[have:])
	return midFrame(err)
}

func (c *conn) continuation(h wire.FrameHeader) error {
	if c.began.Stream == 0 {
		return violated(ErrCodeProtocol, "CONTINUATION without HEADERS")
	}
	if c.continued++; c.continued > continuationsMax {
		return violated(ErrCodeEnhanceYourCalm, "more than %d CONTINUATION frames", continuationsMax)
	}
	if err := c.keepBlock(h.Length); err != nil {
		return err
	}
	if !h.Has(wire.FlagEndHeaders) {
		return nil
	}
	began := c.began
	c.began = wire.FrameHeader{}
	return c.endHeaders(began)
}

// decode gives a whole header block to HPACK.
func (c *conn) decode(block []byte) error {
	if err := c.dec.Decode(block); err != nil {
		return violated(ErrCodeCompression, "%v", err)
	}
	return nil
}

// endHeaders acts on a complete field section.
func (c *conn) endHeaders(h wire.FrameHeader) error {
	if len(c.block) > 0 {
		err := c.decode(c.block)
		c.block = c.block[:0]
		if cap(c.block) > readBuffer {
			c.block = nil
		}
		if err != nil {
			return err
		}
	}
	c.mu.Lock()
	s := c.streams[h.Stream]
	c.mu.Unlock()
	return c.side.headers(s, h.Stream, h.Has(wire.FlagEndStream))
}
