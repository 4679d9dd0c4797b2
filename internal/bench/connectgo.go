// SPDX-License-Identifier: Apache-2.0

// The contender connectrpc.com/connect.

package main

import (
	"context"
	"errors"
	"io"
	"net/http"

	"connectrpc.com/connect"

	benchv1 "github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1"
	"github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1/benchv1connectgo"
)

type connectGoClient struct {
	*httpPair
	*chain // nil without one
	client benchv1connectgo.BenchServiceClient
}

// openConnectGo returns the open function of an entry. Only works with gzip compress:
// in the others no library does.
func openConnectGo(protocol, transport string) func(*network, work, int) (contender, error) {
	return func(n *network, w work, callers int) (contender, error) {
		var clientOptions []connect.ClientOption
		if protocol == overGRPC {
			clientOptions = append(clientOptions, connect.WithGRPC())
		}
		if w.extra == gzipped {
			clientOptions = append(clientOptions, connect.WithSendGzip())
		} else {
			clientOptions = append(clientOptions, connect.WithAcceptCompression("gzip", nil, nil))
		}
		var handlerOptions []connect.HandlerOption
		mux := http.NewServeMux()
		handler := http.Handler(mux)
		var links *chain
		if w.extra == chained {
			links = newChain()
			ofHandler, ofClient, authenticate, err := links.connectGo()
			if err != nil {
				return nil, err
			}
			handlerOptions, clientOptions, handler = ofHandler, append(clientOptions, ofClient...), authenticate(mux)
		}
		mux.Handle(benchv1connectgo.NewBenchServiceHandler(connectGoServer{}, handlerOptions...))
		pair, err := newHTTPPair(n, transport, handler, callers)
		if err != nil {
			return nil, err
		}
		return &connectGoClient{pair, links, benchv1connectgo.NewBenchServiceClient(pair.client, pair.base, clientOptions...)}, nil
	}
}

func (c *connectGoClient) echo(ctx context.Context, _ int, data []byte) ([]byte, error) {
	response, err := c.client.Echo(ctx, connect.NewRequest(&benchv1.Payload{Data: data}))
	if err != nil {
		return nil, err
	}
	return response.Msg.GetData(), nil
}

func (c *connectGoClient) download(ctx context.Context, _ int, data []byte, count int, receive func([]byte) error) error {
	stream, err := c.client.Download(ctx, connect.NewRequest(&benchv1.StreamRequest{Data: data, Count: int64(count)}))
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		if err := receive(stream.Msg().GetData()); err != nil {
			return err
		}
	}
	return stream.Err()
}

func (c *connectGoClient) upload(ctx context.Context, _ int, data []byte, count int) (int, []byte, error) {
	stream := c.client.Upload(ctx)
	message := &benchv1.Payload{Data: data}
	for range count {
		if err := stream.Send(message); err != nil {
			_, err := stream.CloseAndReceive() // returns the reason
			return 0, nil, err
		}
	}
	response, err := stream.CloseAndReceive()
	if err != nil {
		return 0, nil, err
	}
	return int(response.Msg.GetCount()), response.Msg.GetData(), nil
}

func (c *connectGoClient) chat(ctx context.Context, _ int, data []byte, count int, receive func([]byte) error) error {
	stream := c.client.Chat(ctx)
	defer stream.CloseResponse()
	message := &benchv1.Payload{Data: data}
	for range count {
		if err := stream.Send(message); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		answer, err := stream.Receive()
		if err != nil {
			return err
		}
		if err := receive(answer.GetData()); err != nil {
			return err
		}
	}
	if err := stream.CloseRequest(); err != nil {
		return err
	}
	if _, err := stream.Receive(); !errors.Is(err, io.EOF) {
		return errors.Join(errNotEnded, err)
	}
	return nil
}

type connectGoServer struct{}

func (connectGoServer) Echo(_ context.Context, request *connect.Request[benchv1.Payload]) (*connect.Response[benchv1.Payload], error) {
	return connect.NewResponse(&benchv1.Payload{Data: request.Msg.GetData()}), nil
}

func (connectGoServer) Download(_ context.Context, request *connect.Request[benchv1.StreamRequest], stream *connect.ServerStream[benchv1.Payload]) error {
	message := &benchv1.Payload{Data: request.Msg.GetData()}
	for range request.Msg.GetCount() {
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	return nil
}

func (connectGoServer) Upload(_ context.Context, stream *connect.ClientStream[benchv1.Payload]) (*connect.Response[benchv1.StreamSummary], error) {
	var summary benchv1.StreamSummary
	for stream.Receive() {
		summary.Count++
		summary.Data = stream.Msg().GetData()
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	return connect.NewResponse(&summary), nil
}

func (connectGoServer) Chat(_ context.Context, stream *connect.BidiStream[benchv1.Payload, benchv1.Payload]) error {
	for {
		message, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&benchv1.Payload{Data: message.GetData()}); err != nil {
			return err
		}
	}
}
