// SPDX-License-Identifier: Apache-2.0

// Moments: when something was so last, whatever happens to the wall clock.

package overload

import (
	"sync/atomic"
	"time"
)

// epoch is the origin of moments. Differences to it are those of the monotonic clock. It
// lies so far back that moments are positive in the tests, too, whose clock begins in 2000.
var epoch = time.Now().Add(-50 * 365 * 24 * time.Hour)

// clock returns the nanoseconds since epoch.
func clock() int64 { return int64(time.Since(epoch)) }

// A moment is kept as nanoseconds since epoch, which fit into an atomic number. The zero
// value is never.
type moment struct{ at atomic.Int64 }

func (m *moment) note()   { m.at.Store(clock()) }
func (m *moment) forget() { m.at.Store(0) }

// within reports whether the moment is less than d ago.
func (m *moment) within(d time.Duration) bool {
	at := m.at.Load()
	return at != 0 && clock()-at < int64(d)
}

// next reports whether the moment is at least d ago, and if so makes it this one. Of
// several callers at once it is true for one.
func (m *moment) next(d time.Duration) bool {
	now, at := clock(), m.at.Load()
	return (at == 0 || now-at >= int64(d)) && m.at.CompareAndSwap(at, now)
}
