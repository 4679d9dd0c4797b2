// SPDX-License-Identifier: Apache-2.0

// Thousands of calls whose server runs them and then cuts the connection: those that are
// not idempotent run once, the others as often as the policy says.

package retry_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/retry"
)

// A severing server counts the runs of each call, and cuts the connection of each run:
// before the head of the answer, after it, or inside of the message, with a TCP reset or
// without.
type severing struct {
	address string
	conns   sync.Map // *net.TCPConn by the client's address
	runs    []atomic.Int32
}

func newSevering(t testing.TB, calls int) *severing {
	t.Helper()
	s := &severing{runs: make([]atomic.Int32, calls)}
	server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: s, ConnState: func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.conns.Store(c.RemoteAddr().String(), c)
		case http.StateClosed:
			s.conns.Delete(c.RemoteAddr().String())
		}
	}}
	if err := h2.ConfigureServer(server, nil); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = listener.Addr().String()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	return s
}

func (s *severing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	contentType := r.Header.Get("Content-Type")
	if err == nil && strings.HasPrefix(contentType, "application/grpc") {
		body = body[5:]
	}
	var msg message
	if err == nil {
		err = proto.Unmarshal(body, &msg)
	}
	var n int
	if err == nil {
		_, err = fmt.Sscan(msg.Value, &n)
	}
	if err != nil {
		return // the request was cut off with another call's connection
	}
	run := int(s.runs[n].Add(1))
	if moment := (n + run) % 3; moment > 0 {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusOK)
		if moment == 2 {
			_, _ = w.Write(make([]byte, 4))
		}
		_ = http.NewResponseController(w).Flush()
	}
	if c, ok := s.conns.Load(r.RemoteAddr); ok {
		if n%2 == 0 {
			_ = c.(*net.TCPConn).SetLinger(0)
		}
		_ = c.(net.Conn).Close()
	}
}

// TestCutCallsRunOnce makes calls until 10 000 of them have run and were cut.
func TestCutCallsRunOnce(t *testing.T) {
	const callers = 6 // of h2, all are cut with the first that runs
	for _, c := range []struct {
		level connect.IdempotencyLevel
		runs  int64 // in all, before the test ends
		most  int32 // of a call
	}{{unknown, 5000, 1}, {idempotent, 2500, 5}} {
		for version, protocol := range map[string]string{"HTTP/1.1": "connect", "h2": "grpc"} {
			t.Run(fmt.Sprintf("%v/%s", c.level, version), func(t *testing.T) {
				const calls = 100_000 // more than it takes: calls fail that have not run
				s := newSevering(t, calls)
				transport, end := versions[version].open()
				defer end()
				policy := retry.New(retry.Attempts(5), retry.Ratio(1, 1e6), retry.Backoff(time.Microsecond, time.Microsecond, 1))
				client := connect.NewClient[message, message](&http.Client{Transport: transport}, "http://"+s.address+pathUnary,
					append([]connect.ClientOption{connect.WithIdempotency(c.level), connect.WithInterceptors(policy)}, protocols[protocol]...)...)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var next, ran atomic.Int64
				var working sync.WaitGroup
				for range callers {
					working.Go(func() {
						for ran.Load() < c.runs {
							n := next.Add(1) - 1
							if n >= calls {
								return
							}
							_, err := client.CallUnary(ctx, connect.NewRequest(wrapperspb.String(fmt.Sprint(n))))
							runs := s.runs[n].Load()
							ran.Add(int64(runs))
							if err == nil || runs > c.most || ctx.Err() != nil {
								t.Errorf("call %d: got %v after %d runs, want an error after at most %d", n, err, runs, c.most)
								return
							}
						}
					})
				}
				working.Wait()
				most := int32(0)
				for i := range s.runs {
					most = max(most, s.runs[i].Load())
				}
				if most > c.most || most < min(c.most, 2) || version == "HTTP/1.1" && most != c.most || ran.Load() < c.runs {
					t.Errorf("got at most %d runs of a call and %d of all, want %d and at least %d", most, ran.Load(), c.most, c.runs)
				}
				t.Logf("%d calls, %d runs, at most %d of a call", next.Load(), ran.Load(), most)
			})
		}
	}
}
