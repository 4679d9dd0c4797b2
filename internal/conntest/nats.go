// SPDX-License-Identifier: Apache-2.0

// This file holds the row of package nats: calls over a NATS server in this process.
//
// All tests of the matrix run on it. The row's columns say what a NATS server cannot have: a
// connection for package httptrace, a path before that of the procedure, and a synctest
// bubble, so that tests about time wait for it in real time, or run on other rows only. The
// rest of this package is about something else: the bytes of HTTP, for which the transcripts
// and raw peers of internal/natstest stand, TLS, and types of net/http and the engine.

package conntest

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	broker "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	natsrpc "github.com/seed-b7c59c10/connect/nats"
)

// A bus is a NATS server with two connections: that of all servers, and that of all
// clients. Each server has a prefix of its subjects.
type bus struct {
	broker           *broker.Server
	servers, clients *nats.Conn
	prefixes         atomic.Int64
}

// sharedBus is the bus of all tests, nil before the first of them needs it.
var (
	sharedBus *bus
	openBus   = sync.OnceValue(func() (err error) {
		sharedBus, err = newBus()
		return err
	})
)

func newBus() (b *bus, err error) {
	b = new(bus)
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	b.broker, err = broker.NewServer(&broker.Options{Host: "127.0.0.1", Port: broker.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		return b, fmt.Errorf("making a NATS server: %w", err)
	}
	b.broker.Start()
	if !b.broker.ReadyForConnections(10 * time.Second) {
		return b, errors.New("starting a NATS server: it is not ready after 10 s")
	}
	for _, nc := range []**nats.Conn{&b.servers, &b.clients} {
		if *nc, err = nats.Connect(b.broker.ClientURL()); err != nil {
			return b, fmt.Errorf("connecting to the NATS server: %w", err)
		}
	}
	return b, nil
}

// close closes what is open, and waits for its end.
func (b *bus) close() {
	if b == nil {
		return
	}
	for _, nc := range []*nats.Conn{b.clients, b.servers} {
		if nc != nil {
			nc.Close()
		}
	}
	if b.broker != nil {
		b.broker.Shutdown()
		b.broker.WaitForShutdown()
	}
}

// startNATS serves the handler below a prefix that no other server has.
func startNATS(handler http.Handler, _ network) (*server, error) {
	if err := openBus(); err != nil {
		return nil, err
	}
	prefix := "t" + strconv.FormatInt(sharedBus.prefixes.Add(1), 10)
	host, err := natsrpc.Serve(sharedBus.servers, handler,
		natsrpc.Prefix(prefix), natsrpc.Services(conntestv1connect.TestServiceName, "simple.Service", "other.v1.Service", "any"), // all that tests call
		natsrpc.ErrorLog(log.New(io.Discard, "", 0))) // panics of handlers are part of the tests
	if err != nil {
		return nil, fmt.Errorf("serving on the bus: %w", err)
	}
	transport := natsrpc.NewTransport(sharedBus.clients)
	return &server{
		url:       "nats://" + prefix,
		transport: transport,
		close: func() {
			_ = host.Close()
			_ = transport.Close()
		},
	}, nil
}
