// SPDX-License-Identifier: Apache-2.0

// The state of a Balancer, for people and for metrics.

package balance

import (
	"time"
)

// A Status is a snapshot of a [Balancer].
type Status struct {
	// Endpoints are those of the resolver, for each scheme and host of URLs to which there
	// were calls. Before the first call they have no Origin.
	Endpoints []EndpointStatus
	Resolved  time.Time // when the last set came; zero before the first
	Resolver  error     // the resolver's last error, nil if its last update was a set without bad addresses
	// Panicked is true while ejections are not heeded, because too few endpoints are
	// usable. See [Panic].
	Panicked bool
}

// An EndpointStatus is the state of an endpoint.
type EndpointStatus struct {
	Endpoint
	Origin   string // scheme and host of the URLs, such as "http://greet"
	State    State
	Since    time.Time     // of being connected or not
	InFlight int           // calls
	Latency  time.Duration // the average in which peaks count at once; zero if not known
	// Reason is why the endpoint gets no calls, "" if it does.
	Reason string
	Until  time.Time // of an ejection: then a call is tried
}

// A State is that of an endpoint.
type State string

// The states of endpoints.
const (
	StateIdle       State = "idle"       // there was no call yet
	StateConnecting State = "connecting" // there is no connection
	StateProbing    State = "probing"    // there is a connection, and no probe has succeeded since the last failed one
	StateReady      State = "ready"      // it gets calls
	StateStandby    State = "standby"    // it could, and others are preferred, by Zone or Priority
	StateEjected    State = "ejected"    // its calls failed
	StateDrained    State = "drained"    // its weight is zero
	StateUnused     State = "unused"     // it is not of this client's Subset
)

// Status returns a snapshot.
func (b *Balancer) Status() Status {
	b.mu.Lock()
	r := b.resolution
	b.mu.Unlock()
	s := Status{Resolved: r.at, Resolver: r.err}
	groups := *b.groups.Load()
	if len(groups) == 0 {
		for _, e := range r.set {
			s.Endpoints = append(s.Endpoints, EndpointStatus{Endpoint: e, State: StateIdle, Since: r.at})
		}
	}
	now := clock()
	for _, g := range groups {
		o := g.current.Load()
		s.Panicked = s.Panicked || o.panicked
		used, chosen := make(map[string]bool, len(o.all)), make(map[*endpoint]bool, len(o.candidates))
		for _, e := range o.candidates {
			chosen[e] = true
		}
		for _, e := range o.all {
			used[e.Addr] = true
			status := e.status(now)
			if status.State == StateReady && !chosen[e] {
				status.State, status.Reason = StateStandby, "others are preferred"
			}
			status.Origin = g.url.String()
			s.Endpoints = append(s.Endpoints, status)
		}
		for _, e := range r.set {
			if !used[e.Addr] {
				s.Endpoints = append(s.Endpoints, EndpointStatus{Endpoint: e, Origin: g.url.String(), State: StateUnused, Since: r.at, Reason: "it is not of this client's subset"})
			}
		}
	}
	return s
}

func (e *endpoint) status(now moment) EndpointStatus {
	s := EndpointStatus{Endpoint: e.Endpoint, InFlight: e.load.inflight()}
	if e.load.known() {
		s.Latency = time.Duration(e.load.peak(now))
	}
	out, reason, until := e.health.ejected(now)
	e.mu.Lock()
	defer e.mu.Unlock()
	s.Since = e.changed
	switch {
	case !e.connected:
		s.State, s.Reason = StateConnecting, text(e.lastErr)
		if e.lastErr == nil {
			s.Reason = "there is no connection yet, or no longer"
		}
	case !e.passed:
		s.State, s.Reason = StateProbing, text(e.probeErr)
	case out:
		s.State, s.Reason, s.Until = StateEjected, reason, time.Now().Add(until.Sub(now))
	case e.Weight == 0:
		s.State, s.Reason = StateDrained, "its weight is zero"
	default:
		s.State = StateReady
	}
	return s
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
