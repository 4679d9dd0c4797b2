// SPDX-License-Identifier: Apache-2.0

// CPU time of the process, which other programs of the machine change less than the time of
// the clock.

//go:build unix

package overload_test

import (
	"syscall"
	"time"
)

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
