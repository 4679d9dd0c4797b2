// SPDX-License-Identifier: Apache-2.0

// This file tests items 14 to 18 of the checklist: unsupported encodings, and messages that have no bytes.

package conntest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/seed-b7c59c10/connect"
)

// xor is a reversible encoding that no other software supports.
func xor(data []byte) []byte {
	out := make([]byte, len(data))
	for i, b := range data {
		out[i] = b ^ 0x55
	}
	return out
}

type xorCompressor struct{ to io.Writer }

func (c *xorCompressor) Write(p []byte) (int, error) { return c.to.Write(xor(p)) }
func (c *xorCompressor) Close() error                { return nil }

func (c *xorCompressor) Reset(w io.Writer) { c.to = w }

// xorDecompressor counts how often it is asked to start a message.
type xorDecompressor struct {
	from   io.Reader
	resets *atomic.Int64
}

func (d *xorDecompressor) Read(p []byte) (int, error) {
	n, err := d.from.Read(p)
	copy(p, xor(p[:n]))
	return n, err
}

func (d *xorDecompressor) Close() error { return nil }

func (d *xorDecompressor) Reset(r io.Reader) error {
	if r != nil && r != http.NoBody && d.resets != nil {
		d.resets.Add(1)
	}
	d.from = r
	return nil
}

func xorHandler(resets *atomic.Int64) connect.HandlerOption {
	return connect.WithCompression("xor",
		func() connect.Decompressor { return &xorDecompressor{resets: resets} },
		func() connect.Compressor { return &xorCompressor{} })
}

func xorClient(resets *atomic.Int64) connect.ClientOption {
	return connect.WithAcceptCompression("xor",
		func() connect.Decompressor { return &xorDecompressor{resets: resets} },
		func() connect.Compressor { return &xorCompressor{} })
}

// refusing is a decompressor that must never be used.
type refusing struct{}

func (refusing) Read([]byte) (int, error) { return 0, errors.New("inflated what has no bytes") }
func (refusing) Close() error             { return nil }

func (refusing) Reset(r io.Reader) error {
	if r == nil || r == http.NoBody {
		return nil
	}
	return errors.New("inflated what has no bytes")
}

// Protocol, "Unary-Request": unsupported Content-Encoding → "unimplemented" and a message listing the supported ones.
// Decision: after an unknown request encoding the gRPC response carries no Grpc-Encoding header at all.
func TestItem14_UnknownRequestEncoding(t *testing.T) {
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		var served atomic.Bool
		handler := wireHandler(kind, func(_ context.Context, call *wireCall) error {
			_, err := call.receive()
			served.Store(err == nil)
			return err
		}, xorHandler(nil))
		reply := wirePost(t, handler, dialect.contentType(kind, "proto"), dialect.body(kind, "hi"),
			dialect.encodingHeader(kind), "lzw")
		if !dialect.framed(kind) {
			wantSame(t, "HTTP status", reply.status, http.StatusNotImplemented)
		}
		end := dialect.end(t, kind, reply)
		wantEnd(t, end, connect.CodeUnimplemented)
		for _, part := range []string{"lzw", "gzip", "xor"} {
			wantContains(t, "message", end.message, part)
		}
		accept := reply.header.Get(dialect.acceptHeader(kind))
		wantContains(t, dialect.acceptHeader(kind), accept, "gzip")
		wantContains(t, dialect.acceptHeader(kind), accept, "xor")
		if values, ok := reply.header[dialect.encodingHeader(kind)]; ok {
			t.Errorf("%s: got %q, want no such header", dialect.encodingHeader(kind), values)
		}
		if served.Load() {
			t.Error("the handler received a message in an unknown encoding")
		}
	})
	t.Run("GET", func(t *testing.T) {
		handler := wireEcho(connect.StreamTypeUnary, connect.WithIdempotency(connect.IdempotencyNoSideEffects))
		reply := wireAsk{method: "GET", target: wireProcedure + "?encoding=json&message=%22hi%22&compression=lzw"}.ask(t, handler)
		wantSame(t, "HTTP status", reply.status, http.StatusNotImplemented)
		wantEnd(t, wireConnect.end(t, connect.StreamTypeUnary, reply), connect.CodeUnimplemented)
		wantContains(t, "Accept-Encoding", reply.header.Get("Accept-Encoding"), "gzip")
	})
}

func TestItem15_UnknownResponseEncoding(t *testing.T) {
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		answer := dialect.answer(kind, "hi")
		answer.header.Set(dialect.encodingHeader(kind), "lzw")
		out := dialect.call(t, kind, answer)
		wantFault(t, out.err, connect.CodeInternal)
		wantContains(t, "error", out.err.Error(), "lzw")
		wantTexts(t, out.texts)
	})
}

// Protocol, "Streaming-Request": without an encoding the least significant bit must be 0.
func TestItem16_CompressedFlagWithoutEncoding(t *testing.T) {
	for _, encoding := range []string{"", "identity"} {
		for _, payload := range [][]byte{nil, wireGzip(wireProto("hi")), wireProto("hi")} {
			wireEachFramed(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
				var pairs []string
				if encoding != "" {
					pairs = []string{dialect.encodingHeader(kind), encoding}
				}
				reply := wirePost(t, wireEcho(kind), dialect.contentType(kind, "proto"), wireFrame(flagCompressed, payload), pairs...)
				wantEnd(t, dialect.end(t, kind, reply), connect.CodeInternal)

				answer := dialect.raw(kind, wireFrame(flagCompressed, payload), "Grpc-Status", "0")
				if dialect.name != connect.ProtocolGRPC {
					answer.trailer = nil
				}
				if encoding != "" {
					answer.header.Set(dialect.encodingHeader(kind), encoding)
				}
				out := dialect.call(t, kind, answer)
				wantFault(t, out.err, connect.CodeInternal)
				wantTexts(t, out.texts)
			})
		}
	}
}

// Protocol: "Servers must not attempt to decompress zero-length HTTP request content", and the same for clients.
func TestItem17_EmptyBodyIsNotInflated(t *testing.T) {
	readOnly := connect.WithIdempotency(connect.IdempotencyNoSideEffects)
	never := connect.WithCompression("never",
		func() connect.Decompressor { return refusing{} }, func() connect.Compressor { return &xorCompressor{} })
	handler := wireEcho(connect.StreamTypeUnary, readOnly, never)
	for _, encoding := range []string{"gzip", "never"} {
		reply := wirePost(t, handler, "application/proto", nil, "Content-Encoding", encoding, "Accept-Encoding", "identity")
		wantSame(t, "HTTP status", reply.status, 200)
		_, texts := wireDecode(t, wireConnect, connect.StreamTypeUnary, reply)
		wantTexts(t, texts, "")

		reply = wireAsk{
			method: "GET", target: wireProcedure + "?encoding=proto&base64=1&message=&compression=" + encoding,
			header: wireHeader("Accept-Encoding", "identity"),
		}.ask(t, handler)
		wantSame(t, "HTTP status of GET", reply.status, 200)
		_, texts = wireDecode(t, wireConnect, connect.StreamTypeUnary, reply)
		wantTexts(t, texts, "")

		out := wireConnect.call(t, connect.StreamTypeUnary, wireAnswer{
			header: wireHeader("Content-Type", "application/proto", "Content-Encoding", encoding),
		}, connect.WithAcceptCompression("never",
			func() connect.Decompressor { return refusing{} }, func() connect.Compressor { return &xorCompressor{} }))
		if out.err != nil {
			t.Fatalf("client, encoding %s: %v", encoding, out.err)
		}
		wantTexts(t, out.texts, "")
	}
	// An error without a body falls back on the HTTP status, whatever its encoding.
	out := wireConnect.call(t, connect.StreamTypeUnary, wireAnswer{
		status: 503, header: wireHeader("Content-Type", "application/json", "Content-Encoding", "gzip"),
	})
	wantFault(t, out.err, connect.CodeUnavailable)
}

func TestItem18_EmptyCompressedEnvelope(t *testing.T) {
	wireEachFramed(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		never := func() connect.Decompressor { return refusing{} }
		deflater := func() connect.Compressor { return &xorCompressor{} }
		for _, encoding := range []string{"gzip", "never"} {
			reply := wirePost(t, wireEcho(kind, connect.WithCompression("never", never, deflater)),
				dialect.contentType(kind, "proto"), wireFrame(flagCompressed, nil),
				dialect.encodingHeader(kind), encoding, dialect.acceptHeader(kind), "identity")
			_, texts := wireDecode(t, dialect, kind, reply)
			wantTexts(t, texts, "")

			body := wireFrame(flagCompressed, nil)
			answer := dialect.answer(kind, "")
			rest, _ := io.ReadAll(answer.body)
			answer.body = bytes.NewReader(append(body, rest[5:]...))
			answer.header.Set(dialect.encodingHeader(kind), encoding)
			out := dialect.call(t, kind, answer, connect.WithAcceptCompression("never", never, deflater))
			if out.err != nil {
				t.Fatalf("client, encoding %s: %v", encoding, out.err)
			}
			wantTexts(t, out.texts, "")
		}
	})
}

// An answer of one message names its encoding if the message is compressed, and not
// otherwise.
func TestEncodingOfOneMessage(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, echo, handlerOptions(connect.WithCompressMinBytes(1000))).client()
		name := map[string]string{"grpc": "Grpc-Encoding", "grpcweb": "Grpc-Encoding", "connect": "Content-Encoding"}[m.protocol]
		for _, k := range []kind{unary, get, clientStream} {
			if m.protocol == "connect" && k == clientStream {
				name = "Connect-Content-Encoding"
			}
			o := call(testContext(t), client, k, nil, text("short"))
			wantNil(t, o.err)
			wantValues(t, "response header", o.header, name)
			o = call(testContext(t), client, k, nil, text(string(make([]byte, 4000))))
			wantNil(t, o.err)
			wantValues(t, "response header", o.header, name, m.compression)
		}
	}, func(m mode) bool { return m.compression != "identity" })
}
