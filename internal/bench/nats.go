// SPDX-License-Identifier: Apache-2.0

// Calls over NATS: a server of it in this process, package nats on it, and the contender
// nats.go, with its own requests and messages.

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	benchv1 "github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1"
	"github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1/benchv1connect"
	natsrpc "github.com/seed-b7c59c10/connect/nats"
)

// natsPatience is how long the NATS server may take to start.
const natsPatience = 20 * time.Second

// natsPayload is the NATS server's limit of a message: its default. Package nats sends longer
// bodies in pieces; nats.go's requests of 1 MiB exceed it by their Protobuf field. (With a
// higher limit the answers to 128 of them exceed what nats.go keeps for a subscription: it
// drops some, and their calls never end.)
const natsPayload = server.MAX_PAYLOAD_SIZE

// A bus is a NATS server, and a connection to it of each side, over loopback TCP.
type bus struct {
	broker *server.Server
	client *nats.Conn
	server *nats.Conn
}

func openBus() (b *bus, err error) {
	b = new(bus)
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	b.broker, err = server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		return b, err
	}
	b.broker.Start()
	if !b.broker.ReadyForConnections(natsPatience) {
		return b, errors.New("the NATS server does not serve")
	}
	if b.server, err = nats.Connect(b.broker.ClientURL()); err != nil {
		return b, err
	}
	b.client, err = nats.Connect(b.broker.ClientURL())
	return b, err
}

// close ends whatever openBus has started.
func (b *bus) close() {
	for _, nc := range []*nats.Conn{b.client, b.server} {
		if nc != nil {
			nc.Close()
		}
	}
	if b.broker != nil {
		b.broker.Shutdown()
		b.broker.WaitForShutdown()
	}
}

// newNATSPair is newHTTPPair over NATS.
func newNATSPair(handler http.Handler) (*httpPair, error) {
	b, err := openBus()
	if err != nil {
		return nil, err
	}
	if _, err := natsrpc.Serve(b.server, handler, natsrpc.Services(benchv1connect.BenchServiceName)); err != nil {
		b.close()
		return nil, err
	}
	p := &httpPair{base: "nats://rpc", server: new(http.Server), served: make(chan error, 1)}
	p.served <- http.ErrServerClosed // what serves is the bus
	p.use(onBus{natsrpc.NewTransport(b.client), b})
	return p, nil
}

// onBus is a transport over NATS as an idleTransport.
type onBus struct {
	*natsrpc.Transport
	bus *bus
}

// HeedsContext is the transport's own: RoundTrip is, too.
func (t onBus) HeedsContext(http.RoundTripper) bool { return t.Transport.HeedsContext(t.Transport) }

func (t onBus) CloseIdleConnections() {
	_ = t.Transport.Close() // always nil
	t.bus.close()
}

// The subjects of the contender nats.go.
const (
	subjectEcho     = "bench.echo"
	subjectDownload = "bench.download"
	subjectUpload   = "bench.upload" // and the caller's number
)

// natsGoClient makes calls of requests with Protobuf messages: one for a unary call and for
// each round trip of a ping-pong. A download's messages come to an inbox of the call; an
// upload's are published to a subject of the caller, the last one as a request. There is
// no flow control, no deadline at the server, and a lost message is not noticed there.
type natsGoClient struct{ *bus }

func openNATSGo(*network, work, int) (contender, error) {
	b, err := openBus()
	if err != nil {
		return nil, err
	}
	uploads := make(map[string]*benchv1.StreamSummary) // of the goroutine of the one subscription
	for subject, serve := range map[string]func(*nats.Msg) error{
		subjectEcho:          serveNATSEcho,
		subjectDownload:      func(m *nats.Msg) error { return serveNATSDownload(b.server, m) },
		subjectUpload + ".*": func(m *nats.Msg) error { return serveNATSUpload(uploads, m) },
	} {
		_, err := b.server.Subscribe(subject, func(m *nats.Msg) {
			if serve(m) != nil {
				b.server.Close() // all calls fail
			}
		})
		if err != nil {
			b.close()
			return nil, err
		}
	}
	if err := b.server.Flush(); err != nil { // the NATS server has the subscriptions
		b.close()
		return nil, err
	}
	return natsGoClient{b}, nil
}

func (c natsGoClient) Close() error {
	c.bus.close()
	return nil
}

// request sends a message and decodes the answer.
func (c natsGoClient) request(ctx context.Context, subject string, message, answer proto.Message) error {
	data, err := proto.Marshal(message)
	if err != nil {
		return err
	}
	m, err := c.client.RequestWithContext(ctx, subject, data)
	if err != nil {
		return err
	}
	return proto.Unmarshal(m.Data, answer)
}

func (c natsGoClient) echo(ctx context.Context, _ int, data []byte) ([]byte, error) {
	answer := new(benchv1.Payload)
	err := c.request(ctx, subjectEcho, &benchv1.Payload{Data: data}, answer)
	return answer.GetData(), err
}

func (c natsGoClient) download(ctx context.Context, _ int, data []byte, count int, receive func([]byte) error) error {
	request, err := proto.Marshal(&benchv1.StreamRequest{Data: data, Count: int64(count)})
	if err != nil {
		return err
	}
	inbox := c.client.NewInbox()
	s, err := c.client.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = s.Unsubscribe() }() // fails only if the connection is gone
	if err := c.client.PublishRequest(subjectDownload, inbox, request); err != nil {
		return err
	}
	for range count {
		m, err := s.NextMsgWithContext(ctx)
		if err != nil {
			return err
		}
		message := new(benchv1.Payload)
		if err := proto.Unmarshal(m.Data, message); err != nil {
			return err
		}
		if err := receive(message.GetData()); err != nil {
			return err
		}
	}
	return nil
}

func (c natsGoClient) upload(ctx context.Context, caller int, data []byte, count int) (int, []byte, error) {
	subject := fmt.Sprintf("%s.%d", subjectUpload, caller)
	message := &benchv1.Payload{Data: data}
	for range count - 1 {
		data, err := proto.Marshal(message)
		if err != nil {
			return 0, nil, err
		}
		if err := c.client.Publish(subject, data); err != nil {
			return 0, nil, err
		}
	}
	summary := new(benchv1.StreamSummary)
	err := c.request(ctx, subject, message, summary)
	return int(summary.GetCount()), summary.GetData(), err
}

func (c natsGoClient) chat(ctx context.Context, caller int, data []byte, count int, receive func([]byte) error) error {
	for range count {
		answer, err := c.echo(ctx, caller, data)
		if err != nil {
			return err
		}
		if err := receive(answer); err != nil {
			return err
		}
	}
	return nil
}

func respond(m *nats.Msg, answer proto.Message) error {
	data, err := proto.Marshal(answer)
	if err != nil {
		return err
	}
	return m.Respond(data)
}

func serveNATSEcho(m *nats.Msg) error {
	request := new(benchv1.Payload)
	if err := proto.Unmarshal(m.Data, request); err != nil {
		return err
	}
	return respond(m, &benchv1.Payload{Data: request.GetData()})
}

func serveNATSDownload(nc *nats.Conn, m *nats.Msg) error {
	request := new(benchv1.StreamRequest)
	if err := proto.Unmarshal(m.Data, request); err != nil {
		return err
	}
	message := &benchv1.Payload{Data: request.GetData()}
	for range request.GetCount() {
		data, err := proto.Marshal(message)
		if err != nil {
			return err
		}
		if err := nc.Publish(m.Reply, data); err != nil {
			return err
		}
	}
	return nil
}

func serveNATSUpload(uploads map[string]*benchv1.StreamSummary, m *nats.Msg) error {
	message := new(benchv1.Payload)
	if err := proto.Unmarshal(m.Data, message); err != nil {
		return err
	}
	summary := uploads[m.Subject]
	if summary == nil {
		summary = new(benchv1.StreamSummary)
		uploads[m.Subject] = summary
	}
	summary.Count++
	summary.Data = message.GetData()
	if m.Reply == "" {
		return nil
	}
	delete(uploads, m.Subject)
	return respond(m, summary)
}
