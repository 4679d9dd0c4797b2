// SPDX-License-Identifier: Apache-2.0

// The end of a connection.

package h2

import (
	"errors"
	"io"
	"net"
	"reflect"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

const (
	closeLinger = time.Second // for the peer to read what was sent last
	closeDrain  = 256 << 10
)

// fail ends the connection at once. The first error counts. With mu held.
func (c *conn) failLocked(err error) {
	c.mu.assertHeld()
	if c.err != nil {
		return
	}
	c.err = err
	for _, s := range c.table.open {
		s.stopLocked(err)
	}
	clear(c.table.open)
	c.wakeSendersLocked()
	for _, answered := range c.pings {
		close(answered)
	}
	c.pings = nil
	c.side.connEndedLocked(err)
	if c.writer.socket != nil {
		_ = c.nc.Close()
	} else {
		// That of TLS says goodbye, and may wait for the peer.
		c.closing.Go(func() { _ = c.nc.Close() })
	}
}

// explainLocked returns the error for an end that the network reported: a peer that says
// goodbye and hangs up has not just vanished.
func (c *conn) explainLocked(err error) error {
	c.mu.assertHeld()
	switch {
	case err == errWriteStalled || errors.As(err, new(ConnError)):
	case c.peerGoAway != nil:
		return c.peerGoAway
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

// finish ends the connection after an error of the reading goroutine. A peer that
// broke a rule is told which, if it still listens.
func (c *conn) finish(err error) {
	var violation ConnError
	if !errors.As(err, &violation) || violation.Remote {
		c.mu.Lock()
		c.failLocked(c.explainLocked(err))
		c.mu.Unlock()
		c.deliver()
		return
	}
	c.count("conn_", violation.Code)
	c.mu.Lock()
	if c.err == nil {
		for _, s := range c.table.open {
			s.stopLocked(err)
		}
		clear(c.table.open)
		c.appendGoAwayLocked(violation.Code, violation.Reason)
		c.flushRelocking()
	}
	c.mu.Unlock()
	c.deliver()
	c.linger()
	c.mu.Lock()
	c.failLocked(err)
	c.mu.Unlock()
}

// sayGoAway appends a GOAWAY that owns up to every stream that was accepted. With
// mu held.
func (c *conn) appendGoAwayLocked(code ErrCode, reason string) {
	last := c.table.maxID
	if c.limits.maxStreams == 0 {
		last = 0 // a client accepts no streams
	}
	c.writer.out = wire.AppendGoAway(c.outLocked(), last, code, reason)
}

// linger lets the peer read what was said last: closing a socket with unread input
// makes the system drop it.
func (c *conn) linger() {
	said := make(chan struct{})
	c.mu.Lock()
	c.afterWritingLocked(func() { close(said) })
	c.mu.Unlock()
	patience := time.NewTimer(closeLinger)
	defer patience.Stop()
	select {
	case <-said:
	case <-patience.C:
		return
	}
	if half := halfCloserOf(c.nc); half != nil {
		_ = half.CloseWrite()
		_ = c.nc.SetReadDeadline(time.Now().Add(closeLinger))
		_, _ = io.CopyN(io.Discard, c.nc, closeDrain)
	}
}

// A closeWriter can say that it will write no more, and still read.
type closeWriter interface{ CloseWrite() error }

// halfCloserOf returns the connection if it can be closed for writing only, nil if not.
// A type that embeds one which can has its CloseWrite, too, beside a Write and a Close
// of its own that must not be passed over: they may have kept something back.
func halfCloserOf(nc net.Conn) closeWriter {
	half, ok := nc.(closeWriter)
	if !ok {
		return nil
	}
	t := reflect.TypeOf(nc)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return half
	}
	method := reflect.TypeFor[closeWriter]()
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && (f.Type.Implements(method) || reflect.PointerTo(f.Type).Implements(method)) {
			return nil
		}
	}
	return half
}

// hangUp ends the connection when what was said has been written. With mu held.
func (c *conn) hangUpLocked() {
	c.afterWritingLocked(func() {
		half := halfCloserOf(c.nc)
		if half == nil || c.err != nil || half.CloseWrite() != nil {
			c.failLocked(errClosed)
			return
		}
		_ = c.nc.SetReadDeadline(time.Now().Add(closeLinger)) // then the reading goroutine ends it
	})
}
