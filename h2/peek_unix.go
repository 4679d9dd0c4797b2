// SPDX-License-Identifier: Apache-2.0

// Looking at a socket's first bytes without taking them, on Unix.

//go:build unix

package h2

import (
	"io"
	"net"
	"os"
	"syscall"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// canPeek reports whether peekPreface works for nc.
func canPeek(nc net.Conn) bool { return rawSocketOf(nc) != nil }

// peekPreface waits for a client's first bytes, reports whether they are the whole preface
// of HTTP/2 [RFC 9113, section 3.4], and leaves them in the socket. It returns an error if
// the client closes the connection before its first byte, or the read deadline passes.
//
// It looks once. A client may send the preface in pieces, though none does; as long as
// there is a piece, the end of the connection behind it cannot be seen without taking it.
func peekPreface(nc net.Conn) (greets bool, err error) {
	var ended error
	err = rawSocketOf(nc).Read(func(fd uintptr) bool {
		var first [len(wire.ClientPreface)]byte
		for {
			n, _, err := syscall.Recvfrom(int(fd), first[:], syscall.MSG_PEEK)
			switch {
			case err == syscall.EINTR:
				continue
			case err == syscall.EAGAIN:
				return false
			case err != nil:
				ended = os.NewSyscallError("recvfrom", err)
			case n == 0:
				ended = io.EOF
			default:
				greets = string(first[:n]) == wire.ClientPreface
			}
			return true
		}
	})
	if err == nil {
		err = ended
	}
	return greets, err
}
