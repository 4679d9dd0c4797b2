// SPDX-License-Identifier: Apache-2.0

// Sets of endpoints that change, are empty, or do not come.

package balance_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
)

// TestSets changes the set: new endpoints get calls, removed ones none, and those that
// stay keep their connections, also if their weights change.
func TestSets(t *testing.T) {
	s := newSite(t, 3, false, echo)
	r := newResolver()
	b := s.balancer(t, r, balance.RoundRobin())
	c := clientOf(b, pathUnary, unknown, protocols["grpc"])
	for _, test := range []struct {
		set   string
		dials string // at a, b and c
	}{
		{"a", "1 0 0"},
		{"a b", "1 1 0"},
		{"b", "1 1 0"},
		{"b b c", "1 1 1"},
		{"c a", "2 1 1"},
		{"a b c", "2 2 1"},
	} {
		names := strings.Fields(test.set)
		r.set(names...)
		want := make(map[string]bool)
		for _, name := range names {
			want[name] = true
		}
		if _, err := ask(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		allReady(t, b, len(want))
		before := s.runs()
		for range 30 {
			if _, err := ask(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		for name, runs := range s.runs() {
			if got := runs - before[name]; want[name] && got != int64(30/len(want)) || !want[name] && got != 0 {
				t.Errorf("set %q: got %d of 30 calls at %s", test.set, got, name)
			}
		}
		if got := fmt.Sprint(s.node("a").dials.Load(), s.node("b").dials.Load(), s.node("c").dials.Load()); got != test.dials {
			t.Errorf("set %q: got connections %s, want %s", test.set, got, test.dials)
		}
	}
	// Weights change, and connections stay.
	for i := range 5 {
		r.put([]balance.Endpoint{{Addr: "a", Weight: uint32(i)}, {Addr: "b", Weight: 1}, {Addr: "c", Weight: 2, Zone: "z"}}, nil)
		if _, err := ask(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if i == 0 && states(b)["a"] != balance.StateDrained {
			t.Errorf("got state %s with weight 0, want drained", states(b)["a"])
		}
	}
	if got := fmt.Sprint(s.node("a").dials.Load(), s.node("b").dials.Load(), s.node("c").dials.Load()); got != "2 2 1" {
		t.Errorf("got connections %s after changes of weights, want no new ones", got)
	}
}

// TestWeightless takes a set without weights as one with equal weights.
func TestWeightless(t *testing.T) {
	s := newSite(t, 2, false, echo)
	b := s.balancer(t, balance.StaticEndpoints(balance.Endpoint{Addr: "a"}, balance.Endpoint{Addr: "b"}, balance.Endpoint{Addr: "a"}), balance.Weighted())
	if _, err := ask(t.Context(), clientOf(b, pathUnary, unknown, protocols["grpc"])); err != nil {
		t.Fatal(err)
	}
	endpoints := b.Status().Endpoints
	if len(endpoints) != 2 || endpoints[0].Weight != 1 || endpoints[1].Weight != 1 {
		t.Errorf("got endpoints %v, want a and b with weight 1", endpoints)
	}
}

// TestDrain removes the endpoint of streams: they go on until they end.
func TestDrain(t *testing.T) {
	s := newSite(t, 2, false, echo)
	r := newResolver()
	b := s.balancer(t, r)
	r.set("a")
	c := clientOf(b, pathBidi, unknown, protocols["grpc"])
	stream := c.CallBidiStream(t.Context())
	turn := func() {
		t.Helper()
		if err := stream.Send(wrapperspb.String("x")); err != nil {
			t.Fatal(err)
		}
		if msg, err := stream.Receive(); err != nil || msg.Value != "a" {
			t.Fatalf("got %v and %v, want a message of a", msg, err)
		}
	}
	turn()
	r.set("b")
	for range 10 {
		turn()
		if name, err := ask(t.Context(), clientOf(b, pathUnary, unknown, protocols["grpc"])); err != nil || name != "b" {
			t.Fatalf("got %q and %v, want an answer of b", name, err)
		}
	}
	n := s.node("a")
	n.mu.Lock()
	open := len(n.conns)
	n.mu.Unlock()
	if open != 1 {
		t.Errorf("got %d connections to a during its stream, want 1", open)
	}
	if err := stream.CloseRequest(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Receive(); err == nil {
		t.Error("got a message after the end")
	}
	_ = stream.CloseResponse()
	waitFor(t, "the end of the connection to a", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return len(n.conns) == 0
	})
}

// TestNone lists why there is no endpoint, and what calls get.
func TestNone(t *testing.T) {
	s := newSite(t, 1, false, echo)
	r := newResolver()
	b := s.balancer(t, r)
	c := clientOf(b, pathUnary, unknown, protocols["connect"])
	want := func(when, text string) {
		t.Helper()
		_, err := ask(t.Context(), c)
		var u interface{ Unprocessed() bool }
		if connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(fmt.Sprint(err), text) || !errors.As(err, &u) || !u.Unprocessed() {
			t.Errorf("%s: got %v, want unavailable with %q, and proof that nothing was sent", when, err, text)
		}
		res, err := b.HTTPClient().Post("http://test.local"+pathUnary, "application/json", strings.NewReader("{}"))
		if err == nil {
			_ = res.Body.Close()
		}
		if !strings.Contains(fmt.Sprint(err), text) {
			t.Errorf("%s: got %v from the HTTP client, want %q", when, err, text)
		}
	}
	r.put(nil, errors.New("the name server is on fire"))
	want("after an error", "the name server is on fire")
	r.put(nil, nil)
	want("after an empty set", "the resolver has found none")
	r.put([]balance.Endpoint{{Addr: ""}}, nil)
	want("after bad endpoints", "without an address")
	r.set("a")
	if _, err := ask(t.Context(), c); err != nil {
		t.Errorf("got %v with an endpoint, want an answer", err)
	}
	r.put(nil, errors.New("the name server is on fire"))
	if _, err := ask(t.Context(), c); err != nil {
		t.Errorf("got %v after an error, want an answer: the last set holds", err)
	}
	if status := b.Status(); status.Resolver == nil || status.Resolved.IsZero() || len(status.Endpoints) != 1 {
		t.Errorf("got status %+v, want the endpoint and the error", status)
	}
	r.set()
	want("after the endpoints have left", "the resolver has found none")
	r.set("a", "")
	if _, err := ask(t.Context(), c); err != nil {
		t.Errorf("got %v with a bad endpoint beside a good one, want an answer", err)
	}
	if status := b.Status(); status.Resolver == nil {
		t.Error("got no error for the bad endpoint in the status, want one")
	}
}

// TestWatchReturns has Watch return: it is called again, after pauses that grow.
func TestWatchReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newResolver()
		b, err := balance.New(r)
		if err != nil {
			t.Fatal(err)
		}
		for range 12 {
			synctest.Wait()
			r.updates <- nil
			time.Sleep(6300 * time.Millisecond)
		}
		if got := r.watches.Load(); got != 13 {
			t.Errorf("got %d calls of Watch, want 13: one at first and one after each that has returned", got)
		}
		// An hour in which the resolver fails at once: pauses of 5 to 6.25 s.
		before, began := r.watches.Load(), time.Now()
		for time.Since(began) < time.Hour {
			r.updates <- nil
			time.Sleep(10 * time.Millisecond)
			for len(r.updates) > 0 {
				time.Sleep(10 * time.Millisecond)
			}
		}
		if got := r.watches.Load() - before; got < 3600*4/25-10 || got > 3600/5+10 {
			t.Errorf("got %d calls of Watch in an hour, want pauses of 5 s and more", got)
		}
		if status := b.Status(); status.Resolver == nil || !strings.Contains(status.Resolver.Error(), "the resolver has ended") {
			t.Errorf("got resolver error %v, want that of Watch", status.Resolver)
		}
		b.Close()
	})
}

// TestWait makes calls before there is a set, and before an endpoint is up: they wait, for
// their contexts at the longest.
func TestWait(t *testing.T) {
	s := newSite(t, 0, false, echo)
	r := newResolver()
	b := s.balancer(t, r)
	c := clientOf(b, pathUnary, unknown, protocols["grpc"])
	var waiting sync.WaitGroup
	var answers atomic.Int64
	for range 8 {
		waiting.Go(func() {
			if name, err := ask(t.Context(), c); err != nil || name != "a" {
				t.Errorf("got %q and %v, want an answer of a", name, err)
			}
			answers.Add(1)
		})
	}
	ended := func(text string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
		defer cancel()
		_, err := ask(ctx, c)
		if connect.CodeOf(err) != connect.CodeDeadlineExceeded || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want deadline_exceeded with %q", err, text)
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		if _, err := ask(ctx, c); connect.CodeOf(err) != connect.CodeCanceled {
			t.Errorf("got %v, want canceled", err)
		}
	}
	ended("the resolver has found no endpoints yet")
	r.set("a", "b")
	waitFor(t, "failed connections", func() bool { return s.node("a").dials.Load() > 0 && s.node("b").dials.Load() > 0 })
	ended("connection refused")
	if answers.Load() != 0 {
		t.Error("got answers without a server")
	}
	s.start(t, "a")
	waiting.Wait()
	wantIdle(t, b)
}

// TestClose closes a Balancer while calls wait, run and begin: all end, with errors.
func TestClose(t *testing.T) {
	for _, http1 := range []bool{false, true} {
		running := make(chan struct{}, 10)
		s := newSite(t, 1, http1, func(ctx context.Context, n *node, _ int64, _ string) (string, error) {
			running <- struct{}{}
			<-ctx.Done()
			return "", ctx.Err()
		})
		r := newResolver()
		b := s.balancer(t, r)
		var calls sync.WaitGroup
		fails := func(host string) {
			calls.Go(func() {
				c := connect.NewClient[message, message](b.HTTPClient(), "http://"+host+pathUnary, b.Options())
				if _, err := ask(t.Context(), c); err == nil {
					t.Error("got an answer, want an error")
				}
			})
		}
		fails("test.local") // waits for the set, and then runs
		time.Sleep(time.Millisecond)
		r.set("a")
		<-running
		fails("other.local")
		<-running
		var closing sync.WaitGroup
		for range 3 {
			closing.Go(b.Close)
		}
		closing.Wait()
		calls.Wait()
		_, err := ask(t.Context(), clientOf(b, pathUnary, unknown, protocols["connect"]))
		if err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("got %v after Close, want an error that has the reason", err)
		}
	}
}

// TestCloseDialing closes a Balancer while a call waits for a connection that is not
// answered: the call and the attempt to connect end at once.
func TestCloseDialing(t *testing.T) {
	for _, http1 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, 1, http1, echo)
			s.node("a").hide(true)
			b := s.balancer(t, nil)
			began := time.Now()
			var calls sync.WaitGroup
			calls.Go(func() {
				if _, err := ask(context.Background(), clientOf(b, pathUnary, unknown, protocols["connect"])); err == nil {
					t.Error("got an answer, want an error")
				}
			})
			synctest.Wait()
			if s.node("a").dials.Load() == 0 {
				t.Error("got no attempt to connect")
			}
			b.Close()
			calls.Wait()
			if passed := time.Since(began); passed != 0 {
				t.Errorf("http1 %v: the call has ended %v after Close, want at once", http1, passed)
			}
			s.node("a").hide(false)
			s.node("a").stop(t, false)
		})
	}
}

// TestCause has contexts end with a cause of the program's while calls wait for an
// endpoint: the code is that of the context's error.
func TestCause(t *testing.T) {
	cause := errors.New("the user has left")
	for _, late := range []bool{false, true} {
		for _, path := range []string{pathUnary, pathServer, pathBidi} {
			s := newSite(t, 0, false, echo)
			b := s.balancer(t, balance.Static("a"))
			ctx, cancel := context.WithCancelCause(t.Context())
			if late {
				time.AfterFunc(5*time.Millisecond, func() { cancel(cause) })
			} else {
				cancel(cause)
			}
			if _, err := call(ctx, clientOf(b, path, unknown, protocols["grpc"]), path); connect.CodeOf(err) != connect.CodeCanceled {
				t.Errorf("late %v, %s: got %v, want canceled", late, path, err)
			}
			b.Close()
		}
	}
}

// TestTrouble has the resolver asked to look again when an endpoint is lost, at most once
// a second.
func TestTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 2, false, echo)
		r := newResolver()
		b := s.balancer(t, r)
		r.set("a", "b")
		c := clientOf(b, pathUnary, unknown, protocols["grpc"])
		if _, err := ask(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for i := range 6 {
			before := r.asked.Load()
			s.node("a").stop(t, false)
			s.node("b").stop(t, false)
			synctest.Wait()
			if got := r.asked.Load() - before; got != 1 {
				t.Errorf("round %d: got %d calls of Refresh for two lost endpoints at once, want 1", i, got)
			}
			s.start(t, "a")
			s.start(t, "b")
			time.Sleep(7 * time.Second)
			synctest.Wait()
		}
		b.Close()
		s.node("a").stop(t, false)
		s.node("b").stop(t, false)
	})
}

// TestMany updates a set of 1 000 endpoints, of which one changes each time. The work is
// counted in connections; its time is printed only.
func TestMany(t *testing.T) {
	const endpoints, updates = 1000, 60
	s := newSite(t, 0, false, echo)
	all := make([]string, endpoints+updates)
	for i := range all {
		all[i] = fmt.Sprint("n", i)
	}
	for _, name := range all[:50] {
		s.start(t, name)
	}
	r := newResolver()
	b := s.balancer(t, r, balance.Subset(50, "me"))
	r.set(all[:endpoints]...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, _ = ask(ctx, clientOf(b, pathUnary, unknown, protocols["grpc"])) // some endpoint of the subset may be up
	var dialed int
	for i := range all {
		if s.node(all[i]).dials.Load() > 0 {
			dialed++
		}
	}
	if dialed > 50 {
		t.Errorf("got connections to %d endpoints, want those of the subset, 50", dialed)
	}
	began := time.Now()
	for i := range updates {
		r.set(all[i+1 : endpoints+i+1]...)
	}
	t.Logf("an update of %d endpoints takes %v", endpoints, time.Since(began)/updates)
	if got := len(b.Status().Endpoints); got != endpoints {
		t.Errorf("got %d endpoints in the status, want %d", got, endpoints)
	}
	unused := 0
	for _, e := range b.Status().Endpoints {
		if e.State == balance.StateUnused {
			unused++
		}
	}
	if unused != endpoints-50 {
		t.Errorf("got %d endpoints out of use, want %d", unused, endpoints-50)
	}
	r2 := newResolver()
	whole := s.balancer(t, r2)
	r2.set(all[:endpoints]...)
	ready := connect.NewClient[message, message](whole.HTTPClient(), "http://test.local"+pathUnary, whole.Options())
	if _, err := ask(t.Context(), ready); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "connections to all", func() bool {
		for _, name := range all[:endpoints] {
			if s.node(name).dials.Load() == 0 {
				return false
			}
		}
		return true
	})
	began = time.Now()
	for i := range updates {
		r2.set(all[i%10 : endpoints-10+i%10]...)
	}
	t.Logf("an update of %d endpoints that are all in use takes %v", endpoints, time.Since(began)/updates)
	if _, err := ask(t.Context(), ready); err != nil {
		t.Fatal(err)
	}
}

// TestDrainedEndpointsAreNoHosts has two endpoints whose calls fail. None is ejected while
// the other is drained, as calls have nowhere else to go; one is when that ends.
func TestDrainedEndpointsAreNoHosts(t *testing.T) {
	s := newSite(t, 2, false, func(context.Context, *node, int64, string) (string, error) {
		return "", connect.NewError(connect.CodeUnavailable, errors.New("broken"))
	})
	r := newResolver()
	b := s.balancer(t, r, balance.RoundRobin())
	c := clientOf(b, pathUnary, unknown, protocols["grpc"])
	ejected := func() bool {
		if _, err := ask(t.Context(), c); connect.CodeOf(err) != connect.CodeUnavailable {
			t.Errorf("got %v, want the server's error", err)
		}
		return states(b)["a"] == balance.StateEjected || states(b)["b"] == balance.StateEjected
	}
	r.put([]balance.Endpoint{{Addr: "a", Weight: 1}, {Addr: "b", Weight: 0}}, nil)
	for range 20 {
		if ejected() {
			t.Fatal("got the only endpoint that gets calls ejected, want it in use")
		}
	}
	r.put([]balance.Endpoint{{Addr: "a", Weight: 1}, {Addr: "b", Weight: 1}}, nil)
	waitFor(t, "an ejection", ejected)
}
