// SPDX-License-Identifier: Apache-2.0

// Calls whose users leave: in every state they return at once, and the server
// learns of it.

package h2_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

var errTimeout = context.DeadlineExceeded

// timeout returns a context that ends after d.
func timeout(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// TestCancelBefore makes a call that is over before it begins.
func TestCancelBefore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		client := newClient(t, nil, &h2.TransportConfig{
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				t.Error("got a dial, want none")
				return nil, errRefused
			},
		})
		reason := errors.New("changed my mind")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(reason)
		body := watch(strings.NewReader("body"))
		call(client, request(ctx, "POST", body)).wantError(t, reason)
		body.wantClosed(t)
	})
}

// TestCancelDialing leaves while the connection is opened, by each of the ways to
// leave.
func TestCancelDialing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, client := newFake(t, nil) // which nobody accepts
		body := watch(strings.NewReader("body"))
		call(client, request(timeout(t, time.Second), "POST", body)).wantError(t, errTimeout)
		body.wantClosed(t)

		canceled := make(chan struct{})
		r := get(t.Context())
		//lint:ignore SA1019 it has to work as long as it exists
		r.Cancel = canceled
		done := begin(client, r)
		settle()
		close(canceled)
		receive(t, "an error", done).wantText(t, "canceled")

		_, err := (&http.Client{Transport: client, Timeout: time.Second}).Get(serverURL)
		if timed, ok := err.(net.Error); !ok || !timed.Timeout() {
			t.Errorf("got error %v, want a timeout", err)
		}
	})
}

// TestCancelWaiting leaves while all places are taken. The place goes to the next.
func TestCancelWaiting(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, &h2.TransportConfig{MaxConnsPerHost: 1})
		first := begin(client, get(t.Context()))
		p := s.accept(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
		f := p.request()
		p.wantSettingsAck()
		call(client, get(timeout(t, time.Second))).wantError(t, errTimeout)
		next := begin(client, get(t.Context()))
		settle()
		p.respond(f.StreamID, "200", "1")
		receive(t, "a response", first).want(t, 200, "1")
		p.respond(p.request().StreamID, "200", "2")
		receive(t, "a response", next).want(t, 200, "2")
	})
}

// TestCancelUpload leaves while the window is exhausted, and while the body gives
// no byte.
func TestCancelUpload(t *testing.T) {
	for _, waiting := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			s, client := newFake(t, nil)
			var body io.Reader
			var watched *watchedBody
			if waiting {
				b := newWaitingBody()
				body, watched = b, b.watchedBody
			} else {
				watched = watch(strings.NewReader(strings.Repeat("x", 1<<20)))
				body = watched
			}
			start := time.Now()
			done := begin(client, request(timeout(t, time.Second), "POST", body))
			p := s.accept()
			f := p.request()
			receive(t, "an error", done).wantError(t, errTimeout)
			within(t, "leaving", time.Since(start), time.Second, time.Second)
			p.wantReset(f.StreamID, http2.ErrCodeCancel)
			watched.wantClosed(t)
			p.wantAlive()
		})
	}
}

// TestCancelShortUpload leaves while the window has no room for a short body.
func TestCancelShortUpload(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		warm := begin(client, get(t.Context()))
		p := s.accept(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 2})
		p.respond(p.request().StreamID, "200", "")
		receive(t, "a response", warm).want(t, 200, "")
		done := begin(client, request(timeout(t, time.Second), "POST", strings.NewReader("body")))
		f := p.request()
		p.await("half of the body", func(f *frame) bool { return string(f.data) == "bo" })
		receive(t, "an error", done).wantError(t, errTimeout)
		p.wantReset(f.StreamID, http2.ErrCodeCancel)
		p.wantAlive()
	})
}

// TestCancelBody leaves between head and body, in the middle of reading, and
// without reading at all: each time the server gets a reset.
func TestCancelBody(t *testing.T) {
	for name, read := range map[string]func(t *testing.T, body io.Reader) error{
		"never read": func(*testing.T, io.Reader) error { return errTimeout },
		"while reading": func(_ *testing.T, body io.Reader) error {
			_, err := io.ReadAll(body)
			return err
		},
		"after a read": func(t *testing.T, body io.Reader) error {
			if _, err := io.ReadFull(body, make([]byte, 3)); err != nil {
				t.Error(err)
			}
			time.Sleep(2 * time.Second)
			_, err := io.ReadAll(body)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			var gone atomic.Int32
			handler := func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, "some")
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
				gone.Add(1)
			}
			behaves(t, handler, func(t *testing.T, client *http.Client) {
				res, err := client.Transport.RoundTrip(get(timeout(t, time.Second)))
				if err != nil {
					t.Fatal(err)
				}
				if err := read(t, res.Body); !errors.Is(err, errTimeout) {
					t.Errorf("got error %v from reading, want %v", err, errTimeout)
				}
				wantGone(t, &gone)
				_ = res.Body.Close()
			})
		})
	}
}

// wantGone waits for one handler to learn that its client has left.
func wantGone(t testing.TB, gone *atomic.Int32) {
	t.Helper()
	time.Sleep(time.Minute) // which passes only if nothing else happens
	if n := gone.Swap(0); n != 1 {
		t.Errorf("got %d handlers that learnt of the client's end, want 1", n)
	}
}

// TestCancelChannel leaves by Request.Cancel and by http.Client's Timeout when the
// head is there.
func TestCancelChannel(t *testing.T) {
	var gone atomic.Int32
	handler := func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		gone.Add(1)
	}
	behaves(t, handler, func(t *testing.T, client *http.Client) {
		if _, own := client.Transport.(*h2.Transport); own { // net/http forgets Cancel when the head is there
			canceled := make(chan struct{})
			r := get(t.Context())
			//lint:ignore SA1019 it has to work as long as it exists
			r.Cancel = canceled
			res, err := client.Transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			close(canceled)
			if _, err := io.ReadAll(res.Body); err == nil || !strings.Contains(err.Error(), "canceled") {
				t.Errorf("got error %v, want one that says canceled", err)
			}
			wantGone(t, &gone)
		}
		client.Timeout = time.Second
		res, err := client.Get(serverURL)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadAll(res.Body)
		if timed, ok := err.(net.Error); !ok || !timed.Timeout() {
			t.Errorf("got error %v, want a timeout", err)
		}
		wantGone(t, &gone)
		_ = res.Body.Close()
	})
}

// TestCancelComplete cancels a call whose response has arrived in full: it stays
// readable.
func TestCancelComplete(t *testing.T) {
	behaves(t, answerOK, func(t *testing.T, client *http.Client) {
		ctx, cancel := context.WithCancel(t.Context())
		res, err := client.Transport.RoundTrip(get(ctx))
		if err != nil {
			t.Fatal(err)
		}
		settle()
		cancel()
		settle()
		if body, err := io.ReadAll(res.Body); string(body) != "ok" || err != nil {
			t.Errorf("got body %q and error %v, want ok", body, err)
		}
	})
}

// TestHeaderTimeout limits the time from the end of the request to the head of the
// response.
func TestHeaderTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, _ := newFake(t, nil)
		client := newWithin(t, s.network, &http.Transport{ResponseHeaderTimeout: time.Second}, nil)
		in, out := io.Pipe()
		start := time.Now()
		done := begin(client, request(t.Context(), "POST", in))
		p := s.accept()
		f := p.request()
		time.Sleep(3 * time.Second) // the time does not run yet
		_ = out.Close()
		o := receive(t, "an error", done)
		if timed, ok := o.err.(net.Error); !ok || !timed.Timeout() {
			t.Errorf("got error %v, want a timeout", o.err)
		}
		within(t, "the timeout", time.Since(start), 4*time.Second, 4*time.Second)
		p.wantReset(f.StreamID, http2.ErrCodeCancel)

		done = begin(client, get(t.Context()))
		f = p.request()
		time.Sleep(time.Second / 2)
		p.headers(f.StreamID, false, ":status", "200")
		time.Sleep(2 * time.Second) // it is for the head only
		p.data(f.StreamID, true, []byte("slow"))
		receive(t, "a response", done).want(t, 200, "slow")
	})
}
