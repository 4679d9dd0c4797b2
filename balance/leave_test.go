// SPDX-License-Identifier: Apache-2.0

// Servers that go away with many streams, and others that come at their addresses.

package balance_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
)

// watchers begins streams that have a message each, and returns a function that waits for
// their ends.
func watchers(t *testing.T, c *client, n int) (wait func()) {
	t.Helper()
	var begun, ended sync.WaitGroup
	for range n {
		begun.Add(1)
		ended.Go(func() {
			stream := c.CallBidiStream(context.Background())
			_ = stream.Send(wrapperspb.String("first"))
			if _, err := stream.Receive(); err != nil {
				t.Error(err)
			}
			begun.Done()
			_ = stream.Send(wrapperspb.String("second"))
			if _, err := stream.Receive(); err == nil {
				t.Error("got a second message, want an error")
			}
			_ = stream.CloseResponse()
		})
	}
	begun.Wait()
	return ended.Wait
}

// TestLeave ends many streams at once that have worked: by CodeUnavailable, as servers do
// that shut down, or by the loss of the connection. That is one failure, in all protocols,
// and one by one they are as many as there are.
func TestLeave(t *testing.T) {
	for name, protocol := range protocols {
		for _, killed := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				leave := make(chan struct{})
				s := newSite(t, 2, false, func(ctx context.Context, n *node, _ int64, text string) (string, error) {
					if text != "second" {
						return n.name, nil
					}
					select {
					case <-leave:
						return "", connect.NewError(connect.CodeUnavailable, errors.New("shutting down"))
					case <-ctx.Done():
						return "", ctx.Err()
					}
				})
				b := s.balancer(t, nil, balance.RoundRobin())
				end := settled(t, s, b, clientOf(b, pathUnary, unknown, protocol))
				c := clientOf(b, pathBidi, unknown, protocol)
				wait := watchers(t, c, 40)
				if killed {
					s.node("a").stop(t, false)
				}
				close(leave)
				wait()
				for e, state := range states(b) {
					if state == balance.StateEjected {
						t.Errorf("%s, killed %v: got %s ejected by streams that ended together, want one failure", name, killed, e)
					}
				}
				if !killed {
					for range 10 {
						watchers(t, c, 1)()
						time.Sleep(time.Millisecond)
					}
					ejected := 0
					for _, state := range states(b) {
						if state == balance.StateEjected {
							ejected++
						}
					}
					if ejected != 1 {
						t.Errorf("%s: got %d endpoints ejected by streams that fail one after the other, want the one that may be", name, ejected)
					}
				}
				wantIdle(t, b)
				end()
			})
		}
	}
}

// cutTransport answers with the head of a gRPC response and a part of its message, all calls
// of a round at once.
type cutTransport struct{ round chan struct{} }

func (c *cutTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	_ = r.Body.Close()
	<-c.round
	body := io.MultiReader(strings.NewReader("\x00\x00\x00\x01\x00part"), iotest.ErrReader(io.ErrUnexpectedEOF))
	return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 2, Header: http.Header{"Content-Type": {"application/grpc"}}, Body: io.NopCloser(body)}, nil
}

// TestCutAnswers cuts many answers off at once: that is one failure, and five rounds of them
// are five.
func TestCutAnswers(t *testing.T) {
	for _, path := range []string{pathUnary, pathServer} {
		synctest.Test(t, func(t *testing.T) {
			transport := &cutTransport{}
			b, err := balance.New(balance.Static("a:1", "b:1"), balance.RoundRobin(), balance.Eject(balance.Ejection{MaxPercent: 100}),
				balance.DialContext(func(context.Context, string, string) (net.Conn, error) {
					nc, other := net.Pipe()
					_ = other.Close()
					return nc, nil
				}),
				balance.Transport(func(balance.Endpoint, balance.Dial) http.RoundTripper { return transport }))
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			c := clientOf(b, path, unknown, protocols["grpc"])
			for round := range 5 {
				transport.round = make(chan struct{})
				var calls sync.WaitGroup
				for range 20 {
					calls.Go(func() {
						if _, err := call(context.Background(), c, path); err == nil {
							t.Error("got an answer, want an error")
						}
					})
				}
				synctest.Wait()
				for e, state := range states(b) {
					if state == balance.StateEjected {
						t.Errorf("%s: got %s ejected after %d rounds, want as many failures", path, e, round)
					}
				}
				close(transport.round)
				calls.Wait()
				time.Sleep(time.Millisecond)
			}
			for e, state := range states(b) {
				if state != balance.StateEjected {
					t.Errorf("%s: got state %s of %s after five rounds, want ejected", path, state, e)
				}
			}
		})
	}
}

// TestReplaced ejects an endpoint, takes its server away, and starts another one at the
// address: the first call that comes is for trial, long before the ejection is over. If no
// connection was refused meanwhile, it is not.
func TestReplaced(t *testing.T) {
	for _, away := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var broken atomic.Bool
			s := newSite(t, 2, false, func(_ context.Context, n *node, _ int64, _ string) (string, error) {
				if n.name == "a" && broken.Load() {
					return "", connect.NewError(connect.CodeUnavailable, errors.New("no database"))
				}
				return n.name, nil
			})
			b := s.balancer(t, nil, balance.RoundRobin())
			c := clientOf(b, pathUnary, unknown, protocols["grpc"])
			end := settled(t, s, b, c)
			broken.Store(true)
			for range 10 {
				_, _ = ask(t.Context(), c)
			}
			if state := states(b)["a"]; state != balance.StateEjected {
				t.Fatalf("got state %s after failures, want ejected", state)
			}
			if away {
				s.node("a").stop(t, false)
				time.Sleep(time.Second) // in which connections are refused
				s.start(t, "a")
				time.Sleep(5 * time.Second)
			}
			broken.Store(false)
			synctest.Wait()
			for range 4 {
				if _, err := ask(t.Context(), c); err != nil {
					t.Error(err)
				}
			}
			want := balance.StateEjected
			if away {
				want = balance.StateReady
			}
			if state := states(b)["a"]; state != want {
				t.Errorf("away %v: got state %s, want %s", away, state, want)
			}
			end()
		})
	}
}
