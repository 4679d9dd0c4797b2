// SPDX-License-Identifier: Apache-2.0

// Package bus puts package nats between the suite and the program under test.
//
// The suite's client and server speak HTTP, so one side of each call is a gateway: with our
// server under test the way is the suite's client, natsrpc.NewGateway, the bus, natsrpc.Serve
// and the handlers; with our client under test it is the generated client,
// natsrpc.Transport, the bus, natsrpc.Serve with a proxy of package proxy, and the suite's
// server.
//
// What has its end at a gateway says nothing about the bus, and is left out in
// config-nats.yaml: versions of HTTP, TLS and client certificates. The cases that fail, all
// but one kind of them because of the gateway, are in nats-server-failing.txt and
// nats-client-failing.txt.
package bus

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/seed-b7c59c10/connect/internal/conformance/conformancev1/conformancev1connect"
	natsrpc "github.com/seed-b7c59c10/connect/nats"
	"github.com/seed-b7c59c10/connect/proxy"
)

// A Bus is a NATS server in this process, with a connection of servers and one of clients.
// It lasts as long as the process. Its methods are safe for concurrent use.
type Bus struct {
	servers   *nats.Conn
	transport *natsrpc.Transport
	prefixes  atomic.Int64
}

// Open starts a NATS server.
func Open() (*Bus, error) {
	s, err := server.NewServer(&server.Options{DontListen: true, NoLog: true, NoSigs: true})
	if err != nil {
		return nil, fmt.Errorf("making a NATS server: %w", err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return nil, errors.New("starting a NATS server: it is not ready after 10 s")
	}
	servers, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		return nil, fmt.Errorf("connecting to the NATS server: %w", err)
	}
	clients, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		return nil, fmt.Errorf("connecting to the NATS server: %w", err)
	}
	return &Bus{servers: servers, transport: natsrpc.NewTransport(clients)}, nil
}

// serve serves a handler of the suite's service on the bus, with a prefix that no other has.
func (b *Bus) serve(handler http.Handler) (prefix string, err error) {
	prefix = "c" + strconv.FormatInt(b.prefixes.Add(1), 10)
	_, err = natsrpc.Serve(b.servers, handler, natsrpc.Prefix(prefix), natsrpc.Services(conformancev1connect.ConformanceServiceName))
	return prefix, err
}

// Handler returns a handler that calls another one over the bus.
func (b *Bus) Handler(handler http.Handler) (http.Handler, error) {
	prefix, err := b.serve(handler)
	if err != nil {
		return nil, err
	}
	return patient(natsrpc.NewGateway(b.transport, prefix)), nil
}

// Dial returns a transport, and the URL for it, that reaches a server over the bus and then
// over HTTP: target is the server's URL, and transport reaches it without the bus.
func (b *Bus) Dial(target string, transport http.RoundTripper) (http.RoundTripper, string, error) {
	p, err := proxy.New(target, proxy.WithTransport(transport))
	if err != nil {
		return nil, "", err
	}
	prefix, err := b.serve(p)
	if err != nil {
		return nil, "", err
	}
	return b.transport, "nats://" + prefix, nil
}

// patient has a gateway not answer that the deadline of a unary call of Connect has passed
// before the client has given up. Both have the same deadline: the suite's client could read
// the head of the answer, give up on the body, and report a malformed body.
func patient(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Connect-Timeout-Ms") != "" {
			w = patientWriter{w, r.Context()}
		}
		next.ServeHTTP(w, r)
	})
}

type patientWriter struct {
	http.ResponseWriter
	client context.Context // of the request: it ends with the client's deadline
}

func (w patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w patientWriter) WriteHeader(status int) {
	if status == http.StatusGatewayTimeout {
		<-w.client.Done()
	}
	w.ResponseWriter.WriteHeader(status)
}
