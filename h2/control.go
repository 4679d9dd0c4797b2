// SPDX-License-Identifier: Apache-2.0

// The reading goroutine: PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, PING and GOAWAY.
// [RFC 9113, sections 6.3 to 6.9]
//
// Invariants. Each of these frames costs its sender little and may cost the receiver
// more, so each takes a token from the bucket of its kind. Answers are appended and not
// flushed: they leave with the next write. SETTINGS are applied and acknowledged under
// one lock, so every frame that is appended later obeys them.

package h2

import (
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/flow"
	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// priority checks a PRIORITY frame and ignores it: priorities of RFC 7540 are
// deprecated. [RFC 9113, sections 5.3.2 and 6.3]
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
	return nil
}

// rstStream ends a stream that the peer resets. One on a stream that is not open is
// ignored or an error, see strayFrameLocked; if this side has refused the stream, it costs
// the token that the refusal did not, see patience.go. [RFC 9113, section 6.4]
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
		if c.table.wasSparedLocked(h.Stream) && !c.resetAllowedLocked() {
			return c.flooded("streams that are reset")
		}
		return c.strayFrameLocked(h)
	}
	if s.user.resetByPeerLocked() && !c.resetAllowedLocked() {
		return c.flooded("streams that are reset")
	}
	delete(c.table.open, s.id)
	s.stopLocked(StreamError{StreamID: s.id, Code: code, Cause: errFromPeer})
	c.rd.answers = true // a WINDOW_UPDATE for the connection may have been appended
	c.wakeLater(s)
	return nil
}

// settings applies a SETTINGS frame and appends its acknowledgement, or takes the
// acknowledgement of ours, whose delay is a round trip. Once ours are acknowledged, the
// peer's encoder obeys our table size. [RFC 9113, sections 6.5 and 6.5.3]
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

// applyLocked applies one parameter; unknown ones are ignored. A new
// SETTINGS_INITIAL_WINDOW_SIZE changes the windows of all open streams by the
// difference, below zero if need be, and not the connection's. [RFC 9113, sections 6.5.2
// and 6.9.2]
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

// windowUpdate enlarges a window and wakes the senders that wait for it. An increment of
// zero, or a window beyond 2^31-1, is an error of the stream, or of the connection if it
// is the connection's window. [RFC 9113, sections 6.9 and 6.9.1]
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

// pingFrame answers a PING, or takes the answer to ours. [RFC 9113, section 6.7]
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

// goAwayFrame reads a GOAWAY; its debug data are for people, and the first 256 bytes are
// kept. [RFC 9113, section 6.8]
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
	reason := make([]byte, min(h.Length-8, 256))
	if _, err := io.ReadFull(&c.rd.in, reason); err != nil {
		return midFrame(err)
	}
	if err := c.rd.in.skip(h.Length - 8 - len(reason)); err != nil {
		return midFrame(err)
	}
	c.side.goAway(last, code, string(reason))
	return nil
}
