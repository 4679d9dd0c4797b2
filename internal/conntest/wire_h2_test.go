// SPDX-License-Identifier: Apache-2.0

// This file is the HTTP/2 half of the raw-wire kit: a client and a server that write frames by hand.

package conntest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2Client is one cleartext HTTP/2 connection whose frames the test writes itself. It is for one goroutine.
type h2Client struct {
	t      *testing.T
	conn   net.Conn
	framer *http2.Framer
	window int64 // what the server lets us send on a new stream
	credit int64 // what it lets us send on the connection
}

func newH2Client(t *testing.T, addr string) *h2Client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(wirePatience))
	return newH2ClientOn(t, conn)
}

// newH2ClientOn is newH2Client on a connection.
func newH2ClientOn(t *testing.T, conn net.Conn) *h2Client {
	t.Helper()
	c := &h2Client{t: t, conn: conn, framer: http2.NewFramer(conn, conn), window: 65535, credit: 65535}
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := c.framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	for settled := false; !settled; { // the server's settings come before everything else
		frame, err := c.framer.ReadFrame()
		if err != nil {
			t.Fatalf("read settings: %v", err)
		}
		if settings, ok := frame.(*http2.SettingsFrame); ok && !settings.IsAck() {
			if size, ok := settings.Value(http2.SettingInitialWindowSize); ok {
				c.window = int64(size)
			}
			_ = c.framer.WriteSettingsAck()
			settled = true
		}
	}
	return c
}

// open starts stream 1 with a POST that has a body.
func (c *h2Client) open(contentType string, pairs ...string) {
	c.t.Helper()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	fields := append([]string{
		":method", "POST", ":scheme", "http", ":authority", "wire", ":path", wireProcedure,
		"content-type", contentType, "te", "trailers",
	}, pairs...)
	for i := 0; i+1 < len(fields); i += 2 {
		_ = encoder.WriteField(hpack.HeaderField{Name: strings.ToLower(fields[i]), Value: fields[i+1]})
	}
	if err := c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true,
	}); err != nil {
		c.t.Fatal(err)
	}
}

// h2Reply is what a server sent on stream 1.
type h2Reply struct {
	wireReply
	ended  bool           // END_STREAM was seen
	reset  *http2.ErrCode // the code of RST_STREAM, if one was seen
	sent   int64          // bytes of DATA that the server's flow control let us send
	goAway bool
}

// flood sends head and then zeros for as long as flow control allows, until the server has reset the stream.
func (c *h2Client) flood(head []byte) h2Reply {
	c.t.Helper()
	reply := h2Reply{wireReply: wireReply{header: make(http.Header), trailer: make(http.Header)}}
	chunk := make([]byte, 16<<10)
	stream := c.window
	for reply.reset == nil && !reply.goAway {
		if reply.sent > wireTooMuch {
			c.t.Fatalf("flow control let us send %d bytes", reply.sent)
		}
		for !reply.ended && min(stream, c.credit) > 0 {
			n := min(stream, c.credit, int64(len(chunk)))
			data := chunk[:n]
			if len(head) > 0 {
				data = head[:min(n, int64(len(head)))]
				head = head[len(data):]
			}
			if err := c.framer.WriteData(1, false, data); err != nil {
				c.t.Fatalf("write: %v", err)
			}
			stream -= int64(len(data))
			c.credit -= int64(len(data))
			reply.sent += int64(len(data))
		}
		frame, err := c.framer.ReadFrame()
		if err != nil {
			c.t.Fatalf("read, after %d bytes sent, ended %v: %v", reply.sent, reply.ended, err)
		}
		switch frame := frame.(type) {
		case *http2.WindowUpdateFrame:
			if frame.StreamID == 0 {
				c.credit += int64(frame.Increment)
			} else {
				stream += int64(frame.Increment)
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				_ = c.framer.WritePing(true, frame.Data)
			}
		case *http2.MetaHeadersFrame:
			into := reply.header
			if reply.status != 0 {
				into = reply.trailer
			}
			for _, field := range frame.Fields {
				if field.Name == ":status" {
					_, _ = fmt.Sscan(field.Value, &reply.status)
					continue
				}
				into.Add(field.Name, field.Value)
			}
			reply.ended = frame.StreamEnded()
		case *http2.DataFrame:
			reply.body = append(reply.body, frame.Data()...)
			reply.ended = frame.StreamEnded()
		case *http2.RSTStreamFrame:
			code := frame.ErrCode
			reply.reset = &code
		case *http2.GoAwayFrame:
			reply.goAway = true
		}
	}
	return reply
}

// h2Serve accepts cleartext HTTP/2 connections and, for every request, calls answer with the framer and the stream's id.
// The answers of one connection run one after the other, on the goroutine that reads it.
func h2Serve(t *testing.T, answer func(framer *http2.Framer, id uint32)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var conns []net.Conn
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns = append(conns, conn)
			go h2ServeConn(conn, answer)
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
		for _, conn := range conns {
			conn.Close()
		}
	})
	return "http://" + listener.Addr().String()
}

func h2ServeConn(conn net.Conn, answer func(*http2.Framer, uint32)) {
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := framer.WriteSettings(); err != nil {
		return
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				_ = framer.WritePing(true, frame.Data)
			}
		case *http2.MetaHeadersFrame:
			answer(framer, frame.StreamID)
		}
	}
}

// h2Headers writes a HEADERS frame with the given fields.
func h2Headers(framer *http2.Framer, id uint32, end bool, pairs ...string) {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i+1 < len(pairs); i += 2 {
		_ = encoder.WriteField(hpack.HeaderField{Name: strings.ToLower(pairs[i]), Value: pairs[i+1]})
	}
	_ = framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end,
	})
}

// countingListener counts the bytes that a server reads from its connections.
type countingListener struct {
	net.Listener
	read *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countingConn{conn, l.read}, nil
}

type countingConn struct {
	net.Conn
	read *atomic.Int64
}

func (c countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}
