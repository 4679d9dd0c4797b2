// SPDX-License-Identifier: Apache-2.0

// The network: connections in memory, with buffers as those of TCP, so that two peers that
// both write do not wait for each other.

package connecttest

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/seed-b7c59c10/connect/internal/bytepipe"
)

// A network is a listener and the connections to it.
type network struct {
	accepts chan net.Conn
	closed  chan struct{}
	once    sync.Once

	mu    sync.Mutex
	count int // of connections
}

func newNetwork() *network {
	return &network{accepts: make(chan net.Conn), closed: make(chan struct{})}
}

// dial makes a connection and waits until the listener has accepted it.
func (n *network) dial(ctx context.Context) (net.Conn, error) {
	n.mu.Lock()
	n.count++
	local := address(fmt.Sprintf("client.test:%d", n.count))
	n.mu.Unlock()
	near, far := newConnPair(local, serverAddress)
	select {
	case n.accepts <- far:
		return near, nil
	case <-n.closed:
		return nil, &net.OpError{Op: "dial", Net: serverAddress.Network(), Addr: serverAddress, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: serverAddress.Network(), Addr: serverAddress, Err: ctx.Err()}
	}
}

// Accept, Close and Addr make it a [net.Listener].
func (n *network) Accept() (net.Conn, error) {
	select {
	case conn := <-n.accepts:
		return conn, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error {
	n.once.Do(func() { close(n.closed) })
	return nil
}

func (n *network) Addr() net.Addr { return serverAddress }

// An address is a host and a port, which [net.SplitHostPort] can split.
type address string

const serverAddress address = "server.test:80"

func (address) Network() string  { return "memory" }
func (a address) String() string { return string(a) }

// A conn is one end of a connection.
type conn struct {
	in, out       *bytepipe.Pipe
	local, remote net.Addr
}

func newConnPair(a, b net.Addr) (near, far *conn) {
	out, in := new(bytepipe.Pipe), new(bytepipe.Pipe)
	return &conn{in, out, a, b}, &conn{out, in, b, a}
}

func (c *conn) fail(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "memory", Source: c.local, Addr: c.remote, Err: err}
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	if n > 0 {
		return n, nil // as from a socket, the end comes with the next call
	}
	return n, c.fail("read", err)
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.out.Write(b)
	return n, c.fail("write", err)
}

// CloseWrite ends the direction to the peer, which reads what was written before. Servers
// end a connection so, and then read on: a peer that writes meanwhile loses nothing of what
// it has not read.
func (c *conn) CloseWrite() error {
	c.out.CloseWrite(io.EOF, os.NewSyscallError("write", syscall.EPIPE))
	return nil
}

// Close ends both directions. The peer reads what was written before.
func (c *conn) Close() error {
	c.out.CloseWrite(io.EOF, net.ErrClosed)
	c.in.CloseRead(net.ErrClosed, os.NewSyscallError("write", syscall.EPIPE))
	c.out.StopTimers()
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	c.in.SetReadDeadline(t)
	c.out.SetWriteDeadline(t)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.SetReadDeadline(t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.SetWriteDeadline(t)
	return nil
}
