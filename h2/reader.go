// SPDX-License-Identifier: Apache-2.0

// The reading goroutine: what it owns, and how it reads from the network.
//
// Invariants. A connection has one reading goroutine at a time; a server's may change
// between two frames (see inline.go). It waits for the network only in network.Read,
// and before that it starts and wakes all for whom something has arrived.

package h2

import (
	"runtime"
	"strings"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

const (
	bulkFrame = 16 << 10 // DATA of this length is likely to be followed by more
	bulkPeek  = 1 << 10  // read for the header of the next frame then
)

// A reader is what the reading goroutine owns.
type reader struct {
	owner owner
	in    inbound

	dec            *wire.Decoder
	fields         wire.FieldSection
	block          []byte           // a field section that came in several pieces
	pendingHeaders wire.FrameHeader // of the HEADERS whose CONTINUATION is expected
	blockSize      int              // its length, also of what was not kept
	continued      int              // its CONTINUATION frames that were short

	greeted bool // the peer's SETTINGS have come
	buckets buckets
	bulk    bool // the last frame was long DATA

	toWake  []*stream // have news, which their readers learn before the next read waits
	answers bool      // frames were appended that no goroutine flushes
	faults  []string  // for countError, which is called without mu
}

// beforeRead is called before a read that may wait: all that the last frames were for
// gets under way.
func (c *conn) beforeRead() {
	c.rd.owner.assert()
	c.deliver()
	c.flushAnswers()
}

// afterRead counts a read that brought something.
func (c *conn) afterRead(int) {
	c.lastRead.Store(time.Now().UnixNano())
	c.reads.Add(1)
}

// readLimit lets little be buffered while long DATA frames follow one another: only
// their headers are for the buffer, and what else it held would be copied once more.
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

// deliver starts the handlers and wakes the readers that the last frames were for.
func (c *conn) deliver() {
	c.side.startHandlers()
	c.wakeReaders()
	for _, fault := range c.rd.faults {
		c.limits.countError(fault)
	}
	c.rd.faults = c.rd.faults[:0]
}

// count remembers what the peer did wrong, for [http.HTTP2Config].CountError.
func (c *conn) count(kind string, code ErrCode) {
	if c.limits.countError != nil {
		c.rd.faults = append(c.rd.faults, kind+strings.ToLower(code.String()))
	}
}

// wakeReaders wakes the readers that the last frames were for.
func (c *conn) wakeReaders() {
	for i, s := range c.rd.toWake {
		c.rd.toWake[i] = nil
		s.queued = false
		s.in.signal()
	}
	c.rd.toWake = c.rd.toWake[:0]
}

// wakeLater remembers that a stream has news.
func (c *conn) wakeLater(s *stream) {
	c.rd.owner.assert()
	if !s.queued {
		s.queued = true
		c.rd.toWake = append(c.rd.toWake, s)
	}
}

// answer sends what the reading goroutine has appended because of the last frames,
// such as the acknowledgement of a PING. Goroutines that deliver has woken may be
// about to send, too: one write is enough for all.
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
