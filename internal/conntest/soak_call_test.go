// SPDX-License-Identifier: Apache-2.0

// This file plans, makes and judges a call of the soak.

package conntest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// A soakAction is how a handler serves a call.
type soakAction int

const (
	actAnswer    soakAction = iota // as its kind does
	actFail                        // that, then errSoak
	actEarly                       // answer after the first request
	actEarlyFail                   // errSoak after the first request
	actWait                        // for its context, after the first request
	actPour                        // answer without end, after the first request
)

// A disturbance is how a call is disturbed.
type disturbance string

const (
	undisturbed disturbance = "undisturbed"
	cancelled   disturbance = "cancelled"
	timedOut    disturbance = "timed out"
	abandoned   disturbance = "closed unread"
	left        disturbance = "cancelled and left" // neither read on nor closed
	early       disturbance = "answered early"
)

var errSoak = connect.NewError(connect.CodeAborted, errors.New("as planned"))

// A soakPlan is all that is random about a call.
type soakPlan struct {
	client     *soakClient
	kind       kind
	id         uint64
	action     soakAction
	requests   int // messages, and the bytes of each
	size       int
	answers    int
	answerSize int
	disturb    disturbance
	after      time.Duration // until the call is cancelled or times out
	reads      int           // messages until it is cancelled, closed or left, if the kind receives many
	turns      bool          // a bidi stream's client waits for each answer
	keep       bool          // the context stays after a call that was closed
}

func (p soakPlan) String() string {
	return fmt.Sprintf("%s %s, %s, action %d, %d × %d bytes, answers %d × %d, after %v or %d messages, turns %v",
		p.client.mode, p.kind, p.disturb, p.action, p.requests, p.size, p.answers, p.answerSize, p.after, p.reads, p.turns)
}

// header is the part of the plan that the handler follows.
func (p soakPlan) header() string {
	return fmt.Sprintf("%d %d %d %d %d %d", p.id, p.action, p.requests, p.size, p.answers, p.answerSize)
}

func (p *soakPlan) parse(header string) error {
	_, err := fmt.Sscan(header, &p.id, &p.action, &p.requests, &p.size, &p.answers, &p.answerSize)
	return err
}

// plan chooses a call. A third of them is disturbed.
func (s *soak) plan(r *rand.Rand) soakPlan {
	p := soakPlan{
		client: &s.clients[r.IntN(len(s.clients))], kind: allKinds[r.IntN(len(allKinds))], id: r.Uint64() >> 16,
		requests: 1, size: soakSize(r), answers: 1, answerSize: soakSize(r), disturb: undisturbed,
		after: time.Duration(r.Int64N(int64(10 * time.Millisecond))), turns: r.IntN(2) == 0, keep: r.IntN(2) == 0,
	}
	if p.kind.sendsMany() {
		p.requests = soakCount(r, p.size)
	}
	switch p.kind {
	case serverStream:
		p.answers = soakCount(r, p.answerSize)
	case bidi:
		p.answers = p.requests
		p.answerSize = min(p.answerSize, 1<<20/p.requests)
	}
	p.reads = 1 + r.IntN(p.answers)
	if r.IntN(3) > 0 {
		if r.IntN(5) == 0 {
			p.action = actFail
		}
		return p
	}
	how := []disturbance{cancelled, timedOut, abandoned, left, early}
	p.disturb = how[r.IntN(len(how))]
	if p.disturb == early && !p.kind.sendsMany() || (p.disturb == abandoned || p.disturb == left) && !p.kind.receivesMany() {
		p.disturb = how[r.IntN(2)]
	}
	switch p.disturb {
	case early:
		p.action, p.answers = actEarly+soakAction(r.IntN(2)), 1
	case cancelled, timedOut:
		p.action = []soakAction{actAnswer, actWait, actWait}[r.IntN(3)]
		fallthrough
	case abandoned, left:
		if p.kind.receivesMany() && r.IntN(2) == 0 {
			p.action, p.reads, p.answerSize = actPour, 1+r.IntN(20), r.IntN(16<<10)
		}
	}
	return p
}

// soakSize is the size of a message: mostly small, sometimes more than a stream's
// window.
func soakSize(r *rand.Rand) int {
	return r.IntN([]int{100, 100, 100, 8 << 10, 8 << 10, 8 << 10, 100 << 10, 600 << 10}[min(r.IntN(8), r.IntN(8))])
}

// soakCount is the number of messages of a stream: 64 KiB together or little more,
// sometimes as much as fills the windows.
func soakCount(r *rand.Rand, size int) int {
	total := 64 << 10
	if r.IntN(16) == 0 {
		total = 1 << 20
	}
	return 1 + r.IntN(max(1, min(r.IntN(300), total/(size+1))))
}

// --- the client's side ---

// call makes the call and judges it. A call that does not end ends the soak.
func (s *soak) call(p soakPlan) {
	ctx, cancel := context.WithCancel(s.base)
	if p.disturb == timedOut {
		ctx, cancel = context.WithTimeout(s.base, p.after)
	}
	hang := time.AfterFunc(2*guard, func() {
		buf := make([]byte, 1<<20)
		buf = buf[:runtime.Stack(buf, true)]
		s.fault("the call did not end within %v: %v", 2*guard, p)
		s.t.Logf("all goroutines when a call did not end:\n%s", buf)
		s.stop(errHang)
	})
	defer hang.Stop()
	if p.disturb == cancelled && (p.reads%2 == 0 || p.action == actWait || !p.kind.receivesMany()) {
		defer time.AfterFunc(p.after, cancel).Stop()
		p.reads = -1
	}
	got := soakOutcome{plan: p, cancel: cancel}
	got.make(ctx)
	if !p.keep || p.disturb != abandoned {
		cancel()
	} else {
		context.AfterFunc(s.base, cancel)
	}
	ended := "ok"
	if got.closed {
		ended = "closed"
	} else if got.err != nil {
		ended = connect.CodeOf(got.err).String()
	}
	s.mu.Lock()
	s.counts[string(p.disturb)+": "+ended]++
	s.mu.Unlock()
	if wrong := got.judge(); wrong != "" {
		s.fault("%s: %v", wrong, p)
	}
}

// A soakOutcome is what became of a call.
type soakOutcome struct {
	plan   soakPlan
	cancel context.CancelFunc

	messages int
	err      error
	wrong    string // a fault that counts however the call ended
	closed   bool   // or left by the client, before the end
	sendErr  error
}

// judge returns the call's fault, "" if the call ended as planned.
func (o *soakOutcome) judge() string {
	p := o.plan
	if o.wrong != "" {
		return o.wrong
	}
	code := connect.Code(0)
	if o.err != nil {
		code = connect.CodeOf(o.err)
	}
	switch {
	case o.closed && o.err == nil:
		return ""
	case p.disturb == cancelled && code == connect.CodeCanceled, p.disturb == timedOut && code == connect.CodeDeadlineExceeded:
		return ""
	case p.action == actFail || p.action == actEarlyFail:
		if code != connect.CodeAborted {
			return fmt.Sprintf("got error %v, want code %v", o.err, connect.CodeAborted)
		}
		return ""
	case o.err != nil:
		return fmt.Sprintf("got error %v (%d messages before it)", o.err, o.messages)
	case p.action == actWait || p.action == actPour:
		return "got no error from a handler that has no end"
	case o.messages != p.answers:
		return fmt.Sprintf("got %d messages, want %d", o.messages, p.answers)
	case o.sendErr != nil && p.disturb == undisturbed:
		return fmt.Sprintf("got error %v from Send, and none at the end", o.sendErr)
	}
	return ""
}

// received checks a message, and cancels the call if the plan ends it after this
// message. It reports whether the client must close the call now.
func (o *soakOutcome) received(m *conntestv1.Response) (enough bool) {
	p := o.plan
	if int(m.GetCount()) != o.messages || string(m.GetData()) != string(soakData(p.id, o.messages, p.answerSize)) {
		o.wrong = fmt.Sprintf("got message %d with %d bytes, which is not message %d as it was sent", m.GetCount(), len(m.GetData()), o.messages)
	}
	o.messages++
	if o.messages == p.reads && p.disturb == cancelled {
		o.cancel()
	}
	return o.messages == p.reads && (p.disturb == abandoned || p.disturb == left)
}

func (o *soakOutcome) request(i int) *conntestv1.Request {
	return &conntestv1.Request{Data: soakData(o.plan.id, i, o.plan.size)}
}

// make makes the call.
func (o *soakOutcome) make(ctx context.Context) {
	p := o.plan
	switch p.kind {
	case unary, get:
		method := p.client.Unary
		if p.kind == get {
			method = p.client.Get
		}
		r := connect.NewRequest(o.request(0))
		r.Header().Set("Soak-Plan", p.header())
		answer, err := method(ctx, r)
		o.one(answer, err)
	case clientStream:
		stream := p.client.ClientStream(ctx)
		stream.RequestHeader().Set("Soak-Plan", p.header())
		for i := 0; i < p.requests && o.sendErr == nil; i++ {
			o.sendErr = stream.Send(o.request(i))
		}
		o.one(stream.CloseAndReceive())
	case serverStream:
		r := connect.NewRequest(o.request(0))
		r.Header().Set("Soak-Plan", p.header())
		stream, err := p.client.ServerStream(ctx, r)
		if err != nil {
			o.err = err
			return
		}
		for !o.closed && stream.Receive() {
			o.closed = o.received(stream.Msg())
		}
		if !o.closed {
			o.err = stream.Err()
		}
		if o.closed && p.disturb == left {
			return
		}
		if err := stream.Close(); err != nil && o.err == nil {
			o.err = fmt.Errorf("closing: %w", err)
		}
	case bidi:
		o.bidi(ctx)
	}
}

// one is for kinds that receive one message.
func (o *soakOutcome) one(answer *response, err error) {
	if o.err = err; err == nil {
		o.received(answer.Msg)
	}
}

// bidi sends and receives in turns, or both at once.
func (o *soakOutcome) bidi(ctx context.Context) {
	p := o.plan
	stream := p.client.Bidi(ctx)
	stream.RequestHeader().Set("Soak-Plan", p.header())
	sent := make(chan error, 1)
	turn := make(chan struct{}, p.requests)
	over := make(chan struct{})
	go func() {
		var err error
		for i := 0; i < p.requests && err == nil; i++ {
			if p.turns && i > 0 {
				select {
				case <-turn:
				case <-over:
				}
			}
			err = stream.Send(o.request(i))
		}
		if e := stream.CloseRequest(); err == nil {
			err = e
		}
		sent <- err
	}()
	for !o.closed {
		m, err := stream.Receive()
		if err != nil {
			if !isEOF(err) {
				o.err = err
			}
			break
		}
		o.closed = o.received(m)
		select {
		case turn <- struct{}{}:
		default:
		}
	}
	close(over)
	if o.closed && p.disturb == left {
		o.cancel()
		<-sent
		return
	}
	if err := stream.CloseResponse(); err != nil && o.err == nil {
		o.err = fmt.Errorf("closing: %w", err)
	}
	o.sendErr = <-sent
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }
