// SPDX-License-Identifier: Apache-2.0

// What ends calls: contexts, handlers, limits, permissions, and servers that are not there.

package natstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	"github.com/seed-b7c59c10/connect/internal/tried"
	natsrpc "github.com/seed-b7c59c10/connect/nats"
)

// hung returns a service whose handlers wait until their contexts end, and the channels on
// which they report their begin and the cause of their end.
func hung() (s *service, begun chan struct{}, ended chan error) {
	begun, ended = make(chan struct{}, 100), make(chan error, 100)
	return &service{hook: func(ctx context.Context) error {
		begun <- struct{}{}
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return ctx.Err()
	}}, begun, ended
}

// kinds makes a call of each kind, and returns its error.
var kinds = map[string]func(context.Context, conntestv1connect.TestServiceClient) error{
	"unary": func(ctx context.Context, c conntestv1connect.TestServiceClient) error {
		_, err := c.Unary(ctx, connect.NewRequest(&conntestv1.Request{Text: "a"}))
		return err
	},
	"server stream": func(ctx context.Context, c conntestv1connect.TestServiceClient) error {
		stream, err := c.ServerStream(ctx, connect.NewRequest(&conntestv1.Request{Count: 1}))
		if err != nil {
			return err
		}
		defer stream.Close()
		for stream.Receive() {
		}
		return stream.Err()
	},
	"client stream": func(ctx context.Context, c conntestv1connect.TestServiceClient) error {
		stream := c.ClientStream(ctx)
		_ = stream.Send(&conntestv1.Request{Text: "a"})
		_, err := stream.CloseAndReceive()
		return err
	},
	"bidi": func(ctx context.Context, c conntestv1connect.TestServiceClient) error {
		stream := c.Bidi(ctx)
		_ = stream.Send(&conntestv1.Request{Text: "a"})
		_ = stream.CloseRequest()
		defer stream.CloseResponse()
		for {
			if _, err := stream.Receive(); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
		}
	},
}

// each runs a test for each protocol and kind of call.
func each(t *testing.T, test func(t *testing.T, options []connect.ClientOption, call func(context.Context, conntestv1connect.TestServiceClient) error)) {
	for protocol, options := range protocols {
		for kind, call := range kinds {
			t.Run(protocol+"/"+kind, func(t *testing.T) { test(t, options, call) })
		}
	}
}

// A client that cancels ends the handler's context, also that of a call of two messages.
func TestCancel(t *testing.T) {
	s := startServer(t, nil)
	service, begun, ended := hung()
	serve(t, dial(t, s), service.handler())
	nc := dial(t, s)
	each(t, func(t *testing.T, options []connect.ClientOption, call func(context.Context, conntestv1connect.TestServiceClient) error) {
		ctx, cancel := context.WithCancel(testContext(t))
		failed := make(chan error)
		go func() { failed <- call(ctx, newClient(nc, options...)) }()
		<-begun
		cancel()
		wantError(t, "caller", <-failed, connect.CodeCanceled, "")
		if err := <-ended; err == nil {
			t.Errorf("got no cause of the handler's end, want one")
		}
	})
}

// A deadline ends the call on both sides.
func TestDeadline(t *testing.T) {
	s := startServer(t, nil)
	service, begun, ended := hung()
	serve(t, dial(t, s), service.handler())
	nc := dial(t, s)
	each(t, func(t *testing.T, options []connect.ClientOption, call func(context.Context, conntestv1connect.TestServiceClient) error) {
		ctx, cancel := context.WithTimeout(testContext(t), 300*time.Millisecond)
		defer cancel()
		wantError(t, "caller", call(ctx, newClient(nc, options...)), connect.CodeDeadlineExceeded, "")
		select {
		case <-begun: // unless the deadline had passed before
			<-ended
		default:
		}
	})
}

// No server: the NATS server reports it at once, with the proof that nothing was processed.
func TestNoServer(t *testing.T) {
	s := startServer(t, nil)
	nc := dial(t, s)
	each(t, func(t *testing.T, options []connect.ClientOption, call func(context.Context, conntestv1connect.TestServiceClient) error) {
		err := call(testContext(t), newClient(nc, options...))
		wantError(t, "caller", err, connect.CodeUnavailable, "no server listens on \"rpc.conntest.v1.TestService.")
		if !tried.Unprocessed(err) {
			t.Error("got no proof that the call was not processed, want one")
		}
	})
}

// The user of the client may not publish to one method: calls of this method end, others do
// not.
func TestPermission(t *testing.T) {
	s := startServer(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "server", Password: "p"},
			{Username: "client", Password: "p", Permissions: &server.Permissions{Publish: &server.SubjectPermission{
				Allow: []string{"rpc.conntest.v1.TestService.Bidi", "_INBOX.>"},
			}}},
			{Username: "deaf", Password: "p", Permissions: &server.Permissions{Subscribe: &server.SubjectPermission{Deny: []string{"_INBOX.>"}}}},
			{Username: "idle", Password: "p", Permissions: &server.Permissions{Subscribe: &server.SubjectPermission{Deny: []string{"rpc.>"}}}},
		}
	})
	serve(t, dial(t, s, nats.UserInfo("server", "p")), new(service).handler())
	seen := make(chan error, 100)
	nc := dial(t, s, nats.UserInfo("client", "p"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { seen <- err }))
	for protocol, options := range protocols {
		client := newClient(nc, options...)
		wantError(t, protocol, kinds["unary"](testContext(t), client), connect.CodePermissionDenied, "rpc.conntest.v1.TestService.Unary")
		if err := kinds["bidi"](testContext(t), client); err != nil {
			t.Errorf("%s: got %v, want an answer", protocol, err)
		}
		if err := <-seen; !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("got %v in the program's error handler, want the violation", err)
		}
	}
	wantError(t, "no inbox", kinds["unary"](testContext(t), newClient(dial(t, s, nats.UserInfo("deaf", "p")))), connect.CodePermissionDenied, "_INBOX.")
	_, err := natsrpc.Serve(dial(t, s, nats.UserInfo("deaf", "p")), http.NotFoundHandler(), natsrpc.Services("a.B"))
	wantError(t, "server without inbox", err, connect.CodePermissionDenied, "_INBOX.")
	_, err = natsrpc.Serve(dial(t, s, nats.UserInfo("idle", "p")), http.NotFoundHandler(), natsrpc.Services("a.B"))
	wantError(t, "server", err, connect.CodePermissionDenied, "rpc.a.B.*")
}

// A NATS server with a small payload limit: bodies pass in pieces, and header fields that do
// not fit end the call.
func TestPayloadLimit(t *testing.T) {
	s := startServer(t, func(o *server.Options) { o.MaxPayload = 2048 })
	serve(t, dial(t, s), new(service).handler())
	nc := dial(t, s)
	for protocol, options := range protocols {
		t.Run(protocol, func(t *testing.T) {
			client := newClient(nc, options...)
			callAll(t, client, 100_000)
			r := connect.NewRequest(&conntestv1.Request{})
			r.Header().Set("X-Large", strings.Repeat("x", 2048))
			_, err := client.Unary(testContext(t), r)
			wantError(t, "request", err, connect.CodeResourceExhausted, "max_payload")
			_, err = client.Unary(testContext(t), connect.NewRequest(&conntestv1.Request{Failure: &conntestv1.Failure{
				Code: uint32(connect.CodeAborted), Message: "x", Metadata: map[string]string{"X-Large": strings.Repeat("x", 2048)},
			}}))
			if code := connect.CodeOf(err); code != connect.CodeResourceExhausted && code != connect.CodeAborted {
				t.Errorf("response: got %v, want resource_exhausted, or the error without its metadata", err)
			}
			if err := kinds["unary"](testContext(t), client); err != nil {
				t.Errorf("got %v afterwards, want an answer", err)
			}
		})
	}
}

// A server refuses calls beyond its limit, with the proof for package retry that no handler
// has seen them.
func TestMaxCalls(t *testing.T) {
	s := startServer(t, nil)
	service, begun, ended := hung()
	serve(t, dial(t, s), service.handler(), natsrpc.MaxCalls(2))
	nc := dial(t, s)
	ctx, cancel := context.WithCancel(testContext(t))
	first := make(chan error)
	for range 2 {
		go func() { first <- kinds["unary"](ctx, newClient(nc)) }()
		<-begun
	}
	for kind, call := range kinds {
		err := call(testContext(t), newClient(nc))
		wantError(t, kind, err, connect.CodeUnavailable, "has refused the call: the server has 2 calls")
		if !tried.Unprocessed(err) {
			t.Errorf("%s: got no proof that the call was not processed, want one", kind)
		}
	}
	cancel()
	for range 2 {
		wantError(t, "first calls", <-first, connect.CodeCanceled, "")
		<-ended
	}
}

// A handler that panics ends its own call.
func TestPanic(t *testing.T) {
	s := startServer(t, nil)
	serve(t, dial(t, s), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "Stream") {
			w.Header().Set("Content-Type", "application/grpc")
			_ = http.NewResponseController(w).Flush()
		}
		panic("some reason")
	}))
	nc := dial(t, s)
	for kind, call := range kinds {
		wantError(t, kind, call(testContext(t), newClient(nc, connect.WithGRPC())), connect.CodeInternal, "a panic of the handler")
	}
}

// Bad requests get errors before anything is sent.
func TestBadRequests(t *testing.T) {
	s := startServer(t, nil)
	nc := dial(t, s)
	transport := natsrpc.NewTransport(nc)
	for name, change := range map[string]func(*http.Request){
		"scheme":        func(r *http.Request) { r.URL.Scheme = "http" },
		"no prefix":     func(r *http.Request) { r.URL.Host = "" },
		"prefix":        func(r *http.Request) { r.URL.Host = "a*" },
		"port":          func(r *http.Request) { r.URL.Host = "a:4222" },
		"wildcard":      func(r *http.Request) { r.URL.Path = "/a.B/*" },
		"all":           func(r *http.Request) { r.URL.Path = "/a.>/M" },
		"blank":         func(r *http.Request) { r.URL.Path = "/a.B/M x" },
		"path":          func(r *http.Request) { r.URL.Path = "/api/a.B/M" },
		"method":        func(r *http.Request) { r.Method = "PO ST" },
		"field":         func(r *http.Request) { r.Header["A b"] = []string{"c"} },
		"value":         func(r *http.Request) { r.Header["A"] = []string{"c\r\nNats-Msg-Id: 1"} },
		"host":          func(r *http.Request) { r.Host = "a b" },
		"query":         func(r *http.Request) { r.URL.RawQuery = "a\nb" },
		"short body":    func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("abc")), 9 },
		"long body":     func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("abc")), 1 },
		"nil header":    func(r *http.Request) { r.Header = nil },
		"nil URL":       func(r *http.Request) { r.URL = nil },
		"ended context": func(r *http.Request) { *r = *r.WithContext(ended()) },
	} {
		body := &closing{Reader: strings.NewReader("x")}
		r, err := http.NewRequestWithContext(testContext(t), http.MethodPost, base+"/a.B/M", body)
		if err != nil {
			t.Fatal(err)
		}
		change(r)
		if response, err := transport.RoundTrip(r); err == nil {
			t.Errorf("%s: got %v, want an error", name, response.Status)
		} else if connect.CodeOf(err) == connect.CodeUnavailable {
			t.Errorf("%s: got %v, want an error before anything is sent", name, err)
		}
		if r.Body == io.ReadCloser(body) && body.closed.Load() == 0 {
			t.Errorf("%s: got an open body, want it closed", name)
		}
	}
	if got := nc.Stats().OutMsgs; got != 0 {
		t.Errorf("got %d messages, want none", got)
	}
}

func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

type closing struct {
	io.Reader
	closed atomic.Int32
}

func (c *closing) Close() error {
	c.closed.Add(1)
	return nil
}

// A transport and a server that are closed take no calls and leave nothing: the connection
// is as before.
func TestClose(t *testing.T) {
	s := startServer(t, nil)
	nc, own := dial(t, s), dial(t, s)
	service, begun, ended := hung()
	server := serve(t, own, service.handler())
	for range 3 { // what a Close frees, the next call makes anew
		transport := natsrpc.NewTransport(nc)
		client := conntestv1connect.NewTestServiceClient(&http.Client{Transport: transport}, base)
		failed := make(chan error)
		go func() { failed <- kinds["unary"](testContext(t), client) }()
		<-begun
		if err := transport.Close(); err != nil {
			t.Error(err)
		}
		wantError(t, "open call", <-failed, connect.CodeUnavailable, "closed")
		<-ended
		wantError(t, "later call", kinds["unary"](testContext(t), client), connect.CodeUnavailable, "closed")
		if got := nc.NumSubscriptions(); got != 0 {
			t.Errorf("got %d subscriptions, want none", got)
		}
	}
	client := newClient(nc)
	failed := make(chan error)
	go func() { failed <- kinds["bidi"](testContext(t), client) }()
	<-begun
	_ = server.Close()
	wantError(t, "call of a closed server", <-failed, connect.CodeUnavailable, "closed")
	<-ended
	wantError(t, "call after that", kinds["unary"](testContext(t), client), connect.CodeUnavailable, "no server listens")
	if got := own.NumSubscriptions(); got != 0 {
		t.Errorf("got %d subscriptions, want none", got)
	}
}

// A draining server answers all that it has taken, and takes nothing more.
func TestShutdown(t *testing.T) {
	s := startServer(t, nil)
	const calls = 20
	var taken atomic.Int64
	all, release := make(chan struct{}), make(chan struct{})
	service := &service{hook: func(context.Context) error {
		if taken.Add(1) == calls {
			close(all)
		}
		<-release
		return nil
	}}
	server := serve(t, dial(t, s), service.handler())
	nc := dial(t, s)
	failed := make(chan error, calls)
	for i := range calls {
		go func() {
			call := kinds[[]string{"unary", "server stream", "client stream", "bidi"}[i%4]]
			failed <- call(testContext(t), newClient(nc))
		}()
	}
	<-all
	if err := server.Shutdown(ended()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v from a Shutdown without time, want its context's error", err)
	}
	down := make(chan error, 2)
	for range 2 {
		go func() { down <- server.Shutdown(testContext(t)) }()
	}
	close(release)
	for range calls {
		if err := <-failed; err != nil {
			t.Errorf("got %v, want an answer of a draining server", err)
		}
	}
	for range 2 {
		if err := <-down; err != nil {
			t.Errorf("got %v, want a graceful end", err)
		}
	}
	wantError(t, "later call", kinds["unary"](testContext(t), newClient(nc)), connect.CodeUnavailable, "no server listens")
	if got := taken.Load(); got != calls {
		t.Errorf("got %d calls in handlers, want %d", got, calls)
	}
}

// What the handler sees of a request.
func TestRequest(t *testing.T) {
	s := startServer(t, nil)
	seen := make(chan string, 1)
	serve(t, dial(t, s), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		host, port, _ := strings.Cut(r.RemoteAddr, ":")
		seen <- fmt.Sprintf("%s %s %s %s %d %s %v %v %v %d %s", r.Method, r.URL, r.Host, r.Proto, r.ContentLength, body, err,
			strings.HasPrefix(host, "_INBOX."), r.Context().Value(http.ServerContextKey) != nil, len(r.Header), port)
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Set("Nats-Msg-Id", "1")
		w.Header().Set("Rpc-Status", "500")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "tea")
		w.Header().Set("X-Sum", "3")
		w.Header().Set(http.TrailerPrefix+"X-More", "4")
		w.Header().Set(http.TrailerPrefix+"Nats-More", "5")
	}), natsrpc.Services("a.B"), natsrpc.Prefix("x.y"))
	r, err := http.NewRequestWithContext(testContext(t), http.MethodPut, "nats://x.y/a.B/M?q=1", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"X-One": {"1"}, "Nats-Trace-Dest": {"x"}, "Rpc-Method": {"GET"}, "Connection": {"close"}}
	transport := natsrpc.NewTransport(dial(t, s))
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := <-seen, "PUT /a.B/M?q=1 x.y HTTP/2.0 4 body <nil> true true 2 0"; got != want {
		t.Errorf("got request %q, want %q", got, want)
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	got := fmt.Sprint(response.Status, " ", string(body), " ", err, " ", response.Header, " ", response.Trailer)
	if want := "418 I'm a teapot tea <nil> map[] map[X-More:[4] X-Sum:[3]]"; got != want {
		t.Errorf("got response %q, want %q", got, want)
	}
}
