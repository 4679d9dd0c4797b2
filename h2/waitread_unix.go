// SPDX-License-Identifier: Apache-2.0

// Waiting for a socket without a buffer, on Unix.
//
// Invariants. The runtime's poller waits; the descriptor does not block, so a read
// returns EAGAIN where it would wait. One goroutine at a time uses a rawReader.

//go:build unix

package h2

import (
	"io"
	"net"
	"os"
	"syscall"
)

// A rawReader waits for a socket and then reads.
type rawReader struct {
	raw      syscall.RawConn
	nc       net.Conn // for errors
	borrow   func() []byte
	giveBack func()
	n        int
	err      error
	once     func(fd uintptr) bool // the method try, kept as a value so that no call allocates one
}

// newWaitReader returns nil if nc is not a socket itself.
func newWaitReader(nc net.Conn) waitReader {
	raw := rawSocketOf(nc)
	if raw == nil {
		return nil
	}
	r := &rawReader{raw: raw, nc: nc}
	r.once = r.try
	return r
}

func (r *rawReader) read(borrow func() []byte, giveBack func()) (int, error) {
	r.borrow, r.giveBack, r.n, r.err = borrow, giveBack, 0, nil
	err := r.raw.Read(r.once)
	if err == nil {
		err = r.err
	}
	return r.n, socketError(r.nc, "read", err)
}

// try reads once. It returns false if there are no bytes yet: the poller then calls it
// again when there may be.
func (r *rawReader) try(fd uintptr) bool {
	p := r.borrow()
	for {
		n, err := syscall.Read(int(fd), p)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			r.giveBack()
			return false
		case err != nil:
			r.err = os.NewSyscallError("read", err)
		case n == 0:
			r.err = io.EOF
		default:
			r.n = n
		}
		return true
	}
}
