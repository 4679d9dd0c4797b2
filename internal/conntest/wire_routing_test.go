// SPDX-License-Identifier: Apache-2.0

// This file tests items 1 to 6 of the checklist: which requests reach a handler.

package conntest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
)

// Protocol, "Unary-Request": Path → "/" [Routing-Prefix "/"] Procedure-Name ; case-sensitive.
func TestItem01_PathPrefixAndCase(t *testing.T) {
	var served string
	procedure := connect.NewUnaryHandler(wireProcedure,
		func(_ context.Context, req *connect.Request[wireText]) (*connect.Response[wireText], error) {
			served = req.Spec().Procedure
			return connect.NewResponse(req.Msg), nil
		})
	routes := http.NewServeMux()
	routes.Handle(wireProcedure, procedure)
	routes.Handle("/", connect.NewUnknownProcedureHandler())
	mux := http.NewServeMux()
	mux.Handle("/api/v1/", http.StripPrefix("/api/v1", routes))
	server := wireServer(t, mux)

	for _, dialect := range wireDialects {
		t.Run(dialect.name, func(t *testing.T) {
			served = ""
			var sent string
			watch := connect.WithInterceptors(connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
				return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
					sent = req.Spec().Procedure
					return next(ctx, req)
				}
			}))
			options := append(slices.Clone(dialect.client), watch)
			client := wireTransport(t, false)
			out := wireInvoke(t.Context(), connect.StreamTypeUnary, client, server.URL+"/api/v1"+wireProcedure, options, "hi")
			if out.err != nil {
				t.Fatalf("call below a prefix: %v", out.err)
			}
			wantTexts(t, out.texts, "hi")
			wantSame(t, "procedure in the handler", served, wireProcedure)
			wantSame(t, "procedure in the client", sent, wireProcedure)

			out = wireInvoke(t.Context(), connect.StreamTypeUnary, client,
				server.URL+"/api/v1"+strings.ToLower(wireProcedure), dialect.client, "hi")
			wantFault(t, out.err, connect.CodeUnimplemented)
		})
	}
}

func TestItem02_MethodNotAllowed(t *testing.T) {
	readOnly := connect.WithIdempotency(connect.IdempotencyNoSideEffects)
	for _, test := range []struct {
		name    string
		handler http.Handler
		methods []string
		allow   string
	}{
		{"unary", wireEcho(connect.StreamTypeUnary), []string{"GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "post"}, "POST"},
		{"unary without side effects", wireEcho(connect.StreamTypeUnary, readOnly), []string{"PUT", "DELETE", "OPTIONS"}, "GET, POST"},
		{"client stream", wireEcho(connect.StreamTypeClient), []string{"GET", "PUT"}, "POST"},
		{"server stream", wireEcho(connect.StreamTypeServer, readOnly), []string{"GET", "PUT"}, "POST"},
		{"bidi stream", wireEcho(connect.StreamTypeBidi), []string{"GET", "PUT"}, "POST"},
	} {
		for _, method := range test.methods {
			t.Run(test.name+"/"+method, func(t *testing.T) {
				reply := wireAsk{method: method, header: wireHeader("Content-Type", "application/json")}.ask(t, test.handler)
				wantSame(t, "HTTP status", reply.status, http.StatusMethodNotAllowed)
				wantSame(t, "Allow", strings.Join(reply.header.Values("Allow"), "|"), test.allow)
				if method == http.MethodHead {
					wantSame(t, "body of HEAD", string(reply.body), "")
					return
				}
				wantRefusal(t, reply.header, reply.body)
			})
		}
	}
}

// acceptPost lists the media types that a 415 offers, without parameters, in order of appearance.
func acceptPost(reply wireReply) []string {
	var types []string
	for part := range strings.SplitSeq(strings.Join(reply.header.Values("Accept-Post"), ","), ",") {
		name, _, _ := strings.Cut(part, ";")
		types = append(types, strings.TrimSpace(name))
	}
	return types
}

func TestItem03_UnknownContentType(t *testing.T) {
	grpc := []string{
		"application/grpc", "application/grpc+json", "application/grpc+proto",
		"application/grpc-web", "application/grpc-web+json", "application/grpc-web+proto",
	}
	for _, kind := range wireKinds {
		for _, contentType := range []string{"text/plain", "application/xml", "application/x-www-form-urlencoded", "application", "", ";"} {
			t.Run(kind.String()+"/"+contentType, func(t *testing.T) {
				reply := wirePost(t, wireEcho(kind), contentType, []byte("hello"))
				wantSame(t, "HTTP status", reply.status, http.StatusUnsupportedMediaType)
				wantRefusal(t, reply.header, reply.body)
				want := append(slices.Clone(grpc), "application/connect+json", "application/connect+proto")
				if kind == connect.StreamTypeUnary {
					want = append(slices.Clone(grpc), "application/json", "application/proto")
				}
				got := acceptPost(reply)
				for _, name := range want {
					if !slices.Contains(got, name) {
						t.Errorf("Accept-Post: got %q, want it to list %q", got, name)
					}
				}
				if kind != connect.StreamTypeUnary && slices.Contains(got, "application/json") {
					t.Errorf("Accept-Post of a stream: got %q, want no application/json", got)
				}
			})
		}
	}
	// A handler offers the codecs of its options.
	reply := wirePost(t, wireEcho(connect.StreamTypeUnary, connect.WithCodec(wireCodec{"upper"})), "text/plain", nil)
	if got := acceptPost(reply); !slices.Contains(got, "application/upper") {
		t.Errorf("Accept-Post: got %q, want it to list application/upper", got)
	}
}

// wireCodec is a codec under any name for wireText only: its text, bare.
type wireCodec struct{ name string }

func (c wireCodec) Name() string { return c.name }

func (c wireCodec) Marshal(message any) ([]byte, error) {
	text, ok := message.(*wireText)
	if !ok {
		return nil, errors.New("not a text")
	}
	return []byte(text.GetValue()), nil
}

func (c wireCodec) Unmarshal(data []byte, message any) error {
	text, ok := message.(*wireText)
	if !ok {
		return errors.New("not a text")
	}
	text.Value = string(data)
	return nil
}

// Protocol, "Unary-Request": a server that lacks the Message-Codec must answer 415.
func TestItem04_UnknownCodec(t *testing.T) {
	for _, kind := range wireKinds {
		t.Run("connect/"+kind.String(), func(t *testing.T) {
			reply := wirePost(t, wireEcho(kind), wireConnect.contentType(kind, "thrift"), nil)
			wantSame(t, "HTTP status", reply.status, http.StatusUnsupportedMediaType)
			wantRefusal(t, reply.header, reply.body)
		})
	}
	for _, dialect := range []wireDialect{wireGRPC, wireGRPCWeb} {
		t.Run(dialect.name, func(t *testing.T) {
			reply := wirePost(t, wireEcho(connect.StreamTypeUnary), dialect.contentType(connect.StreamTypeUnary, "thrift"), wireMessages("x"))
			if reply.status != http.StatusUnsupportedMediaType {
				wantEnd(t, dialect.end(t, connect.StreamTypeUnary, reply), connect.CodeUnknown, connect.CodeInternal, connect.CodeUnimplemented)
			}
		})
	}
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		server := wireServer(t, wireEcho(kind))
		options := append(slices.Clone(dialect.client), connect.WithCodec(wireCodec{"thrift"}))
		out := wireInvoke(t.Context(), kind, wireTransport(t, false), server.URL+wireProcedure, options, "hi")
		if dialect.name == connect.ProtocolConnect {
			wantFault(t, out.err, connect.CodeUnknown)
			return
		}
		wantFault(t, out.err, connect.CodeUnknown, connect.CodeInternal, connect.CodeUnimplemented)
	})
}

// Protocol, "Streaming-Request": 415 keeps clients without Connect from reading an error as success.
func TestItem05_StreamNeedsConnectContentType(t *testing.T) {
	for _, kind := range wireKinds[1:] {
		for _, contentType := range []string{"application/json", "application/proto", "application/json; charset=utf-8"} {
			t.Run(kind.String()+"/"+contentType, func(t *testing.T) {
				reply := wirePost(t, wireEcho(kind), contentType, []byte(`"hi"`))
				wantSame(t, "HTTP status", reply.status, http.StatusUnsupportedMediaType)
				wantRefusal(t, reply.header, reply.body)
			})
		}
	}
	for _, contentType := range []string{"application/connect+json", "application/connect+proto"} {
		t.Run("unary/"+contentType, func(t *testing.T) {
			reply := wirePost(t, wireEcho(connect.StreamTypeUnary), contentType, wireMessages("hi"))
			wantSame(t, "HTTP status", reply.status, http.StatusUnsupportedMediaType)
		})
	}
}

// RFC 9110, sections 8.3.1 and 8.3.2: type, subtype and charset compare without regard to case.
func TestItem06_ContentTypeCaseAndCharset(t *testing.T) {
	for contentType, want := range map[string]int{
		"application/json":                     200,
		"Application/JSON":                     200,
		"application/json; charset=utf-8":      200,
		"application/json;charset=utf-8":       200,
		"application/json; charset=UTF-8":      200,
		"application/json; Charset=Utf-8":      200,
		`application/json; charset="utf-8"`:    200,
		"APPLICATION/JSON; CHARSET=UTF-8":      200,
		"application/json; charset=iso-8859-1": 415,
		"application/json; charset=utf-16":     415,
		"application/json; charset=shift-jis":  415,
	} {
		t.Run(contentType, func(t *testing.T) {
			reply := wirePost(t, wireEcho(connect.StreamTypeUnary), contentType, []byte(`"hi"`))
			wantSame(t, "HTTP status", reply.status, want)
			if want == 200 {
				wantSame(t, "body", string(reply.body), `"hi"`)
			}
		})
	}
	t.Run("proto", func(t *testing.T) {
		reply := wirePost(t, wireEcho(connect.StreamTypeUnary), "Application/Proto", wireProto("hi"))
		wantSame(t, "HTTP status", reply.status, 200)
		wantSame(t, "message", wireParse(t, reply.body), "hi")
	})
	wireEach(t, wireKinds[1:], func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		reply := wirePost(t, wireEcho(kind), strings.ToUpper(dialect.contentType(kind, "proto")), wireMessages("hi"))
		end := dialect.end(t, kind, reply)
		wantEnd(t, end, 0)
		wantTexts(t, end.texts(t), "hi")
	})
}
