// SPDX-License-Identifier: Apache-2.0

// A listener of a file descriptor that this process has inherited.

//go:build unix

package systemd

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// listenerOf makes the listener of a descriptor, and closes the descriptor: the listener has
// one of its own. If the descriptor is not a listening stream socket it stays open.
func listenerOf(fd int, name string) (net.Listener, error) {
	kind, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE)
	if err != nil {
		return nil, fmt.Errorf("it is not a socket: %w", err)
	}
	if kind != syscall.SOCK_STREAM {
		return nil, fmt.Errorf("its type is %d, expected a stream socket (%d): use ListenStream= in the socket's unit", kind, syscall.SOCK_STREAM)
	}
	// A socket of Accept=yes is one client's connection.
	if listens, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN); err == nil && listens == 0 {
		return nil, fmt.Errorf("it does not listen: set Accept=no in the socket's unit")
	}
	syscall.CloseOnExec(fd)
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	return net.FileListener(file)
}
