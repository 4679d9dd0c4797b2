// SPDX-License-Identifier: Apache-2.0

// Parts of all tests: agents, services, a server with all kinds of calls, and the check for
// goroutines that are left behind.

package consul_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/consul"
	"github.com/seed-b7c59c10/connect/consul/consultest"
	"github.com/seed-b7c59c10/connect/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

type message = wrapperspb.StringValue

const (
	pathUnary  = "/test.v1.S/Unary"
	pathClient = "/test.v1.S/Client"
	pathServer = "/test.v1.S/Server"
	pathBidi   = "/test.v1.S/Bidi"
	patience   = time.Minute // of waits that end much earlier
)

var protocols = map[string][]connect.ClientOption{
	"connect": nil, "grpc": {connect.WithGRPC()}, "grpcweb": {connect.WithGRPCWeb()},
}

var paths = []string{pathUnary, pathClient, pathServer, pathBidi}

// noLog discards what is logged.
var noLog = slog.New(slog.DiscardHandler)

// within returns a context that ends when the test must have ended long ago.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// await waits until a condition holds.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("%s: it did not come", what)
		}
	}
}

func newAgent(t *testing.T) *consultest.Agent {
	t.Helper()
	a, err := consultest.NewAgent()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// newService returns a ready service.
func newService(t *testing.T, a *consultest.Agent, name string, change ...func(*consul.Config)) *consul.Service {
	t.Helper()
	s := startService(t, a, name, change...)
	if err := s.WaitReady(within(t)); err != nil {
		t.Fatal(err)
	}
	return s
}

// startService returns a service that need not be ready.
func startService(t *testing.T, a *consultest.Agent, name string, change ...func(*consul.Config)) *consul.Service {
	t.Helper()
	config := consul.Config{Client: a.Client(""), Logger: noLog}
	for _, c := range change {
		c(&config)
	}
	s, err := consul.NewServiceWithConfig(name, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// handlers serve all kinds of calls: they answer with the caller's service, or what f returns.
func handlers(f func(ctx context.Context) error, options ...connect.HandlerOption) http.Handler {
	answer := func(ctx context.Context) (*message, error) {
		if f != nil {
			if err := f(ctx); err != nil {
				return nil, err
			}
		}
		p, _ := consul.PeerFromContext(ctx)
		return wrapperspb.String(p.Service), nil
	}
	return connect.NewServiceHandler([]*connect.Handler{
		connect.NewUnaryHandler(pathUnary, func(ctx context.Context, _ *connect.Request[message]) (*connect.Response[message], error) {
			m, err := answer(ctx)
			if err != nil {
				return nil, err
			}
			return connect.NewResponse(m), nil
		}, options...),
		connect.NewClientStreamHandler(pathClient, func(ctx context.Context, stream *connect.ClientStream[message]) (*connect.Response[message], error) {
			for stream.Receive() {
			}
			if stream.Err() != nil {
				return nil, stream.Err()
			}
			m, err := answer(ctx)
			if err != nil {
				return nil, err
			}
			return connect.NewResponse(m), nil
		}, options...),
		connect.NewServerStreamHandler(pathServer, func(ctx context.Context, _ *connect.Request[message], stream *connect.ServerStream[message]) error {
			m, err := answer(ctx)
			if err != nil {
				return err
			}
			return stream.Send(m)
		}, options...),
		connect.NewBidiStreamHandler(pathBidi, func(ctx context.Context, stream *connect.BidiStream[message, message]) error {
			for {
				_, err := stream.Receive()
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err != nil {
					return err
				}
				m, err := answer(ctx)
				if err != nil {
					return err
				}
				if err := stream.Send(m); err != nil {
					return err
				}
			}
		}, options...),
	})
}

// call makes a call of the kind of path, and returns the answer.
func call(ctx context.Context, client connect.HTTPClient, base, path string, options ...connect.ClientOption) (string, error) {
	c := connect.NewClient[message, message](client, base+path, options...)
	m := wrapperspb.String("hello")
	switch path {
	case pathUnary:
		res, err := c.CallUnary(ctx, connect.NewRequest(m))
		if err != nil {
			return "", err
		}
		return res.Msg.Value, nil
	case pathClient:
		stream := c.CallClientStream(ctx)
		_ = stream.Send(m)
		res, err := stream.CloseAndReceive()
		if err != nil {
			return "", err
		}
		return res.Msg.Value, nil
	case pathServer:
		stream, err := c.CallServerStream(ctx, connect.NewRequest(m))
		if err != nil {
			return "", err
		}
		defer stream.Close()
		answer := ""
		for stream.Receive() {
			answer = stream.Msg().Value
		}
		return answer, stream.Err()
	}
	stream := c.CallBidiStream(ctx)
	defer stream.CloseResponse()
	_ = stream.Send(m)
	_ = stream.CloseRequest()
	answer := ""
	for {
		m, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return answer, nil
		}
		if err != nil {
			return "", err
		}
		answer = m.Value
	}
}

// serve serves a handler as an instance of a service with Serve, and returns the listener. It
// is registered, and healthy.
func serve(t *testing.T, a *consultest.Agent, s *consul.Service, handler http.Handler) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := s.Serve(l, handler); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("got %v from Serve, want http.ErrServerClosed", err)
		}
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-served
	})
	register(t, a, s.Name(), "", l)
	return l
}

// register makes a listener an instance of a service, without a check. The ID is the address
// if it is empty.
func register(t *testing.T, a *consultest.Agent, name, id string, l net.Listener, change ...func(*api.AgentServiceRegistration)) {
	t.Helper()
	addr := l.Addr().(*net.TCPAddr)
	if id == "" {
		id = addr.String()
	}
	r := &api.AgentServiceRegistration{ID: id, Name: name, Address: addr.IP.String(), Port: addr.Port, Connect: &api.AgentServiceConnect{Native: true}}
	for _, c := range change {
		c(r)
	}
	if err := a.Client("").Agent().ServiceRegister(r); err != nil {
		t.Fatal(err)
	}
}

// wantError checks the code of an error and parts of its text.
func wantError(t *testing.T, what string, err error, code connect.Code, parts ...string) {
	t.Helper()
	if err == nil || connect.CodeOf(err) != code {
		t.Errorf("%s: got %v (%v), want the code %v", what, err, connect.CodeOf(err), code)
		return
	}
	wantText(t, what, err, parts...)
}

func wantText(t *testing.T, what string, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: got no error, want one with %q", what, parts)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%s: got %q, want it to contain %q", what, err, p)
		}
	}
}

// contextThatEnds returns a context that is canceled soon.
func contextThatEnds(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	return ctx, cancel
}

const pathUnaryOther = "/test.v1.S/Other"

func onlyHTTP1() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}

// dialer returns a function that connects to an address, whatever the host is.
func dialer(s *consul.Service, addr, uri string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return s.Dial(ctx, &consul.StaticResolver{Addr: addr, CertURI: uri})
	}
}

// dialAndRead connects, and reads the first bytes of a response to a request of HTTP/1.1.
func dialAndRead(t *testing.T, s *consul.Service, addr, uri string) (string, error) {
	t.Helper()
	c, err := s.Dial(within(t), &consul.StaticResolver{Addr: addr, CertURI: uri})
	if err != nil {
		return "", err
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	b := make([]byte, 8)
	_, err = io.ReadFull(c, b)
	return string(b), err
}
