// SPDX-License-Identifier: Apache-2.0

// Command h2specserver serves cleartext HTTP/2 on the engine, for the cases of
// h2spec. It prints the address that it listens on as its first line and ends on
// SIGINT or SIGTERM.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
)

// answer is the body of every response. Several cases shrink the window to a
// few bytes and expect the body in pieces of that size. Others expect a complete
// response at once, so the body stays well within the default window.
var answer = bytes.Repeat([]byte("the answer of h2specserver\n"), 40)

// grace bounds the wait for open streams after a signal.
const grace = 5 * time.Second

func main() {
	addr := flag.String("addr", "localhost:8080", "`host:port` to listen on; port 0: any that is free")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "h2specserver:", err)
		os.Exit(1)
	}
}

// run serves on addr until ctx ends, then waits for the open streams.
func run(ctx context.Context, addr string, out io.Writer) error {
	server := &http.Server{Handler: http.HandlerFunc(serve), Protocols: new(http.Protocols)}
	server.Protocols.SetUnencryptedHTTP2(true)
	// The case of a frame that is too large sends one of 17 KiB, so the server's limit
	// must be the smallest that HTTP/2 allows.
	server.HTTP2 = &http.HTTP2Config{MaxReadFrameSize: 16 << 10}
	if err := h2.ConfigureServer(server, nil); err != nil {
		return fmt.Errorf("configuring the server: %w", err)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, listener.Addr())
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(lingering{listener}) }()
	select {
	case err = <-failed:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err = server.Shutdown(ending); err != nil {
		err = server.Close()
	}
	if served := <-failed; err == nil && !errors.Is(served, http.ErrServerClosed) {
		err = served
	}
	return err
}

// serve answers when the request has ended. Some cases leave a request open and test
// the open stream, which an early answer would close.
func serve(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return // the peer broke the request off and reads no answer
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
	_, _ = w.Write(answer) // a lost peer is not this program's fault
}

// A lingering listener accepts connections that close gently if they do not begin
// with HTTP/2's preface. net/http closes these itself, without the engine. A socket
// that is closed with unread bytes resets the connection: the peer then reads an
// error, where h2spec expects an end.
type lingering struct{ net.Listener }

func (l lingering) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	socket := accepted.(*net.TCPConn)
	return &guest{Conn: socket, socket: socket}, nil
}

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// A guest is a connection that keeps its first bytes. It does not embed the type of the
// socket: the engine would not rely on a CloseWrite that is there by promotion.
type guest struct {
	net.Conn
	socket *net.TCPConn

	mu    sync.Mutex
	began []byte // as much as the preface is long
}

func (g *guest) Read(p []byte) (int, error) {
	n, err := g.socket.Read(p)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.began = append(g.began, p[:min(n, len(preface)-len(g.began))]...)
	return n, err
}

// CloseWrite ends the direction of the server.
func (g *guest) CloseWrite() error { return g.socket.CloseWrite() }

// Close closes the connection. Without a preface it first ends its own direction and
// reads for a second at most, so that the peer's last bytes cause no reset.
func (g *guest) Close() error {
	g.mu.Lock()
	welcome := string(g.began) == preface[:len(g.began)]
	g.mu.Unlock()
	if !welcome {
		_ = g.CloseWrite()
		_ = g.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, g.socket)
	}
	return g.socket.Close()
}
