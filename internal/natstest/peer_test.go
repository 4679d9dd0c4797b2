// SPDX-License-Identifier: Apache-2.0

// Peers that break the protocol, written with nats.go alone: each call ends with a clear
// code, and nothing is left.

package natstest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/seed-b7c59c10/connect"
	natsrpc "github.com/seed-b7c59c10/connect/nats"
)

// The types of frames, and the flag of the last one of a body. [PROTOCOL.md, section 3]
const (
	open, accept, head, data, window, ping, pong, reset = 1, 2, 3, 4, 5, 6, 7, 8

	end = 0x80
)

// pack makes a frame.
func pack(kind byte, seq uint64, payload string) []byte {
	return append(binary.AppendUvarint([]byte{kind}, seq), payload...)
}

func count(n uint64) string { return string(binary.AppendUvarint(nil, n)) }

// A message is what a raw peer sends.
type message struct {
	data   []byte
	header nats.Header
}

var okHead = nats.Header{"Rpc-Status": {"200"}, "Content-Type": {"text/plain"}}

// rawServer answers each OPEN of a.B with messages. Frames of the client come to the channel.
func rawServer(t *testing.T, nc *nats.Conn, messages ...message) chan *nats.Msg {
	t.Helper()
	got := make(chan *nats.Msg, 1000)
	inbox := nc.NewInbox()
	subscribe(t, nc, inbox, func(m *nats.Msg) { got <- m })
	subscribe(t, nc, "rpc.a.B.*", func(m *nats.Msg) {
		for _, one := range messages {
			_ = nc.PublishMsg(&nats.Msg{Subject: m.Reply, Reply: inbox, Data: one.data, Header: one.header})
		}
	})
	if err := nc.FlushWithContext(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return got
}

func subscribe(t *testing.T, nc *nats.Conn, subject string, f func(*nats.Msg)) {
	t.Helper()
	sub, err := nc.Subscribe(subject, f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
}

// fetch makes a call with a body that ends when the call does. It returns the body of the
// response.
func fetch(t *testing.T, transport http.RoundTripper) (string, error) {
	t.Helper()
	body, w := io.Pipe()
	defer w.Close()
	r, err := http.NewRequestWithContext(testContext(t), http.MethodPost, base+"/a.B/M", body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	return string(b), err
}

func TestBadServers(t *testing.T) {
	s := startServer(t, nil)
	acceptance := message{data: pack(accept, 0, count(256<<10))}
	for _, test := range []struct {
		name     string
		messages []message
		code     connect.Code // 0: success
		want     string
	}{
		{"good", []message{acceptance, {pack(head, 1, "some "), okHead}, {pack(data|end, 2, "text"), nil}}, 0, "some text"},
		{"unknown status", []message{{pack(head|end, 0, "text"), nats.Header{"Rpc-Status": {"999"}}}}, 0, "text"},
		{"twice each", []message{acceptance, acceptance, {pack(head, 1, "some "), okHead}, {pack(head, 1, "some "), okHead}, {pack(data|end, 2, "text"), nil}}, 0, "some text"},
		{"a gap", []message{acceptance, {pack(head, 1, "some "), okHead}, {pack(data|end, 3, "text"), nil}}, connect.CodeUnavailable, "got frame 3, want 2"},
		{"other order", []message{acceptance, {pack(data|end, 2, "text"), nil}, {pack(head, 1, "some "), okHead}}, connect.CodeUnavailable, "got frame 2, want 1"},
		{"a loss that a ping shows", []message{acceptance, {pack(head, 1, "some "), okHead}, {pack(ping, 3, ""), nil}}, connect.CodeUnavailable, "got frame 3, want 2"},
		{"empty message", []message{{nil, nats.Header{"X": {"1"}}}}, connect.CodeInternal, "got no bytes"},
		{"garbage", []message{{[]byte("hello"), nil}}, connect.CodeInternal, "unknown type 104"},
		{"half a number", []message{{[]byte("\x04\x80"), nil}}, connect.CodeInternal, "the number goes on"},
		{"no status", []message{acceptance, {pack(head, 1, ""), nil}}, connect.CodeInternal, "got a HEAD with the status \"\""},
		{"bad status", []message{acceptance, {pack(head, 1, ""), nats.Header{"Rpc-Status": {"2OO"}}}}, connect.CodeInternal, "status \"2OO\""},
		{"status 101", []message{acceptance, {pack(head, 1, ""), nats.Header{"Rpc-Status": {"101"}}}}, connect.CodeInternal, "status \"101\""},
		{"data first", []message{{pack(data, 0, "x"), nil}}, connect.CodeInternal, "got DATA, which may not come now"},
		{"two heads", []message{acceptance, {pack(head, 1, "x"), okHead}, {pack(head, 2, "x"), okHead}}, connect.CodeInternal, "got HEAD, which may not come now"},
		{"more than the window", []message{acceptance, {pack(head, 1, strings.Repeat("x", 256<<10+1)), okHead}}, connect.CodeResourceExhausted, "of a window of 262144"},
		{"a window of nothing", []message{{pack(accept, 0, count(0)), nil}}, connect.CodeInternal, "got 0 bytes"},
		{"a huge window", []message{{pack(accept, 0, count(1<<40)), nil}}, connect.CodeInternal, "want 1 to"},
		{"window for nothing", []message{acceptance, {pack(window, 1, count(5)), nil}}, connect.CodeInternal, "got a WINDOW of 5 bytes"},
		{"reset", []message{{pack(reset, 0, "\x08\x00too busy"), nil}}, connect.CodeResourceExhausted, "the server has ended the call: too busy"},
		{"refused", []message{{pack(reset, 0, "\x0e\x01too busy"), nil}}, connect.CodeUnavailable, "the server has refused the call: too busy"},
		{"reset later", []message{acceptance, {pack(head, 1, "x"), okHead}, {pack(reset, 0, "\x0e\x00going"), nil}}, connect.CodeUnavailable, "going"},
		{"bad reset", []message{{pack(reset, 0, "\x63\x00"), nil}}, connect.CodeInternal, "code 99"},
	} {
		t.Run(test.name, func(t *testing.T) {
			own := dial(t, s)
			rawServer(t, own, test.messages...)
			nc := dial(t, s)
			got, err := fetch(t, natsrpc.NewTransport(nc))
			if test.code == 0 {
				if err != nil || got != test.want {
					t.Errorf("got %q and error %v, want %q", got, err, test.want)
				}
				return
			}
			wantError(t, "call", err, test.code, test.want)
		})
	}
}

// Two servers that both get an OPEN: the client takes the first that answers, and ends the
// call of the other.
func TestTwoServers(t *testing.T) {
	s := startServer(t, nil)
	var received [2]chan *nats.Msg
	for i := range received {
		own := dial(t, s)
		received[i] = rawServer(t, own, message{data: pack(accept, 0, count(256<<10))}, message{pack(head, 1, ""), okHead}, message{pack(data|end, 2, fmt.Sprint(i)), nil})
	}
	got, err := fetch(t, natsrpc.NewTransport(dial(t, s)))
	if err != nil || got != "0" && got != "1" {
		t.Fatalf("got %q and error %v, want the answer of one server", got, err)
	}
	other := 1 - int(got[0]-'0')
	if m := <-received[other]; m.Data[0] != reset {
		t.Errorf("got % x at the other server, want a RESET", m.Data)
	}
}

// ---- clients ----

// A rawClient is a client of a.B/M, with an inbox of its own.
type rawClient struct {
	nc    *nats.Conn
	inbox string
	got   chan *nats.Msg
}

func newRawClient(t *testing.T, nc *nats.Conn) *rawClient {
	c := &rawClient{nc, nc.NewInbox(), make(chan *nats.Msg, 10_000)}
	subscribe(t, nc, c.inbox, func(m *nats.Msg) { c.got <- m })
	return c
}

var openHeader = nats.Header{"Rpc-Version": {"1"}, "Rpc-Method": {"POST"}, "Rpc-Host": {"rpc"}, "Rpc-Window": {"262144"}}

// with returns openHeader with changes: pairs of names and values.
func with(pairs ...string) nats.Header {
	h := make(nats.Header)
	for key, values := range openHeader {
		h[key] = values
	}
	for i := 0; i < len(pairs); i += 2 {
		h[pairs[i]] = []string{pairs[i+1]}
	}
	return h
}

func (c *rawClient) send(subject string, data []byte, h nats.Header) {
	_ = c.nc.PublishMsg(&nats.Msg{Subject: subject, Reply: c.inbox, Data: data, Header: h})
}

// until returns the first frame of a type.
func (c *rawClient) until(t *testing.T, kind byte) *nats.Msg {
	t.Helper()
	ctx := testContext(t)
	for {
		select {
		case m := <-c.got:
			switch {
			case len(m.Data) > 0 && m.Data[0]&^end == kind:
				return m
			case len(m.Data) == 0:
				t.Fatalf("got %v, want a frame of type %d", m.Header, kind)
			}
		case <-ctx.Done():
			t.Fatalf("got no frame of type %d", kind)
		}
	}
}

// resetOf returns the code and the text of a RESET.
func resetOf(m *nats.Msg) (connect.Code, string) { return connect.Code(m.Data[2]), string(m.Data[4:]) }

func TestBadOpens(t *testing.T) {
	s := startServer(t, nil)
	var runs atomic.Int64
	serve(t, dial(t, s), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { runs.Add(1) }), natsrpc.Services("a.B"))
	nc := dial(t, s)
	for _, test := range []struct {
		name   string
		data   []byte
		header nats.Header
		code   connect.Code
		want   string
	}{
		{"no frame", []byte("hello"), openHeader, connect.CodeInvalidArgument, "unknown type"},
		{"nothing", nil, openHeader, connect.CodeInvalidArgument, "no bytes"},
		{"no header", pack(open|end, 0, ""), nil, connect.CodeUnimplemented, "got version \"\""},
		{"version 2", pack(open|end, 0, ""), with("Rpc-Version", "2"), connect.CodeUnimplemented, "got version \"2\" of the protocol, want \"1\""},
		{"another frame", pack(ping, 0, ""), openHeader, connect.CodeInvalidArgument, "a call begins with frame 0, an OPEN"},
		{"another number", pack(open|end, 1, ""), openHeader, connect.CodeInvalidArgument, "a call begins with frame 0"},
		{"more than the window", pack(open|end, 0, strings.Repeat("x", 300<<10)), openHeader, connect.CodeInvalidArgument, "at most 262144 bytes"},
		{"no window", pack(open|end, 0, ""), with("Rpc-Window", ""), connect.CodeInvalidArgument, "got a window of \"\""},
		{"small window", pack(open|end, 0, ""), with("Rpc-Window", "1"), connect.CodeInvalidArgument, "got a window of \"1\""},
		{"huge window", pack(open|end, 0, ""), with("Rpc-Window", "99999999999999"), connect.CodeInvalidArgument, "got a window of"},
		{"method", pack(open|end, 0, ""), with("Rpc-Method", "PO ST"), connect.CodeInvalidArgument, "method \"PO ST\""},
		{"no method", pack(open|end, 0, ""), with("Rpc-Method", ""), connect.CodeInvalidArgument, "method \"\""},
		{"host", pack(open|end, 0, ""), with("Rpc-Host", "a/b"), connect.CodeInvalidArgument, "host \"a/b\""},
		{"query", pack(open|end, 0, ""), with("Rpc-Query", "a b"), connect.CodeInvalidArgument, "query \"a b\""},
		{"length", pack(open|end, 0, "x"), with("Content-Length", "2"), connect.CodeInvalidArgument, "Content-Length"},
		{"bad length", pack(open, 0, "x"), with("Content-Length", "-2"), connect.CodeInvalidArgument, "Content-Length"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newRawClient(t, nc)
			c.send("rpc.a.B.M", test.data, test.header)
			if code, text := resetOf(c.until(t, reset)); code != test.code || !strings.Contains(text, test.want) {
				t.Errorf("got %v: %s, want %v with %q", code, text, test.code, test.want)
			}
		})
	}
	// No reply subject: nothing happens. Another method is the handler's to refuse.
	_ = nc.Publish("rpc.a.B.M", pack(open|end, 0, ""))
	c := newRawClient(t, nc)
	c.send("rpc.a.B.Other", pack(open|end, 0, ""), openHeader)
	if m := c.until(t, head); m.Header.Get("Rpc-Status") != "200" {
		t.Errorf("got %v, want a HEAD", m.Header)
	}
	if got := runs.Load(); got != 1 {
		t.Errorf("got %d calls of the handler, want 1", got)
	}
}

// What a client may send after its OPEN, and may not.
func TestBadClients(t *testing.T) {
	s := startServer(t, nil)
	failed, causes := make(chan error, 10), make(chan error, 10)
	serve(t, dial(t, s), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Wait") != "" { // a handler that does not read
			<-r.Context().Done()
		}
		b, err := io.ReadAll(r.Body)
		if err == nil {
			_, _ = w.Write(b)
			return
		}
		failed <- err
		<-r.Context().Done()
		causes <- context.Cause(r.Context())
	}), natsrpc.Services("a.B"))
	nc := dial(t, s)
	large := strings.Repeat("x", 200<<10)
	for _, test := range []struct {
		name   string
		frames [][]byte
		code   connect.Code
		want   string
	}{
		{"a gap", [][]byte{pack(data, 2, "x")}, connect.CodeUnavailable, "got frame 2, want 1"},
		{"other order", [][]byte{pack(data|end, 2, "x"), pack(data, 1, "x")}, connect.CodeUnavailable, "got frame 2, want 1"},
		{"garbage", [][]byte{[]byte("hello")}, connect.CodeInternal, "unknown type"},
		{"a head", [][]byte{pack(head, 1, "")}, connect.CodeInternal, "got HEAD"},
		{"a second OPEN", [][]byte{pack(open, 1, "")}, connect.CodeInternal, "got OPEN"},
		{"more than the window", [][]byte{pack(data, 1, large), pack(data, 2, large)}, connect.CodeResourceExhausted, "of a window of 262144"},
		{"window for nothing", [][]byte{pack(window, 1, count(1))}, connect.CodeInternal, "WINDOW of 1 bytes"},
		{"reset", [][]byte{pack(reset, 0, "\x01\x00no need")}, connect.CodeCanceled, "the client has ended the call: no need"},
		{"bad reset", [][]byte{pack(reset, 0, "")}, connect.CodeInternal, "the code of a RESET"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newRawClient(t, nc)
			c.send("rpc.a.B.M", pack(open, 0, ""), with("X-Wait", map[bool]string{true: "1"}[test.name == "more than the window"]))
			peer := c.until(t, accept).Reply
			for _, f := range test.frames {
				c.send(peer, f, nil)
			}
			wantError(t, "body", <-failed, test.code, test.want)
			if err := <-causes; err == nil || connect.CodeOf(err) != test.code {
				t.Errorf("got cause %v, want %v", err, test.code)
			}
			if test.name != "reset" {
				if test.name == "bad reset" {
					return // no frame answers a RESET
				}
				if code, text := resetOf(c.until(t, reset)); code != test.code || !strings.Contains(text, test.want) {
					t.Errorf("got %v: %s, want %v with %q", code, text, test.code, test.want)
				}
			}
		})
	}
	t.Run("twice each", func(t *testing.T) {
		c := newRawClient(t, nc)
		for range 2 {
			c.send("rpc.a.B.M", pack(open, 0, ""), openHeader)
		}
		peer := c.until(t, accept).Reply
		for _, f := range [][]byte{pack(data, 1, "some "), pack(data, 1, "some "), pack(ping, 2, ""), pack(data|end, 3, "text"), pack(data|end, 3, "text")} {
			c.send(peer, f, nil)
		}
		c.until(t, pong)
		if m := c.until(t, head); string(m.Data[2:]) != "some text" {
			t.Errorf("got %q, want the body once", m.Data[2:])
		}
	})
	t.Run("a call that is over", func(t *testing.T) {
		c := newRawClient(t, nc)
		c.send("rpc.a.B.M", pack(open, 0, ""), openHeader)
		peer := c.until(t, accept).Reply
		c.send(peer, pack(data|end, 1, ""), nil)
		c.until(t, head)
		for seq := uint64(2); ; seq++ { // the server may answer until it has forgotten the call
			c.send(peer, pack(ping, seq, ""), nil)
			if m := <-c.got; m.Data[0] == reset {
				c.got <- m
				break
			}
		}
		if code, text := resetOf(c.until(t, reset)); code != connect.CodeUnavailable || !strings.Contains(text, "no such call") {
			t.Errorf("got %v: %s, want unavailable", code, text)
		}
		c.send(peer, pack(reset, 0, "\x01\x00"), nil) // is not answered
		c.send(peer, []byte("garbage"), nil)
		c.send(peer, pack(ping, 3, ""), nil)
		c.until(t, reset)
		if n := len(c.got); n != 0 {
			t.Errorf("got %d more frames, want none", n)
		}
	})
}

// A client that never reads stops its server within the window.
func TestClientNeverReads(t *testing.T) {
	s := startServer(t, nil)
	failed := make(chan error)
	var written atomic.Int64
	serve(t, dial(t, s), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			n, err := w.Write(make([]byte, 10_000))
			if written.Add(int64(n)); err != nil {
				failed <- err
				return
			}
		}
	}), natsrpc.Services("a.B"))
	c := newRawClient(t, dial(t, s))
	c.send("rpc.a.B.M", pack(open|end, 0, ""), openHeader)
	peer, got := "", 0
	for got < 256<<10 {
		m := <-c.got
		peer = m.Reply
		if kind := m.Data[0] &^ end; kind == head || kind == data {
			_, n := binary.Uvarint(m.Data[1:])
			got += len(m.Data) - 1 - n
		}
	}
	if got != 256<<10 {
		t.Errorf("got %d bytes, want the window alone", got)
	}
	c.send(peer, pack(ping, 1, ""), nil)
	if m := <-c.got; m.Data[0] != pong {
		t.Errorf("got % x, want a PONG and no more of the body", m.Data[:1])
	}
	c.send(peer, pack(window, 2, count(1000)), nil)
	m := c.until(t, data)
	if _, n := binary.Uvarint(m.Data[1:]); len(m.Data)-1-n != 1000 {
		t.Errorf("got %d bytes, want the 1000 that were announced", len(m.Data)-1-n)
	}
	c.send(peer, pack(reset, 0, "\x01\x00enough"), nil)
	wantError(t, "write", <-failed, connect.CodeCanceled, "enough")
	if got := written.Load(); got < 250<<10 || got > 400<<10 {
		t.Errorf("got %d bytes written, want a window and a buffer", got)
	}
}

// A client that is gone without a word ends its call with the next frame to it.
func TestClientGone(t *testing.T) {
	s := startServer(t, nil)
	begun, causes := make(chan struct{}), make(chan error)
	serve(t, dial(t, s), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		var err error
		for err == nil {
			if _, err = w.Write(make([]byte, 1)); err == nil {
				err = http.NewResponseController(w).Flush()
			}
		}
		<-r.Context().Done()
		causes <- errors.Join(err, context.Cause(r.Context()))
	}), natsrpc.Services("a.B"))
	nc := dial(t, s)
	c := newRawClient(t, nc)
	c.send("rpc.a.B.M", pack(open, 0, ""), openHeader)
	<-begun
	nc.Close()
	wantError(t, "handler", <-causes, connect.CodeUnavailable, "the peer is gone")
}
