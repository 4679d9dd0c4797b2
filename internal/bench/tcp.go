// SPDX-License-Identifier: Apache-2.0

// The lowest floor: the same bytes over TCP, a connection for each caller, and
// nothing else.

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// A request begins with the kind of the call, in one byte, and the number of
// messages that its answer or itself has, in four.
const tcpHead = 5

// streamBuffer gathers the messages of one-way streams.
const streamBuffer = 32 << 10

type tcpClient struct {
	listener net.Listener
	lines    []*line
	served   sync.WaitGroup
}

// line is one side of a connection.
type line struct {
	net.Conn
	read    *bufio.Reader
	write   *bufio.Writer
	message []byte
	frame   []byte
}

func newLine(c net.Conn) *line {
	return &line{Conn: c, read: bufio.NewReader(c), write: bufio.NewWriterSize(c, streamBuffer)}
}

func openTCP(n *network, _ work, callers int) (contender, error) {
	l, err := n.listen()
	if err != nil {
		return nil, err
	}
	c := &tcpClient{listener: l}
	c.served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.served.Go(func() { serveTCP(conn) })
		}
	})
	for range callers {
		conn, err := n.dial(context.Background(), l.Addr().String())
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.lines = append(c.lines, newLine(conn))
	}
	return c, nil
}

func (c *tcpClient) Close() error {
	err := c.listener.Close()
	for _, l := range c.lines {
		err = errors.Join(err, l.Close())
	}
	c.served.Wait()
	return err
}

// begin returns the frame's first bytes: the head of a request.
func (l *line) begin(k kind, count int) []byte {
	return binary.BigEndian.AppendUint32(append(l.frame[:0], byte(k)), uint32(count))
}

// receive reads one message.
func (l *line) receive() ([]byte, error) {
	var err error
	l.message, err = readFrame(l.read, l.message)
	return l.message, err
}

func (c *tcpClient) echo(_ context.Context, caller int, data []byte) ([]byte, error) {
	l := c.lines[caller]
	l.frame = appendFrame(l.begin(echo, 1), data)
	if _, err := l.Write(l.frame); err != nil {
		return nil, err
	}
	return l.receive()
}

func (c *tcpClient) download(_ context.Context, caller int, data []byte, count int, receive func([]byte) error) error {
	l := c.lines[caller]
	l.frame = appendFrame(l.begin(download, count), data)
	if _, err := l.Write(l.frame); err != nil {
		return err
	}
	for range count {
		message, err := l.receive()
		if err != nil {
			return err
		}
		if err := receive(message); err != nil {
			return err
		}
	}
	return nil
}

func (c *tcpClient) upload(_ context.Context, caller int, data []byte, count int) (int, []byte, error) {
	l := c.lines[caller]
	if _, err := l.write.Write(l.begin(upload, count)); err != nil {
		return 0, nil, err
	}
	l.frame = appendFrame(l.frame[:0], data)
	if err := l.stream(l.frame, count); err != nil {
		return 0, nil, err
	}
	answer, err := l.receive()
	if err != nil || len(answer) < 4 {
		return 0, nil, errors.Join(io.ErrUnexpectedEOF, err)
	}
	return int(binary.BigEndian.Uint32(answer)), answer[4:], nil
}

// stream writes a frame count times.
func (l *line) stream(frame []byte, count int) error {
	for range count {
		if _, err := l.write.Write(frame); err != nil {
			return err
		}
	}
	return l.write.Flush()
}

func (c *tcpClient) chat(_ context.Context, caller int, data []byte, count int, receive func([]byte) error) error {
	l := c.lines[caller]
	l.frame = appendFrame(l.begin(chat, count), data)
	for i := range count {
		frame := l.frame
		if i > 0 {
			frame = frame[tcpHead:]
		}
		if _, err := l.Write(frame); err != nil {
			return err
		}
		message, err := l.receive()
		if err != nil {
			return err
		}
		if err := receive(message); err != nil {
			return err
		}
	}
	return nil
}

// serveTCP answers the requests of one connection until it is closed.
func serveTCP(conn net.Conn) {
	defer conn.Close()
	l := newLine(conn)
	for {
		if err := l.serve(); err != nil {
			return
		}
	}
}

// serve answers one request.
func (l *line) serve() error {
	head, err := l.read.Peek(tcpHead)
	if err != nil {
		return err
	}
	k, count := kind(head[0]), int(binary.BigEndian.Uint32(head[1:]))
	if _, err := l.read.Discard(tcpHead); err != nil {
		return err
	}
	switch k {
	case echo, chat:
		for range count {
			message, err := l.receive()
			if err != nil {
				return err
			}
			l.frame = appendFrame(l.frame[:0], message)
			if _, err := l.Write(l.frame); err != nil {
				return err
			}
		}
		return nil
	case download:
		message, err := l.receive()
		if err != nil {
			return err
		}
		l.frame = appendFrame(l.frame[:0], message)
		return l.stream(l.frame, count)
	case upload:
		for range count {
			if _, err := l.receive(); err != nil {
				return err
			}
		}
		l.frame = binary.BigEndian.AppendUint32(l.frame[:0], uint32(4+len(l.message)))
		l.frame = binary.BigEndian.AppendUint32(l.frame, uint32(count))
		_, err := l.Write(append(l.frame, l.message...))
		return err
	}
	return fmt.Errorf("unknown kind %d", k)
}
