// SPDX-License-Identifier: Apache-2.0

// DATA: counted, and read into the inbox of its stream. [RFC 9113, section 6.1]
//
// Invariants. The connection's window counts the whole payload of a frame, padding
// included, before anything else is decided; the stream's window counts it, too, if the
// stream takes the frame. Bytes that no stream takes count off again at once. [RFC 9113,
// sections 6.9 and 6.9.1]

package h2

import (
	"errors"
	"fmt"
	"io"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// data reads a DATA frame into the inbox of its stream, or drops it. DATA without bytes
// and without END_STREAM costs a token: it is free for the peer, as windows do not count
// it.
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

// countData counts a frame, of which length bytes are content. It returns the stream
// that takes them, or nil if the payload is to be dropped.
//
// A receiver counts every DATA frame by the connection's window, also one that is in
// error or belongs to a stream that is gone; a peer that has spent the window gets it
// back only from this side. [RFC 9113, section 6.9] So the frame is counted first, and
// what will not lie unread in an inbox (the whole payload if no stream takes it,
// otherwise the padding and its length) is counted off before the lock is released. A
// frame beyond the connection's window ends the connection. [RFC 9113, section 6.9.1]
func (c *conn) countData(h wire.FrameHeader, length int) (*stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.recvWindow.Arrived(h.Length) {
		return nil, violated(ErrCodeFlowControl, "DATA exceeds the connection's window")
	}
	s := c.table.open[h.Stream]
	err := c.refuseDataLocked(s, h, length)
	unread := length // that will lie in the inbox
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

// errRefused marks a frame that is dropped while the connection goes on.
var errRefused = errors.New("h2: frame is thrown away")

// refuseDataLocked decides whether a stream takes a frame. It returns nil if so, and the
// stream's window has then counted it. Otherwise it has reset the stream, if one is
// open, and returns errRefused, or the error that ends the connection.
//
// The cases are those of the RFC: DATA for a stream that is not open [sections 5.1 and
// 6.1], DATA after END_STREAM [section 5.1], DATA before the head of the message
// [section 8.1], more of it than Content-Length says [section 8.1.1], and more than the
// stream's window [section 6.9.1], which this side treats as an error of the stream.
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

// fill reads n bytes into the stream's inbox. Once the stream's reader is gone, the
// inbox drops them, and they count as read.
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

// endOfData acts on END_STREAM. A body that is shorter than its Content-Length makes the
// message malformed, a stream error [RFC 9113, section 8.1.1]. A client's caller first
// reads the bytes that arrived and then gets io.ErrUnexpectedEOF, as from net/http.
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

// endOfBodyLocked closes the peer's half. Readers get err after the last byte, which is
// io.EOF if the body is whole.
func (c *conn) endOfBodyLocked(s *stream, err error) {
	s.gotEnd = true
	s.in.end(err)
	s.user.peerEndedLocked()
	c.forgetIfDoneLocked(s)
}

// strayFrameLocked decides about a frame on a stream that is not open. One on an idle
// stream is an error of the connection. One on a stream that this side has reset is
// ignored: it was sent before the peer saw RST_STREAM. So is one on a stream that came
// after the final GOAWAY, as its HEADERS were [section 6.8]. Late DATA on any other closed
// stream is a stream error; a late RST_STREAM or WINDOW_UPDATE is ignored. [RFC 9113,
// section 5.1] A client ignores late DATA, too: its user may give up more calls at once than
// recentlyResetLocked knows, and the frames under way are no fault of the server's.
func (c *conn) strayFrameLocked(h wire.FrameHeader) error {
	switch {
	case c.table.isLateLocked(h.Stream):
		return nil
	case c.table.idleLocked(h.Stream):
		return violated(ErrCodeProtocol, "frame of type %d on stream %d, which was never opened", h.Type, h.Stream)
	case c.table.recentlyResetLocked(h.Stream):
		return nil
	case h.Type == wire.FrameData && c.accepts():
		return c.rejectLocked(h.Stream, ErrCodeStreamClosed, errStreamOver)
	}
	return nil
}
