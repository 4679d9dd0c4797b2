// SPDX-License-Identifier: Apache-2.0

// Times of calls as numbers: they are read, kept and compared for each call.

package balance

import (
	"math"
	"time"
)

// A moment is a time in nanoseconds, which is positive. Differences are those of the
// monotonic clock: a wall clock that jumps changes nothing. The zero moment stands for none.
type moment int64

// atEpoch is the moment of epoch. It leaves room before it: in tests with virtual time,
// now is the year 2000.
const atEpoch moment = 1 << 61

var epoch = time.Now()

// clock returns the moment of its call. Unlike [time.Now] it reads only the monotonic
// clock, at half the price.
func clock() moment { return atEpoch + moment(time.Since(epoch)) }

// Add returns the moment after a time, or the last one that there is.
func (m moment) Add(d time.Duration) moment { return m + min(moment(d), math.MaxInt64-m) }

// Sub returns the time since another moment.
func (m moment) Sub(other moment) time.Duration { return time.Duration(m - other) }
