// SPDX-License-Identifier: Apache-2.0

// This file tests answers that come before the end of the request.

package conntest

import (
	"bytes"
	"context"
	"log"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
)

// lockedText collects what several goroutines write.
type lockedText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// A handler that has enough before the client's last message answers, and neither that
// call nor the next one on the connection fails; net/http's server does not panic.
func TestEarlyAnswers(t *testing.T) { earlyAnswers(t) }

// The same holds where the answer waits for the rest of the request.
func TestEarlyAnswersOfConnectGo(t *testing.T) { earlyAnswers(t, connect.WithConnectGoBehavior()) }

func earlyAnswers(t *testing.T, options ...connect.HandlerOption) {
	runFew(t, func(t *testing.T, m mode) {
		service := handlers{clientStream: func(_ context.Context, s *connect.ClientStream[conntestv1.Request]) (*response, error) {
			if !s.Receive() {
				return nil, s.Err()
			}
			if s.Msg().GetText() == "fail" {
				return nil, connect.NewError(connect.CodeAborted, nil)
			}
			return connect.NewResponse(new(conntestv1.Response)), nil
		}}
		_, handler := conntestv1connect.NewTestServiceHandler(service, m.handlerOptions(handlerOptions(options...))...)
		var logged lockedText
		server := httptest.NewUnstartedServer(handler)
		server.Config.ErrorLog = log.New(&logged, "", 0)
		server.Start()
		client := (&site{mode: m, url: server.URL, transport: server.Client().Transport}).client()
		for i := range 200 {
			stream := client.ClientStream(testContext(t))
			word := []string{"go", "fail"}[i%2]
			for range 3 {
				if stream.Send(text(word)) != nil {
					break
				}
			}
			_, err := stream.CloseAndReceive()
			if word == "go" {
				wantNil(t, err)
			} else {
				wantCode(t, err, connect.CodeAborted)
			}
		}
		server.Close()
		logged.mu.Lock()
		defer logged.mu.Unlock()
		if text := logged.text.String(); text != "" {
			t.Errorf("the server's log has %q", text)
		}
	}, func(m mode) bool { return m.engine.name == "h1" })
}

// Send and Receive end when their context does, also while the server's window keeps
// the request from being sent.
func TestCancelWhileTheWindowIsFull(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, everyKind(func(ctx context.Context, x *exchange) error {
			if err := x.send(new(conntestv1.Response)); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		}), alone).client()
		ctx, cancel := context.WithCancel(testContext(t))
		defer cancel()
		stream := client.Bidi(ctx)
		sent, received, answered := make(chan error, 1), make(chan error, 1), make(chan struct{})
		message := &conntestv1.Request{Data: noise(64 << 10)}
		var progress atomic.Int64
		go func() {
			for {
				if err := stream.Send(message); err != nil {
					sent <- err
					return
				}
				progress.Add(1)
			}
		}()
		go func() {
			for first := true; ; first = false {
				if _, err := stream.Receive(); err != nil {
					received <- err
					return
				}
				if first {
					close(answered)
				}
			}
		}()
		await(t, "the first answer", answered)
		for last := int64(-1); last != progress.Load(); { // until nothing more is sent
			last = progress.Load()
			time.Sleep(m.short())
		}
		cancel()
		wantCode(t, await(t, "Send", sent), connect.CodeCanceled)
		wantCode(t, await(t, "Receive", received), connect.CodeCanceled)
		_ = stream.CloseResponse()
	}, duplex)
}
