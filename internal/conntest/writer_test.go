// SPDX-License-Identifier: Apache-2.0

// This file tests how the library uses its neighbours: one Write per message,
// flushing through any middleware, and few stack frames on the way.

package conntest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// unwrapping is middleware whose ResponseWriter has only Unwrap beside the
// three methods, as that of Caddy and others. It notes what passes.
type unwrapping struct {
	w      http.ResponseWriter
	mu     *sync.Mutex
	writes *[]int
}

func (u *unwrapping) Header() http.Header         { return u.w.Header() }
func (u *unwrapping) WriteHeader(status int)      { u.w.WriteHeader(status) }
func (u *unwrapping) Unwrap() http.ResponseWriter { return u.w }

func (u *unwrapping) Write(p []byte) (int, error) {
	u.mu.Lock()
	*u.writes = append(*u.writes, len(p))
	u.mu.Unlock()
	return u.w.Write(p)
}

// counted serves a site whose writes are counted. The function returns the
// lengths that were written by the last finished request.
func (m mode) counted(t *testing.T, service handlers) (*site, func() []int) {
	t.Helper()
	requests := make(chan []int, 1)
	site := m.serve(t, service, wrapped(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var writes []int
			next.ServeHTTP(&unwrapping{w: w, mu: new(sync.Mutex), writes: &writes}, r)
			requests <- writes
		})
	}))
	return site, func() []int { return await(t, "end of the request", requests) }
}

// Every message is one Write at most, prefix included. The end of a call adds one
// at most.
func TestOneWritePerMessage(t *testing.T) {
	const count = 3
	run(t, func(t *testing.T, m mode) {
		site, writes := m.counted(t, echo)
		// end is 1 if the end of a call is part of the body.
		end := func(k kind) int {
			switch {
			case m.protocol == "grpcweb", m.protocol == "connect" && k.receivesMany():
				return 1
			case m.protocol == "connect" && k == clientStream: // a stream of one
				return 1
			}
			return 0
		}
		for _, size := range []int32{0, 10, 70 << 10} {
			if size > 10 && m.compression != "identity" {
				continue // compression would make it small again
			}
			forKinds(t, m, func(t *testing.T, k kind) {
				messages := 1
				if k.receivesMany() {
					messages = count
				}
				o := call(testContext(t), site.client(), k, nil, &conntestv1.Request{Count: count, Size: size})
				wantNil(t, o.err)
				wantEqual(t, "messages", len(o.messages), messages)
				got, want := writes(), messages+end(k)
				if k.receivesMany() { // messages that are sent while a flush is under way share the next write
					if len(got) == 0 || len(got) > want {
						t.Fatalf("%d bytes: got %d writes of %v bytes, want at most %d", size, len(got), got, want)
					}
				} else if len(got) != want {
					t.Fatalf("%d bytes: got %d writes of %v bytes, want %d", size, len(got), got, want)
				}
			})
		}
	})
}

// The library sends a message without waiting for another one: the handler sends the
// next only when the client has this one.
func TestMessagesDoNotWait(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		const count = 5
		arrived := make(chan struct{})
		site := m.serve(t, everyKind(func(ctx context.Context, x *exchange) error {
			for range count {
				if err := x.send(text2("hello")); err != nil {
					return err
				}
				select {
				case <-arrived:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		}))
		ctx := testContext(t)
		stream, err := site.client().ServerStream(ctx, requestOf("x"))
		wantNil(t, err)
		for range count {
			if !stream.Receive() {
				t.Fatalf("got the end: %v", stream.Err())
			}
			select {
			case arrived <- struct{}{}:
			case <-ctx.Done():
				t.Fatal(ctx.Err())
			}
		}
		if stream.Receive() {
			t.Error("got one message more")
		}
		wantNil(t, stream.Err())
	})
}

// The same on the client's side: the transport gets a message with one Read.
func TestRequestIsOnePiece(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		site := m.serve(t, echo)
		var pieces []int
		client := site.clientOn(doerFunc(func(r *http.Request) (*http.Response, error) {
			r.Body = &pieceCounter{ReadCloser: r.Body, pieces: &pieces}
			r.GetBody = nil
			return site.httpClient().Do(r)
		}))
		for _, k := range []kind{unary, get, serverStream} {
			pieces = nil
			wantNil(t, call(testContext(t), client, k, nil, text("some text")).err)
			if len(pieces) != 1 {
				t.Fatalf("%s: got pieces of %v bytes, want one", k, pieces)
			}
		}
	})
}

type pieceCounter struct {
	io.ReadCloser
	pieces *[]int
}

func (c *pieceCounter) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if n > 0 {
		*c.pieces = append(*c.pieces, n)
	}
	return n, err
}

// Streams flush through middleware that has only Unwrap.
func TestFlushThroughUnwrap(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		next := make(chan struct{})
		site, writes := m.counted(t, everyKind(func(ctx context.Context, x *exchange) error {
			for i := range int32(3) {
				if err := x.send(&conntestv1.Response{Count: i}); err != nil {
					return err
				}
				select {
				case <-next:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		}))
		stream, err := site.client().ServerStream(testContext(t), requestOf("go"))
		wantNil(t, err)
		defer stream.Close()
		for i := range int32(3) {
			if !stream.Receive() {
				t.Fatalf("response %d: %v", i, stream.Err())
			}
			wantEqual(t, "index", stream.Msg().GetCount(), i)
			next <- struct{}{}
		}
		wantEqual(t, "received", stream.Receive(), false)
		wantNil(t, stream.Err())
		writes()
	})
}

// deaf is a ResponseWriter that cannot flush and hides the one that can.
type deaf struct{ w http.ResponseWriter }

func (d deaf) Header() http.Header         { return d.w.Header() }
func (d deaf) WriteHeader(status int)      { d.w.WriteHeader(status) }
func (d deaf) Write(p []byte) (int, error) { return d.w.Write(p) }

// A stream of responses needs a ResponseWriter that flushes (checklist item 11);
// everything else does not.
func TestResponseWriterWithoutFlush(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		site := m.serve(t, echo, wrapped(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(deaf{w}, r) })
		}))
		forKinds(t, m, func(t *testing.T, k kind) {
			err := call(testContext(t), site.client(), k, nil, text("x")).err
			if !k.receivesMany() {
				wantNil(t, err)
				return
			}
			wantCode(t, err, connect.CodeInternal)
			if !strings.Contains(err.Error(), "Flusher") {
				t.Fatalf("got %q, want it to name http.Flusher", err)
			}
		})
	})
}

// --- stacks ---

// ownFrames returns the functions of the package under test on the caller's
// stack, and the whole stack for a failure.
func ownFrames() (own []string, all string) {
	pcs := make([]uintptr, 100)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	var b strings.Builder
	for {
		frame, more := frames.Next()
		if strings.HasPrefix(frame.Function, "github.com/seed-b7c59c10/connect.") {
			own = append(own, frame.Function)
		}
		fmt.Fprintf(&b, "%s\n\t%s:%d\n", frame.Function, frame.File, frame.Line)
		if !more {
			return own, b.String()
		}
	}
}

// frameLimit is how many functions of ours may lie between a call and its
// transport, or between a request and its ResponseWriter, both ends included.
const frameLimit = 6

// wantFewFrames returns an error unless the outermost function of ours is the
// one named and few others follow it.
func wantFewFrames(outermost string, own []string, all string) error {
	if len(own) == 0 || len(own) > frameLimit || !strings.HasSuffix(own[len(own)-1], "."+outermost) {
		return fmt.Errorf("got %d frames of ours, want at most %d and %s outermost:\n%s\n\n%s",
			len(own), frameLimit, outermost, strings.Join(own, "\n"), all)
	}
	return nil
}

// stackWriter looks at the stack of each Write.
type stackWriter struct {
	http.ResponseWriter
	seen func(own []string, all string)
}

func (w stackWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w stackWriter) Write(p []byte) (int, error) {
	w.seen(ownFrames())
	return w.ResponseWriter.Write(p)
}

// Between ServeHTTP and ResponseWriter.Write there are few frames of ours.
func TestStackDepthOfHandlers(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		written := make(chan error, 10)
		site := m.serve(t, echo, wrapped(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(stackWriter{w, func(own []string, all string) {
					written <- wantFewFrames("ServeHTTP", own, all)
				}}, r)
			})
		}))
		_, err := site.client().Unary(testContext(t), requestOf("some text"))
		wantNil(t, err)
		if err := await(t, "Write", written); err != nil {
			t.Fatal(err)
		}
	})
}

// Between CallUnary and HTTPClient.Do there are few frames of ours. The stack is
// the one of a hook that net/http calls on the goroutine of Do; wrapping the
// client or its transport would change how the library calls it.
func TestStackDepthOfClients(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		var traced []error // by the calling goroutine, more than once if net/http tries again
		ctx := httptrace.WithClientTrace(testContext(t), &httptrace.ClientTrace{GetConn: func(string) {
			own, all := ownFrames()
			traced = append(traced, wantFewFrames("CallUnary", own, all))
		}})
		_, err := m.serve(t, echo).client().Unary(ctx, requestOf("some text"))
		wantNil(t, err)
		if len(traced) == 0 {
			t.Fatal("GetConn was not called")
		}
		if err := errors.Join(traced...); err != nil {
			t.Fatal(err)
		}
	}, func(m mode) bool { return m.engine.memory }, // those of net/http
		overNetwork, // there is no connection, and so no hook
		func(m mode) bool { return m.engine.name != "direct-h2-balance" }) // its frames are its own
}

// --- buffering middleware ---

// If a ResponseWriter fails, Send fails with an error that wraps the ResponseWriter's.
func TestWriteFails(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		broken := errors.New("the disk is full")
		sendErrors := make(chan error, 1)
		site := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			err := x.send(text2("hello"))
			sendErrors <- err
			return err
		}), wrapped(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(failingWriter{w, broken}, r)
			})
		}))
		_ = call(testContext(t), site.client(), serverStream, nil, text("x"))
		err := await(t, "Send", sendErrors)
		if !errors.Is(err, broken) {
			t.Fatalf("got %v, want an error that wraps %v", err, broken)
		}
	})
}

type failingWriter struct {
	http.ResponseWriter
	err error
}

func (w failingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
func (w failingWriter) Write([]byte) (int, error)   { return 0, w.err }

// Headers that describe the body belong to the middleware that set them before the
// call, whatever headers the handler sets; the handler cannot set them.
func TestMiddlewareHeaders(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		begin := func(w http.ResponseWriter) {
			w.Header()["Content-Encoding"] = []string{"outer"}
			w.Header().Set("Vary", "Accept-Encoding")
		}
		serve := func(t *testing.T, service handlers) http.Header {
			seen := make(chan http.Header, 1)
			client := m.serve(t, service, wrapped(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					begin(w)
					watch := &headerWatch{ResponseWriter: w, seen: seen}
					next.ServeHTTP(watch, r)
					watch.see() // nothing may have been written
				})
			})).client(connect.WithAcceptCompression("gzip", nil, nil))
			_, _ = client.Unary(testContext(t), requestOf("hi"))
			return await(t, "response header", seen)
		}
		for name, service := range map[string]handlers{
			"nothing set": {unary: func(context.Context, *request) (*response, error) { return new(response), nil }},
			"one set": {unary: func(context.Context, *request) (*response, error) {
				r := connect.NewResponse(new(conntestv1.Response))
				r.Header().Set("Mine", "yes")
				return r, nil
			}},
			"through the context": {unary: func(ctx context.Context, _ *request) (*response, error) {
				info, _ := connect.CallInfoForHandlerContext(ctx)
				info.ResponseHeader().Set("Content-Encoding", "inner")
				info.ResponseHeader().Set("Content-Length", "7")
				info.ResponseHeader().Del("Vary")
				return connect.NewResponse(new(conntestv1.Response)), nil
			}},
			"error": {unary: func(context.Context, *request) (*response, error) {
				err := connect.NewError(connect.CodeAborted, nil)
				err.Meta().Set("Mine", "yes")
				return nil, err
			}},
		} {
			t.Run(name, func(t *testing.T) {
				wantValues(t, "response header", serve(t, service), "Content-Encoding", "outer")
			})
		}
	}, func(m mode) bool { return m.compression == "identity" })
}

// headerWatch passes on the headers with which the response begins.
type headerWatch struct {
	http.ResponseWriter
	seen chan http.Header
	once sync.Once
}

func (w *headerWatch) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *headerWatch) see() { w.once.Do(func() { w.seen <- w.Header().Clone() }) }

func (w *headerWatch) WriteHeader(status int) {
	w.see()
	w.ResponseWriter.WriteHeader(status)
}

func (w *headerWatch) Write(b []byte) (int, error) {
	w.see()
	return w.ResponseWriter.Write(b)
}

// A large unary response of Connect has a Content-Length, but not behind middleware,
// which may change the body, nor behind a writer that may be middleware's.
func TestContentLength(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		answer := &conntestv1.Request{Data: noise(100_000)}
		lengths := make(chan int64, 1)
		call := func(options ...siteOption) {
			s := m.serve(t, echo, options...)
			client := s.clientOn(doerFunc(func(r *http.Request) (*http.Response, error) {
				response, err := s.httpClient().Do(r)
				if err == nil {
					lengths <- response.ContentLength
				}
				return response, err
			}))
			_, err := client.Unary(testContext(t), connect.NewRequest(answer))
			wantNil(t, err)
		}
		call()
		if n := <-lengths; m.engine.foreign && n != -1 || !m.engine.foreign && n < 100_000 {
			t.Errorf("got a length of %d, want that of the body, or none from a writer that the library does not know", n)
		}
		seen := make(chan http.Header, 1)
		call(wrapped(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(&headerWatch{ResponseWriter: w, seen: seen}, r)
			})
		}))
		<-lengths
		wantValues(t, "response header", <-seen, "Content-Length")
	}, inConnect)
}

// refusingWriter is middleware whose Write fails.
type refusingWriter struct{ http.ResponseWriter }

func (w *refusingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
func (w *refusingWriter) Write([]byte) (int, error)   { return 0, errors.New("no more") }

// Behind middleware the handler's goroutine calls Write, and Send returns after it. If
// that Write fails, the same Send returns the error.
func TestSendFailsAtOnce(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		sent := make(chan [2]error, 1)
		client := m.serve(t, handlers{serverStream: func(_ context.Context, _ *request, s *connect.ServerStream[conntestv1.Response]) error {
			sent <- [2]error{s.Send(new(conntestv1.Response)), s.Send(new(conntestv1.Response))}
			return nil
		}}, wrapped(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(&refusingWriter{w}, r) })
		})).client()
		_ = call(testContext(t), client, serverStream, nil, text("go"))
		for _, err := range await(t, "both messages", sent) {
			wantCode(t, err, connect.CodeCanceled)
		}
	})
}

// trailerWatch is middleware that looks at the trailers when it is called.
type trailerWatch struct {
	http.ResponseWriter
	saw func(http.Header)
}

func (w *trailerWatch) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *trailerWatch) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.saw(w.Header())
	return n, err
}

func (w *trailerWatch) Flush() {
	w.saw(w.Header())
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// Middleware is called once more after gRPC's trailers are set.
func TestMiddlewareSeesTrailers(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		var mu sync.Mutex
		seen := false
		client := m.serve(t, echo, wrapped(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(&trailerWatch{w, func(h http.Header) {
					mu.Lock()
					defer mu.Unlock()
					seen = seen || h.Get(http.TrailerPrefix+"Grpc-Status") != ""
				}}, r)
			})
		})).client()
		forKinds(t, m, func(t *testing.T, k kind) {
			wantNil(t, call(testContext(t), client, k, nil, text("x")).err)
			mu.Lock()
			defer mu.Unlock()
			wantEqual(t, "trailers seen", seen, true)
			seen = false
		})
	}, func(m mode) bool { return m.protocol == "grpc" })
}
