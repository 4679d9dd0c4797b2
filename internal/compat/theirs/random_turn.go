// SPDX-License-Identifier: Apache-2.0

// Code generated from package ours by copyside. DO NOT EDIT.

// This file holds what the handler can do in a call of a random program.

package theirs

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
)

// timeout returns a channel that has a value when a wait has lasted too long.
func timeout() <-chan time.Time { return time.After(patience) }

// handlerDoes makes an operation of the handler, and ends the client's if that has waited
// for it.
func (p *call) handlerDoes(what string, operation func(*script.Transcript)) {
	p.do(p.handler.actor, "handler: "+what, operation)
	p.settle()
}

// ofHandler returns what the handler can do.
func (p *call) ofHandler() (all []possibility) {
	v := p.handler
	if v == nil || p.receiving {
		return nil
	}
	can := func(weight int, possible bool, do func()) {
		if possible {
			all = append(all, possibility{weight, do})
		}
	}
	if p.odd && p.begun {
		// The client may refuse the response, and this library's then resets the stream: a
		// bound. Connect-go's does when the program closes the response.
		return append(all, possibility{1, p.returns})
	}
	if v.receive != nil {
		// After the client has left, what it has sent may have come or not.
		can(5, p.handlerMayReceive() && !(p.gone && p.lost), p.handlerReceives)
		can(1, !p.handlerMayReceive() && p.until == nil, p.handlerReceives)
	}
	if v.send != nil {
		// After the client has left, a message that cannot be written is an error of a later
		// Send. Here it is one that comes after the outbox has written it, when it does: a
		// matter of speed. Only the first message is written at once, and those after an error.
		sends := !p.gone || !p.http1 && (!p.begun || p.broken)
		can(5, sends, func() {
			word := p.word()
			if p.until != nil {
				// The client may go on, and close the response, while a large one is sent.
				word = word[:min(len(word), 20)]
			}
			p.handlerSends(fmt.Sprintf("send %.20q", word), text(word))
		})
		can(1, sends, func() { p.handlerSends("send nil", nil) })
	}
	can(2, true, func() {
		names := answerNames
		if p.chance(8) {
			names, p.odd = oddAnswerNames, true
		}
		p.handlerSets("header", names, v.header)
	})
	can(2, true, func() { p.handlerSets("trailer", afterNames, v.trailer) })
	can(1, true, func() {
		p.handlerDoes("describe", func(t *script.Transcript) {
			t.Add("%s", v.describe())
			_, deadline := v.ctx.Deadline()
			t.Add("deadline %v, over %v", deadline, v.ctx.Err())
			seen(t, "request header", v.requestHeader())
		})
	})
	can(1, true, func() {
		p.handlerDoes("look", func(t *script.Transcript) {
			seen(t, "header", v.header())
			seen(t, "trailer", v.trailer())
		})
	})
	can(2, p.upClosed || !p.http1, p.returns) // see closesFirst
	return all
}

// handlerSets sets a header or a trailer, of the handler's own or by its information.
func (p *call) handlerSets(what string, names []string, header func() http.Header) {
	name, set := field(p.r, names)
	info, ok := connect.CallInfoForHandlerContext(p.handler.ctx)
	byInfo := p.chance(3)
	p.handlerDoes(fmt.Sprintf("set %s %s, by info %v", what, name, byInfo), func(t *script.Transcript) {
		switch {
		case !byInfo:
			set(header())
		case !ok:
			t.Add("no info")
		case what == "header":
			set(info.ResponseHeader())
		default:
			set(info.ResponseTrailer())
		}
	})
}

// handlerMayReceive reports whether a Receive of the handler ends now.
func (p *call) handlerMayReceive() bool { return p.asked > 0 || p.upClosed || p.gone }

// handlerReceives receives a message, for which the handler may have to wait.
func (p *call) handlerReceives() {
	p.t.Add("handler: receive")
	p.receiving = true
	p.handler.begin(func(t *script.Transcript) {
		var msg *Message
		msg, p.received = p.handler.receive()
		if p.received == nil {
			t.Add("message %s", shown(msg))
		}
		result(t, p.received)
	})
	p.settleHandler()
}

// settleHandler ends a Receive of the handler that has got what it has waited for.
func (p *call) settleHandler() {
	if !p.receiving || !p.handlerMayReceive() {
		return
	}
	p.receiving = false
	p.t.Add("handler: receive ends")
	p.record(p.handler.actor, wait(p.handler.done, "the handler's receive"))
	p.asked = max(0, p.asked-1)
	p.upEnded = p.upEnded || errors.Is(p.received, io.EOF)
	p.settle()
}

// handlerSends sends a message, or nil.
func (p *call) handlerSends(what string, msg *Message) {
	p.t.Add("handler: %s", what)
	var failed error
	p.handler.begin(func(t *script.Transcript) {
		failed = p.handler.send(msg)
		result(t, failed)
	})
	p.record(p.handler.actor, wait(p.handler.done, what))
	p.begun = true
	p.broken = p.gone && connect.CodeOf(failed) == connect.CodeCanceled
	if failed == nil && msg != nil {
		p.answered++
		p.messages = true
	}
	p.settle()
}

// returns lets the handler return.
func (p *call) returns() {
	what, set := p.outcome(p.handler)
	p.do(p.handler.actor, "handler: return "+what, func(*script.Transcript) { set() })
	wait(p.served, "the handler's end")
	p.noted(&p.ofHandlers)
	p.handler = nil
	p.returned, p.begun = true, true
	p.settle()
}
