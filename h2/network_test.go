// SPDX-License-Identifier: Apache-2.0

// A network in memory: connections with bounded buffers, as sockets have them,
// that work inside of a synctest bubble and count what passes.

package h2_test

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// socketBuffer is how much one direction of a connection holds: what is written
// beyond it waits for the reader.
const socketBuffer = 64 << 10

// A memoryNetwork is a listener, and the way to reach it.
type memoryNetwork struct {
	accepted chan net.Conn
	once     sync.Once
	closed   chan struct{}
}

func newMemoryNetwork() *memoryNetwork {
	return &memoryNetwork{accepted: make(chan net.Conn), closed: make(chan struct{})}
}

// dial returns the client's end of a new connection.
func (n *memoryNetwork) dial() (*memoryConn, error) {
	client, server := memoryPipe()
	select {
	case n.accepted <- server:
		return client, nil
	case <-n.closed:
		return nil, syscall.ECONNREFUSED
	}
}

func (n *memoryNetwork) Accept() (net.Conn, error) {
	select {
	case c := <-n.accepted:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *memoryNetwork) Close() error {
	n.once.Do(func() { close(n.closed) })
	return nil
}

func (n *memoryNetwork) Addr() net.Addr { return memoryAddr("server") }

type memoryAddr string

func (a memoryAddr) Network() string { return "memory" }
func (a memoryAddr) String() string  { return string(a) + ".test:443" }

// memoryPipe returns both ends of a connection.
func memoryPipe() (client, server *memoryConn) {
	up, down := newDirection(), newDirection()
	return &memoryConn{in: down, out: up, local: "client", remote: "server"},
		&memoryConn{in: up, out: down, local: "server", remote: "client"}
}

// A memoryConn is one end of a connection. Like a socket it takes what fits its
// buffer, has deadlines, and can be closed for writing only.
type memoryConn struct {
	in, out       *direction
	local, remote memoryAddr
}

func (c *memoryConn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *memoryConn) Write(p []byte) (int, error) { return c.out.write(p) }
func (c *memoryConn) LocalAddr() net.Addr         { return c.local }
func (c *memoryConn) RemoteAddr() net.Addr        { return c.remote }

func (c *memoryConn) CloseWrite() error {
	c.out.end()
	return nil
}

func (c *memoryConn) Close() error {
	c.out.end()
	c.in.abandon()
	return nil
}

func (c *memoryConn) SetDeadline(t time.Time) error {
	c.in.limitRead(t)
	c.out.limitWrite(t)
	return nil
}

func (c *memoryConn) SetReadDeadline(t time.Time) error {
	c.in.limitRead(t)
	return nil
}

func (c *memoryConn) SetWriteDeadline(t time.Time) error {
	c.out.limitWrite(t)
	return nil
}

// sent is how many bytes this end has written.
func (c *memoryConn) sent() int64 { return c.out.total() }

// taken is how many of the bytes that this end wrote the other one has read.
func (c *memoryConn) taken() int64 {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.taken
}

// arrivals is how many writes of the other end have arrived here.
func (c *memoryConn) arrivals() int64 {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.in.writes
}

// A direction carries bytes from a writer to a reader.
type direction struct {
	mu         sync.Mutex
	changed    sync.Cond
	data       []byte
	written    int64 // in all
	writes     int64 // that took it
	taken      int64 // by the reader, in all
	ended      bool  // the writer has closed: what is left can be read, then io.EOF
	abandoned  bool  // the reader has closed: writing fails
	readLimit  limit
	writeLimit limit
}

// A limit is a deadline, and the timer that wakes the goroutines that wait for it.
type limit struct {
	at    time.Time
	timer *time.Timer
}

func (l *limit) passed() bool { return !l.at.IsZero() && !time.Now().Before(l.at) }

func newDirection() *direction {
	d := new(direction)
	d.changed.L = &d.mu
	return d
}

func (d *direction) read(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		switch {
		case d.abandoned:
			return 0, net.ErrClosed
		case d.readLimit.passed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case len(d.data) > 0:
			n := copy(p, d.data)
			d.data = d.data[:copy(d.data, d.data[n:])]
			d.taken += int64(n)
			d.changed.Broadcast()
			return n, nil
		case d.ended:
			return 0, io.EOF
		}
		d.changed.Wait()
	}
}

func (d *direction) write(p []byte) (n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		switch {
		case d.ended:
			return n, net.ErrClosed
		case d.abandoned:
			return n, syscall.EPIPE
		case d.writeLimit.passed():
			return n, os.ErrDeadlineExceeded
		}
		room := min(len(p), socketBuffer-len(d.data))
		d.writes++
		d.data = append(d.data, p[:room]...)
		d.written += int64(room)
		n, p = n+room, p[room:]
		if room > 0 {
			d.changed.Broadcast()
		}
		if len(p) == 0 {
			return n, nil
		}
		d.changed.Wait()
	}
}

func (d *direction) total() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.written
}

func (d *direction) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	d.writeLimit.set(time.Time{}, d)
	d.changed.Broadcast()
}

func (d *direction) abandon() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.abandoned = true
	d.data = nil
	d.readLimit.set(time.Time{}, d)
	d.changed.Broadcast()
}

func (d *direction) limitRead(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.readLimit.set(t, d)
}

func (d *direction) limitWrite(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writeLimit.set(t, d)
}

// set moves the deadline. With d.mu held.
func (l *limit) set(t time.Time, d *direction) {
	l.at = t
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if !t.IsZero() {
		l.timer = time.AfterFunc(time.Until(t), func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.changed.Broadcast()
		})
	}
	d.changed.Broadcast()
}
