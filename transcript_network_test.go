// SPDX-License-Identifier: Apache-2.0

// A network that remembers all bytes, and how transcripts show them.

package connect

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// pipeNetwork is a listener and a dialer over net.Pipe that remembers all bytes.
type pipeNetwork struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once

	mu             sync.Mutex
	sent, received bytes.Buffer // by the client
}

func newPipeNetwork() *pipeNetwork {
	return &pipeNetwork{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (n *pipeNetwork) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case n.conns <- theirs:
		return &recordedConn{ours, n}, nil
	case <-n.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *pipeNetwork) Accept() (net.Conn, error) {
	select {
	case conn := <-n.conns:
		return conn, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *pipeNetwork) Close() error { n.once.Do(func() { close(n.closed) }); return nil }

func (n *pipeNetwork) Addr() net.Addr { return &net.TCPAddr{} }

func (n *pipeNetwork) recorded() (sent, received []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return bytes.Clone(n.sent.Bytes()), bytes.Clone(n.received.Bytes())
}

// recordedConn is the client's end of a connection.
type recordedConn struct {
	net.Conn
	network *pipeNetwork
}

func (c *recordedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	c.network.received.Write(p[:n])
	return n, err
}

func (c *recordedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	c.network.sent.Write(p[:n])
	return n, err
}

// render writes one HTTP message as text. Where its body is chunked, the chunks
// are joined, as net/http decides on them, and its trailers follow; a framed body
// has one line for each frame.
func render(mark string, data []byte, request bool, t *testing.T) string {
	t.Helper()
	var b strings.Builder
	line := func(format string, args ...any) {
		b.WriteString(mark)
		fmt.Fprintf(&b, format, args...)
		b.WriteByte('\n')
	}
	r := bufio.NewReader(bytes.NewReader(data))
	text := textproto.NewReader(r)
	h := make(http.Header)
	for {
		s, err := text.ReadLine()
		if err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		if s == "" {
			break
		}
		s = strings.ReplaceAll(s, runtime.Version(), "GO")
		s = strings.ReplaceAll(s, "/"+ModuleVersion+" (GO", "/VERSION (GO")
		if key, value, ok := strings.Cut(s, ": "); ok {
			h.Add(key, value)
		}
		line("%s", s)
	}
	var body []byte
	var err error
	chunked := h.Get("Transfer-Encoding") == "chunked"
	if chunked {
		body, err = io.ReadAll(httputil.NewChunkedReader(r))
	} else {
		var n int
		if length := h.Get("Content-Length"); length != "" {
			if _, err := fmt.Sscan(length, &n); err != nil {
				t.Fatal(err)
			}
		} else if !request {
			n = r.Buffered()
		}
		body = make([]byte, n)
		_, err = io.ReadFull(r, body)
	}
	if err != nil && !(request && err == io.ErrUnexpectedEOF) { // the server may end a call before the client does
		t.Fatalf("%q: %v", data, err)
	}
	contentType := h.Get("Content-Type")
	if strings.HasPrefix(contentType, "application/grpc") || strings.HasPrefix(contentType, "application/connect+") {
		for len(body) >= prefixSize {
			size := binary.BigEndian.Uint32(body[1:])
			line("frame %#02x %d %q", body[0], size, body[prefixSize:prefixSize+size])
			body = body[prefixSize+size:]
		}
	}
	if len(body) > 0 {
		line("body %d %q", len(body), body)
	}
	if chunked {
		for {
			s, err := text.ReadLine()
			if err != nil || s == "" {
				break
			}
			line("trailer %s", s)
		}
	}
	if rest := r.Buffered(); rest > 0 {
		line("more %d bytes", rest)
	}
	return b.String()
}
