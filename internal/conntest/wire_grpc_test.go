// SPDX-License-Identifier: Apache-2.0

// This file tests items 62 to 66 and 72 to 74 of the checklist: status, trailers and metadata of gRPC and gRPC-Web.

package conntest

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var wireGRPCs = []wireDialect{wireGRPC, wireGRPCWeb}

// wireStatus is a response without messages that ends with the given fields: HTTP trailers, or a gRPC-Web block.
func wireStatus(dialect wireDialect, kind connect.StreamType, body []byte, fields ...string) wireAnswer {
	if dialect.name == connect.ProtocolGRPC {
		return dialect.raw(kind, body, fields...)
	}
	var block strings.Builder
	for i := 0; i+1 < len(fields); i += 2 {
		fmt.Fprintf(&block, "%s: %s\r\n", strings.ToLower(fields[i]), fields[i+1])
	}
	return dialect.raw(kind, wireJoin(body, wireFrame(flagWebTrailer, []byte(block.String()))))
}

func wireEachGRPC(t *testing.T, f func(*testing.T, wireDialect, connect.StreamType)) {
	t.Helper()
	for _, dialect := range wireGRPCs {
		for _, kind := range wireKinds {
			t.Run(dialect.name+"/"+kind.String(), func(t *testing.T) { f(t, dialect, kind) })
		}
	}
}

func asConnectError(t *testing.T, err error) *connect.Error {
	t.Helper()
	var coded *connect.Error
	if !errors.As(err, &coded) {
		t.Fatalf("error: got %T %v, want *connect.Error", err, err)
	}
	return coded
}

func TestItem62_HTTPStatusOfGRPC(t *testing.T) {
	wireEachGRPC(t, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		for _, test := range wireCodes {
			reply := wirePost(t, wireFail(kind, connect.NewError(test.code, errors.New("text"))), dialect.contentType(kind, "proto"), wireMessages("hi"))
			wantSame(t, "HTTP status", reply.status, 200)
			wantEnd(t, dialect.end(t, kind, reply), test.code)
		}
		for _, status := range wireStatuses {
			answer := wireStatus(dialect, kind, wireMessages("hi"), "Grpc-Status", "0")
			answer.status = status
			out := dialect.call(t, kind, answer)
			wantFault(t, out.err, wireStatusCode(status))
			wantContains(t, "error", out.err.Error(), fmt.Sprintf("HTTP status %d", status))
			wantTexts(t, out.texts)
		}
	})
}

func TestItem63_MissingStatus(t *testing.T) {
	wireEachGRPC(t, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		out := dialect.call(t, kind, wireStatus(dialect, kind, wireMessages("hi"), "X-End", "1"))
		wantFault(t, out.err, connect.CodeUnknown, connect.CodeInternal)
		if kind&connect.StreamTypeServer != 0 {
			wantTexts(t, out.texts, "hi")
		}

		out = dialect.call(t, kind, dialect.raw(kind, wireMessages("hi")))
		wantFault(t, out.err, connect.CodeInternal)

		out = dialect.call(t, kind, dialect.raw(kind, nil))
		wantFault(t, out.err, connect.CodeInternal, connect.CodeUnknown)
	})
}

// gRPC over HTTP/2: Response → (Response-Headers *Length-Prefixed-Message Trailers) / Trailers-Only.
func TestItem64_TrailersOnly(t *testing.T) {
	wireEachGRPC(t, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		only := dialect.raw(kind, nil)
		only.header.Set("Grpc-Status", "5")
		only.header.Set("Grpc-Message", "not%20here")
		only.header.Set("X-End", "1")
		out := dialect.call(t, kind, only)
		wantFault(t, out.err, connect.CodeNotFound)
		coded := asConnectError(t, out.err)
		wantSame(t, "message", coded.Message(), "not here")
		wantSame(t, "metadata", coded.Meta().Get("X-End"), "1")

		// With a body the status in the headers is not one.
		ignored := wireStatus(dialect, kind, wireMessages("hi"), "X-End", "1")
		ignored.header.Set("Grpc-Status", "5")
		out = dialect.call(t, kind, ignored)
		wantFault(t, out.err, connect.CodeUnknown, connect.CodeInternal)

		ignored = dialect.raw(kind, wireMessages("hi"))
		ignored.header.Set("Grpc-Status", "5")
		out = dialect.call(t, kind, ignored)
		wantFault(t, out.err, connect.CodeUnknown, connect.CodeInternal)

		// Trailers win, with or without a body.
		for _, body := range [][]byte{nil, wireMessages("hi")} {
			both := wireStatus(dialect, kind, body, "Grpc-Status", "10", "Grpc-Message", "trailers")
			both.header.Set("Grpc-Status", "5")
			both.header.Set("Grpc-Message", "headers")
			out = dialect.call(t, kind, both)
			wantFault(t, out.err, connect.CodeAborted)
			wantSame(t, "message", asConnectError(t, out.err).Message(), "trailers")
		}
		both := wireStatus(dialect, kind, wireMessages("hi"), "Grpc-Status", "0")
		both.header.Set("Grpc-Status", "5")
		out = dialect.call(t, kind, both)
		if out.err != nil {
			t.Fatalf("status 0 in the trailers: %v", out.err)
		}
		wantTexts(t, out.texts, "hi")

		// "0" in the headers and nothing else is a success without messages.
		none := dialect.raw(kind, nil)
		none.header.Set("Grpc-Status", "0")
		out = dialect.call(t, kind, none)
		if kind&connect.StreamTypeServer == 0 {
			wantFault(t, out.err, connect.CodeUnimplemented)
		} else if out.err != nil {
			t.Fatalf("status 0 in the headers: %v", out.err)
		}
		wantTexts(t, out.texts)
	})
}

func TestItem65_WebTrailersOnly(t *testing.T) {
	for _, kind := range wireKinds {
		t.Run(kind.String(), func(t *testing.T) {
			failure := connect.NewError(connect.CodeAborted, errors.New("text"))
			reply := wirePost(t, wireFail(kind, failure), "application/grpc-web+proto", wireMessages("hi"))
			wantEnd(t, wireGRPCWeb.end(t, kind, reply), connect.CodeAborted)

			// Custom headers and trailers must stay apart, so there is a body.
			handler := wireHandler(kind, func(_ context.Context, call *wireCall) error {
				call.info.ResponseHeader().Set("X-Head", "h")
				call.info.ResponseTrailer().Set("X-End", "e")
				return failure
			})
			reply = wirePost(t, handler, "application/grpc-web+proto", wireMessages("hi"))
			envelopes := wireSplit(t, reply.body)
			wantSame(t, "envelopes", len(envelopes), 1)
			wantSame(t, "flags", envelopes[0].flags&^flagCompressed, flagWebTrailer)
			wantSame(t, "X-Head", reply.header.Get("X-Head"), "h")
			wantSame(t, "X-End among the headers", reply.header.Get("X-End"), "")
			wantSame(t, "Grpc-Status among the headers", reply.header.Get("Grpc-Status"), "")
			end := wireGRPCWeb.end(t, kind, reply)
			wantEnd(t, end, connect.CodeAborted)
			wantSame(t, "X-End", end.trailer.Get("X-End"), "e")
			wantSame(t, "X-Head among the trailers", end.trailer.Get("X-Head"), "")
		})
	}
	// HTTP trailers have no place in gRPC-Web, also not for a success.
	reply := wirePost(t, wireEcho(connect.StreamTypeUnary), "application/grpc-web+proto", wireMessages("hi"))
	wantSame(t, "HTTP trailers", len(reply.trailer), 0)
}

func TestItem66_ErrorMetadataInTrailers(t *testing.T) {
	wireEachGRPC(t, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		failure := connect.NewError(connect.CodeAborted, errors.New("text"))
		failure.Meta().Add("X-Mine", "one")
		failure.Meta().Add("X-Mine", "two")
		handler := wireHandler(kind, func(_ context.Context, call *wireCall) error {
			call.info.ResponseHeader().Set("X-Head", "h")
			return failure
		})
		reply := wirePost(t, handler, dialect.contentType(kind, "proto"), wireMessages("hi"))
		end := dialect.end(t, kind, reply)
		wantEnd(t, end, connect.CodeAborted)
		wantSame(t, "metadata in the trailers", strings.Join(end.trailer.Values("X-Mine"), "|"), "one|two")
		wantSame(t, "metadata in the headers", strings.Join(reply.header.Values("X-Mine"), "|"), "")
	})
}

func TestItem72_DuplicateMetadata(t *testing.T) {
	values := []string{"one", "two", "one", "three"}
	want := strings.Join(values, "|")
	add := func(header http.Header, name string) {
		for _, value := range values {
			header.Add(name, value)
		}
	}
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		for _, failure := range []error{nil, connect.NewError(connect.CodeAborted, errors.New("text"))} {
			var received string
			handler := wireHandler(kind, func(_ context.Context, call *wireCall) error {
				received = strings.Join(call.info.RequestHeader().Values("X-Ask"), "|")
				add(call.info.ResponseHeader(), "X-Head")
				add(call.info.ResponseTrailer(), "X-End")
				if failure != nil {
					return failure
				}
				return call.send("hi")
			})
			header := wireHeader("Content-Type", dialect.contentType(kind, "proto"))
			add(header, "X-Ask")
			reply := wireAsk{header: header, body: bytes.NewReader(dialect.body(kind, "hi"))}.ask(t, handler)
			end := dialect.end(t, kind, reply)
			wantSame(t, "request header", received, want)
			wantSame(t, "response header", strings.Join(reply.header.Values("X-Head"), "|"), want)
			wantSame(t, "response trailer", strings.Join(end.trailer.Values("X-End"), "|"), want)
		}

		// The client, sending and receiving.
		var sent string
		answer := dialect.answer(kind, "hi")
		add(answer.header, "X-Head")
		switch {
		case !dialect.framed(kind):
			add(answer.header, "Trailer-X-End")
		case dialect.name == connect.ProtocolGRPC:
			add(answer.trailer, "X-End")
		case dialect.name == connect.ProtocolGRPCWeb:
			answer.body = bytes.NewReader(wireJoin(wireMessages("hi"), wireFrame(flagWebTrailer,
				[]byte("x-end: one\r\nx-end: two\r\ngrpc-status: 0\r\nx-end: one\r\nx-end: three\r\n"))))
		default:
			answer.body = bytes.NewReader(wireJoin(wireMessages("hi"), wireFrame(flagConnectEnd,
				[]byte(`{"metadata":{"x-end":["one","two","one","three"]}}`))))
		}
		ctx, info := connect.NewClientContext(t.Context())
		add(info.RequestHeader(), "X-Ask")
		client := connect.NewClient[wireText, wireText](wireScript(func(req *http.Request) (*http.Response, error) {
			sent = strings.Join(req.Header.Values("X-Ask"), "|")
			return answer.Do(req)
		}), wireStub, dialect.client...)
		if kind == connect.StreamTypeUnary || kind == connect.StreamTypeServer {
			var err error
			if kind == connect.StreamTypeUnary {
				_, err = client.CallUnary(ctx, connect.NewRequest(wrapperspb.String("hi")))
			} else {
				var stream *connect.ServerStreamForClient[wireText]
				stream, err = client.CallServerStream(ctx, connect.NewRequest(wrapperspb.String("hi")))
				if err == nil {
					for stream.Receive() {
					}
					err = stream.Err()
				}
			}
			if err != nil {
				t.Fatal(err)
			}
		} else {
			stream := client.CallBidiStream(t.Context())
			add(stream.RequestHeader(), "X-Ask")
			_ = stream.Send(wrapperspb.String("hi"))
			_ = stream.CloseRequest()
			for {
				if _, err := stream.Receive(); err != nil {
					if !errors.Is(err, io.EOF) {
						t.Fatal(err)
					}
					break
				}
			}
			wantSame(t, "response header of the client", strings.Join(stream.ResponseHeader().Values("X-Head"), "|"), want)
			wantSame(t, "response trailer of the client", strings.Join(stream.ResponseTrailer().Values("X-End"), "|"), want)
			_ = stream.CloseResponse()
			wantSame(t, "request header of the client", sent, want)
			return
		}
		wantSame(t, "request header of the client", sent, want)
		wantSame(t, "response header of the client", strings.Join(info.ResponseHeader().Values("X-Head"), "|"), want)
		wantSame(t, "response trailer of the client", strings.Join(info.ResponseTrailer().Values("X-End"), "|"), want)
	})
}

func TestItem73_UserAgent(t *testing.T) {
	wireEach(t, wireKinds[:1], func(t *testing.T, dialect wireDialect, _ connect.StreamType) {
		call := func(set func(http.Header)) http.Header {
			var seen http.Header
			client := connect.NewClient[wireText, wireText](wireScript(func(req *http.Request) (*http.Response, error) {
				seen = req.Header.Clone()
				return dialect.answer(connect.StreamTypeUnary, "hi").Do(req)
			}), wireStub, dialect.client...)
			req := connect.NewRequest(wrapperspb.String("hi"))
			set(req.Header())
			if _, err := client.CallUnary(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			return seen
		}
		seen := call(func(http.Header) {})
		wantContains(t, "User-Agent", seen.Get("User-Agent"), "/")
		if strings.HasPrefix(seen.Get("User-Agent"), "Go-http-client") {
			t.Errorf("User-Agent: got %q, want our own", seen.Get("User-Agent"))
		}
		if dialect.name == connect.ProtocolGRPC && !strings.HasPrefix(seen.Get("User-Agent"), "grpc-") {
			t.Errorf("User-Agent: got %q, want one that begins with grpc-, as gRPC over HTTP/2 asks", seen.Get("User-Agent"))
		}
		if dialect.name == connect.ProtocolGRPCWeb {
			wantContains(t, "X-User-Agent", seen.Get("X-User-Agent"), "/")
		}
		seen = call(func(header http.Header) { header.Set("User-Agent", "mine/1") })
		wantSame(t, "User-Agent as given", strings.Join(seen.Values("User-Agent"), "|"), "mine/1")
		if dialect.name == connect.ProtocolGRPCWeb {
			seen = call(func(header http.Header) { header.Set("X-User-Agent", "mine/2") })
			wantSame(t, "X-User-Agent as given", strings.Join(seen.Values("X-User-Agent"), "|"), "mine/2")
		}
		// A key without a value asks for none, as in net/http.
		for _, none := range [][]string{nil, {""}} {
			seen = call(func(header http.Header) { header["User-Agent"] = none })
			wantSame(t, "suppressed User-Agent", strings.Join(seen.Values("User-Agent"), "|"), "")
		}
	})
}

func TestItem74_WebTextMode(t *testing.T) {
	for _, contentType := range []string{"application/grpc-web-text", "application/grpc-web-text+proto"} {
		for _, kind := range wireKinds {
			body := base64.StdEncoding.EncodeToString(wireMessages("hi"))
			reply := wirePost(t, wireEcho(kind), contentType, []byte(body))
			wantSame(t, "HTTP status", reply.status, http.StatusUnsupportedMediaType)
			wantRefusal(t, reply.header, reply.body)
			if got := acceptPost(reply); !slices.Contains(got, "application/grpc-web+proto") {
				t.Errorf("Accept-Post: got %q, want application/grpc-web+proto in it", got)
			}
		}
	}
}
