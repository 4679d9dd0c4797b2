// SPDX-License-Identifier: Apache-2.0

// The statuses that a server has.

package health

import (
	"context"
	"sync"
)

// A Server holds the statuses of services: make one with [New], and serve it with
// [NewHandler]. It is safe for concurrent use.
//
// A service has the status that the program set last, with two exceptions: while a [Check]
// that it depends on fails, a service that is set to serving is not serving; and after
// Shutdown none is.
type Server struct {
	draining context.Context // ends with Shutdown
	drain    context.CancelFunc

	mu       sync.RWMutex
	services map[string]Status // as set, "" for the whole server
	checks   []*check
	running  bool          // Run was called: checks does not change any more
	changed  chan struct{} // closed, and replaced, when a status may have changed
}

// New returns a server whose services are serving: those with the given full names, such as
// "acme.foo.v1.FooService", and the server as a whole, whose name is "".
func New(services ...string) *Server {
	s := &Server{services: map[string]Status{"": StatusServing}, changed: make(chan struct{})}
	s.draining, s.drain = context.WithCancel(context.Background())
	for _, service := range services {
		s.services[service] = StatusServing
	}
	return s
}

// Set sets the status of a service, and adds the service if the server does not have it.
// The name "" is the server as a whole, whose status is independent of those of its
// services. [StatusServiceUnknown] removes the service: Check then fails with CodeNotFound.
// After Shutdown Set has no effect.
func (s *Server) Set(service string, status Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch before, known := s.services[service]; {
	case s.draining.Err() != nil:
		return
	case status == StatusServiceUnknown:
		delete(s.services, service)
	case known && before == status:
		return
	default:
		s.services[service] = status
	}
	s.wake()
}

// Status returns the status of a service, which is [StatusServiceUnknown] if the server
// does not have it.
func (s *Server) Status(service string) Status {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.status(service)
}

// Statuses returns the statuses of all services, with "" for the server as a whole.
func (s *Server) Statuses() map[string]Status {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make(map[string]Status, len(s.services))
	for service := range s.services {
		all[service] = s.status(service)
	}
	return all
}

// Shutdown makes all services not serving, for good, and ends the calls of Watch: each gets
// the last status, if its client reads it within a second, and then an error with
// CodeUnavailable. It also ends Run. Shutdown does not wait. Call it when the server stops
// taking calls, before [net/http.Server.Shutdown], which waits for calls that go on.
func (s *Server) Shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drain()
	s.wake()
}

// status returns the status of a service, under the lock.
func (s *Server) status(service string) Status {
	set, known := s.services[service]
	switch {
	case !known:
		return StatusServiceUnknown
	case s.draining.Err() != nil:
		return StatusNotServing
	case set != StatusServing:
		return set
	}
	for _, c := range s.checks {
		if !c.passing && c.concerns(service) {
			return StatusNotServing
		}
	}
	return set
}

// look returns the status of a service, and a channel that is closed when the status may
// have changed. Watchers share the channel: the server keeps nothing for each of them, nor
// for the name that a client chose.
func (s *Server) look(service string) (Status, <-chan struct{}) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.status(service), s.changed
}

// wake has the watchers look again. The caller has the lock.
func (s *Server) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}
