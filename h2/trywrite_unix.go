// SPDX-License-Identifier: Apache-2.0

// Writing to a socket without waiting, on Unix.
//
// Invariants. The descriptor does not block, so a write returns EAGAIN where it would
// wait. One goroutine at a time uses a rawSocket: the one that has set writer.writing.

//go:build unix

package h2

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// A rawSocket writes as many bytes as the socket's buffer takes.
type rawSocket struct {
	raw        syscall.RawConn
	nc         net.Conn // for errors
	head, body []byte   // bytes that are still to be written
	err        error
	once       func(fd uintptr) bool // the method try, kept as a value so that no call allocates one
}

// rawSocketOf returns the system's view of a socket, nil for all other connections, TLS
// among them. A type that embeds a socket has SyscallConn by promotion, beside a Read
// and a Write of its own that must not be passed over: so the type decides, and not the
// method.
func rawSocketOf(nc net.Conn) (raw syscall.RawConn) {
	var err error
	switch socket := nc.(type) {
	case *net.TCPConn:
		raw, err = socket.SyscallConn()
	case *net.UnixConn:
		raw, err = socket.SyscallConn()
	}
	if err != nil {
		return nil
	}
	return raw
}

// newTryWriter returns nil if nc is not a socket itself.
func newTryWriter(nc net.Conn) tryWriter {
	raw := rawSocketOf(nc)
	if raw == nil {
		return nil
	}
	s := &rawSocket{raw: raw, nc: nc}
	s.once = s.try
	return s
}

func (s *rawSocket) tryWrite(head, body []byte) (int, error) {
	s.head, s.body, s.err = head, body, nil
	err := s.raw.Write(s.once)
	n := len(head) + len(body) - len(s.head) - len(s.body)
	s.head, s.body = nil, nil
	if err == nil {
		err = s.err
	}
	return n, socketError(s.nc, "write", err)
}

// socketError returns an error of a socket in the form that package net gives it.
func socketError(nc net.Conn, op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if raw, ok := errors.AsType[*net.OpError](err); ok {
		err = raw.Err // without the op of RawConn
	}
	return &net.OpError{Op: op, Net: nc.LocalAddr().Network(), Source: nc.LocalAddr(), Addr: nc.RemoteAddr(), Err: err}
}

// try writes until all is written or the socket would block. It returns true, so that
// the poller does not wait.
func (s *rawSocket) try(fd uintptr) bool {
	for len(s.head)+len(s.body) > 0 {
		var n int
		var err error
		switch {
		case len(s.body) == 0:
			n, err = syscall.Write(int(fd), s.head)
		case len(s.head) == 0:
			n, err = syscall.Write(int(fd), s.body)
		default:
			n, err = writev(fd, s.head, s.body)
		}
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return true
		case err != nil:
			s.err = os.NewSyscallError("write", err)
			return true
		}
		ofHead := min(n, len(s.head))
		s.head, s.body = s.head[ofHead:], s.body[n-ofHead:]
	}
	return true
}
