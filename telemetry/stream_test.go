// SPDX-License-Identifier: Apache-2.0

// Streams that end in every way: their spans end, and no call stays active.

package telemetry_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
)

// TestStreamEnds ends a stream of a client in each way, while its handler waits.
func TestStreamEnds(t *testing.T) {
	tests := []struct {
		name string
		end  func(t *testing.T, stream *connect.BidiStreamForClient[message, message], cancel context.CancelFunc)
		code string
	}{
		{"cancelled and never read", func(_ *testing.T, _ *connect.BidiStreamForClient[message, message], cancel context.CancelFunc) {
			cancel()
		}, "canceled"},
		{"closed before its end", func(_ *testing.T, stream *connect.BidiStreamForClient[message, message], _ context.CancelFunc) {
			_ = stream.CloseResponse()
		}, "canceled"},
		{"cancelled while it is read", func(t *testing.T, stream *connect.BidiStreamForClient[message, message], cancel context.CancelFunc) {
			var wait sync.WaitGroup
			wait.Go(func() {
				if _, err := stream.Receive(); connect.CodeOf(err) != connect.CodeCanceled {
					t.Errorf("got %v, want canceled", err)
				}
			})
			cancel()
			wait.Wait()
		}, "canceled"},
	}
	for _, c := range carriers[1:] {
		for _, test := range tests {
			t.Run(c.name+" "+test.name, func(t *testing.T) {
				r := record(t)
				both := r.option()
				s := serve(t, service(both), c.server...)
				ctx, cancel := context.WithCancel(testContext(t))
				defer cancel()
				stream := newClient(s, pathBidi, append(c.options, both)...).CallBidiStream(ctx)
				for _, text := range []string{"hello", "wait"} {
					if err := stream.Send(wrapperspb.String(text)); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := stream.Receive(); err != nil {
					t.Fatal(err)
				}
				test.end(t, stream, cancel)
				code := test.code
				if c.system == "grpc" {
					code = "CANCELLED"
				}
				wantAttributes(t, "client", attributes(r.ended(t, "client", 1)[0]), map[string]string{"rpc.status_code": code, "error.type": code, "connect.response.messages": "1"})
				wantAttributes(t, "handler", attributes(r.ended(t, "server", 1)[0]), map[string]string{"rpc.status_code": code, "error.type": ""})
				r.wantQuiet(t)
				cancel()
				_ = stream.CloseResponse()
			})
		}
	}
}

// wantQuiet checks that each span has ended, and that no call is active.
func (r *recorded) wantQuiet(t *testing.T) {
	t.Helper()
	ctx := testContext(t)
	for len(r.spans.Ended()) != len(r.spans.Started()) {
		select {
		case <-ctx.Done():
			t.Fatalf("got %d ended spans of %d, want all", len(r.spans.Ended()), len(r.spans.Started()))
		case <-time.After(time.Millisecond):
		}
	}
	found := r.metrics(t)
	for _, name := range []string{"connect.server.active_calls {call}", "connect.client.active_calls {call}"} {
		for set, value := range found[name] {
			if value != 0 {
				t.Errorf("got %d %s with %s, want 0", value, name, set)
			}
		}
	}
}

// TestSoak mixes calls of all kinds that succeed, fail, panic, are cancelled, time out,
// wait and leave.
func TestSoak(t *testing.T) {
	for i, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			r := record(t)
			both := r.option()
			s := serve(t, service(both), c.server...)
			options := append(c.options, both)
			paths := []string{pathUnary, pathServer, pathClient, pathBidi}
			if strings.HasPrefix(c.name, "h1") {
				paths = paths[:3]
			}
			texts := []string{"hello", "hello", "internal", "not_found", "panic", "wait"}
			var workers sync.WaitGroup
			for n := range 4 {
				seed := rand.New(rand.NewPCG(uint64(i), uint64(n)))
				workers.Go(func() {
					for range 50 {
						path, text := paths[seed.IntN(len(paths))], texts[seed.IntN(len(texts))]
						ctx, cancel := context.WithCancel(testContext(t))
						if text == "wait" || seed.IntN(3) == 0 {
							cancel()
							ctx, cancel = context.WithTimeout(testContext(t), time.Duration(seed.IntN(3000))*time.Microsecond) // at any point of the call
						}
						switch {
						case path == pathBidi && seed.IntN(2) == 0: // left before its end
							stream := newClient(s, pathBidi, options...).CallBidiStream(ctx)
							if err := stream.Send(wrapperspb.String(text)); err == nil && seed.IntN(2) == 0 {
								_, _ = stream.Receive()
							}
							if seed.IntN(2) == 0 {
								_ = stream.CloseResponse()
							}
						default:
							err := calls[path](ctx, s, text, options...)
							if err == nil && text != "hello" || errors.Is(err, io.EOF) {
								t.Errorf("%s %s: got %v", path, text, err)
							}
						}
						cancel()
					}
				})
			}
			workers.Wait()
			s.Close()
			r.wantQuiet(t)
		})
	}
}
