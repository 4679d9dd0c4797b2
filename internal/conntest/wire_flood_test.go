// SPDX-License-Identifier: Apache-2.0

// This file tests items 25 and 84 of the checklist against peers that never stop sending: little is read, and then no more.

package conntest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	"golang.org/x/net/http2"
)

// endlessBody is a body that starts with head and never ends, nearly; it counts what is read.
type endlessBody struct {
	head   []byte
	repeat []byte // what follows head, again and again; zeros if empty
	read   atomic.Int64
	offset int
	closed atomic.Bool
}

func (b *endlessBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	if b.read.Load() > wireTooMuch {
		return 0, errors.New("read far too much of an endless body")
	}
	n := copy(p, b.head)
	b.head = b.head[n:]
	if n == 0 && len(b.repeat) > 0 {
		n = copy(p, b.repeat[b.offset:])
		b.offset = (b.offset + n) % len(b.repeat)
	} else if n == 0 {
		clear(p)
		n = len(p)
	}
	b.read.Add(int64(n))
	return n, nil
}

func (b *endlessBody) Close() error { b.closed.Store(true); return nil }

// serveDirect calls a handler without a server, so that the body is read by the handler alone.
func serveDirect(handler http.Handler, contentType string, body io.ReadCloser, pairs ...string) wireReply {
	req := httptest.NewRequest(http.MethodPost, wireProcedure, body)
	req.Proto, req.ProtoMajor, req.ProtoMinor = "HTTP/2.0", 2, 0
	req.ContentLength = -1
	req.Header = wireHeader(pairs...)
	req.Header.Set("Content-Type", contentType)
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, req)
	res := recorder.Result()
	data, _ := io.ReadAll(res.Body)
	header := res.Header.Clone()
	for name := range header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			delete(header, name)
		}
	}
	return wireReply{res.StatusCode, header, res.Trailer, data}
}

// Decision (25, 26): an envelope that is too large is refused from its prefix; an endless body is not read to the end.
func TestItem25_OversizedMessageIsNotRead(t *testing.T) {
	const limit = 1024
	huge := []byte{0, 0x40, 0, 0, 0} // an envelope of 1 GiB
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		most := int64(5 + wireBuffer) // a prefix
		body := &endlessBody{}
		if dialect.framed(kind) {
			body.head = huge
		} else {
			most = limit + 1 + wireBuffer
		}
		atError := int64(-1)
		handler := wireHandler(kind, func(_ context.Context, call *wireCall) error {
			_, err := call.receive()
			atError = body.read.Load()
			return err
		}, connect.WithReadMaxBytes(limit))
		reply := serveDirect(handler, dialect.contentType(kind, "proto"), body)
		wantEnd(t, dialect.end(t, kind, reply), connect.CodeResourceExhausted)
		if kind&connect.StreamTypeClient != 0 && (atError < 0 || atError > most) {
			t.Errorf("server read %d bytes before it refused, want at most %d", atError, most)
		}
		if got := body.read.Load(); got > most+wireDrain {
			t.Errorf("server read %d bytes in all, want at most %d", got, most+wireDrain)
		}

		answer := &endlessBody{head: slices.Clone(body.head)}
		if dialect.framed(kind) {
			answer.head = huge
		}
		out := dialect.call(t, kind, wireScript(func(req *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, req.Body)
			_ = req.Body.Close()
			res, _ := dialect.raw(kind, nil).response(req)
			res.Body = answer
			return res, nil
		}), connect.WithReadMaxBytes(limit))
		wantFault(t, out.err, connect.CodeResourceExhausted)
		if got := answer.read.Load(); got > most+wireDrain {
			t.Errorf("client read %d bytes, want at most %d", got, most+wireDrain)
		}
		if !answer.closed.Load() {
			t.Error("client left the response body open")
		}
	})
}

// floodHTTP1 sends head and then zeros over HTTP/1.1 for as long as the server takes them. It returns the reply, and how
// many bytes the server has read from the connection when it has closed it.
func floodHTTP1(t *testing.T, handler http.Handler, contentType string, head []byte) (reply wireReply, read int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var count atomic.Int64
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(countingListener{listener, &count})
	}()
	defer func() {
		_ = server.Close()
		<-served
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(wirePatience))
	if _, err := io.WriteString(conn, "POST "+wireProcedure+" HTTP/1.1\r\nHost: wire\r\nContent-Type: "+contentType+
		"\r\nContent-Length: 1073741824\r\n\r\n"+string(head)); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan int64, 1)
	go func() {
		chunk, sent := make([]byte, 32<<10), int64(0)
		for sent < wireTooMuch {
			n, err := conn.Write(chunk)
			sent += int64(n)
			if err != nil {
				break
			}
		}
		_ = conn.(*net.TCPConn).CloseWrite()
		stopped <- sent
	}()
	reader := bufio.NewReader(conn)
	res, err := http.ReadResponse(reader, &http.Request{Method: http.MethodPost})
	if err != nil {
		t.Fatalf("read response: %v", err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read response body: %v", err)
	}
	if _, err := reader.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read after the response: got %v, want a closed connection", err)
	}
	if res.Close {
		res.Header.Set("Connection", "close") // net/http hides it
	}
	if sent := <-stopped; sent >= wireTooMuch {
		t.Errorf("the server took %d bytes, want the connection closed", sent)
	}
	return wireReply{res.StatusCode, res.Header, res.Trailer, body}, count.Load()
}

// Decision (17, 18, 25, 26): close the connection (HTTP/1.1) or reset the stream (HTTP/2) rather than drain more than 256 KiB.
func TestItem25_ConnectionAfterOversizedMessage(t *testing.T) {
	const limit = 1024
	huge := []byte{0, 0x40, 0, 0, 0}
	kinds := []connect.StreamType{connect.StreamTypeUnary, connect.StreamTypeClient, connect.StreamTypeServer}
	wireEach(t, kinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		t.Parallel() // net/http lingers half a second before it closes a connection
		head := huge
		if !dialect.framed(kind) {
			head = nil
		}
		handler := wireEcho(kind, connect.WithReadMaxBytes(limit))
		t.Run("HTTP/1.1", func(t *testing.T) {
			reply, read := floodHTTP1(t, handler, dialect.contentType(kind, "proto"), head)
			wantEnd(t, dialect.end(t, kind, reply), connect.CodeResourceExhausted)
			wantSame(t, "Connection", reply.header.Get("Connection"), "close")
			if most := int64(limit + wireDrain + 2*wireBuffer); read > most {
				t.Errorf("server read %d bytes from the connection, want at most %d", read, most)
			}
		})
		t.Run("HTTP/2", func(t *testing.T) {
			client := newH2Client(t, wireServer(t, handler).Listener.Addr().String())
			client.open(dialect.contentType(kind, "proto"))
			reply := client.flood(slices.Clone(head))
			wantEnd(t, dialect.end(t, kind, reply.wireReply), connect.CodeResourceExhausted)
			if !reply.ended {
				t.Error("stream: reset without a complete answer")
			}
			if reply.reset == nil || *reply.reset != http2.ErrCodeNo {
				t.Errorf("stream: got reset %v, want %v", reply.reset, http2.ErrCodeNo)
			}
			if most := client.window + limit + wireDrain + wireBuffer; reply.sent > most {
				t.Errorf("flow control let us send %d bytes, want at most %d", reply.sent, most)
			}
		})
	})
}

// A handler that returns early leaves the rest of the request where it is.
func TestItem84_EndlessRequestIsNotDrained(t *testing.T) {
	kinds := []connect.StreamType{connect.StreamTypeClient, connect.StreamTypeServer, connect.StreamTypeBidi}
	message := wireMessages("again")
	wireEach(t, kinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		t.Parallel() // net/http lingers half a second before it closes a connection
		for _, failure := range []error{nil, connect.NewError(connect.CodeAborted, errors.New("enough"))} {
			want := connect.Code(0)
			if failure != nil {
				want = connect.CodeAborted
			}
			if kind == connect.StreamTypeServer {
				want = connect.CodeUnimplemented // more than one message (35)
			}
			handler := wireHandler(kind, func(_ context.Context, call *wireCall) error {
				if _, err := call.receive(); err != nil {
					return err
				}
				return failure
			})
			body := &endlessBody{repeat: message}
			reply := serveDirect(handler, dialect.contentType(kind, "proto"), body)
			wantEnd(t, dialect.end(t, kind, reply), want)
			if got, most := body.read.Load(), int64(wireDrain+wireBuffer); got > most {
				t.Errorf("server read %d bytes of an endless request, want at most %d", got, most)
			}
		}
		t.Run("HTTP/2", func(t *testing.T) {
			handler := wireHandler(kind, func(_ context.Context, call *wireCall) error {
				_, err := call.receive()
				return err
			})
			client := newH2Client(t, wireServer(t, handler).Listener.Addr().String())
			client.open(dialect.contentType(kind, "proto"))
			reply := client.flood(slices.Clone(message))
			if !reply.ended {
				t.Error("stream: reset without a complete answer")
			}
			if most := client.window + wireDrain + wireBuffer; reply.sent > most {
				t.Errorf("flow control let us send %d bytes, want at most %d", reply.sent, most)
			}
		})
		if kind == connect.StreamTypeBidi {
			return
		}
		t.Run("HTTP/1.1", func(t *testing.T) {
			handler := wireHandler(kind, func(_ context.Context, call *wireCall) error {
				_, err := call.receive()
				return err
			})
			_, read := floodHTTP1(t, handler, dialect.contentType(kind, "proto"), message)
			if most := int64(wireDrain + 2*wireBuffer); read > most {
				t.Errorf("server read %d bytes from the connection, want at most %d", read, most)
			}
		})
	})
}
