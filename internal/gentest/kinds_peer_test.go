// SPDX-License-Identifier: Apache-2.0

// The servers and clients of kinds_test.go, with code that was generated for the runtime connectrpc.com/connect.

package gentest

import (
	"context"
	"errors"
	"io"

	reference "connectrpc.com/connect"

	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1/kindsv1peer"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1/kindsv1simplepeer"
)

// wrappedPeerServer serves KindsService except for its missing methods.
type wrappedPeerServer struct {
	kindsv1peer.UnimplementedKindsServiceHandler
}

func (wrappedPeerServer) Double(_ context.Context, req *reference.Request[kindsv1.Number]) (*reference.Response[kindsv1.Number], error) {
	if req.Msg.GetValue() < 0 {
		return nil, reference.NewError(reference.CodeOutOfRange, errNegative)
	}
	return reference.NewResponse(number(2 * req.Msg.GetValue())), nil
}

func (wrappedPeerServer) Sum(_ context.Context, stream *reference.ClientStream[kindsv1.Number]) (*reference.Response[kindsv1.Number], error) {
	sum := int64(0)
	for stream.Receive() {
		sum += stream.Msg().GetValue()
	}
	return reference.NewResponse(number(sum)), stream.Err()
}

func (wrappedPeerServer) Count(_ context.Context, req *reference.Request[kindsv1.Number], stream *reference.ServerStream[kindsv1.Number]) error {
	if req.Msg.GetValue() < 0 {
		return reference.NewError(reference.CodeOutOfRange, errNegative)
	}
	for n := range req.Msg.GetValue() {
		if err := stream.Send(number(n + 1)); err != nil {
			return err
		}
	}
	return nil
}

func (wrappedPeerServer) Add(_ context.Context, stream *reference.BidiStream[kindsv1.Number, kindsv1.Number]) error {
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

// wrappedPeerCaller calls with requests and responses.
type wrappedPeerCaller struct {
	client kindsv1peer.KindsServiceClient
}

func (c wrappedPeerCaller) double(ctx context.Context, value int64) (int64, error) {
	res, err := c.client.Double(ctx, reference.NewRequest(number(value)))
	if err != nil {
		return 0, err
	}
	return res.Msg.GetValue(), nil
}

func (c wrappedPeerCaller) sum(ctx context.Context, numbers ...int64) (int64, error) {
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

func (c wrappedPeerCaller) count(ctx context.Context, value int64) ([]int64, error) {
	stream, err := c.client.Count(ctx, reference.NewRequest(number(value)))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	return collect(stream)
}

func (c wrappedPeerCaller) add(ctx context.Context, numbers ...int64) ([]int64, error) {
	return converse(c.client.Add(ctx), numbers...)
}

func (c wrappedPeerCaller) missing(ctx context.Context) error {
	_, err := c.client.Missing(ctx, reference.NewRequest(number(0)))
	return err
}

func (c wrappedPeerCaller) missingStream(ctx context.Context) error {
	return firstAnswer(c.client.MissingStream(ctx))
}

// simplePeerServer serves KindsService except for its missing methods.
type simplePeerServer struct {
	kindsv1simplepeer.UnimplementedKindsServiceHandler
}

func (simplePeerServer) Double(_ context.Context, req *kindsv1.Number) (*kindsv1.Number, error) {
	if req.GetValue() < 0 {
		return nil, reference.NewError(reference.CodeOutOfRange, errNegative)
	}
	return number(2 * req.GetValue()), nil
}

func (simplePeerServer) Sum(_ context.Context, stream *reference.ClientStream[kindsv1.Number]) (*kindsv1.Number, error) {
	sum := int64(0)
	for stream.Receive() {
		sum += stream.Msg().GetValue()
	}
	return number(sum), stream.Err()
}

func (simplePeerServer) Count(_ context.Context, req *kindsv1.Number, stream *reference.ServerStream[kindsv1.Number]) error {
	if req.GetValue() < 0 {
		return reference.NewError(reference.CodeOutOfRange, errNegative)
	}
	for n := range req.GetValue() {
		if err := stream.Send(number(n + 1)); err != nil {
			return err
		}
	}
	return nil
}

func (simplePeerServer) Add(ctx context.Context, stream *reference.BidiStream[kindsv1.Number, kindsv1.Number]) error {
	return wrappedPeerServer{}.Add(ctx, stream) // the same signature in both styles
}

// simplePeerCaller calls with plain messages.
type simplePeerCaller struct {
	client kindsv1simplepeer.KindsServiceClient
}

func (c simplePeerCaller) double(ctx context.Context, value int64) (int64, error) {
	res, err := c.client.Double(ctx, number(value))
	return res.GetValue(), err
}

func (c simplePeerCaller) sum(ctx context.Context, numbers ...int64) (int64, error) {
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

func (c simplePeerCaller) count(ctx context.Context, value int64) ([]int64, error) {
	stream, err := c.client.Count(ctx, number(value))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	return collect(stream)
}

func (c simplePeerCaller) add(ctx context.Context, numbers ...int64) ([]int64, error) {
	stream, err := c.client.Add(ctx)
	if err != nil {
		return nil, err
	}
	return converse(stream, numbers...)
}

func (c simplePeerCaller) missing(ctx context.Context) error {
	_, err := c.client.Missing(ctx, number(0))
	return err
}

func (c simplePeerCaller) missingStream(ctx context.Context) error {
	stream, err := c.client.MissingStream(ctx)
	if err != nil {
		return err
	}
	return firstAnswer(stream)
}
