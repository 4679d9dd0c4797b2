// SPDX-License-Identifier: Apache-2.0

// Writing two pieces of memory to a socket, on systems other than Linux: in two calls.

//go:build unix && !linux

package h2

import "syscall"

// writev writes as much of head as the socket takes. The next call writes body.
func writev(fd uintptr, head, _ []byte) (int, error) {
	return syscall.Write(int(fd), head)
}
