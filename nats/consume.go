// SPDX-License-Identifier: Apache-2.0

// Consumers of JetStream: events that are delivered until a function has taken them.

package natsrpc

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed-b7c59c10/connect"
)

// heartbeat is how often an idle consumer hears from its NATS server. After two of these
// times without it nats.go asks for events again. That is also how soon it goes on after it
// has missed to ask: its iterator does when an event arrives while the goroutine that has
// asked for it is not back yet (jetstream/pull.go, checkPending), and small batches, which
// [Parallel] makes, leave nothing else to wait for.
const heartbeat = time.Second

// A ConsumeOption is a setting of [Consume].
type ConsumeOption func(*consumeConfig)

type consumeConfig struct {
	parallel int
	attempts uint64
	delay    time.Duration
	letters  jetstream.JetStream // nil: none
	subject  string              // of dead letters
	failed   func(jetstream.Msg, error)
}

// Parallel sets for how many events the function runs at once. The default is 1: one after
// the other, in the order of the stream unless one is delivered again. Parallel panics if n
// is not positive.
func Parallel(n int) ConsumeOption {
	if n <= 0 {
		panic(fmt.Sprintf("natsrpc: Parallel(%d): want a positive number", n))
	}
	return func(c *consumeConfig) { c.parallel = n }
}

// Redelivery sets how often an event is delivered before it is a dead letter, and the time
// between. The default is 5 times, a second apart. Without [DeadLetters] the number has no
// effect: the consumer's MaxDeliver counts. Redelivery panics if times is not positive or
// delay is negative.
func Redelivery(times int, delay time.Duration) ConsumeOption {
	if times <= 0 || delay < 0 {
		panic(fmt.Sprintf("natsrpc: Redelivery(%d, %v): want a positive number and a time", times, delay))
	}
	return func(c *consumeConfig) { c.attempts, c.delay = uint64(times), delay }
}

// DeadLetters has events that the function cannot take published on a subject, which a
// stream must have, with their fields and two more: Rpc-Error, and Rpc-Subject, their own
// subject. Only when the stream has it does JetStream forget the event. DeadLetters panics
// if js is nil or the subject is invalid.
func DeadLetters(js jetstream.JetStream, subject string) ConsumeOption {
	if js == nil {
		panic("natsrpc: DeadLetters: the JetStream is nil")
	}
	if err := checkName("subject", subject, "-"); err != nil {
		panic(fmt.Sprintf("natsrpc: DeadLetters: %v", err))
	}
	return func(c *consumeConfig) { c.letters, c.subject = js, subject }
}

// OnFailure has f called with each error of the function, and with each message that is no
// event of the type. It may be called from several goroutines at once. By default package
// log has them. OnFailure panics if f is nil.
func OnFailure(f func(m jetstream.Msg, err error)) ConsumeOption {
	if f == nil {
		panic("natsrpc: OnFailure: the function is nil: leave the option out to have errors logged")
	}
	return func(c *consumeConfig) { c.failed = f }
}

// Consume has handle called for each event of a consumer, and acknowledges an event after
// handle has returned nil: so each is handled at least once, and after a crash or a lost
// acknowledgement once more. An event for which handle returns an error or panics is
// delivered again: see [Redelivery]. Package log has the panic, with its stack; its error
// has the code internal. A message that is no event of the type is not: it becomes a dead letter
// at once, or without [DeadLetters] JetStream forgets it. The consumer's AckWait must be
// longer than handle takes.
//
// Consume returns when ctx ends, with its error, after the running functions have returned;
// their context is ctx. It returns an error with the code unavailable when the connection
// or the consumer is gone. Events that have come and were not handled are delivered again
// after AckWait.
func Consume[T any, P message[T]](ctx context.Context, consumer jetstream.Consumer, handle func(context.Context, *Event[T]) error, options ...ConsumeOption) error {
	c := consumeConfig{parallel: 1, attempts: 5, delay: time.Second, failed: func(_ jetstream.Msg, err error) { log.Print(err) }}
	for _, option := range options {
		if option == nil {
			panic("natsrpc: Consume: an option is nil")
		}
		option(&c)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(c.parallel), jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return errorf(connect.CodeUnavailable, "consuming: %w", err)
	}
	var running sync.WaitGroup
	defer running.Wait()
	defer messages.Stop() // first: events that come meanwhile are for other consumers
	free := make(chan struct{}, c.parallel)
	for {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		m, err := messages.Next(jetstream.NextContext(ctx))
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, jetstream.ErrNoHeartbeat): // the server is away: the next pull tries again
			<-free
			continue
		case err != nil:
			return errorf(connect.CodeUnavailable, "consuming: %w", err)
		}
		running.Go(func() {
			defer func() { <-free }()
			e, err := parseEvent[T, P](m.Subject(), m.Headers(), m.Data())
			poison := err != nil
			if err == nil {
				err = guard(e.Subject, func() error { return handle(ctx, e) })
			}
			c.settle(ctx, m, err, poison)
		})
	}
}

// settle reports the outcome of an event to JetStream. If a report is lost, JetStream
// delivers the event again after AckWait.
func (c *consumeConfig) settle(ctx context.Context, m jetstream.Msg, err error, poison bool) {
	if err == nil {
		_ = m.Ack()
		return
	}
	c.report(m, err)
	meta, failed := m.Metadata()
	last := poison || ctx.Err() == nil && failed == nil && c.letters != nil && meta.NumDelivered >= c.attempts // not because Consume ends
	switch {
	case !last:
		_ = m.NakWithDelay(c.delay)
	case c.letters == nil:
		_ = m.Term()
	default:
		if failed := c.bury(ctx, m, meta, err); failed != nil {
			c.report(m, failed)
			_ = m.NakWithDelay(c.delay) // it is not lost, and tried again
			return
		}
		_ = m.Term()
	}
}

// report calls the function of OnFailure.
func (c *consumeConfig) report(m jetstream.Msg, err error) {
	_ = guard(m.Subject(), func() error { c.failed(m, err); return nil })
}

// bury publishes a dead letter, and waits until its stream has it. The same event is stored
// once, if it comes again soon.
func (c *consumeConfig) bury(ctx context.Context, m jetstream.Msg, meta *jetstream.MsgMetadata, err error) error {
	h := make(nats.Header)
	for key, values := range m.Headers() {
		if !isNatsField(key) {
			h[key] = values
		}
	}
	h.Set("Rpc-Error", cleanText(err.Error()))
	h.Set("Rpc-Subject", m.Subject())
	var options []jetstream.PublishOpt
	if meta != nil {
		options = append(options, jetstream.WithMsgID(meta.Stream+"/"+meta.Consumer+"/"+strconv.FormatUint(meta.Sequence.Stream, 10)))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime) // also while Consume ends
	defer cancel()
	_, failed := c.letters.PublishMsg(ctx, &nats.Msg{Subject: c.subject, Header: h, Data: m.Data()}, options...)
	if failed != nil {
		return errorf(connect.CodeUnavailable, "publishing a dead letter on %q: %w", c.subject, failed)
	}
	return nil
}
