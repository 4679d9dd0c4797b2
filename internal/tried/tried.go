// SPDX-License-Identifier: Apache-2.0

// Package tried is what packages retry and balance share. Above all, the endpoints at
// which attempts of one call have failed: an attempt's error has the name of its endpoint,
// and the context of the next attempts has the names.
package tried

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
)

// A Set has the names of endpoints. Its methods are safe for concurrent use; a nil Set
// has no names.
type Set struct {
	mu    sync.Mutex
	names []string // one for each failed attempt, so a few
}

type setKey struct{}

// With returns a context that has a new, empty set, and the set.
func With(ctx context.Context) (context.Context, *Set) {
	s := new(Set)
	return context.WithValue(ctx, setKey{}, s), s
}

// From returns the context's set, nil if there is none.
func From(ctx context.Context) *Set {
	s, _ := ctx.Value(setKey{}).(*Set)
	return s
}

// Add adds a name, and reports whether the set did not have it. It ignores an empty one,
// which stands for no endpoint.
func (s *Set) Add(name string) bool {
	if s == nil || name == "" {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hasLocked(name) {
		return false
	}
	s.names = append(s.names, name)
	return true
}

// Remove removes a name: nothing was sent to the endpoint.
func (s *Set) Remove(name string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = slices.DeleteFunc(s.names, func(n string) bool { return n == name })
}

// Has reports whether a name was added.
func (s *Set) Has(name string) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hasLocked(name)
}

// Empty reports whether no name was added.
func (s *Set) Empty() bool {
	if s == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.names) == 0
}

func (s *Set) hasLocked(name string) bool {
	for _, n := range s.names {
		if n == name {
			return true
		}
	}
	return false
}

// A marked error has the name of the endpoint of an attempt that failed with it.
type marked struct {
	error
	endpoint string
}

func (m *marked) Unwrap() error { return m.error }

// Mark returns an error with the text and the tree of err from which [Of] reads the name
// of an endpoint. It returns err itself if err is nil, the name is empty, or err has the
// name of an endpoint already.
func Mark(err error, endpoint string) error {
	if err == nil || endpoint == "" || Of(err) != "" {
		return err
	}
	return &marked{err, endpoint}
}

// Of returns the name of the endpoint with which an error is marked, "" without one.
func Of(err error) string {
	var m *marked
	if errors.As(err, &m) {
		return m.endpoint
	}
	return ""
}

// Unprocessed reports whether an error proves that no server has processed the request:
// the connection could not be opened, or the HTTP/2 transport reports it.
func Unprocessed(err error) bool {
	var u interface{ Unprocessed() bool }
	if errors.As(err, &u) && u.Unprocessed() {
		return true
	}
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// AttemptTimeout is the cause with which the time limit of an attempt ends its context,
// so that it can be told from the deadline of the call. It has the text and the tree of
// [context.DeadlineExceeded].
var AttemptTimeout error = attemptTimeout{}

type attemptTimeout struct{}

func (attemptTimeout) Error() string   { return context.DeadlineExceeded.Error() }
func (attemptTimeout) Unwrap() error   { return context.DeadlineExceeded }
func (attemptTimeout) Timeout() bool   { return true }
func (attemptTimeout) Temporary() bool { return true }
