// SPDX-License-Identifier: Apache-2.0

// The contender storj.io/drpc. Each caller has a connection of its own, as one
// carries one call at a time.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"storj.io/drpc/drpcconn"
	"storj.io/drpc/drpcmux"
	"storj.io/drpc/drpcserver"

	benchv1 "github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1"
)

type drpcClient struct {
	conns  []*drpcconn.Conn
	stop   context.CancelFunc
	served chan error
}

func openDRPC(n *network, _ work, callers int) (contender, error) {
	l, err := n.listen()
	if err != nil {
		return nil, err
	}
	mux := drpcmux.New()
	if err := benchv1.DRPCRegisterBenchService(mux, drpcServer{}); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &drpcClient{stop: stop, served: make(chan error, 1)}
	go func() { c.served <- drpcserver.New(mux).Serve(ctx, l) }()
	for range callers {
		conn, err := n.dial(ctx, l.Addr().String())
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.conns = append(c.conns, drpcconn.New(conn))
	}
	return c, nil
}

func (c *drpcClient) Close() error {
	var err error
	for _, conn := range c.conns {
		err = errors.Join(err, conn.Close())
	}
	c.stop()
	if served := <-c.served; served != nil {
		err = errors.Join(err, fmt.Errorf("serve: %w", served))
	}
	return err
}

func (c *drpcClient) client(caller int) benchv1.DRPCBenchServiceClient {
	return benchv1.NewDRPCBenchServiceClient(c.conns[caller])
}

func (c *drpcClient) echo(ctx context.Context, caller int, data []byte) ([]byte, error) {
	response, err := c.client(caller).Echo(ctx, &benchv1.Payload{Data: data})
	return response.GetData(), err
}

func (c *drpcClient) download(ctx context.Context, caller int, data []byte, count int, receive func([]byte) error) error {
	stream, err := c.client(caller).Download(ctx, &benchv1.StreamRequest{Data: data, Count: int64(count)})
	if err != nil {
		return err
	}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.Close()
		}
		if err != nil {
			return err
		}
		if err := receive(message.GetData()); err != nil {
			return err
		}
	}
}

func (c *drpcClient) upload(ctx context.Context, caller int, data []byte, count int) (int, []byte, error) {
	stream, err := c.client(caller).Upload(ctx)
	if err != nil {
		return 0, nil, err
	}
	message := &benchv1.Payload{Data: data}
	for range count {
		if err := stream.Send(message); err != nil {
			return 0, nil, err
		}
	}
	summary, err := stream.CloseAndRecv()
	if err != nil {
		return 0, nil, err
	}
	return int(summary.GetCount()), summary.GetData(), stream.Close()
}

func (c *drpcClient) chat(ctx context.Context, caller int, data []byte, count int, receive func([]byte) error) error {
	stream, err := c.client(caller).Chat(ctx)
	if err != nil {
		return err
	}
	message := &benchv1.Payload{Data: data}
	for range count {
		if err := stream.Send(message); err != nil {
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
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return errors.Join(errNotEnded, err)
	}
	return stream.Close()
}

type drpcServer struct{}

func (drpcServer) Echo(_ context.Context, request *benchv1.Payload) (*benchv1.Payload, error) {
	return &benchv1.Payload{Data: request.GetData()}, nil
}

func (drpcServer) Download(request *benchv1.StreamRequest, stream benchv1.DRPCBenchService_DownloadStream) error {
	message := &benchv1.Payload{Data: request.GetData()}
	for range request.GetCount() {
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	return nil
}

func (drpcServer) Upload(stream benchv1.DRPCBenchService_UploadStream) error {
	var summary benchv1.StreamSummary
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&summary)
		}
		if err != nil {
			return err
		}
		summary.Count++
		summary.Data = message.GetData()
	}
}

func (drpcServer) Chat(stream benchv1.DRPCBenchService_ChatStream) error {
	for {
		message, err := stream.Recv()
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
