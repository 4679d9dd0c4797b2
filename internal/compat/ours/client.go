// SPDX-License-Identifier: Apache-2.0

// This file makes one call with one client and records the results for the caller.

package ours

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
)

// Do makes a call and returns a transcript of its results; a panic is one of them. The
// options in first come before those of config.
func Do(ctx context.Context, httpClient *http.Client, config script.Client, call script.Call, first ...connect.ClientOption) (t script.Transcript) {
	defer func() {
		if recover() != nil {
			t.Add("panic")
		}
	}()
	if call.Timeout != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, call.Timeout)
		defer cancel()
	}
	if call.Cancel {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		cancel()
	}
	url := call.URL
	if url == "" {
		url = "http://compat.test"
	}
	method := string(call.Kind)
	if config.Get {
		method = "Get"
	}
	client := connect.NewClient[Message, Message](httpClient, url+script.Service+method, clientOptions(config, first)...)
	switch call.Kind {
	case script.Unary:
		unary(ctx, &t, client, call)
	case script.UnarySimple:
		unarySimple(ctx, &t, client, call)
	case script.ClientStream:
		clientStream(ctx, &t, client, call)
	case script.ClientStreamSimple:
		clientStreamSimple(ctx, &t, client, call)
	case script.ServerStream, script.ServerStreamSimple:
		serverStream(ctx, &t, client, call)
	case script.BidiStream:
		bidiStream(ctx, &t, client, call)
	case script.BidiStreamSimple:
		bidiStreamSimple(ctx, &t, client, call)
	default:
		t.Add("unknown kind %q", call.Kind)
	}
	return t
}

// clientOptions appends the options of config to those in options.
func clientOptions(config script.Client, options []connect.ClientOption) []connect.ClientOption {
	switch config.Protocol {
	case connect.ProtocolGRPC:
		options = append(options, connect.WithGRPC())
	case connect.ProtocolGRPCWeb:
		options = append(options, connect.WithGRPCWeb())
	}
	if config.JSON {
		options = append(options, connect.WithProtoJSON())
	}
	if config.RawCodec {
		options = append(options, connect.WithCodec(script.RawCodec{}))
	}
	if config.ProtoCodec != "" {
		options = append(options, connect.WithCodec(script.ProtoCodec{Status: config.ProtoCodec}))
	}
	if config.Replace != "" {
		options = append(options, connect.WithInterceptors(replace(config.Replace)))
	}
	if config.Get {
		options = append(options, connect.WithHTTPGet(), connect.WithIdempotency(connect.IdempotencyNoSideEffects))
	}
	if config.GetMaxURL != 0 {
		options = append(options, connect.WithHTTPGetMaxURLSize(config.GetMaxURL, config.GetFallback))
	}
	if config.NoGzip {
		options = append(options, connect.WithAcceptCompression("gzip", nil, nil))
	}
	if config.Reverse {
		options = append(options, connect.WithAcceptCompression("reverse", newReverseReader, newReverseWriter))
	}
	if config.Inflated != nil {
		options = append(options, connect.WithAcceptCompression("gzip", counting(config.Inflated), newGzipWriter))
	}
	if config.SendGzip {
		options = append(options, connect.WithSendGzip())
	}
	if config.SendCompression != "" {
		options = append(options, connect.WithSendCompression(config.SendCompression))
	}
	if n := config.ReadMaxBytes; n != 0 {
		options = append(options, connect.WithReadMaxBytes(max(n, 0)))
	}
	if n := config.SendMaxBytes; n != 0 {
		options = append(options, connect.WithSendMaxBytes(n))
	}
	if n := config.CompressMinBytes; n != 0 {
		options = append(options, connect.WithCompressMinBytes(n))
	}
	if config.Interceptor {
		options = append(options, connect.WithInterceptors(marker{}))
	}
	return options
}

func unary(ctx context.Context, t *script.Transcript, client *connect.Client[Message, Message], call script.Call) {
	req := request(call)
	res, err := client.CallUnary(ctx, req)
	if req != nil {
		t.Add("request %s %s", req.HTTPMethod(), describe(req.Spec(), req.Peer()))
	}
	response(t, res, err)
	if call.Again {
		left := userOnly(req.Header())
		for _, key := range []string{"User-Agent", "X-User-Agent"} {
			if value := left.Get(key); value != "" {
				left.Set(key, script.Text(value))
			}
		}
		t.Header("left", left)
		_, err := client.CallUnary(context.WithoutCancel(ctx), req)
		failure(t, "again", err)
	}
}

func unarySimple(ctx context.Context, t *script.Transcript, client *connect.Client[Message, Message], call script.Call) {
	ctx, info := connect.NewClientContext(ctx)
	setHeader(info.RequestHeader(), call.Header)
	res, err := client.CallUnary(ctx, connect.NewRequest(message(call)))
	if err == nil {
		t.Add("message %q", res.Msg.GetFileName())
	}
	failure(t, "error", err)
	callInfo(t, info)
}

func clientStream(ctx context.Context, t *script.Transcript, client *connect.Client[Message, Message], call script.Call) {
	stream := client.CallClientStream(ctx)
	t.Add("stream %s", describe(stream.Spec(), stream.Peer()))
	setHeader(stream.RequestHeader(), call.Header)
	if call.NilFirst {
		failure(t, "send", stream.Send(nil))
	}
	for _, text := range call.Messages {
		if err := stream.Send(&Message{FileName: text}); err != nil {
			failure(t, "send", err)
			break
		}
	}
	res, err := stream.CloseAndReceive()
	response(t, res, err)
}

func clientStreamSimple(ctx context.Context, t *script.Transcript, client *connect.Client[Message, Message], call script.Call) {
	ctx, info := connect.NewClientContext(ctx)
	setHeader(info.RequestHeader(), call.Header)
	stream, err := client.CallClientStreamSimple(ctx)
	if err != nil {
		failure(t, "open", err)
		return
	}
	for _, text := range call.Messages {
		if err := stream.Send(&Message{FileName: text}); err != nil {
			failure(t, "send", err)
			break
		}
	}
	res, err := stream.CloseAndReceive()
	if err == nil {
		t.Add("message %q", res.GetFileName())
	}
	failure(t, "error", err)
	callInfo(t, info)
}

func serverStream(ctx context.Context, t *script.Transcript, client *connect.Client[Message, Message], call script.Call) {
	stream, err := client.CallServerStream(ctx, request(call))
	if err != nil {
		failure(t, "open", err)
		return
	}
	for stream.Receive() {
		t.Add("message %q", stream.Msg().GetFileName())
	}
	failure(t, "error", stream.Err())
	t.Header("header", userOnly(stream.ResponseHeader()))
	t.Header("trailer", userOnly(stream.ResponseTrailer()))
	failure(t, "close", stream.Close())
}

func bidiStream(ctx context.Context, t *script.Transcript, client *connect.Client[Message, Message], call script.Call) {
	stream := client.CallBidiStream(ctx)
	t.Add("stream %s", describe(stream.Spec(), stream.Peer()))
	setHeader(stream.RequestHeader(), call.Header)
	if call.NilFirst {
		failure(t, "send", stream.Send(nil))
	}
	for _, text := range call.Messages {
		if err := stream.Send(&Message{FileName: text}); err != nil {
			failure(t, "send", err)
			break
		}
	}
	failure(t, "close request", stream.CloseRequest())
	for {
		res, err := stream.Receive()
		if err != nil {
			failure(t, "error", err)
			break
		}
		t.Add("message %q", res.GetFileName())
	}
	t.Header("header", userOnly(stream.ResponseHeader()))
	t.Header("trailer", userOnly(stream.ResponseTrailer()))
	failure(t, "close", stream.CloseResponse())
}

func bidiStreamSimple(ctx context.Context, t *script.Transcript, client *connect.Client[Message, Message], call script.Call) {
	ctx, info := connect.NewClientContext(ctx)
	setHeader(info.RequestHeader(), call.Header)
	stream, err := client.CallBidiStreamSimple(ctx)
	if err != nil {
		failure(t, "open", err)
		return
	}
	for _, text := range call.Messages {
		if err := stream.Send(&Message{FileName: text}); err != nil {
			failure(t, "send", err)
			break
		}
	}
	failure(t, "close request", stream.CloseRequest())
	for {
		res, err := stream.Receive()
		if err != nil {
			failure(t, "error", err)
			break
		}
		t.Add("message %q", res.GetFileName())
	}
	callInfo(t, info)
	failure(t, "close", stream.CloseResponse())
}

func message(call script.Call) *Message {
	if len(call.Messages) == 0 {
		return &Message{}
	}
	return &Message{FileName: call.Messages[0]}
}

func request(call script.Call) *connect.Request[Message] {
	if call.NilCall {
		return nil
	}
	req := connect.NewRequest(message(call))
	setHeader(req.Header(), call.Header)
	return req
}

func setHeader(into, from http.Header) {
	for key, values := range from {
		into[key] = values
	}
}

func describe(spec connect.Spec, peer connect.Peer) string {
	return fmt.Sprintf("%s %v client=%v %v, peer %s at %s query=%s", spec.Procedure, spec.StreamType, spec.IsClient, spec.IdempotencyLevel, peer.Protocol, peer.Addr, peer.Query.Encode())
}

func response(t *script.Transcript, res *connect.Response[Message], err error) {
	if err == nil {
		t.Add("message %q", res.Msg.GetFileName())
		t.Header("header", userOnly(res.Header()))
		t.Header("trailer", userOnly(res.Trailer()))
	}
	failure(t, "error", err)
}

func callInfo(t *script.Transcript, info connect.CallInfo) {
	t.Add("info %s %s", info.HTTPMethod(), describe(info.Spec(), info.Peer()))
	t.Header("header", userOnly(info.ResponseHeader()))
	t.Header("trailer", userOnly(info.ResponseTrailer()))
}

// userOnly returns a copy of a header without the date, which differs from run to run.
func userOnly(header http.Header) http.Header {
	header = header.Clone()
	header.Del("Date")
	return header
}

// failure records all properties of an error that programs can rely on. It records
// nothing for nil.
func failure(t *script.Transcript, what string, err error) {
	if err == nil {
		return
	}
	t.Add("%s %v", what, connect.CodeOf(err))
	for _, target := range []error{io.EOF, io.ErrUnexpectedEOF, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, target) {
			t.Add("%s is %q", what, target)
		}
	}
	var coded *connect.Error
	if !errors.As(err, &coded) {
		t.Add("%s not coded", what)
		return
	}
	t.Add("%s text %q wire=%v notmodified=%v", what, script.Text(coded.Message()), connect.IsWireError(err), connect.IsNotModifiedError(err))
	for _, detail := range coded.Details() {
		value, err := detail.Value()
		t.Add("%s detail %s %x readable=%v of type %T", what, detail.Type(), detail.Bytes(), err == nil, value)
	}
	t.Header(what+" meta", userOnly(coded.Meta()))
}
