// SPDX-License-Identifier: Apache-2.0

// Streams: what the program has sent arrives whole at each attempt, and what it has seen
// is never taken back.

package retry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/retry"
)

// TestStreams fails the first two attempts at a moment of the call: before the response's
// head, after it, and after the first message. Only in the last case has the program
// seen something.
func TestStreams(t *testing.T) {
	for _, path := range []string{pathUnary, pathServer, pathClient, pathBidi} {
		for protocol, options := range protocols {
			for _, moment := range []string{"at once", "after the request", "after the head", "after a message"} {
				t.Run(path+"/"+protocol+"/"+moment, func(t *testing.T) {
					if moment == "after a message" && path != pathServer && path != pathBidi {
						t.Skip("the only message comes with the end of the call")
					}
					if moment == "after the head" && path == pathUnary && protocol == "connect" {
						t.Skip("the head has the end of the call in it")
					}
					synctest.Test(t, func(t *testing.T) {
						s := serve(t, func(ctx context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
							if run == 3 {
								return echo(in, out)
							}
							switch moment {
							case "after the request":
								for {
									if _, err := in(); err != nil {
										break
									}
								}
							case "after the head":
								info, ok := connect.CallInfoForHandlerContext(ctx)
								if !ok {
									return errors.New("the context has no CallInfo")
								}
								if err := info.SendHeader(); err != nil {
									return err
								}
							case "after a message":
								_ = out(wrapperspb.String("first"))
							}
							return unavailable()
						})
						got, err := call(t.Context(), s.client(path, idempotent, retry.New(), options...), path)
						if moment == "after a message" {
							s.wantRuns(t, 1)
							if connect.CodeOf(err) != connect.CodeUnavailable || !slices.Equal(got, []string{"first"}) {
								t.Errorf("got %q and %v, want the first message and the error behind it", got, err)
							}
							return
						}
						want := "abc"
						if path == pathUnary || path == pathServer {
							want = "a"
						}
						if err != nil || !slices.Equal(got, []string{want}) {
							t.Errorf("got %q and %v, want %q", got, err, want)
						}
						s.wantRuns(t, 3)
					})
				})
			}
		}
	}
}

// TestStreamFails has attempts fail until there is no other: the error has the number.
func TestStreamFails(t *testing.T) {
	for _, path := range []string{pathServer, pathClient, pathBidi} {
		for level, runs := range map[connect.IdempotencyLevel]int{unknown: 1, harmless: 3} {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, func(context.Context, int, http.Header, func() (*message, error), func(*message) error) error {
					return unavailable()
				})
				_, err := call(t.Context(), s.client(path, level, retry.New()), path)
				s.wantRuns(t, runs)
				if retry.AttemptsOf(err) != runs || connect.CodeOf(err) != connect.CodeUnavailable {
					t.Errorf("%s: got %v after %d attempts, want unavailable after %d", path, err, retry.AttemptsOf(err), runs)
				}
			})
		}
	}
}

// TestStreamReusesMessage has a program that changes a message after Send, as it may:
// the copy is sent again.
func TestStreamReusesMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(_ context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
			if run < 3 {
				return unavailable()
			}
			return echo(in, out)
		})
		stream := s.client(pathBidi, idempotent, retry.New()).CallBidiStream(t.Context())
		defer stream.CloseResponse()
		msg := wrapperspb.String("")
		for _, text := range []string{"a", "b", "c"} {
			msg.Value = text
			if err := stream.Send(msg); err != nil {
				t.Errorf("got %v from Send, want nil", err)
			}
			synctest.Wait()
		}
		msg.Value = "changed"
		_ = stream.CloseRequest()
		if got, err := stream.Receive(); err != nil || got.Value != "abc" {
			t.Errorf("got %v, %v, want \"abc\"", got, err)
		}
		if _, err := stream.Receive(); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want io.EOF", err)
		}
	})
}

// TestStreamCommits lists what makes a stream final before its first message.
func TestStreamCommits(t *testing.T) {
	for name, c := range map[string]struct {
		options []retry.Option
		before  func(*connect.BidiStreamForClient[message, message])
		reason  string
	}{
		"the header is asked for":         {nil, func(s *connect.BidiStreamForClient[message, message]) { s.ResponseHeader() }, ""},
		"the trailer is asked for":        {nil, func(s *connect.BidiStreamForClient[message, message]) { s.ResponseTrailer() }, ""},
		"more than Buffer was sent":       {[]retry.Option{retry.Buffer(10, 100)}, nil, "the messages exceed the bytes of Buffer"},
		"nothing, so that it is repeated": {nil, nil, "3 is the most"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, func(_ context.Context, _ int, _ http.Header, in func() (*message, error), out func(*message) error) error {
					_, _ = in()
					_ = out(nil)
					return unavailable()
				})
				var reasons []string
				options := append(c.options, retry.Observe(func(_ context.Context, a retry.Attempt) { reasons = append(reasons, a.Reason) }))
				stream := s.client(pathBidi, idempotent, retry.New(options...)).CallBidiStream(t.Context())
				defer stream.CloseResponse()
				_ = stream.Send(wrapperspb.String("twenty bytes and more"))
				if c.before != nil {
					c.before(stream)
				}
				_, err := stream.Receive()
				if connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(err.Error(), c.reason) {
					t.Errorf("got %v, want unavailable and reason %q", err, c.reason)
				}
				want := 1
				if c.reason == "3 is the most" {
					want = 3
				}
				s.wantRuns(t, want)
				if len(reasons) != want || reasons[want-1] != c.reason {
					t.Errorf("got observed reasons %q, want %d of which the last is %q", reasons, want, c.reason)
				}
			})
		})
	}
}

// TestStreamSentBesideReplay has a program that sends while earlier messages are sent
// again, from another goroutine than the one that receives.
func TestStreamSentBesideReplay(t *testing.T) {
	for protocol, options := range protocols {
		synctest.Test(t, func(t *testing.T) {
			const messages = 200
			s := serve(t, func(_ context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
				if run < 3 {
					for range 20 * run {
						if _, err := in(); err != nil {
							return err
						}
					}
					return unavailable()
				}
				n := 0
				for {
					msg, err := in()
					if errors.Is(err, io.EOF) {
						return out(wrapperspb.String(fmt.Sprint(n)))
					}
					if err != nil {
						return err
					}
					if msg.Value != fmt.Sprint(n) {
						return connect.NewError(connect.CodeDataLoss, fmt.Errorf("got message %s at place %d", msg.Value, n))
					}
					n++
				}
			})
			stream := s.client(pathBidi, idempotent, retry.New(), options...).CallBidiStream(t.Context())
			defer stream.CloseResponse()
			var sending sync.WaitGroup
			sending.Go(func() {
				for i := range messages {
					if err := stream.Send(wrapperspb.String(fmt.Sprint(i))); err != nil {
						t.Errorf("%s: got %v from Send %d, want nil", protocol, err, i)
						return
					}
					if i%10 == 0 {
						time.Sleep(time.Millisecond)
					}
				}
				_ = stream.CloseRequest()
			})
			got, err := stream.Receive()
			if err != nil || got.Value != fmt.Sprint(messages) {
				t.Errorf("%s: got %v, %v, want all %d messages once and in order", protocol, got, err, messages)
			}
			sending.Wait()
		})
	}
}

// TestBufferIsGivenBack makes streams one after the other that each need more than half of
// the memory for all: none of them is refused it.
func TestBufferIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(_ context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
			if run%2 == 1 {
				return unavailable()
			}
			return echo(in, out)
		})
		client := s.client(pathClient, idempotent, retry.New(retry.Buffer(200, 300), retry.Ratio(1, 1000)))
		for i := range 100 {
			if i%3 == 2 { // given up
				ctx, cancel := context.WithCancel(t.Context())
				stream := client.CallClientStream(ctx)
				_ = stream.Send(wrapperspb.String(strings.Repeat("x", 50)))
				cancel()
				_, _ = stream.CloseAndReceive()
				continue
			}
			stream := client.CallClientStream(t.Context())
			_ = stream.Send(wrapperspb.String(strings.Repeat("x", 50)))
			if s.runs.Load()%2 == 1 { // a stream that was given up may have run
				s.runs.Add(1)
			}
			if _, err := stream.CloseAndReceive(); err != nil {
				t.Fatalf("call %d: got %v, want an answer", i, err)
			}
		}
	})
}

// TestCloseEndsAPause closes a stream from another goroutine while its next attempt is
// not due: Receive returns.
func TestCloseEndsAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(context.Context, int, http.Header, func() (*message, error), func(*message) error) error {
			return withMeta(connect.CodeUnavailable, "Retry-After", "60")
		})
		stream := s.client(pathBidi, idempotent, retry.New()).CallBidiStream(t.Context())
		_ = stream.CloseRequest()
		began := time.Now()
		time.AfterFunc(time.Second, func() { _ = stream.CloseResponse() })
		if _, err := stream.Receive(); err == nil || time.Since(began) != time.Second {
			t.Errorf("got %v after %v, want an error after 1s", err, time.Since(began))
		}
		synctest.Wait()
		s.wantRuns(t, 1)
	})
}

// TestBufferIsExceededWhileAnAttemptEnds has a program send more than Buffer keeps at the
// very moment at which the next attempt would begin: none begins without all messages.
func TestBufferIsExceededWhileAnAttemptEnds(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, func(_ context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
				if run == 1 {
					return withMeta(connect.CodeUnavailable, "Grpc-Retry-Pushback-Ms", "1000")
				}
				return echo(in, out)
			})
			stream := s.client(pathBidi, idempotent, retry.New(retry.Buffer(200, 200))).CallBidiStream(t.Context())
			defer stream.CloseResponse()
			_ = stream.Send(wrapperspb.String("kept"))
			sent := make(chan error, 1)
			time.AfterFunc(time.Second, func() {
				sent <- stream.Send(wrapperspb.String("more than fits"))
				_ = stream.CloseRequest()
			})
			got, err := stream.Receive()
			if err == nil && got.Value != "keptmore than fits" {
				t.Errorf("got %q, want an error or all that was sent", got.Value)
			}
			<-sent
		})
	}
}
