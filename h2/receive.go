// SPDX-License-Identifier: Apache-2.0

// The reading goroutine: one frame after the other, each checked before it has
// an effect. [RFC 9113, sections 4 to 6]

package h2

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

const continuationsMax = 16

// readFrames reads until the connection is over. It returns why.
func (c *conn) readFrames() error {
	for {
		b, err := c.br.Peek(frameHeaderLen)
		if err != nil {
			if err == io.EOF && len(b) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		h := parseFrameHeader(b)
		_, _ = c.br.Discard(frameHeaderLen)
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
	if s := c.streams[id]; s != nil {
		c.abort(s, code, cause)
	} else if c.err == nil {
		c.sayReset(id, code)
	}
	c.flush()
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
	length, padding := h.length, 0
	if h.has(flagPadded) {
		if length == 0 {
			return violated(ErrCodeFrameSize, "padded DATA without a length of the padding")
		}
		b, err := c.br.ReadByte()
		if err != nil {
			return midFrame(err)
		}
		if padding = int(b); padding >= length {
			return violated(ErrCodeProtocol, "DATA is shorter than its padding")
		}
		length -= padding + 1
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
		c.flush()
		c.mu.Unlock()
		if err != nil {
			return err
		}
		_, err = c.br.Discard(length + padding)
		return midFrame(err)
	case s.got:
		err := c.rejectLocked(s.id, ErrCodeStreamClosed, errStreamOver)
		c.mu.Unlock()
		if err != nil {
			return err
		}
		_, err = c.br.Discard(length + padding)
		return midFrame(err)
	case h.length > s.recvLeft:
		c.mu.Unlock()
		if err := c.reject(s.id, ErrCodeFlowControl, "DATA exceeds the stream's window"); err != nil {
			return err
		}
		_, err := c.br.Discard(length + padding)
		return midFrame(err)
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
	if s.declared >= 0 && (s.received > s.declared || h.has(flagEndStream) && s.received != s.declared) {
		return c.reject(s.id, ErrCodeProtocol, "body of %d bytes or more, Content-Length says %d", s.received, s.declared)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.repay()
	c.flush()
	if h.has(flagEndStream) {
		c.endOfBody(s)
	}
	c.wakeLater(s)
	return nil
}

// fill reads n bytes into the stream's inbox.
func (c *conn) fill(s *stream, n int) error {
	for n > 0 {
		space := s.in.space(n)
		if _, err := io.ReadFull(c.br, space); err != nil {
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

// endOfBody closes the peer's half. With mu held.
func (c *conn) endOfBody(s *stream) {
	s.got = true
	s.in.end(io.EOF)
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
	length, padding := h.length, 0
	if h.has(flagPadded) {
		b, err := c.br.ReadByte()
		if err != nil {
			return midFrame(err)
		}
		padding = int(b)
		length -= 1 + padding
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
		return violated(ErrCodeProtocol, "HEADERS is shorter than its padding and priority")
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
	if _, err := c.dec.Write(block); err != nil {
		return violated(ErrCodeCompression, "%v", err)
	}
	if err := c.dec.Close(); err != nil {
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

// ---- the others ----

func (c *conn) priority(h frameHeader) error {
	if h.stream == 0 {
		return violated(ErrCodeProtocol, "PRIORITY without a stream")
	}
	if h.length != 5 {
		if _, err := c.br.Discard(h.length); err != nil {
			return midFrame(err)
		}
		return c.reject(h.stream, ErrCodeFrameSize, "PRIORITY of %d bytes, want 5", h.length)
	}
	b, err := c.payload(h, 5)
	if err != nil {
		return err
	}
	if !c.allow(&c.buckets.priority) {
		return c.flooded("PRIORITY frames")
	}
	if binary.BigEndian.Uint32(b)&streamIDMax == h.stream {
		return c.reject(h.stream, ErrCodeProtocol, "stream %d depends on itself", h.stream)
	}
	return nil // deprecated: it has no effect [RFC 9113, section 5.3.2]
}

func (c *conn) rstStream(h frameHeader) error {
	if h.stream == 0 {
		return violated(ErrCodeProtocol, "RST_STREAM without a stream")
	}
	b, err := c.payload(h, 4)
	if err != nil {
		return err
	}
	code := ErrCode(binary.BigEndian.Uint32(b))
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[h.stream]
	if s == nil {
		return c.strayFrame(h)
	}
	if !c.resetAllowed() {
		return c.flooded("streams that are reset")
	}
	delete(c.streams, s.id)
	s.stop(StreamError{StreamID: s.id, Code: code, Cause: errFromPeer})
	c.wakeLater(s)
	return nil
}

func (c *conn) settings(h frameHeader) error {
	if h.stream != 0 {
		return violated(ErrCodeProtocol, "SETTINGS on stream %d", h.stream)
	}
	if h.has(flagAck) {
		if _, err := c.payload(h, 0); err != nil {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.acks > 0 {
			c.acks--
			if rtt := time.Since(c.asked); c.rtt == 0 || rtt < c.rtt {
				c.rtt = max(rtt, time.Microsecond)
			}
		}
		return nil
	}
	if h.length%6 != 0 {
		return violated(ErrCodeFrameSize, "SETTINGS of %d bytes, want a multiple of 6", h.length)
	}
	if c.greeted && !c.allow(&c.buckets.settings) {
		return c.flooded("SETTINGS frames")
	}
	c.greeted = true
	if h.length > 6*64 {
		return c.flooded("settings in one frame")
	}
	b, err := c.br.Peek(h.length)
	if err != nil {
		return midFrame(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for ; len(b) > 0; b = b[6:] {
		s := setting{settingID(binary.BigEndian.Uint16(b)), binary.BigEndian.Uint32(b[2:])}
		if err := c.apply(s); err != nil {
			return err
		}
	}
	_, _ = c.br.Discard(h.length)
	c.writer.out = appendFrame(c.writer.out, frameSettings, flagAck, 0, 0)
	c.side.settled()
	c.wakeSenders()
	c.flush()
	return c.drowned()
}

// apply changes one parameter. With mu held.
func (c *conn) apply(s setting) error {
	switch s.id {
	case settingHeaderTableSize:
		c.enc.SetMaxDynamicTableSize(min(s.value, c.limits.encoderTable))
	case settingEnablePush:
		if s.value > 1 || s.value == 1 && c.limits.maxStreams == 0 {
			return violated(ErrCodeProtocol, "SETTINGS_ENABLE_PUSH of %d", s.value)
		}
	case settingMaxStreams:
		c.peerMaxStreams = s.value
	case settingMaxHeaderListSize:
		c.peerHeaderList = s.value
	case settingInitialWindowSize:
		if s.value > windowMax {
			return violated(ErrCodeFlowControl, "SETTINGS_INITIAL_WINDOW_SIZE of %d, want at most %d", s.value, windowMax)
		}
		change := int64(s.value) - c.peerWindow
		c.peerWindow = int64(s.value)
		for _, st := range c.streams {
			if st.sendWindow += change; st.sendWindow > windowMax {
				return violated(ErrCodeFlowControl, "SETTINGS_INITIAL_WINDOW_SIZE makes a window larger than %d", windowMax)
			}
		}
	case settingMaxFrameSize:
		if s.value < frameSizeMin || s.value > frameSizeMax {
			return violated(ErrCodeProtocol, "SETTINGS_MAX_FRAME_SIZE of %d, want %d to %d", s.value, frameSizeMin, frameSizeMax)
		}
		c.peerFrame = min(int(s.value), outFull/2)
	}
	return nil
}

func (c *conn) windowUpdate(h frameHeader) error {
	b, err := c.payload(h, 4)
	if err != nil {
		return err
	}
	if !c.allowEarned(&c.buckets.windows, &c.earnedWindows) {
		return c.flooded("WINDOW_UPDATE frames")
	}
	n := int64(binary.BigEndian.Uint32(b) & windowMax)
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.stream == 0 {
		if n == 0 {
			return violated(ErrCodeProtocol, "WINDOW_UPDATE of nothing")
		}
		if c.sendWindow += n; c.sendWindow > windowMax {
			return violated(ErrCodeFlowControl, "the connection's window exceeds %d", windowMax)
		}
		c.wakeSenders()
		return nil
	}
	s := c.streams[h.stream]
	switch {
	case s == nil:
		return c.strayFrame(h)
	case n == 0:
		return c.rejectLocked(h.stream, ErrCodeProtocol, fmt.Errorf("WINDOW_UPDATE of nothing"))
	case s.sendWindow+n > windowMax:
		return c.rejectLocked(h.stream, ErrCodeFlowControl, fmt.Errorf("the window exceeds %d", windowMax))
	}
	s.sendWindow += n
	if s.waits {
		signal(s.room)
	}
	return nil
}

func (c *conn) pingFrame(h frameHeader) error {
	if h.stream != 0 {
		return violated(ErrCodeProtocol, "PING on stream %d", h.stream)
	}
	b, err := c.payload(h, 8)
	if err != nil {
		return err
	}
	data := [8]byte(b)
	if !h.has(flagAck) && !c.allowEarned(&c.buckets.pings, &c.earnedPings) {
		return c.flooded("PING frames")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.has(flagAck) {
		if answered := c.pings[data]; answered != nil {
			close(answered)
			delete(c.pings, data)
		}
		return nil
	}
	c.writer.out = appendPing(c.writer.out, true, data)
	c.flush()
	return c.drowned()
}

func (c *conn) goAwayFrame(h frameHeader) error {
	if h.stream != 0 {
		return violated(ErrCodeProtocol, "GOAWAY on stream %d", h.stream)
	}
	if h.length < 8 {
		return violated(ErrCodeFrameSize, "GOAWAY of %d bytes, want at least 8", h.length)
	}
	b, err := c.br.Peek(8)
	if err != nil {
		return midFrame(err)
	}
	last, code := binary.BigEndian.Uint32(b)&streamIDMax, ErrCode(binary.BigEndian.Uint32(b[4:]))
	_, _ = c.br.Discard(8)
	reason := make([]byte, min(h.length-8, 256)) // what follows is for people
	if _, err := io.ReadFull(c.br, reason); err != nil {
		return midFrame(err)
	}
	if _, err := c.br.Discard(h.length - 8 - len(reason)); err != nil {
		return midFrame(err)
	}
	c.side.goAway(last, code, string(reason))
	return nil
}
