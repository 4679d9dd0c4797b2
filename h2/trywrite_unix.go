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
	raw        syscall.RawConn
	network    string // for errors
	head, body []byte // what is left of them
	err        error
	// once is the method try: a value of its own, so that no call allocates one.
	once func(fd uintptr) bool
}

// newTryWriter returns nil for connections that are not sockets themselves. A type that
// embeds one has its SyscallConn, too, beside a Write of its own that must not be passed
// over: so the type counts, and not its methods.
func newTryWriter(nc net.Conn) tryWriter {
	var raw syscall.RawConn
	var err error
	switch socket := nc.(type) {
	case *net.TCPConn:
		raw, err = socket.SyscallConn()
	case *net.UnixConn:
		raw, err = socket.SyscallConn()
	default:
		return nil
	}
	if err != nil {
		return nil
	}
	s := &rawSocket{raw: raw, network: nc.LocalAddr().Network()}
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
	return n, err
}

// try is called once, whether or not all was taken: the rest is for who may wait.
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
			s.err = &net.OpError{Op: "write", Net: s.network, Err: err}
			return true
		}
		ofHead := min(n, len(s.head))
		s.head, s.body = s.head[ofHead:], s.body[n-ofHead:]
	}
	return true
}
