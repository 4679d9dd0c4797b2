// SPDX-License-Identifier: Apache-2.0

// Short handlers run on the reading goroutine: to wake another one costs more than
// they do.
//
// Which, is learned by their paths, on workers. When a handler takes longer than it
// used to, another goroutine goes on with the reading; the handler keeps the one it
// has. Who reads is decided by the epoch, which is odd while a handler runs inline:
//
//	            ┌───── the handler has returned: its goroutine reads on ─────┐
//	            ▼                                                            │
//	    reading, epoch 2n ── a handler begins ──▶ running inline, epoch 2n+1 ┤
//	            ▲                                                            │
//	            └───── it was taken over: a new goroutine reads on ──────────┘
//
// Both ways lead to epoch 2n+2, by compare-and-swap, so there is one reader. All that
// belongs to the reading goroutine is at rest while the epoch is odd: handlers run
// inline between two frames only, before a read that may wait. Who takes over is
//
//   - the monitor, when the epoch was the same odd one at two ticks,
//   - the handler itself, before it waits for a window or for room,
//   - the handler itself, when it ends its goroutine.

package h2

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	inlineBudget = 50 * time.Microsecond // for the handlers of one batch
	inlineQuick  = 20 * time.Microsecond // a handler that takes less is
	inlineProof  = 16                    // runs in a row on workers, all of them quick
	inlineLoad   = 16 * inlineTick       // from then on
	inlineTick   = time.Millisecond      // of the monitor
	inlineIdle   = 10                    // ticks without a run, then the monitor looks away

	pathsMax = 64  // whose handlers are measured; what comes later runs on workers
	pathMax  = 256 // bytes
	restMin  = 1000
	restMax  = 64_000
)

// errTakenOver says that another goroutine reads now.
var errTakenOver = errors.New("h2: reading was taken over")

// An inline is what a connection needs to run handlers on its reading goroutine.
type inline struct {
	epoch   atomic.Uint64
	watched atomic.Bool // the monitor looks at epoch

	// Of the reading goroutine.
	starts       []*serverStream // of new requests; nil: was started
	ownGoroutine bool            // it is not net/http's, so a handler may keep it
	load         time.Duration   // requests that came, a tick for each, less the time that has passed
	lastBatch    int64           // when its bytes were read
	running      *serverStream
	paces        map[string]*pace // by path

	// Guarded by the monitor's mutex.
	seen  uint64 // epoch at the last tick
	still int    // ticks since it has changed
}

// ---- the reading goroutine ----

// serveFrames reads until the connection is over, and ends it; or until another
// goroutine has taken the reading over, which does the same.
func (c *serverConn) serveFrames() {
	if err := c.readFrames(); err != errTakenOver {
		c.end(err)
	}
}

// readOn is serveFrames in a goroutine of ours. What net/http does there about a
// panic of ConnState, or of ours, is done here.
func (c *serverConn) readOn() {
	defer func() {
		if v := recover(); v != nil {
			stack := make([]byte, 64<<10)
			stack = stack[:runtime.Stack(stack, false)]
			c.engine.logf(c.server, "h2: panic serving %v: %v\n%s", c.template.RemoteAddr, v, stack)
			_ = c.nc.Close()
			signal(c.ended)
		}
	}()
	c.serveFrames()
}

// startInline starts the handlers of a batch: those that are likely to be quick run
// here, one after the other, the others on workers. Their responses leave together,
// with the next answer. It reports false if another goroutine reads now.
func (c *serverConn) startInline() bool {
	c.wakeReaders() // who must not wait for handlers
	if !c.busy() || !c.choose() {
		c.deliver()
		return true
	}
	if !c.ownGoroutine {
		// net/http closes the connection when its goroutine returns, so no handler
		// gets that one: it waits for the end.
		c.ownGoroutine = true
		go c.readOn()
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
		p.ran(now.Sub(before))
	}
	c.running = nil
	c.rd.answers = true
	c.deliver() // the rest
	return true
}

// hot reports whether requests come so fast, one in a tick or more, that it is worth
// a monitor.
func (c *serverConn) busy() bool {
	now := c.lastRead.Load()
	c.load -= min(time.Duration(now-c.lastBatch), c.load)
	c.load = min(c.load+time.Duration(len(c.starts))*inlineTick, 4*inlineLoad)
	c.lastBatch = now
	return c.load >= inlineLoad
}

// choose leaves those in c.starts that may run inline, and starts the others. It
// reports whether any are left.
func (c *serverConn) choose() bool {
	chosen := false
	var expected time.Duration
	for i, s := range c.starts {
		if s == nil {
			continue
		}
		if c.quick(s) {
			if expected += s.pace.average; expected <= inlineBudget {
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

// quick reports whether the handler of a request has proved quick. If it may prove
// it now, its pace is set.
func (c *serverConn) quick(s *serverStream) bool {
	if s.oversized || !s.gotEnd { // who else sets got is the reading goroutine, too
		return false
	}
	path := s.pathOf()
	p := c.paces[path]
	if p == nil {
		if len(c.paces) >= pathsMax || len(path) > pathMax {
			return false
		}
		if c.paces == nil {
			c.paces = make(map[string]*pace)
		}
		p = newPace()
		c.paces[strings.Clone(path)] = p
	}
	if p.rest > 0 {
		p.rest--
		return false
	}
	s.pace = p
	return p.proved()
}

// runInline runs a handler on the reading goroutine. It reports false if another
// goroutine reads when the handler has returned.
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

// takeOver lets a new goroutine go on with the reading, if the handler that began
// the epoch still has the goroutine that read. Anybody may call it.
func (c *serverConn) takeOver(epoch uint64) {
	if !c.epoch.CompareAndSwap(epoch, epoch+1) {
		return
	}
	go func() {
		c.running.pace.stalled()
		c.running = nil
		c.rd.answers = true // what the batch has gathered
		c.deliver()
		c.readOn()
	}()
}

// ---- handlers ----

// measure calls the handler, and measures it if it may prove quick.
func (s *serverStream) measure() {
	if s.pace == nil || s.inline != 0 {
		s.serve()
		return
	}
	began := time.Now()
	s.serve()
	s.pace.measured(time.Since(began))
}

// gathers reports whether the response need not be flushed when it is complete: the
// reading goroutine does that after the batch, or who takes over. With conn.mu held.
func (s *serverStream) gathersLocked() bool {
	c := s.sc
	return s.inline != 0 && s.inline == c.epoch.Load() && len(c.writer.out) < outFull/2 && !c.drainedLocked()
}

// leaveReading is called before a goroutine waits for the peer: were it the reading
// goroutine, it would wait for itself.
func (s *serverStream) leaveReading() {
	if s.inline != 0 {
		s.sc.takeOver(s.inline)
	}
}

// ---- what is learned ----

// A pace is how quick the handler of a path is. It runs on workers and is measured
// until it has proved quick; then it may run inline. When it is too slow there, it
// rests: it runs on workers, for twice as long each time, before it may prove itself
// again.
type pace struct {
	proof atomic.Int32 // quick runs in a row on workers

	// Of the reading goroutine.
	average  time.Duration // of its runs inline, the last ones counting most
	runs     int           // inline, since it has proved quick
	rest     int           // runs to come that are not measured
	nextRest int
}

func newPace() *pace { return &pace{average: inlineQuick / 2, nextRest: restMin} }

func (p *pace) proved() bool { return p.proof.Load() >= inlineProof }

// measured counts a run on a worker.
func (p *pace) measured(d time.Duration) {
	if d < inlineQuick {
		p.proof.Add(1)
	} else if !p.proved() {
		p.proof.Store(0)
	}
}

// ran counts a run inline. One that is slow now and then, because of the garbage
// collector or the system, does no harm.
func (p *pace) ran(d time.Duration) {
	p.runs++
	p.average += (min(d, 2*inlineQuick) - p.average) / 64
	if p.average > inlineQuick {
		p.stalled()
	}
}

// stalled ends the running inline. A rest is short again after a good time.
func (p *pace) stalled() {
	if p.runs > 16*p.nextRest {
		p.nextRest = restMin
	}
	p.rest = p.nextRest
	p.nextRest = min(2*p.nextRest, restMax)
	p.average, p.runs = inlineQuick/2, 0
	p.proof.Store(0)
}

// ---- the monitor ----

// A monitor looks every tick at the connections of an engine that run handlers
// inline, and takes over from handlers that block. It ticks while there are such
// connections. A timer for each batch would cost a system call each time.
type monitor struct {
	mu    sync.Mutex
	conns []*serverConn
	timer *time.Timer // runs while there are conns
}

// watch makes the monitor look at c until it has run nothing inline for a while.
func (m *monitor) watch(c *serverConn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.watched.Load() {
		return // the monitor was about to look away
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

// look is a tick.
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
		m.timer.Reset(inlineTick) // from now: no two ticks are closer
	}
}

// lookAway reports whether the connection is not watched any more. One that begins to
// run a handler just now either is seen here, or sees that it has to call watch.
func (c *serverConn) lookAwayLocked() bool {
	c.watched.Store(false)
	if c.epoch.Load() == c.seen {
		return true
	}
	c.watched.Store(true)
	return false
}
