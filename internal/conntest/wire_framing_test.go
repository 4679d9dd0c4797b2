// SPDX-License-Identifier: Apache-2.0

// This file tests items 28 to 32 of the checklist: envelopes, their flags, and ends of streams.

package conntest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
)

// Protocol, "Streaming-Request": Message-Length → 4 byte unsigned integer, big-endian.
func TestItem28_EnvelopePrefix(t *testing.T) {
	wireEachFramed(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		for _, size := range []int{0, 1, 127, 128, 255, 256, 300, 65535, 65536, 70000} {
			text := strings.Repeat("x", size)
			reply := wirePost(t, wireEcho(kind), dialect.contentType(kind, "proto"), wireMessages(text))
			want := wireMessages(text)
			if !bytes.HasPrefix(reply.body, want) {
				t.Fatalf("envelope of %d bytes of text: got %x, want %x", size, reply.body[:min(16, len(reply.body))], want[:min(16, len(want))])
			}
			_, body := wireRequest(t, dialect, kind)
			if !bytes.Equal(body, wireMessages("hello")) {
				t.Fatalf("request envelope: got %x, want %x", body, wireMessages("hello"))
			}
		}
		// Lengths with the highest bit set are large, not negative.
		for _, prefix := range [][]byte{{0, 0x80, 0, 0, 0}, {0, 0xff, 0xff, 0xff, 0xff}} {
			reply := wirePost(t, wireEcho(kind), dialect.contentType(kind, "proto"), prefix)
			wantEnd(t, dialect.end(t, kind, reply), connect.CodeResourceExhausted)
			out := dialect.call(t, kind, dialect.raw(kind, prefix))
			wantFault(t, out.err, connect.CodeResourceExhausted)
		}
	})
}

func TestItem29_Truncation(t *testing.T) {
	whole := wireMessages("first")
	broken := wireMessages("second")
	wireEachFramed(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		for cut := 1; cut < len(broken); cut++ {
			var received []string
			var failure error
			handler := wireHandler(kind, func(_ context.Context, call *wireCall) error {
				for {
					text, err := call.receive()
					if err != nil {
						failure = err
						return err
					}
					received = append(received, text)
				}
			})
			many := kind&connect.StreamTypeClient != 0
			body := broken[:cut]
			if many {
				body = wireJoin(whole, body)
			}
			reply := wirePost(t, handler, dialect.contentType(kind, "proto"), body)
			wantEnd(t, dialect.end(t, kind, reply), connect.CodeInternal)
			if many {
				wantTexts(t, received, "first")
				wantFault(t, failure, connect.CodeInternal)
				if !errors.Is(failure, io.ErrUnexpectedEOF) {
					t.Fatalf("error in the handler: got %v, want one that wraps %v", failure, io.ErrUnexpectedEOF)
				}
			} else {
				wantTexts(t, received)
			}

			answer := dialect.raw(kind, broken[:cut])
			if dialect.name == connect.ProtocolGRPC {
				answer.trailer = wireHeader("Grpc-Status", "0")
			}
			out := dialect.call(t, kind, answer)
			wantFault(t, out.err, connect.CodeInternal)
			if !errors.Is(out.err, io.ErrUnexpectedEOF) {
				t.Fatalf("error of the client: got %v, want one that wraps %v", out.err, io.ErrUnexpectedEOF)
			}
		}
		if kind&connect.StreamTypeClient != 0 {
			reply := wirePost(t, wireEcho(kind), dialect.contentType(kind, "proto"), whole)
			end := dialect.end(t, kind, reply)
			wantEnd(t, end, 0)
			wantTexts(t, end.texts(t), "first")
		}
	})
}

func TestItem30_UnknownFlags(t *testing.T) {
	unknown := map[string][]byte{
		connect.ProtocolConnect: {0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x84},
		connect.ProtocolGRPC:    {0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x82},
		connect.ProtocolGRPCWeb: {0x02, 0x04, 0x08, 0x10, 0x20, 0x40},
	}
	wireEachFramed(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		for _, flags := range unknown[dialect.name] {
			for _, payload := range [][]byte{nil, wireProto("hi")} {
				reply := wirePost(t, wireEcho(kind), dialect.contentType(kind, "proto"), wireFrame(flags, payload))
				end := dialect.end(t, kind, reply)
				wantEnd(t, end, connect.CodeInternal)
				wantContains(t, "message", end.message, "invalid envelope flags")

				answer := dialect.raw(kind, wireFrame(flags, payload))
				if dialect.name == connect.ProtocolGRPC {
					answer.trailer = wireHeader("Grpc-Status", "0")
				}
				out := dialect.call(t, kind, answer)
				wantFault(t, out.err, connect.CodeInternal)
				wantContains(t, "error", out.err.Error(), "invalid envelope flags")
				wantTexts(t, out.texts)
			}
		}
	})
}

func TestItem31_NothingAfterTheEnd(t *testing.T) {
	for _, test := range []struct {
		dialect wireDialect
		end     []byte
	}{
		{wireConnect, wireFrame(flagConnectEnd, []byte("{}"))},
		{wireGRPCWeb, wireFrame(flagWebTrailer, []byte("grpc-status: 0\r\n"))},
	} {
		for _, kind := range wireKinds[1:] {
			t.Run(test.dialect.name+"/"+kind.String(), func(t *testing.T) {
				for _, extra := range [][]byte{{0}, wireMessages("late"), test.end, bytes.Repeat([]byte{0}, 100<<10)} {
					out := test.dialect.call(t, kind, test.dialect.raw(kind, wireJoin(wireMessages("first"), test.end, extra)))
					wantFault(t, out.err, connect.CodeInternal)
					wantContains(t, "error", out.err.Error(), "corrupt response")
					if kind != connect.StreamTypeClient {
						wantTexts(t, out.texts, "first")
					}
				}
				body := &endlessBody{head: wireJoin(wireMessages("first"), test.end)}
				out := test.dialect.call(t, kind, wireScript(func(req *http.Request) (*http.Response, error) {
					_, _ = io.Copy(io.Discard, req.Body)
					_ = req.Body.Close()
					res, _ := test.dialect.raw(kind, nil).response(req)
					res.Body = body
					return res, nil
				}))
				wantFault(t, out.err, connect.CodeInternal)
				if got, most := body.read.Load(), int64(wireDrain+wireBuffer); got > most {
					t.Errorf("client read %d bytes after the end, want at most %d", got, most)
				}
			})
		}
	}
}

// Decision: "Request streams must always leave this bit unset", so a request that sets it is refused.
func TestItem31_EndFlagInARequest(t *testing.T) {
	for _, kind := range wireKinds[1:] {
		for _, payload := range []string{"{}", "", `{"error":{"code":"aborted"}}`} {
			t.Run(kind.String()+"/"+payload, func(t *testing.T) {
				var received []string
				var failure error
				handler := wireHandler(kind, func(_ context.Context, call *wireCall) error {
					for {
						text, err := call.receive()
						if err != nil {
							failure = err
							return err
						}
						received = append(received, text)
					}
				})
				body := wireJoin(wireMessages("first"), wireFrame(flagConnectEnd, []byte(payload)))
				end := wireConnect.end(t, kind, wirePost(t, handler, "application/connect+proto", body))
				wantEnd(t, end, connect.CodeInvalidArgument)
				if kind&connect.StreamTypeClient != 0 {
					wantTexts(t, received, "first")
					wantFault(t, failure, connect.CodeInvalidArgument)
				} else {
					wantTexts(t, received)
				}
				end = wireConnect.end(t, kind, wirePost(t, handler, "application/connect+proto", wireFrame(flagConnectEnd, []byte(payload))))
				wantEnd(t, end, connect.CodeInvalidArgument)
			})
		}
	}
}

// gRPC-Web: trailers are an HTTP/1 header block without the terminating newline, keys in lower case.
func TestItem32_WebTrailerBlock(t *testing.T) {
	for _, kind := range wireKinds {
		t.Run("server/"+kind.String(), func(t *testing.T) {
			handler := wireHandler(kind, func(_ context.Context, call *wireCall) error {
				call.info.ResponseHeader().Set("X-Head", "1")
				call.info.ResponseTrailer().Set("X-Mixed-Case", "Value")
				call.info.ResponseTrailer().Set("X-Lines", "a\r\nx-injected: b\n folded")
				return call.send("hi")
			})
			reply := wirePost(t, handler, "application/grpc-web+proto", wireMessages("hi"))
			envelopes := wireSplit(t, reply.body)
			wantSame(t, "envelopes", len(envelopes), 2)
			wantSame(t, "flags of the trailers", envelopes[1].flags&^flagCompressed, flagWebTrailer)
			block := string(envelopes[1].payload)
			if !strings.HasSuffix(block, "\r\n") || strings.HasSuffix(block, "\r\n\r\n") || strings.Contains(block, "\r\n\r\n") {
				t.Errorf("trailer block %q: want every line to end with CRLF, and no empty line", block)
			}
			if strings.Count(block, "\n") != strings.Count(block, "\r\n") || strings.Contains(block, "\n ") || strings.Contains(block, "\n\t") {
				t.Errorf("trailer block %q: want no bare LF and no folded line", block)
			}
			fields := make(map[string]string)
			for line := range strings.SplitSeq(strings.TrimSuffix(block, "\r\n"), "\r\n") {
				name, value, _ := strings.Cut(line, ":")
				if name != strings.ToLower(name) {
					t.Errorf("trailer key %q: want lower case", name)
				}
				fields[name] = strings.TrimSpace(value)
			}
			wantSame(t, "grpc-status", fields["grpc-status"], "0")
			wantSame(t, "x-mixed-case", fields["x-mixed-case"], "Value")
			if value, ok := fields["x-injected"]; ok {
				t.Errorf("a value with line breaks made a field of its own: %q", value)
			}
		})
		t.Run("request/"+kind.String(), func(t *testing.T) {
			reply := wirePost(t, wireEcho(kind), "application/grpc-web+proto",
				wireJoin(wireMessages("hi"), wireFrame(flagWebTrailer, []byte("grpc-status: 0\r\n"))))
			wantEnd(t, wireGRPCWeb.end(t, kind, reply), connect.CodeInternal, connect.CodeInvalidArgument)
		})
		t.Run("client/"+kind.String(), func(t *testing.T) {
			for _, block := range []string{
				"grpc-status: 5\r\ngrpc-message: none\r\nx-end: 1\r\n",
				"Grpc-Status: 5\r\nGrpc-Message: none\r\nX-End: 1\r\n",
				"GRPC-STATUS: 5\r\nGRPC-MESSAGE: none\r\nX-END: 1\r\n",
				"grpc-status:5\r\ngrpc-message:none\r\nx-end:1\r\n",
				"x-end: 1\r\ngrpc-message: none\r\ngrpc-status: 5\r\n",
			} {
				out := wireGRPCWeb.call(t, kind, wireGRPCWeb.raw(kind, wireFrame(flagWebTrailer, []byte(block))))
				wantFault(t, out.err, connect.CodeNotFound)
				var coded *connect.Error
				_ = errors.As(out.err, &coded)
				wantSame(t, "message", coded.Message(), "none")
				wantSame(t, "metadata", coded.Meta().Get("X-End"), "1")
			}
		})
	}
}
