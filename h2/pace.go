// SPDX-License-Identifier: Apache-2.0

// What is learned about the handlers of a path: whether they may run inline; see inline.go.
//
// A quick handler takes less than waking a worker does, so it runs inline whenever it may.
// A short one takes somewhat more. It runs inline while its request is the only one of the
// connection: the reading goroutine has nothing else to do then. If requests often come
// meanwhile, and wait where two workers would have served both at once, short handlers of
// the path run on workers for a while.

package h2

import (
	"strings"
	"sync/atomic"
	"time"
)

const (
	inlineQuick = 20 * time.Microsecond  // a handler that takes less is quick
	inlineShort = 250 * time.Microsecond // a handler that takes less is short
	inlineProof = 16                     // such runs in a row on workers, then the next runs inline

	pathsMax = 64     // paths of a connection that are measured; the others run on workers
	pathMax  = 256    // bytes of a path that is measured
	restMin  = 1000   // runs of a rest, see pace
	restMax  = 64_000 // after doubling
)

// paces are what is known of the handlers of a path.
type paces struct{ quick, short pace }

// pacesOf returns the paces of a path, nil if it is not measured.
func (c *serverConn) pacesOf(path string) *paces {
	p := c.paces[path]
	if p == nil && len(c.paces) < pathsMax && len(path) <= pathMax {
		if c.paces == nil {
			c.paces = make(map[string]*paces)
		}
		p = new(paces)
		p.quick.init(inlineQuick)
		p.short.init(inlineShort)
		p.quick.longer = &p.short
		c.paces[strings.Clone(path)] = p
	}
	return p
}

// A pace records whether the handlers of a path take less than a limit. They run on
// workers and are measured until inlineProof of them in a row took less; then they may run
// inline. When they are too slow there, the path rests: nextRest handlers run on workers
// unmeasured, and the next rest is twice as long. A nil pace proves nothing.
type pace struct {
	limit  time.Duration
	longer *pace        // with the next limit; it rests with this one, and is proved anew, too
	proof  atomic.Int32 // runs below the limit in a row on workers

	// Of the reading goroutine.
	average  time.Duration // of the inline runs, the last ones counting most
	runs     int           // inline runs since the proof
	rest     int           // runs on workers still to come before measuring begins
	nextRest int
}

func (p *pace) init(limit time.Duration) { p.limit, p.average, p.nextRest = limit, limit/2, restMin }

// due returns p for the next run, nil during a rest.
func (p *pace) due() *pace {
	if p.rest > 0 {
		p.rest--
		return nil
	}
	return p
}

func (p *pace) proved() bool { return p != nil && p.proof.Load() >= inlineProof }

// measured counts a run on a worker. A slow one begins the proof again.
func (p *pace) measured(d time.Duration) {
	switch {
	case p == nil:
	case d < p.limit:
		p.proof.Add(1)
	case !p.proved():
		p.proof.Store(0)
	}
}

// ran counts an inline run. A single slow run, which the garbage collector or the system
// may cause, changes the average little.
func (p *pace) ran(d time.Duration) {
	p.runs++
	p.average += (min(d, 2*p.limit) - p.average) / 64
	if p.average > p.limit {
		p.stalled()
	}
}

// stalled ends inline runs and begins a rest, which is short again if there were many
// inline runs before.
func (p *pace) stalled() {
	if p.runs > 16*p.nextRest {
		p.nextRest = restMin
	}
	p.rest = p.nextRest
	p.nextRest = min(2*p.nextRest, restMax)
	p.average, p.runs = p.limit/2, 0
	p.proof.Store(0)
	if p.longer != nil {
		p.longer.proof.Store(0)
	}
}
