// SPDX-License-Identifier: Apache-2.0

// This file tests that net/http's HTTP/2 server does not end an answer before a short request has ended: it would reset
// the stream for the rest of the request, and nginx fails another call of the connection then. Time is virtual.

package conntest

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"golang.org/x/net/http2"
)

// oneConn is a listener with one connection.
type oneConn struct {
	conns chan net.Conn
	close func()
}

func (l oneConn) Addr() net.Addr { return &net.TCPAddr{} }
func (l oneConn) Close() error   { l.close(); return nil }
func (l oneConn) Accept() (net.Conn, error) {
	if conn, ok := <-l.conns; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

// streamEnd is what a server has sent to end stream 1.
type streamEnd struct {
	mu     sync.Mutex
	ended  bool
	resets []http2.ErrCode
}

func (e *streamEnd) read(framer *http2.Framer) {
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		e.mu.Lock()
		if frame.Header().StreamID == 1 {
			switch frame := frame.(type) {
			case *http2.MetaHeadersFrame:
				e.ended = e.ended || frame.StreamEnded()
			case *http2.DataFrame:
				e.ended = e.ended || frame.StreamEnded()
			case *http2.RSTStreamFrame:
				e.resets = append(e.resets, frame.ErrCode)
			}
		}
		e.mu.Unlock()
	}
}

// now returns what has come once no goroutine can go on.
func (e *streamEnd) now() (ended bool, resets []http2.ErrCode) {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ended, slices.Clone(e.resets)
}

func TestRefusedRequestIsReadToItsEnd(t *testing.T) {
	for _, test := range []struct {
		name, contentType string
		kind              connect.StreamType
		pairs             []string
		waits             bool // for the rest of the request
	}{
		{"one message", "application/grpc", connect.StreamTypeUnary, []string{"grpc-encoding", "unheard"}, true},
		{"one message, known length", "application/grpc", connect.StreamTypeServer, []string{"grpc-encoding", "unheard", "content-length", "5"}, true},
		{"stream, known length", "application/grpc", connect.StreamTypeClient, []string{"grpc-encoding", "unheard", "content-length", "5"}, true},
		{"timeout", "application/grpc", connect.StreamTypeUnary, []string{"grpc-encoding", "unheard", "grpc-timeout", "100m"}, true},
		{"no bytes", "application/proto", connect.StreamTypeUnary, []string{"content-encoding", "unheard", "content-length", "0"}, true},
		{"stream", "application/grpc", connect.StreamTypeClient, []string{"grpc-encoding", "unheard"}, false},
		{"large", "application/grpc", connect.StreamTypeUnary, []string{"grpc-encoding", "unheard", "content-length", "1000000"}, false},
		{"content type", "text/plain", connect.StreamTypeUnary, []string{"content-length", "5"}, true},
		{"no procedure", "application/grpc", connect.StreamTypeUnary, []string{"content-length", "5"}, true},
	} {
		for _, comes := range []bool{true, false} {
			t.Run(test.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					handler := wireHandler(test.kind, func(context.Context, *wireCall) error { return nil })
					if test.name == "no procedure" {
						handler = connect.NewUnknownProcedureHandler()
					}
					c, end := drainClient(t, handler)
					c.open(test.contentType, test.pairs...)
					rest := 5
					if slices.Contains(test.pairs, "0") {
						rest = 0
					}
					if ended, resets := end.now(); ended == test.waits || len(resets) > 0 && test.waits {
						t.Fatalf("before the rest of the request: got an end %v and the resets %v", ended, resets)
					}
					switch {
					case !test.waits:
						return
					case comes:
						if err := c.framer.WriteData(1, true, make([]byte, rest)); err != nil {
							t.Fatal(err)
						}
					case slices.Contains(test.pairs, "grpc-timeout"): // the call's time is over first
						time.Sleep(150 * time.Millisecond)
					default:
						time.Sleep(time.Second)
					}
					ended, resets := end.now()
					if !ended || comes && len(resets) > 0 {
						t.Errorf("got an end %v and the resets %v, want an end without a reset", ended, resets)
					}
				})
			})
		}
	}
}

// drainClient serves a handler with net/http, and returns a client on its one connection.
func drainClient(t *testing.T, handler http.Handler) (*h2Client, *streamEnd) {
	near, far := net.Pipe()
	l := oneConn{conns: make(chan net.Conn, 1)}
	l.close = sync.OnceFunc(func() { close(l.conns) })
	l.conns <- far
	server := &http.Server{Handler: handler, Protocols: new(http.Protocols)}
	server.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = near.Close(); _ = server.Close(); <-done })
	c := newH2ClientOn(t, near)
	end := new(streamEnd)
	go end.read(c.framer)
	return c, end
}
