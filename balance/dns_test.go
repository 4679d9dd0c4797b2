// SPDX-License-Identifier: Apache-2.0

package balance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A zone is what a fake DNS server knows. Tests change it between lookups.
type zone struct {
	mu      sync.Mutex
	hosts   map[string][]string // addresses
	errs    map[string]error
	records []*net.SRV
	takes   time.Duration // of a lookup
	lookups []time.Time   // of SRV records if there are some, else of addresses
	open    int           // lookups of addresses at a time
	most    int
}

func (z *zone) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	z.mu.Lock()
	if z.records == nil {
		z.lookups = append(z.lookups, time.Now())
	}
	z.open++
	z.most = max(z.most, z.open)
	takes := z.takes
	z.mu.Unlock()
	defer func() {
		z.mu.Lock()
		z.open--
		z.mu.Unlock()
	}()
	if network != "ip" {
		return nil, fmt.Errorf("network %q", network)
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if err := z.errs[host]; err != nil {
		return nil, err
	}
	var found []netip.Addr
	for _, a := range z.hosts[host] {
		found = append(found, netip.MustParseAddr(a))
	}
	return found, nil
}

func (z *zone) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.lookups = append(z.lookups, time.Now())
	if service != "" || proto != "" {
		return "", nil, errors.New("expected the whole name")
	}
	return name, z.records, z.errs[name]
}

func (z *zone) set(f func()) {
	z.mu.Lock()
	defer z.mu.Unlock()
	f()
}

func notFound(host string) error {
	return &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// A watcher has what a Watch has found.
type watcher struct {
	*testing.T
	zone     *zone
	resolver *dnsResolver
	mu       sync.Mutex
	updates  []string // endpoints, or "error: ", with the text
	stop     func()
}

// watch runs a Watch in a synctest bubble.
func watch(t *testing.T, z *zone, name string, options ...DNSOption) *watcher {
	w := &watcher{T: t, zone: z, resolver: DNS(name, options...).(*dnsResolver)}
	w.resolver.lookup = z
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- w.resolver.Watch(ctx, func(set []Endpoint, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if err != nil {
				w.updates = append(w.updates, "error: "+err.Error())
				return
			}
			var s []string
			for _, e := range set {
				s = append(s, fmt.Sprintf("%s/%d/%d", e.Addr, e.Priority, e.Weight))
			}
			w.updates = append(w.updates, strings.Join(s, " "))
		})
	}()
	w.stop = func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch: got %v, want the context's error", err)
		}
		if n := len(w.resolver.watches); n != 0 {
			t.Errorf("got %d watches after the end, want 0", n)
		}
	}
	return w
}

// want waits for a time, and checks the updates in it.
func (w *watcher) want(wait time.Duration, updates ...string) {
	w.Helper()
	time.Sleep(wait)
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.updates, updates) {
		w.Errorf("got the updates %q, want %q", w.updates, updates)
	}
	w.updates = nil
}

// count returns the number of lookups since the last count.
func (w *watcher) count() int {
	w.zone.mu.Lock()
	defer w.zone.mu.Unlock()
	n := len(w.zone.lookups)
	w.zone.lookups = nil
	return n
}

func TestDNSAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{hosts: map[string][]string{"greet.example": {"10.0.0.2", "2001:db8::1", "::ffff:10.0.0.1", "10.0.0.2"}}}
		w := watch(t, z, "greet.example:8080", Every(5*time.Second))
		defer w.stop()
		w.want(0, "10.0.0.1:8080/0/1 10.0.0.2:8080/0/1 [2001:db8::1]:8080/0/1")
		w.want(time.Minute) // no update without a change
		z.set(func() { z.hosts["greet.example"] = []string{"10.0.0.3"} })
		w.want(5*time.Second, "10.0.0.3:8080/0/1")
	})
}

func TestDNSInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{hosts: map[string][]string{"a": {"10.0.0.1"}}}
		w := watch(t, z, "a:80")
		defer w.stop()
		time.Sleep(1000 * time.Second)
		z.mu.Lock()
		defer z.mu.Unlock()
		for i, at := range z.lookups[1:] {
			if d := at.Sub(z.lookups[i]); d < 9*time.Second || d > 10*time.Second {
				t.Errorf("got a lookup after %v, want 9 s to 10 s", d)
			}
		}
		if n := len(z.lookups); n < 100 || n > 112 {
			t.Errorf("got %d lookups in 1000 s, want 100 to 112", n)
		}
	})
}

func TestDNSKeepsTheLastSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{hosts: map[string][]string{"a": {"10.0.0.1"}}, errs: map[string]error{}}
		w := watch(t, z, "a:80", Every(8*time.Second))
		defer w.stop()
		w.want(0, "10.0.0.1:80/0/1")
		w.count()
		z.set(func() { z.errs["a"] = errors.New("server misbehaving") })
		failure := `error: looking up "a:80": server misbehaving`
		// At 8 s, and after pauses of 1, 2, 4, 8 and 8 s; each up to a tenth earlier.
		w.want(33*time.Second, failure, failure, failure, failure, failure, failure)
		if n := w.count(); n != 6 {
			t.Errorf("got %d lookups in 33 s of failures, want 6", n)
		}
		z.set(func() { z.errs, z.hosts["a"] = nil, nil })
		w.want(8*time.Second, `error: looking up "a:80": no records`)
		z.set(func() { z.hosts["a"] = []string{"10.0.0.1"} })
		w.want(8*time.Second, "10.0.0.1:80/0/1") // the same set, to end the error
		w.want(time.Minute)
	})
}

func TestDNSRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{hosts: map[string][]string{"a": {"10.0.0.1"}}}
		w := watch(t, z, "a:80", Every(time.Minute))
		defer w.stop()
		w.want(10*time.Second, "10.0.0.1:80/0/1")
		w.count()

		z.set(func() { z.hosts["a"] = []string{"10.0.0.2"} })
		w.resolver.Refresh()
		w.want(0, "10.0.0.2:80/0/1") // at once

		// A thousand of them in ten seconds are one lookup a second.
		w.count()
		for range 1000 {
			w.resolver.Refresh()
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		if n := w.count(); n < 9 || n > 11 {
			t.Errorf("got %d lookups in ten seconds, want 9 to 11", n)
		}
		time.Sleep(2 * time.Second)
		w.count()
		time.Sleep(50 * time.Second)
		if n := w.count(); n != 0 {
			t.Errorf("got %d lookups without a Refresh before the interval, want 0", n)
		}
	})
}

func TestDNSRefreshOfTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{hosts: map[string][]string{"a": {"10.0.0.1"}}}
		r := DNS("a:80", Every(time.Hour)).(*dnsResolver)
		r.Refresh() // without a Watch
		r.lookup = z
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for range 2 {
			running.Go(func() { _ = r.Watch(ctx, func([]Endpoint, error) {}) })
		}
		time.Sleep(time.Minute)
		r.Refresh()
		time.Sleep(time.Minute)
		cancel()
		running.Wait()
		if n := len(z.lookups); n != 4 {
			t.Errorf("got %d lookups of two watches, want 4", n)
		}
	})
}

func TestDNSServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{
			hosts: map[string][]string{"one.": {"10.0.0.1", "2001:db8::1"}, "two.": {"10.0.0.2"}, "three.": {"10.0.0.3"}, ".": {"10.0.0.4"}},
			errs:  map[string]error{},
			records: []*net.SRV{
				{Target: "one.", Port: 81, Priority: 1, Weight: 60}, {Target: "two.", Port: 82, Priority: 1, Weight: 40},
				{Target: "two.", Port: 83, Priority: 2, Weight: 0}, {Target: ".", Port: 84}, {Target: "three.", Port: 0},
			},
		}
		const one, two = "10.0.0.1:81/1/60", "10.0.0.2:82/1/40"
		const all = one + " " + two + " [2001:db8::1]:81/1/60 10.0.0.2:83/2/1"
		w := watch(t, z, "_grpc._tcp.greet.example")
		defer w.stop()
		w.want(0, all)
		// A target whose lookup fails keeps its addresses.
		z.set(func() { z.errs["two."] = errors.New("server misbehaving") })
		w.want(time.Minute)
		// One that does not exist is left out.
		z.set(func() { z.errs["two."] = notFound("two.") })
		w.want(10*time.Second, one+" [2001:db8::1]:81/1/60")
		// It is not known from before: an error that comes then leaves it out, too.
		z.set(func() { z.errs["two."] = errors.New("server misbehaving") })
		w.want(time.Minute)
		z.set(func() { z.errs["two."] = nil })
		w.want(10*time.Second, all)
		// All targets are lost: the set stays.
		z.set(func() { z.errs["one."], z.errs["two."] = notFound("one."), notFound("two.") })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		w.mu.Lock()
		if len(w.updates) == 0 || !strings.Contains(w.updates[0], "no such host") {
			t.Errorf("got the updates %q, want the error of a target", w.updates)
		}
		w.mu.Unlock()
		z.set(func() { clear(z.errs); z.errs["_grpc._tcp.greet.example"] = errors.New("refused") })
		z.set(func() { z.records = []*net.SRV{} })
		time.Sleep(time.Minute)
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		if last := w.updates[len(w.updates)-1]; last != `error: looking up "_grpc._tcp.greet.example": refused` {
			t.Errorf("got %q, want the error of the SRV lookup", last)
		}
	})
}

// TestDNSRefreshDuringLookup checks that a Refresh during a lookup leads to another one:
// the answer may be from before the trouble.
func TestDNSRefreshDuringLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{hosts: map[string][]string{"a": {"10.0.0.1"}}, takes: 300 * ms}
		w := watch(t, z, "a:80", Every(time.Minute))
		defer w.stop()
		w.want(100 * ms)
		w.resolver.Refresh()
		w.want(10*time.Second, "10.0.0.1:80/0/1")
		z.mu.Lock()
		defer z.mu.Unlock()
		if n := len(z.lookups); n != 2 || z.lookups[1].Sub(z.lookups[0]) != dnsLeast {
			t.Errorf("got lookups at %v, want 2 with %v between them", z.lookups, dnsLeast)
		}
	})
}

// TestDNSForgetsTargets checks what is kept of targets for the next lookup.
func TestDNSForgetsTargets(t *testing.T) {
	z := &zone{hosts: map[string][]string{"one.": {"10.0.0.1"}, "two.": {"10.0.0.2"}}}
	r := DNS("_grpc._tcp.greet.example").(*dnsResolver)
	r.lookup = z
	targets := make(map[string][]netip.Addr)
	for _, target := range []string{"one.", "two."} {
		z.records = []*net.SRV{{Target: target, Port: 80}}
		if _, err := r.find(t.Context(), targets); err != nil || len(targets) != 1 || len(targets[target]) != 1 {
			t.Errorf("got %v, %v, want the addresses of %s", targets, err, target)
		}
	}
}

// TestDNSIsBounded has a service with 10 000 targets, and a server that does not answer.
func TestDNSIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{hosts: make(map[string][]string)}
		for i := range 10_000 {
			name := fmt.Sprint("target", i)
			z.hosts[name] = []string{netip.AddrFrom4([4]byte{10, 0, byte(i / 256), byte(i)}).String()}
			z.records = append(z.records, &net.SRV{Target: name, Port: 80})
		}
		z.takes = time.Millisecond
		r := DNS("_grpc._tcp.greet.example").(*dnsResolver)
		r.lookup = z
		found, err := r.find(t.Context(), make(map[string][]netip.Addr))
		if len(found) != dnsMost || err != nil || z.most > dnsAtOnce {
			t.Errorf("got %d endpoints by up to %d lookups at a time, %v, want %d by %d", len(found), z.most, err, dnsMost, dnsAtOnce)
		}
		z.takes = time.Hour
		began := time.Now()
		if _, err = r.find(t.Context(), nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != dnsPatience {
			t.Errorf("got %v after %v, want the end of patience after %v", err, time.Since(began), dnsPatience)
		}
		w := watch(t, z, "target0:80")
		time.Sleep(time.Second)
		w.stop() // while a lookup hangs
	})
}

func TestDNSNames(t *testing.T) {
	for _, name := range []string{"greet.example:443", "10.0.0.1:80", "[::1]:80", "_grpc._tcp.greet.example", "a:65535"} {
		if err := DNS(name).(*dnsResolver).check(false); err != nil {
			t.Errorf("%q: got %v, want no error", name, err)
		}
	}
	for name, want := range map[string]string{
		"": "missing port", "greet.example": "missing port", "::1": "too many colons", ":80": "no host", "a:": "port \"\"",
		"a:http": "port \"http\"", "a:0": "port \"0\"", "a:65536": "port \"65536\"", "a:-1": "port \"-1\"",
		"_grpc": "SRV", "_grpc._tcp": "SRV", "_grpc.tcp.greet": "SRV", "_grpc._tcp.": "SRV", "http://a:80": "too many colons",
	} {
		r := DNS(name).(*dnsResolver)
		err := r.check(false)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "greet.example:443") {
			t.Errorf("%q: got %v, want an error with %q and the form", name, err, want)
		}
		var updated error
		if got := r.Watch(t.Context(), func(_ []Endpoint, err error) { updated = err }); got != err || updated != err {
			t.Errorf("%q: got %v and the update %v of Watch, want %v", name, got, updated, err)
		}
	}
}

// TestDNSDefault looks up an address with the resolver of package net, which needs no
// network for it.
func TestDNSDefault(t *testing.T) {
	for _, r := range []Resolver{DNS("[::1]:80"), DNS("[::1]:80", NetResolver(new(net.Resolver)))} {
		ctx, cancel := context.WithCancel(t.Context())
		_ = r.Watch(ctx, func(set []Endpoint, err error) {
			if err != nil || len(set) != 1 || set[0].Addr != "[::1]:80" || set[0].Weight != 1 {
				t.Errorf("got %v, %v, want the address", set, err)
			}
			cancel()
		})
	}
}
