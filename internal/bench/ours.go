// SPDX-License-Identifier: Apache-2.0

// The contender that is this repository's library.

package main

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"slices"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/compress/gzip"
	benchv1 "github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1"
	"github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1/benchv1connect"
)

type oursClient struct {
	*httpPair
	*chain // nil without one
	client benchv1connect.BenchServiceClient
}

// openOurs returns the open function of an entry. Only works with gzip compress:
// in the others no library does.
func openOurs(protocol, transport string, more ...connect.Option) func(*network, work, int) (contender, error) {
	return openOursWith(protocol, transport, nil, more...)
}

// openOursVT is openOurs with the codec for vtprotobuf's methods, and with requests
// that handlers use again.
func openOursVT(protocol, transport string) func(*network, work, int) (contender, error) {
	return openOursWith(protocol, transport, []connect.HandlerOption{connect.WithRequestReuse()}, connect.WithVTProto())
}

func openOursWith(protocol, transport string, ofHandlers []connect.HandlerOption, more ...connect.Option) func(*network, work, int) (contender, error) {
	return func(n *network, w work, callers int) (contender, error) {
		handlerOptions := slices.Clone(ofHandlers)
		var clientOptions []connect.ClientOption
		for _, option := range more {
			handlerOptions = append(handlerOptions, option)
			clientOptions = append(clientOptions, option)
		}
		if protocol == overGRPC {
			clientOptions = append(clientOptions, connect.WithGRPC())
		}
		if w.extra == gzipped {
			clientOptions = append(clientOptions, connect.WithSendGzip())
		} else {
			clientOptions = append(clientOptions, connect.WithAcceptCompression("gzip", nil, nil))
		}
		var links *chain
		if w.extra == chained {
			links = newChain()
			ofHandler, ofClient := links.ours()
			handlerOptions, clientOptions = append(handlerOptions, ofHandler...), append(clientOptions, ofClient...)
		}
		mux := http.NewServeMux()
		mux.Handle(benchv1connect.NewBenchServiceHandler(oursServer{}, handlerOptions...))
		pair, err := newHTTPPair(n, transport, mux, callers)
		if err != nil {
			return nil, err
		}
		clientOptions = append(clientOptions, pair.options...)
		return &oursClient{pair, links, benchv1connect.NewBenchServiceClient(pair.client, pair.base, clientOptions...)}, nil
	}
}

// withKlauspost takes the other gzip, at its default level.
var withKlauspost = gzip.With()

// withoutGzip keeps a server from compressing answers to clients that accept gzip.
var withoutGzip = connect.WithCompressMinBytes(math.MaxInt)

func (c *oursClient) echo(ctx context.Context, _ int, data []byte) ([]byte, error) {
	response, err := c.client.Echo(ctx, connect.NewRequest(&benchv1.Payload{Data: data}))
	if err != nil {
		return nil, err
	}
	return response.Msg.GetData(), nil
}

func (c *oursClient) download(ctx context.Context, _ int, data []byte, count int, receive func([]byte) error) error {
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

func (c *oursClient) upload(ctx context.Context, _ int, data []byte, count int) (int, []byte, error) {
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

func (c *oursClient) chat(ctx context.Context, _ int, data []byte, count int, receive func([]byte) error) error {
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

type oursServer struct{}

func (oursServer) Echo(_ context.Context, request *connect.Request[benchv1.Payload]) (*connect.Response[benchv1.Payload], error) {
	return connect.NewResponse(&benchv1.Payload{Data: request.Msg.GetData()}), nil
}

func (oursServer) Download(_ context.Context, request *connect.Request[benchv1.StreamRequest], stream *connect.ServerStream[benchv1.Payload]) error {
	message := &benchv1.Payload{Data: request.Msg.GetData()}
	for range request.Msg.GetCount() {
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	return nil
}

func (oursServer) Upload(_ context.Context, stream *connect.ClientStream[benchv1.Payload]) (*connect.Response[benchv1.StreamSummary], error) {
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

func (oursServer) Chat(_ context.Context, stream *connect.BidiStream[benchv1.Payload, benchv1.Payload]) error {
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
