// SPDX-License-Identifier: Apache-2.0

// The credentials of a Unix socket's other side, on Linux.

package connect

import (
	"net"
	"syscall"
)

// peerCredentials asks the system for the credentials of a Unix socket's peer.
// [unix(7), SO_PEERCRED]
func peerCredentials(conn net.Conn) (UnixCredentials, bool) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return UnixCredentials{}, false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return UnixCredentials{}, false
	}
	var credentials *syscall.Ucred
	closed := raw.Control(func(fd uintptr) {
		credentials, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if closed != nil || err != nil {
		return UnixCredentials{}, false
	}
	return UnixCredentials{UID: credentials.Uid, GID: credentials.Gid, PID: credentials.Pid}, true
}
