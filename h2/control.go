// SPDX-License-Identifier: Apache-2.0

// The reading goroutine: frames that are about streams and the connection, and
// carry nothing for their users.

package h2

import (
	"encoding/binary"
	"errors"
	"io"
	"time"
)

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
		if !c.asked.IsZero() {
			c.rtt = max(time.Since(c.asked), time.Microsecond)
			c.asked = time.Time{}
			c.dec.hpack.SetAllowedMaxDynamicTableSize(c.limits.decoderTable)
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
	c.answers = true
	return c.drowned()
}

// apply changes one parameter. With mu held.
func (c *conn) apply(s setting) error {
	switch s.id {
	case settingHeaderTableSize:
		c.enc.resize(int(min(s.value, 1<<30)))
	case settingEnablePush:
		if s.value > 1 || s.value == 1 && c.limits.maxStreams == 0 {
			return violated(ErrCodeProtocol, "SETTINGS_ENABLE_PUSH of %d", s.value)
		}
	case settingMaxStreams:
		c.peerMaxStreams = s.value
	case settingMaxHeaderListSize:
		c.peerHeaderList = max(s.value, 1) // zero is a limit, too
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
		return c.rejectLocked(h.stream, ErrCodeProtocol, errors.New("WINDOW_UPDATE of nothing"))
	case s.sendWindow+n > windowMax:
		return c.rejectLocked(h.stream, ErrCodeFlowControl, errors.New("the window exceeds 2^31-1"))
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
	c.answers = true
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
