// SPDX-License-Identifier: Apache-2.0

// Everything at once: endpoints that come and go, are killed, restart and hang, and calls
// of all kinds with deadlines and cancels. Nothing is left afterwards.

package balance_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
	"github.com/seed-b7c59c10/connect/retry"
)

func TestSoak(t *testing.T) {
	lasts := 1500 * time.Millisecond
	if testing.Short() {
		lasts = 500 * time.Millisecond
	}
	for _, http1 := range []bool{false, true} {
		t.Run(fmt.Sprint("http1 ", http1), func(t *testing.T) {
			t.Parallel()
			var counts sync.Map // runs of calls that are not idempotent
			s := newSite(t, 5, http1, func(ctx context.Context, n *node, run int64, text string) (string, error) {
				if count, ok := counts.Load(text); ok && count.(*atomic.Int64).Add(1) > 1 {
					t.Errorf("call %s ran twice, and is not idempotent", text)
				}
				switch run % 40 {
				case 1:
					return "", connect.NewError(connect.CodeUnavailable, errors.New("busy"))
				case 2:
					select {
					case <-time.After(30 * time.Millisecond):
					case <-ctx.Done():
						return "", ctx.Err()
					}
				}
				return n.name, nil
			})
			r := newResolver()
			b := s.balancer(t, r, balance.SlowStart(100*time.Millisecond), balance.Eject(balance.Ejection{Base: 50 * time.Millisecond, Max: 100 * time.Millisecond}))
			r.set(s.names...)
			ctx, end := context.WithTimeout(t.Context(), lasts)
			defer end()
			var working sync.WaitGroup
			var made, answered atomic.Int64
			policy := retry.New(retry.Attempts(3), retry.AttemptTimeout(200*time.Millisecond), retry.For(pathUnary, retry.Hedge(20*time.Millisecond, 2)), retry.Ratio(1, 1000))
			for worker := range 16 {
				working.Go(func() {
					for i := 0; ctx.Err() == nil; i++ {
						path := []string{pathUnary, pathServer, pathClient, pathBidi}[rand.IntN(4)]
						if http1 && path == pathBidi {
							continue
						}
						protocol := []string{"connect", "grpcweb", "grpc"}[rand.IntN(3)]
						if http1 && protocol == "grpc" {
							continue
						}
						callCtx, cancel := context.WithTimeout(ctx, time.Duration(1+rand.IntN(100))*time.Millisecond)
						if rand.IntN(4) == 0 {
							time.AfterFunc(time.Duration(rand.IntN(5000))*time.Microsecond, cancel)
						}
						made.Add(1)
						var err error
						switch rand.IntN(3) {
						case 0:
							_, err = call(callCtx, clientOf(b, path, idempotent, protocols[protocol], policy), path)
						case 1:
							text := fmt.Sprint(worker, "-", i)
							counts.Store(text, new(atomic.Int64))
							_, err = clientOf(b, pathUnary, unknown, protocols[protocol], policy).CallUnary(callCtx, connect.NewRequest(wrapperspb.String(text)))
						default: // a stream that is left
							stream := clientOf(b, pathServer, unknown, protocols[protocol])
							var left *connect.ServerStreamForClient[message]
							if left, err = stream.CallServerStream(callCtx, connect.NewRequest(wrapperspb.String("x"))); err == nil {
								left.Receive()
								if rand.IntN(2) == 0 {
									_ = left.Close()
								}
							}
						}
						cancel()
						if err == nil {
							answered.Add(1)
							continue
						}
						switch code := connect.CodeOf(err); code {
						case connect.CodeUnavailable, connect.CodeCanceled, connect.CodeDeadlineExceeded:
						default:
							if !errors.Is(err, io.ErrUnexpectedEOF) {
								t.Errorf("%s %s: got %v, want another code", protocol, path, err)
							}
						}
					}
				})
			}
			for ctx.Err() == nil {
				n := s.node(s.names[rand.IntN(len(s.names))])
				switch rand.IntN(6) {
				case 0, 1:
					n.stop(t, false)
					time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
					s.start(t, n.name)
				case 2:
					n.hide(true)
					time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
					n.hide(false)
				case 3:
					set := []balance.Endpoint{{Addr: "x"}} // nothing is there
					for _, name := range s.names {
						if rand.IntN(3) > 0 {
							set = append(set, balance.Endpoint{Addr: name, Weight: uint32(rand.IntN(3)), Priority: rand.IntN(2), Zone: "z"})
						}
					}
					r.put(set, nil)
				case 4:
					r.put(nil, errors.New("no answer"))
				default:
					_ = b.Status()
				}
				time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
			}
			working.Wait()
			r.set(s.names...)
			whole, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for range 50 {
				if _, err := ask(whole, clientOf(b, pathUnary, idempotent, protocols["connect"], retry.New(retry.Attempts(10), retry.Ratio(1, 1000)))); err != nil {
					t.Errorf("got %v after the storm, want an answer", err)
				}
			}
			wantIdle(t, b)
			t.Logf("%d of %d calls were answered", answered.Load(), made.Load())
			if answered.Load() == 0 {
				t.Error("got no answer, want some")
			}
			b.Close()
		})
	}
}
