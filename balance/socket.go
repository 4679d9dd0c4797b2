// SPDX-License-Identifier: Apache-2.0

// The connections of an endpoint's http.Transport, which does not close those in use, and
// the errors of connections that could not be opened.

package balance

import (
	"errors"
	"net"
	"sync"
)

// errElsewhere is why a call does not wait for the connection to an endpoint.
var errElsewhere = errors.New("no connection is open, and other endpoints are ready")

// A dialError is the error of a connection that could not be opened.
type dialError struct {
	addr string
	error
}

func (e *dialError) Unwrap() error { return e.error }

// Unprocessed reports that no server has processed the request: it was not sent.
func (e *dialError) Unprocessed() bool { return true }

// sockets are open connections.
type sockets struct {
	mu     sync.Mutex
	open   map[*socket]struct{}
	closed bool
}

func newSockets() *sockets { return &sockets{open: make(map[*socket]struct{})} }

// A socket is a connection that is in sockets until it is closed.
type socket struct {
	net.Conn
	in *sockets
}

// add returns the connection as one of s, and closes it if s is closed.
func (s *sockets) add(nc net.Conn) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = nc.Close()
		return nil, errClosed
	}
	c := &socket{nc, s}
	s.open[c] = struct{}{}
	return c, nil
}

func (c *socket) Close() error {
	c.in.mu.Lock()
	delete(c.in.open, c)
	c.in.mu.Unlock()
	return c.Conn.Close()
}

// close closes all connections, and those that are added later.
func (s *sockets) close() {
	s.mu.Lock()
	s.closed = true
	var all []*socket
	for c := range s.open {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}
