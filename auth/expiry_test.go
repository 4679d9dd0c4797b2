// SPDX-License-Identifier: Apache-2.0

// Streams whose credentials expire, in time that tests control.

package auth_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/auth"
	"github.com/seed-b7c59c10/connect/connecttest"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
)

// waiting is a service whose streams go on until something ends them.
type waiting struct {
	service
	ends chan error // of handlers
}

func (s *waiting) Bidi(ctx context.Context, stream *connect.BidiStream[conntestv1.Request, conntestv1.Response]) error {
	for {
		msg, err := stream.Receive()
		if err != nil {
			s.ends <- err
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := stream.Send(&conntestv1.Response{Text: msg.Text}); err != nil {
			return err
		}
	}
}

func (s *waiting) ServerStream(ctx context.Context, request *connect.Request[conntestv1.Request], stream *connect.ServerStream[conntestv1.Response]) error {
	data := make([]byte, request.Msg.Size)
	_, _ = rand.Read(data) // no compression makes it smaller
	for len(data) > 0 {    // until a Send fails
		if err := stream.Send(&conntestv1.Response{Data: data}); err != nil {
			s.ends <- err
			return err
		}
	}
	if err := stream.Send(&conntestv1.Response{}); err != nil {
		return err
	}
	<-ctx.Done()
	s.ends <- context.Cause(ctx)
	return ctx.Err()
}

// TestEndStreamsAtExpiry: a stream ends when its token does, whether the handler receives or
// waits for its context; without the option it goes on.
func TestEndStreamsAtExpiry(t *testing.T) {
	for _, c := range carriers {
		if !c.bidi {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hour := auth.Bearer(func(context.Context, string) (auth.Identity, error) {
					return auth.Identity{Subject: "ada", Expires: time.Now().Add(time.Hour)}, nil
				})
				run := func(guard *auth.Guard, f func(ctx context.Context, client conntestv1connect.TestServiceClient, ends chan error)) {
					s := &waiting{ends: make(chan error, 1)}
					mux := http.NewServeMux()
					mux.Handle(conntestv1connect.NewTestServiceHandler(s, guard))
					server := connecttest.NewServer(mux, c.server...)
					defer server.Close()
					ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
					defer cancel()
					f(ctx, newClient(server, append(c.options, withHeader("Authorization", "Bearer x"))...), s.ends)
				}
				ending := auth.Require(hour, auth.EndStreamsAtExpiry())
				const text = "the bearer credentials expired at"
				run(ending, func(ctx context.Context, client conntestv1connect.TestServiceClient, ends chan error) {
					begin := time.Now()
					stream := client.Bidi(ctx)
					for range 3 {
						if err := stream.Send(&conntestv1.Request{Text: "a"}); err != nil {
							t.Fatal(err)
						}
						if _, err := stream.Receive(); err != nil {
							t.Fatal(err)
						}
						time.Sleep(time.Minute)
					}
					_, err := stream.Receive()
					wantError(t, err, connect.CodeUnauthenticated, text)
					wantError(t, <-ends, connect.CodeUnauthenticated, text)
					if got := time.Since(begin); got < time.Hour || got > time.Hour+time.Second {
						t.Errorf("got the end after %v, want an hour", got)
					}
					_ = stream.CloseResponse()
				})
				run(ending, func(ctx context.Context, client conntestv1connect.TestServiceClient, ends chan error) {
					stream, err := client.ServerStream(ctx, connect.NewRequest(&conntestv1.Request{}))
					if err != nil {
						t.Fatal(err)
					}
					for stream.Receive() {
					}
					wantError(t, stream.Err(), connect.CodeUnauthenticated, text)
					wantError(t, <-ends, connect.CodeUnauthenticated, text)
					_ = stream.Close()
				})
				run(ending, func(ctx context.Context, client conntestv1connect.TestServiceClient, ends chan error) {
					begin := time.Now()
					stream, err := client.ServerStream(ctx, connect.NewRequest(&conntestv1.Request{Size: 1 << 20}))
					if err != nil {
						t.Fatal(err)
					}
					if err := <-ends; err == nil { // the client does not read
						t.Error("got no error of Send")
					}
					if got := time.Since(begin); got < time.Hour || got > time.Hour+3*time.Second {
						t.Errorf("got the end of Send after %v, want an hour and two seconds", got)
					}
					_ = stream.Close()
				})
				run(ending, func(ctx context.Context, client conntestv1connect.TestServiceClient, ends chan error) {
					stream := client.Bidi(ctx) // ends before
					_ = stream.CloseRequest()
					if _, err := stream.Receive(); !errors.Is(err, io.EOF) {
						t.Errorf("got %v, want the end", err)
					}
					<-ends
					_ = stream.CloseResponse()
				})
				run(auth.Require(hour), func(ctx context.Context, client conntestv1connect.TestServiceClient, ends chan error) {
					stream := client.Bidi(ctx)
					for range 2 {
						if err := stream.Send(&conntestv1.Request{Text: "a"}); err != nil {
							t.Fatal(err)
						}
						if _, err := stream.Receive(); err != nil {
							t.Fatal(err)
						}
						time.Sleep(2 * time.Hour / 3 * 2)
					}
					_ = stream.CloseRequest()
					_, _ = stream.Receive()
					<-ends
					_ = stream.CloseResponse()
				})
			})
		})
	}
}
