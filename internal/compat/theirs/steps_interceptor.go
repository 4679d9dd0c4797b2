// SPDX-License-Identifier: Apache-2.0

// Code generated from package ours by copyside. DO NOT EDIT.

// This file holds the steps of handlers, of interceptors and of options.

package theirs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// passing is an interceptor that changes nothing.
type passing struct{}

func (passing) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc { return next }
func (passing) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}
func (passing) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

func unsendable(s *steps) {
	for _, options := range [][]connect.ClientOption{nil, {connect.WithGRPC()}, {connect.WithGRPCWeb()}} {
		handler := s.server(func(_ context.Context, stream *connect.ServerStream[Message]) error {
			failure(s.t, "large", stream.Send(text(strings.Repeat("large", 100))))
			stream.ResponseHeader().Set("Late", "yes")
			return stream.Send(text("small"))
		}, connect.WithSendMaxBytes(100))
		stream, err := s.client(handler, append(options, connect.WithAcceptCompression("gzip", nil, nil))...).CallServerStream(context.Background(), connect.NewRequest(text("go")))
		failure(s.t, "open", err)
		for stream.Receive() {
			s.t.Add("message %q", stream.Msg().GetFileName())
		}
		failure(s.t, "error", stream.Err())
		s.t.Header("header", userOnly(stream.ResponseHeader()))
		failure(s.t, "close", stream.Close())
	}
}

// markingJSON is a program's codec "json", which marks what it decodes.
type markingJSON struct{}

func (markingJSON) Name() string { return "json" }
func (markingJSON) Marshal(message any) ([]byte, error) {
	return protojson.Marshal(message.(proto.Message))
}
func (markingJSON) Unmarshal(data []byte, message any) error {
	err := protojson.Unmarshal(data, message.(proto.Message))
	message.(*Message).FileName += " marked"
	return err
}

func charset(s *steps) {
	client, url := s.serve(s.unary(echo, connect.WithCodec(markingJSON{})))
	for _, contentType := range []string{"application/json", "application/json; charset=utf-8"} {
		res, err := client.Post(url+stepProcedure, contentType, strings.NewReader(`{"fileName":"a"}`))
		if err != nil {
			s.t.Add("no response")
			continue
		}
		msg := new(Message)
		body := make([]byte, 100)
		n, _ := res.Body.Read(body)
		_ = res.Body.Close()
		s.t.Add("%s: %q %v", contentType, res.Header.Get("Content-Type"), protojson.Unmarshal(body[:n], msg))
		s.t.Add("message %q", msg.GetFileName())
	}
}

func messageAfterError(s *steps) {
	initial := connect.WithResponseInitializer(func(_ connect.Spec, message any) error {
		message.(*Message).FileName = "initial"
		return nil
	})
	handler := s.server(func(_ context.Context, stream *connect.ServerStream[Message]) error { return nil })
	stream, err := s.client(handler, initial).CallServerStream(context.Background(), connect.NewRequest(text("go")))
	failure(s.t, "open", err)
	s.t.Add("%v %q", stream.Receive(), stream.Msg().GetFileName())
	failure(s.t, "error", stream.Err())
	failure(s.t, "close", stream.Close())
}

func trailersOnly(s *steps) {
	handler := s.bidi(func(context.Context, *connect.BidiStream[Message, Message]) error {
		return connect.NewError(connect.CodeAborted, errors.New(script.User+"aborted"))
	})
	stream := s.client(handler, connect.WithGRPCWeb()).CallBidiStream(context.Background())
	failure(s.t, "close", stream.CloseRequest())
	for range 2 {
		_, err := stream.Receive()
		failure(s.t, "receive", err)
		s.t.Add("trailers %q", slices.DeleteFunc(slices.Sorted(maps.Keys(userOnly(stream.ResponseTrailer()))), func(key string) bool { return key == "Content-Length" }))
	}
	failure(s.t, "close", stream.CloseResponse())
}

func panicAfterMessages(s *steps) {
	handler := s.server(func(_ context.Context, stream *connect.ServerStream[Message]) error {
		for _, word := range []string{"one", "two", "three"} {
			failure(s.t, "send", stream.Send(text(word)))
		}
		panic(http.ErrAbortHandler)
	})
	stream, err := s.client(handler).CallServerStream(context.Background(), connect.NewRequest(text("go")))
	failure(s.t, "open", err)
	for stream.Receive() {
		s.t.Add("message %q", stream.Msg().GetFileName())
	}
	s.t.Add("failed %v", stream.Err() != nil)
	_ = stream.Close()
}

func recovers(s *steps) {
	handle := connect.WithRecover(func(ctx context.Context, _ connect.Spec, _ http.Header, cause any) error {
		return connect.NewError(connect.CodeAborted, fmt.Errorf("%s%v", script.User, cause))
	})
	panics := connect.WithInterceptors(connect.UnaryInterceptorFunc(func(connect.UnaryFunc) connect.UnaryFunc {
		return func(context.Context, connect.AnyRequest) (connect.AnyResponse, error) { panic("interceptor") }
	}))
	gate := connect.WithRequestGate(func(context.Context, connect.Spec, connect.Peer, http.Header) (context.Context, error) {
		panic("gate")
	})
	for _, options := range [][]connect.HandlerOption{{handle, panics}, {panics, handle}, {handle, gate}} {
		res, err := s.client(s.unary(echo, options...)).CallUnary(context.Background(), connect.NewRequest(text("go")))
		response(s.t, res, err)
	}
}

// looking is an interceptor for handlers that looks for the call's information.
type looking struct {
	passing
	s *steps
}

func (i looking) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		_, ok := connect.CallInfoForHandlerContext(ctx)
		i.s.t.Add("interceptor %v", ok)
		return next(ctx, markedConn{conn})
	}
}

// markedConn is a conn whose headers an interceptor has changed.
type markedConn struct{ connect.StreamingHandlerConn }

func (c markedConn) RequestHeader() http.Header { return http.Header{"Marked": {"yes"}} }

func streamInfos(s *steps) {
	gate := connect.WithRequestGate(func(ctx context.Context, _ connect.Spec, _ connect.Peer, _ http.Header) (context.Context, error) {
		_, ok := connect.CallInfoForHandlerContext(ctx)
		s.t.Add("gate %v", ok)
		return nil, nil
	})
	handler := s.server(func(ctx context.Context, stream *connect.ServerStream[Message]) error {
		info, ok := connect.CallInfoForHandlerContext(ctx)
		s.t.Add("handler %v", ok)
		s.t.Add("handler marked=%q", info.RequestHeader().Get("Marked"))
		return nil
	}, gate, connect.WithInterceptors(looking{s: s}))
	stream, err := s.client(handler).CallServerStream(context.Background(), connect.NewRequest(text("go")))
	failure(s.t, "open", err)
	s.t.Add("received %v", stream.Receive())
	failure(s.t, "close", stream.Close())
}

func unaryInfos(s *steps) {
	handler := s.unary(func(ctx context.Context, req *connect.Request[Message]) (*connect.Response[Message], error) {
		info, _ := connect.CallInfoForHandlerContext(ctx)
		s.t.Header("response", info.ResponseHeader())
		info.ResponseHeader().Set("Before", "handler")
		info.ResponseHeader().Set("Trailer", "none")
		info.ResponseTrailer().Set("After", "handler")
		if req.Msg.GetFileName() == "fail" {
			return nil, connect.NewError(connect.CodeAborted, nil)
		}
		return echo(ctx, req)
	})
	client := s.client(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Before", "middleware")
		handler.ServeHTTP(w, r)
	}))
	for _, word := range []string{"go", "fail"} {
		res, err := client.CallUnary(context.Background(), connect.NewRequest(text(word)))
		response(s.t, res, err)
	}
}

// otherCall is an interceptor that passes on the context of another call.
type otherCall struct{ passing }

func (otherCall) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		ctx, _ = connect.NewClientContext(ctx)
		return next(ctx, req)
	}
}

func (otherCall) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		ctx, _ = connect.NewClientContext(ctx)
		return next(ctx, spec)
	}
}

func otherContext(s *steps, kind string, interceptors ...connect.Interceptor) {
	ctx, info := connect.NewClientContext(context.Background())
	option := connect.WithInterceptors(interceptors...)
	if kind == "unary" {
		res, err := s.client(s.unary(echo), option).CallUnary(ctx, connect.NewRequest(text("go")))
		response(s.t, res, err)
		s.t.Add("info %q %v", info.HTTPMethod(), info.ResponseHeader() == nil)
		return
	}
	handler := s.server(func(_ context.Context, stream *connect.ServerStream[Message]) error { return nil })
	req := connect.NewRequest(text("go"))
	_, err := s.client(handler, option).CallServerStream(ctx, req)
	failure(s.t, "open", err)
	s.t.Add("info %q %q %q", info.Spec().Procedure, info.Peer().Protocol, req.HTTPMethod())
}

func otherContextHandler(s *steps) {
	res, err := s.client(s.unary(echo, connect.WithInterceptors(otherCall{}, passing{}))).CallUnary(context.Background(), connect.NewRequest(text("go")))
	response(s.t, res, err)
}

// making is an interceptor whose streams a function makes; next begins the call's.
type making struct {
	passing
	make func(next func() connect.StreamingClientConn) connect.StreamingClientConn
}

func (m making) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		return m.make(func() connect.StreamingClientConn { return next(ctx, spec) })
	}
}

// mute is a client's stream that swallows what the program sends, with an error.
type mute struct{ err error }

func (m mute) Spec() connect.Spec           { return connect.Spec{} }
func (m mute) Peer() connect.Peer           { return connect.Peer{} }
func (m mute) RequestHeader() http.Header   { return http.Header{} }
func (m mute) ResponseHeader() http.Header  { return http.Header{} }
func (m mute) ResponseTrailer() http.Header { return http.Header{} }
func (m mute) Send(any) error               { return m.err }
func (m mute) Receive(any) error            { return io.EOF }
func (m mute) CloseRequest() error          { return m.err }
func (m mute) CloseResponse() error         { return nil }

// methodOfMadeStreams shows a request's HTTP method where interceptors begin no stream,
// one, or two, and send nothing, or everything. connect-go sends the end alone in a
// goroutine, which sets the method at some time.
func methodOfMadeStreams(s *steps) {
	handler := s.server(func(context.Context, *connect.ServerStream[Message]) error { return nil })
	ended, end := context.WithCancel(context.Background())
	end()
	for _, ctx := range []context.Context{context.Background(), ended} {
		for _, err := range []error{nil, io.EOF, errors.New(script.User + "refused")} {
			for i, made := range []func(next func() connect.StreamingClientConn) connect.StreamingClientConn{
				func(func() connect.StreamingClientConn) connect.StreamingClientConn { return mute{err} },
				func(next func() connect.StreamingClientConn) connect.StreamingClientConn {
					next()
					return mute{err}
				},
				func(next func() connect.StreamingClientConn) connect.StreamingClientConn {
					next()
					return next()
				},
				func(next func() connect.StreamingClientConn) connect.StreamingClientConn {
					defer next()
					return next()
				},
			} {
				req := connect.NewRequest(text("go"))
				_, err := s.client(handler, connect.WithInterceptors(making{make: made})).CallServerStream(ctx, req)
				failure(s.t, "open", err)
				s.t.Add("stream %d: %q %q", i, req.HTTPMethod(), req.Peer().Protocol)
			}
		}
	}
}

func endedContext(s *steps) {
	ends := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			res, err := next(ctx, req)
			failure(s.t, "interceptor", err)
			return res, err
		}
	})
	res, err := s.client(s.unary(func(ctx context.Context, req *connect.Request[Message]) (*connect.Response[Message], error) {
		s.t.Add("handler called")
		return echo(ctx, req)
	}, connect.WithInterceptors(ends))).CallUnary(context.Background(), connect.NewRequest(text("go")))
	response(s.t, res, err)
}

func initializers(s *steps) {
	count := func(side string) func(connect.Spec, any) error {
		return func(_ connect.Spec, message any) error {
			s.t.Add("%s initializes %T", side, message)
			return nil
		}
	}
	handler := s.unary(echo, connect.WithRequestInitializer(count("handler")))
	res, err := s.client(handler, connect.WithResponseInitializer(count("client"))).CallUnary(context.Background(), connect.NewRequest(text("go")))
	response(s.t, res, err)
}

func otherRequest(s *steps) {
	replaces := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, _ connect.AnyRequest) (connect.AnyResponse, error) {
			return next(ctx, connect.NewRequest(text("other")))
		}
	})
	res, err := s.client(s.unary(echo), connect.WithInterceptors(replaces)).CallUnary(context.Background(), connect.NewRequest(text("go")))
	response(s.t, res, err)
}

// telling is an interceptor whose conns record what is called.
type telling struct {
	passing
	s *steps
}

func (i telling) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return next(ctx, tellingConn{conn, i.s})
	}
}

type tellingConn struct {
	connect.StreamingHandlerConn
	s *steps
}

func (c tellingConn) Receive(message any) error {
	before := message.(*Message).GetFileName()
	err := c.StreamingHandlerConn.Receive(message)
	c.s.t.Add("receive into %q: %q", before, message.(*Message).GetFileName())
	failure(c.s.t, "receive", err)
	return err
}

func wrappedConns(s *steps) {
	handler := s.server(func(_ context.Context, stream *connect.ServerStream[Message]) error { return nil }, connect.WithInterceptors(telling{s: s}))
	client := s.client(handler, connect.WithGRPC())
	stream, err := client.CallServerStream(context.Background(), connect.NewRequest(text("go")))
	failure(s.t, "open", err)
	s.t.Add("received %v", stream.Receive())
	failure(s.t, "close", stream.Close())
	empty := client.CallBidiStream(context.Background())
	failure(s.t, "close", empty.CloseRequest())
	_, err = empty.Receive()
	failure(s.t, "receive", err)
}

func procedures(s *steps) {
	for _, path := range []string{"", "/", "a", "/a", "/a/b", "a/b", "/a/b/", "//a", "/a//b", "/x/a/b", "/x/a/"} {
		connect.NewUnaryHandler(path, echo, s.handlerOptions(connect.WithConditionalHandlerOptions(func(spec connect.Spec) []connect.HandlerOption {
			s.t.Add("%q is %q", path, spec.Procedure)
			return nil
		}))...)
	}
}

func errorWriter(s *steps) {
	writer := connect.NewErrorWriter(s.handlerOptions(connect.WithConditionalHandlerOptions(func(spec connect.Spec) []connect.HandlerOption {
		s.t.Add("conditional for %q", spec.Procedure)
		return nil
	}))...)
	client, url := s.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		failure(s.t, "write", writer.Write(w, r, nil))
	}))
	for _, contentType := range []string{"application/connect+proto", "application/grpc", "application/grpc-web"} {
		res, err := client.Post(url, contentType, nil)
		if err != nil {
			s.t.Add("no response")
			continue
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		s.t.Add("%s: %d %q %v", contentType, res.StatusCode, body, err)
		s.t.Header("header", userOnly(res.Header))
		s.t.Header("trailer", res.Trailer)
	}
}

// brokenBody is the body of a request whose reads fail after some bytes.
type brokenBody struct {
	io.Reader
	err error
}

func (b brokenBody) Close() error { return nil }

func (b brokenBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = b.err
	}
	return n, err
}

func unreadable(s *steps) {
	handler := s.unary(echo)
	for i, err := range []error{errors.New(script.User + "broken"), errors.New(script.User + "broken"), io.ErrUnexpectedEOF} {
		major := i%2 + 1
		for contentType, body := range map[string]string{"application/proto": "a", "application/grpc": "", "application/grpc+proto": "\x00\x00\x00\x00\x09abc"} {
			r := httptest.NewRequest(http.MethodPost, stepProcedure, brokenBody{strings.NewReader(body), err})
			r.ProtoMajor = major
			r.Header.Set("Content-Type", contentType)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			res := w.Result()
			s.t.Add("HTTP/%d %d %s: %d %s", major, i, contentType, res.StatusCode, res.Trailer.Get("Grpc-Status"))
		}
	}
	slices.Sort(s.t.Lines)
}

func queries(s *steps) {
	client, url := s.serve(s.unary(func(ctx context.Context, req *connect.Request[Message]) (*connect.Response[Message], error) {
		s.t.Add("%s: %v nil=%v", req.Peer().Protocol, req.Peer().Query, req.Peer().Query == nil)
		return echo(ctx, req)
	}))
	for _, contentType := range []string{"application/proto", "application/grpc", "application/grpc-web"} {
		for _, query := range []string{"", "?a=b"} {
			res, err := client.Post(url+stepProcedure+query, contentType, strings.NewReader(map[bool]string{true: "\x00\x00\x00\x00\x00"}[contentType != "application/proto"]))
			if err == nil {
				_ = res.Body.Close()
			}
		}
	}
}

func refusedTrailers(s *steps) {
	for _, body := range []string{"", "bad"} {
		ctx, info := connect.NewClientContext(context.Background())
		res, err := s.client(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{map[string]string{"": "application/other", "bad": "application/raw"}[body]}
			w.Header()["Trailer-After"] = []string{"one"}
			_, _ = w.Write([]byte(body))
		}), connect.WithCodec(script.RawCodec{})).CallUnary(ctx, connect.NewRequest(text("go")))
		response(s.t, res, err)
		s.t.Header("header", userOnly(info.ResponseHeader()))
		s.t.Header("trailer", userOnly(info.ResponseTrailer()))
	}
}

// refusing is a gate.
func refusing(context.Context, connect.Spec, connect.Peer, http.Header) (context.Context, error) {
	return nil, connect.NewError(connect.CodeUnauthenticated, nil)
}

func getsRefused(s *steps) {
	handler := s.unary(echo, connect.WithIdempotency(connect.IdempotencyNoSideEffects))
	gated := s.unary(echo, connect.WithIdempotency(connect.IdempotencyNoSideEffects), connect.WithRequestGate(refusing))
	r := httptest.NewRequest(http.MethodGet, stepProcedure+"?message=!&base64=1&encoding=proto", nil)
	w := httptest.NewRecorder()
	gated.ServeHTTP(w, r)
	s.t.Add("gate %d", w.Code)
	for _, encoding := range []string{"proto", "other"} {
		r := httptest.NewRequest(http.MethodGet, stepProcedure+"?message=&encoding="+encoding, strings.NewReader("body"))
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		s.t.Add("%d accepted=%v", w.Code, w.Header().Get("Accept-Post") != "")
	}
}
