// SPDX-License-Identifier: Apache-2.0

// A connection as http.Transport.NewClientConn returns it: it belongs to no pool, and
// its user reserves places on it.
//
// Invariants. Its host has single set and no other connection. reserved counts the
// places that are taken on the connection and not used by a call yet.

package h2

import (
	"errors"
	"net"
	"net/http"
	"sync"
)

// NewClientConn makes a connection that http.Transport.NewClientConn has dialed one of
// its own. It calls changed, without locks, when a call ends, the peer's limit changes,
// or the connection is over. The result has the methods that net/http looks for.
func (p pooled) NewClientConn(nc net.Conn, changed func()) (http.RoundTripper, error) {
	t := p.Within.t
	t.settle()
	h := newHost(t, false, nc.RemoteAddr().String())
	h.single, h.onChange = true, changed
	c, err := h.add(nc)
	if err != nil {
		return nil, err
	}
	return &singleConn{conn: c}, nil
}

// A singleConn is the only connection of its host. Its methods are safe for concurrent
// use.
type singleConn struct {
	conn *clientConn

	mu       sync.Mutex
	reserved int // places that RoundTrip will use or Release give back
}

var errUnavailable = errors.New("h2: the connection takes no more calls")

// RoundTrip sends a request on a reserved place. Without one it waits for a place.
func (s *singleConn) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := check(r); err != nil {
		s.Release()
		closeBody(r)
		return nil, err
	}
	original := r
	for placed := s.take(); ; placed = false {
		if !placed {
			if _, err := s.conn.host.get(r.Context(), canceledOf(r), true); err != nil {
				closeBody(r)
				return nil, s.explain(err)
			}
		}
		response, err := s.conn.roundTrip(r)
		failed, again := err.(unprocessedError)
		if err == nil {
			response.Request = original
			return response, nil
		}
		if !again {
			return nil, err
		}
		if failed.error != errNoPlace {
			if !failed.bodyUsed {
				closeBody(r)
			}
			return nil, failed.last()
		}
		if r, err = replay(r, failed); err != nil {
			return nil, err
		}
	}
}

// explain returns the reason why there is no place.
func (s *singleConn) explain(err error) error {
	if err != errNoConn {
		return err
	}
	if err = s.Err(); err == nil {
		err = errUnavailable
	}
	return err
}

// take uses a reservation, and reports whether there was one.
func (s *singleConn) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reserved == 0 {
		return false
	}
	s.reserved--
	return true
}

// Reserve reserves a place, or returns an error if there is none.
func (s *singleConn) Reserve() error {
	h := s.conn.host
	h.mu.Lock()
	placed := h.pickLocked() != nil
	h.mu.Unlock()
	if !placed {
		return s.explain(errNoConn)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserved++
	return nil
}

// Release gives a reservation back, if there is one.
func (s *singleConn) Release() {
	if s.take() {
		s.conn.giveBack()
	}
}

// Available returns how many places are free.
func (s *singleConn) Available() int {
	if s.conn.retired.Load() {
		return 0
	}
	return max(0, int(s.conn.max.Load()-s.conn.active.Load()))
}

// InFlight returns how many places are taken.
func (s *singleConn) InFlight() int {
	if s.Err() != nil {
		return 0
	}
	return int(s.conn.active.Load())
}

// Err returns the reason for the connection's end, nil if it is open.
func (s *singleConn) Err() error {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && c.ending {
		return errClosed
	}
	return c.err
}

// Close ends the connection at once. Calls that are under way fail.
func (s *singleConn) Close() error {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked(errClosed)
	return nil
}

// notify calls onChange in a goroutine, as its caller may hold locks.
func (h *host) notify() {
	if h.onChange != nil {
		go h.onChange()
	}
}
