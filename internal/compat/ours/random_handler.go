// SPDX-License-Identifier: Apache-2.0

// This file holds the handlers of random programs, and what they can return.

package ours

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
)

// A visit is one call of the program's handler. Functions are nil that its kind does not have.
type visit struct {
	*actor
	ctx             context.Context
	receive         func() (*Message, error)
	send            func(*Message) error
	header, trailer func() http.Header
	requestHeader   func() http.Header
	describe        func() string

	// The result, which the last operation sets.
	over   bool
	answer *Message
	err    error
	panics any
}

// turn lets the program decide what the handler does, until it returns.
func (p *program) turn(v *visit) (*Message, error) {
	v.actor = newActor()
	select {
	case p.entered <- v:
	case <-p.quit:
		return nil, errors.New("too late")
	}
	for !v.over {
		if !v.next(p.quit) {
			return nil, errors.New("the program is over")
		}
	}
	if v.panics != nil {
		panic(v.panics)
	}
	return v.answer, v.err
}

// newHandler returns the handler of the program's kind.
func (p *program) newHandler(options []connect.HandlerOption) http.Handler {
	if p.config.Get {
		options = append(options, connect.WithIdempotency(connect.IdempotencyNoSideEffects))
	}
	switch p.kind {
	case script.Unary:
		return connect.NewUnaryHandler(stepProcedure, func(ctx context.Context, req *connect.Request[Message]) (*connect.Response[Message], error) {
			res := connect.NewResponse(new(Message))
			msg, err := p.turn(&visit{
				ctx: ctx, header: res.Header, trailer: res.Trailer, requestHeader: req.Header,
				describe: func() string {
					return fmt.Sprintf("%s %s %s", shown(req.Msg), req.HTTPMethod(), described(req.Spec(), req.Peer()))
				},
			})
			if err != nil || msg == nil {
				return nil, err
			}
			res.Msg = msg
			return res, nil
		}, options...)
	case script.UnarySimple:
		return connect.NewUnaryHandlerSimple(stepProcedure, func(ctx context.Context, req *Message) (*Message, error) {
			v := simpleVisit(ctx)
			msg, err := p.turn(v)
			if err == nil && msg == nil {
				msg = new(Message)
			}
			return msg, err
		}, options...)
	case script.ClientStream:
		return connect.NewClientStreamHandler(stepProcedure, func(ctx context.Context, stream *connect.ClientStream[Message]) (*connect.Response[Message], error) {
			res := connect.NewResponse(new(Message))
			v := &visit{
				ctx: ctx, header: res.Header, trailer: res.Trailer, requestHeader: stream.RequestHeader,
				describe: func() string { return described(stream.Spec(), stream.Peer()) },
				receive:  func() (*Message, error) { return clientReceive(stream) },
			}
			p.useConn(v, stream.Conn())
			msg, err := p.turn(v)
			if err != nil || msg == nil {
				return nil, err
			}
			res.Msg = msg
			return res, nil
		}, options...)
	case script.ClientStreamSimple:
		return connect.NewClientStreamHandlerSimple(stepProcedure, func(ctx context.Context, stream *connect.ClientStream[Message]) (*Message, error) {
			v := simpleVisit(ctx)
			v.receive = func() (*Message, error) { return clientReceive(stream) }
			msg, err := p.turn(v)
			if err == nil && msg == nil {
				msg = new(Message)
			}
			return msg, err
		}, options...)
	case script.ServerStream:
		return connect.NewServerStreamHandler(stepProcedure, func(ctx context.Context, req *connect.Request[Message], stream *connect.ServerStream[Message]) error {
			v := &visit{
				ctx: ctx, header: stream.ResponseHeader, trailer: stream.ResponseTrailer, requestHeader: req.Header, send: stream.Send,
				describe: func() string {
					return fmt.Sprintf("%s %s %s", shown(req.Msg), req.HTTPMethod(), described(req.Spec(), req.Peer()))
				},
			}
			p.useConn(v, stream.Conn())
			_, err := p.turn(v)
			return err
		}, options...)
	case script.ServerStreamSimple:
		return connect.NewServerStreamHandlerSimple(stepProcedure, func(ctx context.Context, _ *Message, stream *connect.ServerStream[Message]) error {
			v := simpleVisit(ctx)
			v.send = stream.Send
			_, err := p.turn(v)
			return err
		}, options...)
	}
	return connect.NewBidiStreamHandler(stepProcedure, func(ctx context.Context, stream *connect.BidiStream[Message, Message]) error {
		v := &visit{
			ctx: ctx, header: stream.ResponseHeader, trailer: stream.ResponseTrailer, requestHeader: stream.RequestHeader,
			receive: stream.Receive, send: stream.Send, describe: func() string { return described(stream.Spec(), stream.Peer()) },
		}
		p.useConn(v, stream.Conn())
		_, err := p.turn(v)
		return err
	}, options...)
}

// simpleVisit returns a visit that has the call's information only.
func simpleVisit(ctx context.Context) *visit {
	info, _ := connect.CallInfoForHandlerContext(ctx)
	return &visit{
		ctx: ctx, header: info.ResponseHeader, trailer: info.ResponseTrailer, requestHeader: info.RequestHeader,
		describe: func() string { return info.HTTPMethod() + " " + described(info.Spec(), info.Peer()) },
	}
}

// useConn makes a visit use a conn, if the program does.
func (p *program) useConn(v *visit, conn connect.StreamingHandlerConn) {
	if !p.conns {
		return
	}
	v.header, v.trailer, v.requestHeader = conn.ResponseHeader, conn.ResponseTrailer, conn.RequestHeader
	v.describe = func() string { return described(conn.Spec(), conn.Peer()) }
	if v.receive != nil {
		v.receive = func() (*Message, error) {
			msg := new(Message)
			return msg, conn.Receive(msg)
		}
	}
	if v.send != nil {
		v.send = func(msg *Message) error {
			if msg == nil {
				return conn.Send(nil)
			}
			return conn.Send(msg)
		}
	}
}

// clientReceive receives as handlers of client streams do. The end is an io.EOF, which
// Err does not return.
func clientReceive(stream *connect.ClientStream[Message]) (*Message, error) {
	if stream.Receive() {
		return stream.Msg(), nil
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	return nil, io.EOF
}

// described describes a call without a client's address, which has a new port each time.
func described(spec connect.Spec, peer connect.Peer) string {
	if !spec.IsClient {
		peer.Addr = fmt.Sprint(peer.Addr != "")
	}
	return describe(spec, peer)
}

// outcome draws what a handler returns: an error, or none.
func (p *call) outcome(v *visit) (what string, set func()) {
	word := p.word()
	if p.odd || p.notes && p.config.ReadMaxBytes > 0 {
		// The client may refuse the response, and close it, while a large one is sent: an
		// interceptor's conn sees that or not.
		word = word[:min(len(word), 20)]
	}
	answer := text(word)
	fails := func(what string, err error) (string, func()) { return what, func() { v.over, v.err = true, err } }
	coded := func(code connect.Code) *connect.Error {
		return connect.NewError(code, errors.New(script.User+"coded"))
	}
	choice := p.r.IntN(24)
	switch choice {
	case 0:
		return fails("a plain error", errors.New(oddText))
	case 1, 2:
		err := coded(pick(p.r, connect.CodeAborted, connect.CodeNotFound, connect.CodeCanceled, connect.CodeDeadlineExceeded, 0)) // clients bound codes above 16
		what := fmt.Sprintf("an error with code %d", err.Code())
		for range p.r.IntN(4) {
			name, set := field(p.r, afterNames)
			set(err.Meta())
			what += ", " + name
		}
		if p.chance(2) {
			return fails(what+" and details", withDetails(err))
		}
		return fails(what, err)
	case 3:
		return fails("a wrapped error", fmt.Errorf("%swrapped: %w", script.User, withDetails(coded(connect.CodeDataLoss))))
	case 4:
		err := pick(p.r, ends()...)
		return fails(fmt.Sprintf("an error that ends, coded %v, wire %v", errors.As(err, new(*connect.Error)), connect.IsWireError(err)), err)
	case 5:
		return fails("the end of a context", fmt.Errorf("%s%w", script.User, pick(p.r, context.Canceled, context.DeadlineExceeded)))
	case 6:
		err := connect.NewWireError(connect.CodeResourceExhausted, errors.New(script.User+"wire"))
		err.Meta().Set("After", "hidden")
		return fails("a wire error", err)
	case 7:
		return fails("not modified", connect.NewNotModifiedError(http.Header{"Etag": {"new"}}))
	case 8:
		return fails("an error without a text", connect.NewError(connect.CodeUnavailable, nil))
	case 9:
		if p.gone {
			return fails("its context's error", v.ctx.Err())
		}
	case 10:
		if p.server.Recover {
			return "a panic", func() { v.over, v.panics = true, "as asked" }
		}
	case 12, 13:
		if p.received != nil {
			return fails("what it has received", p.received)
		}
	case 11:
		// An idempotent request may come again after it, and a body that was not read may
		// hide the answer over HTTP/1.1.
		if !p.config.Get && !(p.http1 && p.up()) {
			return "the panic that aborts", func() { v.over, v.panics = true, http.ErrAbortHandler }
		}
	}
	if p.down() {
		return "no error", func() { v.over = true }
	}
	return fmt.Sprintf("%.20q", answer.GetFileName()), func() { v.over, v.answer = true, answer }
}
