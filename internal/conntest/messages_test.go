// SPDX-License-Identifier: Apache-2.0

// This file tests loops over the messages of streams: how they end, also where a stream
// is broken.

package conntest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// The error of a call is the last value of the loop, once.
func TestMessagesEndWithTheError(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		client := m.serve(t, echo).client()
		stream, err := client.ServerStream(testContext(t), connect.NewRequest(&conntestv1.Request{
			Text: "x", Count: 3, Failure: &conntestv1.Failure{Code: uint32(connect.CodeDataLoss), Message: "gone"},
		}))
		wantNil(t, err)
		got, last := 0, error(nil)
		for msg, err := range stream.Messages() {
			wantNil(t, last) // the last turn has the error
			if (msg == nil) == (err == nil) {
				t.Fatalf("got %v and %v, want one of them", msg, err)
			}
			if last = err; err == nil {
				got++
			}
		}
		wantEqual(t, "messages", got, 3)
		wantCode(t, last, connect.CodeDataLoss)
		wantNil(t, stream.Close())
	})
}

// A stream that is cut off at any byte never looks as if it had ended: the loops of
// either side end with an error.
func TestMessagesOfBrokenStreams(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		// Whole runs count the bytes of the bodies; then each run has one byte more.
		var most, passed atomic.Int64
		downClient := m.serve(t, echo, wrapped(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(&cuttingWriter{w, int(most.Load()), &passed}, r)
			})
		})).client()
		down := func(n int) (messages int, err error) {
			most.Store(int64(n))
			stream, err := downClient.ServerStream(testContext(t), connect.NewRequest(&conntestv1.Request{Text: "x", Count: 2}))
			if err != nil {
				return 0, err
			}
			defer stream.Close()
			for _, err := range stream.Messages() {
				if err != nil {
					return messages, err
				}
				messages++
			}
			return messages, nil
		}
		messages, err := down(1 << 20)
		wantNil(t, err)
		wantEqual(t, "messages", messages, 2)
		whole := int(passed.Load())
		for n := range whole {
			if got, err := down(n); err == nil {
				t.Fatalf("response cut off after %d of %d bytes: got %d messages and a clean end, want an error", n, whole, got)
			} else if connect.CodeOf(err) == connect.CodeUnknown {
				t.Fatalf("response cut off after %d of %d bytes: got %v, want a code", n, whole, err)
			}
		}

		up := func(most int) (messages int, err error) {
			type result struct {
				messages int
				err      error
			}
			results := make(chan result, 1)
			site := m.serve(t, handlers{clientStream: func(_ context.Context, s *clientStreamOfHandler) (*response, error) {
				var r result
				for _, err := range s.Messages() {
					if r.err = err; err == nil {
						r.messages++
					}
				}
				results <- r
				return connect.NewResponse(text2("done")), r.err
			}})
			client := site.clientOn(cuttingClient{site.httpClient(), most})
			stream := client.ClientStream(testContext(t))
			_ = stream.Send(text("x"))
			_ = stream.Send(text("y"))
			_, err = stream.CloseAndReceive()
			if err == nil != (most > 1000) {
				t.Fatalf("request of at most %d bytes: got %v", most, err)
			}
			r := await(t, "handler", results)
			return r.messages, r.err
		}
		if m.engine.name == "h3" {
			return // a reset overtakes the headers: the handler may never see the call
		}
		messages, err = up(1 << 20)
		wantNil(t, err)
		wantEqual(t, "messages", messages, 2)
		for _, n := range []int{1, 4, 5, 6} { // within the first message and between two
			if got, err := up(n); err == nil {
				t.Fatalf("request cut off after %d bytes: got %d messages and a clean end, want an error", n, got)
			}
		}
	})
}

// A cuttingWriter aborts the response after some bytes of its body.
type cuttingWriter struct {
	http.ResponseWriter
	left   int
	passed *atomic.Int64 // bytes, in all
}

func (w *cuttingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *cuttingWriter) Write(p []byte) (int, error) {
	part := p[:min(len(p), w.left)]
	w.passed.Add(int64(len(part))) // before the client can have it
	n, err := w.ResponseWriter.Write(part)
	if w.left -= n; err == nil && n < len(p) {
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// A cuttingClient sends requests whose bodies fail after some bytes.
type cuttingClient struct {
	inner connect.HTTPClient
	most  int
}

func (c cuttingClient) Do(r *http.Request) (*http.Response, error) {
	r.Body = &cuttingBody{r.Body, c.most}
	return c.inner.Do(r)
}

type cuttingBody struct {
	io.ReadCloser
	left int
}

func (b *cuttingBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errors.New("the body is cut off")
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// An error of the program that wraps io.EOF does not look like the end of a stream.
func TestMessagesOfBrokenCodecs(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		failing := func(connect.Spec, any) error { return fmt.Errorf("no schema: %w", io.EOF) }
		results := make(chan error, 1)
		site := m.serve(t, handlers{
			serverStream: func(_ context.Context, _ *request, s *serverStreamOfHandler) error { return s.Send(text2("x")) },
			clientStream: func(_ context.Context, s *clientStreamOfHandler) (*response, error) {
				var last error
				for _, err := range s.Messages() {
					last = err
				}
				results <- last
				return connect.NewResponse(text2("done")), nil
			},
		}, handlerOptions(connect.WithConditionalHandlerOptions(func(spec connect.Spec) []connect.HandlerOption {
			if spec.StreamType == connect.StreamTypeClient {
				return []connect.HandlerOption{connect.WithRequestInitializer(failing)}
			}
			return nil
		})))
		stream, err := site.client(connect.WithResponseInitializer(failing)).ServerStream(testContext(t), requestOf("x"))
		wantNil(t, err)
		var last error
		for _, err := range stream.Messages() {
			last = err
		}
		wantCode(t, last, connect.CodeUnknown)
		wantContains(t, "error", last.Error(), "no schema")
		_ = stream.Close()
		up := site.client().ClientStream(testContext(t))
		_ = up.Send(text("x"))
		_, _ = up.CloseAndReceive()
		wantCode(t, await(t, "handler", results), connect.CodeUnknown)
	})
}
