// SPDX-License-Identifier: Apache-2.0

//go:build unix

// The CPU time of this process.

package main

import (
	"syscall"
	"time"
)

// cpuTime returns what all threads used so far, user and system.
func cpuTime() (time.Duration, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, err
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}
