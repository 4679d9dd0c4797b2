// SPDX-License-Identifier: Apache-2.0

// The server's side of a connection: what the frames of a client begin.
//
// Invariants. The reading goroutine calls these methods. A stream is counted by handlers
// from openStream on; table.maxID is the highest number that a HEADERS frame has had, so
// a GOAWAY never promises less than was accepted.

package h2

import (
	"errors"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

func (c *serverConn) settingsChangedLocked() {}

func (c *serverConn) goAway(uint32, ErrCode, string) {
	// A client's GOAWAY is about pushed streams, and there are none. Open streams go on.
}

func (c *serverConn) connEndedLocked(error) {}

// startHandlers starts the handlers of new requests on workers, except those that have
// run inline.
func (c *serverConn) startHandlers() {
	for i, s := range c.starts {
		if s != nil {
			c.starts[i] = nil
			s.start()
		}
	}
	c.starts = c.starts[:0]
}

// batchEnded runs the handlers that may run inline, and counts the one that was alone
// before; see inline.go.
func (c *serverConn) batchEnded() bool {
	c.countLone()
	return len(c.starts) == 0 || c.startInline()
}

// headers opens a stream, or takes the trailers of an open one. [RFC 9113, section 8.1]
func (c *serverConn) headers(s *stream, id uint32, end bool) error {
	if s != nil {
		return s.user.(*serverStream).trailers(&c.rd.fields, end)
	}
	first, err := c.openStream(id, end)
	if first {
		if c.firstTimer != nil {
			c.firstTimer.Stop()
			c.firstTimer = nil // its memory
		}
		c.reportState()
	}
	return err
}

// openStream opens a stream for the request in c.rd.fields. It reports whether no other
// request was being handled.
//
// A number that is not above all earlier ones belongs to a closed stream: after this
// side's reset, a late frame is ignored, otherwise it is an error of the connection.
// [RFC 9113, sections 5.1 and 5.1.1] After the final GOAWAY new streams are ignored, and
// the client may retry them elsewhere [section 6.8]. A malformed request is an error of
// the stream [section 8.1.1]; one beyond the limit is refused, so that the client
// sees that it was not processed [sections 5.1.2 and 8.7]. Reset streams count until their
// handlers return, so that resets do not raise the limit.
func (c *serverConn) openStream(id uint32, end bool) (first bool, err error) {
	f := &c.rd.fields
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case id <= c.table.maxID && c.table.recentlyResetLocked(id):
		return false, nil
	case id <= c.table.maxID:
		return false, violated(ErrCodeStreamClosed, "HEADERS on stream %d, which is closed", id)
	case id > c.lastStream:
		c.table.late = max(c.table.late, id) // its other frames are ignored, too
		return false, nil
	}
	c.table.maxID = id
	if f.Bad == nil {
		f.CheckRequest(end)
	}
	switch {
	case f.Bad != nil:
		c.answerBadRequestLocked(id)
		return false, c.rejectLocked(id, ErrCodeProtocol, f.Bad)
	case c.handlers-c.abandoned >= int(c.limits.maxStreams):
		return false, c.rejectLocked(id, ErrCodeRefusedStream, errors.New("too many streams"))
	case c.handlers >= int(c.limits.maxStreams):
		// The client obeys the limit: it does not see that handlers still run whose callers
		// have given up.
		return false, c.refuseUnseenLocked(id)
	}
	r := newServerStreamLocked(c, id, f, end)
	c.handlers++
	c.writer.inFlight++
	c.starts = append(c.starts, r)
	return c.handlers == 1, nil
}

// refuseUnseenLocked refuses a stream because of handlers that the client does not see. It
// costs no token at first, see patience.go.
func (c *serverConn) refuseUnseenLocked(id uint32) error {
	if !c.unseen.take(time.Now(), unseenFactor*c.limits.burst, unseenFactor*c.limits.rate) {
		return c.flooded("streams, while handlers of streams that were reset still run")
	}
	err := c.refuseLocked(id, ErrCodeRefusedStream, errors.New("too many handlers of streams that were reset"))
	c.table.spareLocked(id)
	return err
}

// answerBadRequestLocked answers a malformed request with 400 before it is reset, as a
// server may [RFC 9113, section 8.1.1]: some clients, net/http's among them, repeat a
// request that is only reset, without end.
func (c *serverConn) answerBadRequestLocked(id uint32) {
	at := c.beginFieldsLocked()
	c.fieldLocked(":status", "400")
	c.endFieldsLocked(at, id, true)
}

// handlerReturnedLocked counts off the handler of a stream, which has returned.
func (c *serverConn) handlerReturnedLocked(s *serverStream) {
	c.writer.inFlight--
	if s.abandoned {
		c.abandoned--
	}
	if c.handlers--; c.handlers == 0 {
		c.idleSince = time.Now()
	}
}

// drainedLocked reports whether the final GOAWAY is sent and no handler is left.
func (c *serverConn) drainedLocked() bool {
	return c.handlers == 0 && c.draining && c.lastStream != wire.StreamIDMax && c.err == nil
}
