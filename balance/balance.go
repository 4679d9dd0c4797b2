// SPDX-License-Identifier: Apache-2.0

// Package balance spreads the calls of clients over the endpoints of a service, and keeps
// them away from endpoints that are down, slow or broken:
//
//	lb, err := balance.New(balance.DNS("greet.internal:8080"))
//	client := greetv1connect.NewGreetServiceClient(lb.HTTPClient(), "http://greet", lb.Options())
//	defer lb.Close()
//
// A [Resolver] finds the endpoints: [DNS], [Static], or one of the program's. Each endpoint
// has connections of its own, by package h2 or with [NetHTTP] by net/http, which the
// Balancer keeps open: a call goes to an endpoint that is ready, and waits if none is. A
// [Policy] chooses among these; without one it is [PeakEWMA], which heeds latencies.
//
// The outcomes of calls count. An endpoint whose calls fail because of
// the server or the way to it is left out for a time: see [Ejection]. If an endpoint has
// not processed a request, because no connection could be opened or by its own word
// (GOAWAY, REFUSED_STREAM), the request goes to another one at once. Other failed calls
// are not repeated here: that is the business of package retry, whose further attempts go
// to other endpoints than the first.
//
// Unary calls of package connect keep their direct path through a Balancer, with one
// allocation more.
package balance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-b7c59c10/connect"
)

// A Balancer spreads calls over the endpoints of a service. It is an
// [http.RoundTripper]; clients use [Balancer.HTTPClient] and [Balancer.Options]. All
// methods are safe for concurrent use. A program that is done with a Balancer calls
// Close.
type Balancer struct {
	config   config
	resolver Resolver
	client   *http.Client
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	closed   atomic.Bool    // as ctx, for a look without its methods
	working  sync.WaitGroup // goroutines; added to with changing held and before ctx ends

	began     time.Time
	refreshed atomic.Int64 // when the resolver was asked to look again, after began

	changing sync.Mutex // held while the set, or the groups, change; taken before group.mu and mu
	groups   atomic.Pointer[[]*group]

	mu         sync.Mutex
	resolution resolution
}

// groupsMost bounds the hosts of URLs for which one Balancer keeps connections.
const groupsMost = 64

// New returns a Balancer for the endpoints that a resolver finds. It connects to them
// with the first call. The error is that of an option or of an address.
func New(resolver Resolver, options ...Option) (*Balancer, error) {
	if resolver == nil {
		return nil, errors.New("balance: New without a resolver: pass one, such as balance.Static(\"10.0.0.1:8080\")")
	}
	b := &Balancer{resolver: resolver, began: time.Now()}
	b.config.policy = PeakEWMA()
	b.config.chooser.panic = 0.5
	for _, o := range options {
		if o == nil {
			return nil, errors.New("balance: New: an option is nil")
		}
		if err := o.apply(&b.config); err != nil {
			return nil, err
		}
	}
	if r, ok := resolver.(interface{ check(anyAddr bool) error }); ok {
		if err := r.check(b.config.dial != nil); err != nil {
			return nil, err
		}
	}
	b.refreshed.Store(-int64(refreshEvery))
	b.groups.Store(new([]*group))
	b.client = &http.Client{Transport: b}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.working.Go(b.watch)
	return b, nil
}

// HTTPClient returns a client whose requests go to the endpoints. The host of their URLs
// is the service's name: servers see it as the request's host, and for https their
// certificates must be valid for it; it is not looked up. Do not set its fields: clients of
// package connect call a Balancer without net/http's types only through a client without
// settings.
func (b *Balancer) HTTPClient() *http.Client { return b.client }

// Options returns the option that clients need beside HTTPClient, after the options of
// other interceptors: with it the Balancer sees the code of each attempt, also where the
// protocol sends errors with status 200, as gRPC does.
func (b *Balancer) Options() connect.ClientOption { return connect.WithInterceptors(interceptor{b}) }

// Close ends all connections. Calls in flight fail, and later ones do at once. It returns
// when all goroutines of the Balancer have ended.
func (b *Balancer) Close() {
	b.changing.Lock()
	b.closed.Store(true)
	b.cancel()
	b.changing.Unlock()
	b.working.Wait()
}

// errClosed is the error of calls after Close.
var errClosed = errors.New("balance: the Balancer is closed")

// find returns the group for the scheme and the host of a URL. It makes one for a new
// host.
func (b *Balancer) find(u *url.URL) (*group, error) {
	if u == nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("balance: URL %q: expected http://name or https://name with the service's name", redacted(u))
	}
	if g := b.known(u); g != nil {
		return g, nil
	}
	b.changing.Lock()
	defer b.changing.Unlock()
	if g := b.known(u); g != nil {
		return g, nil
	}
	groups := *b.groups.Load()
	switch {
	case b.ctx.Err() != nil:
		return nil, errClosed
	case len(groups) >= groupsMost:
		return nil, fmt.Errorf("balance: %s://%s is the host %d of one Balancer, %d is the most: use the service's name as the host of URLs", u.Scheme, u.Host, len(groups)+1, groupsMost)
	}
	g := newGroup(b, u)
	b.mu.Lock()
	set := b.resolution.set
	b.mu.Unlock()
	g.take(set)
	more := append(groups[:len(groups):len(groups)], g)
	b.groups.Store(&more)
	return g, nil
}

func (b *Balancer) known(u *url.URL) *group {
	for _, g := range *b.groups.Load() {
		if g.url.Host == u.Host && g.url.Scheme == u.Scheme {
			return g
		}
	}
	return nil
}

func redacted(u *url.URL) string {
	if u == nil {
		return ""
	}
	return u.Redacted()
}
