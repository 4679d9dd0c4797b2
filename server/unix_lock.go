// SPDX-License-Identifier: Apache-2.0

// A lock among servers that open sockets in the same folder.

//go:build unix && !solaris && !illumos && !aix

package server

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

const lockPause = 10 * time.Millisecond

// lockFolder locks a folder until unlock is called. [flock(2)] It waits for at most wait. A
// folder that cannot be read is not locked: the socket may still be opened.
func lockFolder(folder string, wait time.Duration) (unlock func(), err error) {
	file, err := os.Open(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the socket's folder is missing: %w", err)
	}
	if err != nil {
		return func() {}, nil
	}
	for end := time.Now().Add(wait); ; time.Sleep(lockPause) {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = file.Close() }, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			return func() { _ = file.Close() }, nil // a file system without locks
		case time.Now().After(end):
			_ = file.Close()
			return nil, fmt.Errorf("another process has held a lock of the folder %q for %v: end it, or choose another folder", folder, wait)
		}
	}
}
