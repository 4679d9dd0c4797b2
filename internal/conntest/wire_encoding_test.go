// SPDX-License-Identifier: Apache-2.0

// This file tests items 19 to 24 of the checklist: which encoding is chosen, and which messages are compressed.

package conntest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
)

// wireDecode undoes the encoding that a reply announces and returns the texts.
func wireDecode(t *testing.T, dialect wireDialect, kind connect.StreamType, reply wireReply) (encoding string, texts []string) {
	t.Helper()
	encoding = reply.header.Get(dialect.encodingHeader(kind))
	inflate := func(data []byte) []byte {
		switch encoding {
		case "gzip":
			return wireGunzip(t, data)
		case "xor", "never":
			return xor(data)
		default:
			t.Fatalf("compressed message in encoding %q", encoding)
			return nil
		}
	}
	if !dialect.framed(kind) {
		wantSame(t, "HTTP status", reply.status, 200)
		if encoding == "" || encoding == "identity" {
			return encoding, []string{wireParse(t, reply.body)}
		}
		return encoding, []string{wireParse(t, inflate(reply.body))}
	}
	for _, envelope := range wireSplit(t, reply.body) {
		if envelope.flags&^flagCompressed != 0 {
			continue // the end
		}
		if envelope.flags&flagCompressed != 0 {
			envelope.payload = inflate(envelope.payload)
		}
		texts = append(texts, wireParse(t, envelope.payload))
	}
	return encoding, texts
}

// Protocol, "Unary-Request": without Accept-Encoding the client accepts its own Content-Encoding; identity always.
// "Unary-Response": servers must use a Content-Encoding supported by the client.
func TestItem19_ResponseEncoding(t *testing.T) {
	long := strings.Repeat("compress me ", 50)
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		for _, test := range []struct {
			sent, accept string
			allowed      []string
		}{
			{"gzip", "", []string{"gzip", "", "identity"}},
			{"xor", "", []string{"xor", "", "identity"}},
			{"", "", []string{"", "identity"}},
			{"identity", "", []string{"", "identity"}},
			{"", "lzw", []string{"", "identity"}},
			{"gzip", "xor", []string{"xor", "", "identity"}},
			{"gzip", "identity", []string{"", "identity"}},
			{"", "gzip", []string{"gzip"}},
			{"", "xor", []string{"xor"}},
		} {
			payload := wireProto(long)
			flags := byte(0)
			switch test.sent {
			case "gzip":
				payload, flags = wireGzip(payload), flagCompressed
			case "xor":
				payload, flags = xor(payload), flagCompressed
			}
			if dialect.framed(kind) {
				payload = wireFrame(flags, payload)
			}
			var pairs []string
			if test.sent != "" {
				pairs = append(pairs, dialect.encodingHeader(kind), test.sent)
			}
			if test.accept != "" {
				pairs = append(pairs, dialect.acceptHeader(kind), test.accept)
			}
			reply := wirePost(t, wireEcho(kind, xorHandler(nil), connect.WithCompressMinBytes(0)), dialect.contentType(kind, "proto"), payload, pairs...)
			encoding, texts := wireDecode(t, dialect, kind, reply)
			if !slices.Contains(test.allowed, encoding) {
				t.Errorf("sent %q, accepted %q: response in %q, want one of %q", test.sent, test.accept, encoding, test.allowed)
			}
			wantTexts(t, texts, long)
			// Decision: the server lists its encodings in the response if the request was compressed.
			listed := ""
			if test.sent == "gzip" || test.sent == "xor" {
				listed = "xor,gzip"
			}
			wantSame(t, "sent "+test.sent+": "+dialect.acceptHeader(kind), reply.header.Get(dialect.acceptHeader(kind)), listed)
		}
	})
}

// Decision: the server reads Accept-Encoding by RFC 9110, section 12.5.3; equal preferences go in the client's order.
func TestItem20_AcceptEncodingList(t *testing.T) {
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		for _, test := range []struct {
			accept  []string
			allowed []string
		}{
			{[]string{"gzip"}, []string{"gzip"}},
			{[]string{"GZIP"}, []string{"gzip"}},
			{[]string{"Gzip"}, []string{"gzip"}},
			{[]string{"gzip;q=1.0"}, []string{"gzip"}},
			{[]string{"gzip;q=0.001"}, []string{"gzip"}},
			{[]string{"gzip; q=0.5"}, []string{"gzip"}},
			{[]string{"gzip;Q=1"}, []string{"gzip"}},
			{[]string{"gzip;q=0"}, []string{""}},
			{[]string{"gzip;q=0.000"}, []string{""}},
			{[]string{"*"}, []string{"gzip", "xor"}},
			{[]string{"*;q=0.3"}, []string{"gzip", "xor"}},
			{[]string{"*;q=0"}, []string{""}},
			{[]string{"gzip;q=0, *"}, []string{"xor"}},
			{[]string{"*, gzip;q=0"}, []string{"xor"}},
			{[]string{"xor, gzip"}, []string{"xor"}},
			{[]string{"gzip, xor"}, []string{"gzip"}},
			{[]string{"gzip,xor"}, []string{"gzip"}},
			{[]string{"xor gzip"}, []string{"xor"}},
			{[]string{"lzw gzip"}, []string{"gzip"}},
			{[]string{"lzw, gzip"}, []string{"gzip"}},
			{[]string{"lzw,  ,, gzip"}, []string{"gzip"}},
			{[]string{"lzw", "gzip"}, []string{"gzip"}},
			{[]string{"gzip;q=0.5, xor;q=0.8"}, []string{"xor"}},
			{[]string{"gzip;q=0.8, xor;q=0.5"}, []string{"gzip"}},
			{[]string{"gzip;q=0.9, xor"}, []string{"xor"}},
			{[]string{"lzw;q=1, gzip;q=0.1"}, []string{"gzip"}},
			{[]string{"lzw"}, []string{""}},
			{[]string{"identity"}, []string{""}},
			{[]string{""}, []string{""}},
		} {
			var pairs []string
			for _, value := range test.accept {
				pairs = append(pairs, dialect.acceptHeader(kind), value)
			}
			reply := wirePost(t, wireEcho(kind, xorHandler(nil), connect.WithCompressMinBytes(0)), dialect.contentType(kind, "proto"),
				dialect.body(kind, "compress me"), pairs...)
			encoding, texts := wireDecode(t, dialect, kind, reply)
			if encoding == "identity" {
				encoding = ""
			}
			if !slices.Contains(test.allowed, encoding) {
				t.Errorf("%s %q: response in %q, want one of %q", dialect.acceptHeader(kind), test.accept, encoding, test.allowed)
			}
			wantTexts(t, texts, "compress me")
		}
	})
}

func TestItem21_FlagDecidesForEachMessage(t *testing.T) {
	// 16 bytes on the wire: 2 of tag and length, 14 of text.
	below, equal, above := strings.Repeat("b", 13), strings.Repeat("e", 14), strings.Repeat("a", 64)
	minimum := connect.WithCompressMinBytes(16)
	check := func(t *testing.T, envelopes []wireEnvelope) {
		t.Helper()
		for i, want := range []struct {
			flags byte
			text  string
		}{{0, below}, {flagCompressed, equal}, {flagCompressed, above}, {0, ""}} {
			wantSame(t, "flags of message "+want.text, envelopes[i].flags, want.flags)
			payload := envelopes[i].payload
			if want.flags == flagCompressed {
				payload = wireGunzip(t, payload)
			}
			wantSame(t, "message", wireParse(t, payload), want.text)
		}
	}
	for _, dialect := range wireDialects {
		t.Run(dialect.name, func(t *testing.T) {
			kind := connect.StreamTypeBidi
			reply := wirePost(t, wireEcho(kind, minimum), dialect.contentType(kind, "proto"),
				wireMessages(below, equal, above, ""), dialect.acceptHeader(kind), "gzip")
			wantSame(t, "encoding", reply.header.Get(dialect.encodingHeader(kind)), "gzip")
			check(t, wireSplit(t, reply.body))

			// A client compresses by the same rule.
			var sent []byte
			var encoding string
			script := wireScript(func(req *http.Request) (*http.Response, error) {
				sent, _ = io.ReadAll(req.Body)
				encoding = req.Header.Get(dialect.encodingHeader(kind))
				res, _ := dialect.answer(kind, "ok").response(req)
				return res, nil
			})
			options := append(slices.Clone(dialect.client), connect.WithSendGzip(), minimum)
			out := wireInvoke(t.Context(), kind, script, wireStub, options, below, equal, above, "")
			if out.err != nil {
				t.Fatal(out.err)
			}
			wantSame(t, "encoding of the request", encoding, "gzip")
			check(t, wireSplit(t, sent))

			// A server takes compressed and plain messages in any order.
			reply = wirePost(t, wireEcho(kind), dialect.contentType(kind, "proto"), wireJoin(
				wireFrame(flagCompressed, wireGzip(wireProto("one"))), wireFrame(0, wireProto("two")),
				wireFrame(flagCompressed, wireGzip(wireProto("three"))),
			), dialect.encodingHeader(kind), "gzip", dialect.acceptHeader(kind), "identity")
			end := dialect.end(t, kind, reply)
			wantEnd(t, end, 0)
			wantTexts(t, end.texts(t), "one", "two", "three")
		})
	}
	t.Run("connect unary", func(t *testing.T) {
		for text, encoding := range map[string]string{below: "", equal: "gzip", above: "gzip"} {
			reply := wirePost(t, wireEcho(connect.StreamTypeUnary, minimum), "application/proto", wireProto(text), "Accept-Encoding", "gzip")
			wantSame(t, "Content-Encoding", reply.header.Get("Content-Encoding"), encoding)
			req, _ := wireRequest(t, wireConnect, connect.StreamTypeUnary, connect.WithSendGzip(), connect.WithCompressMinBytes(1000))
			wantSame(t, "Content-Encoding of a small request", req.Header.Get("Content-Encoding"), "")
		}
	})
}

// Protocol, "Streaming-Request": "Compression contexts are not maintained over message boundaries."
func TestItem22_CompressionContexts(t *testing.T) {
	text := strings.Repeat("again and again ", 20)
	kind := connect.StreamTypeBidi
	for _, dialect := range wireDialects {
		t.Run(dialect.name, func(t *testing.T) {
			one := wireFrame(flagCompressed, wireGzip(wireProto(text)))
			reply := wirePost(t, wireEcho(kind, connect.WithCompressMinBytes(0)), dialect.contentType(kind, "proto"),
				wireJoin(one, one, one), dialect.encodingHeader(kind), "gzip", dialect.acceptHeader(kind), "gzip")
			envelopes := wireSplit(t, reply.body)
			for _, envelope := range envelopes[:3] {
				wantSame(t, "flags", envelope.flags, flagCompressed)
				wantSame(t, "message inflated on its own", wireParse(t, wireGunzip(t, envelope.payload)), text)
			}

			var sent []byte
			script := wireScript(func(req *http.Request) (*http.Response, error) {
				sent, _ = io.ReadAll(req.Body)
				answer := dialect.answer(kind)
				rest, _ := io.ReadAll(answer.body)
				answer.body = bytes.NewReader(wireJoin(one, one, rest))
				answer.header.Set(dialect.encodingHeader(kind), "gzip")
				res, _ := answer.response(req)
				return res, nil
			})
			options := append(slices.Clone(dialect.client), connect.WithSendGzip())
			out := wireInvoke(t.Context(), kind, script, wireStub, options, text, text)
			if out.err != nil {
				t.Fatal(out.err)
			}
			wantTexts(t, out.texts, text, text)
			for _, envelope := range wireSplit(t, sent) {
				wantSame(t, "request message inflated on its own", wireParse(t, wireGunzip(t, envelope.payload)), text)
			}
		})
	}
}

// If the request has no Accept-Encoding, net/http asks for gzip and decompresses the response itself.
func TestItem23_ClientAcceptEncoding(t *testing.T) {
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		req, _ := wireRequest(t, dialect, kind)
		if dialect.framed(kind) {
			wantSame(t, "Accept-Encoding", strings.Join(req.Header.Values("Accept-Encoding"), "|"), "identity")
		}
		wantSame(t, dialect.acceptHeader(kind), strings.Join(req.Header.Values(dialect.acceptHeader(kind)), "|"), "gzip")

		req, _ = wireRequest(t, dialect, kind, connect.WithAcceptCompression("gzip", nil, nil))
		wantSame(t, "Accept-Encoding without compressors", strings.Join(req.Header.Values("Accept-Encoding"), "|"), "identity")

		// Both encodings are offered, in one list.
		req, _ = wireRequest(t, dialect, kind, xorClient(nil))
		list := strings.FieldsFunc(req.Header.Get(dialect.acceptHeader(kind)), func(r rune) bool { return r == ',' || r == ' ' })
		slices.Sort(list)
		wantSame(t, "accepted encodings", strings.Join(list, ","), "gzip,xor")
	})
}

func TestItem24_CompressedErrorsAndEnds(t *testing.T) {
	t.Run("connect unary error", func(t *testing.T) {
		out := wireConnect.call(t, connect.StreamTypeUnary, wireAnswer{
			status: 409,
			header: wireHeader("Content-Type", "application/json", "Content-Encoding", "gzip"),
			body:   bytes.NewReader(wireGzip([]byte(`{"code":"aborted","message":"squeezed"}`))),
		})
		wantFault(t, out.err, connect.CodeAborted)
		wantContains(t, "error", out.err.Error(), "squeezed")
	})
	for _, kind := range wireKinds[1:] {
		t.Run("connect end-stream/"+kind.String(), func(t *testing.T) {
			end, _ := json.Marshal(map[string]any{
				"error":    map[string]string{"code": "aborted", "message": "squeezed"},
				"metadata": map[string][]string{"x-end": {"1"}},
			})
			answer := wireConnect.raw(kind, wireJoin(wireMessages("first"), wireFrame(flagCompressed|flagConnectEnd, wireGzip(end))))
			answer.header.Set("Connect-Content-Encoding", "gzip")
			out := wireConnect.call(t, kind, answer)
			wantFault(t, out.err, connect.CodeAborted)
			wantContains(t, "error", out.err.Error(), "squeezed")
			if kind != connect.StreamTypeClient {
				wantTexts(t, out.texts, "first")
			}
			var coded *connect.Error
			if errors.As(out.err, &coded) {
				wantSame(t, "trailer in the error's metadata", coded.Meta().Get("X-End"), "1")
			}
		})
	}
	for _, kind := range wireKinds {
		t.Run("gRPC-Web trailers/"+kind.String(), func(t *testing.T) {
			block := []byte("grpc-status: 10\r\ngrpc-message: squeezed\r\nx-end: 1\r\n")
			answer := wireGRPCWeb.raw(kind, wireJoin(wireMessages("first"), wireFrame(flagCompressed|flagWebTrailer, wireGzip(block))))
			answer.header.Set("Grpc-Encoding", "gzip")
			out := wireGRPCWeb.call(t, kind, answer)
			wantFault(t, out.err, connect.CodeAborted)
			wantContains(t, "error", out.err.Error(), "squeezed")

			answer = wireGRPCWeb.raw(kind, wireJoin(wireMessages("first"), wireFrame(flagCompressed|flagWebTrailer, wireGzip([]byte("grpc-status: 0\r\n")))))
			answer.header.Set("Grpc-Encoding", "gzip")
			out = wireGRPCWeb.call(t, kind, answer)
			if out.err != nil {
				t.Fatal(out.err)
			}
			wantTexts(t, out.texts, "first")
		})
	}
}
