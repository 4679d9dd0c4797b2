// SPDX-License-Identifier: Apache-2.0

// This file tests call interceptors: on both sides, around calls of all kinds.

package conntest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// A callRecord is what a call interceptor has seen of one call.
type callRecord struct {
	spec     connect.Spec
	peer     connect.Peer
	method   string // after the call
	asked    string // a value of the request's header, before the call
	messages []connect.CallMessage
	stats    connect.CallStats
	header   http.Header
	trailer  http.Header
	err      error
}

// sent returns the messages of one direction.
func (r *callRecord) sent(sent bool) (all []connect.CallMessage) {
	for _, m := range r.messages {
		if m.Sent == sent {
			all = append(all, m)
		}
	}
	return all
}

// A callLog is a call interceptor that records calls.
type callLog struct {
	begun, ended atomic.Int64
	changed      chan struct{}    // has a token after a call has ended
	done         chan *callRecord // nil keeps no records
}

func newCallLog() *callLog {
	return &callLog{changed: make(chan struct{}, 1), done: make(chan *callRecord, 10)}
}

// wait waits until all calls have ended that have begun.
func (l *callLog) wait(t *testing.T) {
	t.Helper()
	for l.begun.Load() != l.ended.Load() {
		await(t, "calls that have begun", l.changed)
	}
}

func (l *callLog) wrap(next connect.CallFunc) connect.CallFunc {
	return func(ctx context.Context, call *connect.Call) error {
		l.begun.Add(1)
		defer func() {
			l.ended.Add(1)
			select {
			case l.changed <- struct{}{}:
			default:
			}
		}()
		if l.done == nil {
			return next(ctx, call)
		}
		r := &callRecord{spec: call.Spec(), peer: call.Peer(), asked: call.RequestHeader().Get("Asked")}
		var mu sync.Mutex // the two directions are two goroutines
		call.OnMessage(func(m connect.CallMessage) {
			mu.Lock()
			defer mu.Unlock()
			r.messages = append(r.messages, m)
		})
		r.err = next(ctx, call)
		r.stats, r.method = call.Stats(), call.HTTPMethod()
		r.header, r.trailer = call.ResponseHeader().Clone(), call.ResponseTrailer().Clone()
		l.done <- r
		return r.err
	}
}

// Interceptors of both sides see every kind of call, all of its messages and its end.
func TestCallInterceptors(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		atHandler, atClient := newCallLog(), newCallLog()
		site := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			requests, err := x.receiveAll()
			if err != nil {
				return err
			}
			x.answer.Set("Own-Header", "h")
			x.trailer.Set("Own-Trailer", "t")
			for i := range len(requests) {
				if err := x.send(&conntestv1.Response{Text: requests[i].GetText(), Data: noise(100)}); err != nil {
					return err
				}
			}
			return nil
		}), handlerOptions(connect.WithCallInterceptors(atHandler.wrap)))
		client := site.client(connect.WithCallInterceptors(nil, atClient.wrap))
		forKinds(t, m, func(t *testing.T, k kind) {
			requests := []*conntestv1.Request{text("one")}
			if k.sendsMany() {
				requests = append(requests, text("two, which is longer"), &conntestv1.Request{})
			}
			o := call(testContext(t), client, k, http.Header{"Asked": {"yes"}}, requests...)
			wantNil(t, o.err)
			h, c := await(t, "handler's interceptor", atHandler.done), await(t, "client's interceptor", atClient.done)
			wantEqual(t, "requests", len(h.sent(false)), len(requests))
			wantEqual(t, "responses", len(c.sent(false)), len(o.messages))
			wantPairs(t, m, k, c.sent(true), h.sent(false))
			wantPairs(t, m, k, h.sent(true), c.sent(false))
			for side, r := range map[string]*callRecord{"client": c, "handler": h} {
				wantSpec(t, side, r.spec, k, side == "client")
				wantStats(t, side, r)
				wantNil(t, r.err)
				wantEqual(t, side+": protocol", r.peer.Protocol, m.peerProtocol())
				wantValues(t, side, r.header, "Own-Header", "h")
				wantValues(t, side, r.trailer, "Own-Trailer", "t")
				method := http.MethodPost
				if h.method == http.MethodGet && k == get {
					method = http.MethodGet
				}
				wantEqual(t, side+": method", r.method, method)
			}
			wantEqual(t, "handler: request header", h.asked, "yes")
			if !k.sendsMany() { // the others set it after the call has begun
				wantEqual(t, "client: request header", c.asked, "yes")
			}
		})
	})
}

// wantPairs fails the test unless the messages of one direction are the same on both
// sides, and their sizes make sense.
func wantPairs(t *testing.T, m mode, k kind, sent, received []connect.CallMessage) {
	t.Helper()
	wantEqual(t, "messages", len(sent), len(received))
	for i, s := range sent {
		r := received[i]
		s.Time = r.Time
		if got, want := fmt.Sprint(s.Message), fmt.Sprint(r.Message); got != want {
			t.Fatalf("message %d: sent %q, received %q, want the same", i, got, want)
		}
		s.Message, s.Sent = r.Message, r.Sent
		if s != r {
			t.Fatalf("message %d: sent %+v, received %+v, want the same", i, s, r)
		}
		prefix := 5
		if m.protocol == "connect" && (k == unary || k == get) {
			prefix = 0
		}
		if s.WireSize != s.CompressedSize+prefix || s.Number != int64(i+1) {
			t.Fatalf("message %d: got %+v, want number %d and a prefix of %d bytes", i, s, i+1, prefix)
		}
		if m.compression == "identity" && s.CompressedSize != s.Size {
			t.Fatalf("message %d: got %+v, want the same size before and after compression", i, s)
		}
	}
}

// wantStats fails the test unless the totals of a call are the sums of its messages,
// and its times follow each other.
func wantStats(t *testing.T, side string, r *callRecord) {
	t.Helper()
	s := r.stats
	var sums [2]connect.MessageStats
	for _, m := range r.messages {
		sum := &sums[0]
		if m.Sent {
			sum = &sums[1]
		}
		sum.Messages++
		sum.Bytes += int64(m.Size)
		sum.WireBytes += int64(m.WireSize)
		if sum.First.IsZero() {
			sum.First = m.Time
		}
		sum.Last = m.Time
	}
	if s.Received != sums[0] || s.Sent != sums[1] {
		t.Fatalf("%s: got %+v and %+v, want the sums of the messages %+v and %+v", side, s.Received, s.Sent, sums[0], sums[1])
	}
	if s.Begin.IsZero() || s.Begin.After(s.FirstByte) || s.FirstByte.After(s.End) || s.Received.Last.After(s.End) {
		t.Fatalf("%s: got %+v, want times that follow each other", side, s)
	}
}

// A refused call costs a handler no message, and a client sends nothing. Over net/http's
// HTTP/2 the handler reads the rest of the request to throw it away, see
// TestRefusedRequestIsReadToItsEnd.
func TestCallsAreRefused(t *testing.T) {
	refuse := func(t *testing.T, client bool) connect.CallInterceptorFunc {
		return func(connect.CallFunc) connect.CallFunc {
			return func(_ context.Context, call *connect.Call) error {
				if call.Spec().IsClient != client {
					t.Errorf("got %+v, want IsClient %v", call.Spec(), client)
				}
				return connect.NewError(connect.CodeResourceExhausted, errors.New("too many calls"))
			}
		}
	}
	runFew(t, func(t *testing.T, m mode) {
		var prepared, read, requests atomic.Int64
		options := handlerOptions(
			connect.WithCallInterceptors(refuse(t, false)),
			connect.WithRequestGate(func(ctx context.Context, _ connect.Spec, _ connect.Peer, _ http.Header) (context.Context, error) {
				prepared.Add(1)
				return ctx, nil
			}),
			connect.WithRequestInitializer(func(connect.Spec, any) error { prepared.Add(1); return nil }),
		)
		direct := m.serve(t, echo, options)
		counted := m.serve(t, echo, options, wrapped(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				r.Body = io.NopCloser(readCounter{r.Body, &read})
				next.ServeHTTP(w, r)
			})
		}))
		forKinds(t, m, func(t *testing.T, k kind) {
			for _, site := range []*site{direct, counted} {
				wantCode(t, call(testContext(t), site.client(), k, nil, text("x")).err, connect.CodeResourceExhausted)
			}
			wantEqual(t, "messages prepared and gates called", prepared.Load(), 0)
			if !m.engine.drains {
				wantEqual(t, "reads of the body", read.Load(), 0)
			}
			before := requests.Load()
			client := counted.client(connect.WithCallInterceptors(refuse(t, true)))
			wantCode(t, call(testContext(t), client, k, nil, text("x")).err, connect.CodeResourceExhausted)
			wantEqual(t, "requests of a refused client", requests.Load(), before)
		})
	})
}

type readCounter struct {
	io.Reader
	n *atomic.Int64
}

func (r readCounter) Read(b []byte) (int, error) {
	r.n.Add(1)
	return r.Reader.Read(b)
}

// Call interceptors are around gates, and gates around interceptors; the context and
// the header go inwards, errors outwards.
func TestCallOrder(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		type key struct{}
		var events journal
		around := func(name string) connect.CallInterceptorFunc {
			return func(next connect.CallFunc) connect.CallFunc {
				return func(ctx context.Context, call *connect.Call) error {
					events.note("%s in", name)
					if call.Spec().IsClient {
						call.RequestHeader().Add("Added", name)
					}
					err := next(context.WithValue(ctx, key{}, name), call)
					events.note("%s out %v", name, connect.CodeOf(err))
					return connect.NewError(connect.CodeOf(err)+1, err)
				}
			}
		}
		gate := func(ctx context.Context, _ connect.Spec, _ connect.Peer, header http.Header) (context.Context, error) {
			events.note("gate %v %v", ctx.Value(key{}), header.Values("Added"))
			return nil, nil
		}
		site := m.serve(t, everyKind(func(ctx context.Context, x *exchange) error {
			if _, err := x.receiveAll(); err != nil {
				return err
			}
			events.note("handler %v", ctx.Value(key{}))
			return fmt.Errorf("no code: %w", context.Canceled)
		}), handlerOptions(
			connect.WithRequestGate(gate), connect.WithInterceptors(events.noting("inner")), connect.WithCallInterceptors(around("b")),
		))
		client := site.client(connect.WithCallInterceptors(around("a")))
		forKinds(t, m, func(t *testing.T, k kind) {
			o := call(testContext(t), client, k, nil, text("x"))
			wantCode(t, o.err, connect.CodeInvalidArgument)
			events.wantOrder(t, "a in", "b in", "gate b [a]", "inner in", "handler b", "inner out", "b out canceled", "a out unknown")
		})
	})
}

// wantOrder fails the test unless these are the events since the last time. Events of
// a wrapped conn are left out.
func (j *journal) wantOrder(t *testing.T, want ...string) {
	t.Helper()
	got := j.take()
	kept := got[:0]
	for _, event := range got {
		if event == "inner in" || event == "inner out" || len(event) > 0 && event[:2] != "in" {
			kept = append(kept, event)
		}
	}
	wantEvents(t, "order", kept, want...)
}

// An interceptor may end a call without an error only where a response exists, or none
// is needed.
func TestCallsWithoutTheirError(t *testing.T) {
	silent := func(next connect.CallFunc) connect.CallFunc {
		return func(ctx context.Context, call *connect.Call) error {
			if next(ctx, call) == nil {
				return errors.New("got no error")
			}
			return nil
		}
	}
	runFew(t, func(t *testing.T, m mode) {
		fails := everyKind(func(_ context.Context, x *exchange) error {
			if _, err := x.receiveAll(); err != nil {
				return err
			}
			return connect.NewError(connect.CodeNotFound, errors.New("no file"))
		})
		atHandler := m.serve(t, fails, handlerOptions(connect.WithCallInterceptors(silent))).client()
		atClient := m.serve(t, fails).client(connect.WithCallInterceptors(silent))
		forKinds(t, m, func(t *testing.T, k kind) {
			handler, client := call(testContext(t), atHandler, k, nil, text("x")).err, call(testContext(t), atClient, k, nil, text("x")).err
			if k.receivesMany() {
				wantNil(t, handler)
				wantNil(t, client)
				return
			}
			wantCode(t, handler, connect.CodeInternal)
			if strings.Contains(handler.Error(), "no file") {
				t.Fatalf("got %v, want the text of the call's own error withheld", handler)
			}
			want := connect.CodeInternal
			if k == clientStream {
				want = connect.CodeUnimplemented // a stream that ended without its one message
			}
			wantCode(t, client, want)
		})
	})
}

// The misuse of the next function has errors.
func TestCallMisuse(t *testing.T) {
	type misuse struct {
		name  string
		wrap  connect.CallInterceptorFunc
		words string
	}
	around := func(f func(context.Context, *connect.Call, connect.CallFunc) error) connect.CallInterceptorFunc {
		return func(next connect.CallFunc) connect.CallFunc {
			return func(ctx context.Context, call *connect.Call) error { return f(ctx, call, next) }
		}
	}
	for _, test := range []misuse{
		{"skipped", around(func(context.Context, *connect.Call, connect.CallFunc) error { return nil }), "call interceptor"},
		{"own call", around(func(ctx context.Context, _ *connect.Call, next connect.CallFunc) error {
			return next(ctx, new(connect.Call))
		}), "Call of its own"},
		{"no call", around(func(ctx context.Context, _ *connect.Call, next connect.CallFunc) error { return next(ctx, nil) }), "Call of its own"},
		{"info", around(func(ctx context.Context, call *connect.Call, next connect.CallFunc) error {
			if !call.Spec().IsClient {
				return connect.NewError(connect.CodeInternal, errors.New("NewClientContext"))
			}
			ctx, _ = connect.NewClientContext(ctx)
			return next(ctx, call)
		}), "NewClientContext"},
		{"twice", around(func(ctx context.Context, call *connect.Call, next connect.CallFunc) error {
			if err := next(ctx, call); err != nil {
				return err
			}
			if err := next(ctx, call); err != nil {
				return err
			}
			return connect.NewError(connect.CodeInternal, errors.New("again is right")) // for a client's unary call
		}), "again"},
	} {
		t.Run(test.name, func(t *testing.T) {
			runFew(t, func(t *testing.T, m mode) {
				atHandler := m.serve(t, echo, handlerOptions(connect.WithCallInterceptors(test.wrap))).client()
				atClient := m.serve(t, echo).client(connect.WithCallInterceptors(test.wrap))
				forKinds(t, m, func(t *testing.T, k kind) {
					err := call(testContext(t), atHandler, k, nil, text("x")).err
					if test.name == "twice" && m.protocol == "connect" && (k == unary || k == get) {
						wantNil(t, err) // the whole response was sent before
					} else {
						wantMistake(t, err, []connect.Code{connect.CodeInternal}, test.words)
					}
					codes := []connect.Code{connect.CodeInternal, connect.CodeUnknown}
					wantMistake(t, call(testContext(t), atClient, k, nil, text("x")).err, codes, test.words)
				})
			})
		})
	}
}

// A client's unary call can be made again by its interceptor.
func TestCallsMadeAgain(t *testing.T) {
	again := func(next connect.CallFunc) connect.CallFunc {
		return func(ctx context.Context, call *connect.Call) error {
			err := next(ctx, call)
			for connect.CodeOf(err) == connect.CodeUnavailable {
				err = next(ctx, call)
			}
			return err
		}
	}
	runFew(t, func(t *testing.T, m mode) {
		var calls atomic.Int64
		log := newCallLog()
		client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			requests, err := x.receiveAll()
			if err != nil {
				return err
			}
			if n := calls.Add(1); n%3 != 0 {
				return connect.NewError(connect.CodeUnavailable, errors.New("try again"))
			}
			return x.send(text2(requests[0].GetText()))
		})).client(connect.WithCallInterceptors(log.wrap, again))
		for _, k := range []kind{unary, get} {
			o := call(testContext(t), client, k, nil, text("x"))
			wantNil(t, o.err)
			wantEqual(t, "text", o.messages[0].GetText(), "x")
			stats := await(t, "interceptor", log.done).stats
			wantEqual(t, "messages sent", stats.Sent.Messages, 3)
			wantEqual(t, "messages received", stats.Received.Messages, 1)
		}
		wantEqual(t, "calls", calls.Load(), 6)
	})
}
