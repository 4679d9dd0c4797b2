// SPDX-License-Identifier: Apache-2.0

// Calls through Handler.ServeConn, over a conn that is not the package's own.

package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// memoryConn is a HandlerConn over slices of messages.
type memoryConn struct {
	ctx             context.Context
	spec            Spec
	requests        []string
	request         http.Header
	header, trailer http.Header

	prepared  []string // the messages as Receive got them
	responses []string
	closes    int
	closed    error
}

func newMemoryConn(ctx context.Context, h *Handler, requests ...string) *memoryConn {
	return &memoryConn{ctx: ctx, spec: h.Spec(), requests: requests,
		request: http.Header{"Asked": {"yes"}}, header: http.Header{}, trailer: http.Header{}}
}

func (c *memoryConn) Spec() Spec                   { return c.spec }
func (c *memoryConn) Peer() Peer                   { return Peer{Addr: "here", Protocol: "memory"} }
func (c *memoryConn) RequestHeader() http.Header   { return c.request }
func (c *memoryConn) ResponseHeader() http.Header  { return c.header }
func (c *memoryConn) ResponseTrailer() http.Header { return c.trailer }

func (c *memoryConn) Receive(msg any) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if len(c.requests) == 0 {
		return io.EOF
	}
	m := msg.(*wrapperspb.StringValue)
	c.prepared = append(c.prepared, m.Value)
	m.Value += c.requests[0]
	c.requests = c.requests[1:]
	return nil
}

func (c *memoryConn) Send(msg any) error {
	if msg != nil {
		c.responses = append(c.responses, msg.(*wrapperspb.StringValue).Value)
	}
	return nil
}

func (c *memoryConn) Close(err error) {
	c.closes++
	c.closed = err
}

// getConn is a memoryConn with a method of its own.
type getConn struct{ *memoryConn }

func (getConn) HTTPMethod() string { return http.MethodGet }

type note = wrapperspb.StringValue

// textHandlers returns a handler of each kind. Each answers with what it received,
// in metadata that it finds in the context and in its arguments.
func textHandlers(options ...HandlerOption) map[StreamType]*Handler {
	answer := func(ctx context.Context, all []string) *note {
		info, ok := CallInfoForHandlerContext(ctx)
		if !ok {
			return wrapperspb.String("no call info")
		}
		info.ResponseHeader().Set("Asked", info.RequestHeader().Get("Asked"))
		info.ResponseTrailer().Set("Method", info.HTTPMethod()+" "+info.Peer().Protocol+info.Spec().Procedure)
		return wrapperspb.String(strings.Join(all, "+"))
	}
	receive := func(next func() (*note, error)) (all []string, err error) {
		for {
			m, err := next()
			if errors.Is(err, io.EOF) {
				return all, nil
			}
			if err != nil {
				return nil, err
			}
			all = append(all, m.Value)
		}
	}
	return map[StreamType]*Handler{
		StreamTypeUnary: NewUnaryHandler("/s/Unary", func(ctx context.Context, r *Request[note]) (*Response[note], error) {
			res := NewResponse(answer(ctx, []string{r.Msg.Value}))
			res.Header().Set("Own", r.Header().Get("Asked"))
			res.Trailer().Set("Own", r.HTTPMethod()+" "+r.Peer().Protocol+r.Spec().Procedure)
			return res, nil
		}, options...),
		StreamTypeServer: NewServerStreamHandler("/s/Server", func(ctx context.Context, r *Request[note], s *ServerStream[note]) error {
			s.ResponseHeader().Set("Own", r.Header().Get("Asked"))
			s.ResponseTrailer().Set("Own", r.HTTPMethod()+" "+r.Peer().Protocol+r.Spec().Procedure)
			return errors.Join(s.Send(nil), s.Send(answer(ctx, []string{r.Msg.Value})), s.Send(&note{}))
		}, options...),
		StreamTypeClient: NewClientStreamHandler("/s/Client", func(ctx context.Context, s *ClientStream[note]) (*Response[note], error) {
			all, err := receive(func() (*note, error) {
				if !s.Receive() {
					return nil, errors.Join(s.Err(), io.EOF)
				}
				return s.Msg(), nil
			})
			return NewResponse(answer(ctx, all)), errors.Join(err, s.Err())
		}, options...),
		StreamTypeBidi: NewBidiStreamHandler("/s/Bidi", func(ctx context.Context, s *BidiStream[note, note]) error {
			all, err := receive(s.Receive)
			return errors.Join(err, s.Send(answer(ctx, all)))
		}, options...),
	}
}

func eachTextHandler(t *testing.T, options []HandlerOption, f func(*testing.T, *Handler)) {
	for kind, h := range textHandlers(options...) {
		t.Run(kind.String(), func(t *testing.T) { f(t, h) })
	}
}

// TestServeConn: messages, metadata and call information of all kinds.
func TestServeConn(t *testing.T) {
	eachTextHandler(t, nil, func(t *testing.T, h *Handler) {
		kind := h.Spec().StreamType
		requests, answer := []string{"a"}, "a"
		if kind.clientStreams() {
			requests, answer = []string{"a", "b", "c"}, "a+b+c"
		}
		c := newMemoryConn(t.Context(), h, requests...)
		h.ServeConn(t.Context(), c)
		want := []string{answer}
		if kind == StreamTypeServer {
			want = append(want, "")
		}
		if diff := cmp.Diff(c.responses, want); diff != "" || c.closes != 1 || c.closed != nil {
			t.Errorf("got closed %d times with %v, want once without an error; messages, got and want: %s", c.closes, c.closed, diff)
		}
		about := "POST memory" + h.Spec().Procedure
		header, trailer := http.Header{"Asked": {"yes"}}, http.Header{"Method": {about}}
		if !kind.clientStreams() {
			header["Own"], trailer["Own"] = []string{"yes"}, []string{about}
		}
		if diff := cmp.Diff([]http.Header{c.header, c.trailer}, []http.Header{header, trailer}); diff != "" {
			t.Errorf("metadata, got and want: %s", diff)
		}
		c = newMemoryConn(t.Context(), h, requests...)
		h.ServeConn(t.Context(), getConn{c})
		if got, want := first(c.trailer, "Method"), "GET memory"+h.Spec().Procedure; got != want {
			t.Errorf("with HTTPMethod: got %q, want %q", got, want)
		}
	})
}

// TestServeConnMessages: a procedure that takes one message refuses none and two.
func TestServeConnMessages(t *testing.T) {
	eachTextHandler(t, nil, func(t *testing.T, h *Handler) {
		if h.Spec().StreamType.clientStreams() {
			return
		}
		for _, test := range []struct {
			requests []string
			want     string
		}{
			{nil, "unimplemented: " + h.Spec().Procedure + " takes one message: the request has none"},
			{[]string{"a", "b"}, "unimplemented: " + h.Spec().Procedure + " takes one message: the request has more"},
		} {
			c := newMemoryConn(t.Context(), h, test.requests...)
			h.ServeConn(t.Context(), c)
			if c.closes != 1 || len(c.responses) > 0 || fmt.Sprint(c.closed) != test.want {
				t.Errorf("%d messages: got %v and %d responses, want %v", len(test.requests), c.closed, len(c.responses), test.want)
			}
		}
	})
}

// countingInterceptor counts the calls and what they receive and send.
type countingInterceptor struct{ calls, received, sent atomic.Int32 }

func (i *countingInterceptor) WrapUnary(next UnaryFunc) UnaryFunc {
	return func(ctx context.Context, r AnyRequest) (AnyResponse, error) {
		i.calls.Add(1)
		i.received.Add(1)
		i.sent.Add(1)
		return next(ctx, r)
	}
}

func (i *countingInterceptor) WrapStreamingClient(next StreamingClientFunc) StreamingClientFunc {
	return next
}

func (i *countingInterceptor) WrapStreamingHandler(next StreamingHandlerFunc) StreamingHandlerFunc {
	return func(ctx context.Context, conn StreamingHandlerConn) error {
		i.calls.Add(1)
		return next(ctx, &countingConn{conn, i})
	}
}

type countingConn struct {
	StreamingHandlerConn
	i *countingInterceptor
}

func (c *countingConn) Receive(msg any) error {
	err := c.StreamingHandlerConn.Receive(msg)
	if err == nil {
		c.i.received.Add(1)
	}
	return err
}

func (c *countingConn) Send(msg any) error {
	if msg != nil {
		c.i.sent.Add(1)
	}
	return c.StreamingHandlerConn.Send(msg)
}

// TestServeConnOptions: initializers, gates in their order, and interceptors.
func TestServeConnOptions(t *testing.T) {
	type key struct{}
	var order []string
	count := new(countingInterceptor)
	options := []HandlerOption{
		WithRequestInitializer(func(s Spec, msg any) error {
			msg.(*note).Value = "prepared " + s.StreamType.String() + " "
			return nil
		}),
		WithRequestGate(func(ctx context.Context, s Spec, p Peer, h http.Header) (context.Context, error) {
			order = append(order, "first "+p.Addr+" "+h.Get("Asked"))
			return context.WithValue(ctx, key{}, s.Procedure), nil
		}),
		WithRequestGate(func(ctx context.Context, s Spec, _ Peer, h http.Header) (context.Context, error) {
			order = append(order, fmt.Sprint("second ", ctx.Value(key{}) == s.Procedure))
			if h.Get("Refused") != "" {
				return nil, NewError(CodeUnauthenticated, errors.New("refused"))
			}
			return nil, nil
		}),
		WithInterceptors(count),
	}
	eachTextHandler(t, options, func(t *testing.T, h *Handler) {
		order = nil
		calls, received, sent := count.calls.Load(), count.received.Load(), count.sent.Load()
		c := newMemoryConn(t.Context(), h, "a")
		h.ServeConn(t.Context(), c)
		if want := []string{"prepared " + h.Spec().StreamType.String() + " "}; c.closed != nil || cmp.Diff(c.prepared, want) != "" {
			t.Errorf("got %v and messages %q, want no error and %q", c.closed, c.prepared, want)
		}
		if diff := cmp.Diff(order, []string{"first here yes", "second true"}); diff != "" {
			t.Errorf("gates, got and want: %s", diff)
		}
		if n := count.calls.Load() - calls; n != 1 {
			t.Errorf("got %d calls in the interceptor, want 1", n)
		}
		if in, out := count.received.Load()-received, count.sent.Load()-sent; in != 1 || int(out) != len(c.responses) {
			t.Errorf("the interceptor got %d and %d messages, want 1 and %d", in, out, len(c.responses))
		}
		c = newMemoryConn(t.Context(), h, "a")
		c.request.Set("Refused", "yes")
		calls = count.calls.Load()
		h.ServeConn(t.Context(), c)
		if CodeOf(c.closed) != CodeUnauthenticated || len(c.requests) != 1 || c.closes != 1 || count.calls.Load() != calls {
			t.Errorf("a refused call: got %v, %d unread messages, closed %d times, want CodeUnauthenticated, 1 and 1", c.closed, len(c.requests), c.closes)
		}
	})
}

// TestServeConnErrors: the errors that Close gets, and panics.
func TestServeConnErrors(t *testing.T) {
	fails := func(err error) func(context.Context, *BidiStream[note, note]) error {
		return func(context.Context, *BidiStream[note, note]) error { return err }
	}
	coded := NewError(CodeNotFound, errors.New("no file"))
	for _, test := range []struct {
		name string
		err  error
		safe bool
		want string
	}{
		{"coded", fmt.Errorf("around: %w", coded), false, "not_found: no file"},
		{"plain", errors.New("secret"), false, "unknown: secret"},
		{"safe", errors.New("secret"), true, "unknown"},
		{"of a context", fmt.Errorf("query: %w", context.DeadlineExceeded), false, "deadline_exceeded: query: context deadline exceeded"},
		{"code 0", NewError(0, errors.New("odd")), false, "unknown: odd"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var options []HandlerOption
			if test.safe {
				options = append(options, WithSafeErrors())
			}
			h := NewBidiStreamHandler("/s/Bidi", fails(test.err), options...)
			c := newMemoryConn(t.Context(), h)
			h.ServeConn(t.Context(), c)
			if e, ok := c.closed.(*Error); !ok || e.Error() != test.want || c.closes != 1 {
				t.Errorf("got %T %v, want an *Error %q", c.closed, c.closed, test.want)
			}
		})
	}
	panics := func(context.Context, *Request[note]) (*Response[note], error) { panic("broken") }
	t.Run("panic", func(t *testing.T) {
		h := NewUnaryHandler("/s/Unary", panics)
		c := newMemoryConn(t.Context(), h, "a")
		defer func() {
			if value := recover(); value != "broken" || c.closes != 0 {
				t.Errorf("got panic %v and %d calls of Close, want %q and 0", value, c.closes, "broken")
			}
		}()
		h.ServeConn(t.Context(), c)
	})
	t.Run("recovered panic", func(t *testing.T) {
		h := NewUnaryHandler("/s/Unary", panics, WithRecover(func(_ context.Context, s Spec, h http.Header, value any) error {
			return NewError(CodeDataLoss, fmt.Errorf("%v %s %s", value, s.Procedure, h.Get("Asked")))
		}))
		c := newMemoryConn(t.Context(), h, "a")
		h.ServeConn(t.Context(), c)
		if want := "data_loss: broken /s/Unary yes"; fmt.Sprint(c.closed) != want || c.closes != 1 {
			t.Errorf("got %v, want %v", c.closed, want)
		}
	})
}

// TestServeConnDeadline: the context's end has its code, before the call and in it.
func TestServeConnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		called := 0
		h := NewUnaryHandler("/s/Unary", func(ctx context.Context, _ *Request[note]) (*Response[note], error) {
			called++
			<-ctx.Done()
			return nil, ctx.Err()
		})
		for range 2 { // the second call begins after the deadline
			c := newMemoryConn(t.Context(), h, "a")
			h.ServeConn(ctx, c)
			if CodeOf(c.closed) != CodeDeadlineExceeded || called != 1 {
				t.Errorf("got %v after %d calls, want CodeDeadlineExceeded after 1", c.closed, called)
			}
		}
	})
}

// TestHandlerConnIsClosedOnce: this package's own conn goes the same way, and a
// program that ends it early ends the call with that error.
func TestHandlerConnIsClosedOnce(t *testing.T) {
	h := NewBidiStreamHandler("/s/Bidi", func(_ context.Context, s *BidiStream[note, note]) error {
		s.Conn().(HandlerConn).Close(errors.New("early"))
		if err := s.Send(&note{}); CodeOf(err) != CodeInternal {
			t.Errorf("send after Close: got %v, want CodeInternal", err)
		}
		return nil
	})
	got := serveTranscript(t, h)
	if !strings.Contains(got, `"early"`) || strings.Count(got, `"error"`) != 1 {
		t.Errorf("got %q, want one end with the error", got)
	}
}

// serveTranscript returns the body of the answer to a streaming Connect request
// without messages.
func serveTranscript(t *testing.T, h *Handler) string {
	t.Helper()
	w := &memoryWriter{header: http.Header{}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://host/s/Bidi", strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	r.ProtoMajor, r.ProtoMinor = 2, 0
	r.Header.Set("Content-Type", "application/connect+proto")
	h.ServeHTTP(w, r)
	return w.body.String()
}

type memoryWriter struct {
	header http.Header
	body   strings.Builder
}

func (w *memoryWriter) Header() http.Header         { return w.header }
func (w *memoryWriter) WriteHeader(int)             {}
func (w *memoryWriter) Write(b []byte) (int, error) { return w.body.Write(b) }
func (w *memoryWriter) Flush()                      {}

// TestProcedures: a service lists its procedures; other handlers have none.
func TestProcedures(t *testing.T) {
	all := textHandlers(WithIdempotency(IdempotencyIdempotent))
	service := NewServiceHandler([]*Handler{all[StreamTypeUnary], all[StreamTypeBidi], all[StreamTypeClient]})
	var got []Spec
	for _, h := range Procedures(service) {
		got = append(got, h.Spec())
	}
	want := []Spec{
		{Procedure: "/s/Bidi", StreamType: StreamTypeBidi, IdempotencyLevel: IdempotencyIdempotent},
		{Procedure: "/s/Client", StreamType: StreamTypeClient, IdempotencyLevel: IdempotencyIdempotent},
		{Procedure: "/s/Unary", StreamType: StreamTypeUnary, IdempotencyLevel: IdempotencyIdempotent},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("got and want: %s", diff)
	}
	if one := all[StreamTypeUnary]; len(Procedures(one)) != 1 || Procedures(one)[0] != one {
		t.Errorf("a handler: got %v, want itself", Procedures(one))
	}
	for _, other := range []http.Handler{nil, http.NotFoundHandler(), http.StripPrefix("/a", service)} {
		if got := Procedures(other); got != nil {
			t.Errorf("%T: got %v, want nil", other, got)
		}
	}
}

// watchable is a context that needs no goroutine to be watched, as those of package h2.
type watchable struct {
	context.Context
	done     chan struct{}
	watchers int
}

func (w *watchable) Done() <-chan struct{} { return w.done }

func (w *watchable) AfterFunc(func()) (stop func() bool) {
	w.watchers++
	return func() bool { return true }
}

// TestHandlerContextIsWatched: package context watches a handler's context by AfterFunc
// where the context inside has it, and not by a goroutine.
func TestHandlerContextIsWatched(t *testing.T) {
	inside := &watchable{Context: t.Context(), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(&handlerContext{inside, new(handlerConn)})
	defer cancel()
	if inside.watchers != 1 {
		t.Errorf("got %d calls of AfterFunc, want 1", inside.watchers)
	}
	// Elsewhere the end is passed on as well.
	outside, end := context.WithCancel(t.Context())
	ended := make(chan struct{})
	stop := (&handlerContext{outside, new(handlerConn)}).AfterFunc(func() { close(ended) })
	end()
	<-ended
	if stop() || ctx.Err() != nil {
		t.Errorf("got a function that did not run, or an ended context: %v", ctx.Err())
	}
}
