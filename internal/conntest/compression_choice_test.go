// SPDX-License-Identifier: Apache-2.0

// This file tests the choice of compressions by programs: per call, per message and in
// an order; and headers that leave before the messages.

package conntest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/compress/zstd"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// A record is what travelled in one direction of a call.
type record struct {
	mu     sync.Mutex
	header http.Header
	body   bytes.Buffer
}

// flags are those of the messages, without the end frame. An unframed body has the
// flag 1 if the header names a compression.
func (r *record) flags(t *testing.T, m mode, k kind) []byte {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.protocol == "connect" && k == unary {
		if r.header.Get("Content-Encoding") != "" {
			return []byte{1}
		}
		return []byte{0}
	}
	var flags []byte
	for _, e := range wireSplit(t, r.body.Bytes()) {
		if e.flags&^1 == 0 {
			flags = append(flags, e.flags)
		}
	}
	return flags
}

// reset forgets what was recorded.
func (r *record) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.header = nil
	r.body.Reset()
}

// encoding is what the header names.
func (r *record) encoding(m mode, k kind) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case m.protocol != "connect":
		return r.header.Get("Grpc-Encoding")
	case k == unary:
		return r.header.Get("Content-Encoding")
	}
	return r.header.Get("Connect-Content-Encoding")
}

// recordingWriter keeps what the handler writes.
type recordingWriter struct {
	http.ResponseWriter
	record *record
}

func (w *recordingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recordingWriter) Write(p []byte) (int, error) {
	w.record.mu.Lock()
	if w.record.header == nil {
		w.record.header = w.Header().Clone()
	}
	w.record.body.Write(p)
	w.record.mu.Unlock()
	return w.ResponseWriter.Write(p)
}

// recordingClient keeps what the client sends.
type recordingClient struct {
	connect.HTTPClient
	record *record
}

type recordingBody struct {
	io.ReadCloser
	record *record
}

func (c recordingClient) Do(r *http.Request) (*http.Response, error) {
	c.record.mu.Lock()
	c.record.header = r.Header.Clone()
	c.record.body.Reset()
	c.record.mu.Unlock()
	r.Body = recordingBody{r.Body, c.record}
	return c.HTTPClient.Do(r)
}

func (b recordingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.record.mu.Lock()
	b.record.body.Write(p[:n])
	b.record.mu.Unlock()
	return n, err
}

// recorded returns middleware that keeps responses.
func recorded(r *record) siteOption {
	return wrapped(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			next.ServeHTTP(&recordingWriter{w, r}, req)
		})
	})
}

// plainMode is a mode whose client accepts gzip, and sends uncompressed.
func plainMode(m mode) mode {
	m.codec, m.compression = "proto", ""
	return m
}

var long = strings.Repeat("Ada ", 500)

// A handler switches the compression off and on between messages.
func TestHandlerChoosesPerMessage(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		m = plainMode(m)
		var sent record
		client := m.serve(t, handlers{serverStream: func(ctx context.Context, _ *request, s *serverStreamOfHandler) error {
			info, ok := connect.CallInfoForHandlerContext(ctx)
			if !ok {
				return errors.New("got no call information")
			}
			for _, name := range []string{"", "identity", "gzip", "identity", "zstd"} {
				if name != "" {
					err := info.SetSendCompression(name)
					if name == "zstd" {
						if err == nil || !strings.Contains(err.Error(), `the headers are sent, and name "gzip"`) {
							return fmt.Errorf("another compression after the headers: got %w, want an error", err)
						}
					} else if err != nil {
						return err
					}
				}
				if err := s.Send(text2(long)); err != nil {
					return err
				}
			}
			return nil
		}}, recorded(&sent)).client()
		stream, err := client.ServerStream(testContext(t), requestOf("x"))
		wantNil(t, err)
		got := 0
		for msg, err := range stream.Messages() {
			wantNil(t, err)
			wantEqual(t, "text", msg.GetText(), long)
			got++
		}
		wantEqual(t, "messages", got, 5)
		wantEqual(t, "encoding", sent.encoding(m, serverStream), "gzip")
		if flags := sent.flags(t, m, serverStream); !slices.Equal(flags, []byte{1, 0, 1, 0, 0}) {
			t.Fatalf("got flags %v, want the messages 0 and 2 compressed", flags)
		}
	})
}

// A handler chooses the compression of a call, among those that it has and that the
// client accepts.
func TestHandlerChoosesPerCall(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		m = plainMode(m)
		for _, c := range []struct {
			choose, encoding string
			flag             byte
			fails            string
		}{
			{"", "zstd", 1, ""}, // what the client has added last
			{"gzip", "gzip", 1, ""},
			{"identity", "zstd", 0, ""}, // a stream may still switch it on
			{"br", "zstd", 1, `the client accepts ["zstd,gzip"]`},
			{"nope", "zstd", 1, "the handler does not have it: add it with WithCompression"},
		} {
			var sent record
			answer := func(ctx context.Context) error {
				info, _ := connect.CallInfoForHandlerContext(ctx)
				if c.choose == "" {
					return nil
				}
				err := info.SetSendCompression(c.choose)
				if c.fails == "" {
					return err
				}
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					return fmt.Errorf("choosing %q: got %v, want an error with %q", c.choose, err, c.fails)
				}
				return nil
			}
			client := m.serve(t, handlers{
				unary: func(ctx context.Context, _ *request) (*response, error) {
					return connect.NewResponse(text2(long)), answer(ctx)
				},
				serverStream: func(ctx context.Context, _ *request, s *serverStreamOfHandler) error {
					return errors.Join(answer(ctx), s.Send(text2(long)))
				},
			}, recorded(&sent)).client(zstd.With())
			for _, k := range []kind{unary, serverStream} {
				sent.reset()
				o := call(testContext(t), client, k, nil, text("x"))
				wantNil(t, o.err)
				encoding := c.encoding
				if c.choose == "identity" && k == unary {
					encoding = ""
				}
				wantEqual(t, string(k)+": encoding for "+c.choose, sent.encoding(m, k), encoding)
				if flags := sent.flags(t, m, k); !slices.Equal(flags, []byte{c.flag}) {
					t.Fatalf("%s: choosing %q: got flags %v, want %d", k, c.choose, flags, c.flag)
				}
			}
		}
	})
}

// A caller chooses the compression of a call before it, and of messages during it.
func TestCallerChooses(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		m = plainMode(m)
		site := m.serve(t, echo)
		for _, c := range []struct {
			options  []connect.ClientOption
			choose   string
			encoding string
			flag     byte
		}{
			{nil, "", "", 0},
			{nil, "gzip", "gzip", 1},
			{nil, "identity", "", 0},
			{[]connect.ClientOption{connect.WithSendGzip()}, "", "gzip", 1},
			{[]connect.ClientOption{connect.WithSendGzip()}, "identity", "", 0},
			{[]connect.ClientOption{connect.WithSendGzip(), zstd.With()}, "zstd", "zstd", 1},
		} {
			var sent record
			client := site.clientOn(recordingClient{site.httpClient(), &sent}, c.options...)
			direct := site.client(c.options...) // on the direct path, which nothing records
			for range 2 {                       // the second call finds what is kept of the first
				ctx, info := connect.NewClientContext(testContext(t))
				if c.choose != "" {
					wantNil(t, info.SetSendCompression(c.choose))
				}
				res, err := client.Unary(ctx, requestOf(long))
				wantNil(t, err)
				wantEqual(t, "text", res.Msg.GetText(), long)
				wantEqual(t, "encoding for "+c.choose, sent.encoding(m, unary), c.encoding)
				if flags := sent.flags(t, m, unary); !slices.Equal(flags, []byte{c.flag}) {
					t.Fatalf("choosing %q: got flags %v, want %d", c.choose, flags, c.flag)
				}
				res, err = direct.Unary(ctx, requestOf(long))
				wantNil(t, err)
				wantEqual(t, "text", res.Msg.GetText(), long)
			}
		}

		// Messages of a stream.
		var sent record
		client := site.clientOn(recordingClient{site.httpClient(), &sent}, zstd.With())
		ctx, info := connect.NewClientContext(testContext(t))
		wantNil(t, info.SetSendCompression("gzip"))
		stream := client.ClientStream(ctx)
		wantNil(t, stream.Send(text(long)))
		wantNil(t, info.SetSendCompression("identity"))
		wantNil(t, stream.Send(text(long)))
		err := info.SetSendCompression("zstd")
		wantCode(t, err, connect.CodeInternal)
		wantContains(t, "error", err.Error(), `the headers are sent, and name "gzip"`)
		wantNil(t, info.SetSendCompression("gzip"))
		wantNil(t, stream.Send(text(long)))
		res, err := stream.CloseAndReceive()
		wantNil(t, err)
		wantEqual(t, "messages", res.Msg.GetCount(), 3)
		wantEqual(t, "encoding", sent.encoding(m, clientStream), "gzip")
		if flags := sent.flags(t, m, clientStream); !slices.Equal(flags, []byte{1, 0, 1}) {
			t.Fatalf("got flags %v, want 1 0 1", flags)
		}

		// A name that the client does not know fails the calls.
		wantNil(t, info.SetSendCompression("nope"))
		for _, k := range m.kinds() {
			if k == get {
				continue
			}
			err := call(ctx, client, k, nil, text("x")).err
			wantCode(t, err, connect.CodeUnknown)
			wantContains(t, string(k), err.Error(), `unknown compression "nope": register it with WithAcceptCompression`)
		}
	})
}

// The handler's order decides among the compressions that a client weighs alike, and a
// client lists its own in its order.
func TestCompressionOrder(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		m = plainMode(m)
		for _, c := range []struct{ handler, client, want string }{
			{"", "", "br"}, // what the client has added last
			{"gzip zstd", "", "gzip"},
			{"zstd", "gzip", "zstd"},
			{"", "gzip br", "gzip"},
			{"snappy", "zstd", "zstd"}, // which the client does not have
		} {
			var sent record
			options := []connect.HandlerOption{}
			if c.handler != "" {
				options = append(options, connect.WithCompressionOrder(strings.Fields(c.handler)...))
			}
			asked := []connect.ClientOption{}
			for _, extra := range extraCompressions {
				if extra.name == "zstd" || extra.name == "br" {
					asked = append(asked, extra.option(m))
				}
			}
			if c.client != "" {
				asked = append(asked, connect.WithCompressionOrder(strings.Fields(c.client)...))
			}
			site := m.serve(t, echo, recorded(&sent), handlerOptions(options...))
			wantNil(t, call(testContext(t), site.client(asked...), unary, nil, text(long)).err)
			wantEqual(t, "handler "+c.handler+", client "+c.client, sent.encoding(m, unary), c.want)
		}
		client := m.serve(t, echo).client(connect.WithCompressionOrder("gzpi"))
		err := call(testContext(t), client, unary, nil, text("x")).err
		wantCode(t, err, connect.CodeUnknown)
		wantContains(t, "error", err.Error(), `WithCompressionOrder: unknown compression "gzpi"`)
	})
}

// --- headers ---

// A handler sends its headers before the messages in each kind of call, except where
// the protocol has the end of the call in them.
func TestSendHeader(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		proceed := make(chan struct{}, 1)
		refused := make(chan error, 1)
		site := m.serve(t, everyKind(func(ctx context.Context, x *exchange) error {
			info, _ := connect.CallInfoForHandlerContext(ctx)
			info.ResponseHeader().Set("Early", "yes")
			if err := info.SendHeader(); err != nil {
				refused <- err
			} else {
				<-proceed
				info.ResponseHeader().Set("Late", "no")
				if err := info.SendHeader(); err != nil {
					return fmt.Errorf("a second time: %w", err)
				}
			}
			if _, err := x.receiveAll(); err != nil {
				return err
			}
			x.trailer.Set("Ending", "yes")
			return x.send(text2(long))
		}))
		answered := make(chan http.Header, 1)
		client := site.clientOn(watchingClient{site.httpClient(), answered})
		for _, k := range m.kinds() {
			if k == clientStream && m.engine.name == "h1" {
				continue // its client reads no answer before the end of its request
			}
			ended := make(chan outcome, 1)
			go func() { ended <- call(testContext(t), client, k, nil, text("x")) }()
			early := m.protocol != "connect" || k != unary && k != get
			header := await(t, string(k)+": header", answered)
			if early {
				proceed <- struct{}{}
			} else {
				err := await(t, "refusal", refused)
				wantCode(t, err, connect.CodeUnimplemented)
				wantContains(t, "error", err.Error(), "unary calls of the Connect protocol send both with the message")
			}
			wantValues(t, string(k)+": header", header, "Early", "yes")
			o := await(t, string(k), ended)
			wantNil(t, o.err)
			wantEqual(t, string(k)+": text", o.messages[0].GetText(), long)
			wantValues(t, string(k)+": header", o.header, "Late")
			wantValues(t, string(k)+": trailer", o.trailer, "Ending", "yes")
		}
	})
}

// A watchingClient sees the headers of responses when they arrive.
type watchingClient struct {
	connect.HTTPClient
	answered chan http.Header
}

func (c watchingClient) Do(r *http.Request) (*http.Response, error) {
	res, err := c.HTTPClient.Do(r)
	if err == nil {
		c.answered <- res.Header
	} else {
		c.answered <- nil
	}
	return res, err
}

// On the client's side SendHeader sends the headers of a stream's request.
func TestClientSendHeader(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		asked := make(chan string, 1)
		client := m.serve(t, handlers{clientStream: func(_ context.Context, s *clientStreamOfHandler) (*response, error) {
			asked <- s.RequestHeader().Get("Asked")
			for range s.Messages() {
			}
			return connect.NewResponse(text2("done")), nil
		}}).client()
		ctx, info := connect.NewClientContext(testContext(t))
		wantCode(t, info.SendHeader(), connect.CodeInternal)
		info.RequestHeader().Set("Asked", "early")
		stream := client.ClientStream(ctx)
		wantNil(t, info.SendHeader())
		wantEqual(t, "header", await(t, "handler", asked), "early")
		_, err := stream.CloseAndReceive()
		wantNil(t, err)
		_, err = client.Unary(ctx, requestOf("x"))
		wantCode(t, err, connect.CodeUnimplemented)
		wantCode(t, info.SendHeader(), connect.CodeInternal)
	}, func(m mode) bool { return m.engine.name != "h3" }) // whose transport keeps the headers until there is a body
}

// Headers cannot leave early through middleware that cannot flush.
func TestSendHeaderWithoutFlush(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, handlers{clientStream: func(ctx context.Context, s *clientStreamOfHandler) (*response, error) {
			info, _ := connect.CallInfoForHandlerContext(ctx)
			if err := info.SendHeader(); connect.CodeOf(err) != connect.CodeInternal || !strings.Contains(err.Error(), "cannot flush") {
				return nil, fmt.Errorf("got %v, want internal", err)
			}
			return connect.NewResponse(new(conntestv1.Response)), nil
		}}, wrapped(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(struct{ http.ResponseWriter }{w}, r)
			})
		})).client()
		wantNil(t, call(testContext(t), client, clientStream, nil, text("x")).err)
	})
}
