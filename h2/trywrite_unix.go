// SPDX-License-Identifier: Apache-2.0

// Writing to a socket without waiting, where the system has it.

//go:build unix

package h2

import (
	"net"
	"syscall"
)

// rawSocket writes to a socket as far as its buffer takes it. One goroutine at a
// time uses it.
type rawSocket struct {
	raw  syscall.RawConn
	data []byte
	n    int
	err  error
	// once is the method try: a value of its own, so that no call allocates one.
	once func(fd uintptr) bool
}

// newTryWriter returns nil for connections that are not sockets, such as those
// with TLS.
func newTryWriter(nc net.Conn) tryWriter {
	socket, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	s := &rawSocket{raw: raw}
	s.once = s.try
	return s
}

func (s *rawSocket) tryWrite(b []byte) (int, error) {
	s.data, s.n, s.err = b, 0, nil
	err := s.raw.Write(s.once)
	s.data = nil
	if err == nil {
		err = s.err
	}
	return s.n, err
}

func (s *rawSocket) try(fd uintptr) bool {
	for s.n < len(s.data) {
		n, err := syscall.Write(int(fd), s.data[s.n:])
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return true // no room: the rest is for who may wait
		case err != nil:
			s.err = &net.OpError{Op: "write", Net: "tcp", Err: err}
			return true
		}
		s.n += n
	}
	return true
}
