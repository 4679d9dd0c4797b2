// SPDX-License-Identifier: Apache-2.0

// Slow consumers: nats.go drops messages of a call on either side, and each call ends with a
// clear code.

package natstest

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	natsrpc "github.com/seed-b7c59c10/connect/nats"
)

// slowLimit is how many bytes may wait for a slow consumer: nats.go drops a message that is
// larger, however fast its reader is. large is more, and less than a frame has.
const (
	slowLimit = 20_000
	large     = 50_000
)

// slow makes a connection's subscriptions to subjects with a prefix slow consumers. The
// subscriptions are package natsrpc's, and nats.go lists them nowhere.
func slow(t *testing.T, nc *nats.Conn, prefix string) (dropped func() int) {
	t.Helper()
	var found []*nats.Subscription
	subs := reflect.ValueOf(nc).Elem().FieldByName("subs")
	for _, key := range subs.MapKeys() {
		if sub := (*nats.Subscription)(subs.MapIndex(key).UnsafePointer()); strings.HasPrefix(sub.Subject, prefix) {
			if err := sub.SetPendingLimits(-1, slowLimit); err != nil {
				t.Fatal(err)
			}
			found = append(found, sub)
		}
	}
	if len(found) != 1 {
		t.Fatalf("got %d subscriptions to %q, want 1", len(found), prefix)
	}
	return func() int {
		n, err := found[0].Dropped()
		if err != nil {
			t.Error(err)
		}
		return n
	}
}

func TestSlowConsumer(t *testing.T) {
	t.Parallel()
	broker := startServer(t, nil)
	const lost = "messages were lost between the peers"
	type bidi = *connect.BidiStreamForClient[conntestv1.Request, conntestv1.Response]
	// sends sends messages, and returns the error of the first answer that does not come.
	sends := func(stream bidi, sizes ...int) error {
		for _, size := range sizes {
			if err := stream.Send(&conntestv1.Request{Data: make([]byte, size)}); err != nil {
				break // Receive has the reason
			}
		}
		for range sizes {
			if _, err := stream.Receive(); err != nil {
				return err
			}
		}
		return nil
	}
	for name, test := range map[string]struct {
		server    bool   // it is slow, not the client
		prefix    string // of the subscription
		keepAlive time.Duration
		call      func(context.Context, conntestv1connect.TestServiceClient, bidi) error
		want      string // in the error
		handler   string // in the error of the bidi stream's handler; "" if it ends well
	}{
		"a message to the client": {
			call: func(_ context.Context, _ conntestv1connect.TestServiceClient, stream bidi) error {
				return sends(stream, large, 1)
			}, prefix: "_INBOX.", want: lost, handler: lost,
		},
		"a message to the server": {
			server: true, call: func(_ context.Context, _ conntestv1connect.TestServiceClient, stream bidi) error {
				return sends(stream, large, 1)
			}, prefix: "_INBOX.", want: lost, handler: lost,
		},
		// No frame follows: the client's ping gets to a server that has forgotten the call.
		"the end of a response": {
			keepAlive: time.Second, prefix: "_INBOX.", want: "no such call",
			call: func(ctx context.Context, client conntestv1connect.TestServiceClient, _ bidi) error {
				stream, err := client.ServerStream(ctx, connect.NewRequest(&conntestv1.Request{Count: 1}))
				if err != nil {
					return err
				}
				defer stream.Close()
				if !stream.Receive() {
					return errors.Join(errors.New("got no message"), stream.Err())
				}
				if stream.Receive() {
					return errors.New("got another message")
				}
				return stream.Err()
			},
		},
		// The client knows no server that it could ask.
		"a whole answer": {
			keepAlive: 20 * time.Millisecond, prefix: "_INBOX.",
			call: func(ctx context.Context, client conntestv1connect.TestServiceClient, _ bidi) error {
				_, err := client.Unary(ctx, connect.NewRequest(&conntestv1.Request{Size: large}))
				return err
			},
		},
		"a whole request": {
			server: true, keepAlive: 20 * time.Millisecond, prefix: "rpc.", want: "the peer is silent",
			call: func(ctx context.Context, client conntestv1connect.TestServiceClient, _ bidi) error {
				_, err := client.Unary(ctx, connect.NewRequest(&conntestv1.Request{Data: make([]byte, large)}))
				return err
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			reported := make(chan error, 10)
			onError := nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { reported <- err })
			servers, clients := dial(t, broker, onError), dial(t, broker, onError)
			ended := make(chan error, 1)
			serve(t, servers, slowService(ended))
			// gRPC has its trailers in the frame with the end.
			options := []connect.ClientOption{connect.WithGRPC(), connect.WithAcceptCompression("gzip", nil, nil)}
			client := newClient(clients, options...)
			stream := client.Bidi(testContext(t))
			defer stream.CloseResponse()
			if err := sends(stream, 1, large); err != nil {
				t.Fatalf("got %v, want answers before the consumer is slow", err)
			}
			consumer := clients
			if test.server {
				consumer = servers
			}
			dropped := slow(t, consumer, test.prefix)
			if test.keepAlive > 0 { // of this call alone: the other stream's server may be busy
				client = conntestv1connect.NewTestServiceClient(natsrpc.NewClient(clients, natsrpc.KeepAlive(test.keepAlive)), base, options...)
			}
			wantError(t, "call", test.call(testContext(t), client, stream), connect.CodeUnavailable, test.want)
			if n := dropped(); n != 1 {
				t.Errorf("got %d messages dropped, want 1", n)
			}
			if err := <-reported; !errors.Is(err, nats.ErrSlowConsumer) {
				t.Errorf("got %v at the connection's error handler, want %v", err, nats.ErrSlowConsumer)
			}
			if test.handler == "" { // the drop was of another call: this one goes on
				if err := sends(stream, 1); err != nil {
					t.Errorf("got %v, want an answer on the other stream", err)
				}
				_ = stream.CloseRequest()
				if err := <-ended; err != nil {
					t.Errorf("got %v from the handler of the other stream, want its end", err)
				}
				return
			}
			wantError(t, "handler", <-ended, connect.CodeUnavailable, test.handler)
			if _, err := newClient(clients).Unary(testContext(t), connect.NewRequest(&conntestv1.Request{})); err != nil {
				t.Errorf("got %v, want an answer to the next call", err)
			}
		})
	}
}

// slowService is the service with the end of a bidi stream's handler in a channel, and with
// a long trailer for server streams.
func slowService(ended chan<- error) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(conntestv1connect.NewTestServiceHandler(&slowHandler{ended: ended}))
	return mux
}

type slowHandler struct {
	service
	ended chan<- error
}

func (s *slowHandler) Bidi(ctx context.Context, stream *connect.BidiStream[conntestv1.Request, conntestv1.Response]) error {
	err := s.service.Bidi(ctx, stream)
	s.ended <- err
	return err
}

func (s *slowHandler) ServerStream(ctx context.Context, r *connect.Request[conntestv1.Request], stream *connect.ServerStream[conntestv1.Response]) error {
	stream.ResponseTrailer().Set("Long", strings.Repeat("x", large))
	return s.service.ServerStream(ctx, r, stream)
}
