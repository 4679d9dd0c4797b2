// SPDX-License-Identifier: Apache-2.0

// This file tests interceptors, on both sides and around all kinds of calls.

package conntest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// A journal notes events in their order.
type journal struct {
	mu     sync.Mutex
	events []string
}

func (j *journal) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, fmt.Sprintf(format, args...))
}

// take returns the events that were noted so far.
func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	events := j.events
	j.events = nil
	return events
}

// interceptor is a connect.Interceptor of functions; nil ones do nothing.
type interceptor struct {
	unary   func(connect.UnaryFunc) connect.UnaryFunc
	client  func(connect.StreamingClientFunc) connect.StreamingClientFunc
	handler func(connect.StreamingHandlerFunc) connect.StreamingHandlerFunc
}

func (i interceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	if i.unary == nil {
		return next
	}
	return i.unary(next)
}

func (i interceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	if i.client == nil {
		return next
	}
	return i.client(next)
}

func (i interceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	if i.handler == nil {
		return next
	}
	return i.handler(next)
}

// noting is an interceptor that notes when it is entered and left.
func (j *journal) noting(name string) connect.Interceptor {
	return interceptor{
		unary: func(next connect.UnaryFunc) connect.UnaryFunc {
			return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
				j.note("%s in", name)
				defer j.note("%s out", name)
				return next(ctx, r)
			}
		},
		client: func(next connect.StreamingClientFunc) connect.StreamingClientFunc {
			return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
				j.note("%s in", name)
				defer j.note("%s out", name)
				return next(ctx, spec)
			}
		},
		handler: func(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
			return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
				j.note("%s in", name)
				defer j.note("%s out", name)
				return next(ctx, conn)
			}
		},
	}
}

// The first interceptor is the outermost one, however many options bring them.
func TestInterceptorsAreAnOnion(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		var client, handler journal
		served := make(chan struct{}, 1)
		site := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			handler.note("handler")
			if _, err := x.receiveAll(); err != nil {
				return err
			}
			return x.send(new(conntestv1.Response))
		}), handlerOptions(
			connect.WithInterceptors(handler.noting("a")),
			connect.WithHandlerOptions(connect.WithInterceptors(handler.noting("b"), handler.noting("c"))),
		), wrapped(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(w, r)
				served <- struct{}{}
			})
		}))
		calls := site.client(
			connect.WithInterceptors(client.noting("a"), client.noting("b")),
			connect.WithClientOptions(connect.WithInterceptors(client.noting("c"))),
		)
		forKinds(t, m, func(t *testing.T, k kind) {
			wantNil(t, call(testContext(t), calls, k, nil, text("x")).err)
			wantEvents(t, "client", client.take(), "a in", "b in", "c in", "c out", "b out", "a out")
			// The client may have its answer before the last interceptor is left.
			await(t, "handler", served)
			wantEvents(t, "handler", handler.take(), "a in", "b in", "c in", "handler", "c out", "b out", "a out")
		})
	})
}

func wantEvents(t *testing.T, where string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: got %q, want %q", where, got, want)
	}
}

// A unary interceptor sees and may change messages and metadata of both
// directions.
func TestUnaryInterceptorChangesMessages(t *testing.T) {
	change := func(name string) connect.Interceptor {
		return connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
			return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
				r.Any().(*conntestv1.Request).Text += " " + name
				r.Header().Add("Passed", name)
				answer, err := next(ctx, r)
				if err != nil {
					return nil, err
				}
				answer.Any().(*conntestv1.Response).Text += " " + name
				answer.Header().Add("Passed", name)
				answer.Trailer().Add("Passed", name)
				return answer, nil
			}
		})
	}
	run(t, func(t *testing.T, m mode) {
		site := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			requests, err := x.receiveAll()
			if err != nil {
				return err
			}
			x.answer.Set("Seen", strings.Join(x.header.Values("Passed"), " "))
			return x.send(text2(requests[0].GetText()))
		}), handlerOptions(connect.WithInterceptors(change("handler"))))
		client := site.client(connect.WithInterceptors(change("client")))
		for _, k := range []kind{unary, get} {
			o := call(testContext(t), client, k, nil, text("x"))
			wantNil(t, o.err)
			wantEqual(t, "text", o.messages[0].GetText(), "x client handler handler client")
			wantValues(t, "header", o.header, "Seen", "client handler")
			wantValues(t, "header", o.header, "Passed", "handler", "client")
			wantValues(t, "trailer", o.trailer, "Passed", "handler", "client")
		}
		// It has nothing to do with streams.
		o := call(testContext(t), client, serverStream, nil, text("x"))
		wantNil(t, o.err)
		wantEqual(t, "text", o.messages[0].GetText(), "x")
	})
}

// A unary interceptor sees the call's Spec, Peer, headers and method.
func TestUnaryInterceptorSeesTheCall(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		check := func(k kind, r connect.AnyRequest, client bool) error {
			switch spec := r.Spec(); {
			case spec.Procedure != k.procedure() || spec.IsClient != client || spec.Schema == nil:
				return fmt.Errorf("spec: got %+v", spec)
			case r.Peer().Protocol != m.peerProtocol() || r.Peer().Addr == "":
				return fmt.Errorf("peer: got %+v", r.Peer())
			case client && r.HTTPMethod() != "":
				return fmt.Errorf("method: got %q before the call, want none", r.HTTPMethod())
			case !client && r.HTTPMethod() != http.MethodPost:
				return fmt.Errorf("method: got %q, want POST", r.HTTPMethod())
			}
			return nil
		}
		checking := func(k kind, client bool) connect.Interceptor {
			return connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
				return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
					if err := check(k, r, client); err != nil {
						return nil, err
					}
					answer, err := next(ctx, r)
					if err == nil && r.HTTPMethod() != http.MethodPost {
						return nil, fmt.Errorf("method: got %q after the call, want POST", r.HTTPMethod())
					}
					return answer, err
				}
			})
		}
		for _, k := range []kind{unary, get} {
			site := m.serve(t, echo, handlerOptions(connect.WithInterceptors(checking(k, false))))
			wantNil(t, call(testContext(t), site.client(connect.WithInterceptors(checking(k, true))), k, nil, text("x")).err)
		}
	})
}

// An interceptor may answer by itself, with a response or an error.
func TestUnaryInterceptorShortCircuits(t *testing.T) {
	answering := connect.UnaryInterceptorFunc(func(connect.UnaryFunc) connect.UnaryFunc {
		return func(context.Context, connect.AnyRequest) (connect.AnyResponse, error) {
			answer := connect.NewResponse(text2("cached"))
			answer.Header().Set("From", "cache")
			return answer, nil
		}
	})
	refusing := connect.UnaryInterceptorFunc(func(connect.UnaryFunc) connect.UnaryFunc {
		return func(context.Context, connect.AnyRequest) (connect.AnyResponse, error) {
			return nil, connect.NewError(connect.CodeUnauthenticated, errors.New("no token"))
		}
	})
	runFew(t, func(t *testing.T, m mode) {
		never := everyKind(func(_ context.Context, x *exchange) error {
			t.Errorf("the handler of %s ran", x.kind)
			return nil
		})
		silent := func(http.Handler) http.Handler {
			return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("sent %s", r.URL) })
		}
		for _, test := range []struct {
			name string
			site *site
			opts []connect.ClientOption
		}{
			{"client", m.serve(t, never, wrapped(silent)), []connect.ClientOption{connect.WithInterceptors(answering)}},
			{"handler", m.serve(t, never, handlerOptions(connect.WithInterceptors(answering))), nil},
		} {
			t.Run(test.name+" answers", func(t *testing.T) {
				o := call(testContext(t), test.site.client(test.opts...), unary, nil, text("x"))
				wantNil(t, o.err)
				wantEqual(t, "text", o.messages[0].GetText(), "cached")
				wantValues(t, "header", o.header, "From", "cache")
			})
		}
		for _, test := range []struct {
			name string
			site *site
			opts []connect.ClientOption
			wire bool
		}{
			{"client", m.serve(t, never, wrapped(silent)), []connect.ClientOption{connect.WithInterceptors(refusing)}, false},
			{"handler", m.serve(t, never, handlerOptions(connect.WithInterceptors(refusing))), nil, true},
		} {
			t.Run(test.name+" refuses", func(t *testing.T) {
				o := call(testContext(t), test.site.client(test.opts...), unary, nil, text("x"))
				wantCode(t, o.err, connect.CodeUnauthenticated)
				wantEqual(t, "is a wire error", connect.IsWireError(o.err), test.wire)
			})
		}
	})
}

// Errors pass through interceptors, which may replace them.
func TestUnaryInterceptorReplacesErrors(t *testing.T) {
	replacing := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
			answer, err := next(ctx, r)
			if connect.CodeOf(err) == connect.CodeNotFound {
				err = connect.NewError(connect.CodePermissionDenied, fmt.Errorf("hidden: %w", err))
			}
			return answer, err
		}
	})
	runFew(t, func(t *testing.T, m mode) {
		failing := &conntestv1.Request{Failure: &conntestv1.Failure{Code: uint32(connect.CodeNotFound), Message: "gone"}}
		onHandler := m.serve(t, echo, handlerOptions(connect.WithInterceptors(replacing))).client()
		wantCode(t, call(testContext(t), onHandler, unary, nil, failing).err, connect.CodePermissionDenied)
		onClient := m.serve(t, echo).client(connect.WithInterceptors(replacing))
		wantCode(t, call(testContext(t), onClient, unary, nil, failing).err, connect.CodePermissionDenied)
	})
}

// The context that an interceptor passes on is the one that the next one gets.
func TestInterceptorsChangeTheContext(t *testing.T) {
	type key struct{}
	runFew(t, func(t *testing.T, m mode) {
		adding := interceptor{
			unary: func(next connect.UnaryFunc) connect.UnaryFunc {
				return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
					return next(context.WithValue(ctx, key{}, "value"), r)
				}
			},
			handler: func(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
				return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
					return next(context.WithValue(ctx, key{}, "value"), conn)
				}
			},
		}
		client := m.serve(t, everyKind(func(ctx context.Context, x *exchange) error {
			if ctx.Value(key{}) != "value" {
				return errors.New("the interceptor's context did not arrive")
			}
			_, err := x.receiveAll()
			return err
		}), handlerOptions(connect.WithInterceptors(adding))).client()
		for _, k := range m.kinds() {
			wantNil(t, call(testContext(t), client, k, nil, text("x")).err)
		}
	})
}

// An interceptor cannot put a new CallInfo below the caller's (checklist item
// 87): the caller would not see it.
func TestNewClientContextInInterceptor(t *testing.T) {
	replacing := interceptor{
		unary: func(next connect.UnaryFunc) connect.UnaryFunc {
			return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
				ctx, _ = connect.NewClientContext(ctx)
				return next(ctx, r)
			}
		},
		client: func(next connect.StreamingClientFunc) connect.StreamingClientFunc {
			return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
				ctx, _ = connect.NewClientContext(ctx)
				return next(ctx, spec)
			}
		},
	}
	runFew(t, func(t *testing.T, m mode) {
		silent := func(http.Handler) http.Handler {
			return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("sent %s", r.URL) })
		}
		client := m.serve(t, echo, wrapped(silent)).client(connect.WithInterceptors(replacing))
		for _, k := range m.kinds() {
			for _, ctx := range []context.Context{testContext(t), withCallInfo(testContext(t))} {
				if err := call(ctx, client, k, nil, text("x")).err; err == nil {
					t.Fatalf("%s: got no error, want a refusal", k)
				}
			}
		}
	})
}

func withCallInfo(ctx context.Context) context.Context {
	ctx, _ = connect.NewClientContext(ctx)
	return ctx
}

// An interceptor may call another service in the middle of a call, with a
// CallInfo of its own.
func TestInterceptorCallsAnotherService(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		other := m.serve(t, echo).client()
		calling := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
			return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
				token, err := other.Unary(withCallInfo(ctx), requestOf("token"))
				if err != nil {
					return nil, err
				}
				r.Header().Set("Token", token.Msg.GetText())
				return next(ctx, r)
			}
		})
		client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			return x.send(text2(x.header.Get("Token")))
		})).client(connect.WithInterceptors(calling))
		o := call(testContext(t), client, unary, nil, text("x"))
		wantNil(t, o.err)
		wantEqual(t, "text", o.messages[0].GetText(), "token")
	})
}

// Interceptors of clients, and callers of streams, see the headers that the library
// sets. The library ignores their changes to these headers.
func TestLibraryHeadersAreVisible(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		received := make(chan http.Header, 1)
		s := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			received <- x.header.Clone()
			return x.send(new(conntestv1.Response))
		}))
		look := func(h http.Header) {
			for _, key := range []string{"Content-Type", "User-Agent", "Accept-Encoding"} {
				if h.Get(key) == "" {
					t.Errorf("%s: got none in %v", key, h)
				}
			}
			h.Set("Content-Type", "text/plain")
			h.Add("Accept-Encoding", "other")
			h.Set("Mine", "yes")
		}
		seen := interceptor{
			unary: func(next connect.UnaryFunc) connect.UnaryFunc {
				return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
					look(r.Header())
					return next(ctx, r)
				}
			},
			client: func(next connect.StreamingClientFunc) connect.StreamingClientFunc {
				return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
					conn := next(ctx, spec)
					look(conn.RequestHeader())
					return conn
				}
			},
		}
		plain, watched := s.client(), s.client(connect.WithInterceptors(seen))
		forKinds(t, m, func(t *testing.T, k kind) {
			for range 2 {
				wantNil(t, call(testContext(t), plain, k, nil, text("x")).err)
				want := <-received
				wantNil(t, call(testContext(t), watched, k, nil, text("x")).err)
				got := <-received
				wantValues(t, "request header", got, "Mine", "yes")
				for _, key := range []string{"Content-Type", "User-Agent", "Accept-Encoding", "Te", "Connect-Protocol-Version", "Grpc-Accept-Encoding"} {
					wantValues(t, "request header", got, key, want.Values(key)...)
				}
			}
		})
		stream := plain.ClientStream(testContext(t))
		look(stream.RequestHeader())
		wantNil(t, stream.Send(text("x")))
		_, err := stream.CloseAndReceive()
		wantNil(t, err)
		wantValues(t, "request header", <-received, "Mine", "yes")
	})
}
