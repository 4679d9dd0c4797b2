// SPDX-License-Identifier: Apache-2.0

// This file mixes watchers that are cancelled, time out, leave, read slowly or stay with
// statuses that change, over connections that are closed meanwhile.

package health

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
)

// soakTime is how long the statuses change.
const soakTime = 800 * time.Millisecond

func TestSoak(t *testing.T) {
	for i, c := range carriers {
		if c.name == "h1 get" || c.name == "h1 connect json" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := &soak{status: New(), rand: rand.New(rand.NewPCG(uint64(i), 11))}
			server := serve(t, s.status, c.server)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			client := NewClient(server.Client(), server.URL, c.options...)
			var churn, stay sync.WaitGroup
			for n := range 8 {
				stay.Go(func() { s.stay(ctx, t, client, n) })
			}
			over := make(chan struct{})
			for n := range 8 {
				seed := rand.New(rand.NewPCG(uint64(n), uint64(i)))
				churn.Go(func() {
					for {
						select {
						case <-over:
							return
						default:
							s.disturb(ctx, t, client, seed)
						}
					}
				})
			}
			for end := time.Now().Add(soakTime); time.Now().Before(end); {
				s.change()
				time.Sleep(time.Duration(s.rand.IntN(300)) * time.Microsecond) // spreads the changes, and decides nothing
				if s.rand.IntN(500) == 0 {
					server.Client().CloseIdleConnections()
				}
			}
			close(over)
			churn.Wait()
			s.status.Shutdown()
			stay.Wait()
			if s.calls.Load() == 0 || s.ends.Load() != 8 {
				t.Errorf("got %d disturbed calls and %d ends of watchers that stayed, want some and 8", s.calls.Load(), s.ends.Load())
			}
			t.Logf("%d disturbed calls", s.calls.Load())
		})
	}
}

type soak struct {
	status *Server
	rand   *rand.Rand
	calls  atomic.Int64
	ends   atomic.Int64
}

const soakServices = 4

func soakService(n int) string { return fmt.Sprint("acme.v1.S", n%soakServices) }

func (s *soak) change() {
	s.status.Set(soakService(s.rand.IntN(soakServices)), Status(s.rand.IntN(4)))
}

// stay watches until the server drains. No status may follow itself, and the last one is
// that of a server that has drained.
func (s *soak) stay(ctx context.Context, t *testing.T, client *Client, n int) {
	last := Status(-1)
	for one, err := range client.Watch(ctx, soakService(n)) {
		if err != nil {
			wantError(t, err, connect.CodeUnavailable, "the server shuts down")
			s.ends.Add(1)
			break
		}
		if one == last {
			t.Errorf("got %v twice in a row", one)
		}
		last = one
	}
	if last != StatusNotServing && last != StatusServiceUnknown {
		t.Errorf("got %v as the last status, want NOT_SERVING, or SERVICE_UNKNOWN", last)
	}
}

// disturb makes a call that ends early, in one of the ways in which calls do.
func (s *soak) disturb(ctx context.Context, t *testing.T, client *Client, r *rand.Rand) {
	s.calls.Add(1)
	service := soakService(r.IntN(soakServices + 1))
	way, patience := r.IntN(4), time.Duration(r.IntN(3000))*time.Microsecond
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	switch way {
	case 0: // a call without a stream
		got, err := client.Check(ctx, service)
		if code := connect.CodeOf(err); err != nil && code != connect.CodeNotFound && code != connect.CodeDeadlineExceeded || got < 0 || got > 2 {
			t.Errorf("check: got %v and %v", got, err)
		}
		return
	case 1:
		if r.IntN(2) == 0 {
			cancel()
		}
	}
	reads := r.IntN(4)
	for _, err := range client.Watch(ctx, service) {
		if err != nil {
			if code := connect.CodeOf(err); code != connect.CodeDeadlineExceeded && code != connect.CodeCanceled {
				t.Errorf("watch: got %v", err)
			}
			return
		}
		if reads--; reads < 0 && way > 1 {
			return // leaves
		}
		if way == 3 {
			<-ctx.Done() // reads slowly
		}
	}
}
