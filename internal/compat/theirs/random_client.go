// SPDX-License-Identifier: Apache-2.0

// Code generated from package ours by copyside. DO NOT EDIT.

// This file holds the clients of random programs: one set of functions for all kinds.

package theirs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"connectrpc.com/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
)

// A caller is the client's end of one call. Functions are nil that its kind does not have.
type caller struct {
	requestHeader   func() http.Header
	send            func(*Message) error
	closeRequest    func() error
	closeAndReceive func(*script.Transcript)
	receive         func() (*Message, error)
	header, trailer func() http.Header
	closeResponse   func() error
	describe        func() string
}

// errFalse is what a caller receives at the end of a server's stream.
var errFalse = fmt.Errorf("false: %w", io.EOF)

// opened begins a stream of the client, without its request in the APIs that have one for it.
func (p *program) opened(ctx context.Context, t *script.Transcript) *caller {
	switch p.kind {
	case script.ClientStream:
		stream := p.typed.CallClientStream(ctx)
		c := &caller{
			requestHeader: stream.RequestHeader, send: stream.Send,
			describe: func() string { return described(stream.Spec(), stream.Peer()) },
			closeAndReceive: func(t *script.Transcript) {
				res, err := stream.CloseAndReceive()
				response(t, res, err)
			},
		}
		return p.connOf(t, c, stream)
	case script.ClientStreamSimple:
		stream, err := p.typed.CallClientStreamSimple(ctx)
		failure(t, "open", err)
		if err != nil {
			t.Add("stream %v", stream != nil)
			return nil
		}
		return &caller{
			send: stream.Send, describe: func() string { return described(stream.Spec(), stream.Peer()) },
			closeAndReceive: func(t *script.Transcript) {
				msg, err := stream.CloseAndReceive()
				p.see(t, msg, err)
			},
		}
	case script.BidiStreamSimple:
		stream, err := p.typed.CallBidiStreamSimple(ctx)
		failure(t, "open", err)
		if err != nil {
			t.Add("stream %v", stream != nil)
			return nil
		}
		return &caller{
			send: stream.Send, closeRequest: stream.CloseRequest, receive: stream.Receive, header: stream.ResponseHeader,
			trailer: stream.ResponseTrailer, closeResponse: stream.CloseResponse,
			describe: func() string { return described(stream.Spec(), stream.Peer()) },
		}
	}
	stream := p.typed.CallBidiStream(ctx)
	return p.connOf(t, &caller{
		requestHeader: stream.RequestHeader, send: stream.Send, closeRequest: stream.CloseRequest, receive: stream.Receive,
		header: stream.ResponseHeader, trailer: stream.ResponseTrailer, closeResponse: stream.CloseResponse,
		describe: func() string { return described(stream.Spec(), stream.Peer()) },
	}, stream)
}

// connOf returns the functions of a stream's conn, if the program uses conns. A stream
// that could not be made has none: its methods are called once, and nothing follows.
func (p *program) connOf(t *script.Transcript, c *caller, stream interface {
	Conn() (connect.StreamingClientConn, error)
}) *caller {
	conn, err := stream.Conn()
	switch {
	case err != nil:
		failure(t, "conn", err)
		t.Add("%s", c.describe())
		seen(t, "request header", c.requestHeader())
		result(t, c.send(nil))
		if c.closeAndReceive != nil {
			c.closeAndReceive(t)
			return nil
		}
		msg, err := c.receive()
		p.see(t, msg, err)
		result(t, c.closeRequest())
		result(t, c.closeResponse())
		seen(t, "header", c.header())
		seen(t, "trailer", c.trailer())
		return nil
	case p.conns:
		return connCaller(conn)
	}
	return c
}

// connCaller returns the functions of a conn.
func connCaller(conn connect.StreamingClientConn) *caller {
	return &caller{
		requestHeader: conn.RequestHeader, closeRequest: conn.CloseRequest, closeResponse: conn.CloseResponse,
		header: conn.ResponseHeader, trailer: conn.ResponseTrailer,
		describe: func() string { return described(conn.Spec(), conn.Peer()) },
		send: func(msg *Message) error {
			if msg == nil {
				return conn.Send(nil)
			}
			return conn.Send(msg)
		},
		receive: func() (*Message, error) {
			msg := new(Message)
			return msg, conn.Receive(msg)
		},
	}
}

// called makes the call of a server's stream.
func (p *program) called(ctx context.Context, req *connect.Request[Message], t *script.Transcript) (*caller, error) {
	stream, err := p.typed.CallServerStream(ctx, req)
	failure(t, "open", err)
	if err != nil {
		t.Add("stream %v", stream != nil)
		return nil, err
	}
	conn, err := stream.Conn()
	failure(t, "conn", err)
	if p.conns {
		c := connCaller(conn)
		c.requestHeader = nil
		return c, nil
	}
	return &caller{
		header: stream.ResponseHeader, trailer: stream.ResponseTrailer, closeResponse: stream.Close,
		describe: func() string { return described(conn.Spec(), conn.Peer()) },
		receive: func() (*Message, error) {
			if stream.Receive() {
				return stream.Msg(), nil
			}
			if err := stream.Err(); err != nil {
				return nil, err
			}
			return nil, errFalse
		},
	}, nil
}

// requestAfter records what a request knows after its call.
func (p *call) requestAfter(t *script.Transcript, req *connect.Request[Message], err error) {
	method := "any"
	// connect-go makes a GET, and the request of a call that has failed before it, in a
	// goroutine for which it does not wait then.
	if !p.early || !p.config.Get && errors.Is(err, p.ctx.Err()) {
		method = req.HTTPMethod()
	}
	t.Add("request %s %s", method, described(req.Spec(), req.Peer()))
}

// see records a result without headers.
func (p *program) see(t *script.Transcript, msg *Message, err error) {
	if err == nil {
		t.Add("message %s", shown(msg))
	}
	failure(t, "error", err)
}

// shown returns a message as text.
func shown(msg *Message) string {
	if msg == nil {
		return "nil"
	}
	return fmt.Sprintf("%.20q of %d", msg.GetFileName(), len(msg.GetFileName()))
}

// result records what a method has returned.
func result(t *script.Transcript, err error) {
	switch {
	case err == nil:
		t.Add("ok")
	case errors.Is(err, errFalse):
		t.Add("false")
	default:
		failure(t, "error", err)
	}
}

// seen records headers or trailers, without those that name the connection.
func seen(t *script.Transcript, what string, header http.Header) {
	if header == nil {
		t.Add("%s nil", what)
		return
	}
	t.Header(what, userOnly(header))
}

// request makes the request of a call of one message.
func (p *call) request() (*connect.Request[Message], string) {
	word := p.word()
	req := connect.NewRequest(text(word))
	what := fmt.Sprintf("%.20q", word)
	if p.lastRequest != nil && p.chance(2) {
		req, what = p.lastRequest, "again"
	}
	p.lastRequest = req
	var names []string
	for range p.r.IntN(4) {
		name, set := field(p.r, p.askNames())
		if p.info != nil && p.chance(2) {
			set(p.info.RequestHeader())
		} else {
			set(req.Header())
		}
		names = append(names, name)
	}
	if len(names) > 0 {
		what += " with " + strings.Join(names, ", ")
	}
	return req, what
}

// askNames returns names of headers for requests; those that handlers may refuse are rare.
func (p *call) askNames() []string {
	if !(p.http1 && p.up()) && p.chance(6) { // see drawSettings
		p.refusable = true
		return oddAskNames
	}
	return askNames
}
