// SPDX-License-Identifier: Apache-2.0

// The clock of times that are kept as numbers.

package h2

import "time"

// epoch is the origin of these times. Differences to it are those of the monotonic clock:
// a wall clock that is set changes nothing. It lies so far back that they are positive in
// the tests, too, whose clock begins in 2000.
var epoch = time.Now().Add(-50 * 365 * 24 * time.Hour)

// clock returns the nanoseconds since epoch.
func clock() int64 { return int64(time.Since(epoch)) }
