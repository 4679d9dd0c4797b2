// SPDX-License-Identifier: Apache-2.0

// An instance of greeter: a service, a listener, a registration.

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/consul"
	greetv1 "github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1"
	"github.com/seed-b7c59c10/connect/examples/quickstart/gen/greet/v1/greetv1connect"
)

// A greeter answers with the caller's identity in the mesh.
type greeter struct {
	greetv1connect.UnimplementedGreetServiceHandler
}

func (greeter) Greet(ctx context.Context, r *connect.Request[greetv1.GreetRequest]) (*connect.Response[greetv1.GreetResponse], error) {
	peer, _ := consul.PeerFromContext(ctx)
	return connect.NewResponse(&greetv1.GreetResponse{Greeting: fmt.Sprintf("Hello, %s of %s!", r.Msg.Name, peer.Service)}), nil
}

// An instance is a server that can be killed.
type instance struct {
	service  *consul.Service
	listener *listener
	served   chan struct{}
}

// startInstance starts an instance, whose health the agent checks from then on.
func startInstance(ctx context.Context, n int, config consul.Config) (*instance, error) {
	service, err := consul.NewServiceWithConfig("greeter", config)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	i := &instance{service: service, listener: &listener{Listener: l}, served: make(chan struct{})}
	mux := http.NewServeMux()
	mux.Handle(greetv1connect.NewGreetServiceHandler(greeter{}, service.Authorize()))
	go func() {
		defer close(i.served)
		_ = service.Serve(i.listener, mux)
	}()
	err = service.WaitReady(ctx)
	if err == nil {
		err = service.Register(ctx, consul.Registration{
			ID: fmt.Sprintf("greeter-%d", n), Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Interval: time.Second,
		})
	}
	if err != nil {
		i.close()
		return nil, err
	}
	return i, nil
}

// kill ends the listener and all connections, as the end of the process does. The agent finds
// out later, by its check: clients go on before that.
func (i *instance) kill() { i.listener.kill() }

// close ends the instance gracefully.
func (i *instance) close() {
	_ = i.service.Close()
	<-i.served
}

// A listener cuts its connections.
type listener struct {
	net.Listener
	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		_ = c.Close()
	}
	l.conns = append(l.conns, c)
	return c, nil
}

func (l *listener) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	_ = l.Close()
	for _, c := range l.conns {
		_ = c.Close()
	}
}
