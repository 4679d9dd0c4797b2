// SPDX-License-Identifier: Apache-2.0

// This file holds one handler for each constructor. Each handler follows the script in
// the message that it receives.

package ours

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
)

func newUnary(procedure string, options ...connect.HandlerOption) *connect.Handler {
	return connect.NewUnaryHandler(procedure, func(ctx context.Context, req *connect.Request[Message]) (*connect.Response[Message], error) {
		if req.Msg.GetFileName() == "nil" {
			return nil, nil
		}
		res := connect.NewResponse(&Message{})
		replies, err := follow(ctx, req.Msg.GetFileName(), meta{res.Header(), res.Trailer()}, func() string {
			return visible(ctx, req.Spec(), req.Peer(), req.Header(), req.HTTPMethod())
		})
		if err != nil {
			return nil, err
		}
		res.Msg.FileName = replies[0]
		return res, nil
	}, options...)
}

func newUnarySimple(procedure string, options ...connect.HandlerOption) *connect.Handler {
	return connect.NewUnaryHandlerSimple(procedure, func(ctx context.Context, req *Message) (*Message, error) {
		if req.GetFileName() == "nil" {
			return nil, nil
		}
		return one(ctx, req.GetFileName())
	}, options...)
}

func newClientStream(procedure string, options ...connect.HandlerOption) *connect.Handler {
	return connect.NewClientStreamHandler(procedure, func(ctx context.Context, stream *connect.ClientStream[Message]) (*connect.Response[Message], error) {
		text, err := joined(stream)
		if err != nil {
			return nil, err
		}
		if text == "nil" {
			return nil, nil
		}
		res := connect.NewResponse(&Message{})
		replies, err := follow(ctx, text, meta{res.Header(), res.Trailer()}, func() string {
			return visible(ctx, stream.Spec(), stream.Peer(), stream.RequestHeader(), http.MethodPost)
		})
		if err != nil {
			return nil, err
		}
		res.Msg.FileName = replies[0]
		return res, nil
	}, options...)
}

func newClientStreamSimple(procedure string, options ...connect.HandlerOption) *connect.Handler {
	return connect.NewClientStreamHandlerSimple(procedure, func(ctx context.Context, stream *connect.ClientStream[Message]) (*Message, error) {
		text, err := joined(stream)
		if err != nil {
			return nil, err
		}
		if text == "nil" {
			return nil, nil
		}
		return one(ctx, text)
	}, options...)
}

func newServerStream(procedure string, options ...connect.HandlerOption) *connect.Handler {
	return connect.NewServerStreamHandler(procedure, func(ctx context.Context, req *connect.Request[Message], stream *connect.ServerStream[Message]) error {
		replies, err := follow(ctx, req.Msg.GetFileName(), meta{stream.ResponseHeader(), stream.ResponseTrailer()}, func() string {
			return visible(ctx, req.Spec(), req.Peer(), req.Header(), req.HTTPMethod())
		})
		return sendAll(stream, req.Msg.GetFileName(), replies, err)
	}, options...)
}

func newServerStreamSimple(procedure string, options ...connect.HandlerOption) *connect.Handler {
	return connect.NewServerStreamHandlerSimple(procedure, func(ctx context.Context, req *Message, stream *connect.ServerStream[Message]) error {
		info, ok := connect.CallInfoForHandlerContext(ctx)
		if !ok {
			return errors.New("no call info")
		}
		replies, err := follow(ctx, req.GetFileName(), meta{info.ResponseHeader(), info.ResponseTrailer()}, func() string {
			return visible(ctx, info.Spec(), info.Peer(), info.RequestHeader(), info.HTTPMethod())
		})
		return sendAll(stream, req.GetFileName(), replies, err)
	}, options...)
}

func newBidiStream(procedure string, options ...connect.HandlerOption) *connect.Handler {
	return connect.NewBidiStreamHandler(procedure, func(ctx context.Context, stream *connect.BidiStream[Message, Message]) error {
		for {
			req, err := stream.Receive()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			replies, err := follow(ctx, req.GetFileName(), meta{stream.ResponseHeader(), stream.ResponseTrailer()}, func() string {
				return visible(ctx, stream.Spec(), stream.Peer(), stream.RequestHeader(), http.MethodPost)
			})
			if err != nil {
				return err
			}
			for _, reply := range replies {
				if err := stream.Send(&Message{FileName: reply}); err != nil {
					return err
				}
			}
		}
	}, options...)
}

// one follows a script for a handler of the simple API, and returns the one message of
// its answer. The call's headers are in the call info of ctx.
func one(ctx context.Context, text string) (*Message, error) {
	info, ok := connect.CallInfoForHandlerContext(ctx)
	if !ok {
		return nil, errors.New("no call info")
	}
	replies, err := follow(ctx, text, meta{info.ResponseHeader(), info.ResponseTrailer()}, func() string {
		return visible(ctx, info.Spec(), info.Peer(), info.RequestHeader(), info.HTTPMethod())
	})
	if err != nil {
		return nil, err
	}
	return &Message{FileName: replies[0]}, nil
}

// joined receives all messages and returns their texts, with spaces between them.
func joined(stream *connect.ClientStream[Message]) (string, error) {
	var texts []string
	for stream.Receive() {
		texts = append(texts, stream.Msg().GetFileName())
	}
	return strings.Join(texts, " "), stream.Err()
}

// sendAll sends the replies and returns err. If err is not nil, it sends them only if
// the script has the word "first". With the word "sendnil" it sends nil before them.
func sendAll(stream *connect.ServerStream[Message], text string, replies []string, err error) error {
	if strings.Contains(text, "sendnil") {
		if err := stream.Send(nil); err != nil {
			return err
		}
	}
	if err != nil && !strings.Contains(text, "first") {
		return err
	}
	for _, reply := range replies {
		if err := stream.Send(&Message{FileName: reply}); err != nil {
			return err
		}
	}
	return err
}

// visible returns the spec, the peer, the method and the headers of a call, as its
// handler sees them.
func visible(ctx context.Context, spec connect.Spec, peer connect.Peer, header http.Header, method string) string {
	var t script.Transcript
	_, deadline := ctx.Deadline()
	t.Add("spec %s %v client=%v %v schema=%v", spec.Procedure, spec.StreamType, spec.IsClient, spec.IdempotencyLevel, spec.Schema)
	t.Add("peer %s addr=%v query=%s", peer.Protocol, peer.Addr != "", peer.Query.Encode())
	t.Add("method %s deadline=%v", method, deadline)
	t.Header("header", header)
	if info, ok := connect.CallInfoForHandlerContext(ctx); ok {
		t.Add("info %v %s %s %v", info.Spec() == spec, info.Peer().Protocol, info.HTTPMethod(), fmt.Sprint(info.RequestHeader()) == fmt.Sprint(header))
	}
	return strings.Join(t.Lines, "\n")
}
