// SPDX-License-Identifier: Apache-2.0

// The age of a server's connections: they end gracefully when they are old. [gRPC A9]

package h2_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

const connAge, connAgeGrace = 10 * time.Minute, time.Minute

func aging(grace time.Duration) func(*http.Server, *h2.ServerConfig) {
	return func(s *http.Server, c *h2.ServerConfig) {
		s.IdleTimeout = -1
		c.MaxConnAge, c.MaxConnAgeGrace = connAge, grace
	}
}

// TestServerAge has one open stream when its connection gets old, which ends in time.
func TestServerAge(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		held := newGate(t)
		s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
			held.wait()
			answerOK(w, r)
		}, aging(connAgeGrace))
		began := time.Now()
		p := dial(t, s)
		p.get(1)
		for _, want := range []uint32{1<<31 - 1, 1} {
			if f := p.await("GOAWAY", isGoAway); f.code != http2.ErrCodeNo || f.last != want {
				t.Errorf("got GOAWAY with %v, last stream %d, want NO_ERROR and %d", f.code, f.last, want)
			}
		}
		within(t, "the age", time.Since(began), connAge-connAge/10, connAge+connAge/10)
		time.Sleep(connAgeGrace / 2)
		held.open()
		p.wantAnswer(1, "200")
		p.wantClosed()
	})
}

// TestServerAgeGrace has a stream that does not end: it fails when its time is over.
// Without a grace it goes on.
func TestServerAgeGrace(t *testing.T) {
	t.Parallel()
	for _, grace := range []time.Duration{connAgeGrace, 0} {
		bubble(t, func(t *testing.T) {
			s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusOK)
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			}, aging(grace))
			p := dial(t, s)
			p.get(1)
			p.await("the second GOAWAY", func(f *frame) bool { return isGoAway(f) && f.last == 1 })
			old := time.Now()
			time.Sleep(connAgeGrace - time.Second)
			synctest.Wait()
			if s.running.Load() != 1 || p.over() {
				t.Errorf("grace %v: got the stream ended %v after the age, want it to go on", grace, time.Since(old))
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if ended := p.over(); ended != (grace > 0) {
				t.Errorf("grace %v: got ended = %v after %v", grace, ended, time.Since(old))
			}
			if grace == 0 {
				p.reset(1, http2.ErrCodeCancel)
				p.wantClosed()
			}
		})
	}
}

// TestServerAgeJitter has many connections that began together: they do not end
// together.
func TestServerAgeJitter(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := startServer(t, answerOK, aging(0))
		ends := make(map[time.Duration]int)
		began := time.Now()
		results := make(chan time.Duration)
		const conns = 50
		for range conns {
			p := dial(t, s)
			p.get(1)
			p.wantAnswer(1, "200")
			go func() {
				<-p.ended
				results <- time.Since(began).Truncate(time.Second)
			}()
		}
		for range conns {
			ends[<-results]++
		}
		if len(ends) < conns/5 {
			t.Errorf("got %d connections ended within %d different seconds, want them spread: %v", conns, len(ends), ends)
		}
	})
}
