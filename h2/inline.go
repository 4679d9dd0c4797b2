// SPDX-License-Identifier: Apache-2.0

// Quick handlers run on the reading goroutine, because to wake a worker costs more than
// they do. Short ones do while there is no other request.
//
// Which handlers are quick or short is measured on workers, for each path; see pace.go.
// When a handler that runs inline takes too long, a new goroutine takes over the reading,
// and the handler keeps its goroutine. The epoch decides which goroutine reads; it is odd
// while a handler runs inline:
//
//	            ┌───── the handler has returned: its goroutine reads on ─────┐
//	            ▼                                                            │
//	    reading, epoch 2n ── a handler begins ──▶ running inline, epoch 2n+1 ┤
//	            ▲                                                            │
//	            └───── taken over: a new goroutine reads on ─────────────────┘
//
// Invariants. Both ways lead to epoch 2n+2, by compare-and-swap, so there is one reading
// goroutine. All that it owns is at rest while the epoch is odd: handlers run inline
// between two frames only, before a read that may wait. These take over:
//
//   - the monitor, when it finds the same odd epoch at two ticks,
//   - the handler, before it waits for a window or for room in the write buffer,
//   - the handler, when it ends its goroutine.

package h2

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

const (
	inlineBudget = 50 * time.Microsecond // for all handlers of a batch but the first
	inlineLoad   = 16 * inlineTick       // load from which on handlers run inline
	inlineTick   = time.Millisecond      // between two looks of the monitor
	inlineIdle   = 10                    // ticks without an inline run, then the monitor forgets the connection
	inlineSoon   = 10 * time.Microsecond // a read that takes less has not waited
	inlineReply  = 40 * time.Microsecond // after an answer, then the request that follows may be due to it
)

// errTakenOver ends readFrames when another goroutine has taken over the reading.
var errTakenOver = errors.New("h2: reading was taken over")

// An inline is the state of a connection that runs handlers on its reading goroutine.
type inline struct {
	epoch   atomic.Uint64
	watched atomic.Bool // the monitor looks at the connection

	// Of the reading goroutine.
	starts       []*serverStream // new requests; nil: started
	ownGoroutine bool            // the reading goroutine is not net/http's, so a handler may keep it
	load         time.Duration   // grows a tick with each request and falls with time
	lastBatch    int64           // lastRead of the last batch
	running      *serverStream
	paces        map[string]*paces // how quick the handlers are, by path
	lone         *pace             // of the last batch, if it was one short handler that has not been counted
	loneTook     time.Duration
	loneEnd      int64 // when it ended

	// Guarded by the monitor's mutex.
	seen  uint64 // epoch at the last tick
	still int    // ticks since it has changed
}

// ---- the reading goroutine ----

// serveFrames reads until the connection is over, and then ends it. If another goroutine
// takes over the reading, it returns at once: that goroutine ends the connection.
func (c *serverConn) serveFrames() {
	if err := c.readFrames(); err != errTakenOver {
		c.end(err)
	}
}

// readOn is serveFrames in a goroutine that net/http did not start. It recovers from a
// panic of a hook as net/http's goroutines do. If it takes the reading over, it first does
// what the other goroutine has left.
func (c *serverConn) readOn(takenOver bool) {
	defer func() {
		if v := recover(); v != nil {
			c.logPanic(v)
			c.hookFailed()
		}
	}()
	if takenOver {
		c.deliver()
	}
	c.serveFrames()
}

// startInline starts the handlers of a batch: those that are likely to be quick, or short
// and alone, run here, one after the other, and their responses leave in one write, with
// the next flushAnswers; the others run on workers. It reports false if another goroutine
// reads now.
func (c *serverConn) startInline() bool {
	c.wakeReaders() // readers of other streams do not wait for handlers
	if !c.busy() || !c.choose() {
		c.deliver()
		return true
	}
	if !c.ownGoroutine {
		// net/http closes the connection when its goroutine returns: that goroutine waits for
		// the end, and no handler may keep it.
		c.ownGoroutine = true
		go c.readOn(false)
		return false
	}
	now := time.Now()
	end := now.Add(inlineBudget)
	for i, s := range c.starts {
		if s == nil {
			continue
		}
		if !now.Before(end) {
			break
		}
		c.starts[i] = nil
		p := s.pace
		if !c.runInline(s) {
			return false
		}
		before := now
		now = time.Now()
		took := now.Sub(before)
		if p.limit == inlineShort {
			c.lone, c.loneTook, c.loneEnd, c.rd.timed = p, took, clock(), true
			break // it was the only one
		}
		p.ran(took)
	}
	c.running = nil
	c.rd.answers = true
	c.deliver() // for which the budget was too small
	return true
}

// countLone counts the short run of the last batch: as too long if a request came
// meanwhile, and not after its answer.
func (c *serverConn) countLone() {
	if c.lone == nil {
		return
	}
	sinceEnd := time.Duration(c.lastRead.Load() - c.loneEnd)
	if len(c.starts) > 0 && c.rd.took < inlineSoon && sinceEnd < inlineReply {
		c.loneTook = 2 * inlineShort
	}
	c.lone.ran(c.loneTook)
	c.lone = nil
}

// busy reports whether requests come at one a tick or faster, so that the monitor is
// worth its ticks.
func (c *serverConn) busy() bool {
	now := c.lastRead.Load()
	c.load -= min(time.Duration(now-c.lastBatch), c.load)
	c.load = min(c.load+time.Duration(len(c.starts))*inlineTick, 4*inlineLoad)
	c.lastBatch = now
	return c.load >= inlineLoad
}

// choose leaves those requests in c.starts that may run inline, and starts the others on
// workers. It reports whether any are left.
func (c *serverConn) choose() bool {
	chosen := false
	var expected time.Duration
	for i, s := range c.starts {
		if s == nil {
			continue
		}
		if c.quick(s) {
			if expected += s.pace.average; expected <= inlineBudget || !chosen {
				chosen = true
				continue
			}
			s.pace = nil
		}
		c.starts[i] = nil
		s.start()
	}
	return chosen
}

// quick reports whether the handler of a request may run inline: its request has arrived
// completely, so it has no body to wait for, and its path has proved quick, or short while
// there is no other request. If the path may still prove it, the run is measured.
func (c *serverConn) quick(s *serverStream) bool {
	if s.oversized || !s.gotEnd { // without conn.mu: only the reading goroutine sets gotEnd
		return false
	}
	p := c.pacesOf(s.pathOf())
	if p == nil {
		return false
	}
	switch s.pace = p.quick.due(); {
	case s.pace.proved():
		return true
	case s.pace == nil || !c.alone():
		return false
	}
	if s.short = p.short.due(); !s.short.proved() {
		return false
	}
	s.pace = s.short
	return true
}

// alone reports whether there is one open stream.
func (c *serverConn) alone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.table.open) == 1
}

// runInline runs a handler on the reading goroutine. It reports false if another
// goroutine reads when the handler returns.
func (c *serverConn) runInline(s *serverStream) bool {
	c.running = s
	s.inline = c.epoch.Load() + 1
	c.epoch.Store(s.inline)
	if !c.watched.Load() {
		c.engine.monitor.watch(c)
	}
	returned := false
	defer func() {
		if !returned { // the handler ends this goroutine, or ConnState panics
			c.takeOver(s.inline)
		}
	}()
	s.run()
	returned = true
	return c.epoch.CompareAndSwap(s.inline, s.inline+1)
}

// takeOver makes a new goroutine read on, unless the epoch is over: the handler that
// began it has returned, or the reading was taken over before. Any goroutine may call
// it, with or without conn.mu. The compare-and-swap makes it happen once, and orders all
// that the old reading goroutine did before the new one's first step.
func (c *serverConn) takeOver(epoch uint64) {
	if !c.epoch.CompareAndSwap(epoch, epoch+1) {
		return
	}
	go func() {
		c.running.pace.stalled()
		c.running = nil
		c.rd.answers = true // responses of the batch may have gathered
		c.readOn(true)
	}()
}

// ---- handlers ----

// measure calls the handler, and measures it if it runs on a worker and its path may prove
// something.
func (s *serverStream) measure() {
	if s.inline != 0 || s.pace == nil && s.short == nil {
		s.serve()
		return
	}
	began := time.Now()
	s.serve()
	took := time.Since(began)
	s.pace.measured(took)
	s.short.measured(took)
}

// gathersLocked reports whether a complete response need not be flushed here: the
// handler runs inline, and the reading goroutine flushes behind the batch, or the
// goroutine that takes over does.
func (s *serverStream) gathersLocked() bool {
	c := s.sc
	return s.inline != 0 && s.inline == c.epoch.Load() && len(c.writer.out) < outFull/2 && !c.drainedLocked()
}

// leaveReading runs before a goroutine waits for the peer. A handler that runs inline
// hands the reading over first; otherwise no goroutine would read the frame for which it
// waits.
func (s *serverStream) leaveReading() {
	if s.inline != 0 {
		s.sc.takeOver(s.inline)
	}
}

// ---- the monitor ----

// A monitor takes over the reading from inline handlers that block. Each tick it looks
// at the connections of an engine that run handlers inline; it ticks while there are
// any. A timer for each batch would cost a system call each time. mu guards the fields,
// and seen and still of all connections.
type monitor struct {
	mu    sync.Mutex
	conns []*serverConn
	timer *time.Timer // runs while there are conns
}

// watch makes the monitor look at c, until c has run no handler inline for inlineIdle
// ticks.
func (m *monitor) watch(c *serverConn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.watched.Load() {
		return // lookAwayLocked has set it again
	}
	c.watched.Store(true)
	c.seen, c.still = 0, 0
	m.conns = append(m.conns, c)
	switch {
	case len(m.conns) > 1:
	case m.timer == nil:
		m.timer = time.AfterFunc(inlineTick, m.tick)
	default:
		m.timer.Reset(inlineTick)
	}
}

// tick looks at all connections.
func (m *monitor) tick() {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := m.conns[:0]
	for _, c := range m.conns {
		epoch := c.epoch.Load()
		switch {
		case epoch != c.seen:
			c.seen, c.still = epoch, 0
		case epoch%2 == 1:
			c.takeOver(epoch)
		default:
			c.still++
		}
		if c.still < inlineIdle || !c.lookAwayLocked() {
			kept = append(kept, c)
		}
	}
	clear(m.conns[len(kept):])
	m.conns = kept
	if len(kept) > 0 {
		m.timer.Reset(inlineTick) // after the work, so that ticks are never closer
	}
}

// lookAwayLocked reports whether the monitor may forget the connection. It clears
// watched before it reads the epoch, and runInline sets the epoch before it reads
// watched: so a connection that begins an inline run at this moment is seen here, or
// sees that it has to call watch.
func (c *serverConn) lookAwayLocked() bool {
	c.watched.Store(false)
	if c.epoch.Load() == c.seen {
		return true
	}
	c.watched.Store(true)
	return false
}
