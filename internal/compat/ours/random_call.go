// SPDX-License-Identifier: Apache-2.0

// This file holds the state of one call of a random program, and what its client can do in it.

package ours

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
)

// A call has what is known of one call. It decides which operations have an outcome that
// does not depend on time: a message is received once it was sent, headers are read once
// they have left, nothing is sent to a side that may have returned.
//
// Not drawn, because ADR 10 leaves them as they are here ("Left as here"):
//
//   - a request that the transport refuses at once, for which the first Send succeeds here
//   - the end of a context while the request is open and the response has begun: the
//     stream is reset at once here, and with connect-go when the program closes the request
//   - CloseResponse before anything is sent, which waits for the context in connect-go
//   - transports that return an *Error
type call struct {
	*program
	ctx    context.Context
	cancel context.CancelFunc
	*caller
	handler *visit // while it can do something

	started   bool // the request has been sent
	refusable bool // the handler may refuse it
	upClosed  bool // the client has ended its direction
	upEnded   bool // the handler has seen that
	asked     int  // messages that were sent and not received
	answered  int
	begun     bool // the response has begun, or the call is over for the handler
	known     bool // the client has its headers
	odd       bool // the handler has set headers after which a client may refuse a response
	returned  bool // the handler has returned
	ended     bool // the client has received an error, or the end
	closed    bool // the client has closed the response
	looks     int  // how often the client has looked at its information
	ends      int  // how often it has asked for that at its end
	early     bool // the context has ended before the call
	canceled  bool
	gone      bool // the handler's context has ended
	lost      bool // and what was on its way to the handler may be lost
	messages  bool // the handler has sent one
	broken    bool // it could not send its last one, because the client has left
	over      bool // nothing is left to be done

	left         string      // the client's operation that is under way
	until        func() bool // what it waits for, nil if none is under way
	after        func()      // called after its end
	calledBefore int64       // how many requests there were before this call

	receiving bool  // the handler is in a Receive
	received  error // the result of its last one
}

// A possibility is an operation that is possible.
type possibility struct {
	weight int
	do     func()
}

// run makes the call.
func (p *call) run() {
	p.open()
	for !p.over && p.most > 0 {
		p.most--
		all := append(p.ofClient(), p.ofHandler()...)
		sum := 0
		for _, one := range all {
			sum += one.weight
		}
		if sum == 0 {
			break
		}
		n := p.r.IntN(sum)
		for _, one := range all {
			if n -= one.weight; n < 0 {
				one.do()
				break
			}
		}
	}
	p.finish()
}

// client makes an operation of the client.
func (p *call) client(what string, operation func(*script.Transcript)) {
	p.do(p.hand, "client: "+what, operation)
	p.settleHandler()
}

// clientUntil begins an operation of the client that may wait for the handler.
func (p *call) clientUntil(what string, until func() bool, operation func(*script.Transcript)) {
	p.t.Add("client: %s", what)
	p.left, p.until, p.after = what, until, nil
	p.hand.begin(operation)
	p.settleHandler()
}

// settle ends an operation of the client that has got what it has waited for.
func (p *call) settle() {
	if p.until == nil || !p.until() {
		return
	}
	p.until = nil
	p.t.Add("client: %s ends", p.left)
	p.record(p.hand, wait(p.hand.done, p.left))
	if p.after != nil {
		p.after()
	}
}

// arrive waits for the handler, or for its refusal. It returns false if the client's
// operation has ended without a request.
func (p *call) arrive() bool {
	var ended <-chan script.Transcript
	if p.until != nil {
		ended = p.hand.done
	}
	select {
	case v := <-p.entered:
		p.handler = v
		p.noted(&p.ofHandlers)
		return true
	case <-p.served:
		p.served <- true
		p.refused()
		return true
	case t := <-ended:
		p.hand.done <- t
		if p.arrived.Load() != p.calledBefore {
			p.refused()
			return true
		}
		p.until = func() bool { return true }
		p.settle()
		return false
	case <-timeout():
		panic(stuck("the handler's begin"))
	}
}

// refused waits for the end of a handler that has refused the call.
func (p *call) refused() {
	wait(p.served, "the handler's end")
	p.t.Add("handler: refuses")
	p.noted(&p.ofHandlers)
	p.returned, p.begun = true, true
	p.settle()
}

// open makes the client's stream, or its call.
func (p *call) open() {
	p.calledBefore = p.arrived.Load()
	p.refusable = p.config.SendCompression == "reverse" && !p.server.Reverse || p.config.SendGzip && p.server.NoGzip
	if !p.up() {
		req, what := p.request()
		if !p.canceled && p.chance(20) {
			p.early = true
			p.end()
		}
		p.started, p.upClosed, p.upEnded = true, true, true
		if p.unary() {
			p.clientUntil("call "+what, func() bool { return p.returned || p.canceled }, func(t *script.Transcript) {
				res, err := p.typed.CallUnary(p.ctx, req)
				response(t, res, err)
				p.requestAfter(t, req, err)
			})
		} else {
			p.clientUntil("call "+what, func() bool { return p.begun || p.canceled }, func(t *script.Transcript) {
				c, err := p.called(p.ctx, req, t)
				p.caller = c
				p.requestAfter(t, req, err)
			})
		}
		if p.canceled {
			p.settle()
			p.over = p.caller == nil
			return
		}
		if !p.arrive() {
			p.over = p.caller == nil
		}
		return
	}
	if p.info != nil {
		for range p.r.IntN(3) {
			name, set := field(p.r, p.askNames())
			p.t.Add("client: info %s", name)
			set(p.info.RequestHeader())
		}
	}
	p.client("open", func(t *script.Transcript) { p.caller = p.opened(p.ctx, t) })
	if p.caller == nil {
		p.over = true
		return
	}
	if p.kind == script.ClientStreamSimple || p.kind == script.BidiStreamSimple {
		p.start()
	}
}

// start is called after the operation that sends the request.
func (p *call) start() {
	if p.started {
		return
	}
	p.started = true
	if !p.canceled {
		p.arrive()
	}
}

// end ends the context.
func (p *call) end() {
	p.t.Add("client: cancel")
	p.canceled = true
	p.cancel()
	p.settle()
	p.leave()
	if p.unary() {
		p.over = p.handler == nil
	}
}

// leave waits until the handler has seen that the client has left.
func (p *call) leave() {
	if p.gone || p.handler == nil {
		return
	}
	p.lost = p.asked > 0 || p.upClosed && !p.upEnded
	p.gone = true
	select {
	case <-p.handler.ctx.Done():
		p.t.Add("handler: its context ends: %v", p.handler.ctx.Err())
		p.settleHandler()
	case <-timeout():
		panic(stuck("the end of the handler's context"))
	}
}

// ofClient returns what the client can do.
func (p *call) ofClient() (all []possibility) {
	can := func(weight int, possible bool, do func()) {
		if possible {
			all = append(all, possibility{weight, do})
		}
	}
	if p.odd && p.begun && p.handler != nil { // see ofHandler
		return nil
	}
	can(1, p.mayCancel(), p.end)
	if p.until != nil {
		return all
	}
	c := p.caller
	// The client may wait for the response, as long as the handler is there to begin it.
	waits := p.started && p.handler != nil && !p.receiving && !p.canceled && !(p.http1 && !p.upClosed)
	answers := p.mayRead()
	if p.info != nil {
		can(2, (!p.up() && p.returned || answers) && p.looks < 4, func() {
			p.looks++
			p.client("info", func(t *script.Transcript) {
				t.Add("%s %s", p.info.HTTPMethod(), described(p.info.Spec(), p.info.Peer()))
				seen(t, "header", p.info.ResponseHeader())
				seen(t, "trailer", p.info.ResponseTrailer())
			})
			p.know()
		})
	}
	if c == nil {
		return all
	}
	can(1, true, func() { p.client("describe", func(t *script.Transcript) { t.Add("%s", c.describe()) }) })
	if c.requestHeader != nil {
		can(4, !p.started, func() {
			name, set := field(p.r, p.askNames())
			p.client("set "+name, func(*script.Transcript) { set(c.requestHeader()) })
		})
	}
	if c.send != nil {
		// A client that has not seen the end of a call that is over may send or not. So may
		// one that has seen the end of a gRPC-Web response without a body: connect-go does not
		// close the request then, and the transport does when it notices.
		sends := (!p.returned || p.ended && (p.messages || p.protocolName() != connect.ProtocolGRPCWeb)) && !p.odd
		can(5, sends && (p.started || !p.refusable), func() {
			word := p.word()
			p.sends(fmt.Sprintf("send %.20q", word), text(word))
		})
		can(1, sends, func() { p.sends("send nil", nil) })
	}
	if c.closeRequest != nil {
		can(1, true, func() {
			p.upClosed = true
			p.client("close request", func(t *script.Transcript) { result(t, c.closeRequest()) })
			p.start()
		})
	}
	if c.closeAndReceive != nil {
		can(1, p.ends < 3, p.closesAndReceives)
	}
	if c.receive != nil {
		can(5, p.down() && p.answered > 0 || p.mayReceive() && p.ends < 3, p.receives)
		can(1, waits && p.down(), p.receives)
	}
	if c.header != nil {
		can(1, answers, func() {
			p.client("header", func(t *script.Transcript) { seen(t, "header", c.header()) })
			p.know()
		})
		can(1, answers, func() {
			p.client("trailer", func(t *script.Transcript) { seen(t, "trailer", c.trailer()) })
			p.know()
		})
	}
	if c.header != nil && !answers {
		can(1, waits, func() {
			p.clientUntil("header", p.mayRead, func(t *script.Transcript) { seen(t, "header", c.header()) })
			p.after = p.know
		})
		can(1, waits, func() {
			p.clientUntil("close response", p.mayRead, func(t *script.Transcript) { result(t, c.closeResponse()) })
			p.after = p.closes
		})
	}
	if c.closeResponse != nil {
		can(1, answers, func() {
			p.client("close response", func(t *script.Transcript) { result(t, c.closeResponse()) })
			p.closes()
		})
	}
	return all
}

// closesAndReceives makes the end of a client's stream.
func (p *call) closesAndReceives() {
	p.upClosed = true
	p.ends++
	p.clientUntil("close and receive", func() bool { return p.returned || p.canceled || p.ended }, p.caller.closeAndReceive)
	if !p.started {
		p.started = true
		if !p.canceled && !p.arrive() {
			p.over = true
			return
		}
	}
	p.settle()
	p.ended = p.until == nil || p.ended
}

// mayCancel reports whether the end of the context has one outcome now.
func (p *call) mayCancel() bool {
	switch {
	case p.canceled || p.over:
		return false
	case !p.started:
		return true
	case p.begun && !p.known: // its headers may have come or not
		return false
	case p.begun && !p.upClosed: // see above: left as here
		return false
	case p.http1 && p.up(): // net/http's server does not look for it
		return false
	}
	return true
}

// know notes that the client has the response's headers.
func (p *call) know() { p.known = p.known || p.begun && !p.canceled }

// closes notes that the client has closed the response.
func (p *call) closes() {
	p.know()
	if !p.closed {
		p.closed, p.upClosed = true, true
		p.leave()
	}
}

// sends sends a message, or nil.
func (p *call) sends(what string, msg *Message) {
	var failed error
	p.client(what, func(t *script.Transcript) {
		failed = p.caller.send(msg)
		result(t, failed)
	})
	if failed == nil && msg != nil {
		p.asked++
		p.settleHandler()
	}
	if failed == nil || p.canceled {
		p.start()
	}
}

// receives receives a message, for which it may have to wait.
func (p *call) receives() {
	var failed error
	p.clientUntil("receive", p.mayReceive, func(t *script.Transcript) {
		var msg *Message
		msg, failed = p.caller.receive()
		if failed == nil {
			t.Add("message %s", shown(msg))
		}
		result(t, failed)
	})
	p.after = func() { p.afterReceive(failed) }
	p.settle()
}

// mayRead reports whether the headers of the response can be read now.
func (p *call) mayRead() bool { return p.begun || p.canceled && p.started || p.closed }

// mayReceive reports whether a Receive ends now.
func (p *call) mayReceive() bool {
	return p.down() && p.answered > 0 || p.returned || p.closed || p.canceled
}

// afterReceive notes the result of a Receive.
func (p *call) afterReceive(failed error) {
	p.know()
	p.answered = max(0, p.answered-1)
	if failed == nil {
		return
	}
	p.ended, p.upClosed = true, true
	p.ends++
	switch { // before the handler's Receive ends, which may be under way
	case p.handler == nil || p.gone || p.returned:
	case p.odd && !p.closed:
		p.over = true // the client may have refused the response, or not
	case p.config.Protocol != "" && !errors.Is(failed, io.EOF):
		p.closes() // gRPC closes a response that broke
	}
	p.settleHandler()
}

// closesFirst closes the request for which the handler waits, in a Receive, or over
// HTTP/1.1 at its end.
func (p *call) closesFirst() {
	if p.upClosed || !p.http1 && !p.receiving {
		return
	}
	if p.caller.closeAndReceive != nil {
		p.closesAndReceives()
		return
	}
	p.upClosed = true
	p.client("close request", func(t *script.Transcript) { result(t, p.caller.closeRequest()) })
}

// finish brings a call to its end.
func (p *call) finish() {
	if p.handler != nil {
		p.closesFirst()
		p.returns()
	}
	if p.until != nil {
		panic(stuck(p.left))
	}
	c := p.caller
	if c == nil || !p.started || p.over {
		return
	}
	if c.closeAndReceive != nil {
		p.client("close and receive", c.closeAndReceive)
		return
	}
	if c.closeRequest != nil {
		p.client("close request", func(t *script.Transcript) { result(t, c.closeRequest()) })
	}
	for range p.answered + 2 {
		p.receives()
	}
	p.client("end", func(t *script.Transcript) {
		seen(t, "header", c.header())
		seen(t, "trailer", c.trailer())
		result(t, c.closeResponse())
	})
}
