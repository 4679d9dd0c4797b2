// SPDX-License-Identifier: Apache-2.0

// The end of a connection, with GOAWAY where the peer may still listen.
//
// Invariants. conn.err is set once and never changes; from then on no stream is
// open, no PING is waited for, and no write begins. A peer that broke a rule gets a GOAWAY
// before the connection closes, if it reads it within closeLinger. [RFC 9113, sections
// 5.4.1 and 6.8]

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
	closeLinger = time.Second // how long the peer may take to read the last frames
	closeDrain  = 256 << 10   // bytes of its own that are read and dropped meanwhile
)

// failLocked ends the connection at once. The first error stays. It stops all streams and
// gives up all PINGs, so every goroutine that waits for the peer returns.
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
		// tls.Conn.Close sends an alert and may wait for the peer.
		c.closing.Go(func() { _ = c.nc.Close() })
	}
}

// explainLocked returns the error to report where the network reported err. If the peer
// had sent a GOAWAY before it closed, that is the better explanation.
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

// finish ends the connection after an error of the reading goroutine. A peer that broke
// a rule gets a GOAWAY with the code, and a second to read it.
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

// appendGoAwayLocked appends a GOAWAY that names the highest stream accepted, so that
// the peer does not repeat requests that were processed. [RFC 9113, section 6.8]
func (c *conn) appendGoAwayLocked(code ErrCode, reason string) {
	last := c.table.maxID
	if c.limits.maxStreams == 0 {
		last = 0 // a client accepts no streams
	}
	c.writer.out = wire.AppendGoAway(c.outLocked(), last, code, reason)
}

// linger lets the peer read the last frames. A system that closes a socket with unread
// input resets the connection, and the peer loses what it has not read: so the
// connection is closed for writing first, and what still arrives is read and dropped.
func (c *conn) linger() {
	written := make(chan struct{})
	c.mu.Lock()
	c.afterWritingLocked(func() { close(written) })
	c.mu.Unlock()
	timer := time.NewTimer(closeLinger)
	defer timer.Stop()
	select {
	case <-written:
	case <-timer.C:
		return
	}
	if half := halfCloserOf(c.nc); half != nil {
		_ = half.CloseWrite()
		_ = c.nc.SetReadDeadline(time.Now().Add(closeLinger))
		_, _ = io.CopyN(io.Discard, c.nc, closeDrain)
	}
}

// A closeWriter can be closed for writing and still be read, as TCP and TLS connections
// can.
type closeWriter interface{ CloseWrite() error }

// halfCloserOf returns nc if its type has a CloseWrite of its own, nil otherwise. A
// struct that embeds a connection has the embedded CloseWrite by promotion, beside a
// Write and a Close of its own; the promoted method would pass over bytes that the outer
// type holds back.
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

// hangUpLocked ends the connection when all frames are written. The side for writing is
// closed first; the reading goroutine ends the connection when the peer closes, or after
// closeLinger.
func (c *conn) hangUpLocked() {
	c.afterWritingLocked(func() {
		half := halfCloserOf(c.nc)
		switch {
		case half == nil || c.err != nil:
			c.failLocked(errClosed)
		case c.writer.socket != nil:
			c.hungUpLocked(half.CloseWrite())
		default: // tls.Conn.CloseWrite sends an alert and may wait for the peer
			c.closing.Go(func() {
				err := half.CloseWrite()
				c.mu.Lock()
				defer c.mu.Unlock()
				c.hungUpLocked(err)
			})
		}
	})
}

// hungUpLocked does what follows CloseWrite, which has returned err.
func (c *conn) hungUpLocked(err error) {
	if err != nil {
		c.failLocked(errClosed)
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(closeLinger)) // then the reading goroutine ends it
}
