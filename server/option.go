// SPDX-License-Identifier: Apache-2.0

// What a Server is made of: addresses, times, hooks.

package server

import (
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/seed-b7c59c10/connect/drain"
	"github.com/seed-b7c59c10/connect/h2"
)

// settings are those of a Server.
type settings struct {
	addresses []address
	http      []func(*http.Server)
	engine    h2.ServerConfig
	logger    *slog.Logger
	drain     []drain.Option
	shutdown  []drain.ShutdownOption
}

// An Option changes a [Server].
type Option func(*settings)

// Listen adds an address:
//
//   - "host:port" is TCP. An empty host means all addresses of the machine, and port 0 one
//     that is free: see [Server.Addrs].
//   - "unix:/path" is a Unix socket; "unix:@name" is one without a file, which Linux has, and
//     to which every user may connect.
//   - "systemd:name" are the sockets of that name that systemd passes, and "systemd:" all
//     that are left; see package systemd.
//
// An address that is invalid, or an option that does not fit it, is an error of Open and Run.
func Listen(name string, options ...ListenOption) Option {
	a := address{name: name}
	for _, option := range options {
		if option == nil {
			panic("server: Listen: an option is nil")
		}
		option(&a)
	}
	return func(s *settings) { s.addresses = append(s.addresses, a) }
}

// Listener adds a listener that the program has opened. The Server closes it, also if Open or
// Run fails, and if Close comes before them. If its connections are of type *tls.Conn the server
// speaks TLS. HTTP/2 on other connections than TCP and Unix sockets costs more memory, as
// h2.Server describes. It panics if l is nil.
func Listener(l net.Listener) Option {
	if l == nil {
		panic("server: Listener(nil): pass a listener")
	}
	a := address{name: l.Addr().String(), own: l}
	return func(s *settings) { s.addresses = append(s.addresses, a) }
}

// HTTP has f change the http.Server before it serves: timeouts, limits, hooks. The default
// has a ReadHeaderTimeout of 10 seconds, an IdleTimeout of 5 minutes, an ErrorLog that writes
// to the [Logger], and connect.UnixConnContext as ConnContext; a function that replaces that
// hook should call it. Handler is set later, Addr is not used, and TLSConfig must stay nil: see
// [TLS]. It panics if f is nil.
func HTTP(f func(*http.Server)) Option {
	if f == nil {
		panic("server: HTTP(nil): pass the function to call")
	}
	return func(s *settings) { s.http = append(s.http, f) }
}

// Engine sets the limits of HTTP/2. The default is the zero value, whose fields have
// defaults of their own.
func Engine(config h2.ServerConfig) Option { return func(s *settings) { s.engine = config } }

// Logger is where the server reports certificates that were read again, or could not be, and
// what net/http logs. The default is [slog.Default]. It panics if l is nil.
func Logger(l *slog.Logger) Option {
	if l == nil {
		panic("server: Logger(nil): pass a logger, such as slog.New(slog.DiscardHandler)")
	}
	return func(s *settings) { s.logger = l }
}

// OnDrain has f called when the server begins to end, as [drain.OnDrain] does: make health
// checks fail there.
func OnDrain(f func()) Option {
	option := drain.OnDrain(f)
	return func(s *settings) { s.drain = append(s.drain, option) }
}

// Delay is how long the server serves as before after its context has ended, while balancers
// take it out. The default is 0. It panics if d is negative. See [drain.Delay].
func Delay(d time.Duration) Option {
	option := drain.Delay(d)
	return func(s *settings) { s.shutdown = append(s.shutdown, option) }
}

// Grace is how long calls may go on after the delay. Then they are cut. The default is 20
// seconds. It panics if d is negative. See [drain.Grace].
func Grace(d time.Duration) Option {
	option := drain.Grace(d)
	return func(s *settings) { s.shutdown = append(s.shutdown, option) }
}
