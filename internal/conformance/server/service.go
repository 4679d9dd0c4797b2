// SPDX-License-Identifier: Apache-2.0

// This file is the service: each method answers by the request's response
// definition and echoes the parts of the request that it has read.

package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/conformance/conformancev1"
	"github.com/seed-b7c59c10/connect/internal/conformance/conformancev1/conformancev1connect"
	"github.com/seed-b7c59c10/connect/internal/conformance/wire"
)

// service leaves Unimplemented to the generated code.
type service struct {
	conformancev1connect.UnimplementedConformanceServiceHandler
}

type requestInfo = conformancev1.ConformancePayload_RequestInfo

func (service) Unary(
	ctx context.Context, request *connect.Request[conformancev1.UnaryRequest],
) (*connect.Response[conformancev1.UnaryResponse], error) {
	echo, err := seen(ctx, request.Header(), request.Msg)
	if err != nil {
		return nil, err
	}
	answer := &conformancev1.UnaryResponse{}
	answer.Payload, err = respond(request.Msg.GetResponseDefinition(), echo)
	return finish(request.Msg.GetResponseDefinition(), answer, err)
}

func (service) IdempotentUnary(
	ctx context.Context, request *connect.Request[conformancev1.IdempotentUnaryRequest],
) (*connect.Response[conformancev1.IdempotentUnaryResponse], error) {
	echo, err := seen(ctx, request.Header(), request.Msg)
	if err != nil {
		return nil, err
	}
	if request.HTTPMethod() == http.MethodGet {
		echo.ConnectGetInfo = &conformancev1.ConformancePayload_ConnectGetInfo{QueryParams: wire.Headers(request.Peer().Query)}
	}
	answer := &conformancev1.IdempotentUnaryResponse{}
	answer.Payload, err = respond(request.Msg.GetResponseDefinition(), echo)
	return finish(request.Msg.GetResponseDefinition(), answer, err)
}

func (service) ClientStream(
	ctx context.Context, stream *connect.ClientStream[conformancev1.ClientStreamRequest],
) (*connect.Response[conformancev1.ClientStreamResponse], error) {
	echo, err := seen(ctx, stream.RequestHeader())
	if err != nil {
		return nil, err
	}
	var define *conformancev1.UnaryResponseDefinition
	for stream.Receive() {
		if len(echo.Requests) == 0 {
			define = stream.Msg().GetResponseDefinition()
		}
		if err := add(echo, stream.Msg()); err != nil {
			return nil, err
		}
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	answer := &conformancev1.ClientStreamResponse{}
	answer.Payload, err = respond(define, echo)
	return finish(define, answer, err)
}

func (service) ServerStream(
	ctx context.Context,
	request *connect.Request[conformancev1.ServerStreamRequest],
	stream *connect.ServerStream[conformancev1.ServerStreamResponse],
) error {
	echo, err := seen(ctx, request.Header(), request.Msg)
	if err != nil {
		return err
	}
	script := newScript(request.Msg.GetResponseDefinition(), func(p *conformancev1.ConformancePayload) error {
		return stream.Send(&conformancev1.ServerStreamResponse{Payload: p})
	})
	if script.define != nil {
		script.head(stream.ResponseHeader(), stream.ResponseTrailer())
		if err := stream.Send(nil); err != nil {
			return err
		}
	}
	return script.rest(echo)
}

func (service) BidiStream(
	ctx context.Context,
	stream *connect.BidiStream[conformancev1.BidiStreamRequest, conformancev1.BidiStreamResponse],
) error {
	echo, err := seen(ctx, stream.RequestHeader())
	if err != nil {
		return err
	}
	var play *script
	var alternate bool
	for {
		request, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		first := play == nil
		if first {
			alternate = request.GetFullDuplex()
			play = newScript(request.GetResponseDefinition(), func(p *conformancev1.ConformancePayload) error {
				return stream.Send(&conformancev1.BidiStreamResponse{Payload: p})
			})
			play.head(stream.ResponseHeader(), stream.ResponseTrailer())
			if alternate && play.define != nil {
				if err := stream.Send(nil); err != nil {
					return err
				}
			}
		}
		if alternate && !first {
			echo = &requestInfo{} // only the first answer has the headers
		}
		if err := add(echo, request); err != nil {
			return err
		}
		if alternate {
			if play.done() {
				return play.end(echo)
			}
			if err := play.next(echo); err != nil {
				return err
			}
		}
	}
	if play == nil {
		return nil // no request, no script
	}
	if !alternate && play.define != nil {
		if err := stream.Send(nil); err != nil {
			return err
		}
	}
	return play.rest(echo)
}

// script is the course of a response stream.
type script struct {
	define *conformancev1.StreamResponseDefinition
	send   func(*conformancev1.ConformancePayload) error
	sent   int
}

func newScript(define *conformancev1.StreamResponseDefinition, send func(*conformancev1.ConformancePayload) error) *script {
	return &script{define: define, send: send}
}

func (s *script) head(header, trailer http.Header) {
	wire.AddHeaders(header, s.define.GetResponseHeaders())
	wire.AddHeaders(trailer, s.define.GetResponseTrailers())
}

func (s *script) done() bool { return s.sent == len(s.define.GetResponseData()) }

// next waits for the definition's delay and sends one message.
func (s *script) next(echo *requestInfo) error {
	pause(s.define.GetResponseDelayMs())
	data := s.define.GetResponseData()[s.sent]
	s.sent++
	return s.send(&conformancev1.ConformancePayload{Data: data, RequestInfo: echo})
}

// rest sends the messages that are left, with the echo in the very first message
// only, and ends the stream.
func (s *script) rest(echo *requestInfo) error {
	for !s.done() {
		if s.sent > 0 {
			echo = nil
		}
		if err := s.next(echo); err != nil {
			return err
		}
	}
	return s.end(echo)
}

// end returns the definition's error. It has the echo if no message had it.
func (s *script) end(echo *requestInfo) error {
	if s.define.GetError() == nil {
		return nil
	}
	return failure(s.define.GetError(), echo, s.sent == 0)
}

// respond waits for the definition's delay and makes the payload or the error of a
// single response. The definition may be nil.
func respond(define *conformancev1.UnaryResponseDefinition, echo *requestInfo) (*conformancev1.ConformancePayload, error) {
	pause(define.GetResponseDelayMs())
	if define.GetError() != nil {
		return nil, failure(define.GetError(), echo, true)
	}
	return &conformancev1.ConformancePayload{Data: define.GetResponseData(), RequestInfo: echo}, nil
}

// finish adds the definition's metadata to a single response or to its error.
func finish[T any](define *conformancev1.UnaryResponseDefinition, message *T, err error) (*connect.Response[T], error) {
	if err != nil {
		if coded, ok := errors.AsType[*connect.Error](err); ok {
			wire.AddHeaders(coded.Meta(), define.GetResponseHeaders())
			wire.AddHeaders(coded.Meta(), define.GetResponseTrailers())
		}
		return nil, err
	}
	response := connect.NewResponse(message)
	wire.AddHeaders(response.Header(), define.GetResponseHeaders())
	wire.AddHeaders(response.Trailer(), define.GetResponseTrailers())
	return response, nil
}

func failure(asked *conformancev1.Error, echo *requestInfo, withEcho bool) error {
	var more []proto.Message
	if withEcho && echo != nil {
		more = append(more, echo)
	}
	err, problem := wire.ToError(asked, more...)
	if problem != nil {
		return problem
	}
	return err
}

// seen returns the echo of a request: headers, the time left, messages.
func seen(ctx context.Context, header http.Header, messages ...proto.Message) (*requestInfo, error) {
	echo := &requestInfo{RequestHeaders: wire.Headers(header)}
	if deadline, ok := ctx.Deadline(); ok {
		echo.TimeoutMs = proto.Int64(max(0, time.Until(deadline).Milliseconds()))
	}
	for _, message := range messages {
		if err := add(echo, message); err != nil {
			return nil, err
		}
	}
	return echo, nil
}

func add(echo *requestInfo, message proto.Message) error {
	packed, err := anypb.New(message)
	if err != nil {
		return connect.NewError(connect.CodeInternal, err)
	}
	echo.Requests = append(echo.Requests, packed)
	return nil
}

// pause waits for a delay, even if the call ends before. The suite's client has the
// same deadline. If the handler sent an error at that moment, the client could read
// the head, give up on the body, and report a malformed body.
func pause(milliseconds uint32) {
	time.Sleep(time.Duration(milliseconds) * time.Millisecond)
}
