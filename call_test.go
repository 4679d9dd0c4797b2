// SPDX-License-Identifier: Apache-2.0

// Call interceptors around calls over a conn of a program, the errors that they see,
// and the sizes of messages in URLs. The calls over HTTP are in internal/conntest.

package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// TestCallOverOtherConn: messages of a conn without bytes are counted and shown.
func TestCallOverOtherConn(t *testing.T) {
	var stats CallStats
	var seen []string
	watch := func(next CallFunc) CallFunc {
		return func(ctx context.Context, call *Call) error {
			seen = nil
			call.OnMessage(nil)
			call.OnMessage(func(m CallMessage) {
				if m.Size != 0 || m.WireSize != 0 || m.Time.IsZero() {
					t.Errorf("got %+v, want no sizes and a time", m)
				}
				seen = append(seen, fmt.Sprintf("%v %d %s", m.Sent, m.Number, m.Message.(*note).Value))
			})
			err := next(ctx, call)
			stats = call.Stats()
			call.ResponseTrailer().Set("Seen", call.HTTPMethod()+" "+call.Peer().Protocol+" "+call.RequestHeader().Get("Asked"))
			return err
		}
	}
	eachTextHandler(t, []HandlerOption{WithCallInterceptors(watch)}, func(t *testing.T, h *Handler) {
		c := newMemoryConn(t.Context(), h, "a")
		h.ServeConn(t.Context(), getConn{c})
		want := []string{"false 1 a", "true 1 a"}
		if h.Spec().StreamType == StreamTypeServer {
			want = append(want, "true 2 ")
		}
		if diff := cmp.Diff(seen, want); diff != "" || c.closed != nil || c.closes != 1 {
			t.Errorf("got %v, closed %d times; messages, got and want: %s", c.closed, c.closes, diff)
		}
		if stats.Received.Messages != 1 || int(stats.Sent.Messages) != len(c.responses) || stats.FirstByte.IsZero() || stats.End.IsZero() {
			t.Errorf("got %+v, want 1 message received and %d sent", stats, len(c.responses))
		}
		if got, want := first(c.trailer, "Seen"), "GET memory yes"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got, want := first(c.trailer, "Method"), "GET memory"+h.Spec().Procedure; got != want {
			t.Errorf("the handler's info: got %q, want %q", got, want)
		}
	})
}

// TestCallErrors: interceptors see the client's code, and WithSafeErrors still finds the
// errors that had none.
func TestCallErrors(t *testing.T) {
	returned := errors.New("secret")
	for _, test := range []struct {
		name       string
		fails      error
		changes    func(error) error
		seen, want string
	}{
		{"plain", returned, nil, "unknown: secret", "unknown"},
		{"wrapped", returned, func(err error) error { return fmt.Errorf("logged: %w", err) }, "unknown: secret", "unknown"},
		{"of a context", context.Canceled, nil, "canceled: context canceled", "canceled"},
		{"coded", NewError(CodeNotFound, returned), nil, "not_found: secret", "not_found: secret"},
		{"replaced", returned, func(error) error { return NewError(CodeAborted, errors.New("busy")) }, "unknown: secret", "aborted: busy"},
		{"replaced by a plain one", returned, func(error) error { return errors.New("other secret") }, "unknown: secret", "unknown"},
	} {
		t.Run(test.name, func(t *testing.T) {
			seen := ""
			h := NewBidiStreamHandler("/s/Bidi", func(context.Context, *BidiStream[note, note]) error { return test.fails }, WithSafeErrors(),
				WithCallInterceptors(func(next CallFunc) CallFunc {
					return func(ctx context.Context, call *Call) error {
						err := next(ctx, call)
						seen = fmt.Sprint(err)
						if !errors.Is(err, test.fails) {
							t.Errorf("got %v, want an error that wraps %v", err, test.fails)
						}
						if test.changes != nil {
							err = test.changes(err)
						}
						return err
					}
				}))
			c := newMemoryConn(t.Context(), h)
			h.ServeConn(t.Context(), c)
			if seen != test.seen || fmt.Sprint(c.closed) != test.want {
				t.Errorf("the interceptor saw %q and the client %q, want %q and %q", seen, fmt.Sprint(c.closed), test.seen, test.want)
			}
		})
	}
}

// TestCallConstruction: functions are checked when a handler or client is made, and nil
// ones are left out.
func TestCallConstruction(t *testing.T) {
	panics := func(f func()) (value any) {
		defer func() { value = recover() }()
		f()
		return nil
	}
	none := WithCallInterceptors(func(CallFunc) CallFunc { return nil })
	for name, f := range map[string]func(){
		"handler": func() {
			NewBidiStreamHandler("/s/Bidi", func(context.Context, *BidiStream[note, note]) error { return nil }, none)
		},
		"client":       func() { NewClient[note, note](http.DefaultClient, "http://host/s/Bidi", none) },
		"RecoverCalls": func() { RecoverCalls(nil) },
	} {
		if value := panics(f); value == nil || !strings.HasPrefix(fmt.Sprint(value), "connect: ") {
			t.Errorf("%s: got panic %v, want one of this package", name, value)
		}
	}
	c, err := newClientConfig(http.DefaultClient, "http://host/s/Bidi", []ClientOption{WithCallInterceptors(nil)})
	if err != nil || c.around != nil {
		t.Errorf("got %v and a function, want none for a nil interceptor", err)
	}
	if call := new(Call); call.Spec() != (Spec{}) || call.RequestHeader() == nil || call.ResponseHeader() != nil || call.HTTPMethod() != "" {
		t.Error("a Call of a program is not empty")
	}
}

// TestCallSizesOfGet: of a GET the size is that of the message, compressed where the URL
// would be too long.
func TestCallSizesOfGet(t *testing.T) {
	var sent, received CallMessage
	watch := WithCallInterceptors(func(next CallFunc) CallFunc {
		return func(ctx context.Context, call *Call) error {
			call.OnMessage(func(m CallMessage) {
				switch {
				case call.Spec().IsClient && m.Sent:
					sent = m
				case !call.Spec().IsClient && !m.Sent:
					received = m
				}
			})
			return next(ctx, call)
		}
	})
	h := NewUnaryHandler("/s/Get", func(_ context.Context, r *Request[note]) (*Response[note], error) {
		return NewResponse(wrapperspb.String(r.HTTPMethod())), nil
	}, watch, WithIdempotency(IdempotencyNoSideEffects))
	server := httptest.NewServer(h)
	defer server.Close()
	message := wrapperspb.String(strings.Repeat("a", 1000)) // 1003 bytes
	for _, test := range []struct {
		name   string
		option ClientOption
		method string
		small  bool
	}{
		{"plain", WithHTTPGet(), "GET", false},
		{"compressed", WithClientOptions(WithHTTPGet(), WithSendGzip(), WithHTTPGetMaxURLSize(500, true)), "GET", true},
		{"falls back", WithClientOptions(WithHTTPGet(), WithHTTPGetMaxURLSize(100, true)), "POST", false},
		{"post", WithSendGzip(), "POST", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := NewClient[note, note](server.Client(), server.URL+"/s/Get", test.option, watch, WithIdempotency(IdempotencyNoSideEffects))
			res, err := client.CallUnary(t.Context(), NewRequest(message))
			if err != nil || res.Msg.Value != test.method {
				t.Fatalf("got %v, %v, want a %s", res, err, test.method)
			}
			if sent.Size != 1003 || sent.Size != received.Size || sent.WireSize != received.WireSize || sent.CompressedSize != sent.WireSize {
				t.Errorf("sent %+v, received %+v, want the same sizes, of 1003 bytes", sent, received)
			}
			if small := sent.WireSize < 100; small != test.small || !small && sent.WireSize != 1003 {
				t.Errorf("got %d bytes on the wire, want compressed %v", sent.WireSize, test.small)
			}
		})
	}
}

// TestCallSeesBadCalls: calls that end before the handler are calls, too.
func TestCallSeesBadCalls(t *testing.T) {
	var stats CallStats
	var seen error
	h := NewUnaryHandler("/s/Unary", func(context.Context, *Request[note]) (*Response[note], error) {
		t.Error("the handler was called")
		return nil, nil
	}, WithCallInterceptors(func(next CallFunc) CallFunc {
		return func(ctx context.Context, call *Call) error {
			call.OnMessage(func(m CallMessage) { t.Errorf("got message %+v, want none", m) })
			seen = next(ctx, call)
			stats = call.Stats()
			return seen
		}
	}))
	for _, test := range []struct {
		name, encoding, body string
		code                 Code
		received             int64
	}{
		{"unknown compression", "odd", "{}", CodeUnimplemented, 0},
		{"no message", "gzip", "not gzip", CodeInvalidArgument, 0},
		{"malformed message", "", "not JSON", CodeInvalidArgument, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodPost, "/s/Unary", io.NopCloser(strings.NewReader(test.body)))
			r.Header.Set("Content-Type", "application/json")
			if test.encoding != "" {
				r.Header.Set("Content-Encoding", test.encoding)
			}
			h.ServeHTTP(w, r)
			if CodeOf(seen) != test.code || !strings.Contains(w.Body.String(), test.code.String()) {
				t.Errorf("the interceptor saw %v and the client %s, want %v", seen, w.Body, test.code)
			}
			if stats.Received.Messages != test.received || stats.Received.WireBytes != test.received*int64(len(test.body)) || stats.End.IsZero() {
				t.Errorf("got %+v, want %d messages", stats, test.received)
			}
		})
	}
}

// TestCallResponseOfRequest: a function that sees the request of a stream of responses
// gets no response yet, and does not wait for one.
func TestCallResponseOfRequest(t *testing.T) {
	server := httptest.NewServer(oneNote())
	defer server.Close()
	shown := 0
	client := NewClient[note, note](server.Client(), server.URL+"/s/Server", WithCallInterceptors(func(next CallFunc) CallFunc {
		return func(ctx context.Context, call *Call) error {
			call.OnMessage(func(m CallMessage) {
				shown++
				if header, trailer := call.ResponseHeader(), call.ResponseTrailer(); m.Sent != (header == nil) || m.Sent != (trailer == nil) {
					t.Errorf("sent %v: got header %v and trailer %v, want none for a sent message alone", m.Sent, header, trailer)
				}
			})
			return next(ctx, call)
		}
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	stream, err := client.CallServerStream(ctx, NewRequest(wrapperspb.String("a")))
	if err != nil {
		t.Fatal(err)
	}
	for stream.Receive() {
	}
	if err := stream.Err(); err != nil || shown != 2 {
		t.Errorf("got %v and %d messages shown, want no error and 2", err, shown)
	}
}

// TestCallInitializerEnd: an initializer that returns io.EOF does not end the stream well.
func TestCallInitializerEnd(t *testing.T) {
	server := httptest.NewServer(oneNote())
	defer server.Close()
	seen := make(chan error, 1)
	client := NewClient[note, note](server.Client(), server.URL+"/s/Server",
		WithResponseInitializer(func(Spec, any) error { return io.EOF }),
		WithCallInterceptors(func(next CallFunc) CallFunc {
			return func(ctx context.Context, call *Call) error {
				err := next(ctx, call)
				seen <- err
				return err
			}
		}))
	stream, err := client.CallServerStream(t.Context(), NewRequest(wrapperspb.String("a")))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if stream.Receive() || !errors.Is(stream.Err(), io.ErrUnexpectedEOF) || CodeOf(stream.Err()) != CodeUnknown {
		t.Errorf("got %v, want unknown: unexpected EOF", stream.Err())
	}
	if err := <-seen; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the interceptor saw %v, want unexpected EOF", err)
	}
}

func oneNote() *Handler {
	return NewServerStreamHandler("/s/Server", func(_ context.Context, r *Request[note], s *ServerStream[note]) error {
		return s.Send(r.Msg)
	})
}

// TestCallOfManyAttempts: of attempts at once, one message of a direction is shown at a
// time, in the order of the numbers, while other goroutines look at the call.
func TestCallOfManyAttempts(t *testing.T) {
	const attempts = 20
	server := httptest.NewServer(NewUnaryHandler("/s/Unary", func(_ context.Context, r *Request[note]) (*Response[note], error) {
		return NewResponse(r.Msg), nil
	}))
	defer server.Close()
	hedge := UnaryInterceptorFunc(func(next UnaryFunc) UnaryFunc {
		return func(ctx context.Context, request AnyRequest) (response AnyResponse, err error) {
			var all sync.WaitGroup
			for range attempts - 1 {
				all.Go(func() {
					ctx, attempt, _ := NewAttempt(ctx, request)
					if _, err := next(ctx, attempt); err != nil {
						t.Error(err)
					}
				})
			}
			own, attempt, commit := NewAttempt(ctx, request)
			response, err = next(own, attempt)
			all.Wait()
			commit()
			return response, err
		}
	})
	var sent, received []int64 // without a lock
	watch := WithCallInterceptors(func(next CallFunc) CallFunc {
		return func(ctx context.Context, call *Call) error {
			call.OnMessage(func(m CallMessage) {
				numbers := &received
				if m.Sent {
					numbers = &sent
				}
				before := *numbers
				runtime.Gosched()
				*numbers = append(before, m.Number)
			})
			over, done := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				for {
					if peer := call.Peer(); peer.Addr == "" {
						t.Error("got a peer without an address")
					}
					select {
					case <-over:
						return
					default:
						runtime.Gosched()
					}
				}
			}()
			err := next(ctx, call)
			close(over)
			<-done
			return err
		}
	})
	client := NewClient[note, note](server.Client(), server.URL+"/s/Unary", watch, WithInterceptors(hedge))
	if _, err := client.CallUnary(t.Context(), NewRequest(wrapperspb.String("a"))); err != nil {
		t.Fatal(err)
	}
	var want []int64
	for i := range attempts {
		want = append(want, int64(i+1))
	}
	if diff := cmp.Diff([][]int64{sent, received}, [][]int64{want, want}); diff != "" {
		t.Errorf("numbers, sent and received, got and want: %s", diff)
	}
}

// unsendable is an interceptor of streams whose requests cannot be sent, or not be closed.
type unsendable struct{ send, closed error }

func (u *unsendable) WrapUnary(next UnaryFunc) UnaryFunc { return next }

func (u *unsendable) WrapStreamingHandler(next StreamingHandlerFunc) StreamingHandlerFunc {
	return next
}

func (u *unsendable) WrapStreamingClient(next StreamingClientFunc) StreamingClientFunc {
	return func(ctx context.Context, spec Spec) StreamingClientConn {
		return &unsendableConn{next(ctx, spec), u}
	}
}

type unsendableConn struct {
	StreamingClientConn
	of *unsendable
}

func (c *unsendableConn) Send(any) error      { return c.of.send }
func (c *unsendableConn) CloseRequest() error { return c.of.closed }

// TestCallUnsent: if the methods that begin a stream return an error and no stream, call
// interceptors do not wait for its end any more, and what they return is the error.
func TestCallUnsent(t *testing.T) {
	refused := NewError(CodeDataLoss, errors.New("of a test"))
	for name, begin := range map[string]func(*Client[note, note]) error{
		"server": func(c *Client[note, note]) error {
			_, err := c.CallServerStream(context.Background(), NewRequest(new(note)))
			return err
		},
		"client": func(c *Client[note, note]) error {
			_, err := c.CallClientStreamSimple(context.Background())
			return err
		},
		"bidi": func(c *Client[note, note]) error {
			_, err := c.CallBidiStreamSimple(context.Background())
			return err
		},
	} {
		for _, u := range []*unsendable{{send: refused}, {closed: refused}} {
			if u.closed != nil && name != "server" {
				continue
			}
			for _, behavior := range []Option{WithOptions(), WithConnectGoBehavior()} {
				client := NewClient[note, note](http.DefaultClient, "http://host/s/m", behavior, WithInterceptors(u),
					WithCallInterceptors(func(next CallFunc) CallFunc {
						return func(ctx context.Context, call *Call) error { return fmt.Errorf("call: %w", next(ctx, call)) }
					}))
				if err := begin(client); !errors.Is(err, refused) || !strings.HasPrefix(err.Error(), "call: ") {
					t.Errorf("%s, %+v: got %v, want the interceptor's error", name, *u, err)
				}
			}
		}
	}
}

// panicsLater is a codec that panics in its second Marshal.
type panicsLater struct {
	jsonCodec
	calls int
}

func (c *panicsLater) MarshalAppend(dst []byte, msg any) ([]byte, error) {
	if c.calls++; c.calls > 1 {
		panic("codec")
	}
	return c.jsonCodec.MarshalAppend(dst, msg)
}

// TestCallPanicDoesNotWait: a stream whose Send panics ends at once, also before the server
// has answered.
func TestCallPanicDoesNotWait(t *testing.T) {
	for _, behavior := range []Option{WithOptions(), WithConnectGoBehavior()} {
		synctest.Test(t, func(t *testing.T) {
			silent := roundTripper(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})
			client := NewClient[note, note](&http.Client{Transport: silent}, "http://host/s/m", behavior, WithCodec(new(panicsLater)),
				WithCallInterceptors(RecoverCalls(func(_ context.Context, _ *Call, value any) error { return fmt.Errorf("recovered %v", value) })))
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			began := time.Now()
			stream := client.CallBidiStream(ctx)
			if err := stream.Send(new(note)); err != nil {
				t.Fatal(err)
			}
			if err := stream.Send(new(note)); err == nil {
				t.Error("got no error of Send")
			}
			if _, err := stream.Receive(); err == nil || err.Error() != "recovered codec" {
				t.Errorf("got %v, want that of the interceptor", err)
			}
			if took := time.Since(began); took > 0 {
				t.Errorf("took %v, want no time", took)
			}
		})
	}
}
