// SPDX-License-Identifier: Apache-2.0

// The choice of a call's compression by the program, on both sides, and the headers
// that leave before the messages.

package connect

import (
	"errors"
	"fmt"
	"net/http"
)

// switchTo changes the compression of the messages that follow. The call's compression
// is fixed if the head names it; otherwise find returns the one with a name.
func (p *packer) switchTo(name string, fixed bool, find func() (*compression, error)) error {
	switch {
	case name == "" || name == compressionIdentity:
		p.plain = true
		return nil
	case p.compression != nil && p.compression.name == name:
		p.plain = false
		return nil
	case fixed && p.compression != nil:
		return errorf(CodeInternal, "set compression %q: the headers are sent, and name %q: choose that or %q", name, p.compression.name, compressionIdentity)
	case fixed:
		return errorf(CodeInternal, "set compression %q: the headers are sent, and name none: choose it before", name)
	}
	c, err := find()
	if err != nil {
		return err
	}
	p.compression, p.plain = c, false
	return nil
}

// ---- handlers ----

// SetSendCompression implements [CallInfo].
func (c *handlerConn) SetSendCompression(name string) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	if c.closed {
		return errorf(CodeInternal, "set compression %q: the handler has returned", name)
	}
	err := c.out.switchTo(name, c.began, func() (*compression, error) {
		cs := &c.config.compressions
		found, ok := cs.sent(name)
		accept := c.request.values(c.accept)
		switch {
		case !ok:
			return nil, errorf(CodeInternal, "set compression %q: the handler does not have it: add it with WithCompression", name)
		case !cs.accepts(accept, c.in.compression, found):
			return nil, errorf(CodeInternal, "set compression %q: the client accepts %q", name, accept)
		}
		return found, nil
	})
	if !c.began {
		c.namesEncoding, c.headSet = c.framed && c.out.compression != nil, false
	}
	return err
}

// SendHeader implements [CallInfo].
func (c *handlerConn) SendHeader() error {
	if !c.framed {
		return errorf(CodeUnimplemented, "send header: the headers of %s have the end of the call in them: unary calls of the Connect protocol send both with the message", c.config.spec.Procedure)
	}
	if !canFlush(c.exchange) {
		return errorf(CodeInternal, "send header: %T cannot flush: the headers leave with the message", c.exchange.Unwrap())
	}
	return c.Send(nil)
}

// sendHead writes the headers alone.
func (c *handlerConn) sendHead() error {
	if c.began {
		return nil
	}
	if c.config.connectGo && (!c.framed || !c.flushes()) {
		c.sendHeadLater()
		return nil
	}
	c.begin(wireEnd{})
	if !c.framed {
		return nil
	}
	err := http.NewResponseController(c.exchange).Flush()
	if errors.Is(err, http.ErrNotSupported) && !c.config.spec.StreamType.serverStreams() {
		return nil // the headers leave with the message
	}
	return c.unwritten(err)
}

// sendHeadLater is sendHead with connect-go's meaning where nothing is flushed. In unary
// Connect the headers have the trailers. In gRPC headers that the handler sets now come
// too late, and in a stream of Connect they do not.
//
//go:noinline
func (c *handlerConn) sendHeadLater() {
	switch {
	case !c.framed:
		c.begin(c.encodeEnd(end{trailer: c.trailer, connectGo: true}, true))
	case c.name != ProtocolConnect:
		c.begin(wireEnd{})
	}
}

// flushes reports whether the ResponseWriter can be flushed. With connect-go's meaning it
// has to be an [http.Flusher] itself.
func (c *handlerConn) flushes() bool {
	if !c.config.connectGo {
		return canFlush(c.exchange)
	}
	_, ok := c.exchange.Unwrap().(http.Flusher)
	return ok || c.own
}

// ---- clients ----

// SetSendCompression implements [CallInfo].
func (i *clientInfo) SetSendCompression(name string) error {
	if conn := i.conn.Load(); conn != nil && !conn.now().ended() {
		return conn.setCompression(name)
	}
	i.compression = &name
	return nil
}

// SendHeader implements [CallInfo].
func (i *clientInfo) SendHeader() error {
	if stream, ok := i.response.(StreamingClientConn); ok && stream.Spec().StreamType.clientStreams() {
		return stream.Send(nil)
	}
	return errorf(CodeInternal, "send header: no stream of requests has begun with this context: other calls send their headers with the message")
}

// choose sets the compression that the caller has chosen before the call, if any.
func (i *clientInfo) choose(c *clientConn) error {
	if i == nil || i.compression == nil {
		return nil
	}
	return c.setCompression(*i.compression)
}

// setCompression is SetSendCompression for one call.
func (c *clientConn) setCompression(name string) error {
	c.chosen = true
	return c.out.switchTo(name, c.now() != phaseIdle, func() (*compression, error) {
		found, ok := c.config.compressions.sent(name)
		if !ok {
			return nil, NewError(CodeUnknown, fmt.Errorf("unknown compression %q: register it with WithAcceptCompression", name))
		}
		return found, nil
	})
}

// named returns the encoding that the request's headers name, nil for none.
func (c *clientConn) named() []string {
	if c.out.compression == nil || c.pipe == nil && !c.compressed {
		return nil
	}
	return c.out.compression.value
}
