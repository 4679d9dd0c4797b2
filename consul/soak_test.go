// SPDX-License-Identifier: Apache-2.0

// A soak: calls of all kinds, of which some are cancelled and some are out of time, while
// instances are killed and started, intentions change, the authority rotates, and the agent is
// slow, wrong or gone for a while.

package consul_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/consul"
)

func TestSoak(t *testing.T) {
	a := newAgent(t)
	slow := func(ctx context.Context) error {
		if rand.IntN(10) > 0 {
			return nil
		}
		select {
		case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var kills [3]func()
	instance := func(n int) {
		_, _, kill := start(t, a, "ping", handlers(slow), consul.Registration{ID: fmt.Sprint(n)})
		kills[n%3] = kill
	}
	for n := range 3 {
		instance(n)
		await(t, "the check", func() bool { return a.Health(fmt.Sprint(n)) == "passing" })
	}
	web := newService(t, a, "web")
	webHTTP := newService(t, a, "web", func(c *consul.Config) { c.NetHTTP = true })

	const callers, most = 8, 60
	var outcomes sync.Map
	var done atomic.Int64
	var working sync.WaitGroup
	for n := range callers {
		working.Go(func() {
			defer done.Add(1)
			for range most {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				switch rand.IntN(6) {
				case 0:
					time.AfterFunc(time.Duration(rand.IntN(5))*time.Millisecond, cancel)
				case 1:
					cancel()
					ctx, cancel = context.WithTimeout(t.Context(), time.Duration(rand.IntN(5000))*time.Microsecond)
				}
				s := web
				if n%2 == 1 {
					s = webHTTP
				}
				options := protocols[[]string{"connect", "grpc", "grpcweb"}[rand.IntN(3)]]
				if rand.IntN(2) == 0 {
					options = append([]connect.ClientOption{s.Options(pingURL)}, options...)
				}
				got, err := call(ctx, s.HTTPClient(), pingURL, paths[rand.IntN(4)], options...)
				code := connect.CodeOf(err)
				switch {
				case err == nil && got != "web":
					t.Errorf("got the answer %q, want web", got)
				case err == nil, code == connect.CodeCanceled, code == connect.CodeDeadlineExceeded,
					code == connect.CodePermissionDenied, code == connect.CodeUnavailable:
				default:
					t.Errorf("got %v, want an answer or one of four codes", err)
				}
				if err == nil {
					code = 0
				}
				count, _ := outcomes.LoadOrStore(code, new(atomic.Int64))
				count.(*atomic.Int64).Add(1)
				cancel()
			}
		})
	}
	// Trouble, as long as there are callers.
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for n := 3; done.Load() < callers; n++ {
		<-pause.C
		switch n % 8 {
		case 0:
			kills[n%3]()
			instance(n)
		case 1:
			a.Deny("web", "ping")
		case 2, 3:
			a.Allow("web", "ping")
		case 4:
			if n < 60 { // a root for each is in the list for good
				if err := a.RotateCA(); err != nil {
					t.Error(err)
				}
			}
		case 5:
			a.Intercept(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					switch rand.IntN(4) {
					case 0:
						http.Error(w, "no leader", 500)
					case 1:
						_, _ = w.Write([]byte("garbage"))
					case 2:
						panic(http.ErrAbortHandler)
					default:
						next.ServeHTTP(w, r)
					}
				})
			})
			await(t, "a query", func() bool { return web.Status().LeafError != nil || rand.IntN(20) == 0 })
		default:
			a.Intercept(nil)
		}
	}
	working.Wait()
	a.Intercept(nil)
	a.Allow("web", "ping")
	for _, s := range []*consul.Service{web, webHTTP} {
		await(t, "the end of the trouble", func() bool {
			for _, path := range paths {
				if _, err := call(within(t), s.HTTPClient(), pingURL, path); err != nil {
					return false
				}
			}
			return true
		})
	}
	outcomes.Range(func(code, count any) bool {
		t.Logf("%v: %d", code, count.(*atomic.Int64).Load())
		return true
	})
	if n, ok := outcomes.Load(connect.Code(0)); !ok || n.(*atomic.Int64).Load() < callers {
		t.Error("got hardly any answer, want most")
	}
	for _, s := range []*consul.Service{web, webHTTP} {
		if err := s.Close(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
}
