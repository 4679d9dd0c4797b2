// SPDX-License-Identifier: Apache-2.0

// The reading goroutine: frames that are about streams and the connection, and
// carry nothing for their users.

package h2

import (
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/flow"
	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

func (c *conn) priority(h wire.FrameHeader) error {
	if h.Stream == 0 {
		return violated(ErrCodeProtocol, "PRIORITY without a stream")
	}
	if h.Length != 5 {
		if err := c.rd.in.skip(h.Length); err != nil {
			return midFrame(err)
		}
		return c.reject(h.Stream, ErrCodeFrameSize, "PRIORITY of %d bytes, want 5", h.Length)
	}
	b, err := c.payload(h, 5)
	if err != nil {
		return err
	}
	if !c.allow(&c.rd.buckets.priority) {
		return c.flooded("PRIORITY frames")
	}
	if binary.BigEndian.Uint32(b)&wire.StreamIDMax == h.Stream {
		return c.reject(h.Stream, ErrCodeProtocol, "stream %d depends on itself", h.Stream)
	}
	return nil // deprecated: it has no effect [RFC 9113, section 5.3.2]
}

func (c *conn) rstStream(h wire.FrameHeader) error {
	if h.Stream == 0 {
		return violated(ErrCodeProtocol, "RST_STREAM without a stream")
	}
	b, err := c.payload(h, 4)
	if err != nil {
		return err
	}
	code := ErrCode(binary.BigEndian.Uint32(b))
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.table.open[h.Stream]
	if s == nil {
		return c.strayFrameLocked(h)
	}
	if s.user.prematureLocked() && !c.resetAllowedLocked() {
		return c.flooded("streams that are reset")
	}
	delete(c.table.open, s.id)
	s.stopLocked(StreamError{StreamID: s.id, Code: code, Cause: errFromPeer})
	c.rd.answers = true // the stream may have given the connection's window back
	c.wakeLater(s)
	return nil
}

func (c *conn) settings(h wire.FrameHeader) error {
	if h.Stream != 0 {
		return violated(ErrCodeProtocol, "SETTINGS on stream %d", h.Stream)
	}
	if h.Has(wire.FlagAck) {
		if _, err := c.payload(h, 0); err != nil {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.settingsSent.IsZero() {
			c.rtt = max(time.Since(c.settingsSent), time.Microsecond)
			c.settingsSent = time.Time{}
			c.rd.dec.Allow(c.limits.decoderTable)
		}
		return nil
	}
	if h.Length%6 != 0 {
		return violated(ErrCodeFrameSize, "SETTINGS of %d bytes, want a multiple of 6", h.Length)
	}
	if c.rd.greeted && !c.allow(&c.rd.buckets.settings) {
		return c.flooded("SETTINGS frames")
	}
	c.rd.greeted = true
	if h.Length > 6*64 {
		return c.flooded("settings in one frame")
	}
	b, err := c.rd.in.peek(h.Length)
	if err != nil {
		return midFrame(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for ; len(b) > 0; b = b[6:] {
		s := wire.Setting{ID: wire.SettingID(binary.BigEndian.Uint16(b)), Value: binary.BigEndian.Uint32(b[2:])}
		if err := c.applyLocked(s); err != nil {
			return err
		}
	}
	_ = c.rd.in.skip(h.Length)
	c.writer.out = wire.AppendFrame(c.outLocked(), wire.FrameSettings, wire.FlagAck, 0, 0)
	c.side.settingsChangedLocked()
	c.wakeSendersLocked()
	c.rd.answers = true
	return c.checkBacklogLocked()
}

// apply changes one parameter. With mu held.
func (c *conn) applyLocked(s wire.Setting) error {
	switch s.ID {
	case wire.SettingHeaderTableSize:
		c.enc.Resize(int(min(s.Value, 1<<30)))
	case wire.SettingEnablePush:
		if s.Value > 1 || s.Value == 1 && c.limits.maxStreams == 0 {
			return violated(ErrCodeProtocol, "SETTINGS_ENABLE_PUSH of %d", s.Value)
		}
	case wire.SettingMaxStreams:
		c.peerMaxStreams = s.Value
	case wire.SettingMaxHeaderListSize:
		c.peerHeaderList = max(s.Value, 1) // zero is a limit, too
	case wire.SettingInitialWindowSize:
		if s.Value > flow.Max {
			return violated(ErrCodeFlowControl, "SETTINGS_INITIAL_WINDOW_SIZE of %d, want at most %d", s.Value, flow.Max)
		}
		change := int64(s.Value) - c.peerWindow
		c.peerWindow = int64(s.Value)
		for _, st := range c.table.open {
			if !st.sendWindow.Add(change) {
				return violated(ErrCodeFlowControl, "SETTINGS_INITIAL_WINDOW_SIZE makes a window larger than %d", flow.Max)
			}
		}
	case wire.SettingMaxFrameSize:
		if s.Value < wire.FrameSizeMin || s.Value > wire.FrameSizeMax {
			return violated(ErrCodeProtocol, "SETTINGS_MAX_FRAME_SIZE of %d, want %d to %d", s.Value, wire.FrameSizeMin, wire.FrameSizeMax)
		}
		c.peerFrame = min(int(s.Value), outFull/2)
	}
	return nil
}

func (c *conn) windowUpdate(h wire.FrameHeader) error {
	b, err := c.payload(h, 4)
	if err != nil {
		return err
	}
	if !c.allowWithCredit(&c.rd.buckets.windows, &c.windowCredit) {
		return c.flooded("WINDOW_UPDATE frames")
	}
	n := int64(binary.BigEndian.Uint32(b) & flow.Max)
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.Stream == 0 {
		if n == 0 {
			return violated(ErrCodeProtocol, "WINDOW_UPDATE of nothing")
		}
		if !c.sendWindow.Add(n) {
			return violated(ErrCodeFlowControl, "the connection's window exceeds %d", flow.Max)
		}
		c.wakeSendersLocked()
		return nil
	}
	s := c.table.open[h.Stream]
	switch {
	case s == nil:
		return c.strayFrameLocked(h)
	case n == 0:
		return c.rejectLocked(h.Stream, ErrCodeProtocol, errors.New("WINDOW_UPDATE of nothing"))
	case !s.sendWindow.Add(n):
		return c.rejectLocked(h.Stream, ErrCodeFlowControl, errors.New("the window exceeds 2^31-1"))
	}
	if s.waiting {
		signal(s.room)
	}
	return nil
}

func (c *conn) pingFrame(h wire.FrameHeader) error {
	if h.Stream != 0 {
		return violated(ErrCodeProtocol, "PING on stream %d", h.Stream)
	}
	b, err := c.payload(h, 8)
	if err != nil {
		return err
	}
	data := [8]byte(b)
	if !h.Has(wire.FlagAck) && !c.allowWithCredit(&c.rd.buckets.pings, &c.pingCredit) {
		return c.flooded("PING frames")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.Has(wire.FlagAck) {
		if answered := c.pings[data]; answered != nil {
			close(answered)
			delete(c.pings, data)
		}
		return nil
	}
	c.writer.out = wire.AppendPing(c.outLocked(), true, data)
	c.rd.answers = true
	return c.checkBacklogLocked()
}

func (c *conn) goAwayFrame(h wire.FrameHeader) error {
	if h.Stream != 0 {
		return violated(ErrCodeProtocol, "GOAWAY on stream %d", h.Stream)
	}
	if h.Length < 8 {
		return violated(ErrCodeFrameSize, "GOAWAY of %d bytes, want at least 8", h.Length)
	}
	b, err := c.rd.in.peek(8)
	if err != nil {
		return midFrame(err)
	}
	last, code := binary.BigEndian.Uint32(b)&wire.StreamIDMax, ErrCode(binary.BigEndian.Uint32(b[4:]))
	_ = c.rd.in.skip(8)
	reason := make([]byte, min(h.Length-8, 256)) // what follows is for people
	if _, err := io.ReadFull(&c.rd.in, reason); err != nil {
		return midFrame(err)
	}
	if err := c.rd.in.skip(h.Length - 8 - len(reason)); err != nil {
		return midFrame(err)
	}
	c.side.goAway(last, code, string(reason))
	return nil
}
