// SPDX-License-Identifier: Apache-2.0

// Command h2specserver serves cleartext HTTP/2 on the engine, for h2spec to ask
// its questions. It prints the address that it listens on as its first line and
// ends on SIGINT or SIGTERM.
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
// few bytes and want to see the body come in pieces, the longest of them five;
// others want responses that are complete at once, so that it stays well
// within the default window.
var answer = bytes.Repeat([]byte("the answer of h2specserver\n"), 40)

// grace bounds the wait for open streams when the program is told to end.
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

// run serves on addr until ctx ends, then finishes what it began.
func run(ctx context.Context, addr string, out io.Writer) error {
	server := &http.Server{Handler: http.HandlerFunc(serve), Protocols: new(http.Protocols)}
	server.Protocols.SetUnencryptedHTTP2(true)
	// A case about frames that are too large sends one of 17 KiB, which suits only
	// servers that take no larger ones than they must.
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

// serve answers when the request has ended: cases that leave a request open ask
// about the stream while it is open, and an early answer would close it.
func serve(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return // the peer broke the request off: nobody waits for an answer
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
	_, _ = w.Write(answer) // a lost peer is not this program's fault
}

// A lingering listener accepts connections that close gently if they do not begin
// with HTTP/2's preface. Those are net/http's to close, before the engine sees
// them, and closing a socket with unread bytes resets the connection: the peer
// then reads an error, where h2spec wants to read an end.
type lingering struct{ net.Listener }

func (l lingering) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &guest{TCPConn: accepted.(*net.TCPConn)}, nil
}

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// A guest remembers how its connection began.
type guest struct {
	*net.TCPConn

	mu    sync.Mutex
	began []byte // as much as the preface is long
}

func (g *guest) Read(p []byte) (int, error) {
	n, err := g.TCPConn.Read(p)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.began = append(g.began, p[:min(n, len(preface)-len(g.began))]...)
	return n, err
}

// Close reads what an unwelcome peer still sends, for a second at most.
func (g *guest) Close() error {
	g.mu.Lock()
	welcome := string(g.began) == preface[:len(g.began)]
	g.mu.Unlock()
	if !welcome {
		_ = g.CloseWrite()
		_ = g.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, g.TCPConn)
	}
	return g.TCPConn.Close()
}
