// SPDX-License-Identifier: Apache-2.0

// The endpoints for one scheme and host of URLs, and the choice of those that get calls.
//
// Invariants. Balancer.changing is held when the set changes. mu guards the fields below
// it, and is taken before Balancer.mu and those of backends and health. A choice is made anew when the
// set, the readiness or the ejection of an endpoint has changed; calls that wait for an
// endpoint wait for the next choice.

package balance

import (
	"net/url"
	"sync"
	"sync/atomic"
)

// A group has the endpoints for one scheme and host. There is usually one for a Balancer.
type group struct {
	b       *Balancer
	url     *url.URL // scheme and host
	policy  Policy
	ejector *ejector
	current atomic.Pointer[offer]
	stale   atomic.Bool // a goroutine is about to make the choice anew

	mu        sync.Mutex
	backends  map[string]*backend // by address
	endpoints []*endpoint
}

// An offer is a choice, for calls.
type offer struct {
	choice
	err      error         // why calls do not wait, nil if they do
	replaced chan struct{} // closed when there is another
}

func newGroup(b *Balancer, u *url.URL) *group {
	g := &group{b: b, url: &url.URL{Scheme: u.Scheme, Host: u.Host}, policy: b.config.policy.instance(), backends: make(map[string]*backend)}
	g.ejector, _ = newEjector(b.config.ejection) // Eject has checked it
	g.current.Store(&offer{replaced: make(chan struct{})})
	return g
}

// take makes a set of endpoints that of the group. The caller holds Balancer.changing.
func (g *group) take(set []Endpoint) {
	c := &g.b.config
	set = subset(set, c.subset, c.client, c.chooser.zone)
	g.mu.Lock()
	old, before := g.backends, g.endpoints
	g.mu.Unlock()

	was := make(map[string]*endpoint, len(before))
	for _, e := range before {
		was[e.Addr] = e
	}
	backends, endpoints := make(map[string]*backend, len(set)), make([]*endpoint, len(set))
	var fresh []*backend
	for i, e := range set {
		d := old[e.Addr]
		switch known := was[e.Addr]; {
		case d == nil:
			d = newBackend(g, e)
			fresh = append(fresh, d)
			endpoints[i] = &endpoint{e, d}
		case known.same(&e):
			endpoints[i] = known
		default:
			endpoints[i] = &endpoint{e, d}
		}
		backends[e.Addr] = d
	}
	for _, d := range fresh { // not before the program's function has made all transports: it may panic
		g.b.working.Go(func() { d.run(g.url) })
	}
	hosts := 0
	for _, e := range endpoints {
		if e.Weight > 0 {
			hosts++
			e.health.join()
		}
	}
	g.ejector.setHosts(hosts)
	g.mu.Lock()
	g.backends, g.endpoints = backends, endpoints
	g.mu.Unlock()
	g.refresh()
	for _, e := range endpoints { // after the choice without them
		if e.Weight == 0 {
			e.health.leave()
		}
	}
	for addr, d := range old {
		if backends[addr] == nil {
			d.remove()
		}
	}
}

// changed makes the choice anew, soon, after an endpoint has changed. Where many change at
// a time, not each makes one.
func (g *group) changed() {
	if !g.stale.Swap(true) {
		g.refresh()
	}
}

// refresh makes the choice anew.
func (g *group) refresh() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stale.Store(false) // before it looks at the endpoints
	g.b.mu.Lock()
	err := g.b.resolution.none()
	g.b.mu.Unlock()
	o := &offer{replaced: make(chan struct{}), err: err}
	o.choice = g.b.config.chooser.choose(clock(), g.endpoints, func(e *endpoint) bool { return e.ready.Load() })
	if o.err == nil && g.b.config.failFast && len(o.candidates) == 0 && len(o.trials) == 0 {
		o.err = g.unreachableLocked()
	}
	last := g.current.Swap(o)
	close(last.replaced)
}

// unreachableLocked returns an error if connections to all endpoints have failed.
func (g *group) unreachableLocked() error {
	if len(g.endpoints) == 0 {
		return nil
	}
	var last error
	for _, e := range g.endpoints {
		e.mu.Lock()
		failed, err := e.failed, e.lastErr
		if err == nil {
			err = e.probeErr
		}
		e.mu.Unlock()
		if !failed && err == nil {
			return nil
		}
		if err != nil {
			last = err
		}
	}
	return &errNotReady{endpoints: len(g.endpoints), last: last}
}

// others reports whether calls find another endpoint than d.
func (g *group) others(d *backend) bool {
	for _, e := range g.current.Load().candidates {
		if e.backend != d && e.ready.Load() {
			return true
		}
	}
	return false
}

// whyNot returns the last error of an endpoint that could not be reached, for texts.
func (g *group) whyNot() (n int, last error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.endpoints {
		e.mu.Lock()
		switch {
		case e.lastErr != nil:
			last = e.lastErr
		case e.probeErr != nil && last == nil:
			last = e.probeErr
		}
		e.mu.Unlock()
	}
	return len(g.endpoints), last
}
