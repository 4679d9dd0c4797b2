// SPDX-License-Identifier: Apache-2.0

// Consumers of JetStream, without one.

package natsrpc

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// script is a consumer whose events are in a channel.
type script struct {
	jetstream.Consumer
	events  chan jetstream.Msg
	stopped chan struct{}
}

func (s *script) Messages(...jetstream.PullMessagesOpt) (jetstream.MessagesContext, error) {
	return scripted{nil, s}, nil
}

type scripted struct {
	jetstream.MessagesContext
	s *script
}

func (m scripted) Next(...jetstream.NextOpt) (jetstream.Msg, error) { return <-m.s.events, nil }
func (m scripted) Stop()                                            { close(m.s.stopped) }

// empty is an event without fields.
type empty struct{ jetstream.Msg }

func (empty) Subject() string      { return "a" }
func (empty) Headers() nats.Header { return nil }
func (empty) Data() []byte         { return nil }
func (empty) Ack() error           { return nil }

// At its end Consume asks for no more events before it waits for the function that runs: they
// would wait for AckWait to be delivered to another consumer.
func TestConsumeStopsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &script{events: make(chan jetstream.Msg, 1), stopped: make(chan struct{})}
		s.events <- empty{}
		err := Consume(ctx, s, func(context.Context, *Event[wrapperspb.StringValue]) error {
			cancel()
			<-s.stopped // else a deadlock, which synctest finds
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v, want the context's", err)
		}
	})
}
