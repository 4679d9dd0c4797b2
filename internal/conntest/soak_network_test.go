// SPDX-License-Identifier: Apache-2.0

// This file holds the network of the soak, which counts connections, and on some
// of them follows the frames.

package conntest

import (
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
)

// singleTransport is an engine's transport with one connection.
func singleTransport(standard *http.Transport, _ string) (http.RoundTripper, func(), error) {
	transport := h2.NewTransport(&h2.TransportConfig{
		DialContext: standard.DialContext, TLSClientConfig: standard.TLSClientConfig, MaxConnsPerHost: 1,
	})
	return transport, func() { _ = transport.Close() }, nil
}

// A soakNetwork is the loopback.
type soakNetwork struct {
	loopback
	watch bool
	dials atomic.Int64

	mu    sync.Mutex
	conns []*watchedConn
}

func (n *soakNetwork) dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.dials.Add(1)
	conn, err := n.loopback.dial(ctx, network, address)
	if err != nil || !n.watch {
		return conn, err
	}
	w := &watchedConn{conn: conn, out: frames{preface: 24}}
	n.mu.Lock()
	n.conns = append(n.conns, w)
	n.mu.Unlock()
	return w, nil
}

// check fails the test unless both ends may send at least half of the connection's
// window: while no stream is open, each end gives back that much.
func (n *soakNetwork) check(t *testing.T) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.watch && len(n.conns) == 0 {
		t.Error("no connection was watched")
	}
	for _, w := range n.conns {
		w.mu.Lock()
		for _, side := range []struct {
			name      string
			sends     *frames
			grants    *frames
			wholeSize int64
		}{{"client", &w.out, &w.in, w.in.first}, {"server", &w.in, &w.out, w.out.first}} {
			whole := 65535 + side.wholeSize
			left := 65535 + side.grants.granted - side.sends.data
			if left < whole/2 || left > whole {
				t.Errorf("the %s may send %d bytes after all streams ended, want from %d to %d", side.name, left, whole/2, whole)
			}
			if side.sends.data < soakTransfer {
				t.Errorf("got %d bytes of DATA of the %s, want more", side.sends.data, side.name)
			}
		}
		w.mu.Unlock()
	}
}

// A watchedConn is a client's connection and not a socket: type assertions for a
// socket's methods fail. So its methods are written out, and none is promoted.
type watchedConn struct {
	conn net.Conn

	mu      sync.Mutex
	in, out frames
}

func (w *watchedConn) Read(p []byte) (int, error) {
	n, err := w.conn.Read(p)
	w.mu.Lock()
	w.in.follow(p[:n])
	w.mu.Unlock()
	return n, err
}

func (w *watchedConn) Write(p []byte) (int, error) {
	n, err := w.conn.Write(p)
	w.mu.Lock()
	w.out.follow(p[:n])
	w.mu.Unlock()
	return n, err
}

func (w *watchedConn) Close() error                       { return w.conn.Close() }
func (w *watchedConn) LocalAddr() net.Addr                { return w.conn.LocalAddr() }
func (w *watchedConn) RemoteAddr() net.Addr               { return w.conn.RemoteAddr() }
func (w *watchedConn) SetDeadline(t time.Time) error      { return w.conn.SetDeadline(t) }
func (w *watchedConn) SetReadDeadline(t time.Time) error  { return w.conn.SetReadDeadline(t) }
func (w *watchedConn) SetWriteDeadline(t time.Time) error { return w.conn.SetWriteDeadline(t) }

// frames follows the frames of one direction.
type frames struct {
	preface int    // bytes of it that are still to come
	head    []byte // of the frame that comes: nine bytes, and four of a WINDOW_UPDATE
	payload int    // bytes that are still to come

	data    int64 // bytes that count for flow control [RFC 9113, section 6.9.1]
	granted int64 // by WINDOW_UPDATEs of the connection
	first   int64 // by the first of them, before which there was no DATA
}

func (f *frames) follow(p []byte) {
	for len(p) > 0 {
		switch {
		case f.preface > 0:
			n := min(f.preface, len(p))
			f.preface -= n
			p = p[n:]
		case f.payload > 0:
			n := min(f.payload, len(p))
			f.payload -= n
			p = p[n:]
		default:
			f.head = append(f.head, p[0])
			p = p[1:]
			f.header()
		}
	}
}

// header acts on the head once it is complete.
func (f *frames) header() {
	const data, windowUpdate = 0, 8
	if len(f.head) < 9 {
		return
	}
	length := int(f.head[0])<<16 | int(f.head[1])<<8 | int(f.head[2])
	kind, stream := f.head[3], binary.BigEndian.Uint32(f.head[5:9])
	if kind == windowUpdate && stream == 0 {
		if len(f.head) < 13 {
			return
		}
		n := int64(binary.BigEndian.Uint32(f.head[9:13]))
		f.granted += n
		if f.first == 0 {
			f.first = n
		}
		f.head = f.head[:0]
		return
	}
	if kind == data {
		f.data += int64(length)
	}
	f.payload = length
	f.head = f.head[:0]
}
