// SPDX-License-Identifier: Apache-2.0

// This file tests items 7 to 13 of the checklist: content types of gRPC, HTTP versions, protocol versions, and the requests of
// our clients.

package conntest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// gRPC over HTTP/2, "Requests": Content-Type → "application/grpc" [("+proto" / "+json" / {custom})].
func TestItem07_BareGRPCContentType(t *testing.T) {
	for _, dialect := range []wireDialect{wireGRPC, wireGRPCWeb} {
		full := dialect.contentType(connect.StreamTypeUnary, "proto")
		bare := strings.TrimSuffix(full, "+proto")
		for _, contentType := range []string{bare, full} {
			for _, kind := range wireKinds {
				t.Run("server/"+contentType+"/"+kind.String(), func(t *testing.T) {
					reply := wirePost(t, wireEcho(kind), contentType, wireMessages("hi"))
					end := dialect.end(t, kind, reply)
					wantEnd(t, end, 0)
					wantTexts(t, end.texts(t), "hi")
					if got := reply.header.Get("Content-Type"); got != bare && got != full {
						t.Fatalf("content type of the response: got %q, want %q or %q", got, bare, full)
					}
				})
				t.Run("client/"+contentType+"/"+kind.String(), func(t *testing.T) {
					answer := dialect.answer(kind, "hi")
					answer.header.Set("Content-Type", contentType)
					out := dialect.call(t, kind, answer)
					if out.err != nil {
						t.Fatal(out.err)
					}
					wantTexts(t, out.texts, "hi")
				})
			}
		}
	}
}

// wireRequest makes one call against a stub and returns the request as the transport saw it, with its body.
func wireRequest(t *testing.T, dialect wireDialect, kind connect.StreamType, options ...connect.ClientOption) (*http.Request, []byte) {
	t.Helper()
	var seen *http.Request
	var body []byte
	calls := 0
	out := dialect.call(t, kind, wireScript(func(req *http.Request) (*http.Response, error) {
		calls++
		seen = req
		if req.Body != nil {
			body, _ = io.ReadAll(req.Body)
			_ = req.Body.Close()
		}
		res, _ := dialect.answer(kind, "hi").response(req)
		return res, nil
	}), options...)
	if out.err != nil {
		t.Fatalf("call: %v", out.err)
	}
	wantSame(t, "HTTP requests", calls, 1)
	return seen, body
}

func TestItem08_ClientContentType(t *testing.T) {
	for _, kind := range wireKinds {
		req, _ := wireRequest(t, wireGRPC, kind)
		wantSame(t, "gRPC, proto", req.Header.Get("Content-Type"), "application/grpc")
		// gRPC-Web: "the sender should always specify the message format".
		req, _ = wireRequest(t, wireGRPCWeb, kind)
		wantSame(t, "gRPC-Web, proto", req.Header.Get("Content-Type"), "application/grpc-web+proto")
		req, _ = wireRequest(t, wireConnect, kind)
		wantSame(t, "Connect, proto", req.Header.Get("Content-Type"), wireConnect.contentType(kind, "proto"))
	}
	for _, dialect := range wireDialects {
		var got string
		dialect.call(t, connect.StreamTypeClient, wireScript(func(req *http.Request) (*http.Response, error) {
			got = req.Header.Get("Content-Type")
			return wireAnswer{status: 503}.Do(req)
		}), connect.WithProtoJSON())
		wantSame(t, dialect.name+", JSON", got, dialect.contentType(connect.StreamTypeClient, "json"))
	}
}

func TestItem09_BidiOverHTTP1(t *testing.T) {
	for _, dialect := range wireDialects {
		t.Run(dialect.name, func(t *testing.T) {
			server := wireServer(t, wireEcho(connect.StreamTypeBidi))
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(wirePatience))
			// No body follows: the client waits for the server, as a full-duplex caller would.
			_, err = io.WriteString(conn, "POST "+wireProcedure+" HTTP/1.1\r\nHost: wire\r\nContent-Type: "+
				dialect.contentType(connect.StreamTypeBidi, "proto")+"\r\nTransfer-Encoding: chunked\r\n\r\n")
			if err != nil {
				t.Fatal(err)
			}
			reader := bufio.NewReader(conn)
			res, err := http.ReadResponse(reader, &http.Request{Method: http.MethodPost})
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			wantSame(t, "HTTP status", res.StatusCode, http.StatusHTTPVersionNotSupported)
			if !res.Close {
				t.Errorf("Connection: got header %v, want close", res.Header)
			}
			body, _ := io.ReadAll(res.Body)
			wantRefusal(t, res.Header, body)
			// The request ends only now: the connection must not be kept for another one.
			_, _ = io.WriteString(conn, "0\r\n\r\n")
			if _, err := reader.ReadByte(); !errors.Is(err, io.EOF) {
				t.Errorf("read of the connection: got %v, want %v", err, io.EOF)
			}
		})
	}
}

func TestItem10_UnknownProcedure(t *testing.T) {
	for name, handler := range map[string]http.Handler{
		"plain 404":                 http.NewServeMux(),
		"unknown procedure handler": connect.NewUnknownProcedureHandler(),
	} {
		t.Run(name, func(t *testing.T) {
			wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
				server := wireServer(t, handler)
				for _, codec := range []connect.ClientOption{connect.WithClientOptions(), connect.WithProtoJSON()} {
					options := append(slices.Clone(dialect.client), codec)
					out := wireInvoke(t.Context(), kind, wireTransport(t, false), server.URL+wireProcedure, options, "hi")
					wantFault(t, out.err, connect.CodeUnimplemented)
				}
			})
		})
	}
}

// mute hides everything of a ResponseWriter but its three methods.
type mute struct{ http.ResponseWriter }

// muteUnwrap is what middleware for http.ResponseController looks like.
type muteUnwrap struct{ mute }

func (m muteUnwrap) Unwrap() http.ResponseWriter { return m.ResponseWriter }

func TestItem11_WriterWithoutFlusher(t *testing.T) {
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		contentType, body := dialect.contentType(kind, "proto"), dialect.body(kind, "hi")
		handler := wireEcho(kind)
		reply := wirePost(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handler.ServeHTTP(mute{w}, r)
		}), contentType, body)
		end := dialect.end(t, kind, reply)
		if kind&connect.StreamTypeServer != 0 {
			wantEnd(t, end, connect.CodeInternal)
			wantContains(t, "message", strings.ToLower(end.message), "flush")
		} else {
			wantEnd(t, end, 0)
			wantTexts(t, end.texts(t), "hi")
		}

		reply = wirePost(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handler.ServeHTTP(muteUnwrap{mute{w}}, r)
		}), contentType, body)
		end = dialect.end(t, kind, reply)
		wantEnd(t, end, 0)
		wantTexts(t, end.texts(t), "hi")
	})
}

func TestItem12_ConnectProtocolVersion(t *testing.T) {
	readOnly := connect.WithIdempotency(connect.IdempotencyNoSideEffects)
	required := connect.WithRequireConnectProtocolHeader()
	t.Run("unary", func(t *testing.T) {
		for _, test := range []struct {
			version string // "-" for none
			options []connect.HandlerOption
			status  int
		}{
			{"-", nil, 200},
			{"1", nil, 200},
			{"2", nil, 400},
			{"0", nil, 400},
			{"v1", nil, 400},
			{"-", []connect.HandlerOption{required}, 400},
			{"1", []connect.HandlerOption{required}, 200},
			{"2", []connect.HandlerOption{required}, 400},
		} {
			var pairs []string
			if test.version != "-" {
				pairs = []string{"Connect-Protocol-Version", test.version}
			}
			reply := wirePost(t, wireEcho(connect.StreamTypeUnary, test.options...), "application/json", []byte(`"hi"`), pairs...)
			wantSame(t, "HTTP status for version "+test.version, reply.status, test.status)
			if test.status == 400 {
				wantEnd(t, wireConnect.end(t, connect.StreamTypeUnary, reply), connect.CodeInvalidArgument)
			}
		}
	})
	t.Run("GET", func(t *testing.T) {
		for _, test := range []struct {
			query   string
			options []connect.HandlerOption
			status  int
		}{
			{"", nil, 200},
			{"&connect=v1", nil, 200},
			{"&connect=1", nil, 400},
			{"&connect=v2", nil, 400},
			{"", []connect.HandlerOption{required}, 400},
			{"&connect=v1", []connect.HandlerOption{required}, 200},
		} {
			handler := wireEcho(connect.StreamTypeUnary, append(test.options, readOnly)...)
			reply := wireAsk{method: "GET", target: wireProcedure + "?encoding=json&message=%22hi%22" + test.query}.ask(t, handler)
			wantSame(t, "HTTP status for query "+test.query, reply.status, test.status)
			if test.status == 400 {
				wantEnd(t, wireConnect.end(t, connect.StreamTypeUnary, reply), connect.CodeInvalidArgument)
			}
		}
	})
	for _, kind := range wireKinds[1:] {
		t.Run(kind.String(), func(t *testing.T) {
			reply := wirePost(t, wireEcho(kind, required), "application/connect+proto", wireMessages("hi"))
			wantEnd(t, wireConnect.end(t, kind, reply), 0)
			reply = wirePost(t, wireEcho(kind), "application/connect+proto", wireMessages("hi"), "Connect-Protocol-Version", "2")
			wantEnd(t, wireConnect.end(t, kind, reply), connect.CodeInvalidArgument)
		})
	}
	t.Run("other protocols", func(t *testing.T) {
		for _, dialect := range []wireDialect{wireGRPC, wireGRPCWeb} {
			reply := wirePost(t, wireEcho(connect.StreamTypeUnary, required), dialect.contentType(0, "proto"), wireMessages("hi"))
			wantEnd(t, dialect.end(t, connect.StreamTypeUnary, reply), 0)
		}
	})
}

func TestItem13_ClientRequests(t *testing.T) {
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		req, body := wireRequest(t, dialect, kind)
		wantSame(t, "method", req.Method, http.MethodPost)
		wantSame(t, "number of request trailers", len(req.Trailer), 0)
		if dialect.framed(kind) {
			wantSame(t, "messages in the request", len(wireSplit(t, body)), 1)
		}
		if !bytes.Equal(body, dialect.body(kind, "hello")) {
			t.Errorf("body: got %x, want %x", body, dialect.body(kind, "hello"))
		}
		if dialect.name == connect.ProtocolGRPC {
			wantSame(t, "Te", req.Header.Get("Te"), "trailers")
		}
		if dialect.name == connect.ProtocolConnect {
			wantSame(t, "Connect-Protocol-Version", req.Header.Get("Connect-Protocol-Version"), "1")
		}
	})
	// One request for each call, also when the answer invites a retry.
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		calls := 0
		out := dialect.call(t, kind, wireScript(func(req *http.Request) (*http.Response, error) {
			calls++
			return wireAnswer{status: 503, header: wireHeader("Retry-After", "0")}.Do(req)
		}))
		wantFault(t, out.err, connect.CodeUnavailable)
		wantSame(t, "HTTP requests", calls, 1)
	})
	t.Run("GET", func(t *testing.T) {
		req, body := wireRequest(t, wireConnect, connect.StreamTypeUnary,
			connect.WithHTTPGet(), connect.WithIdempotency(connect.IdempotencyNoSideEffects))
		wantSame(t, "method", req.Method, http.MethodGet)
		if _, ok := req.Header["Content-Type"]; ok {
			t.Errorf("Content-Type on GET: got %q, want none", req.Header.Get("Content-Type"))
		}
		wantSame(t, "bytes of body", len(body), 0)
	})
	t.Run("JSON body", func(t *testing.T) {
		var body []byte
		client := connect.NewClient[wireText, wireText](wireScript(func(req *http.Request) (*http.Response, error) {
			body, _ = io.ReadAll(req.Body)
			_ = req.Body.Close()
			res, _ := wireAnswer{header: wireHeader("Content-Type", "application/json"), body: strings.NewReader(`"ok"`)}.response(req)
			return res, nil
		}), wireStub, connect.WithProtoJSON())
		res, err := client.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String("hi")))
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, "answer", res.Msg.GetValue(), "ok")
		var text string
		if err := json.Unmarshal(body, &text); err != nil || text != "hi" {
			t.Errorf("body: got %q, want %q", body, `"hi"`)
		}
	})
}
