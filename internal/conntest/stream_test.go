// SPDX-License-Identifier: Apache-2.0

// This file tests streams beyond the orderly exchange: half-closed, answered
// early, used after the end and used from two goroutines.

package conntest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

type (
	clientStreamOfHandler = connect.ClientStream[conntestv1.Request]
	serverStreamOfHandler = connect.ServerStream[conntestv1.Response]
	bidiStreamOfHandler   = connect.BidiStream[conntestv1.Request, conntestv1.Response]
)

// Send(nil) sends the header and no message (checklist item 40).
func TestSendNothingSendsTheHeader(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		asked := make(chan string, 1)
		client := m.serve(t, handlers{
			bidi: func(_ context.Context, s *bidiStreamOfHandler) error {
				asked <- s.RequestHeader().Get("Asked")
				s.ResponseHeader().Set("Answer", "yes")
				if err := s.Send(nil); err != nil {
					return err
				}
				r, err := s.Receive()
				if err != nil {
					return err
				}
				return s.Send(text2(r.GetText()))
			},
		}).client()
		stream := client.Bidi(testContext(t))
		stream.RequestHeader().Set("Asked", "header")
		wantNil(t, stream.Send(nil))
		wantEqual(t, "request header", await(t, "handler", asked), "header")
		// Neither side has sent a message yet.
		wantValues(t, "response header", stream.ResponseHeader(), "Answer", "yes")
		wantNil(t, stream.Send(text("hi")))
		r, err := stream.Receive()
		wantNil(t, err)
		wantEqual(t, "text", r.GetText(), "hi")
		wantNil(t, stream.CloseRequest())
		_, err = stream.Receive()
		wantEOF(t, err)
		wantNil(t, stream.CloseResponse())
	}, duplex)
}

// The same for the two kinds with one streaming side.
func TestSendNothingOneSided(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		asked := make(chan string, 1)
		proceed := make(chan struct{})
		client := m.serve(t, handlers{
			clientStream: func(_ context.Context, s *clientStreamOfHandler) (*response, error) {
				asked <- s.RequestHeader().Get("Asked")
				for s.Receive() {
					return nil, fmt.Errorf("got %v, want no message", s.Msg())
				}
				return connect.NewResponse(text2("done")), s.Err()
			},
			serverStream: func(ctx context.Context, _ *request, s *serverStreamOfHandler) error {
				s.ResponseHeader().Set("Answer", "yes")
				if err := s.Send(nil); err != nil {
					return err
				}
				select {
				case <-proceed:
				case <-ctx.Done():
				}
				return s.Send(text2("late"))
			},
		}).client()
		t.Run("ClientStream", func(t *testing.T) {
			stream := client.ClientStream(testContext(t))
			stream.RequestHeader().Set("Asked", "header")
			wantNil(t, stream.Send(nil))
			wantEqual(t, "request header", await(t, "handler", asked), "header")
			r, err := stream.CloseAndReceive()
			wantNil(t, err)
			wantEqual(t, "text", r.Msg.GetText(), "done")
		})
		t.Run("ServerStream", func(t *testing.T) {
			stream, err := client.ServerStream(testContext(t), requestOf("go"))
			wantNil(t, err)
			defer stream.Close()
			wantValues(t, "response header", stream.ResponseHeader(), "Answer", "yes")
			close(proceed)
			wantEqual(t, "received", stream.Receive(), true)
			wantEqual(t, "text", stream.Msg().GetText(), "late")
			wantEqual(t, "received", stream.Receive(), false)
			wantNil(t, stream.Err())
		})
	})
}

// A client that has closed its side still receives all that the handler sends.
func TestHalfClose(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		client := m.serve(t, handlers{
			bidi: func(_ context.Context, s *bidiStreamOfHandler) error {
				var n int32
				for {
					if _, err := s.Receive(); errors.Is(err, io.EOF) {
						break
					} else if err != nil {
						return err
					}
					n++
				}
				for i := range 3 * n {
					if err := s.Send(&conntestv1.Response{Count: i}); err != nil {
						return err
					}
				}
				return nil
			},
		}).client()
		stream := client.Bidi(testContext(t))
		for range 3 {
			wantNil(t, stream.Send(text("x")))
		}
		wantNil(t, stream.CloseRequest())
		for i := range int32(9) {
			r, err := stream.Receive()
			wantNil(t, err)
			wantEqual(t, "index", r.GetCount(), i)
		}
		_, err := stream.Receive()
		wantEOF(t, err)
		wantNil(t, stream.CloseResponse())
	}, duplex)
}

// After a handler has answered with an error, the client's Send returns io.EOF, and
// Receive returns the error (checklist items 39 and 85).
func TestSendAfterServerClosed(t *testing.T) {
	refuse := func() error { return connect.NewError(connect.CodePermissionDenied, errors.New("not you")) }
	runFew(t, func(t *testing.T, m mode) {
		m.compression = "identity" // which would only take time
		// The unread rest of the upload would occupy a shared connection.
		client := m.serve(t, handlers{
			clientStream: func(context.Context, *clientStreamOfHandler) (*response, error) { return nil, refuse() },
			bidi:         func(context.Context, *bidiStreamOfHandler) error { return refuse() },
		}, alone).client()
		large := &conntestv1.Request{Data: noise(64 << 10)}
		t.Run("ClientStream", func(t *testing.T) {
			stream := client.ClientStream(testContext(t))
			wantEOF(t, sendUntilError(stream.Send, large))
			_, err := stream.CloseAndReceive()
			wantCode(t, err, connect.CodePermissionDenied)
			wantEqual(t, "is a wire error", connect.IsWireError(err), true)
		})
		t.Run("Bidi", func(t *testing.T) {
			stream := client.Bidi(testContext(t))
			wantEOF(t, sendUntilError(stream.Send, large))
			_, err := stream.Receive()
			wantCode(t, err, connect.CodePermissionDenied)
			wantEqual(t, "is a wire error", connect.IsWireError(err), true)
			_ = stream.CloseRequest()
			_ = stream.CloseResponse()
		})
	}, duplex)
}

// sendUntilError sends the same message until that fails.
func sendUntilError(send func(*conntestv1.Request) error, message *conntestv1.Request) error {
	for {
		if err := send(message); err != nil {
			return err
		}
	}
}

// A handler may answer well before the client has sent everything: the client
// gets the whole answer.
func TestEarlyAnswer(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		m.compression = "identity" // which would only take time
		client := m.serve(t, handlers{
			clientStream: func(_ context.Context, s *clientStreamOfHandler) (*response, error) {
				s.Receive()
				answer := connect.NewResponse(text2("enough"))
				answer.Trailer().Set("Trailing", "yes")
				return answer, nil
			},
			bidi: func(_ context.Context, s *bidiStreamOfHandler) error {
				if _, err := s.Receive(); err != nil {
					return err
				}
				for range 10 {
					if err := s.Send(&conntestv1.Response{Text: "enough", Data: noise(10 << 10)}); err != nil {
						return err
					}
				}
				s.ResponseTrailer().Set("Trailing", "yes")
				return nil
			},
		}, alone).client()
		large := &conntestv1.Request{Data: noise(64 << 10)}
		t.Run("ClientStream", func(t *testing.T) {
			stream := client.ClientStream(testContext(t))
			wantEOF(t, sendUntilError(stream.Send, large))
			answer, err := stream.CloseAndReceive()
			wantNil(t, err)
			wantEqual(t, "text", answer.Msg.GetText(), "enough")
			wantValues(t, "trailer", answer.Trailer(), "Trailing", "yes")
		})
		t.Run("Bidi", func(t *testing.T) {
			stream := client.Bidi(testContext(t))
			sent := make(chan error, 1)
			go func() { sent <- sendUntilError(stream.Send, large) }()
			for range 10 {
				r, err := stream.Receive()
				wantNil(t, err)
				wantEqual(t, "text", r.GetText(), "enough")
				wantEqual(t, "data", len(r.GetData()), 10<<10)
			}
			_, err := stream.Receive()
			wantEOF(t, err)
			wantValues(t, "trailer", stream.ResponseTrailer(), "Trailing", "yes")
			wantEOF(t, await(t, "Send", sent))
			_ = stream.CloseRequest()
			wantNil(t, stream.CloseResponse())
		})
	}, duplex)
}

// A unary call with a large request that no handler reads gets the early answer as well.
func TestEarlyAnswerToUnary(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		m.compression = "identity" // which would only take time
		client := m.serve(t, echo, alone, wrapped(func(http.Handler) http.Handler {
			w := connect.NewErrorWriter(m.handlerOptions()...)
			return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
				_ = w.Write(response, request, connect.NewError(connect.CodeUnauthenticated, errors.New("who are you")))
			})
		})).client()
		for range 3 {
			_, err := client.Unary(testContext(t), connect.NewRequest(&conntestv1.Request{Data: noise(1 << 20)}))
			wantCode(t, err, connect.CodeUnauthenticated)
		}
	}, duplex)
}

// Every use of a stream after its end fails in an orderly way, again and again.
func TestUseAfterEnd(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, echo).client()
		t.Run("success", func(t *testing.T) {
			stream, err := client.ServerStream(testContext(t), requestOf("x"))
			wantNil(t, err)
			wantEqual(t, "received", stream.Receive(), true)
			for range 3 {
				wantEqual(t, "received", stream.Receive(), false)
				wantNil(t, stream.Err())
			}
			wantNil(t, stream.Close())
			wantNil(t, stream.Close())
			wantEqual(t, "received", stream.Receive(), false)
		})
		t.Run("error", func(t *testing.T) {
			stream, err := client.ServerStream(testContext(t), connect.NewRequest(&conntestv1.Request{
				Failure: &conntestv1.Failure{Code: uint32(connect.CodeNotFound), Message: "gone"},
			}))
			wantNil(t, err)
			wantEqual(t, "received", stream.Receive(), true)
			for range 3 {
				wantEqual(t, "received", stream.Receive(), false)
				wantCode(t, stream.Err(), connect.CodeNotFound)
			}
			_ = stream.Close()
			_ = stream.Close()
		})
		t.Run("client stream", func(t *testing.T) {
			stream := client.ClientStream(testContext(t))
			wantNil(t, stream.Send(text("x")))
			_, err := stream.CloseAndReceive()
			wantNil(t, err)
			if err := stream.Send(text("y")); err == nil {
				t.Fatal("got no error from Send after CloseAndReceive")
			}
		})
		if !duplex(m) {
			return
		}
		t.Run("bidi", func(t *testing.T) {
			stream := client.Bidi(testContext(t))
			wantNil(t, stream.Send(text("x")))
			_, err := stream.Receive()
			wantNil(t, err)
			wantNil(t, stream.CloseRequest())
			wantNil(t, stream.CloseRequest())
			if err := stream.Send(text("y")); err == nil {
				t.Fatal("got no error from Send after CloseRequest")
			}
			for range 3 {
				_, err = stream.Receive()
				wantEOF(t, err)
			}
			wantNil(t, stream.CloseResponse())
			wantNil(t, stream.CloseResponse())
		})
	})
}

// CloseRequest without any Send makes the call, with no messages.
func TestCloseRequestFirst(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, handlers{
			bidi: func(_ context.Context, s *bidiStreamOfHandler) error {
				if _, err := s.Receive(); !errors.Is(err, io.EOF) {
					return fmt.Errorf("got %w, want io.EOF", err)
				}
				return s.Send(text2(s.RequestHeader().Get("Asked")))
			},
		}).client()
		stream := client.Bidi(testContext(t))
		stream.RequestHeader().Set("Asked", "anyway")
		wantNil(t, stream.CloseRequest())
		r, err := stream.Receive()
		wantNil(t, err)
		wantEqual(t, "text", r.GetText(), "anyway")
		_, err = stream.Receive()
		wantEOF(t, err)
		wantNil(t, stream.CloseResponse())
	}, duplex)
}

// Both sides send and receive at once, each from two goroutines.
func TestConcurrentSendAndReceive(t *testing.T) {
	const count = 100
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, handlers{
			bidi: func(_ context.Context, s *bidiStreamOfHandler) error {
				sent := make(chan error, 1)
				go func() {
					for i := range int32(count) {
						if err := s.Send(&conntestv1.Response{Count: i, Data: noise(100)}); err != nil {
							sent <- err
							return
						}
					}
					sent <- nil
				}()
				for i := int32(0); ; i++ {
					r, err := s.Receive()
					if errors.Is(err, io.EOF) {
						if i != count {
							return fmt.Errorf("got %d requests, want %d", i, count)
						}
						return <-sent
					}
					if err != nil {
						<-sent
						return err
					}
					if r.GetCount() != i {
						return fmt.Errorf("got request %d, want %d", r.GetCount(), i)
					}
				}
			},
		}, alone).client()
		stream := client.Bidi(testContext(t))
		var sending sync.WaitGroup
		sending.Go(func() {
			for i := range int32(count) {
				if err := stream.Send(&conntestv1.Request{Count: i, Data: noise(100)}); err != nil {
					t.Errorf("send %d: %v", i, err)
					return
				}
			}
			if err := stream.CloseRequest(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		for i := range int32(count) {
			r, err := stream.Receive()
			wantNil(t, err)
			wantEqual(t, "index", r.GetCount(), i)
		}
		_, err := stream.Receive()
		wantEOF(t, err)
		sending.Wait()
		wantNil(t, stream.CloseResponse())
	}, duplex)
}

// HTTP/1.1 cannot carry a bidirectional stream (checklist item 9).
func TestBidiNeedsHTTP2(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		site := m.serve(t, echo)
		statuses := make(chan int, 1)
		client := site.clientOn(doerFunc(func(r *http.Request) (*http.Response, error) {
			res, err := site.httpClient().Do(r)
			if err == nil {
				wantEqual(t, "Connection: close", res.Close, true)
				statuses <- res.StatusCode
			}
			return res, err
		}))
		stream := client.Bidi(testContext(t))
		_ = stream.Send(text("x"))
		_ = stream.CloseRequest()
		_, err := stream.Receive()
		wantEqual(t, "status", await(t, "response", statuses), http.StatusHTTPVersionNotSupported)
		if err == nil || errors.Is(err, io.EOF) {
			t.Fatalf("got %v, want an error", err)
		}
		if code := connect.CodeOf(err); code != connect.CodeUnimplemented && code != connect.CodeUnknown {
			t.Fatalf("got %v (%v), want unimplemented or unknown", code, err)
		}
		_ = stream.CloseResponse()
		// The service still works.
		wantNil(t, call(testContext(t), site.client(), unary, nil, text("x")).err)
	}, func(m mode) bool { return !duplex(m) })
}
