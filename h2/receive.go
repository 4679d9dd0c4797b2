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
)

const continuationsMax = 16

// readFrames reads until the connection is over. It returns why; a server's also
// when another goroutine reads on, see inline.go: then it has touched nothing since.
func (c *conn) readFrames() error {
	for {
		if len(c.starts) > 0 && c.br.Buffered() < frameHeaderLen && !c.side.(*serverConn).startInline() {
			return errTakenOver
		}
		b, err := c.br.Peek(frameHeaderLen)
		if err != nil {
			if err == io.EOF && len(b) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		h := parseFrameHeader(b)
		_, _ = c.br.Discard(frameHeaderLen)
		c.bulk = h.kind == frameData && h.length >= bulkFrame
		if err := c.frame(h); err != nil {
			return err
		}
	}
}

// frame reads the payload of a frame and acts on it.
func (c *conn) frame(h frameHeader) error {
	switch {
	case h.length > c.limits.maxFrame:
		return violated(ErrCodeFrameSize, "frame of %d bytes, want at most %d", h.length, c.limits.maxFrame)
	case c.began.stream != 0 && (h.kind != frameContinuation || h.stream != c.began.stream):
		return violated(ErrCodeProtocol, "frame of type %d inside the header block of stream %d", h.kind, c.began.stream)
	case !c.greeted && (h.kind != frameSettings || h.has(flagAck)):
		return violated(ErrCodeProtocol, "first frame is of type %d, want SETTINGS", h.kind)
	}
	switch h.kind {
	case frameData:
		return c.data(h)
	case frameHeaders:
		return c.headers(h)
	case frameContinuation:
		return c.continuation(h)
	case frameSettings:
		return c.settings(h)
	case frameWindowUpdate:
		return c.windowUpdate(h)
	case frameRSTStream:
		return c.rstStream(h)
	case framePing:
		return c.pingFrame(h)
	case frameGoAway:
		return c.goAwayFrame(h)
	case framePriority:
		return c.priority(h)
	case framePushPromise:
		return violated(ErrCodeProtocol, "PUSH_PROMISE, which was not enabled")
	}
	// Unknown types are ignored [RFC 9113, section 4.1]: up to a point.
	if !c.allow(&c.buckets.priority) {
		return c.flooded("frames of unknown types")
	}
	_, err := c.br.Discard(h.length)
	return err
}

// payload returns the whole payload of a small frame, valid until the next read.
func (c *conn) payload(h frameHeader, want int) ([]byte, error) {
	if h.length != want {
		return nil, violated(ErrCodeFrameSize, "frame of type %d with %d bytes, want %d", h.kind, h.length, want)
	}
	b, err := c.br.Peek(want)
	_, _ = c.br.Discard(len(b))
	return b, midFrame(err)
}

// unpad reads the length of the padding, if the frame has any. It returns the
// length of what is left before the padding. [RFC 9113, section 6.1]
func (c *conn) unpad(h frameHeader) (length, padding int, err error) {
	if !h.has(flagPadded) {
		return h.length, 0, nil
	}
	if h.length == 0 {
		return 0, 0, violated(ErrCodeFrameSize, "padded frame of type %d without a length of its padding", h.kind)
	}
	b, err := c.br.ReadByte()
	if err != nil {
		return 0, 0, midFrame(err)
	}
	if padding = int(b); padding >= h.length {
		return 0, 0, violated(ErrCodeProtocol, "frame of type %d is shorter than its padding", h.kind)
	}
	return h.length - 1 - padding, padding, nil
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
func (c *conn) resetAllowed() bool { return c.buckets.resets.take(time.Now()) }

// reject resets a stream because of what the peer sent on it. That counts like a
// reset of the peer's own, or it could have streams reset without end.
func (c *conn) reject(id uint32, code ErrCode, format string, args ...any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rejectLocked(id, code, fmt.Errorf(format, args...))
}

func (c *conn) rejectLocked(id uint32, code ErrCode, cause error) error {
	if !c.resetAllowed() {
		return c.flooded("streams that end in errors")
	}
	c.count("stream_", code)
	if s := c.streams[id]; s != nil {
		c.abort(s, code, cause)
	} else if c.err == nil {
		c.sayReset(id, code)
	}
	c.answers = true
	return c.drowned()
}

// drowned returns an error if the peer makes us answer and takes no answers. With
// mu held.
func (c *conn) drowned() error {
	if len(c.writer.out) > outBroken {
		return c.flooded("frames that ask for answers, while none are read")
	}
	return nil
}

// ---- DATA ----

func (c *conn) data(h frameHeader) error {
	if h.stream == 0 {
		return violated(ErrCodeProtocol, "DATA without a stream")
	}
	length, padding, err := c.unpad(h)
	if err != nil {
		return err
	}
	if length == 0 && !h.has(flagEndStream) && !c.allow(&c.buckets.empty) {
		return c.flooded("DATA frames without data")
	}

	c.mu.Lock()
	if h.length > c.recvLeft {
		c.mu.Unlock()
		return violated(ErrCodeFlowControl, "DATA exceeds the connection's window")
	}
	c.recvLeft -= h.length
	c.owed += h.length
	s := c.streams[h.stream]
	switch {
	case s == nil:
		c.repay()
		err := c.strayFrame(h)
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
	case h.length > s.recvLeft:
		return c.refuseData(s, length+padding, ErrCodeFlowControl, errors.New("DATA exceeds the stream's window"))
	}
	s.recvLeft -= h.length
	c.mu.Unlock()

	s.received += int64(length)
	if err := c.fill(s, length); err != nil {
		return midFrame(err)
	}
	if _, err := c.br.Discard(padding); err != nil {
		return midFrame(err)
	}
	if extra := h.length - length; extra > 0 {
		s.taken(extra)
	}
	end := h.has(flagEndStream)
	switch {
	case s.declared < 0 || s.received < s.declared && !end || s.received == s.declared:
	case s.received < s.declared && c.limits.maxStreams == 0:
		// The response is over, whatever we say: its reader gets what net/http gives.
		c.mu.Lock()
		defer c.mu.Unlock()
		c.endOfBody(s, io.ErrUnexpectedEOF)
		c.wakeLater(s)
		return nil
	default:
		return c.reject(s.id, ErrCodeProtocol, "body of %d bytes or more, Content-Length says %d", s.received, s.declared)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.repay() {
		c.answers = true
	}
	if end {
		c.endOfBody(s, io.EOF)
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
func (c *conn) endOfBody(s *stream, err error) {
	s.got = true
	s.in.end(err)
	s.user.finished()
	c.closeIfDone(s)
}

// strayFrame says what to do about a frame on a stream that is not open. With mu
// held. [RFC 9113, section 5.1]
func (c *conn) strayFrame(h frameHeader) error {
	switch {
	case c.isIdle(h.stream):
		return violated(ErrCodeProtocol, "frame of type %d on stream %d, which was never opened", h.kind, h.stream)
	case c.recentlyReset(h.stream):
		return nil // it was under way
	case h.kind == frameData:
		return c.rejectLocked(h.stream, ErrCodeStreamClosed, errStreamOver)
	}
	return nil
}

// isIdle reports whether a stream was never opened. With mu held.
func (c *conn) isIdle(id uint32) bool {
	ofClient := id%2 == 1
	return !ofClient || id > c.maxID
}

// ---- HEADERS ----

// headers reads a HEADERS frame, of which a CONTINUATION may follow.
func (c *conn) headers(h frameHeader) error {
	if h.stream%2 == 0 {
		return violated(ErrCodeProtocol, "HEADERS on stream %d, want an odd number", h.stream)
	}
	length, padding, err := c.unpad(h)
	if err != nil {
		return err
	}
	dependsOn := uint32(0)
	if h.has(flagPriority) {
		length -= 5
		if length >= 0 {
			b, err := c.br.Peek(5)
			if err != nil {
				return midFrame(err)
			}
			dependsOn = binary.BigEndian.Uint32(b) & streamIDMax
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
	s := c.streams[h.stream]
	c.mu.Unlock()
	c.fields.begin(s != nil && s.trailing)
	if dependsOn == h.stream && dependsOn != 0 {
		c.fields.malformed("stream %d depends on itself", h.stream)
	}
	if h.has(flagEndHeaders) && length <= c.br.Size() {
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
	if !h.has(flagEndHeaders) {
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

func (c *conn) continuation(h frameHeader) error {
	if c.began.stream == 0 {
		return violated(ErrCodeProtocol, "CONTINUATION without HEADERS")
	}
	if c.continued++; c.continued > continuationsMax {
		return violated(ErrCodeEnhanceYourCalm, "more than %d CONTINUATION frames", continuationsMax)
	}
	if err := c.keepBlock(h.length); err != nil {
		return err
	}
	if !h.has(flagEndHeaders) {
		return nil
	}
	began := c.began
	c.began = frameHeader{}
	return c.endHeaders(began)
}

// decode gives a whole header block to HPACK.
func (c *conn) decode(block []byte) error {
	if err := c.dec.decode(block); err != nil {
		return violated(ErrCodeCompression, "%v", err)
	}
	return nil
}

// endHeaders acts on a complete field section.
func (c *conn) endHeaders(h frameHeader) error {
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
	s := c.streams[h.stream]
	c.mu.Unlock()
	return c.side.headers(s, h.stream, h.has(flagEndStream))
}
