// SPDX-License-Identifier: Apache-2.0

// Code generated from package ours by copyside. DO NOT EDIT.

// This file holds steps that random programs have found.

package theirs

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
)

// foundSteps are the steps of this file.
func foundSteps() []Step {
	return []Step{
		{"second message of a request of one, after the context", secondAfterContext},
		{"GET with a codec that cannot be used for it", unusableForGET},
		{"end without a code that is too large", largeEndWithoutCode},
		{"content type as a trailer", contentTypeAsTrailer},
		{"sends after the client has left", sendsAfterClient},
		{"not modified with trailers", notModifiedWithTrailers},
		{"initializer of a GET whose context ends", initializedGET},
	}
}

func secondAfterContext(s *steps) {
	handler := s.server(func(context.Context, *connect.ServerStream[Message]) error { return nil })
	for _, options := range [][]connect.ClientOption{nil, {connect.WithGRPC()}} {
		for _, ended := range []bool{false, true} {
			ctx, cancel := context.WithCancel(context.Background())
			stream, err := s.client(handler, options...).CallServerStream(ctx, connect.NewRequest(text("go")))
			failure(s.t, "open", err)
			if ended {
				cancel()
			}
			conn, _ := stream.Conn()
			failure(s.t, "send", conn.Send(text("second")))
			failure(s.t, "send nil", conn.Send(nil))
			cancel()
		}
		late, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Hour))
		stream, err := s.client(handler, append(options, connect.WithInterceptors(sendBefore{msg: text("before")}))...).CallServerStream(late, connect.NewRequest(text("go")))
		s.t.Add("stream %v", stream != nil)
		failure(s.t, "open", err)
		cancel()
	}
}

func unusableForGET(s *steps) {
	handler := s.unary(echo, connect.WithCodec(script.RawCodec{}), connect.WithIdempotency(connect.IdempotencyNoSideEffects))
	for _, fallback := range []bool{false, true} {
		for _, word := range []string{"go", strings.Repeat("large", 10)} {
			client := s.client(handler, connect.WithCodec(script.RawCodec{}), connect.WithSendMaxBytes(20), connect.WithIdempotency(connect.IdempotencyNoSideEffects),
				connect.WithHTTPGet(), connect.WithHTTPGetMaxURLSize(1000, fallback))
			res, err := client.CallUnary(context.Background(), connect.NewRequest(text(word)))
			response(s.t, res, err)
		}
	}
}

func largeEndWithoutCode(s *steps) {
	for _, details := range []bool{false, true} {
		handler := s.server(func(_ context.Context, stream *connect.ServerStream[Message]) error {
			stream.ResponseHeader().Set("Answer", "one") // so that gRPC-Web has its end in a frame
			stream.ResponseTrailer().Set("After", strings.Repeat("long ", 10))
			err := connect.NewError(0, errors.New(script.User+"no code"))
			if details {
				return withDetails(err)
			}
			return err
		}, connect.WithSendMaxBytes(20), connect.WithCompression("gzip", nil, nil))
		for _, contentType := range []string{"application/connect+proto", "application/grpc", "application/grpc-web"} {
			s.post(handler, contentType, "\x00\x00\x00\x00\x00")
		}
	}
}

func contentTypeAsTrailer(s *steps) {
	handler := s.server(func(_ context.Context, stream *connect.ServerStream[Message]) error {
		stream.ResponseTrailer()["Content-Type"] = []string{"one", "two"}
		return connect.NewError(connect.CodeAborted, errors.New(script.User+"aborted"))
	})
	for _, contentType := range []string{"application/connect+proto", "application/grpc", "application/grpc-web"} {
		s.post(handler, contentType, "\x00\x00\x00\x00\x00")
	}
}

func sendsAfterClient(s *steps) {
	for _, words := range [][]string{{"nil", "small"}, {strings.Repeat("large ", 2000), "small", "small"}} {
		called, over := make(chan bool), make(chan bool)
		handler := s.server(func(ctx context.Context, stream *connect.ServerStream[Message]) error {
			defer close(over)
			close(called)
			<-ctx.Done()
			for _, word := range words {
				msg := text(word)
				if word == "nil" {
					msg = nil
				}
				failure(s.t, "send", stream.Send(msg))
			}
			return nil
		}, connect.WithCompression("gzip", nil, nil))
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			<-called
			cancel()
		}()
		_, err := s.client(handler).CallServerStream(ctx, connect.NewRequest(text("go")))
		<-over
		failure(s.t, "open", err)
		cancel()
	}
}

func notModifiedWithTrailers(s *steps) {
	handler := s.unary(func(ctx context.Context, _ *connect.Request[Message]) (*connect.Response[Message], error) {
		info, _ := connect.CallInfoForHandlerContext(ctx)
		info.ResponseTrailer().Set("After", "one")
		return nil, connect.NewNotModifiedError(http.Header{"Etag": {"new"}})
	}, connect.WithIdempotency(connect.IdempotencyNoSideEffects))
	for _, options := range [][]connect.ClientOption{nil, {connect.WithHTTPGet(), connect.WithIdempotency(connect.IdempotencyNoSideEffects)}} {
		res, err := s.client(handler, options...).CallUnary(context.Background(), connect.NewRequest(text("go")))
		response(s.t, res, err)
	}
}

func initializedGET(s *steps) {
	called, over := make(chan bool), make(chan bool)
	handler := s.unary(func(ctx context.Context, req *connect.Request[Message]) (*connect.Response[Message], error) {
		defer close(over)
		close(called)
		<-ctx.Done()
		return nil, ctx.Err()
	}, connect.WithIdempotency(connect.IdempotencyNoSideEffects))
	client := s.client(handler, connect.WithHTTPGet(), connect.WithIdempotency(connect.IdempotencyNoSideEffects),
		connect.WithResponseInitializer(func(connect.Spec, any) error {
			s.t.Add("client initializes")
			return nil
		}))
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-called
		cancel()
	}()
	res, err := client.CallUnary(ctx, connect.NewRequest(text("go")))
	<-over
	response(s.t, res, err)
	cancel()
}
