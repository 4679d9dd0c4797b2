// SPDX-License-Identifier: Apache-2.0

// Options of transports and servers.

package natsrpc

import (
	"fmt"
	"log"
	"time"
)

// A TransportOption is a setting of [NewTransport] and [NewClient].
type TransportOption interface{ applyToTransport(*config) }

// A ServerOption is a setting of [Serve].
type ServerOption interface{ applyToServer(*config) }

// An Option is a setting of either side.
type Option interface {
	TransportOption
	ServerOption
}

// config has all settings.
type config struct {
	window    int
	keepAlive time.Duration
	prefix    string
	queue     string
	services  []string
	maxCalls  int
	errorLog  *log.Logger

	discoveryName, discoveryVersion string // "" without discovery
}

// The defaults.
const (
	defaultWindow    = 256 << 10
	defaultKeepAlive = 10 * time.Second
	defaultPrefix    = "rpc"
	defaultQueue     = "rpc"
	defaultMaxCalls  = 1000
)

type option func(*config)

func (o option) applyToTransport(c *config) { o(c) }
func (o option) applyToServer(c *config)    { o(c) }

type serverOption func(*config)

func (o serverOption) applyToServer(c *config) { o(c) }

// Window sets how many bytes of a body this side takes before the program reads them: so
// much memory a stream may use, and so far a sender may be ahead. The default is 256 KiB.
// Window panics if bytes is less than 64 KiB or more than 1 GiB.
func Window(bytes int) Option {
	if bytes < openMax || bytes > maxWindow {
		panic(fmt.Sprintf("natsrpc: Window(%d): want %d to %d bytes", bytes, openMax, maxWindow))
	}
	return option(func(c *config) { c.window = bytes })
}

// KeepAlive sets after which time without a frame of the peer this side sends a ping. After
// three of these times the call ends with the code unavailable. The default is 10 seconds.
// KeepAlive panics if interval is not positive.
func KeepAlive(interval time.Duration) Option {
	if interval <= 0 {
		panic(fmt.Sprintf("natsrpc: KeepAlive(%v): want a positive time", interval))
	}
	return option(func(c *config) { c.keepAlive = interval })
}

// Prefix sets the first words of a server's subjects. Clients have it as the host of their
// URL, such as nats://acme.rpc. The default is "rpc". Prefix panics if the words have other
// characters than letters, digits, _ and -, or are not between single dots.
func Prefix(prefix string) ServerOption {
	if err := checkName("subject prefix", prefix, "-"); err != nil {
		panic(fmt.Sprintf("natsrpc: Prefix: %v", err))
	}
	return serverOption(func(c *config) { c.prefix = prefix })
}

// Queue sets the name of the queue group. Of the servers of a service that have the same
// group, NATS gives each call to one, and each event to one of the subscriptions. The
// default is "rpc" for servers, and no group for subscriptions. Queue panics if the name is
// empty or has blanks or wildcards.
func Queue(name string) interface {
	ServerOption
	EventOption
} {
	if err := checkName("queue group", name, "-"); err != nil {
		panic(fmt.Sprintf("natsrpc: Queue: %v", err))
	}
	return queueOption(name)
}

type queueOption string

func (o queueOption) applyToServer(c *config)      { c.queue = string(o) }
func (o queueOption) applyToEvents(c *eventConfig) { c.queue = string(o) }

// Services sets which services a server takes calls of, by their full names, such as
// pingv1connect.PingServiceName. It may be given more than once. [Serve] needs at least one
// name. Services panics if a name is none of Protobuf.
func Services(names ...string) ServerOption {
	for _, name := range names {
		if err := checkName("service", name, ""); err != nil {
			panic(fmt.Sprintf("natsrpc: Services: %v", err))
		}
	}
	return serverOption(func(c *config) { c.services = append(c.services, names...) })
}

// MaxCalls sets how many calls a server handles at once. It refuses others with the code
// unavailable, before a handler sees them, so that package retry makes them anew. The
// default is 1000. MaxCalls panics if n is not positive.
func MaxCalls(n int) ServerOption {
	if n <= 0 {
		panic(fmt.Sprintf("natsrpc: MaxCalls(%d): want a positive number", n))
	}
	return serverOption(func(c *config) { c.maxCalls = n })
}

// ErrorLog sets the logger of a server for the panics of its handlers. The default is that
// of package log. ErrorLog panics if l is nil.
func ErrorLog(l *log.Logger) ServerOption {
	if l == nil {
		panic("natsrpc: ErrorLog: the logger is nil: leave the option out for that of package log")
	}
	return serverOption(func(c *config) { c.errorLog = l })
}
