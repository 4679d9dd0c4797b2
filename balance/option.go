// SPDX-License-Identifier: Apache-2.0

// Options of a Balancer.

package balance

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/seed-b7c59c10/connect"
)

// An Option changes a [Balancer]. Policies are options, too. Where a setting is given
// twice, the last one holds.
type Option interface{ apply(*config) error }

type option func(*config)

func (o option) apply(c *config) error { o(c); return nil }

// A config has the settings of a Balancer. It does not change once New has returned.
type config struct {
	policy    Policy
	ejection  Ejection
	chooser   chooser
	subset    int    // endpoints, 0: all
	client    string // the name for subset
	slowStart time.Duration
	failFast  bool
	kind      kind // of the endpoints' transports
	make      func(Endpoint, Dial) http.RoundTripper
	dial      Dial // the program's, nil for a net.Dialer
	tls       *tls.Config
	tlsOf     func(Endpoint) *tls.Config // nil: tls for all
	probe     Prober
	probeTime time.Duration
}

// A kind is that of the endpoints' transports.
type kind int

const (
	kindH2      kind = iota // package h2's
	kindNetHTTP             // net/http's
	kindOther               // of the program
)

// Dial opens a connection. network is "tcp". It must be safe for concurrent use.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Eject sets the rule by which endpoints whose calls fail are left out for a time. Without
// it the rule is Ejection{}, with its defaults. It panics if the rule makes no sense.
func Eject(rule Ejection) Option {
	_, err := rule.resolve()
	check(err == nil, "Eject: %v", err)
	return option(func(c *config) { c.ejection = rule })
}

// Panic sets the part of the endpoints, by weight, below which ejections are not heeded:
// 0.5 by default. If fewer are usable, these would get too many calls. With 0 ejections are
// not heeded only if no other endpoint is usable. It panics for a number that is not from
// 0 to 1.
func Panic(part float64) Option {
	check(part >= 0 && part <= 1, "Panic(%v): expected a part from 0 to 1", part)
	return option(func(c *config) { c.chooser.panic = part })
}

// Zone has calls go to the endpoints of a zone as long as these are enough: as long as the
// zone has two thirds of an even share of all endpoints that are known. By default zones
// are not heeded.
func Zone(name string) Option {
	check(name != "", "Zone(%q): expected the name of a zone", name)
	return option(func(c *config) { c.chooser.zone = name })
}

// Subset has this client use n of the endpoints, for services with so many that a
// connection to each costs too much: n of each priority, and with [Zone] n of the zone and
// n others. client names this client: clients with different names use different
// endpoints, and a client keeps its endpoints when others come and go. n is at least 1;
// 20 or more keep the endpoints' loads even.
func Subset(n int, client string) Option {
	check(n >= 1 && client != "", "Subset(%d, %q): expected at least 1, and a name that differs between clients", n, client)
	return option(func(c *config) { c.subset, c.client = n, client })
}

// SlowStart has an endpoint that has become ready get its full share of calls only after
// the window, and a share that grows with the time until then. By default there is none.
// An endpoint begins slowly if it is new, was away for a second or longer, or returns
// from an ejection.
func SlowStart(window time.Duration) Option {
	check(window >= 0, "SlowStart(%v): expected no negative time", window)
	return option(func(c *config) { c.slowStart = window })
}

// FailFast has calls fail with unavailable while no endpoint is ready, and the last attempt
// to connect to each, or its last probe, has failed. Without it they wait until their
// contexts end.
func FailFast() Option { return option(func(c *config) { c.failFast = true }) }

// NetHTTP has each endpoint's connections kept by an [http.Transport], which speaks
// HTTP/1.1, and with https HTTP/2 where the server does. Without it package h2 keeps
// them, which speaks HTTP/2 alone. An http.Transport connects when a call needs it, so
// endpoints count as ready until a connection could not be opened.
func NetHTTP() Option {
	return option(func(c *config) { c.kind, c.make = kindNetHTTP, nil })
}

// Transport sets a function that makes the transport of an endpoint: for settings of an
// h2.Transport or an [http.Transport] of its own, a TLS identity for each endpoint, or
// another protocol. The transport opens its connections with dial, which connects to the
// endpoint whatever address it is called with: so the URL, the :authority and the TLS
// server name of calls stay those of the service. RoundTrip, and reads of responses'
// bodies, must return when the request's context ends. When the endpoint is gone and its
// calls have ended, the transport is closed, by its method Close() error or
// CloseIdleConnections(). [Balancer.Close] does not wait for calls; if the method does not
// end them, they go on until their contexts end. Endpoints count as ready until a connection could not be opened.
// The function must not use the Balancer, and is called for one endpoint at a time. An
// h2.Transport should have MaxAttempts 1: the Balancer finds another endpoint. It panics
// if f is nil.
func Transport(f func(e Endpoint, dial Dial) http.RoundTripper) Option {
	check(f != nil, "Transport(nil): expected a function")
	return option(func(c *config) { c.kind, c.make = kindOther, f })
}

// DialContext sets the function that opens connections. It is called with "tcp" and the
// Addr of an endpoint, which then may be any text; its context ends after 5 seconds.
// Without it a [net.Dialer] does. It panics if dial is nil.
func DialContext(dial Dial) Option {
	check(dial != nil, "DialContext(nil): expected a function")
	return option(func(c *config) { c.dial = dial })
}

// TLS sets the configuration for URLs with https. Unless it has a ServerName, the
// certificates of all endpoints must be valid for the host of the URL. It must not be
// changed afterwards. It does not apply to transports of [Transport].
func TLS(t *tls.Config) Option { return option(func(c *config) { c.tls, c.tlsOf = t, nil }) }

// EndpointTLS is [TLS] with a configuration for each endpoint, where their certificates have
// different names. f is called when an endpoint is new, and not again while it stays in the
// set: a configuration that depends on something that changes looks it up when a connection
// is made, for example in its VerifyConnection. A nil result stands for the zero Config.
// EndpointTLS panics if f is nil.
func EndpointTLS(f func(e Endpoint) *tls.Config) Option {
	check(f != nil, "EndpointTLS(nil): expected a function")
	return option(func(c *config) { c.tls, c.tlsOf = nil, f })
}

// A Prober finds out whether an endpoint can serve, and returns the reason if it cannot.
// client sends requests to this endpoint alone; baseURL is the service's scheme and host,
// such as "http://greet". It must return when ctx ends, and be safe for concurrent use:
// each endpoint is probed by itself. [ProbedEndpoint] returns the endpoint. The function
// that health.Probe returns, for grpc.health.v1, is a Prober.
type Prober func(ctx context.Context, client connect.HTTPClient, baseURL string) error

// Probe has each endpoint probed: before its first call, and then again and again, with
// pauses of nine to eleven tenths of a time. An endpoint whose probe fails gets no calls
// until one succeeds. A probe may take as long as a pause, at most 10 seconds. Probe panics
// if probe is nil or the time is not positive.
func Probe(probe Prober, every time.Duration) Option {
	check(probe != nil && every > 0, "Probe(%v): expected a function and a positive time", every)
	return option(func(c *config) { c.probe, c.probeTime = probe, every })
}
