// SPDX-License-Identifier: Apache-2.0

// Servers and clients of kinds.proto in both styles.

package gentest

import (
	"context"
	"errors"
	"io"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1/kindsv1connect"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1/kindsv1simple"
)

// wrappedServer serves KindsService except for its missing methods.
type wrappedServer struct {
	kindsv1connect.UnimplementedKindsServiceHandler
}

func (wrappedServer) Double(_ context.Context, req *connect.Request[kindsv1.Number]) (*connect.Response[kindsv1.Number], error) {
	if req.Msg.GetValue() < 0 {
		return nil, connect.NewError(connect.CodeOutOfRange, errNegative)
	}
	return connect.NewResponse(number(2 * req.Msg.GetValue())), nil
}

func (wrappedServer) Sum(_ context.Context, stream *connect.ClientStream[kindsv1.Number]) (*connect.Response[kindsv1.Number], error) {
	sum := int64(0)
	for stream.Receive() {
		sum += stream.Msg().GetValue()
	}
	return connect.NewResponse(number(sum)), stream.Err()
}

func (wrappedServer) Count(_ context.Context, req *connect.Request[kindsv1.Number], stream *connect.ServerStream[kindsv1.Number]) error {
	if req.Msg.GetValue() < 0 {
		return connect.NewError(connect.CodeOutOfRange, errNegative)
	}
	for n := range req.Msg.GetValue() {
		if err := stream.Send(number(n + 1)); err != nil {
			return err
		}
	}
	return nil
}

func (wrappedServer) Add(_ context.Context, stream *connect.BidiStream[kindsv1.Number, kindsv1.Number]) error {
	for sum := int64(0); ; {
		req, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		sum += req.GetValue()
		if err := stream.Send(number(sum)); err != nil {
			return err
		}
	}
}

// wrappedCaller calls with requests and responses.
type wrappedCaller struct {
	client kindsv1connect.KindsServiceClient
}

func (c wrappedCaller) double(ctx context.Context, value int64) (int64, error) {
	res, err := c.client.Double(ctx, connect.NewRequest(number(value)))
	if err != nil {
		return 0, err
	}
	return res.Msg.GetValue(), nil
}

func (c wrappedCaller) sum(ctx context.Context, numbers ...int64) (int64, error) {
	stream := c.client.Sum(ctx)
	for _, value := range numbers {
		if err := stream.Send(number(value)); err != nil {
			return 0, err
		}
	}
	res, err := stream.CloseAndReceive()
	if err != nil {
		return 0, err
	}
	return res.Msg.GetValue(), nil
}

func (c wrappedCaller) count(ctx context.Context, value int64) ([]int64, error) {
	stream, err := c.client.Count(ctx, connect.NewRequest(number(value)))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	return collect(stream)
}

func (c wrappedCaller) add(ctx context.Context, numbers ...int64) ([]int64, error) {
	return converse(c.client.Add(ctx), numbers...)
}

func (c wrappedCaller) missing(ctx context.Context) error {
	_, err := c.client.Missing(ctx, connect.NewRequest(number(0)))
	return err
}

func (c wrappedCaller) missingStream(ctx context.Context) error {
	return firstAnswer(c.client.MissingStream(ctx))
}

// simpleServer serves KindsService except for its missing methods.
type simpleServer struct {
	kindsv1simple.UnimplementedKindsServiceHandler
}

func (simpleServer) Double(_ context.Context, req *kindsv1.Number) (*kindsv1.Number, error) {
	if req.GetValue() < 0 {
		return nil, connect.NewError(connect.CodeOutOfRange, errNegative)
	}
	return number(2 * req.GetValue()), nil
}

func (simpleServer) Sum(_ context.Context, stream *connect.ClientStream[kindsv1.Number]) (*kindsv1.Number, error) {
	sum := int64(0)
	for stream.Receive() {
		sum += stream.Msg().GetValue()
	}
	return number(sum), stream.Err()
}

func (simpleServer) Count(_ context.Context, req *kindsv1.Number, stream *connect.ServerStream[kindsv1.Number]) error {
	if req.GetValue() < 0 {
		return connect.NewError(connect.CodeOutOfRange, errNegative)
	}
	for n := range req.GetValue() {
		if err := stream.Send(number(n + 1)); err != nil {
			return err
		}
	}
	return nil
}

func (simpleServer) Add(ctx context.Context, stream *connect.BidiStream[kindsv1.Number, kindsv1.Number]) error {
	return wrappedServer{}.Add(ctx, stream) // the same signature in both styles
}

// simpleCaller calls with plain messages.
type simpleCaller struct {
	client kindsv1simple.KindsServiceClient
}

func (c simpleCaller) double(ctx context.Context, value int64) (int64, error) {
	res, err := c.client.Double(ctx, number(value))
	return res.GetValue(), err
}

func (c simpleCaller) sum(ctx context.Context, numbers ...int64) (int64, error) {
	stream, err := c.client.Sum(ctx)
	if err != nil {
		return 0, err
	}
	for _, value := range numbers {
		if err := stream.Send(number(value)); err != nil {
			return 0, err
		}
	}
	res, err := stream.CloseAndReceive()
	return res.GetValue(), err
}

func (c simpleCaller) count(ctx context.Context, value int64) ([]int64, error) {
	stream, err := c.client.Count(ctx, number(value))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	return collect(stream)
}

func (c simpleCaller) add(ctx context.Context, numbers ...int64) ([]int64, error) {
	stream, err := c.client.Add(ctx)
	if err != nil {
		return nil, err
	}
	return converse(stream, numbers...)
}

func (c simpleCaller) missing(ctx context.Context) error {
	_, err := c.client.Missing(ctx, number(0))
	return err
}

func (c simpleCaller) missingStream(ctx context.Context) error {
	stream, err := c.client.MissingStream(ctx)
	if err != nil {
		return err
	}
	return firstAnswer(stream)
}
