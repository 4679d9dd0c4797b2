// SPDX-License-Identifier: Apache-2.0

// The events of the soak: JetStream has a stream of them, two workers share a consumer, and
// the connections of publishers and workers are lost again and again. A connection that stays
// sees the acknowledgements that get to the NATS server.

package natstest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	natsrpc "github.com/seed-b7c59c10/connect/nats"
)

// soakAckWait is after which time JetStream delivers an event again that was lost on its way
// to a worker, or whose acknowledgement was. The functions of the workers take no time.
const soakAckWait = 5 * time.Second

type soakEvents struct {
	t        *testing.T
	js       jetstream.JetStream // of the connection that stays
	consumer jetstream.Consumer
	watch    *nats.Conn

	mu        sync.Mutex
	published map[string]bool // by text: JetStream has it
	sequence  map[string]uint64
	states    map[uint64]*soakEvent // by the number in the stream
	tries     map[string]int
}

type soakEvent struct {
	delivered uint64 // how often
	handled   bool   // the function has returned nil
	acked     bool   // the NATS server has the acknowledgement
}

func newSoakEvents(t *testing.T, nc *nats.Conn) *soakEvents {
	e := &soakEvents{
		t: t, watch: nc, published: make(map[string]bool), sequence: make(map[string]uint64),
		states: make(map[uint64]*soakEvent), tries: make(map[string]int),
	}
	var err error
	if e.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	stream, err := e.js.CreateStream(testContext(t), jetstream.StreamConfig{Name: "SOAK", Subjects: []string{"soak"}, Storage: jetstream.MemoryStorage})
	if err != nil {
		t.Fatal(err)
	}
	e.consumer, err = stream.CreateConsumer(testContext(t), jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy, AckWait: soakAckWait})
	if err != nil {
		t.Fatal(err)
	}
	subscribe(t, nc, "$JS.ACK.SOAK.c.>", e.acknowledged)
	flush(t, nc)
	return e
}

// state is that of an event. The lock is held.
func (e *soakEvents) state(seq uint64) *soakEvent {
	if e.states[seq] == nil {
		e.states[seq] = new(soakEvent)
	}
	return e.states[seq]
}

// acknowledged takes an acknowledgement, whose subject is
// $JS.ACK.STREAM.CONSUMER.DELIVERED.SEQUENCE and more. [NATS ADR-15]
func (e *soakEvents) acknowledged(m *nats.Msg) {
	if strings.HasPrefix(string(m.Data), "-NAK") {
		return
	}
	words := strings.Split(m.Subject, ".")
	seq, err := strconv.ParseUint(words[min(5, len(words)-1)], 10, 64)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil || string(m.Data) != "+ACK" {
		e.t.Errorf("got %q on %q, want an acknowledgement", m.Data, m.Subject)
		return
	}
	s := e.state(seq)
	if !s.handled {
		e.t.Errorf("event %d is acknowledged, and was not handled", seq)
	}
	s.acked = true
}

// publish publishes an event, however often it takes. JetStream stores it once.
func (e *soakEvents) publish(js jetstream.JetStream, text string) {
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
	defer cancel()
	for {
		m, err := natsrpc.NewEvent("soak", wrapperspb.String(text))
		if err != nil {
			e.t.Error(err)
			return
		}
		attempt, stop := context.WithTimeout(ctx, time.Second) // an answer may be lost with the connection
		_, err = js.PublishMsg(attempt, m, jetstream.WithMsgID(text))
		stop()
		if err == nil {
			break
		} else if ctx.Err() != nil {
			e.t.Errorf("event %s: got %v, want it published in the end", text, err)
			return
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.published[text] = true
}

// work handles events until ctx ends. One in twenty fails at first.
func (e *soakEvents) work(ctx context.Context, nc *nats.Conn) {
	js, err := jetstream.New(nc)
	if err != nil {
		e.t.Error(err)
		return
	}
	consumer, err := js.Consumer(ctx, "SOAK", "c")
	if err != nil {
		e.t.Error(err)
		return
	}
	err = natsrpc.Consume(ctx, watchedConsumer{consumer, e}, func(_ context.Context, event *textEvent) error {
		e.mu.Lock()
		defer e.mu.Unlock()
		text := event.Msg.Value
		if e.tries[text]++; e.tries[text] == 1 && strings.HasSuffix(text, "7") && len(text)%2 == 0 {
			return errors.New("no luck")
		}
		e.state(e.sequence[text]).handled = true
		return nil
	}, natsrpc.Parallel(4), natsrpc.Redelivery(5, time.Millisecond), natsrpc.OnFailure(func(jetstream.Msg, error) {}))
	if connect.CodeOf(err) == connect.CodeUnavailable || ctx.Err() == nil {
		e.t.Errorf("a worker has ended with %v, want the end of the context", err)
	}
}

// finish waits until JetStream has all acknowledgements, and checks the events.
func (e *soakEvents) finish() {
	ctx := testContext(e.t)
	for {
		info, err := e.consumer.Info(ctx)
		if err != nil {
			e.t.Fatalf("events: got %v, want all acknowledged", err)
		}
		if info.NumAckPending == 0 && info.NumPending == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	flush(e.t, e.watch)
	e.mu.Lock()
	defer e.mu.Unlock()
	again := 0
	for text := range e.published {
		s := e.states[e.sequence[text]]
		if s == nil || !s.handled {
			e.t.Errorf("event %s is lost", text)
			continue
		}
		if s.delivered > 1 {
			again++
		}
	}
	if len(e.states) != len(e.published) {
		e.t.Errorf("got %d events delivered of %d published", len(e.states), len(e.published))
	}
	e.t.Logf("%d events were handled, %d of them delivered more than once", len(e.published), again)
}

// A watchedConsumer notes what is delivered.
type watchedConsumer struct {
	jetstream.Consumer
	events *soakEvents
}

func (c watchedConsumer) Messages(options ...jetstream.PullMessagesOpt) (jetstream.MessagesContext, error) {
	messages, err := c.Consumer.Messages(options...)
	return watchedMessages{messages, c.events}, err
}

type watchedMessages struct {
	jetstream.MessagesContext
	events *soakEvents
}

func (m watchedMessages) Next(options ...jetstream.NextOpt) (jetstream.Msg, error) {
	one, err := m.MessagesContext.Next(options...)
	if err == nil {
		err = m.events.note(one)
	}
	return one, err
}

// note takes a delivery: the first, or a later one of an event that is not acknowledged.
func (e *soakEvents) note(m jetstream.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	var text wrapperspb.StringValue
	if err := proto.Unmarshal(m.Data(), &text); err != nil {
		return fmt.Errorf("event %d: %w", meta.Sequence.Stream, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.state(meta.Sequence.Stream)
	if s.acked {
		e.t.Errorf("event %s: got delivery %d after its acknowledgement", text.Value, meta.NumDelivered)
	}
	if other := e.sequence[text.Value]; other != 0 && other != meta.Sequence.Stream {
		e.t.Errorf("event %s: it is in the stream twice, as %d and %d", text.Value, other, meta.Sequence.Stream)
	}
	s.delivered++
	e.sequence[text.Value] = meta.Sequence.Stream
	return nil
}
