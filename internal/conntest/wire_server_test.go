// SPDX-License-Identifier: Apache-2.0

// This file is the server half of the raw-wire kit: handlers of every kind around one function, and servers that are asked with
// hand-made requests.

package conntest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/protobuf/encoding/protowire"
)

// wireCall is the handler's end of a call of any kind.
type wireCall struct {
	info    connect.CallInfo
	receive func() (string, error) // io.EOF after the last message
	send    func(string) error
}

// wireHandler builds a handler of the given kind around one function.
func wireHandler(
	kind connect.StreamType, serve func(context.Context, *wireCall) error, options ...connect.HandlerOption,
) http.Handler {
	newCall := func(ctx context.Context) *wireCall {
		info, ok := connect.CallInfoForHandlerContext(ctx)
		if !ok {
			panic("handler context without call info")
		}
		return &wireCall{info: info}
	}
	once := func(text string) func() (string, error) {
		done := false
		return func() (string, error) {
			if done {
				return "", io.EOF
			}
			done = true
			return text, nil
		}
	}
	switch kind {
	case connect.StreamTypeUnary:
		return connect.NewUnaryHandler(wireProcedure,
			func(ctx context.Context, req *connect.Request[wireText]) (*connect.Response[wireText], error) {
				call, res := newCall(ctx), connect.NewResponse(&wireText{})
				call.receive = once(req.Msg.GetValue())
				call.send = func(text string) error { res.Msg.Value = text; return nil }
				if err := serve(ctx, call); err != nil {
					return nil, err
				}
				return res, nil
			}, options...)
	case connect.StreamTypeClient:
		return connect.NewClientStreamHandler(wireProcedure,
			func(ctx context.Context, stream *connect.ClientStream[wireText]) (*connect.Response[wireText], error) {
				call, res := newCall(ctx), connect.NewResponse(&wireText{})
				call.receive = func() (string, error) {
					if stream.Receive() {
						return stream.Msg().GetValue(), nil
					}
					if err := stream.Err(); err != nil {
						return "", err
					}
					return "", io.EOF
				}
				call.send = func(text string) error { res.Msg.Value = text; return nil }
				if err := serve(ctx, call); err != nil {
					return nil, err
				}
				return res, nil
			}, options...)
	case connect.StreamTypeServer:
		return connect.NewServerStreamHandler(wireProcedure,
			func(ctx context.Context, req *connect.Request[wireText], stream *connect.ServerStream[wireText]) error {
				call := newCall(ctx)
				call.receive = once(req.Msg.GetValue())
				call.send = func(text string) error { return stream.Send(&wireText{Value: text}) }
				return serve(ctx, call)
			}, options...)
	default:
		return connect.NewBidiStreamHandler(wireProcedure,
			func(ctx context.Context, stream *connect.BidiStream[wireText, wireText]) error {
				call := newCall(ctx)
				call.receive = func() (string, error) {
					msg, err := stream.Receive()
					if errors.Is(err, io.EOF) {
						return "", io.EOF
					}
					return msg.GetValue(), err
				}
				call.send = func(text string) error { return stream.Send(&wireText{Value: text}) }
				return serve(ctx, call)
			}, options...)
	}
}

// wireEcho answers with what it receives: message by message, or joined with commas where only one answer is possible.
func wireEcho(kind connect.StreamType, options ...connect.HandlerOption) http.Handler {
	return wireHandler(kind, func(_ context.Context, call *wireCall) error {
		var texts []string
		for {
			text, err := call.receive()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			texts = append(texts, text)
			if kind&connect.StreamTypeServer != 0 {
				if err := call.send(text); err != nil {
					return err
				}
			}
		}
		if kind&connect.StreamTypeServer != 0 {
			return nil
		}
		return call.send(strings.Join(texts, ","))
	}, options...)
}

// wireFail answers every call with err.
func wireFail(kind connect.StreamType, err error, options ...connect.HandlerOption) http.Handler {
	return wireHandler(kind, func(context.Context, *wireCall) error { return err }, options...)
}

// wireServer serves HTTP/1.1 and cleartext HTTP/2 until the test ends.
func wireServer(t *testing.T, handler http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	configureEngine(t, server.Config)
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// wireTransport is a client for one HTTP version that never adds or hides an encoding.
func wireTransport(t *testing.T, http1 bool) *http.Client {
	t.Helper()
	return &http.Client{
		Transport:     engineTransport(t, http1, &http.Transport{DisableCompression: true}),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// wireReply is an HTTP response read to its end.
type wireReply struct {
	status  int
	header  http.Header
	trailer http.Header
	body    []byte
}

// wireAsk describes one raw request.
type wireAsk struct {
	method string // POST if empty
	target string // path and query; the procedure if empty
	header http.Header
	body   io.Reader
	http1  bool
}

// ask sends the request to a server of its own and reads the whole answer.
func (a wireAsk) ask(t *testing.T, handler http.Handler) wireReply {
	t.Helper()
	if a.method == "" {
		a.method = http.MethodPost
	}
	if a.target == "" {
		a.target = wireProcedure
	}
	server := wireServer(t, handler)
	ctx, cancel := context.WithTimeout(t.Context(), wirePatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, a.method, server.URL+a.target, a.body)
	if err != nil {
		t.Fatal(err)
	}
	if a.header != nil {
		req.Header = a.header
	}
	client := wireTransport(t, a.http1)
	res, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", a.method, a.target, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: read body: %v", a.method, a.target, err)
	}
	return wireReply{res.StatusCode, res.Header, res.Trailer, body}
}

// wirePost posts a body over cleartext HTTP/2; pairs are further header names and values.
func wirePost(t *testing.T, handler http.Handler, contentType string, body []byte, pairs ...string) wireReply {
	t.Helper()
	header := wireHeader(pairs...)
	header.Set("Content-Type", contentType)
	return wireAsk{header: header, body: bytes.NewReader(body)}.ask(t, handler)
}

// wireError is the JSON of a Connect error.
type wireError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Details []struct {
		Type  string          `json:"type"`
		Value string          `json:"value"`
		Debug json.RawMessage `json:"debug"`
	} `json:"details"`
}

// wireEnd is how a server ended a call, whatever the dialect.
type wireEnd struct {
	code     connect.Code // 0 for success
	message  string
	details  int
	messages [][]byte // payloads as they were on the wire
	trailer  http.Header
}

// end reads the outcome of a reply by the rules of the dialect, and fails where the reply breaks them.
func (d wireDialect) end(t *testing.T, kind connect.StreamType, reply wireReply) wireEnd {
	t.Helper()
	end := wireEnd{trailer: make(http.Header)}
	fromJSON := func(data []byte) {
		var wire wireError
		if err := json.Unmarshal(data, &wire); err != nil {
			t.Fatalf("error JSON %q: %v", data, err)
		}
		if err := end.code.UnmarshalText([]byte(wire.Code)); err != nil {
			t.Fatalf("error JSON %q: code: %v", data, err)
		}
		end.message, end.details = wire.Message, len(wire.Details)
	}
	if !d.framed(kind) {
		for name, values := range reply.header {
			if trimmed, ok := strings.CutPrefix(name, "Trailer-"); ok {
				end.trailer[trimmed] = values
			}
		}
		if reply.status == http.StatusOK {
			end.messages = append(end.messages, reply.body)
			return end
		}
		if got := reply.header.Get("Content-Type"); got != "application/json" {
			t.Fatalf("error content type: got %q, want %q (HTTP status %d)", got, "application/json", reply.status)
		}
		fromJSON(reply.body)
		return end
	}
	if reply.status != http.StatusOK {
		t.Fatalf("HTTP status: got %d, want 200; header %v, body %q", reply.status, reply.header, reply.body)
	}
	envelopes := wireSplit(t, reply.body)
	end.trailer = reply.trailer.Clone()
	if d.name == connect.ProtocolConnect {
		if len(envelopes) == 0 || envelopes[len(envelopes)-1].flags&flagConnectEnd == 0 {
			t.Fatalf("body %x has no end-stream message", reply.body)
		}
		last := envelopes[len(envelopes)-1]
		envelopes = envelopes[:len(envelopes)-1]
		payload := last.payload
		if last.flags&flagCompressed != 0 {
			payload = wireGunzip(t, payload)
		}
		var wire struct {
			Error    json.RawMessage     `json:"error"`
			Metadata map[string][]string `json:"metadata"`
		}
		if err := json.Unmarshal(payload, &wire); err != nil {
			t.Fatalf("end-stream JSON %q: %v", payload, err)
		}
		end.trailer = make(http.Header)
		for name, values := range wire.Metadata {
			for _, value := range values {
				end.trailer.Add(name, value)
			}
		}
		if wire.Error != nil {
			fromJSON(wire.Error)
		}
	} else {
		if d.name == connect.ProtocolGRPCWeb {
			end.trailer = reply.header.Clone() // trailers-only, unless the body has trailers
			if n := len(envelopes); n > 0 && envelopes[n-1].flags&flagWebTrailer != 0 {
				payload := envelopes[n-1].payload
				if envelopes[n-1].flags&flagCompressed != 0 {
					payload = wireGunzip(t, payload)
				}
				end.trailer, envelopes = wireFields(t, payload), envelopes[:n-1]
			}
		} else if len(reply.body) == 0 && reply.trailer.Get("Grpc-Status") == "" {
			end.trailer = reply.header.Clone()
		}
		status, err := strconv.Atoi(end.trailer.Get("Grpc-Status"))
		if err != nil {
			t.Fatalf("grpc-status: %v; header %v, trailer %v, body %q", err, reply.header, reply.trailer, reply.body)
		}
		end.code, end.message = connect.Code(status), end.trailer.Get("Grpc-Message")
		if end.trailer.Get("Grpc-Status-Details-Bin") != "" {
			end.details = 1
		}
	}
	for _, envelope := range envelopes {
		if envelope.flags&^flagCompressed != 0 {
			t.Fatalf("flags of a message: got %#x, want only the compressed bit", envelope.flags)
		}
		payload := envelope.payload
		end.messages = append(end.messages, payload)
	}
	return end
}

// texts decodes the uncompressed Protobuf messages of an end.
func (e wireEnd) texts(t *testing.T) []string {
	t.Helper()
	var texts []string
	for _, data := range e.messages {
		texts = append(texts, wireParse(t, data))
	}
	return texts
}

// wireParse decodes a Protobuf wireText by hand.
func wireParse(t *testing.T, data []byte) string {
	t.Helper()
	if len(data) == 0 {
		return ""
	}
	number, kind, n := protowire.ConsumeTag(data)
	if n < 0 || number != 1 || kind != protowire.BytesType {
		t.Fatalf("message %x is not a text", data)
	}
	text, m := protowire.ConsumeString(data[n:])
	if m < 0 || n+m != len(data) {
		t.Fatalf("message %x is not a text", data)
	}
	return text
}
