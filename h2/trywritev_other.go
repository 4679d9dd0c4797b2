// SPDX-License-Identifier: Apache-2.0

// Writing two pieces of memory to a socket, where one call does not do it.

//go:build unix && !linux

package h2

import "syscall"

// writev writes as much of head as the socket takes; body is for the next call.
func writev(fd uintptr, head, _ []byte) (int, error) {
	return syscall.Write(int(fd), head)
}
