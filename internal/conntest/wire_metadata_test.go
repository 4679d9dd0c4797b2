// SPDX-License-Identifier: Apache-2.0

// This file tests items 49 to 54 of the checklist: content types of responses, metadata of errors, and errors without a code.

package conntest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
)

func TestItem49_ResponseContentType(t *testing.T) {
	for _, test := range []struct {
		dialect     wireDialect
		kinds       []connect.StreamType
		contentType string
		code        connect.Code
	}{
		{wireConnect, wireKinds[:1], "text/html", connect.CodeUnknown},
		{wireConnect, wireKinds[:1], "", connect.CodeUnknown},
		{wireConnect, wireKinds[:1], "application/json", connect.CodeInternal},
		{wireConnect, wireKinds[:1], "application/thrift", connect.CodeInternal},
		{wireConnect, wireKinds[1:], "text/html", connect.CodeUnknown},
		{wireConnect, wireKinds[1:], "application/proto", connect.CodeUnknown},
		{wireConnect, wireKinds[1:], "application/connect+json", connect.CodeInternal},
		{wireGRPC, wireKinds, "text/html", connect.CodeUnknown},
		{wireGRPC, wireKinds, "application/proto", connect.CodeUnknown},
		{wireGRPC, wireKinds, "application/grpc+json", connect.CodeInternal},
		{wireGRPCWeb, wireKinds, "text/html", connect.CodeUnknown},
		{wireGRPCWeb, wireKinds, "application/proto", connect.CodeUnknown},
		{wireGRPCWeb, wireKinds, "application/grpc-web+json", connect.CodeInternal},
	} {
		for _, kind := range test.kinds {
			t.Run(test.dialect.name+"/"+kind.String()+"/"+test.contentType, func(t *testing.T) {
				answer := test.dialect.answer(kind, "hi")
				answer.header.Set("Content-Type", test.contentType)
				if test.contentType == "" {
					answer.header.Del("Content-Type")
				}
				out := test.dialect.call(t, kind, answer)
				wantFault(t, out.err, test.code)
				wantTexts(t, out.texts)
			})
		}
	}
	for _, contentType := range []string{"application/json", "application/json; charset=utf-8"} {
		out := wireConnect.call(t, connect.StreamTypeUnary, wireAnswer{
			header: wireHeader("Content-Type", contentType), body: strings.NewReader(`"hi"`),
		}, connect.WithProtoJSON())
		if out.err != nil {
			t.Fatalf("%s: %v", contentType, out.err)
		}
		wantTexts(t, out.texts, "hi")
	}
}

// Protocol, "Unary-Response": trailing metadata keys are prefixed with "trailer-" on the wire, transparently.
func TestItem50_UnaryTrailers(t *testing.T) {
	for _, failure := range []error{nil, connect.NewError(connect.CodeAborted, errors.New("text"))} {
		handler := wireHandler(connect.StreamTypeUnary, func(_ context.Context, call *wireCall) error {
			call.info.ResponseHeader().Set("X-Head", "h")
			call.info.ResponseTrailer().Set("X-End", "e")
			return failure
		})
		reply := wirePost(t, handler, "application/proto", nil)
		wantSame(t, "X-Head", reply.header.Get("X-Head"), "h")
		wantSame(t, "Trailer-X-End", reply.header.Get("Trailer-X-End"), "e")
		wantSame(t, "X-End", reply.header.Get("X-End"), "")
		wantSame(t, "HTTP trailers", len(reply.trailer), 0)
	}
	header := wireHeader("Content-Type", "application/proto", "X-Head", "h", "Trailer-X-End", "e", "Trailer-X-End", "f")
	out := wireConnect.call(t, connect.StreamTypeUnary, wireAnswer{header: header})
	if out.err != nil {
		t.Fatal(out.err)
	}
	wantSame(t, "header", out.header.Get("X-Head"), "h")
	wantSame(t, "trailer", strings.Join(out.trailer.Values("X-End"), "|"), "e|f")
	for name := range out.header {
		if strings.HasPrefix(name, "Trailer-") || name == "X-End" {
			t.Errorf("trailer %q among the headers", name)
		}
	}
	header.Set("Content-Type", "application/json")
	out = wireConnect.call(t, connect.StreamTypeUnary, wireAnswer{status: 409, header: header, body: strings.NewReader(`{"code":"aborted"}`)})
	wantFault(t, out.err, connect.CodeAborted)
	var coded *connect.Error
	_ = errors.As(out.err, &coded)
	wantSame(t, "header in the error", coded.Meta().Get("X-Head"), "h")
	wantSame(t, "trailer in the error", strings.Join(coded.Meta().Values("X-End"), "|"), "e|f")
	wantSame(t, "prefixed trailer in the error", coded.Meta().Get("Trailer-X-End"), "")
}

// wireReserved are headers that belong to HTTP and to the protocols.
var wireReserved = []string{
	"Content-Type", "Content-Length", "Content-Encoding", "Host", "User-Agent", "Trailer", "Date",
	"Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin", "Grpc-Encoding", "Grpc-Accept-Encoding", "Grpc-Timeout",
	"Connect-Content-Encoding", "Connect-Accept-Encoding", "Connect-Protocol-Version", "Connect-Timeout-Ms",
}

func TestItem51_ErrorMetadata(t *testing.T) {
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		failure := connect.NewError(connect.CodeAborted, errors.New("text"))
		for _, name := range wireReserved {
			failure.Meta().Set(name, "evil")
		}
		failure.Meta().Set("X-Mine", "kept")
		handler := wireHandler(kind, func(_ context.Context, call *wireCall) error {
			call.info.ResponseHeader().Set("X-Head", "h")
			call.info.ResponseTrailer().Set("X-End", "e")
			return failure
		})
		reply := wirePost(t, handler, dialect.contentType(kind, "proto"), dialect.body(kind, "hi"))
		end := dialect.end(t, kind, reply)
		wantEnd(t, end, connect.CodeAborted)
		wantSame(t, "message", end.message, "text")
		for _, header := range []http.Header{reply.header, reply.trailer, end.trailer} {
			for name, values := range header {
				if slices.Contains(values, "evil") {
					t.Errorf("%s: the error's metadata has overwritten it", name)
				}
			}
		}
		server := wireServer(t, handler)
		out := wireInvoke(t.Context(), kind, wireTransport(t, false), server.URL+wireProcedure, dialect.client, "hi")
		wantFault(t, out.err, connect.CodeAborted)
		var coded *connect.Error
		_ = errors.As(out.err, &coded)
		for name, want := range map[string]string{"X-Mine": "kept", "X-Head": "h", "X-End": "e"} {
			wantSame(t, name+" in the client's error", strings.Join(coded.Meta().Values(name), "|"), want)
		}
	})
}

func TestItem52_WireErrorsDoNotForwardMetadata(t *testing.T) {
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		// An error that a server upstream has sent.
		upstream := dialect.call(t, connect.StreamTypeUnary, wireScript(func(req *http.Request) (*http.Response, error) {
			answer := dialect.raw(connect.StreamTypeUnary, nil, "Grpc-Status", "10", "Grpc-Message", "upstream", "X-Secret", "s")
			switch dialect.name {
			case connect.ProtocolConnect:
				answer = wireAnswer{
					status: 409, header: wireHeader("Content-Type", "application/json", "X-Secret", "s"),
					body: strings.NewReader(`{"code":"aborted","message":"upstream"}`),
				}
			case connect.ProtocolGRPCWeb:
				answer = dialect.raw(connect.StreamTypeUnary, wireFrame(flagWebTrailer, []byte("grpc-status: 10\r\ngrpc-message: upstream\r\nx-secret: s\r\n")))
			}
			return answer.Do(req)
		})).err
		wantFault(t, upstream, connect.CodeAborted)
		if !connect.IsWireError(upstream) {
			t.Fatalf("IsWireError(%v): got false, want true", upstream)
		}
		own := connect.NewWireError(connect.CodeAborted, errors.New("upstream"))
		own.Meta().Set("X-Secret", "s")
		for _, failure := range []error{upstream, own, fmt.Errorf("wrapped: %w", own)} {
			reply := wirePost(t, wireFail(kind, failure), dialect.contentType(kind, "proto"), dialect.body(kind, "hi"))
			end := dialect.end(t, kind, reply)
			wantEnd(t, end, connect.CodeAborted)
			wantSame(t, "message", end.message, "upstream")
			for _, header := range []http.Header{reply.header, reply.trailer, end.trailer} {
				if header.Get("X-Secret") != "" {
					t.Errorf("metadata of a wire error was forwarded: %v", header)
				}
			}
		}
	})
}

func TestItem53_NotModified(t *testing.T) {
	readOnly := connect.WithIdempotency(connect.IdempotencyNoSideEffects)
	handler := wireFail(connect.StreamTypeUnary, connect.NewNotModifiedError(wireHeader("Etag", `"7"`)), readOnly)
	reply := wireAsk{method: "GET", target: wireProcedure + "?encoding=json&message=%22hi%22&connect=v1"}.ask(t, handler)
	wantSame(t, "HTTP status of GET", reply.status, http.StatusNotModified)
	wantSame(t, "Etag", reply.header.Get("Etag"), `"7"`)
	wantSame(t, "body", string(reply.body), "")

	reply = wirePost(t, handler, "application/json", []byte(`"hi"`))
	wantSame(t, "HTTP status of POST", reply.status, 500)
	wantEnd(t, wireConnect.end(t, connect.StreamTypeUnary, reply), connect.CodeUnknown)

	answer := wireAnswer{status: 304, header: wireHeader("Etag", `"7"`)}
	out := wireConnect.call(t, connect.StreamTypeUnary, answer, connect.WithHTTPGet(), readOnly)
	wantFault(t, out.err, connect.CodeUnknown)
	wantSame(t, "IsNotModifiedError after GET", connect.IsNotModifiedError(out.err), true)
	var coded *connect.Error
	_ = errors.As(out.err, &coded)
	wantSame(t, "Etag in the error", coded.Meta().Get("Etag"), `"7"`)

	out = wireConnect.call(t, connect.StreamTypeUnary, answer)
	wantFault(t, out.err, connect.CodeUnknown)
	wantSame(t, "IsNotModifiedError after POST", connect.IsNotModifiedError(out.err), false)
}

func TestItem54_PlainErrors(t *testing.T) {
	for _, test := range []struct {
		err  error
		code connect.Code
	}{
		{errors.New("plain"), connect.CodeUnknown},
		{context.Canceled, connect.CodeCanceled},
		{context.DeadlineExceeded, connect.CodeDeadlineExceeded},
		{fmt.Errorf("wrapped: %w", context.Canceled), connect.CodeCanceled},
		{fmt.Errorf("wrapped: %w", context.DeadlineExceeded), connect.CodeDeadlineExceeded},
		{fmt.Errorf("wrapped: %w", connect.NewError(connect.CodeAborted, errors.New("inner"))), connect.CodeAborted},
		{io.ErrUnexpectedEOF, connect.CodeUnknown},
	} {
		wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
			reply := wirePost(t, wireFail(kind, test.err), dialect.contentType(kind, "proto"), dialect.body(kind, "hi"))
			end := dialect.end(t, kind, reply)
			wantEnd(t, end, test.code)
			var coded *connect.Error
			want := test.err.Error()
			if errors.As(test.err, &coded) {
				want = coded.Message()
			}
			wantSame(t, "message", end.message, want)
			if !dialect.framed(kind) {
				i := slices.IndexFunc(wireCodes, func(c wireCode) bool { return c.code == test.code })
				wantSame(t, "HTTP status", reply.status, wireCodes[i].status)
			}
		})
	}
}
