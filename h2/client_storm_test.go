// SPDX-License-Identifier: Apache-2.0

// Many calls of all kinds at once, most of which end early in some way. When it is
// over, every place on every connection has been given back, once.

package h2_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
)

// moody is a handler that follows the request's header.
func moody(w http.ResponseWriter, r *http.Request) {
	switch r.Header.Get("X-Mood") {
	case "echo":
		_, _ = io.Copy(w, r.Body)
	case "refuse":
		http.Error(w, "no", http.StatusForbidden)
	case "abort":
		_, _ = w.Write(zeros[:100])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case "wait":
		<-r.Context().Done()
	case "pour":
		for r.Context().Err() == nil { // slowly, for the bubble's clock to go on
			_, _ = w.Write(zeros[:64<<10])
			time.Sleep(10 * time.Millisecond)
		}
	case "bye":
		w.Header().Set("Connection", "close")
	}
}

// stormy makes one call whose shape and end are random.
func stormy(t *testing.T, rt http.RoundTripper, r *rand.Rand) {
	mood := []string{"echo", "echo", "echo", "refuse", "abort", "wait", "pour", "bye"}[r.IntN(8)]
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(2000))*time.Millisecond)
	defer cancel()
	body := watch(strings.NewReader(strings.Repeat("x", r.IntN(100_000))))
	req := request(ctx, "POST", body)
	switch r.IntN(4) {
	case 0:
		req = request(ctx, "POST", strings.NewReader(strings.Repeat("x", r.IntN(100_000))))
	case 1:
		req.Header.Set("Expect", "100-continue")
	case 2:
		req.Trailer = http.Header{"X-Sum": {"1"}}
	}
	req.Header.Set("X-Mood", mood)
	req.Close = r.IntN(50) == 0
	res, err := rt.RoundTrip(req)
	if err != nil {
		return
	}
	switch r.IntN(4) {
	case 0:
		_, err = io.ReadAll(res.Body)
	case 1:
		_, err = io.CopyN(io.Discard, res.Body, 1000)
	case 2:
		time.AfterFunc(time.Duration(r.IntN(100))*time.Millisecond, func() { _ = res.Body.Close() })
		_, err = io.ReadAll(res.Body)
	}
	if err == nil || r.IntN(2) == 0 {
		cancel() // and sometimes nobody closes
	}
	if r.IntN(2) == 0 {
		_ = res.Body.Close()
	}
}

// TestStorm does it on each kind of server and of client.
func TestStorm(t *testing.T) {
	const callers = 40
	calls := 12
	if testing.Short() {
		calls = 4
	}
	for _, engine := range []bool{true, false} {
		for _, within := range []bool{true, false} {
			bubble(t, func(t *testing.T) {
				d := new(dialer)
				if engine {
					d.network = startServer(t, moody).network
				} else {
					d.network = startStandard(t, moody)
				}
				var rt interface {
					http.RoundTripper
					CloseIdleConnections()
				}
				if within {
					standard := newWithin(t, nil, &http.Transport{ExpectContinueTimeout: time.Second}, nil)
					standard.DialContext = d.dial
					rt = standard
				} else {
					rt = newClient(t, nil, &h2.TransportConfig{DialContext: d.dial})
				}
				var storm sync.WaitGroup
				for i := range callers {
					storm.Go(func() {
						r := rand.New(rand.NewPCG(uint64(i), 0))
						for range calls {
							stormy(t, rt, r)
						}
					})
				}
				storm.Wait()
				time.Sleep(10 * time.Second) // for those that nobody has ended
				rt.CloseIdleConnections()
				settle()
				if n := d.alive.Load(); n != 0 {
					t.Errorf("engine %v, within %v: got %d connections with calls after the last call, want 0", engine, within, n)
				}
			})
		}
	}
}

// TestStormStalled makes calls and gives them up, on a connection whose peer takes
// nothing: what waits for it is bounded.
func TestStormStalled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, &h2.TransportConfig{
			KeepAlive: -1, MaxConnsPerHost: 1, HTTP2: &http.HTTP2Config{WriteByteTimeout: time.Hour},
		})
		go s.silent()
		before := heap()
		large := strings.Repeat("y", 50_000)
		for range 2000 { // 100 MB if nothing bounded it
			r := get(timeout(t, time.Millisecond))
			r.Header.Set("X", large)
			if o := call(client, r); o.err == nil {
				t.Fatal("got a response from a server that is deaf")
			}
		}
		wantAtMost(t, "bytes kept for a peer that takes nothing", heap()-before, 20<<20)
	})
}

// TestSecondConnection opens a second connection for many calls, as long as there are cores,
// and not one for each.
func TestSecondConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d, g := poolServer(t, 0)
		client := newClient(t, nil, &h2.TransportConfig{DialContext: d.dial, MaxConnsPerHost: 2})
		time.AfterFunc(5*time.Second, g.open) // sooner than servers end connections without requests
		for _, o := range many(t, client, 240) {
			o.want(t, 200, "ok")
		}
		d.want(t, 2, 2)
	})
}

// TestGzipBroken gets bodies that are not gzip, not all of it, or closed.
func TestGzipBroken(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, "\x1f\x8b\x08\x00"[:len(r.Header["X-Part"])*4]+"zip?")
	}
	behaves(t, handler, func(t *testing.T, client *http.Client) {
		for _, part := range [][]string{nil, {"x"}} {
			r := get(t.Context())
			r.Header["X-Part"] = part
			if o := call(client.Transport, r); o.err == nil {
				t.Errorf("got body %q, want an error", o.body)
			}
		}
		res, err := client.Transport.RoundTrip(get(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if _, err := res.Body.Read(make([]byte, 1)); err == nil {
			t.Error("got no error from reading a closed body")
		}
	})
}
