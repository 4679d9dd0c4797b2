// SPDX-License-Identifier: Apache-2.0

// This file holds interceptors of random programs that note what passes them.

package ours

import (
	"context"
	"sync"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
)

// notes are what the interceptors of one side have seen. The program reads them when an
// operation of that side has ended.
type notes struct {
	mu sync.Mutex
	t  script.Transcript
}

// add adds the lines that write writes.
func (n *notes) add(write func(t *script.Transcript)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	write(&n.t)
}

// noted records the notes since the last time.
func (p *program) noted(n *notes) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, line := range n.t.Lines {
		p.t.Add("  noted: %s", line)
	}
	n.t = script.Transcript{}
}

// noting is an interceptor that notes calls, and those of its conns.
type noting struct{ notes *notes }

func (i noting) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		i.notes.add(func(t *script.Transcript) {
			t.Add("unary %s %T %s", req.HTTPMethod(), req.Any(), described(req.Spec(), req.Peer()))
			t.Header("unary header", userOnly(req.Header()))
		})
		res, err := next(ctx, req)
		i.notes.add(func(t *script.Transcript) {
			failure(t, "unary error", err)
			if err == nil {
				t.Add("unary response %T", res.Any())
				t.Header("unary response header", userOnly(res.Header()))
				t.Header("unary response trailer", userOnly(res.Trailer()))
			}
		})
		return res, err
	}
}

func (i noting) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		i.notes.add(func(t *script.Transcript) { t.Add("stream %s", described(conn.Spec(), conn.Peer())) })
		return notingClientConn{conn, i.notes}
	}
}

func (i noting) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		_, info := connect.CallInfoForHandlerContext(ctx)
		i.notes.add(func(t *script.Transcript) { t.Add("stream %s info %v", described(conn.Spec(), conn.Peer()), info) })
		err := next(ctx, notingHandlerConn{conn, i.notes})
		i.notes.add(func(t *script.Transcript) {
			failure(t, "stream error", err)
			t.Header("stream response header", userOnly(conn.ResponseHeader()))
			t.Header("stream response trailer", userOnly(conn.ResponseTrailer()))
		})
		return err
	}
}

type notingClientConn struct {
	connect.StreamingClientConn
	notes *notes
}

func (c notingClientConn) Send(msg any) error {
	return c.notes.of("send", msg, c.StreamingClientConn.Send(msg))
}
func (c notingClientConn) Receive(msg any) error {
	return c.notes.of("receive", msg, c.StreamingClientConn.Receive(msg))
}
func (c notingClientConn) CloseRequest() error {
	return c.notes.of("close request", nil, c.StreamingClientConn.CloseRequest())
}
func (c notingClientConn) CloseResponse() error {
	return c.notes.of("close response", nil, c.StreamingClientConn.CloseResponse())
}

type notingHandlerConn struct {
	connect.StreamingHandlerConn
	notes *notes
}

func (c notingHandlerConn) Send(msg any) error {
	return c.notes.of("send", msg, c.StreamingHandlerConn.Send(msg))
}
func (c notingHandlerConn) Receive(msg any) error {
	return c.notes.of("receive", msg, c.StreamingHandlerConn.Receive(msg))
}

// of notes the result of a method and returns it.
func (n *notes) of(what string, msg any, err error) error {
	n.add(func(t *script.Transcript) {
		sent, ok := msg.(*Message)
		if !ok {
			t.Add("%s %v", what, msg)
		} else {
			t.Add("%s %s", what, shown(sent))
		}
		failure(t, what, err)
	})
	return err
}

// initializer returns an initializer that notes its calls.
func (n *notes) initializer(spec connect.Spec, msg any) error {
	n.add(func(t *script.Transcript) { t.Add("initialize %T client=%v", msg, spec.IsClient) })
	return nil
}
