// SPDX-License-Identifier: Apache-2.0

// This file tests middleware around a handler: it sees and changes headers and trailers,
// and messages pass through any ResponseWriter.

package conntest

import (
	"context"
	"net/http"
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
