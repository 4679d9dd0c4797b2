// SPDX-License-Identifier: Apache-2.0

// Writing two pieces of memory to a socket in one system call, on Linux.

package h2

import (
	"syscall"
	"unsafe"
)

// writev writes as much of head and body as the socket takes.
func writev(fd uintptr, head, body []byte) (int, error) {
	pieces := [2]syscall.Iovec{{Base: unsafe.SliceData(head)}, {Base: unsafe.SliceData(body)}}
	pieces[0].SetLen(len(head))
	pieces[1].SetLen(len(body))
	n, _, err := syscall.Syscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&pieces)), uintptr(len(pieces)))
	if err != 0 {
		return 0, err
	}
	return int(n), nil
}
