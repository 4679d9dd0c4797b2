// SPDX-License-Identifier: Apache-2.0

// This file tests that calls leave no goroutine and no open body behind, whatever the
// caller forgets. Tests that look at all goroutines of the process run alone.

package conntest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
)

// Streams whose caller forgets to close either side are gone after their
// context ended.
func TestForgottenCloses(t *testing.T) {
	tests := []struct {
		name   string
		duplex bool
		call   func(context.Context, *testing.T, conntestv1connect.TestServiceClient)
	}{
		{"server stream, nothing received", false, func(ctx context.Context, t *testing.T, c conntestv1connect.TestServiceClient) {
			_, err := c.ServerStream(ctx, requestOf("x"))
			wantNil(t, err)
		}},
		{"server stream, one received", false, func(ctx context.Context, t *testing.T, c conntestv1connect.TestServiceClient) {
			stream, err := c.ServerStream(ctx, requestOf("x"))
			wantNil(t, err)
			wantEqual(t, "received", stream.Receive(), true)
		}},
		{"client stream, nothing sent", false, func(ctx context.Context, _ *testing.T, c conntestv1connect.TestServiceClient) {
			c.ClientStream(ctx)
		}},
		{"client stream, one sent", false, func(ctx context.Context, t *testing.T, c conntestv1connect.TestServiceClient) {
			wantNil(t, c.ClientStream(ctx).Send(text("x")))
		}},
		{"bidi, nothing sent", true, func(ctx context.Context, _ *testing.T, c conntestv1connect.TestServiceClient) {
			c.Bidi(ctx)
		}},
		{"bidi, header sent", true, func(ctx context.Context, t *testing.T, c conntestv1connect.TestServiceClient) {
			wantNil(t, c.Bidi(ctx).Send(nil))
		}},
		{"bidi, one sent", true, func(ctx context.Context, t *testing.T, c conntestv1connect.TestServiceClient) {
			wantNil(t, c.Bidi(ctx).Send(text("x")))
		}},
		{"bidi, one received", true, func(ctx context.Context, t *testing.T, c conntestv1connect.TestServiceClient) {
			stream := c.Bidi(ctx)
			wantNil(t, stream.Send(text("x")))
			_, err := stream.Receive()
			wantNil(t, err)
		}},
		{"bidi, request closed", true, func(ctx context.Context, t *testing.T, c conntestv1connect.TestServiceClient) {
			stream := c.Bidi(ctx)
			wantNil(t, stream.Send(text("x")))
			wantNil(t, stream.CloseRequest())
		}},
		{"bidi, response closed", true, func(ctx context.Context, t *testing.T, c conntestv1connect.TestServiceClient) {
			stream := c.Bidi(ctx)
			wantNil(t, stream.Send(text("x")))
			_, err := stream.Receive()
			wantNil(t, err)
			_ = stream.CloseResponse()
		}},
	}
	// The handler of a stream runs until its context ends; while it runs, so does our ServeHTTP.
	service := everyKind(func(ctx context.Context, x *exchange) error {
		if !x.kind.receivesMany() {
			_, err := x.receiveAll()
			return err
		}
		for {
			if _, err := x.receive(); err != nil && !errors.Is(err, io.EOF) {
				return err
			} else if err != nil {
				<-ctx.Done()
				return ctx.Err()
			}
			if err := x.send(text2("hello")); err != nil {
				return err
			}
		}
	})
	runAlone(t, func(t *testing.T, m mode) {
		site := m.serve(t, service, alone)
		// A first call makes the connection that stays.
		wantNil(t, call(testContext(t), site.client(), unary, nil, text("x")).err)
		for _, test := range tests {
			if test.duplex && !duplex(m) {
				continue
			}
			ctx, cancel := context.WithCancel(testContext(t))
			test.call(ctx, t, site.client())
			cancel()
			if stack := untilNoneInPackage(); stack != "" {
				t.Fatalf("%s: a goroutine stayed:\n%s", test.name, stack)
			}
		}
	})
}

// Calls that succeed or fail leave no goroutine, with or without a context that
// ever ends.
func TestFinishedCallsLeaveNothing(t *testing.T) {
	runAlone(t, func(t *testing.T, m mode) {
		client := m.serve(t, echo, alone).client()
		for _, k := range m.kinds() {
			wantNil(t, call(context.Background(), client, k, nil, text("x")).err)
			wantCode(t, call(context.Background(), client, k, nil, &conntestv1.Request{
				Failure: &conntestv1.Failure{Code: uint32(connect.CodeAborted)},
			}).err, connect.CodeAborted)
		}
		// Read to the end, and not closed.
		stream, err := client.ServerStream(context.Background(), requestOf("x"))
		wantNil(t, err)
		for stream.Receive() {
		}
		wantNil(t, stream.Err())
		if stack := untilNoneInPackage(); stack != "" {
			t.Fatalf("a goroutine stayed:\n%s", stack)
		}
	})
}

// Every response body that the HTTP client hands out is closed.
func TestResponseBodiesAreClosed(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		site := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			requests, err := x.receiveAll()
			if err != nil {
				return err
			}
			for range 2 {
				if err := x.send(text2("hello")); err != nil {
					return err
				}
			}
			if requests[0].GetFailure() != nil {
				return failure(requests[0].GetFailure())
			}
			return nil
		}))
		var mu sync.Mutex
		open := 0
		client := site.clientOn(doerFunc(func(r *http.Request) (*http.Response, error) {
			res, err := site.httpClient().Do(r)
			if err != nil {
				return nil, err
			}
			mu.Lock()
			open++
			mu.Unlock()
			res.Body = &countedBody{ReadCloser: res.Body, closed: sync.OnceFunc(func() {
				mu.Lock()
				open--
				mu.Unlock()
			})}
			return res, nil
		}))
		for _, k := range m.kinds() {
			wantNil(t, call(testContext(t), client, k, nil, text("x")).err)
			wantCode(t, call(testContext(t), client, k, nil, &conntestv1.Request{
				Failure: &conntestv1.Failure{Code: uint32(connect.CodeAborted)},
			}).err, connect.CodeAborted)
			mu.Lock()
			wantEqual(t, string(k)+": open bodies", open, 0)
			mu.Unlock()
		}
	})
}

// A countedBody reports its first Close.
type countedBody struct {
	io.ReadCloser
	closed func()
}

func (b *countedBody) Close() error {
	b.closed()
	return b.ReadCloser.Close()
}

// untilNoneInPackage waits until no goroutine runs a function of the package
// under test, and returns the stack of one that stays.
func untilNoneInPackage() string {
	const prefix = "github.com/seed-b7c59c10/connect."
	for deadline := time.Now().Add(5 * time.Second); ; {
		stack := ""
		for _, s := range stacks() {
			if strings.Contains(s, "\n"+prefix) || strings.Contains(s, "created by "+prefix) {
				stack = s
				break
			}
		}
		if stack == "" || time.Now().After(deadline) {
			return stack
		}
		time.Sleep(time.Millisecond)
	}
}
