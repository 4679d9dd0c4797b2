// SPDX-License-Identifier: Apache-2.0

// The lines of calls of each kind, that succeed and fail.

package accesslog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/accesslog"
	"github.com/seed-b7c59c10/connect/connecttest"
	"github.com/seed-b7c59c10/connect/inprocess"
	"github.com/seed-b7c59c10/connect/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

type message = wrapperspb.StringValue

const (
	pathUnary  = "/test.v1.S/Unary"
	pathServer = "/test.v1.S/Server"
)

var carriers = []struct {
	name     string
	protocol string
	server   []connecttest.Option
	options  []connect.ClientOption
	codec    string
}{
	{"h1 connect json", "connect", []connecttest.Option{connecttest.WithHTTP1()}, []connect.ClientOption{connect.WithProtoJSON()}, "json"},
	{"h2 connect", "connect", nil, nil, "proto"},
	{"h2 grpc", "grpc", nil, []connect.ClientOption{connect.WithGRPC()}, "proto"},
	{"engine grpcweb", "grpcweb", []connecttest.Option{connecttest.WithEngine()}, []connect.ClientOption{connect.WithGRPCWeb()}, "proto"},
}

// service answers messages with themselves. A message that is the name of a code is
// answered with an error of it, "panic" with a panic, and "sleep" after two seconds.
func service(options ...connect.HandlerOption) http.Handler {
	answer := func(ctx context.Context, text string) error {
		var code connect.Code
		switch {
		case text == "panic":
			panic(http.ErrAbortHandler)
		case text == "sleep":
			select {
			case <-time.After(2 * time.Second):
			case <-ctx.Done():
			}
		case code.UnmarshalText([]byte(text)) == nil:
			return connect.NewError(code, errors.New("as asked"+strings.Repeat(".", 2000)))
		}
		return nil
	}
	options = append(options, connect.WithIdempotency(connect.IdempotencyNoSideEffects))
	return connect.NewServiceHandler([]*connect.Handler{
		connect.NewUnaryHandler(pathUnary, func(ctx context.Context, r *connect.Request[message]) (*connect.Response[message], error) {
			if err := answer(ctx, r.Msg.GetValue()); err != nil {
				return nil, err
			}
			response := connect.NewResponse(r.Msg)
			response.Header().Set("X-Region", "north")
			response.Header().Set("Set-Cookie", "secret")
			return response, nil
		}, options...),
		connect.NewServerStreamHandler(pathServer, func(ctx context.Context, r *connect.Request[message], stream *connect.ServerStream[message]) error {
			if err := answer(ctx, r.Msg.GetValue()); err != nil {
				return err
			}
			for range 3 {
				if err := stream.Send(r.Msg); err != nil {
					return err
				}
			}
			return nil
		}, options...),
	})
}

// lines are the lines of a log, as JSON.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// all returns the lines so far.
func (l *lines) all(t testing.TB) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []map[string]any
	d := json.NewDecoder(bytes.NewReader(l.b.Bytes()))
	for {
		var line map[string]any
		if err := d.Decode(&line); err == io.EOF {
			return found
		} else if err != nil {
			t.Fatal(err)
		}
		found = append(found, line)
	}
}

// wait returns the lines when there are n: a handler's call ends after its client's.
func (l *lines) wait(t testing.TB, n int) []map[string]any {
	t.Helper()
	ctx := testContext(t)
	for {
		if found := l.all(t); len(found) >= n {
			return found
		}
		select {
		case <-ctx.Done():
			t.Fatalf("got %d lines, want %d", len(l.all(t)), n)
		case <-time.After(time.Millisecond):
		}
	}
}

func newLog(options ...accesslog.Option) (*lines, connect.Option) {
	l := new(lines)
	return l, connect.WithCallInterceptors(accesslog.New(slog.New(slog.NewJSONHandler(l, nil)), options...))
}

func serve(t testing.TB, h http.Handler, options ...connecttest.Option) *connecttest.Server {
	options = append([]connecttest.Option{connecttest.WithServer(func(s *http.Server) { s.ErrorLog = log.New(io.Discard, "", 0) })}, options...)
	s := connecttest.NewServer(h, options...)
	t.Cleanup(s.Close)
	return s
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // ends a test that hangs
	t.Cleanup(cancel)
	return ctx
}

func unary(ctx context.Context, s *connecttest.Server, text string, options ...connect.ClientOption) error {
	request := connect.NewRequest(wrapperspb.String(text))
	request.Header().Set("X-Tenant", "acme")
	request.Header().Set("Authorization", "Bearer secret")
	_, err := connect.NewClient[message, message](s.Client(), s.URL+pathUnary, options...).CallUnary(ctx, request)
	return err
}

func stream(ctx context.Context, s *connecttest.Server, text string, options ...connect.ClientOption) error {
	stream, err := connect.NewClient[message, message](s.Client(), s.URL+pathServer, options...).CallServerStream(ctx, connect.NewRequest(wrapperspb.String(text)))
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
	}
	return stream.Err()
}

// wantLine checks values of a line, and that those that are nil are not there.
func wantLine(t testing.TB, line, want map[string]any) {
	t.Helper()
	for name, value := range want {
		got, there := line[name]
		if there != (value != nil) || there && !equal(got, value) {
			t.Errorf("got %s %v, want %v; line: %v", name, got, value, line)
		}
	}
}

func equal(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

func TestLines(t *testing.T) {
	for _, c := range carriers {
		for name, call := range map[string]func(context.Context, *connecttest.Server, string, ...connect.ClientOption) error{"unary": unary, "server": stream} {
			for code, level := range map[string]string{"ok": "INFO", "not_found": "INFO", "internal": "ERROR", "unavailable": "WARN"} {
				t.Run(c.name+" "+name+" "+code, func(t *testing.T) {
					handlers, onHandler := newLog()
					clients, onClient := newLog()
					s := serve(t, service(onHandler), c.server...)
					if err := call(testContext(t), s, code, append(c.options, onClient)...); (err == nil) != (code == "ok") {
						t.Fatalf("got %v", err)
					}
					want := map[string]any{"msg": "call", "level": level, "procedure": "/test.v1.S/" + strings.ToUpper(name[:1]) + name[1:], "kind": name, "protocol": c.protocol,
						"code": code, "phases": nil, "request_header": nil, "request": nil, "method": nil, "identity": nil}
					handler, client := handlers.wait(t, 1)[0], clients.wait(t, 1)[0]
					for side, line := range map[string]map[string]any{"server": handler, "client": client} {
						want["side"] = side
						wantLine(t, line, want)
						responses := map[string]float64{"unary": 1, "server": 3}[name]
						if code != "ok" {
							responses = 0
							if text, _ := line["error"].(string); !strings.HasPrefix(text, code+": as asked...") || len(text) > 1100 {
								t.Errorf("got error %q, want that of the call, and not all of it", text)
							}
						}
						if got := line["responses"].(map[string]any)["messages"]; got != responses {
							t.Errorf("%s: got %v responses, want %v", side, got, responses)
						}
						if peer, _ := line["peer"].(string); peer == "" || strings.Contains(peer, ":") {
							t.Errorf("%s: got the peer %q, want an address without a port", side, peer)
						}
					}
					wantLine(t, handler, map[string]any{"codec": c.codec})
				})
			}
		}
	}
}

func TestPanic(t *testing.T) {
	l, option := newLog(accesslog.WithSampling(0))
	s := serve(t, service(option))
	if err := unary(testContext(t), s, "panic"); err == nil {
		t.Fatal("got no error, want one")
	}
	wantLine(t, l.wait(t, 1)[0], map[string]any{"code": "panic", "level": "ERROR", "error": nil})
}

// TestCodesOfInterceptors has an interceptor inside whose error has no code of the protocol:
// the line has the code that the client receives.
func TestCodesOfInterceptors(t *testing.T) {
	for want, failure := range map[string]error{
		"canceled":          fmt.Errorf("waiting for a place: %w", context.Canceled),
		"deadline_exceeded": context.DeadlineExceeded,
		"unknown":           connect.NewError(connect.Code(100), context.Canceled),
		"unavailable":       connect.NewError(connect.CodeUnavailable, context.Canceled),
	} {
		l := new(lines)
		h := service(connect.WithCallInterceptors(accesslog.New(slog.New(slog.NewJSONHandler(l, nil))), func(connect.CallFunc) connect.CallFunc {
			return func(context.Context, *connect.Call) error { return failure }
		}))
		c := connect.NewClient[message, message](&http.Client{Transport: inprocess.NewTransport(h)}, "http://in.process"+pathUnary)
		if _, err := c.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String("a"))); connect.CodeOf(err).String() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if got := l.wait(t, 1); got[0]["code"] != want {
			t.Errorf("got lines %v, want the code %s", got, want)
		}
	}
}

func TestGet(t *testing.T) {
	l, option := newLog()
	s := serve(t, service(option))
	if err := unary(testContext(t), s, "hello", connect.WithHTTPGet(), connect.WithIdempotency(connect.IdempotencyNoSideEffects)); err != nil {
		t.Fatal(err)
	}
	wantLine(t, l.wait(t, 1)[0], map[string]any{"method": "GET", "codec": nil})
}

func TestHeaders(t *testing.T) {
	l, both := newLog(accesslog.WithRequestHeaders("x-tenant", "authorization", "x-none"), accesslog.WithResponseHeaders("x-region", "set-cookie"), accesslog.WithoutPeer(), nil)
	s := serve(t, service(both))
	if err := unary(testContext(t), s, "hello", both); err != nil {
		t.Fatal(err)
	}
	for _, line := range l.wait(t, 2) {
		wantLine(t, line, map[string]any{
			"request_header":  map[string]string{"X-Tenant": "acme", "Authorization": "[redacted]"},
			"response_header": map[string]string{"X-Region": "north", "Set-Cookie": "[redacted]"},
			"peer":            nil,
		})
	}
}

// TestSampling leaves out calls that succeed, and none that fail.
func TestSampling(t *testing.T) {
	for rate, want := range map[float64][2]int{0: {20, 20}, 1: {60, 60}, 0.5: {21, 59}} {
		l, option := newLog(accesslog.WithSampling(rate))
		s := serve(t, service(option))
		for range 20 {
			for _, text := range []string{"hello", "not_found", "hello"} {
				_ = unary(testContext(t), s, text)
			}
		}
		s.Close()
		lines, failed := l.all(t), 0
		for _, line := range lines {
			if line["code"] == "not_found" {
				failed++
			}
		}
		if len(lines) < want[0] || len(lines) > want[1] || failed != 20 {
			t.Errorf("rate %v: got %d lines, of them %d of failed calls, want %d to %d and 20", rate, len(lines), failed, want[0], want[1])
		}
	}
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, option := newLog(accesslog.WithSampling(0), accesslog.WithSlow(1500*time.Millisecond))
		s := serve(t, service(option))
		for _, text := range []string{"hello", "sleep"} {
			if err := unary(t.Context(), s, text); err != nil {
				t.Error(err)
			}
		}
		if err := stream(t.Context(), s, "sleep"); err != nil { // streams may last
			t.Error(err)
		}
		s.Close()
		synctest.Wait()
		lines := l.all(t)
		if len(lines) != 1 {
			t.Fatalf("got %v, want the line of the slow call", lines)
		}
		wantLine(t, lines[0], map[string]any{"code": "ok", "level": "WARN", "duration": float64(2 * time.Second),
			"phases": map[string]float64{"first_request": 0, "last_request": 0, "first_byte": 2e9, "first_response": 2e9, "last_response": 2e9, "end": 2e9}})
	})
}

func TestChoices(t *testing.T) {
	l, option := newLog(
		accesslog.WithFilter(func(_ context.Context, call *connect.Call) bool { return call.Spec().Procedure != pathServer }),
		accesslog.WithLevel(func(_ connect.Spec, code connect.Code, _ bool) slog.Level {
			if code == connect.CodeNotFound {
				return slog.LevelDebug // which the logger leaves out
			}
			return slog.LevelWarn
		}),
		accesslog.WithAttrs(func(_ context.Context, call *connect.Call) []slog.Attr {
			return []slog.Attr{slog.String("tenant", call.RequestHeader().Get("X-Tenant"))}
		}))
	s := serve(t, service(option))
	ctx := testContext(t)
	_ = unary(ctx, s, "not_found")
	_ = stream(ctx, s, "hello")
	_ = unary(ctx, s, "hello")
	s.Close()
	lines := l.all(t)
	if len(lines) != 1 {
		t.Fatalf("got %v, want one line", lines)
	}
	wantLine(t, lines[0], map[string]any{"level": "WARN", "tenant": "acme"})
}

func TestOptionsPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"WithSampling": func() { accesslog.WithSampling(1.5) },
		"WithSlow":     func() { accesslog.WithSlow(0) },
		"WithLevel":    func() { accesslog.WithLevel(nil) },
		"WithFilter":   func() { accesslog.WithFilter(nil) },
		"WithAttrs":    func() { accesslog.WithAttrs(nil) },
		"WithMessages": func() { accesslog.WithMessages(-1) },
		"New":          func() { accesslog.New(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if got, _ := recover().(string); !strings.HasPrefix(got, "accesslog: "+name+" needs a ") {
					t.Errorf("got panic %q, want one that names the option", got)
				}
			}()
			f()
		})
	}
}

// TestSoak mixes calls that end in every way: each has one line on each side.
func TestSoak(t *testing.T) {
	for i, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			l, both := newLog(accesslog.WithMessages(100), accesslog.WithResponseHeaders("X-Region"))
			s := serve(t, service(both), c.server...)
			var workers sync.WaitGroup
			for n := range 4 {
				seed := rand.New(rand.NewPCG(uint64(i), uint64(n)))
				workers.Go(func() {
					for range 50 {
						text := []string{"hello", "not_found", "panic", "sleep"}[seed.IntN(4)]
						ctx, cancel := context.WithTimeout(testContext(t), time.Duration(500+seed.IntN(3000))*time.Microsecond) // at any point of the call
						if seed.IntN(2) == 0 {
							_ = unary(ctx, s, text, append(c.options, both)...)
						} else {
							_ = stream(ctx, s, text, append(c.options, both)...)
						}
						cancel()
					}
				})
			}
			workers.Wait()
			s.Close()
			clients := 0
			for _, line := range l.wait(t, 200) {
				if line["side"] == "client" {
					clients++
				}
			}
			if clients != 200 {
				t.Errorf("got %d lines of clients, want 200", clients)
			}
		})
	}
}
