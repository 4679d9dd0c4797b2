// SPDX-License-Identifier: Apache-2.0

// A network in memory, with servers that come, go and hang.

package balance_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-b7c59c10/connect/h2"
)

// A network has nodes by name.
type network struct {
	mu    sync.Mutex
	nodes map[string]*node
}

func newNetwork() *network { return &network{nodes: make(map[string]*node)} }

func (n *network) node(name string) *node {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.nodes[name] == nil {
		n.nodes[name] = &node{name: name, conns: make(map[*wire]struct{}), changed: make(chan struct{})}
	}
	return n.nodes[name]
}

func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	return n.node(address).dial(ctx)
}

// A node is one address. Connections are refused unless a server listens there.
type node struct {
	name  string
	dials atomic.Int64
	runs  atomic.Int64 // of handlers

	mu      sync.Mutex
	queue   chan net.Conn // nil: nothing listens
	gone    chan struct{} // closed when it listens no longer
	black   bool          // bytes vanish
	changed chan struct{} // closed when black changes
	conns   map[*wire]struct{}
	server  *http.Server
	served  chan struct{}
}

var errRefused = &net.OpError{Op: "dial", Net: "memory", Err: errors.New("connection refused")}

func (n *node) dial(ctx context.Context) (net.Conn, error) {
	n.dials.Add(1)
	for {
		n.mu.Lock()
		queue, gone, black, changed := n.queue, n.gone, n.black, n.changed
		n.mu.Unlock()
		switch {
		case black:
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil, &net.OpError{Op: "dial", Net: "memory", Err: ctx.Err()}
			}
		case queue == nil:
			return nil, errRefused
		}
		here, there := net.Pipe()
		w := &wire{Conn: here, n: n, closed: make(chan struct{})}
		select {
		case queue <- there:
		case <-gone:
			return nil, errRefused
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		n.mu.Lock()
		n.conns[w] = struct{}{}
		n.mu.Unlock()
		return w, nil
	}
}

// hide makes the network lose all packets, or ends that: then what was lost is sent
// again, as TCP does.
func (n *node) hide(black bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.black = black
	close(n.changed)
	n.changed = make(chan struct{})
	if !black {
		for w := range n.conns {
			go func() { _, _ = w.Write(nil) }()
		}
	}
}

func (n *node) hidden() (bool, chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.black, n.changed
}

// A wire is a client's end of a connection.
type wire struct {
	net.Conn
	n      *node
	once   sync.Once
	closed chan struct{}

	mu   sync.Mutex
	lost []byte // written while the node was hidden
}

func (w *wire) Read(p []byte) (int, error) {
	read, err := w.Conn.Read(p)
	for {
		black, changed := w.n.hidden()
		if !black {
			return read, err
		}
		select {
		case <-changed:
		case <-w.closed:
			return 0, net.ErrClosed
		}
	}
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if black, _ := w.n.hidden(); black {
		w.lost = append(w.lost, p...)
		return len(p), nil
	}
	if len(w.lost) > 0 {
		again := w.lost
		w.lost = nil
		if _, err := w.Conn.Write(again); err != nil {
			return 0, err
		}
	}
	if len(p) == 0 {
		return 0, nil
	}
	return w.Conn.Write(p)
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	w.n.mu.Lock()
	delete(w.n.conns, w)
	w.n.mu.Unlock()
	return w.Conn.Close()
}

// A listener accepts the connections to a node.
type listener struct {
	n     *node
	queue chan net.Conn
	gone  chan struct{}
	once  *sync.Once
}

func (l listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.gone:
		return nil, net.ErrClosed
	}
}

func (l listener) Close() error {
	l.once.Do(func() {
		l.n.mu.Lock()
		l.n.queue = nil
		l.n.mu.Unlock()
		close(l.gone)
	})
	return nil
}

func (l listener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

// ---- servers ----

// start serves a handler at the node, by package h2, or by net/http with HTTP/1.1.
func (n *node) start(t testing.TB, handler http.Handler, http1 bool) {
	t.Helper()
	l := listener{n, make(chan net.Conn), make(chan struct{}), new(sync.Once)}
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	if !http1 {
		if err := h2.ConfigureServer(server, nil); err != nil {
			t.Fatal(err)
		}
	}
	served := make(chan struct{})
	n.mu.Lock()
	n.queue, n.gone, n.server, n.served = l.queue, l.gone, server, served
	n.mu.Unlock()
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
}

// stop ends the server, gracefully or at once, if there is one.
func (n *node) stop(t testing.TB, graceful bool) {
	n.mu.Lock()
	server, served := n.server, n.served
	n.server = nil
	n.mu.Unlock()
	if server == nil {
		return
	}
	if graceful {
		if err := server.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("got %v from Shutdown, want nil", err)
		}
	} else {
		_ = server.Close()
	}
	<-served
}
