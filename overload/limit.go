// SPDX-License-Identifier: Apache-2.0

// Limits of calls at once: a fixed one, and one that follows the times of calls.

package overload

import (
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
)

const (
	startLimit = 20
	fallingFor = 10 * time.Second // after a fall the limit counts as falling
	easeEvery  = 2 * time.Second  // a brake is eased by one call at once
)

// A limit gives permits to at most size calls at once.
type limit interface {
	acquire() (permit, bool)
	size() int
	running() int
	falling() bool
	// brake is called when many calls have expired in a row, and ease when one has ended by
	// itself.
	brake()
	ease()
}

// A permit is ended by one of its methods. Record counts the time of the call, Drop does
// not.
type permit interface {
	Record()
	Drop()
}

// A fixed limit does not change. It is its own permit.
type fixed struct {
	most int
	used atomic.Int64
}

func newFixed(n int) *fixed { return &fixed{most: n} }

func (f *fixed) acquire() (permit, bool) { return f.acquireOf(f.most) }

// acquireOf is acquire with another size.
func (f *fixed) acquireOf(most int) (permit, bool) {
	for used := f.used.Load(); used < int64(most); used = f.used.Load() {
		if f.used.CompareAndSwap(used, used+1) {
			return f, true
		}
	}
	return nil, false
}

func (f *fixed) Record()       { f.used.Add(-1) }
func (f *fixed) Drop()         { f.used.Add(-1) }
func (f *fixed) size() int     { return f.most }
func (f *fixed) running() int  { return int(f.used.Load()) }
func (f *fixed) falling() bool { return false }
func (f *fixed) brake()        {}
func (f *fixed) ease()         {}

// An adaptive limit is that of package adaptivelimiter, with a brake: that package follows
// the times of calls, and the times of calls that expire do not count. Without the brake a
// server that has become slow, and whose calls all expire, would keep the limit for ever.
type adaptive struct {
	limiter adaptivelimiter.AdaptiveLimiter[any]
	least   int
	fell    moment       // of the last change, if the limit fell because of load; never otherwise
	braked  atomic.Int64 // the limit while the brake is on; 0: it is off
	eased   moment       // when braked was changed
}

func newAdaptive(least, most int) *adaptive {
	a := &adaptive{least: least}
	a.limiter = adaptivelimiter.NewBuilder[any]().
		WithLimits(uint(least), uint(most), uint(min(max(startLimit, least), most))).
		OnLimitChanged(a.changed).
		Build()
	return a
}

// changed notes a change of the limit. It also falls behind calls that become fewer: then
// no call has come near it.
func (a *adaptive) changed(e adaptivelimiter.LimitChangedEvent) {
	if e.NewLimit < e.OldLimit && 5*a.limiter.MaxInflight() >= 4*int(e.OldLimit) {
		a.fell.note()
	} else {
		a.fell.forget()
	}
}

func (a *adaptive) acquire() (permit, bool) {
	if braked := a.braked.Load(); braked > 0 && a.limiter.Inflight() >= int(braked) {
		return nil, false
	}
	p, ok := a.limiter.TryAcquirePermit()
	return p, ok
}

// brake halves the limit.
func (a *adaptive) brake() {
	a.braked.Store(int64(max(a.least, a.size()/2)))
	a.eased.note()
	a.fell.note()
}

// ease makes a braked limit grow slowly, until it is that of the limiter, which has fallen
// meanwhile if it was too high.
func (a *adaptive) ease() {
	braked := a.braked.Load()
	if braked == 0 || !a.eased.next(easeEvery) {
		return
	}
	more := braked + 1
	if int(more) >= a.limiter.Limit() {
		more = 0
	}
	a.braked.CompareAndSwap(braked, more) // not over a brake of this moment
}

func (a *adaptive) size() int {
	size := a.limiter.Limit()
	if braked := a.braked.Load(); braked > 0 {
		size = min(size, int(braked))
	}
	return size
}

func (a *adaptive) running() int { return a.limiter.Inflight() }

func (a *adaptive) falling() bool { return a.fell.within(fallingFor) }
