// SPDX-License-Identifier: Apache-2.0

// Endpoints from the DNS: addresses of a host, or SRV records.

package balance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	dnsEvery    = 10 * time.Second
	dnsLeast    = time.Second      // between the beginnings of two lookups
	dnsPatience = 10 * time.Second // of a lookup of all records
	dnsMost     = 4096             // endpoints
	dnsAtOnce   = 8                // lookups of SRV targets
	dnsForms    = "expected host:port, for example \"greet.example:443\", or a name of SRV records, for example \"_grpc._tcp.greet.example\""
)

// DNS returns a resolver that looks up a name in the DNS, once in 10 s (see [Every]), and
// when endpoints cannot be reached, at most once a second. The name is one of
//
//   - host:port: an endpoint for each A and AAAA record, all with the weight 1.
//   - _service._proto.name: an endpoint for each address of each target of the SRV records
//     (RFC 2782), with the record's port, priority and weight. The weight 0, which means
//     little there and "drained" here, becomes 1. A target's weight is that of each of its
//     addresses.
//
// A lookup that fails or finds nothing keeps the endpoints of the last one, and is
// repeated after 1 s, 2 s, 4 s and so on, up to the interval. The same holds for each
// target of SRV records, unless the DNS answers that it does not exist. At most 4096
// endpoints are taken. A name of another form is an error of [New].
func DNS(name string, options ...DNSOption) Resolver {
	r := &dnsResolver{name: name, every: dnsEvery, lookup: net.DefaultResolver, watches: make(map[chan struct{}]bool)}
	for _, o := range options {
		if o == nil {
			r.bad = fmt.Errorf("balance: DNS(%q): an option is nil", name)
			return r
		}
		o(r)
	}
	if strings.HasPrefix(name, "_") {
		if parts := strings.SplitN(name, ".", 3); len(parts) < 3 || !strings.HasPrefix(parts[1], "_") || parts[2] == "" {
			r.bad = fmt.Errorf("balance: DNS(%q): no name of SRV records: %s", name, dnsForms)
		}
		return r
	}
	host, port, err := net.SplitHostPort(name)
	if err == nil && host == "" {
		err = errors.New("no host")
	}
	if err == nil {
		var n uint64
		if n, err = strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			err = fmt.Errorf("the port %q is not a number from 1 to 65535", port)
		}
		r.port = uint16(n)
	} else if address := (*net.AddrError)(nil); errors.As(err, &address) {
		err = errors.New(address.Err)
	}
	if err != nil {
		r.bad = fmt.Errorf("balance: DNS(%q): %w: %s", name, err, dnsForms)
	}
	r.host = host
	return r
}

// A DNSOption changes the resolver of [DNS].
type DNSOption func(*dnsResolver)

// Every sets the time from one lookup to the next: 10 s by default, and at least 1 s.
// Lookups come up to a tenth earlier, at random, so that clients that began together do
// not meet at the DNS server. It panics for less than 1 s.
func Every(interval time.Duration) DNSOption {
	check(interval >= dnsLeast, "Every(%v): expected at least %v", interval, dnsLeast)
	return func(r *dnsResolver) { r.every = interval }
}

// NetResolver sets where names are looked up: [net.DefaultResolver] by default.
func NetResolver(resolver *net.Resolver) DNSOption {
	check(resolver != nil, "NetResolver(nil): expected a resolver, for example net.DefaultResolver")
	return func(r *dnsResolver) { r.lookup = resolver }
}

// A lookup has the methods of *net.Resolver that are needed.
type lookup interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
}

type dnsResolver struct {
	name   string
	host   string // "": name is that of SRV records
	port   uint16
	bad    error // what is wrong with name
	every  time.Duration
	lookup lookup

	mu      sync.Mutex
	watches map[chan struct{}]bool // a value in the channel asks for a lookup
}

// check returns what is wrong with the name, or nil. New calls it.
func (r *dnsResolver) check(bool) error { return r.bad }

// Refresh asks all watches for a lookup as soon as one is allowed. It does not block.
func (r *dnsResolver) Refresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for wake := range r.watches {
		select {
		case wake <- struct{}{}:
		default: // asked for already
		}
	}
}

// Watch calls update after the lookups that find other endpoints than the one before, and
// after those that fail. It returns when the context ends.
func (r *dnsResolver) Watch(ctx context.Context, update func([]Endpoint, error)) error {
	if r.bad != nil {
		update(nil, r.bad)
		return r.bad
	}
	wake := make(chan struct{}, 1)
	r.mu.Lock()
	r.watches[wake] = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watches, wake)
	}()

	var last []Endpoint
	targets := make(map[string][]netip.Addr)
	failures := 0
	for {
		began := time.Now()
		found, err := r.find(ctx, targets)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			update(nil, err)
		case failures > 0 || !slices.EqualFunc(found, last, sameEndpoint):
			last = found
			update(last, nil)
		}
		wait := r.every
		if failures++; err == nil {
			failures = 0
		} else if failures < 16 {
			wait = min(dnsLeast<<(failures-1), wait)
		}
		if !pause(ctx, wake, began, max(wait-rand.N(wait/10+1), dnsLeast)) {
			return ctx.Err()
		}
	}
}

// pause waits until wait after began, or if a value comes from wake, until dnsLeast after
// it. It returns false if the context ends before.
func pause(ctx context.Context, wake <-chan struct{}, began time.Time, wait time.Duration) bool {
	timer := time.NewTimer(wait - time.Since(began))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-wake:
			wake = nil
			timer.Reset(dnsLeast - time.Since(began))
		}
	}
}

// find looks up the endpoints, in ascending order and without duplicates. targets are the
// addresses of the last lookup, for each target of SRV records.
func (r *dnsResolver) find(ctx context.Context, targets map[string][]netip.Addr) (endpoints []Endpoint, err error) {
	ctx, cancel := context.WithTimeout(ctx, dnsPatience)
	defer cancel()
	if r.host != "" {
		var found []netip.Addr
		found, err = r.lookup.LookupNetIP(ctx, "ip", r.host)
		endpoints = withPort(found, Endpoint{Weight: 1}, r.port)
	} else {
		endpoints, err = r.services(ctx, targets)
	}
	if err == nil && len(endpoints) == 0 {
		err = errors.New("no records")
	}
	if err != nil {
		return nil, fmt.Errorf("looking up %q: %w", r.name, err)
	}
	slices.SortFunc(endpoints, func(a, b Endpoint) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Addr, b.Addr), cmp.Compare(b.Weight, a.Weight))
	})
	endpoints = slices.CompactFunc(endpoints, func(a, b Endpoint) bool { return a.Priority == b.Priority && a.Addr == b.Addr })
	return endpoints[:min(len(endpoints), dnsMost)], nil
}

// withPort returns like, with a port, for each address.
func withPort(found []netip.Addr, like Endpoint, port uint16) []Endpoint {
	endpoints := make([]Endpoint, 0, len(found))
	for _, address := range found {
		e := like
		e.Addr = netip.AddrPortFrom(address.Unmap(), port).String()
		endpoints = append(endpoints, e)
	}
	return endpoints
}

// services returns the endpoints of SRV records. It replaces the contents of targets.
func (r *dnsResolver) services(ctx context.Context, targets map[string][]netip.Addr) ([]Endpoint, error) {
	_, records, err := r.lookup.LookupSRV(ctx, "", "", r.name)
	if len(records) == 0 && err != nil {
		return nil, err
	}
	// RFC 2782: a target of "." means that the service is not offered.
	records = slices.DeleteFunc(slices.Clone(records), func(s *net.SRV) bool { return s.Target == "" || s.Target == "." || s.Port == 0 })
	records = records[:min(len(records), dnsMost)]

	distinct := make(map[string]bool)
	for _, s := range records {
		distinct[s.Target] = true
	}
	var mu sync.Mutex
	var running sync.WaitGroup
	found := make(map[string][]netip.Addr)
	err = nil
	slots := make(chan struct{}, dnsAtOnce)
	for target := range distinct {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			addresses, failure := r.lookup.LookupNetIP(ctx, "ip", target)
			mu.Lock()
			defer mu.Unlock()
			if failure != nil {
				err = failure
				var d *net.DNSError
				if !errors.As(failure, &d) || !d.IsNotFound {
					addresses = targets[target]
				}
			}
			found[target] = addresses
		})
	}
	running.Wait()
	var endpoints []Endpoint
	for _, s := range records {
		like := Endpoint{Priority: int(s.Priority), Weight: uint32(max(s.Weight, 1))}
		endpoints = append(endpoints, withPort(found[s.Target], like, s.Port)...)
	}
	if len(endpoints) == 0 {
		return nil, err
	}
	clear(targets)
	maps.Copy(targets, found)
	return endpoints, nil
}

// sameEndpoint reports whether two endpoints from the DNS are equal.
func sameEndpoint(a, b Endpoint) bool {
	return a.Addr == b.Addr && a.Weight == b.Weight && a.Priority == b.Priority
}
