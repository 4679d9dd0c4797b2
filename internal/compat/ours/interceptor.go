// SPDX-License-Identifier: Apache-2.0

// This file holds the interceptors: one adds headers to the calls which pass it, one replaces responses.

package ours

import (
	"context"
	"fmt"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/protobuf/types/known/durationpb"
)

// marker is an interceptor for both sides and all kinds of calls. The headers that it
// adds show what it has seen.
type marker struct{}

func (marker) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if req.Spec().IsClient {
			req.Header().Set("Marked", fmt.Sprintf("%T %q %s", req.Any(), req.HTTPMethod(), req.Peer().Protocol))
		}
		res, err := next(ctx, req)
		if err == nil {
			res.Header().Add("Marked", fmt.Sprintf("%T %q client=%v", res.Any(), req.HTTPMethod(), req.Spec().IsClient))
			res.Trailer().Add("Marked-After", "yes")
		}
		return res, err
	}
}

func (marker) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		conn.RequestHeader().Set("Marked", fmt.Sprintf("%v %s", conn.Spec() == spec, conn.Peer().Protocol))
		return conn
	}
}

func (marker) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		conn.ResponseHeader().Add("Marked", fmt.Sprintf("%v %s", conn.Spec().StreamType, conn.Peer().Protocol))
		err := next(ctx, conn)
		conn.ResponseTrailer().Add("Marked-After", fmt.Sprint(err == nil))
		return err
	}
}

// replace returns an interceptor that returns something in place of a unary response:
// "nothing", a "nil response", or "another message".
func replace(with string) connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			if _, err := next(ctx, req); err != nil {
				return nil, err
			}
			switch with {
			case "nil response":
				var none *connect.Response[Message]
				return none, nil
			case "another message":
				return connect.NewResponse(durationpb.New(1)), nil
			}
			return nil, nil
		}
	}
}
