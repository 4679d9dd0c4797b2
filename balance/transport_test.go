// SPDX-License-Identifier: Apache-2.0

// Requests with net/http's types: bodies that move on to another endpoint, and types that
// embed a Balancer.

package balance_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
)

// once is a body that can be read once, and counts how often it was closed.
type once struct {
	io.Reader
	closed atomic.Int64
}

func (o *once) Close() error {
	o.closed.Add(1)
	return nil
}

// TestBody sends bodies that can be read once while one of two endpoints refuses
// connections: the request moves on with its body, runs once, and the body is closed once.
func TestBody(t *testing.T) {
	s := newSite(t, 1, true, func(_ context.Context, n *node, _ int64, text string) (string, error) { return text, nil })
	for i := range 10 {
		b := s.balancer(t, balance.Static("x", "a"), balance.RoundRobin())
		for range 4 {
			body := &once{Reader: strings.NewReader(fmt.Sprintf("%q", fmt.Sprint("text", i)))}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://test.local"+pathUnary, body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			before := s.node("a").runs.Load()
			res, err := b.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil || !strings.Contains(string(answer), fmt.Sprint("text", i)) || res.Request != r {
				t.Errorf("got %q and %v, want the text back, and the request in the response", answer, err)
			}
			if runs := s.node("a").runs.Load() - before; runs != 1 {
				t.Errorf("got %d runs of one request, want 1", runs)
			}
			waitFor(t, "the end of the body", func() bool { return body.closed.Load() > 0 })
		}
		wantIdle(t, b)
		b.Close()
	}
}

// A fickle transport reads a part of a body, and reports that it did not process the
// request, a number of times.
type fickle struct {
	left  *atomic.Int64
	reads int64 // bytes
}

type notProcessed struct{}

func (notProcessed) Error() string     { return "not processed" }
func (notProcessed) Unprocessed() bool { return true }

func (f *fickle) RoundTrip(r *http.Request) (*http.Response, error) {
	body := r.Body
	defer body.Close()
	if f.left.Add(-1) >= 0 {
		_, _ = io.CopyN(io.Discard, body, f.reads)
		return nil, notProcessed{}
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(string(text)))}, nil
}

// TestReplay lists whether a request moves on whose body was read in part. The number of
// moves is bounded.
func TestReplay(t *testing.T) {
	for _, test := range []struct {
		failures, reads int64
		again           bool // the request has GetBody
		ok              bool
	}{
		{0, 0, false, true},
		{2, 0, false, true},
		{1, 3, false, false},
		{2, 3, true, true},
		{1000, 0, false, false},
		{1000, 3, true, false},
	} {
		var left atomic.Int64
		left.Store(test.failures)
		b, err := balance.New(balance.Static("10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"), balance.Transport(func(balance.Endpoint, balance.Dial) http.RoundTripper {
			return &fickle{&left, test.reads}
		}))
		if err != nil {
			t.Fatal(err)
		}
		body := &once{Reader: strings.NewReader("some text")}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://test.local/x", body)
		if err != nil {
			t.Fatal(err)
		}
		if test.again {
			r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("some text")), nil }
		}
		res, err := b.RoundTrip(r)
		if (err == nil) != test.ok {
			t.Errorf("%+v: got %v", test, err)
		}
		if err == nil {
			if text, err := io.ReadAll(res.Body); err != nil || string(text) != "some text" {
				t.Errorf("%+v: got %q and %v, want the whole text", test, text, err)
			}
			_ = res.Body.Close()
		} else if tries := test.failures - left.Load(); tries > 17 || !errors.As(err, new(notProcessed)) {
			t.Errorf("%+v: got %v after %d tries, want the endpoint's error after at most 17", test, err, tries)
		}
		if body.closed.Load() == 0 {
			t.Errorf("%+v: got a body that was not closed", test)
		}
		wantIdle(t, b)
		b.Close()
	}
}

// embedded is a type of a program, with a RoundTrip of its own.
type embedded struct {
	*balance.Balancer
	trips atomic.Int64
}

func (e *embedded) RoundTrip(r *http.Request) (*http.Response, error) {
	e.trips.Add(1)
	return e.Balancer.RoundTrip(r)
}

// TestEmbedded checks that the direct path does not pass over a program's RoundTrip.
func TestEmbedded(t *testing.T) {
	s := newSite(t, 1, false, echo)
	e := &embedded{Balancer: s.balancer(t, nil)}
	c := connect.NewClient[message, message](&http.Client{Transport: e}, "http://test.local"+pathUnary, e.Options())
	for range 3 {
		if _, err := ask(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if e.trips.Load() != 3 {
		t.Errorf("got %d calls of the program's RoundTrip, want 3", e.trips.Load())
	}
	wantIdle(t, e.Balancer)
}

// A panicking transport has a fault in its code.
type panicking struct{}

func (panicking) RoundTrip(*http.Request) (*http.Response, error) { panic("a fault") }

// TestPanic recovers from panics of a program's transport: no call stays in flight.
func TestPanic(t *testing.T) {
	b, err := balance.New(balance.Static("10.0.0.1:1", "10.0.0.2:1"), balance.Transport(func(balance.Endpoint, balance.Dial) http.RoundTripper { return panicking{} }))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c := clientOf(b, pathUnary, unknown, protocols["connect"])
	for i := range 20 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("got no panic, want that of the transport")
				}
			}()
			if i%2 == 0 {
				_, _ = ask(t.Context(), c)
				return
			}
			body := &once{Reader: strings.NewReader("some text")}
			defer func() {
				if body.closed.Load() == 0 {
					t.Error("got an open body after a panic")
				}
			}()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://test.local/x", body)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = b.RoundTrip(r)
		}()
	}
	for _, e := range b.Status().Endpoints {
		if e.InFlight != 0 {
			t.Errorf("got %d calls in flight at %s, want none", e.InFlight, e.Addr)
		}
	}
}

// A faulty body cannot be read to its end.
type faulty struct{}

func (faulty) Read(p []byte) (int, error) {
	return copy(p, "x"), errors.New("the disk has a fault")
}

// TestFaultyBody sends bodies that the caller cannot read: that is no fault of endpoints.
func TestFaultyBody(t *testing.T) {
	for _, http1 := range []bool{false, true} {
		s := newSite(t, 2, http1, echo)
		b := s.balancer(t, nil, balance.RoundRobin())
		if _, err := ask(t.Context(), clientOf(b, pathUnary, unknown, protocols["connect"])); err != nil {
			t.Fatal(err)
		}
		allReady(t, b, 2)
		for range 40 {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://test.local"+pathUnary, faulty{})
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/proto")
			res, err := b.RoundTrip(r)
			if err == nil {
				_, err = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
			if err == nil || !strings.Contains(err.Error(), "the disk has a fault") {
				t.Errorf("http1 %v: got %v, want the fault of the body", http1, err)
			}
		}
		for addr, state := range states(b) {
			if state != balance.StateReady {
				t.Errorf("http1 %v: got state %s of %s, want ready", http1, state, addr)
			}
		}
		wantIdle(t, b)
	}
}

// A transport with nothing returns neither a response nor an error.
type nothing struct{}

func (nothing) RoundTrip(*http.Request) (*http.Response, error) { return nil, nil }

// TestNothing calls through a program's transport that returns nothing: calls fail with the
// reason, and none stays in flight.
func TestNothing(t *testing.T) {
	b, err := balance.New(balance.Static("10.0.0.1:1"), balance.Transport(func(balance.Endpoint, balance.Dial) http.RoundTripper { return nothing{} }))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, path := range []string{pathUnary, pathServer} {
		if _, err := call(t.Context(), clientOf(b, path, unknown, protocols["connect"]), path); err == nil || !strings.Contains(err.Error(), "neither a response nor an error") {
			t.Errorf("%s: got %v, want an error with the reason", path, err)
		}
	}
	wantIdle(t, b)
}

// TestPanicOfTransport recovers from panics of the function of Transport for the second
// endpoint: no goroutine of the first begins.
func TestPanicOfTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var probes atomic.Int64
		b, err := balance.New(balance.Static("10.0.0.1:1", "10.0.0.2:1"), balance.Transport(func(e balance.Endpoint, _ balance.Dial) http.RoundTripper {
			if e.Addr == "10.0.0.2:1" {
				panic("a fault")
			}
			return nothing{}
		}), balance.Probe(func(context.Context, connect.HTTPClient, string) error {
			probes.Add(1)
			return nil
		}, time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // for the set
		for range 5 {
			func() {
				defer func() {
					if recover() == nil {
						t.Error("got no panic, want that of the function")
					}
				}()
				_, _ = ask(t.Context(), clientOf(b, pathUnary, unknown, protocols["connect"]))
			}()
		}
		synctest.Wait()
		if got := probes.Load(); got != 0 {
			t.Errorf("got %d probes, want none", got)
		}
		b.Close()
	})
}
