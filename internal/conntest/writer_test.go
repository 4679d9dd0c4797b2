// SPDX-License-Identifier: Apache-2.0

// This file tests how the library writes and reads bodies: one Write per message, at
// once, and requests in one piece.

package conntest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

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
			wantCode(t, err, connect.CodeUnknown) // middleware's, and not a client that is gone
		}
	})
}
