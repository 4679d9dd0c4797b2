// SPDX-License-Identifier: Apache-2.0

// The contender github.com/twitchtv/twirp, which has unary calls only.

package main

import (
	"context"
	"errors"

	benchv1 "github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1"
)

type twirpClient struct {
	*httpPair
	client benchv1.BenchService
}

func openTwirp(n *network, _ work, callers int) (contender, error) {
	pair, err := newHTTPPair(n, overHTTP1, benchv1.NewBenchServiceServer(twirpServer{}), callers)
	if err != nil {
		return nil, err
	}
	return &twirpClient{pair, benchv1.NewBenchServiceProtobufClient(pair.base, pair.client)}, nil
}

func (c *twirpClient) echo(ctx context.Context, _ int, data []byte) ([]byte, error) {
	response, err := c.client.Echo(ctx, &benchv1.Payload{Data: data})
	return response.GetData(), err
}

func (*twirpClient) download(context.Context, int, []byte, int, func([]byte) error) error {
	return errors.ErrUnsupported
}

func (*twirpClient) upload(context.Context, int, []byte, int) (int, []byte, error) {
	return 0, nil, errors.ErrUnsupported
}

func (*twirpClient) chat(context.Context, int, []byte, int, func([]byte) error) error {
	return errors.ErrUnsupported
}

type twirpServer struct{}

func (twirpServer) Echo(_ context.Context, request *benchv1.Payload) (*benchv1.Payload, error) {
	return &benchv1.Payload{Data: request.GetData()}, nil
}
