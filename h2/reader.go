// SPDX-License-Identifier: Apache-2.0

// The reading goroutine: what it owns, and how it reads from the network.
//
// Invariants. A connection has one reading goroutine at a time; a server's may change
// between two frames (see inline.go). It waits for the network in one place only, a read
// of [inbound], and before each read it starts the handlers and wakes the readers for
// which frames have arrived, and flushes its answers.

package h2

import (
	"runtime"
	"strings"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

const (
	bulkFrame = 16 << 10 // DATA of this length is likely to be followed by more
	bulkPeek  = 1 << 10  // bytes that a read may buffer then
)

// A reader is what the reading goroutine owns.
type reader struct {
	owner owner
	in    inbound

	dec            *wire.Decoder
	fields         wire.FieldSection
	block          []byte           // a header block that comes in several frames
	pendingHeaders wire.FrameHeader // the HEADERS whose CONTINUATION must follow; zero: none
	blockSize      int              // its length, kept or not
	continued      int              // how many of its CONTINUATION frames were short

	greeted bool // the peer's first SETTINGS have arrived
	buckets buckets
	bulk    bool // the last frame was long DATA

	timed bool          // the next read is timed
	began int64         // when the timed read began
	took  time.Duration // by the last read that was timed

	toWake  []*stream // streams whose readers wake before the next read waits
	answers bool      // frames were appended that no goroutine flushes
	faults  []string  // arguments for countError
}

// beforeRead runs before a read that may wait: it starts and wakes all goroutines for
// which frames have arrived.
func (c *conn) beforeRead() {
	c.rd.owner.assert()
	c.deliver()
	c.flushAnswers()
	if c.rd.timed {
		c.rd.began = clock()
	}
}

// afterRead counts a read that returned bytes.
func (c *conn) afterRead(int) {
	now := clock()
	c.lastRead.Store(now)
	c.reads.Add(1)
	if c.rd.timed {
		c.rd.took, c.rd.timed = time.Duration(now-c.rd.began), false
	}
}

// readLimit bounds how many bytes a read may buffer. While long DATA frames follow one
// another it is small: only their headers go through the buffer, and their payload is
// read straight into inboxes, without a second copy.
func (c *conn) readLimit() int {
	if c.rd.bulk {
		return bulkPeek
	}
	return readBuffer
}

// fillFrom reads all of p, past the buffer if it is empty.
func (c *conn) fillFrom(p []byte) error {
	for len(p) > 0 {
		var n int
		var err error
		if c.rd.in.buffered() == 0 && len(p) >= bulkPeek {
			n, err = c.rd.in.readPast(p)
		} else {
			n, err = c.rd.in.Read(p)
		}
		p = p[n:]
		if err != nil && len(p) > 0 {
			return err
		}
	}
	return nil
}

// deliver starts the handlers and wakes the readers for which frames have arrived, and
// calls countError, which is code of the user and runs without locks.
func (c *conn) deliver() {
	c.side.startHandlers()
	c.wakeReaders()
	faults := c.rd.faults
	c.rd.faults = faults[:0] // first: countError may end the goroutine
	for _, fault := range faults {
		c.limits.countError(fault)
	}
}

// count records a fault of the peer for [http.HTTP2Config].CountError.
func (c *conn) count(kind string, code ErrCode) {
	if c.limits.countError != nil {
		c.rd.faults = append(c.rd.faults, kind+strings.ToLower(code.String()))
	}
}

// wakeReaders wakes the readers of the streams for which frames have arrived.
func (c *conn) wakeReaders() {
	for i, s := range c.rd.toWake {
		c.rd.toWake[i] = nil
		s.queued = false
		s.in.signal()
	}
	c.rd.toWake = c.rd.toWake[:0]
}

// wakeLater marks a stream for the next wakeReaders. One wake-up serves all frames of a
// batch.
func (c *conn) wakeLater(s *stream) {
	c.rd.owner.assert()
	if !s.queued {
		s.queued = true
		c.rd.toWake = append(c.rd.toWake, s)
	}
}

// flushAnswers flushes the frames that the reading goroutine appended, such as the
// acknowledgement of a PING. Handlers and callers that deliver has just woken may be
// about to append, too, so it yields first: one write then carries all.
func (c *conn) flushAnswers() {
	if !c.rd.answers {
		return
	}
	c.rd.answers = false
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writer.inFlight > 0 && !c.writer.writing && len(c.writer.out) > 0 {
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
	}
	c.flushRelocking()
}
