// SPDX-License-Identifier: Apache-2.0

// The contender google.golang.org/grpc.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"

	benchv1 "github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1"
)

type grpcGoClient struct {
	*chain // nil without one
	conn   *grpc.ClientConn
	server *grpc.Server
	served chan error
	ours   io.Closer // in the place of server
	client benchv1.BenchServiceClient
}

// openGRPCGo returns the open function of an entry.
func openGRPCGo(transport string) func(*network, work, int) (contender, error) {
	return func(n *network, w work, _ int) (contender, error) {
		dialing, serving := insecure.NewCredentials(), insecure.NewCredentials()
		if secure(transport) {
			server, client, err := tlsConfigs()
			if err != nil {
				return nil, err
			}
			client.ServerName = "127.0.0.1"
			dialing, serving = credentials.NewTLS(client), credentials.NewTLS(server)
		}
		l, err := n.listen()
		if err != nil {
			return nil, err
		}
		options := []grpc.DialOption{
			grpc.WithTransportCredentials(dialing),
			grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return n.dial(ctx, address) }),
		}
		if w.extra == gzipped {
			options = append(options, grpc.WithDefaultCallOptions(grpc.UseCompressor(gzip.Name)))
		}
		serverOptions := []grpc.ServerOption{grpc.Creds(serving)}
		var links *chain
		if w.extra == chained {
			links = newChain()
			ofServer, ofClient := links.grpcGo()
			serverOptions, options = append(serverOptions, ofServer...), append(options, ofClient...)
		}
		conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), options...)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		c := &grpcGoClient{chain: links, conn: conn, server: grpc.NewServer(serverOptions...), served: make(chan error, 1), client: benchv1.NewBenchServiceClient(conn)}
		benchv1.RegisterBenchServiceServer(c.server, grpcGoServer{})
		go func() { c.served <- c.server.Serve(l) }()
		return c, nil
	}
}

// openGRPCGoOnOurs opens grpc-go's client on this library's server.
func openGRPCGoOnOurs(n *network, w work, callers int) (contender, error) {
	opened, err := openOurs(overGRPC, overEngine, withoutGzip)(n, w, callers)
	if err != nil {
		return nil, err
	}
	server := opened.(*oursClient)
	conn, err := grpc.NewClient("passthrough:///"+strings.TrimPrefix(server.base, "http://"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return n.dial(ctx, address) }))
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	return &grpcGoClient{conn: conn, ours: server, client: benchv1.NewBenchServiceClient(conn)}, nil
}

func (c *grpcGoClient) Close() error {
	err := c.conn.Close()
	if c.ours != nil {
		return errors.Join(err, c.ours.Close())
	}
	c.server.Stop()
	if served := <-c.served; served != nil {
		err = errors.Join(err, fmt.Errorf("serve: %w", served))
	}
	return err
}

func (c *grpcGoClient) echo(ctx context.Context, _ int, data []byte) ([]byte, error) {
	response, err := c.client.Echo(ctx, &benchv1.Payload{Data: data})
	return response.GetData(), err
}

func (c *grpcGoClient) download(ctx context.Context, _ int, data []byte, count int, receive func([]byte) error) error {
	stream, err := c.client.Download(ctx, &benchv1.StreamRequest{Data: data, Count: int64(count)})
	if err != nil {
		return err
	}
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := receive(message.GetData()); err != nil {
			return err
		}
	}
}

func (c *grpcGoClient) upload(ctx context.Context, _ int, data []byte, count int) (int, []byte, error) {
	stream, err := c.client.Upload(ctx)
	if err != nil {
		return 0, nil, err
	}
	message := &benchv1.Payload{Data: data}
	for range count {
		if err := stream.Send(message); err != nil {
			_, err := stream.CloseAndRecv() // returns the reason
			return 0, nil, err
		}
	}
	summary, err := stream.CloseAndRecv()
	return int(summary.GetCount()), summary.GetData(), err
}

func (c *grpcGoClient) chat(ctx context.Context, _ int, data []byte, count int, receive func([]byte) error) error {
	stream, err := c.client.Chat(ctx)
	if err != nil {
		return err
	}
	message := &benchv1.Payload{Data: data}
	for range count {
		if err := stream.Send(message); err != nil && err != io.EOF {
			return err
		}
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := receive(answer.GetData()); err != nil {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err := stream.Recv(); err != io.EOF {
		return errors.Join(errNotEnded, err)
	}
	return nil
}

type grpcGoServer struct {
	benchv1.UnimplementedBenchServiceServer
}

func (grpcGoServer) Echo(_ context.Context, request *benchv1.Payload) (*benchv1.Payload, error) {
	return &benchv1.Payload{Data: request.GetData()}, nil
}

func (grpcGoServer) Download(request *benchv1.StreamRequest, stream grpc.ServerStreamingServer[benchv1.Payload]) error {
	message := &benchv1.Payload{Data: request.GetData()}
	for range request.GetCount() {
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	return nil
}

func (grpcGoServer) Upload(stream grpc.ClientStreamingServer[benchv1.Payload, benchv1.StreamSummary]) error {
	var summary benchv1.StreamSummary
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&summary)
		}
		if err != nil {
			return err
		}
		summary.Count++
		summary.Data = message.GetData()
	}
}

func (grpcGoServer) Chat(stream grpc.BidiStreamingServer[benchv1.Payload, benchv1.Payload]) error {
	for {
		message, err := stream.Recv()
		if err == io.EOF {
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
