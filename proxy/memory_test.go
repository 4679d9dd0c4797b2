// SPDX-License-Identifier: Apache-2.0

// This file has a network in memory, and tests in a synctest bubble: time, and sides
// that wait.

package proxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/h2"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	"github.com/seed-b7c59c10/connect/proxy"
)

// memory is a listener whose connections have no buffer.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case conn := <-m.conns:
		return conn, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.once.Do(func() { close(m.done) })
	return nil
}

func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case m.conns <- far:
		return near, nil
	case <-m.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// startMemory serves a handler on one of the engines, inside a bubble.
func startMemory(t *testing.T, engine string, handler http.Handler) *http.Client {
	m := &memory{conns: make(chan net.Conn), done: make(chan struct{})}
	s := &http.Server{Handler: handler, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	var transport interface {
		http.RoundTripper
		CloseIdleConnections()
	}
	switch engine {
	case "direct":
		if err := h2.ConfigureServer(s, nil); err != nil {
			t.Fatal(err)
		}
		transport = h2.NewTransport(&h2.TransportConfig{DialContext: m.dial})
	default:
		standard := &http.Transport{DialContext: m.dial}
		if engine == "h2c" {
			standard.Protocols = new(http.Protocols)
			standard.Protocols.SetUnencryptedHTTP2(true)
		}
		transport = standard
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(m)
	}()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = s.Close()
		<-served
	})
	return &http.Client{Transport: transport}
}

// plain keeps messages of many equal bytes from being compressed.
var plain = connect.WithAcceptCompression("gzip", nil, nil)

const memoryURL = "http://memory.test"

// bubbles runs a test in a bubble for both proxies on all engines, with clients of a
// service behind the proxy. A heavy test runs in one protocol for each engine.
func bubbles(t *testing.T, heavy bool, service func(*testing.T) conntestv1connect.TestServiceHandler, test func(*testing.T, conntestv1connect.TestServiceClient, string)) {
	for _, name := range []string{"forward", "translate"} {
		for _, e := range engines {
			for protocol, option := range protocols {
				if heavy && protocol != map[string]string{"h1": "connect", "h2c": "grpc", "direct": "grpcweb"}[e.name] {
					continue
				}
				t.Run(strings.Join([]string{name, e.name, protocol}, "/"), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						_, handler := conntestv1connect.NewTestServiceHandler(service(t))
						engine := e.name
						if engine == "h1" && name == "translate" {
							engine = "h2c"
						}
						behind := startMemory(t, engine, handler)
						var front http.Handler
						if name == "forward" {
							front = forward(t, memoryURL, proxy.WithTransport(behind.Transport))
						} else {
							front = proxy.NewTranslator(testSchema(t), proxy.Backend{HTTPClient: behind, BaseURL: memoryURL, Options: []connect.ClientOption{connect.WithGRPC(), plain}})
						}
						client := startMemory(t, e.name, front)
						test(t, conntestv1connect.NewTestServiceClient(client, memoryURL, option, plain), e.name)
					})
				})
			}
		}
	}
}

// waiting is a service whose procedures the test gives.
type waiting struct {
	backend
	serverStream func(context.Context, *connect.ServerStream[response]) error
	clientStream func(context.Context, *connect.ClientStream[request]) error
	unary        func(context.Context) error
}

func (w waiting) Unary(ctx context.Context, _ *connect.Request[request]) (*connect.Response[response], error) {
	return connect.NewResponse(&response{}), w.unary(ctx)
}

func (w waiting) ServerStream(ctx context.Context, _ *connect.Request[request], stream *connect.ServerStream[response]) error {
	return w.serverStream(ctx, stream)
}

func (w waiting) ClientStream(ctx context.Context, stream *connect.ClientStream[request]) (*connect.Response[response], error) {
	return connect.NewResponse(&response{}), w.clientStream(ctx, stream)
}

const (
	chunk = 128 << 10
	// The windows of two hops may hold up to 8 MiB of a response, and 2 MiB of a request.
	manyResponses, mostOfResponses = 192, 12 << 20 // of 24 MiB
	manyRequests, mostOfRequests   = 48, 4 << 20   // of 6 MiB
)

// A caller that does not read makes the server wait: the proxy keeps a bounded part of
// the response. When the caller goes away, the server's call ends.
func TestSlowCaller(t *testing.T) {
	var sent atomic.Int64
	var over chan struct{}
	bubbles(t, true, func(*testing.T) conntestv1connect.TestServiceHandler {
		sent.Store(0)
		over = make(chan struct{})
		return waiting{serverStream: func(_ context.Context, stream *connect.ServerStream[response]) error {
			defer close(over)
			for range manyResponses {
				if err := stream.Send(&response{Data: make([]byte, chunk)}); err != nil {
					return err
				}
				sent.Add(chunk)
			}
			return nil
		}}
	}, func(t *testing.T, client conntestv1connect.TestServiceClient, _ string) {
		stream, err := client.ServerStream(t.Context(), connect.NewRequest(&request{}))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := sent.Load(); got > mostOfResponses {
			t.Errorf("the server sent %d bytes to a caller that does not read, want at most %d", got, mostOfResponses)
		}
		if !stream.Receive() {
			t.Errorf("got error %v, want a message", stream.Err())
		}
		_ = stream.Close()
		<-over
		if got := sent.Load(); got == manyResponses*chunk {
			t.Error("the server sent everything after the caller had gone")
		}
	})
}

// A server that does not read makes the caller wait.
func TestSlowServer(t *testing.T) {
	var release, over chan struct{}
	bubbles(t, true, func(*testing.T) conntestv1connect.TestServiceHandler {
		release, over = make(chan struct{}), make(chan struct{})
		return waiting{clientStream: func(_ context.Context, stream *connect.ClientStream[request]) error {
			defer close(over)
			<-release
			got := 0
			for stream.Receive() {
				got += len(stream.Msg().GetData())
			}
			if got != manyRequests*chunk {
				return connect.NewError(connect.CodeDataLoss, errors.New("bytes are missing"))
			}
			return stream.Err()
		}}
	}, func(t *testing.T, client conntestv1connect.TestServiceClient, _ string) {
		var sent atomic.Int64
		stream := client.ClientStream(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range manyRequests {
				if err := stream.Send(&request{Data: make([]byte, chunk)}); err != nil {
					t.Error(err)
					return
				}
				sent.Add(chunk)
			}
		}()
		synctest.Wait()
		if got := sent.Load(); got > mostOfRequests {
			t.Errorf("the caller sent %d bytes to a server that does not read, want at most %d", got, mostOfRequests)
		}
		close(release)
		<-done
		if _, err := stream.CloseAndReceive(); err != nil {
			t.Error(err)
		}
		<-over
	})
}

// A caller that cancels ends the server's call.
func TestCancel(t *testing.T) {
	var began, over chan struct{}
	wait := func(ctx context.Context) error {
		close(began)
		<-ctx.Done()
		close(over)
		return ctx.Err()
	}
	bubbles(t, false, func(*testing.T) conntestv1connect.TestServiceHandler {
		began, over = make(chan struct{}), make(chan struct{})
		return waiting{unary: wait, clientStream: func(ctx context.Context, stream *connect.ClientStream[request]) error {
			for stream.Receive() { // over HTTP/1.1 net/http looks for the end of a connection after the request
			}
			return wait(ctx)
		}}
	}, func(t *testing.T, client conntestv1connect.TestServiceClient, engine string) {
		for _, kind := range []string{"Unary", "ClientStream"} {
			if kind == "ClientStream" {
				began, over = make(chan struct{}), make(chan struct{})
			}
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-began
				cancel()
			}()
			o := call(ctx, client, kind, nil, &request{})
			wantError(t, o.err, connect.CodeCanceled, "")
			<-over
		}
	})
}

// The caller's deadline travels with the call.
func TestDeadline(t *testing.T) {
	left := make(chan time.Duration, 1)
	bubbles(t, false, func(*testing.T) conntestv1connect.TestServiceHandler {
		return waiting{unary: func(ctx context.Context) error {
			deadline, _ := ctx.Deadline()
			left <- time.Until(deadline)
			<-ctx.Done()
			return ctx.Err()
		}}
	}, func(t *testing.T, client conntestv1connect.TestServiceClient, _ string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		o := call(ctx, client, "Unary", nil, &request{})
		wantError(t, o.err, connect.CodeDeadlineExceeded, "")
		if got := <-left; got != time.Minute {
			t.Errorf("the server had %v left, want a minute", got)
		}
		time.Sleep(time.Minute) // for what the server does after a deadline
	})
}

// A server that does not heed the deadline of a caller that does not watch it either.
func TestDeadlineOfProxy(t *testing.T) {
	for _, e := range engines {
		for contentType, timeout := range map[string]string{"application/json": "Connect-Timeout-Ms", "application/grpc": "Grpc-Timeout", "application/connect+json": "Connect-Timeout-Ms"} {
			for _, late := range []bool{false, true} {
				t.Run(strings.ReplaceAll(e.name+"/"+contentType, "application/", ""), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						release := make(chan struct{})
						behind := startMemory(t, "h2c", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
							if late { // after a message
								w.Header().Set("Content-Type", contentType)
								_, _ = w.Write([]byte("\x00\x00\x00\x00\x02{}"))
								_ = http.NewResponseController(w).Flush()
							}
							<-release
						}))
						defer close(release)
						client := startMemory(t, e.name, forward(t, memoryURL, proxy.WithTransport(behind.Transport)))
						r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, memoryURL+"/a.S/M", strings.NewReader("\x00\x00\x00\x00\x02{}"))
						r.Header.Set("Content-Type", contentType)
						r.Header.Set(timeout, map[string]string{"Connect-Timeout-Ms": "5000", "Grpc-Timeout": "5S"}[timeout])
						begun := time.Now()
						response, err := client.Do(r)
						if err != nil {
							t.Fatal(err)
						}
						body, err := io.ReadAll(response.Body)
						_ = response.Body.Close()
						if got := time.Since(begun); got != 5*time.Second {
							t.Errorf("the answer was complete after %v, want 5s", got)
						}
						if contentType == "application/json" && late {
							if err == nil {
								t.Errorf("got %q as a whole response, want it cut off", body)
							}
							return
						}
						status := response.Header.Get("Grpc-Status") + response.Trailer.Get("Grpc-Status")
						if err != nil || status != "4" && !strings.Contains(string(body), `"deadline_exceeded"`) {
							t.Errorf("got body %q, status %q and error %v, want deadline_exceeded", body, status, err)
						}
					})
				})
			}
		}
	}
}

// An early answer to a stream of requests over HTTP/1.1 does not wait for the rest of
// it, and nothing waits for a caller that sends no more.
func TestEarlyAnswer(t *testing.T) {
	bubbles(t, false, func(*testing.T) conntestv1connect.TestServiceHandler {
		return waiting{clientStream: func(_ context.Context, stream *connect.ClientStream[request]) error {
			stream.Receive()
			return connect.NewError(connect.CodePermissionDenied, errors.New("enough"))
		}}
	}, func(t *testing.T, client conntestv1connect.TestServiceClient, _ string) {
		stream := client.ClientStream(t.Context())
		if err := stream.Send(&conntestv1.Request{Text: "x"}); err != nil {
			t.Fatal(err)
		}
		conn, err := stream.Conn()
		if err != nil {
			t.Fatal(err)
		}
		wantError(t, conn.Receive(new(response)), connect.CodePermissionDenied, "enough") // the request goes on
		_ = conn.CloseResponse()
	})
}
