// SPDX-License-Identifier: Apache-2.0

// This file makes one call: its options, its messages, its end.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/conformance/conformancev1"
	"github.com/seed-b7c59c10/connect/internal/conformance/conformancev1/conformancev1connect"
	"github.com/seed-b7c59c10/connect/internal/conformance/wire"
)

// call is one call in progress.
type call struct {
	asked  *conformancev1.ClientCompatRequest
	client conformancev1connect.ConformanceServiceClient
	ctx    *timedContext
	result *conformancev1.ClientResponseResult
}

// invoke makes the call of a case.
func invoke(ctx context.Context, dials *transports, asked *conformancev1.ClientCompatRequest) (*conformancev1.ClientResponseResult, error) {
	if asked.GetRawRequest() != nil {
		return nil, errors.New("raw requests are for the suite's own client")
	}
	if name := asked.GetService(); name != conformancev1connect.ConformanceServiceName {
		return nil, fmt.Errorf("unknown service %q", name)
	}
	options, err := clientOptions(asked)
	if err != nil {
		return nil, err
	}
	client, url, err := dials.client(asked)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if asked.TimeoutMs != nil {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, time.Duration(asked.GetTimeoutMs())*time.Millisecond)
		defer stop()
	}
	c := &call{
		asked:  asked,
		client: conformancev1connect.NewConformanceServiceClient(client, url, options...),
		ctx:    &timedContext{Context: ctx, cancel: cancel},
		result: &conformancev1.ClientResponseResult{},
	}
	switch asked.GetMethod() {
	case "Unary":
		err = unary(c, c.client.Unary)
	case "IdempotentUnary":
		err = unary(c, c.client.IdempotentUnary)
	case "Unimplemented":
		err = unary(c, func(ctx context.Context, request *connect.Request[conformancev1.UnimplementedRequest]) (*connect.Response[noPayload], error) {
			_, err := c.client.Unimplemented(ctx, request)
			return connect.NewResponse(&noPayload{}), err
		})
	case "ClientStream":
		err = c.clientStream()
	case "ServerStream":
		err = c.serverStream()
	case "BidiStream":
		err = c.bidiStream()
	default:
		err = fmt.Errorf("unknown method %q", asked.GetMethod())
	}
	return c.result, err
}

// noPayload stands in for a response that has none.
type noPayload struct{}

func (*noPayload) GetPayload() *conformancev1.ConformancePayload { return nil }

// clientOptions turns the case's axes into options. Only the compression of the
// case is offered, so that it is the one that the server uses.
func clientOptions(asked *conformancev1.ClientCompatRequest) ([]connect.ClientOption, error) {
	var options []connect.ClientOption
	switch asked.GetProtocol() {
	case conformancev1.Protocol_PROTOCOL_CONNECT:
	case conformancev1.Protocol_PROTOCOL_GRPC:
		options = append(options, connect.WithGRPC())
	case conformancev1.Protocol_PROTOCOL_GRPC_WEB:
		options = append(options, connect.WithGRPCWeb())
	default:
		return nil, fmt.Errorf("unknown protocol %v", asked.GetProtocol())
	}
	switch asked.GetCodec() {
	case conformancev1.Codec_CODEC_PROTO:
	case conformancev1.Codec_CODEC_JSON:
		options = append(options, connect.WithProtoJSON())
	default:
		return nil, fmt.Errorf("unknown codec %v", asked.GetCodec())
	}
	name, option, err := wire.Compression(asked.GetCompression())
	if err != nil {
		return nil, err
	}
	if name != "gzip" {
		options = append(options, connect.WithAcceptCompression("gzip", nil, nil))
	}
	if option != nil {
		options = append(options, option)
	}
	if name != "" {
		options = append(options, connect.WithSendCompression(name))
	}
	if asked.GetUseGetHttpMethod() {
		options = append(options, connect.WithHTTPGet())
	}
	if limit := asked.GetMessageReceiveLimit(); limit > 0 {
		options = append(options, connect.WithReadMaxBytes(int(limit)))
	}
	return options, nil
}

// unary makes a call with one message each way.
func unary[In, Out any, Request interface {
	*In
	proto.Message
}, Response interface {
	*Out
	GetPayload() *conformancev1.ConformancePayload
}](
	c *call,
	method func(context.Context, *connect.Request[In]) (*connect.Response[Out], error),
) error {
	message, err := only[In, Request](c.asked)
	if err != nil {
		return err
	}
	request := connect.NewRequest(message)
	wire.AddHeaders(request.Header(), c.asked.GetRequestHeaders())
	defer c.cancelLater()()
	response, err := method(c.ctx, request)
	if err != nil {
		c.fail(err)
		return nil
	}
	c.take(Response(response.Msg).GetPayload())
	c.metadata(response.Header(), response.Trailer())
	return nil
}

func (c *call) clientStream() error {
	messages, err := all[conformancev1.ClientStreamRequest](c.asked)
	if err != nil {
		return err
	}
	stream := c.client.ClientStream(c.ctx)
	wire.AddHeaders(stream.RequestHeader(), c.asked.GetRequestHeaders())
	for i, message := range messages {
		c.delay()
		if err := stream.Send(message); err != nil {
			c.result.NumUnsentRequests = int32(len(messages) - i)
			break // CloseAndReceive returns the reason
		}
	}
	if c.asked.GetCancel().GetBeforeCloseSend() != nil {
		c.ctx.cancel()
	}
	defer c.cancelLater()()
	response, err := stream.CloseAndReceive()
	if err != nil {
		c.fail(err)
		return nil
	}
	c.take(response.Msg.GetPayload())
	c.metadata(response.Header(), response.Trailer())
	return nil
}

func (c *call) serverStream() error {
	message, err := only[conformancev1.ServerStreamRequest](c.asked)
	if err != nil {
		return err
	}
	request := connect.NewRequest(message)
	wire.AddHeaders(request.Header(), c.asked.GetRequestHeaders())
	stream, err := c.client.ServerStream(c.ctx, request)
	if err != nil {
		c.fail(err)
		return nil
	}
	c.cancelNow()
	for stream.Receive() {
		c.take(stream.Msg().GetPayload())
	}
	c.result.Error = wire.FromError(stream.Err())
	c.metadata(stream.ResponseHeader(), stream.ResponseTrailer())
	_ = stream.Close()
	return nil
}

func (c *call) bidiStream() error {
	messages, err := all[conformancev1.BidiStreamRequest](c.asked)
	if err != nil {
		return err
	}
	stream := c.client.BidiStream(c.ctx)
	wire.AddHeaders(stream.RequestHeader(), c.asked.GetRequestHeaders())

	// receive is false after the last message.
	receive := func() bool {
		response, err := stream.Receive()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				c.result.Error = wire.FromError(err)
			}
			return false
		}
		c.take(response.GetPayload())
		return true
	}

	alternate := c.asked.GetStreamType() == conformancev1.StreamType_STREAM_TYPE_FULL_DUPLEX_BIDI_STREAM
	more := true
	for i, message := range messages {
		c.delay()
		if err := stream.Send(message); err != nil {
			c.result.NumUnsentRequests = int32(len(messages) - i)
			break // Receive returns the reason
		}
		if alternate {
			if more = receive(); !more {
				c.result.NumUnsentRequests = int32(len(messages) - i - 1)
				break
			}
		}
	}
	if c.asked.GetCancel().GetBeforeCloseSend() != nil {
		c.ctx.cancel()
	}
	_ = stream.CloseRequest()
	c.cancelNow()
	for more {
		more = receive()
	}
	c.metadata(stream.ResponseHeader(), stream.ResponseTrailer())
	_ = stream.CloseResponse()
	return nil
}

// take records a response message and cancels the call after the one that the
// suite names.
func (c *call) take(payload *conformancev1.ConformancePayload) {
	if payload == nil {
		payload = &conformancev1.ConformancePayload{}
	}
	c.result.Payloads = append(c.result.Payloads, payload)
	if after := c.asked.GetCancel().GetAfterNumResponses(); after > 0 && int(after) == len(c.result.Payloads) {
		c.ctx.cancel()
	}
}

// fail records the error of a call without a stream: the metadata is the error's.
func (c *call) fail(err error) {
	c.result.Error = wire.FromError(err)
	if coded, ok := errors.AsType[*connect.Error](err); ok {
		c.result.ResponseTrailers = wire.Headers(coded.Meta())
	}
}

func (c *call) metadata(header, trailer http.Header) {
	c.result.ResponseHeaders = wire.Headers(header)
	c.result.ResponseTrailers = wire.Headers(trailer)
}

// cancelLater cancels the call after the case's delay, counted from now: methods
// that send and receive in one leave no moment in between. The function that it
// returns stops the timer.
func (c *call) cancelLater() (stop func()) {
	after, ok := c.cancelDelay()
	if !ok {
		return func() {}
	}
	at := time.Now().Add(after)
	c.ctx.at.Store(&at)
	timer := time.AfterFunc(after, c.ctx.cancel)
	return func() { timer.Stop() }
}

// cancelNow waits for the case's delay and cancels the call.
func (c *call) cancelNow() {
	if after, ok := c.cancelDelay(); ok {
		time.Sleep(after)
		c.ctx.cancel()
	}
}

// cancelDelay returns the time between the end of the request and its cancellation,
// and whether there is one. A cancellation without a time is immediate.
func (c *call) cancelDelay() (time.Duration, bool) {
	cancel := c.asked.GetCancel()
	if cancel == nil {
		return 0, false
	}
	switch timing := cancel.GetCancelTiming().(type) {
	case nil:
		return 0, true
	case *conformancev1.ClientCompatRequest_Cancel_AfterCloseSendMs:
		return time.Duration(timing.AfterCloseSendMs) * time.Millisecond, true
	}
	return 0, false
}

// timedContext is a context that is canceled at a time. After that time Err returns
// an error even if a busy machine has not run the timer yet.
type timedContext struct {
	context.Context
	cancel context.CancelFunc
	at     atomic.Pointer[time.Time] // nil while there is none
}

func (c *timedContext) Err() error {
	if at := c.at.Load(); at != nil && !time.Now().Before(*at) {
		c.cancel()
	}
	return c.Context.Err()
}

// delay waits before a request message. The suite expects the whole delay, even if
// the call ends during it.
func (c *call) delay() {
	time.Sleep(time.Duration(c.asked.GetRequestDelayMs()) * time.Millisecond)
}

// only is the request's one message.
func only[T any, M interface {
	*T
	proto.Message
}](asked *conformancev1.ClientCompatRequest) (*T, error) {
	messages, err := all[T, M](asked)
	if err != nil {
		return nil, err
	}
	if len(messages) != 1 {
		return nil, fmt.Errorf("%d request messages for %s, expected 1", len(messages), asked.GetMethod())
	}
	return messages[0], nil
}

// all is the request's messages.
func all[T any, M interface {
	*T
	proto.Message
}](asked *conformancev1.ClientCompatRequest) ([]*T, error) {
	if len(asked.GetRequestMessages()) > math.MaxInt32 {
		return nil, errors.New("too many request messages")
	}
	messages := make([]*T, len(asked.GetRequestMessages()))
	for i, packed := range asked.GetRequestMessages() {
		messages[i] = new(T)
		if err := packed.UnmarshalTo(M(messages[i])); err != nil {
			return nil, fmt.Errorf("reading request message %d: %w", i+1, err)
		}
	}
	return messages, nil
}
