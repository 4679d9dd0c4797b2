// SPDX-License-Identifier: Apache-2.0

// Everything at once: guards, tokens that rotate and are refused, sources that fail, calls
// that are cancelled, clients that go away.

package auth_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/auth"
	"github.com/seed-b7c59c10/connect/connecttest"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
)

// TestSoak: no call reaches the handler with a token that is not valid, calls with good tokens
// succeed in the end, and no goroutine is left when the clients are.
func TestSoak(t *testing.T) {
	for _, c := range carriers {
		if !c.bidi {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { soak(t, c.server, c.options) })
		})
	}
}

func soak(t *testing.T, serverOptions []connecttest.Option, clientOptions []connect.ClientOption) {
	const life = time.Minute
	var generation atomic.Int64 // of tokens that are valid: one that was withdrawn is smaller
	var down atomic.Bool        // the source
	source := auth.TokenFunc(func(ctx context.Context) (auth.Token, error) {
		select {
		case <-time.After(time.Duration(rand.IntN(3)) * time.Second):
		case <-ctx.Done():
			return auth.Token{}, ctx.Err()
		}
		if down.Load() {
			return auth.Token{}, errors.New("down")
		}
		return auth.Token{Value: fmt.Sprint(generation.Load()), Expires: time.Now().Add(life)}, nil
	})
	guard := auth.Require(auth.EndStreamsAtExpiry(), auth.Bearer(func(_ context.Context, token string) (auth.Identity, error) {
		if token != fmt.Sprint(generation.Load()) {
			return auth.Identity{}, errors.New("withdrawn")
		}
		return auth.Identity{Subject: token, Expires: time.Now().Add(life)}, nil
	}))
	handler := &waiting{ends: make(chan error, 10000)}
	mux := http.NewServeMux()
	mux.Handle(conntestv1connect.NewTestServiceHandler(handler, guard))
	server := connecttest.NewServer(mux, serverOptions...)
	defer server.Close()
	client := newClient(server, append(clientOptions, auth.Credentials(source, auth.AllowInsecure()))...)

	done := make(chan struct{})
	var workers sync.WaitGroup
	var good atomic.Int64
	for worker := range 6 {
		workers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rand.IntN(100))*time.Second)
				switch (worker + i) % 3 {
				case 0:
					if got := answerOf(client.Unary(ctx, connect.NewRequest(&conntestv1.Request{}))); got.err == nil {
						good.Add(1)
					}
				case 1:
					stream := client.Bidi(ctx)
					for range 3 {
						_ = stream.Send(&conntestv1.Request{})
						if _, err := stream.Receive(); err != nil {
							break
						}
						time.Sleep(time.Duration(rand.IntN(40)) * time.Second)
					}
					_ = stream.CloseResponse()
				case 2:
					if stream, err := client.ServerStream(ctx, connect.NewRequest(&conntestv1.Request{})); err == nil {
						for stream.Receive() {
						}
						_ = stream.Close()
					}
				}
				cancel()
				time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond)
			}
		})
	}
	for range 10 {
		time.Sleep(time.Minute)
		generation.Add(1) // all tokens are withdrawn
		down.Store(true)
		time.Sleep(10 * time.Second)
		down.Store(false)
		time.Sleep(10 * time.Second)
		if got := answerOf(client.Unary(t.Context(), connect.NewRequest(&conntestv1.Request{}))); got.err != nil || got.text != fmt.Sprint(generation.Load()) {
			t.Errorf("got %q and %v, want the generation %d", got.text, got.err, generation.Load())
		}
	}
	close(done)
	workers.Wait()
	if good.Load() == 0 {
		t.Error("got no call that succeeded")
	}
}
