// SPDX-License-Identifier: Apache-2.0

// A handler's conn and a client's that are joined, message by message, without encoding and
// without HTTP.

package connecttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/seed-b7c59c10/connect"
)

// A HandlerConn is the handler's side of a call in memory. Make it with [NewConns].
type HandlerConn struct{ call *messages }

// A ClientConn is the client's side of a call in memory. Make it with [NewConns].
type ClientConn struct{ call *messages }

var (
	_ connect.StreamingHandlerConn = (*HandlerConn)(nil)
	_ connect.StreamingClientConn  = (*ClientConn)(nil)
)

// NewConns returns the two sides of one call: each receives copies of what the other sends.
// Sends never wait, so that a test may first send all messages, then call the handler, and
// then look at its answers, in one goroutine. Receive waits for a message, for the end of
// the other side, or for ctx; after that it fails with CodeCanceled or
// CodeDeadlineExceeded.
//
// spec and peer are what the handler's side returns; of the client's Spec, IsClient is
// true. The handler's side ends with its Close. As over a network, the client's side then
// gets the error's code, message, details and metadata, and connect.IsWireError is true for
// it. Both are safe for concurrent use.
func NewConns(ctx context.Context, spec connect.Spec, peer connect.Peer) (*HandlerConn, *ClientConn) {
	call := &messages{ctx: ctx, spec: spec, peer: peer, changed: make(chan struct{})}
	return &HandlerConn{call}, &ClientConn{call}
}

// messages is a call: its messages in both directions, and its ends.
type messages struct {
	ctx  context.Context
	spec connect.Spec
	peer connect.Peer

	mu         sync.Mutex
	changed    chan struct{} // closed, and another one made, with each change
	requests   []any
	responses  []any
	sent       bool  // the client has closed the request
	answered   bool  // the response's header is fixed
	closed     bool  // the handler's side was closed, with err
	err        error // as the client gets it
	left       bool  // the client has closed the response
	request    http.Header
	seen       http.Header // the request's, as the handler has them
	header     http.Header // of the response
	gotHeader  http.Header // the same as the client has them
	trailer    http.Header
	gotTrailer http.Header
}

// change does something and wakes all that wait.
func (m *messages) change(do func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := do()
	close(m.changed)
	m.changed = make(chan struct{})
	return err
}

// wait waits until ready returns true, with the lock held, or ctx ends.
func (m *messages) wait(ready func() bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for !ready() {
		if err := m.ended(); err != nil {
			return err
		}
		changed := m.changed
		m.mu.Unlock()
		select {
		case <-changed:
		case <-m.ctx.Done():
		}
		m.mu.Lock()
	}
	return nil
}

// ended returns the error of a call whose context has ended, nil before.
func (m *messages) ended() error {
	err := m.ctx.Err()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, err)
	}
	return connect.NewError(connect.CodeCanceled, err)
}

func end() error { return connect.NewError(connect.CodeUnknown, io.EOF) }

func failf(code connect.Code, format string, args ...any) error {
	return connect.NewError(code, fmt.Errorf(format, args...))
}

// made returns a header, which is made if there is none.
func made(h *http.Header) http.Header {
	if *h == nil {
		*h = make(http.Header)
	}
	return *h
}

// once returns a copy of from that is made at the first call.
func once(into *http.Header, from http.Header) http.Header {
	if *into == nil {
		if *into = from.Clone(); *into == nil {
			*into = make(http.Header)
		}
	}
	return *into
}

// ---- the handler's side ----

// Spec returns the spec of NewConns.
func (c *HandlerConn) Spec() connect.Spec { return c.call.spec }

// Peer returns the peer of NewConns.
func (c *HandlerConn) Peer() connect.Peer { return c.call.peer }

// RequestHeader returns a copy of the client's header, made at the first call.
func (c *HandlerConn) RequestHeader() http.Header {
	c.call.mu.Lock()
	defer c.call.mu.Unlock()
	return once(&c.call.seen, c.call.request)
}

// Receive waits for a message of the client. After the last one it returns an error that
// wraps [io.EOF].
func (c *HandlerConn) Receive(msg any) error {
	m := c.call
	for {
		if err := m.wait(func() bool { return len(m.requests) > 0 || m.sent || m.left || m.closed }); err != nil {
			return err
		}
		taken := true
		err := m.change(func() error {
			switch {
			case m.closed:
				return failf(connect.CodeInternal, "receive: the handler's side is closed: Close was called before")
			case m.left:
				return failf(connect.CodeCanceled, "receive: the client has closed the response")
			case len(m.requests) == 0 && m.sent:
				return end()
			case len(m.requests) == 0: // another goroutine has received it
				taken = false
				return nil
			}
			next := m.requests[0]
			m.requests = m.requests[1:]
			return copyInto(msg, next)
		})
		if taken {
			return err
		}
	}
}

// ResponseHeader returns the response's header, which the first Send fixes.
func (c *HandlerConn) ResponseHeader() http.Header {
	c.call.mu.Lock()
	defer c.call.mu.Unlock()
	return made(&c.call.header)
}

// ResponseTrailer returns the response's trailers, which Close fixes.
func (c *HandlerConn) ResponseTrailer() http.Header {
	c.call.mu.Lock()
	defer c.call.mu.Unlock()
	return made(&c.call.trailer)
}

// Send sends a copy of a message. It fails with CodeCanceled when the client has closed the
// response.
func (c *HandlerConn) Send(msg any) error {
	m := c.call
	return m.change(func() error {
		switch err := m.ended(); {
		case err != nil:
			return err
		case m.closed:
			return failf(connect.CodeInternal, "send: the handler's side is closed: Close was called before")
		case m.left:
			return failf(connect.CodeCanceled, "send: the client has closed the response")
		}
		if !m.answered {
			m.answered = true
			once(&m.gotHeader, m.header)
		}
		if msg != nil {
			m.responses = append(m.responses, clone(msg))
		}
		return nil
	})
}

// Close ends the call with the error that the handler has returned, nil for none. The first
// Close counts.
func (c *HandlerConn) Close(err error) error {
	m := c.call
	return m.change(func() error {
		if !m.closed {
			m.closed, m.answered, m.err = true, true, wireError(err)
			once(&m.gotHeader, m.header)
			once(&m.gotTrailer, m.trailer)
		}
		return nil
	})
}

// wireError returns a handler's error as its client gets it.
func wireError(err error) error {
	if err == nil {
		return nil
	}
	var coded *connect.Error
	if !errors.As(err, &coded) || coded == nil {
		code := connect.CodeUnknown
		switch {
		case errors.Is(err, context.Canceled):
			code = connect.CodeCanceled
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
			code = connect.CodeDeadlineExceeded
		}
		return connect.NewWireError(code, wireText(err.Error()))
	}
	code := coded.Code()
	if code < connect.CodeCanceled || code > connect.CodeUnauthenticated {
		code = connect.CodeUnknown // no protocol has it
	}
	wire := connect.NewWireError(code, wireText(coded.Message()))
	for _, detail := range coded.Details() {
		wire.AddDetail(detail)
	}
	for key, values := range coded.Meta() {
		wire.Meta()[key] = append([]string(nil), values...)
	}
	return wire
}

// wireText returns a text as it arrives: with U+FFFD for each byte that is not UTF-8.
func wireText(text string) error { return errors.New(string([]rune(text))) }

// ---- the client's side ----

// Spec returns the spec of NewConns, with IsClient.
func (c *ClientConn) Spec() connect.Spec {
	spec := c.call.spec
	spec.IsClient = true
	return spec
}

// Peer returns a server at "server.test", with the protocol of NewConns' peer.
func (c *ClientConn) Peer() connect.Peer {
	return connect.Peer{Addr: "server.test", Protocol: c.call.peer.Protocol}
}

// RequestHeader returns the request's header. The handler's side gets a copy when it asks
// for its own.
func (c *ClientConn) RequestHeader() http.Header {
	c.call.mu.Lock()
	defer c.call.mu.Unlock()
	return made(&c.call.request)
}

// Send sends a copy of a message. When the call has ended, it returns an error that wraps
// [io.EOF].
func (c *ClientConn) Send(msg any) error {
	m := c.call
	return m.change(func() error {
		switch err := m.ended(); {
		case err != nil:
			return err
		case m.sent:
			return failf(connect.CodeInternal, "send: the request is closed: CloseRequest or CloseAndReceive was called before")
		case m.closed || m.left:
			return end()
		}
		if msg != nil {
			m.requests = append(m.requests, clone(msg))
		}
		return nil
	})
}

// CloseRequest ends the messages of the client.
func (c *ClientConn) CloseRequest() error {
	return c.call.change(func() error {
		c.call.sent = true
		return nil
	})
}

// Receive waits for a message of the handler. After the last one it returns the handler's
// error, or one that wraps [io.EOF].
func (c *ClientConn) Receive(msg any) error {
	m := c.call
	for {
		if err := m.wait(func() bool { return len(m.responses) > 0 || m.closed || m.left }); err != nil {
			return err
		}
		taken := true
		err := m.change(func() error {
			switch {
			case m.left:
				return failf(connect.CodeCanceled, "receive: the response is closed: Close or CloseResponse was called before")
			case len(m.responses) > 0:
				next := m.responses[0]
				m.responses = m.responses[1:]
				return copyInto(msg, next)
			case !m.closed: // another goroutine has received it
				taken = false
				return nil
			case m.err != nil:
				return m.err
			}
			return end()
		})
		if taken {
			return err
		}
	}
}

// ResponseHeader waits for the response's header, which is empty if the context ends
// before.
func (c *ClientConn) ResponseHeader() http.Header {
	m := c.call
	_ = m.wait(func() bool { return m.answered || m.left })
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.answered {
		return make(http.Header)
	}
	return m.gotHeader
}

// ResponseTrailer returns the trailers once the handler's side is closed, and an empty
// header before.
func (c *ClientConn) ResponseTrailer() http.Header {
	m := c.call
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		return make(http.Header)
	}
	return m.gotTrailer
}

// CloseResponse ends the call: Send and Receive of the handler's side fail.
func (c *ClientConn) CloseResponse() error {
	return c.call.change(func() error {
		c.call.left = true
		return nil
	})
}

// ---- messages ----

// clone returns a copy of a message. Of one that is not Protobuf's it copies what a pointer
// points to, and not what that refers to.
func clone(msg any) any {
	if m, ok := msg.(proto.Message); ok {
		return proto.Clone(m)
	}
	v := reflect.ValueOf(msg)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return msg
	}
	c := reflect.New(v.Type().Elem())
	c.Elem().Set(v.Elem())
	return c.Interface()
}

// copyInto sets a message to another one, of which no one else has a part.
func copyInto(into, from any) error {
	to, ok := into.(proto.Message)
	if msg, also := from.(proto.Message); ok && also && to.ProtoReflect().Descriptor() == msg.ProtoReflect().Descriptor() {
		proto.Reset(to)
		if msg.ProtoReflect().IsValid() { // a nil message is an empty one
			proto.Merge(to, msg)
		}
		return nil
	}
	t, f := reflect.ValueOf(into), reflect.ValueOf(from)
	if !t.IsValid() || !f.IsValid() || t.Type() != f.Type() || t.Kind() != reflect.Pointer || ok {
		return failf(connect.CodeInternal, "receive: the next message is a %T: expected a %T", from, into)
	}
	if !f.IsNil() {
		t.Elem().Set(f.Elem())
	}
	return nil
}
