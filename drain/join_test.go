// SPDX-License-Identifier: Apache-2.0

// A replica that joins behind a balancer that places connections, and knows nothing of calls.

package drain_test

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
	"github.com/seed-b7c59c10/connect/h2"
)

// A placer dials replicas in turn, as a balancer of connections does.
type placer struct {
	mu       sync.Mutex
	replicas []*connecttest.Server
	next     int
}

func (p *placer) join(s *connecttest.Server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replicas = append(p.replicas, s)
}

func (p *placer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	p.mu.Lock()
	s := p.replicas[p.next%len(p.replicas)]
	p.next++
	p.mu.Unlock()
	return s.DialContext(ctx, network, address)
}

// TestJoin has three replicas under load, and a fourth that joins. Without MaxConnAge it gets
// no call, because each client keeps its connection. With it, every connection has been
// placed anew after 1.1 times the age, the jitter included, and the time of its calls: from
// twice the age on the fourth has a quarter of the calls.
//
// The bound below that is noise. The replicas' connections differ in number by one, and the
// times that they last by a jitter of at most a tenth, evenly spread: a standard deviation of 5.8 %.
// Its share of the 600 connections of the window then has one of 0.1 points, and connections that are
// cut off at both ends of the window move it by less than three of them, 0.5 points.
func TestJoin(t *testing.T) {
	const (
		clients = 60
		age     = time.Second
		work    = 100 * time.Millisecond
		window  = 10 * age
		least   = 0.24
	)
	for name, maxAge := range map[string]time.Duration{"with an age": age, "without": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p placer
				newServer := func() *service {
					s := &service{unary: func(context.Context) error {
						time.Sleep(work)
						return nil
					}}
					server := connecttest.NewServer(s.handler(), connecttest.WithServer(func(s *http.Server) {
						if err := h2.ConfigureServer(s, &h2.ServerConfig{MaxConnAge: maxAge, MaxConnAgeGrace: age}); err != nil {
							t.Error(err)
						}
					}))
					t.Cleanup(server.Close)
					p.join(server)
					return s
				}
				replicas := []*service{newServer(), newServer(), newServer()}
				total := func() (n int64) {
					for _, s := range replicas {
						n += s.runs.Load()
					}
					return n
				}
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				var made, failed atomic.Int64
				var working sync.WaitGroup
				for range clients {
					working.Go(func() {
						transport := h2.NewTransport(&h2.TransportConfig{DialContext: p.dial})
						defer transport.Close()
						c := newClient(transport, pathUnary, connect.WithGRPC())
						for ctx.Err() == nil {
							made.Add(1)
							if err := unary(t.Context(), c); err != nil && failed.Add(1) == 1 {
								t.Errorf("got %v, want an answer", err)
							}
						}
					})
				}
				time.Sleep(5*age + age/2)
				fourth := newServer()
				replicas = append(replicas, fourth)
				share := func(d time.Duration) float64 {
					own, all := fourth.runs.Load(), total()
					time.Sleep(d)
					return float64(fourth.runs.Load()-own) / float64(total()-all)
				}
				early, late := share(2*age), share(window)
				stop()
				working.Wait()
				if failed.Load() != 0 || total() != made.Load() {
					t.Errorf("got %d of %d calls failed, %d runs, want 0 and one for each", failed.Load(), made.Load(), total())
				}
				switch {
				case maxAge == 0 && fourth.runs.Load() != 0:
					t.Errorf("got %d calls at the fourth replica without an age, want none: this test would show nothing", fourth.runs.Load())
				case maxAge > 0 && late < least:
					t.Errorf("got %.1f%% of the calls at the fourth replica after twice the age, want at least %.0f%%", 100*late, 100*least)
				}
				t.Logf("the fourth's share: %.1f%% in the first two ages, %.2f%% in the next ten; %d calls", 100*early, 100*late, made.Load())
			})
		})
	}
}
