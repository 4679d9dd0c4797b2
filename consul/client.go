// SPDX-License-Identifier: Apache-2.0

// Clients: a balancer for each host name of the mesh.

package consul

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
	"github.com/seed-b7c59c10/connect/internal/direct"
)

const (
	hostsMost = 1024 // names that a service calls
	goneMost  = 256  // addresses of former instances that are kept
	alertWait = time.Second
)

// protosBoth are the protocols that clients offer.
var protosBoth = []string{"h2", "http/1.1"}

// HTTPClient returns a client for URLs such as "https://userinfo.service.consul": see
// [ConsulResolverFromAddr]. Other hosts, and http, are errors. The requests to a host go over
// connections that a [balance.Balancer] keeps, to all healthy instances, and fail with
// unavailable if none can be reached. One that was not processed goes to another instance.
// Its errors are those of [ErrorOf].
//
// Do not set the fields of the result: unary calls of package connect go past net/http only
// through a client without settings. Clients of package connect should have [Service.Options],
// too.
func (s *Service) HTTPClient() *http.Client {
	return &http.Client{Transport: s.clients.transportOf(s)}
}

// Options returns the option for clients of package connect that call a URL, such as
// "https://userinfo.service.consul", with HTTPClient: calls that are safe to repeat are, by
// [Config.Retry], and instances are judged by the codes of calls, and not by the status of HTTP
// alone. It panics if the URL is not one of the mesh, if Config.Balance has a mistake, and for a
// service for development. After Close the option does nothing, as calls fail.
func (s *Service) Options(baseURL string) connect.ClientOption {
	u, err := url.Parse(baseURL)
	if err != nil {
		panic(fmt.Sprintf("consul: Options(%q): %v", baseURL, err))
	}
	g, err := s.clients.group(s, u)
	switch {
	case connect.CodeOf(err) == connect.CodeInvalidArgument:
		panic(fmt.Sprintf("consul: Options(%q): %v", baseURL, err))
	case err != nil: // HTTPClient has it for each call
		return connect.WithClientOptions()
	}
	return connect.WithClientOptions(connect.WithInterceptors(s.retry), g.lb.Options())
}

// Balancing returns the state of the instances of a host that was called, and false for
// others.
func (s *Service) Balancing(host string) (balance.Status, bool) {
	s.clients.mu.Lock()
	g := s.clients.groups[strings.ToLower(host)]
	s.clients.mu.Unlock()
	if g == nil {
		return balance.Status{}, false
	}
	return g.lb.Status(), true
}

// clients are the balancers of a service.
type clients struct {
	mu        sync.Mutex
	transport *transport
	groups    map[string]*group // by host
	closed    bool
}

// A group is the instances of a host.
type group struct {
	lb    *balance.Balancer
	peers atomic.Pointer[map[string][]Identity] // by address: the identities that are right there
}

// transportOf returns the transport of a service.
func (c *clients) transportOf(s *Service) *transport {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.transport == nil {
		c.transport = &transport{s}
	}
	return c.transport
}

// group returns the group of a URL's host. Its errors have codes: invalid_argument for a URL or a
// Config.Balance that can never be used.
func (c *clients) group(s *Service, u *url.URL) (*group, error) {
	switch {
	case s.client == nil:
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("consul: the service %q is one for development and has no agent that could look up %q: use Dial", s.name, u.Host))
	case u.Scheme != "https":
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("consul: the URL %q is not one of the mesh: expected https", u.Redacted()))
	}
	host := strings.ToLower(u.Hostname())
	c.mu.Lock()
	defer c.mu.Unlock()
	if g := c.groups[host]; g != nil {
		return g, nil
	}
	resolver, err := ConsulResolverFromAddr(s.client, host)
	switch {
	case err != nil:
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	case c.closed || s.ctx.Err() != nil:
		return nil, connect.NewError(connect.CodeUnavailable, errClosed(s.name))
	case len(c.groups) >= hostsMost:
		return nil, connect.NewError(connect.CodeResourceExhausted, fmt.Errorf("consul: calling %q: the service %q calls %d hosts, and no more are kept", host, s.name, hostsMost))
	}
	if c.groups == nil {
		c.groups = make(map[string]*group)
	}
	g := new(group)
	g.peers.Store(new(map[string][]Identity))
	options := append([]balance.Option{balance.FailFast()}, s.config.Balance...)
	if s.config.NetHTTP {
		options = append(options, balance.NetHTTP())
	}
	options = append(options, balance.DialContext(s.connect), balance.EndpointTLS(func(e balance.Endpoint) *tls.Config {
		return s.clientTLSConfig(protosBoth, func() []Identity { return (*g.peers.Load())[e.Addr] })
	}))
	if g.lb, err = balance.New(&noting{resolver, g}, options...); err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	c.groups[host] = g
	return g, nil
}

// connect opens a connection for a balancer. Without a certificate it fails with the reason, and
// not in the handshake.
func (s *Service) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	if err := s.await(ctx); err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// close ends all connections.
func (c *clients) close() {
	c.mu.Lock()
	c.closed = true
	groups := c.groups
	c.mu.Unlock()
	for _, g := range groups {
		g.lb.Close()
	}
}

// A noting resolver notes the identities of the addresses before connections go there.
type noting struct {
	*ConsulResolver
	g *group
}

func (n *noting) Watch(ctx context.Context, update func([]balance.Endpoint, error)) error {
	return n.ConsulResolver.Watch(ctx, func(set []balance.Endpoint, err error) {
		if err == nil {
			peers := make(map[string][]Identity, len(set))
			for _, e := range set {
				peers[e.Addr] = append(peers[e.Addr], peerAt(e))
			}
			// A handshake with an instance that has just gone may be under way.
			for addr, gone := range *n.g.peers.Load() {
				if peers[addr] == nil && len(peers) < len(set)+goneMost {
					peers[addr] = gone
				}
			}
			n.g.peers.Store(&peers)
		}
		update(set, err)
	})
}

// A transport sends requests to the balancers of their hosts.
type transport struct{ s *Service }

// RoundTrip sends a request.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	g, err := t.s.clients.group(t.s, r.URL)
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	res, err := g.lb.RoundTrip(r)
	if err != nil {
		err = ErrorOf(err)
		var has *connect.Error
		if t.s.config.NetHTTP && r.Context().Err() == nil && !errors.As(err, &has) {
			err = t.s.diagnose(r.Context(), g, err)
		}
		return nil, err
	}
	return res, nil
}

// diagnose finds out whether the server of a failed request denies connections. Package
// net/http writes the request before the server's alert is there, and its error is then often
// that of a write, or without the alert. So another connection is made, on which nothing is
// written until the server has spoken: an HTTP/2 server begins, and one of HTTP/1.1 is waited
// for as long as an alert may take. The result is err if there is no alert.
func (s *Service) diagnose(ctx context.Context, g *group, err error) error {
	addr := balance.EndpointOf(err)
	if addr == "" {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, alertWait)
	defer cancel()
	d := tls.Dialer{Config: s.clientTLSConfig(protosBoth, func() []Identity { return (*g.peers.Load())[addr] })}
	c, failed := d.DialContext(ctx, "tcp", addr)
	if failed == nil {
		stop := context.AfterFunc(ctx, func() { _ = c.Close() })
		_, failed = c.Read(make([]byte, 1))
		stop()
		_ = c.Close()
	}
	if failed = ErrorOf(failed); failed != nil {
		var has *connect.Error
		if errors.As(failed, &has) {
			return failed
		}
	}
	return err
}

var (
	_ direct.Transport     = (*transport)(nil)
	_ direct.ContextHeeder = (*transport)(nil)
)

// HeedsContext reports that calls return when their contexts end.
func (t *transport) HeedsContext(self http.RoundTripper) bool { return self == http.RoundTripper(t) }

// PrepareDirect prepares POSTs without the types of net/http, for package connect.
func (t *transport) PrepareDirect(self http.RoundTripper, u *url.URL, shared [][2]string) (direct.Target, error) {
	if self != http.RoundTripper(t) {
		return nil, nil
	}
	g, err := t.s.clients.group(t.s, u)
	if err != nil {
		return nil, nil // RoundTrip returns the error
	}
	to, err := g.lb.PrepareDirect(g.lb, u, shared)
	if err != nil || to == nil {
		return nil, err
	}
	return &directTarget{to}, nil
}

// A directTarget is a target whose errors have codes.
type directTarget struct{ to direct.Target }

func (d *directTarget) RoundTripDirect(ctx context.Context, own [][2]string, body []byte) (io.ReadCloser, error) {
	answer, err := d.to.RoundTripDirect(ctx, own, body)
	if err != nil {
		return nil, ErrorOf(err)
	}
	return answer, nil
}
