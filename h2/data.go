// SPDX-License-Identifier: Apache-2.0

// DATA: counted, and read into the inbox of its stream. [RFC 9113, section 6.1]
//
// Invariants. The whole payload of a frame, padding included, is counted by the
// connection's window before anything else is decided, and by the stream's if there
// is one that may take it. What no stream takes counts off again in the same breath.
// [RFC 9113, sections 6.9 and 6.9.1]

package h2

import (
	"errors"
	"fmt"
	"io"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// data reads a DATA frame.
func (c *conn) data(h wire.FrameHeader) error {
	if h.Stream == 0 {
		return violated(ErrCodeProtocol, "DATA without a stream")
	}
	length, padding, err := c.unpad(h)
	if err != nil {
		return err
	}
	if length == 0 && !h.Has(wire.FlagEndStream) && !c.allow(&c.rd.buckets.empty) {
		return c.flooded("DATA frames without data")
	}
	s, err := c.countData(h, length)
	if err != nil {
		return err
	}
	if s == nil {
		err := c.rd.in.skip(length + padding)
		return midFrame(err)
	}
	s.received += int64(length)
	if err := c.fill(s, length); err != nil {
		return midFrame(err)
	}
	if err := c.rd.in.skip(padding); err != nil {
		return midFrame(err)
	}
	if h.Has(wire.FlagEndStream) {
		return c.endOfData(s)
	}
	c.wakeLater(s)
	return nil
}

// countData counts a frame, of which length bytes are not padding. It returns the
// stream that takes them, or nil if they are to be thrown away.
func (c *conn) countData(h wire.FrameHeader, length int) (*stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.recvWindow.Arrived(h.Length) {
		return nil, violated(ErrCodeFlowControl, "DATA exceeds the connection's window")
	}
	s := c.table.open[h.Stream]
	err := c.refuseDataLocked(s, h, length)
	unread := length
	if err != nil {
		s, unread = nil, 0
	}
	appended := false
	if extra := h.Length - unread; s != nil && extra > 0 {
		s.consumed.Add(int64(extra))
		appended = s.giveBackLocked()
	} else {
		c.recvWindow.Consumed(extra)
		appended = c.giveBackLocked()
	}
	if appended {
		c.rd.answers = true
	}
	if err == errRefused {
		err = nil
	}
	return s, err
}

// errRefused is for a frame that is thrown away while the connection goes on.
var errRefused = errors.New("h2: frame is thrown away")

// refuseDataLocked returns nil if the stream takes a frame, which is then counted by
// its window. Otherwise the stream, if there is one, was reset, and the error is
// errRefused or why the connection ends.
func (c *conn) refuseDataLocked(s *stream, h wire.FrameHeader, length int) error {
	var err error
	switch {
	case s == nil:
		err = c.strayFrameLocked(h)
	case s.gotEnd:
		err = c.rejectLocked(s.id, ErrCodeStreamClosed, errStreamOver)
	case !s.trailing:
		err = c.rejectLocked(s.id, ErrCodeProtocol, errors.New("DATA before the head of the response"))
	case s.declared >= 0 && s.received+int64(length) > s.declared: // [RFC 9113, section 8.1.1]
		err = c.rejectLocked(s.id, ErrCodeProtocol, fmt.Errorf("body of %d bytes or more, Content-Length says %d", s.received+int64(length), s.declared))
	case !s.recvWindow.Arrived(h.Length):
		err = c.rejectLocked(s.id, ErrCodeFlowControl, errors.New("DATA exceeds the stream's window"))
	default:
		return nil
	}
	if err == nil {
		err = errRefused
	}
	if s != nil {
		c.wakeLater(s)
	}
	return err
}

// fill reads n bytes into the stream's inbox. Bytes of a stream that is not read any
// more are dropped, and count as read.
func (c *conn) fill(s *stream, n int) error {
	for n > 0 {
		space := s.in.space(n)
		if err := c.fillFrom(space); err != nil {
			return err
		}
		n -= len(space)
		if !s.in.put(len(space)) {
			s.consume(len(space))
		}
	}
	return nil
}

// endOfData takes END_STREAM on DATA. A body that is shorter than its Content-Length
// is an error of the stream [RFC 9113, section 8.1.1]; a client's caller gets it when
// it has read what there is, as with net/http.
func (c *conn) endOfData(s *stream) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	end := io.EOF
	if s.declared >= 0 && s.received < s.declared {
		if c.accepts() {
			c.wakeLater(s)
			return c.rejectLocked(s.id, ErrCodeProtocol, fmt.Errorf("body of %d bytes, Content-Length says %d", s.received, s.declared))
		}
		end = io.ErrUnexpectedEOF
	}
	c.endOfBodyLocked(s, end)
	c.wakeLater(s)
	return nil
}

// endOfBodyLocked closes the peer's half. err is io.EOF if the body is whole.
func (c *conn) endOfBodyLocked(s *stream, err error) {
	s.gotEnd = true
	s.in.end(err)
	s.user.peerEndedLocked()
	c.forgetIfDoneLocked(s)
}

// strayFrameLocked says what to do about a frame on a stream that is not open.
// [RFC 9113, section 5.1]
func (c *conn) strayFrameLocked(h wire.FrameHeader) error {
	switch {
	case c.table.idleLocked(h.Stream):
		return violated(ErrCodeProtocol, "frame of type %d on stream %d, which was never opened", h.Type, h.Stream)
	case c.table.recentlyResetLocked(h.Stream):
		return nil // it was under way
	case h.Type == wire.FrameData:
		return c.rejectLocked(h.Stream, ErrCodeStreamClosed, errStreamOver)
	}
	return nil
}
