// SPDX-License-Identifier: Apache-2.0

// This file tests how handlers and clients see a call: Spec, Peer and CallInfo.

package conntest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// wantSpec fails the test unless a Spec describes the method.
func wantSpec(t *testing.T, where string, got connect.Spec, k kind, client bool) {
	t.Helper()
	wantEqual(t, where+": procedure", got.Procedure, k.procedure())
	wantEqual(t, where+": stream type", got.StreamType, k.streamType())
	wantEqual(t, where+": is client", got.IsClient, client)
	idempotency := connect.IdempotencyUnknown
	if k == get {
		idempotency = connect.IdempotencyNoSideEffects
	}
	wantEqual(t, where+": idempotency", got.IdempotencyLevel, idempotency)
	method, ok := got.Schema.(protoreflect.MethodDescriptor)
	if !ok {
		t.Fatalf("%s: schema: got %T, want a protoreflect.MethodDescriptor", where, got.Schema)
	}
	wantEqual(t, where+": schema", method.Name(), protoreflect.Name(k))
}

// wantServer fails the test unless a Peer is the site, as a client sees it.
func wantServer(t *testing.T, s *site, got connect.Peer) {
	t.Helper()
	wantEqual(t, "client's peer: address", got.Addr, parseURL(s.url).Host)
	wantEqual(t, "client's peer: protocol", got.Protocol, s.mode.peerProtocol())
	wantEqual(t, "client's peer: query", len(got.Query), 0)
}

func TestSpecAndPeer(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		type seen struct {
			spec connect.Spec
			peer connect.Peer
			info connect.CallInfo
		}
		handler := make(chan seen, 1)
		site := m.serve(t, everyKind(func(ctx context.Context, x *exchange) error {
			info, ok := connect.CallInfoForHandlerContext(ctx)
			if !ok {
				return errors.New("no CallInfo in the handler's context")
			}
			handler <- seen{x.spec, x.peer, info}
			if _, err := x.receiveAll(); err != nil {
				return err
			}
			return x.send(new(conntestv1.Response))
		}))
		client := site.client()
		forKinds(t, m, func(t *testing.T, k kind) {
			ctx := testContext(t)
			switch k {
			case unary, get:
				r := requestOf("x")
				wantEqual(t, "HTTP method before the call", r.HTTPMethod(), "")
				method := client.Unary
				if k == get {
					method = client.Get
				}
				_, err := method(ctx, r)
				wantNil(t, err)
				wantSpec(t, "request", r.Spec(), k, true)
				wantServer(t, site, r.Peer())
				wantEqual(t, "HTTP method after the call", r.HTTPMethod(), http.MethodPost)
			case serverStream:
				stream, err := client.ServerStream(ctx, requestOf("x"))
				wantNil(t, err)
				conn, err := stream.Conn()
				wantNil(t, err)
				wantSpec(t, "conn", conn.Spec(), k, true)
				wantServer(t, site, conn.Peer())
				for stream.Receive() {
				}
				wantNil(t, stream.Close())
			case clientStream:
				stream := client.ClientStream(ctx)
				wantSpec(t, "stream", stream.Spec(), k, true)
				wantServer(t, site, stream.Peer())
				_, err := stream.CloseAndReceive()
				wantNil(t, err)
			case bidi:
				stream := client.Bidi(ctx)
				wantSpec(t, "stream", stream.Spec(), k, true)
				wantServer(t, site, stream.Peer())
				wantNil(t, stream.CloseRequest())
				for {
					if _, err := stream.Receive(); errors.Is(err, io.EOF) {
						break
					} else if err != nil {
						t.Fatal(err)
					}
				}
				wantNil(t, stream.CloseResponse())
			}
			got := await(t, "handler", handler)
			for where, s := range map[string]seen{
				"handler":            got,
				"handler's CallInfo": {spec: got.info.Spec(), peer: got.info.Peer()},
			} {
				wantSpec(t, where, s.spec, k, false)
				wantEqual(t, where+": protocol", s.peer.Protocol, m.peerProtocol())
				if _, _, err := net.SplitHostPort(s.peer.Addr); err != nil {
					t.Fatalf("%s: peer address: got %q, want host:port", where, s.peer.Addr)
				}
			}
			wantEqual(t, "handler's CallInfo: method", got.info.HTTPMethod(), http.MethodPost)
		})
	})
}

// A handler may set its metadata through the CallInfo of its context.
func TestCallInfoOfHandlers(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		client := m.serve(t, everyKind(func(ctx context.Context, x *exchange) error {
			info, ok := connect.CallInfoForHandlerContext(ctx)
			if !ok {
				return errors.New("no CallInfo in the handler's context")
			}
			if info.RequestHeader().Get("Asked-Single") != x.header.Get("Asked-Single") {
				return errors.New("CallInfo has another request header")
			}
			if _, err := x.receiveAll(); err != nil {
				return err
			}
			info.ResponseHeader().Set("From-Info", "header")
			x.answer.Set("From-Response", "header")
			if err := x.send(new(conntestv1.Response)); err != nil {
				return err
			}
			info.ResponseTrailer().Set("From-Info", "trailer")
			x.trailer.Set("From-Response", "trailer")
			return nil
		})).client()
		forKinds(t, m, func(t *testing.T, k kind) {
			o := call(testContext(t), client, k, metadata("Asked"), text("x"))
			wantNil(t, o.err)
			for _, key := range []string{"From-Info", "From-Response"} {
				wantValues(t, "header", o.header, key, "header")
				wantValues(t, "trailer", o.trailer, key, "trailer")
			}
		})
	})
}

// A client may send and receive metadata through the CallInfo of its context.
func TestCallInfoOfClients(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		site := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			x.answer.Set("Echoed", x.header.Get("From-Info")+" and "+x.header.Get("From-Request"))
			if _, err := x.receiveAll(); err != nil {
				return err
			}
			if err := x.send(new(conntestv1.Response)); err != nil {
				return err
			}
			x.trailer.Set("Trailing", "yes")
			return nil
		}))
		forKinds(t, m, func(t *testing.T, k kind) {
			ctx, info := connect.NewClientContext(testContext(t))
			info.RequestHeader().Set("From-Info", "info")
			o := call(ctx, site.client(), k, http.Header{"From-Request": {"request"}}, text("x"))
			wantNil(t, o.err)
			wantValues(t, "header", o.header, "Echoed", "info and request")
			wantValues(t, "CallInfo: header", info.ResponseHeader(), "Echoed", "info and request")
			wantValues(t, "CallInfo: trailer", info.ResponseTrailer(), "Trailing", "yes")
			wantSpec(t, "CallInfo", info.Spec(), k, true)
			wantServer(t, site, info.Peer())
			if k == unary || k == get { // a stream is always a POST, and its CallInfo may omit the method
				wantEqual(t, "CallInfo: method", info.HTTPMethod(), http.MethodPost)
			}
		})
	})
}

// The simple variants of handlers and clients pass metadata by the context only.
func TestSimpleVariants(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		answer := func(ctx context.Context) {
			info, _ := connect.CallInfoForHandlerContext(ctx)
			info.ResponseHeader().Set("Echoed", info.RequestHeader().Get("Asked"))
			info.ResponseTrailer().Set("Trailing", "yes")
		}
		options := m.handlerOptions()
		mux := http.NewServeMux()
		mux.Handle("/simple.Service/Unary", connect.NewUnaryHandlerSimple("/simple.Service/Unary",
			func(ctx context.Context, r *conntestv1.Request) (*conntestv1.Response, error) {
				answer(ctx)
				return text2(r.GetText()), nil
			}, options...))
		mux.Handle("/simple.Service/ClientStream", connect.NewClientStreamHandlerSimple("/simple.Service/ClientStream",
			func(ctx context.Context, s *clientStreamOfHandler) (*conntestv1.Response, error) {
				answer(ctx)
				n := int32(0)
				for s.Receive() {
					n++
				}
				return &conntestv1.Response{Count: n}, s.Err()
			}, options...))
		mux.Handle("/simple.Service/ServerStream", connect.NewServerStreamHandlerSimple("/simple.Service/ServerStream",
			func(ctx context.Context, r *conntestv1.Request, s *serverStreamOfHandler) error {
				answer(ctx)
				for range r.GetCount() {
					if err := s.Send(text2(r.GetText())); err != nil {
						return err
					}
				}
				return nil
			}, options...))
		mux.Handle("/simple.Service/Bidi", connect.NewBidiStreamHandler("/simple.Service/Bidi",
			func(ctx context.Context, s *bidiStreamOfHandler) error {
				answer(ctx)
				// The header comes first, before any message.
				if err := s.Send(nil); err != nil {
					return err
				}
				for {
					r, err := s.Receive()
					if errors.Is(err, io.EOF) {
						return nil
					}
					if err != nil {
						return err
					}
					if err := s.Send(text2(r.GetText())); err != nil {
						return err
					}
				}
			}, options...))
		site := m.serveHTTP(t, mux)
		newClient := func(method string) *connect.Client[conntestv1.Request, conntestv1.Response] {
			return connect.NewClient[conntestv1.Request, conntestv1.Response](
				site.httpClient(), site.url+"/simple.Service/"+method, m.clientOptions()...)
		}
		newContext := func(t *testing.T) (context.Context, connect.CallInfo) {
			ctx, info := connect.NewClientContext(testContext(t))
			info.RequestHeader().Set("Asked", "yes")
			return ctx, info
		}
		wantInfo := func(t *testing.T, info connect.CallInfo) {
			t.Helper()
			wantValues(t, "header", info.ResponseHeader(), "Echoed", "yes")
			wantValues(t, "trailer", info.ResponseTrailer(), "Trailing", "yes")
		}
		t.Run("Unary", func(t *testing.T) {
			ctx, info := newContext(t)
			r, err := newClient("Unary").CallUnary(ctx, requestOf("x"))
			wantNil(t, err)
			wantEqual(t, "text", r.Msg.GetText(), "x")
			wantInfo(t, info)
		})
		t.Run("ClientStream", func(t *testing.T) {
			ctx, info := newContext(t)
			stream, err := newClient("ClientStream").CallClientStreamSimple(ctx)
			wantNil(t, err)
			wantNil(t, stream.Send(text("x")))
			wantNil(t, stream.Send(text("y")))
			wantEqual(t, "protocol", stream.Peer().Protocol, m.peerProtocol())
			wantEqual(t, "procedure", stream.Spec().Procedure, "/simple.Service/ClientStream")
			r, err := stream.CloseAndReceive()
			wantNil(t, err)
			wantEqual(t, "count", r.GetCount(), 2)
			wantInfo(t, info)
		})
		t.Run("ServerStream", func(t *testing.T) {
			ctx, info := newContext(t)
			stream, err := newClient("ServerStream").CallServerStream(ctx, connect.NewRequest(&conntestv1.Request{Text: "x", Count: 2}))
			wantNil(t, err)
			n := 0
			for stream.Receive() {
				n++
			}
			wantNil(t, stream.Err())
			wantEqual(t, "messages", n, 2)
			wantInfo(t, info)
			wantNil(t, stream.Close())
		})
		if !duplex(m) {
			return
		}
		t.Run("Bidi", func(t *testing.T) {
			ctx, info := newContext(t)
			// The call itself sends the header; the handler answers with its own.
			stream, err := newClient("Bidi").CallBidiStreamSimple(ctx)
			wantNil(t, err)
			wantValues(t, "header", stream.ResponseHeader(), "Echoed", "yes")
			wantNil(t, stream.Send(text("x")))
			r, err := stream.Receive()
			wantNil(t, err)
			wantEqual(t, "text", r.GetText(), "x")
			wantNil(t, stream.CloseRequest())
			_, err = stream.Receive()
			wantEOF(t, err)
			wantInfo(t, info)
			wantNil(t, stream.CloseResponse())
		})
	})
}

// Only a handler's context has a CallInfo.
func TestNoCallInfo(t *testing.T) {
	if info, ok := connect.CallInfoForHandlerContext(context.Background()); ok || info != nil {
		t.Fatalf("got %v, %v, want nothing", info, ok)
	}
}

// One client context may serve several calls, one after the other.
func TestClientContextIsReusable(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			requests, err := x.receiveAll()
			if err != nil {
				return err
			}
			x.answer.Set("Echoed", x.header.Get("Asked")+requests[0].GetText())
			return x.send(new(conntestv1.Response))
		})).client()
		ctx, info := connect.NewClientContext(testContext(t))
		info.RequestHeader().Set("Asked", "call/")
		for _, k := range m.kinds() {
			wantNil(t, call(ctx, client, k, nil, text(string(k))).err)
			wantValues(t, "header", info.ResponseHeader(), "Echoed", "call/"+string(k))
			wantValues(t, "request header", info.RequestHeader(), "Asked", "call/")
		}
	})
}
