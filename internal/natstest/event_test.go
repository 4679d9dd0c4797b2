// SPDX-License-Identifier: Apache-2.0

// Events: subscribers, listeners and consumers of JetStream.

package natstest

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	natsrpc "github.com/seed-b7c59c10/connect/nats"
)

type (
	text      = wrapperspb.StringValue
	textEvent = natsrpc.Event[text]
)

func publish(t *testing.T, nc *nats.Conn, subject string, value string, options ...natsrpc.PublishOption) {
	t.Helper()
	if err := natsrpc.Publish(nc, subject, wrapperspb.String(value), options...); err != nil {
		t.Fatal(err)
	}
}

// Each subscriber gets each event, each queue group once, and poison goes elsewhere.
func TestSubscribe(t *testing.T) {
	s := startServer(t, nil)
	nc := dial(t, s)
	var all, group atomic.Int64
	var order []string
	poison := make(chan error, 10)
	onPoison := natsrpc.OnPoison(func(_ *nats.Msg, err error) { poison <- err })
	first, err := natsrpc.Subscribe(nc, "greeted.*", func(e *textEvent) {
		all.Add(1)
		order = append(order, e.Msg.Value)
	}, onPoison)
	if err != nil {
		t.Fatal(err)
	}
	subscriptions := []*natsrpc.Subscription{first}
	for range 3 {
		member, err := natsrpc.Subscribe(nc, "greeted.>", func(*textEvent) { group.Add(1) }, natsrpc.Queue("group"), natsrpc.OnPoison(func(*nats.Msg, error) {}))
		if err != nil {
			t.Fatal(err)
		}
		subscriptions = append(subscriptions, member)
	}
	flush(t, nc)
	var want []string
	for i := range 100 {
		want = append(want, fmt.Sprint(i))
		if i%2 == 0 {
			publish(t, nc, "greeted.a", want[i])
		} else {
			publish(t, nc, "greeted.b", want[i], natsrpc.AsJSON())
		}
	}
	_ = nc.Publish("greeted.a", []byte("\xff\xff"))
	for _, one := range subscriptions {
		if err := one.Drain(testContext(t)); err != nil {
			t.Error(err)
		}
	}
	if all.Load() != 100 || group.Load() != 100 || !slices.Equal(order, want) {
		t.Errorf("got %d events and %d in the group, in the order %q, want 100 of each, in order", all.Load(), group.Load(), order)
	}
	wantError(t, "poison", <-poison, connect.CodeInvalidArgument, "greeted.a")
	if got := nc.NumSubscriptions(); got != 0 {
		t.Errorf("got %d subscriptions, want none", got)
	}
	for _, one := range subscriptions { // ends that come twice
		_ = one.Close()
		if err := one.Drain(testContext(t)); err != nil {
			t.Error(err)
		}
	}
	_, err = natsrpc.Subscribe(nc, "a b", func(*textEvent) {})
	wantError(t, "subject", err, connect.CodeInvalidArgument, "a b")
	nc.Close()
	_, err = natsrpc.Subscribe(nc, "a", func(*textEvent) {})
	wantError(t, "closed connection", err, connect.CodeUnavailable, "")
	wantError(t, "closed connection", natsrpc.Publish(nc, "a", wrapperspb.String("")), connect.CodeUnavailable, "")
}

// A drain without time returns, and Close ends a subscriber that never returns.
func TestSubscriberHangs(t *testing.T) {
	s := startServer(t, nil)
	nc := dial(t, s)
	begun, release := make(chan struct{}), make(chan struct{})
	sub, err := natsrpc.Subscribe(nc, "a", func(*textEvent) {
		begun <- struct{}{}
		<-release
	}, natsrpc.MaxPending(5))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		publish(t, nc, "a", "")
	}
	<-begun
	flush(t, nc)
	if got := sub.Dropped(); got < 10 || got > 15 { // 5 wait, and some may have gone before
		t.Errorf("got %d dropped events, want 10 to 15", got)
	}
	if err := sub.Drain(ended()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the end of the context", err)
	}
	_ = sub.Close()
	close(release)
}

// A loop over events: poison and drops are errors after which it goes on.
func TestListen(t *testing.T) {
	s := startServer(t, nil)
	nc := dial(t, s)
	l, err := natsrpc.Listen[text](nc, "a.>", natsrpc.MaxPending(3))
	if err != nil {
		t.Fatal(err)
	}
	publish(t, nc, "a.b", "1")
	_ = nc.Publish("a.b", []byte("\xff"))
	publish(t, nc, "a.b", "2")
	flush(t, nc)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	var got []string
	for e, err := range l.All(ctx) {
		switch {
		case err == nil:
			got = append(got, e.Msg.Value)
		case connect.CodeOf(err) == connect.CodeInvalidArgument:
			got = append(got, "poison")
		case connect.CodeOf(err) == connect.CodeResourceExhausted:
			got = append(got, "dropped")
		case errors.Is(err, context.Canceled):
			got = append(got, "end")
		default:
			t.Fatal(err)
		}
		if len(got) == 3 {
			for range 5 {
				publish(t, nc, "a.c", "3")
			}
			flush(t, nc)
		}
		if len(got) == 7 {
			cancel()
		}
	}
	if want := []string{"1", "poison", "2", "dropped", "3", "3", "3", "end"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := l.Dropped(); got != 2 {
		t.Errorf("got %d dropped events, want 2", got)
	}
	_ = l.Close()
	_, err = l.Next(testContext(t))
	wantError(t, "closed listener", err, connect.CodeUnavailable, "")
}

// ---- JetStream ----

// newStream returns a stream of the subjects below "a", and one of dead letters.
func newStream(t *testing.T, nc *nats.Conn) (jetstream.JetStream, jetstream.Consumer, jetstream.Stream) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "A", Subjects: []string{"a.>"}})
	if err != nil {
		t.Fatal(err)
	}
	letters, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "DEAD", Subjects: []string{"dead"}})
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy, AckWait: patience})
	if err != nil {
		t.Fatal(err)
	}
	return js, consumer, letters
}

func withJetStream(t *testing.T) *server.Server {
	dir := t.TempDir()
	return startServer(t, func(o *server.Options) { o.JetStream, o.StoreDir = true, dir })
}

// Events are handled until the function has taken them: those that fail come again, and in
// the end become dead letters, as poison does at once. None is lost.
func TestConsume(t *testing.T) {
	logged := captureLog(t)
	for _, parallel := range []int{1, 8} {
		t.Run(fmt.Sprint(parallel), func(t *testing.T) {
			nc := dial(t, withJetStream(t))
			js, consumer, letters := newStream(t, nc)
			const events = 50
			for i := range events {
				m, err := natsrpc.NewEvent("a.b", wrapperspb.String(fmt.Sprint(i)))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := js.PublishMsg(testContext(t), m); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := js.Publish(testContext(t), "a.poison", []byte("\xff")); err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			handled := make(map[string]int)
			failures := 0
			ctx, cancel := context.WithCancel(testContext(t))
			done := make(chan error)
			go func() {
				done <- natsrpc.Consume(ctx, consumer, func(_ context.Context, e *textEvent) error {
					mu.Lock()
					defer mu.Unlock()
					handled[e.Msg.Value]++
					switch n := handled[e.Msg.Value]; {
					case e.Msg.Value == "7", e.Msg.Value == "8" && n < 3: // 7 always fails, and 8 twice
						if n == 2 {
							panic("no luck")
						}
						return errors.New("no luck")
					}
					return nil
				}, natsrpc.Parallel(parallel), natsrpc.Redelivery(4, time.Millisecond), natsrpc.DeadLetters(js, "dead"),
					natsrpc.OnFailure(func(jetstream.Msg, error) {
						mu.Lock()
						defer mu.Unlock()
						failures++
					}))
			}()
			got := make(map[string]string)
			for seq := uint64(1); len(got) < 2; { // until both dead letters are there
				m, err := letters.GetMsg(testContext(t), seq)
				if errors.Is(err, jetstream.ErrMsgNotFound) {
					continue
				} else if err != nil {
					t.Fatal(err)
				}
				got[m.Header.Get("Rpc-Subject")] = m.Header.Get("Rpc-Error")
				seq++
			}
			if got["a.b"] != "no luck" || got["a.poison"] == "" {
				t.Errorf("got dead letters %q, want 7 and the poison", got)
			}
			for { // until the last acknowledgement has arrived
				info, err := consumer.Info(testContext(t))
				if err != nil {
					t.Fatal(err)
				}
				if info.NumAckPending == 0 && info.NumPending == 0 {
					break
				}
			}
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want the end of the context", err)
			}
			mu.Lock()
			defer mu.Unlock()
			for i := range events {
				want := map[int]int{7: 4, 8: 3}[i]
				if n := handled[fmt.Sprint(i)]; n != max(want, 1) {
					t.Errorf("event %d: got %d deliveries, want %d", i, n, max(want, 1))
				}
			}
			if failures != 4+2+1 {
				t.Errorf("got %d failures, want 7", failures)
			}
			if n := strings.Count(logged.take(), `panic handling an event on "a.b": no luck`); n != 2 {
				t.Errorf("got %d panics in the log, want 2", n)
			}
		})
	}
}

// A function that panics, that for poison among them, gets the next event, too.
func TestSubscribePanics(t *testing.T) {
	logged := captureLog(t)
	nc := dial(t, startServer(t, nil))
	got := make(chan string, 3)
	sub, err := natsrpc.Subscribe(nc, "a", func(e *textEvent) {
		got <- e.Msg.Value
		panic("in handle")
	}, natsrpc.OnPoison(func(*nats.Msg, error) { panic("in poison") }))
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{"\x0a\x011", "\xff", "\x0a\x012"} {
		if err := nc.Publish("a", []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"1", "2"} {
		if got := <-got; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if err := sub.Drain(testContext(t)); err != nil {
		t.Fatal(err)
	}
	text := logged.take()
	if strings.Count(text, "in handle") != 2 || strings.Count(text, "in poison") != 1 || !strings.Contains(text, "goroutine ") {
		t.Errorf("got the log %q, want three panics with stacks", text)
	}
}

// A logText is what package log has got in a test.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func captureLog(t *testing.T) *logText {
	l := new(logText)
	before := log.Writer()
	log.SetOutput(l)
	t.Cleanup(func() { log.SetOutput(before) })
	return l
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// take returns the text since the last call.
func (l *logText) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// A consumer that ends while a function runs waits for it. The connection's end ends it, too.
func TestConsumeEnds(t *testing.T) {
	nc := dial(t, withJetStream(t))
	js, consumer, _ := newStream(t, nc)
	m, _ := natsrpc.NewEvent("a.b", wrapperspb.String("1"))
	if _, err := js.PublishMsg(testContext(t), m); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	begun, done := make(chan struct{}), make(chan error, 1)
	var returned atomic.Bool
	quiet := natsrpc.OnFailure(func(jetstream.Msg, error) {})
	go func() {
		done <- natsrpc.Consume(ctx, consumer, func(ctx context.Context, e *textEvent) error {
			close(begun)
			<-ctx.Done()
			returned.Store(true)
			return ctx.Err()
		}, quiet, natsrpc.Redelivery(1, 0), natsrpc.DeadLetters(js, "dead"))
	}()
	<-begun
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || !returned.Load() {
		t.Errorf("got %v and returned=%v, want the end of the context after that of the function", err, returned.Load())
	}
	again := make(chan string, 1)
	go func() { // the event is neither lost nor a dead letter
		done <- natsrpc.Consume(testContext(t), consumer, func(_ context.Context, e *textEvent) error {
			again <- e.Msg.Value
			return nil
		}, quiet)
	}()
	if got := <-again; got != "1" {
		t.Errorf("got %q, want the event again", got)
	}
	nc.Close()
	wantError(t, "closed connection", <-done, connect.CodeUnavailable, "consuming")
}
