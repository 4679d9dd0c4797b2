// SPDX-License-Identifier: Apache-2.0

//go:build unix

// The CPU time and the system calls of this process.

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cpuTime returns the CPU time of all threads so far, user and system.
func cpuTime() (time.Duration, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, err
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}

// writeCalls returns how many calls of write this process has made, on Linux; nearly
// all are to sockets. [proc(5), io] It is 0 on other systems.
func writeCalls() (int64, error) {
	text, err := os.ReadFile("/proc/self/io")
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(string(text), "syscw: ")
	line, _, _ := strings.Cut(rest, "\n")
	if !found {
		return 0, fmt.Errorf("got %q, want a line of syscw", text)
	}
	return strconv.ParseInt(line, 10, 64)
}
