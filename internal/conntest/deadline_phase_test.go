// SPDX-License-Identifier: Apache-2.0

// This file ends calls in every phase, by cancelling and by a deadline.

package conntest

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"

	"github.com/seed-b7c59c10/connect"
)

// An ending is a way in which the client's context ends.
type ending struct {
	name string
	code connect.Code
	// arm makes the context, and the function that the test calls when the
	// phase is reached.
	arm func(context.Context, mode) (ctx context.Context, reached func(), release context.CancelFunc)
}

var endings = []ending{
	{"canceled", connect.CodeCanceled, func(parent context.Context, _ mode) (context.Context, func(), context.CancelFunc) {
		ctx, cancel := context.WithCancel(parent)
		return ctx, cancel, cancel
	}},
	{"deadline", connect.CodeDeadlineExceeded, func(parent context.Context, m mode) (context.Context, func(), context.CancelFunc) {
		ctx, cancel := context.WithTimeout(parent, m.short())
		return ctx, func() {}, cancel // the deadline passes by itself
	}},
}

// A phase is a point of a call at which the server stops moving.
type phase struct {
	name  string
	kinds []kind // nil means all
	large bool   // whether the request is too large for any buffer on the way
	// serve makes the site's handler and middleware. It calls reached when the
	// phase is, and waits for stop where nothing else ends it.
	serve func(reached func(), stop <-chan struct{}) (handlers, func(http.Handler) http.Handler)
}

var phases = []phase{
	{name: "sending", large: true, serve: stallBeforeHandler},
	{name: "waiting for the head", serve: stallInHandler(0)},
	{name: "between messages", kinds: []kind{serverStream, bidi}, serve: stallInHandler(2)},
	{name: "inside a message", serve: stallInMessage},
}

// stallBeforeHandler reads nothing of the request.
func stallBeforeHandler(reached func(), stop <-chan struct{}) (handlers, func(http.Handler) http.Handler) {
	return echo, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			reached()
			<-stop
			next.ServeHTTP(w, r)
		})
	}
}

// stallInHandler receives everything, sends some messages, and waits for the
// context that the client has ended.
func stallInHandler(messages int) func(func(), <-chan struct{}) (handlers, func(http.Handler) http.Handler) {
	return func(reached func(), _ <-chan struct{}) (handlers, func(http.Handler) http.Handler) {
		return everyKind(func(ctx context.Context, x *exchange) error {
			if x.kind != bidi { // whose client may go on sending while the handler waits
				if _, err := x.receiveAll(); err != nil {
					return err
				}
			}
			for range messages {
				if err := x.send(text2("hello")); err != nil {
					return err
				}
			}
			reached()
			<-ctx.Done()
			return ctx.Err()
		}), nil
	}
}

// stallInMessage lets the first bytes of the first message pass.
func stallInMessage(reached func(), stop <-chan struct{}) (handlers, func(http.Handler) http.Handler) {
	return echo, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&stallingWriter{ResponseWriter: w, left: 3, stall: func() {
				reached()
				select {
				case <-r.Context().Done():
				case <-stop:
				}
			}}, r)
		})
	}
}

// A stallingWriter passes some bytes on and then no more.
type stallingWriter struct {
	http.ResponseWriter
	left  int
	stall func()
}

func (w *stallingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *stallingWriter) Write(p []byte) (int, error) {
	if len(p) <= w.left {
		w.left -= len(p)
		return w.ResponseWriter.Write(p)
	}
	n, err := w.ResponseWriter.Write(p[:w.left])
	w.left = 0
	if err == nil {
		err = http.NewResponseController(w.ResponseWriter).Flush()
	}
	if err != nil {
		return n, err
	}
	w.stall()
	return n, errors.New("no more bytes pass")
}

// Calls end when their context does, with its code, whatever they wait for
// (checklist items 79 and 82).
func TestEndInEveryPhase(t *testing.T) {
	for _, phase := range phases {
		for _, ending := range endings {
			t.Run(phase.name+"/"+ending.name, func(t *testing.T) {
				runTimed(t, func(t *testing.T, m mode) {
					kinds := phase.kinds
					if kinds == nil {
						kinds = allKinds
					}
					for _, k := range kinds {
						if k == bidi && !duplex(m) {
							continue
						}
						endInPhase(t, m, phase, ending, k)
					}
				})
			})
		}
	}
}

func endInPhase(t *testing.T, m mode, phase phase, ending ending, k kind) {
	t.Helper()
	reached := make(chan struct{})
	stop := make(chan struct{})
	release := sync.OnceFunc(func() { close(stop) })
	defer release()
	service, middleware := phase.serve(sync.OnceFunc(func() { close(reached) }), stop)
	served := make(chan struct{}, 1)
	options := []siteOption{wrapped(func(next http.Handler) http.Handler {
		if middleware != nil {
			next = middleware(next)
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			served <- struct{}{}
		})
	})}
	if phase.large {
		options = append(options, alone) // it fills the connection's window
		m.codec, m.compression = "proto", "identity"
	}
	site := m.serve(t, service, options...)
	ctx, end, cancel := ending.arm(testContext(t), m)
	defer cancel()
	message := text("hello")
	if phase.large {
		message.Data = make([]byte, 0, 2<<20)
		for range 2 {
			message.Data = append(message.Data, noise(1<<20)...)
		}
	}
	ended := make(chan outcome, 1)
	go func() { ended <- call(ctx, site.client(), k, nil, message) }()
	select {
	case <-reached:
		end()
	case o := <-ended:
		// In real time a deadline may pass before the call gets that far.
		wantCode(t, o.err, ending.code)
		return
	}
	o := await(t, string(k), ended)
	if code := connect.CodeOf(o.err); o.err == nil || code != ending.code {
		t.Fatalf("%s: got %v (%v), want %v", k, code, o.err, ending.code)
	}
	if k.receivesMany() && phase.name == "between messages" && ending.code == connect.CodeDeadlineExceeded && m.bubble {
		wantEqual(t, string(k)+": messages before the end", len(o.messages), 2)
	}
	// The handler ends because of its context, if it waits for that.
	release()
	await(t, string(k)+": handler", served)
}
