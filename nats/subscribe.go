// SPDX-License-Identifier: Apache-2.0

// Subscribers of events: a function that is called, or a loop that asks.

package natsrpc

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/seed-b7c59c10/connect"
)

// An EventOption is a setting of [Subscribe] and [Listen].
type EventOption interface{ applyToEvents(*eventConfig) }

type eventConfig struct {
	queue   string
	pending int
	poison  func(*nats.Msg, error)
}

type eventOption func(*eventConfig)

func (o eventOption) applyToEvents(c *eventConfig) { o(c) }

// The defaults of events that wait.
const (
	defaultPending = 10_000
	pendingBytes   = 64 << 20
)

// MaxPending sets how many events wait for a subscriber that is slow; together they have at
// most 64 MiB. What exceeds it is dropped: NATS reports nats.ErrSlowConsumer to the
// connection's error handler, and Dropped counts. The default is 10 000. MaxPending panics
// if events is not positive.
func MaxPending(events int) EventOption {
	if events <= 0 {
		panic(fmt.Sprintf("natsrpc: MaxPending(%d): want a positive number", events))
	}
	return eventOption(func(c *eventConfig) { c.pending = events })
}

// OnPoison has f called with each message that is no event of the type. The error has the
// code invalid_argument. By default [Subscribe] logs it with package log; a [Listener]
// returns it, and ignores f. OnPoison panics if f is nil.
func OnPoison(f func(m *nats.Msg, err error)) EventOption {
	if f == nil {
		panic("natsrpc: OnPoison: the function is nil: leave the option out to have the error logged")
	}
	return eventOption(func(c *eventConfig) { c.poison = f })
}

// events returns the settings.
func events(options []EventOption) eventConfig {
	c := eventConfig{pending: defaultPending, poison: func(_ *nats.Msg, err error) { log.Print(err) }}
	for _, o := range options {
		if o == nil {
			panic("natsrpc: Subscribe: an option is nil")
		}
		o.applyToEvents(&c)
	}
	return c
}

// checkPattern checks a subject for subscribers, which may have wildcards.
func checkPattern(subject string) error {
	plain := strings.ReplaceAll(subject, "*", "_")
	if rest, ok := strings.CutSuffix(plain, ">"); ok {
		plain = rest + "_"
	}
	if err := checkName("subject", plain, "-"); err != nil {
		return errorf(connect.CodeInvalidArgument, "subscribing to %q: want words of letters, digits, _ and - between single dots, * for a word, > for all that follow", subject)
	}
	return nil
}

// A Subscription has a function called for each event. Its methods are safe for concurrent
// use.
type Subscription struct {
	sub  *nats.Subscription
	done chan struct{}
}

// Subscribe has handle called for each event on a subject, which may have wildcards: one
// after the other, in one goroutine, until the subscription or the connection is closed. If
// handle panics, package log has the panic, with its stack, and the next event follows.
//
// The errors of Subscribe have the code invalid_argument for a bad subject, and unavailable
// if the connection is closed. A permission violation goes to the connection's error handler.
func Subscribe[T any, P message[T]](nc *nats.Conn, subject string, handle func(*Event[T]), options ...EventOption) (*Subscription, error) {
	c := events(options)
	if err := checkPattern(subject); err != nil {
		return nil, err
	}
	s := &Subscription{done: make(chan struct{})}
	var err error
	s.sub, err = nc.QueueSubscribe(subject, c.queue, func(m *nats.Msg) {
		_ = guard(m.Subject, func() error {
			if e, err := parseEvent[T, P](m.Subject, m.Header, m.Data); err != nil {
				c.poison(m, err)
			} else {
				handle(e)
			}
			return nil
		})
	})
	if err != nil {
		return nil, errorf(connect.CodeUnavailable, "subscribing to %q: %w", subject, err)
	}
	s.sub.SetClosedHandler(func(string) { close(s.done) })
	if err := limitPending(s.sub, c); err != nil {
		return nil, err
	}
	return s, nil
}

func limitPending(sub *nats.Subscription, c eventConfig) error {
	if err := sub.SetPendingLimits(c.pending, pendingBytes); err != nil { // the connection is closed by now
		return errorf(connect.CodeUnavailable, "subscribing to %q: %w", sub.Subject, err)
	}
	return nil
}

// Drain ends the subscription, and waits until the function has seen what has come, or ctx
// ends: then it returns the context's error, and the function is called for the rest.
func (s *Subscription) Drain(ctx context.Context) error {
	_ = s.sub.Drain() // fails if the subscription has ended
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("natsrpc: draining %q: %w", s.sub.Subject, context.Cause(ctx))
	}
}

// Close ends the subscription. Events that wait are dropped. It always returns nil.
func (s *Subscription) Close() error {
	_ = s.sub.Unsubscribe() // fails if the subscription has ended
	return nil
}

// Dropped returns how many events were dropped because more than [MaxPending] waited. It
// returns 0 once the subscription is closed.
func (s *Subscription) Dropped() int { return dropped(s.sub) }

func dropped(sub *nats.Subscription) int {
	n, err := sub.Dropped()
	if err != nil {
		return 0
	}
	return n
}

// A Listener has the events that wait for a program to ask. Its methods are safe for
// concurrent use.
type Listener[T any] struct {
	sub   *nats.Subscription
	parse func(string, nats.Header, []byte) (*Event[T], error)
}

// Listen subscribes to a subject, which may have wildcards, and keeps the events until the
// program asks. Its errors are those of [Subscribe].
func Listen[T any, P message[T]](nc *nats.Conn, subject string, options ...EventOption) (*Listener[T], error) {
	c := events(options)
	if err := checkPattern(subject); err != nil {
		return nil, err
	}
	sub, err := nc.QueueSubscribeSync(subject, c.queue)
	if err != nil {
		return nil, errorf(connect.CodeUnavailable, "subscribing to %q: %w", subject, err)
	}
	if err := limitPending(sub, c); err != nil {
		return nil, err
	}
	return &Listener[T]{sub, parseEvent[T, P]}, nil
}

// Next waits for the next event. It returns the error of the context if that ends; an error
// with the code invalid_argument for a message that is no event of the type, after which
// Next goes on; resource_exhausted, once, after events were dropped; permission_denied if
// the user may not subscribe; and unavailable if the listener or the connection is closed.
func (l *Listener[T]) Next(ctx context.Context) (*Event[T], error) {
	m, err := l.sub.NextMsgWithContext(ctx)
	switch {
	case err == nil:
		return l.parse(m.Subject, m.Header, m.Data)
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, nats.ErrSlowConsumer):
		return nil, errorf(connect.CodeResourceExhausted, "listening to %q: %w: events were dropped, as more waited than MaxPending allows", l.sub.Subject, err)
	case errors.Is(err, nats.ErrPermissionViolation):
		return nil, errorf(connect.CodePermissionDenied, "listening to %q: %w", l.sub.Subject, err)
	}
	return nil, errorf(connect.CodeUnavailable, "listening to %q: %w", l.sub.Subject, err)
}

// All returns a loop over the events and errors of [Listener.Next]. It ends after the error
// of the context, whatever its code, or one with a code other than invalid_argument and
// resource_exhausted.
func (l *Listener[T]) All(ctx context.Context) iter.Seq2[*Event[T], error] {
	return func(yield func(*Event[T], error) bool) {
		for {
			e, err := l.Next(ctx)
			if !yield(e, err) {
				return
			}
			if err == nil {
				continue
			}
			code := connect.CodeOf(err)
			if errors.Is(err, context.Cause(ctx)) || code != connect.CodeInvalidArgument && code != connect.CodeResourceExhausted {
				return
			}
		}
	}
}

// Dropped returns how many events were dropped because more than [MaxPending] waited. It
// returns 0 once the listener is closed.
func (l *Listener[T]) Dropped() int { return dropped(l.sub) }

// Close ends the subscription. It always returns nil.
func (l *Listener[T]) Close() error {
	_ = l.sub.Unsubscribe() // fails if the subscription has ended
	return nil
}
