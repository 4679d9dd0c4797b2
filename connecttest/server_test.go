// SPDX-License-Identifier: Apache-2.0

// Servers in memory: every kind of call over every version of HTTP, inside bubbles, with
// deadlines, and what is left after Close.

package connecttest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
)

// versions are the ways to speak HTTP.
var versions = map[string][]connecttest.Option{
	"HTTP/1.1": {connecttest.WithHTTP1()},
	"net/http": nil,
	"engine":   {connecttest.WithEngine()},
}

// withoutLog keeps panics from the log.
var withoutLog = connecttest.WithServer(func(s *http.Server) { s.ErrorLog = log.New(io.Discard, "", 0) })

const chatProcedure, greetProcedure = "/test.v1.Test/Chat", "/test.v1.Test/Greet"

// service answers greetings and chats. A greeting for "wait" lasts until its context ends.
func service(running *atomic.Int64) http.Handler {
	return connect.NewServiceHandler([]*connect.Handler{
		connect.NewBidiStreamHandler(chatProcedure, func(ctx context.Context, s *connect.BidiStream[text, text]) error {
			running.Add(1)
			defer running.Add(-1)
			return chat(ctx, s)
		}),
		connect.NewUnaryHandlerSimple(greetProcedure, func(ctx context.Context, name *text) (*text, error) {
			running.Add(1)
			defer running.Add(-1)
			if name.Value == "wait" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return wrapperspb.String("Hello, " + name.Value), nil
		}),
	})
}

func greeter(s *connecttest.Server, options ...connect.ClientOption) *connect.Client[text, text] {
	return connect.NewClient[text, text](s.Client(), s.URL+greetProcedure, options...)
}

// TestServer makes calls in a bubble. A deadline of an hour passes in no time.
func TestServer(t *testing.T) {
	for name, options := range versions {
		for protocol, client := range map[string]connect.ClientOption{
			"connect": connect.WithClientOptions(), "grpc": connect.WithGRPC(), "grpcweb": connect.WithGRPCWeb(),
		} {
			t.Run(name+"/"+protocol, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var running atomic.Int64
					mux := http.NewServeMux()
					mux.Handle("/test.v1.Test/", service(&running))
					s := connecttest.NewServer(mux, append(options, withoutLog)...)
					defer s.Close()
					greet := greeter(s, client)
					if r, err := greet.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String("Ada"))); err != nil || r.Msg.Value != "Hello, Ada" {
						t.Fatalf("got %v and %v", r, err)
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					if _, err := greet.CallUnary(ctx, connect.NewRequest(wrapperspb.String("wait"))); connect.CodeOf(err) != connect.CodeDeadlineExceeded {
						t.Errorf("got %v, want deadline_exceeded", err)
					}
					large := strings.Repeat("x", 1<<20)
					if r, err := greet.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String(large))); err != nil || len(r.Msg.Value) != len("Hello, ")+len(large) {
						t.Errorf("got error %v of a large message", err)
					}
					if name == "HTTP/1.1" {
						return
					}
					stream := connect.NewClient[text, text](s.Client(), s.URL+chatProcedure, client).CallBidiStream(t.Context())
					for range 10 {
						if err := stream.Send(wrapperspb.String("Grace")); err != nil {
							t.Fatal(err)
						}
						if r, err := stream.Receive(); err != nil || r.Value != "Hello, Grace" {
							t.Fatalf("got %v and %v", r, err)
						}
					}
					_ = stream.CloseRequest()
					if _, err := stream.Receive(); !errors.Is(err, io.EOF) {
						t.Errorf("got %v, want io.EOF", err)
					}
				})
			})
		}
	}
}

// TestServerClose closes a server while calls run: they fail on both sides, and nothing
// runs any more. Later calls fail. The bubble checks that no goroutine is left.
func TestServerClose(t *testing.T) {
	for name, options := range versions {
		synctest.Test(t, func(t *testing.T) {
			var running atomic.Int64
			s := connecttest.NewServer(service(&running), append(options, withoutLog)...)
			greet := greeter(s)
			failed := make(chan error, 5)
			for range cap(failed) {
				go func() {
					_, err := greet.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String("wait")))
					failed <- err
				}()
			}
			synctest.Wait()
			if got := running.Load(); got != int64(cap(failed)) {
				t.Errorf("%s: got %d handlers, want %d", name, got, cap(failed))
			}
			s.Close()
			s.Close()
			if got := running.Load(); got != 0 {
				t.Errorf("%s: got %d handlers after Close, want none", name, got)
			}
			for range cap(failed) {
				if err := <-failed; err == nil {
					t.Errorf("%s: got no error of a call, want one", name)
				}
			}
			if _, err := greet.CallUnary(t.Context(), connect.NewRequest(new(text))); connect.CodeOf(err) != connect.CodeUnavailable {
				t.Errorf("%s: got %v of a later call, want unavailable", name, err)
			}
		})
	}
}

// TestServerChanges has two options that change the server.
func TestServerChanges(t *testing.T) {
	var server *http.Server
	connecttest.NewServer(http.NotFoundHandler(),
		connecttest.WithServer(func(s *http.Server) { s.MaxHeaderBytes = 1000 }),
		connecttest.WithServer(nil),
		connecttest.WithServer(func(s *http.Server) { server = s })).Close()
	if server == nil || server.MaxHeaderBytes != 1000 {
		t.Errorf("got the server %+v, want one with both changes", server)
	}
}

// TestServerClosed has an engine begin a request that it had read before Close.
func TestServerClosed(t *testing.T) {
	runs := 0
	var inner *http.Server
	server := connecttest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { runs++ }),
		connecttest.WithServer(func(s *http.Server) { inner = s }))
	handler := inner.Handler
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	server.Close()
	defer func() {
		if v := recover(); v != http.ErrAbortHandler || runs != 1 {
			t.Errorf("got %v and %d runs, want %v and 1", v, runs, http.ErrAbortHandler)
		}
	}()
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
}

// TestServerSoak mixes calls that end, are canceled and time out with panics.
func TestServerSoak(t *testing.T) {
	for name, options := range versions {
		synctest.Test(t, func(t *testing.T) {
			var running atomic.Int64
			inner := service(&running)
			s := connecttest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Panic") != "" {
					panic(http.ErrAbortHandler)
				}
				inner.ServeHTTP(w, r)
			}), append(options, withoutLog)...)
			greet := greeter(s)
			var all sync.WaitGroup
			var ended atomic.Int64
			for i := range 8 {
				all.Go(func() {
					random := rand.New(rand.NewPCG(1, uint64(i)))
					for range 50 {
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+random.IntN(10))*time.Second)
						r := connect.NewRequest(wrapperspb.String([]string{"Ada", "wait", strings.Repeat("x", 100_000)}[random.IntN(3)]))
						switch random.IntN(4) {
						case 0:
							time.AfterFunc(time.Duration(random.IntN(5))*time.Second, cancel)
						case 1:
							r.Header().Set("Panic", "1")
						}
						_, _ = greet.CallUnary(ctx, r)
						ended.Add(1)
						cancel()
					}
				})
			}
			all.Wait()
			s.Close()
			if got := fmt.Sprint(running.Load(), ended.Load()); got != "0 400" {
				t.Errorf("%s: got %s handlers that run and calls that ended, want 0 400", name, got)
			}
		})
	}
}

// TestConn looks at the connections themselves.
func TestConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen atomic.Value
		s := connecttest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen.Store(r.RemoteAddr) }))
		conn, err := s.DialContext(t.Context(), "tcp", "anything:1")
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		_, err = conn.Read(make([]byte, 1))
		var timeout net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("got %v of a read, want its deadline, as a net.Error", err)
		}
		_ = conn.SetDeadline(time.Time{})
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 OK") {
			t.Errorf("got %q and %v", answer, err)
		}
		if host, _, err := net.SplitHostPort(seen.Load().(string)); err != nil || host != "client.test" || seen.Load() != conn.LocalAddr().String() {
			t.Errorf("got remote address %v, want %v", seen.Load(), conn.LocalAddr())
		}
		if _, err := conn.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("got %v of a write after the server has closed, want %v", err, syscall.EPIPE)
		}
		if half, ok := conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
			t.Errorf("got a %T without CloseWrite, or an error of it: servers lose what their peers have not read", conn)
		}
		_ = conn.Close()
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v of a read after Close, want %v", err, net.ErrClosed)
		}
		s.Close()
		if _, err := s.DialContext(t.Context(), "", ""); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("got %v of a dial after Close, want %v", err, syscall.ECONNREFUSED)
		}
	})
}

func TestNil(t *testing.T) {
	for want, start := range map[string]func(){
		"handler is nil":   func() { connecttest.NewServer(nil) },
		"an option is nil": func() { connecttest.NewServer(http.NotFoundHandler(), nil) },
	} {
		func() {
			defer func() {
				if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), want) {
					t.Errorf("got %v, want a panic with %q", v, want)
				}
			}()
			start()
		}()
	}
}
