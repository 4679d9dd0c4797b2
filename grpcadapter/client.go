// SPDX-License-Identifier: Apache-2.0

// The client: a connection of grpc-go for generated clients, over any HTTPClient.

package grpcadapter

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// A ClientConn is a [grpc.ClientConnInterface]: clients that protoc-gen-go-grpc has
// generated make their calls through it. It has no connection of its own, and needs
// no Close: its [connect.HTTPClient] has the connections. It is safe for concurrent
// use.
//
// Call options: Header, Trailer, Peer, OnFinish, MaxCallRecvMsgSize,
// MaxCallSendMsgSize, UseCompressor, PerRPCCredentials, CallContentSubtype("proto")
// and WaitForReady(false) do what they do in grpc-go; MaxRetryRPCBufferSize and
// StaticMethod have no effect. With any other one, such as WaitForReady(true), a
// call fails with codes.Unimplemented and sends nothing.
type ClientConn struct {
	client  connect.HTTPClient
	url     string // without a slash at its end
	options []connect.ClientOption

	mu      sync.Mutex
	clients map[clientKey]*connect.Client[message, message]
}

// clientKey is what the clients of a [ClientConn] differ by.
type clientKey struct {
	procedure string
	reply     protoreflect.MessageType // of unary calls, nil otherwise
	settings  settings
}

// clientsMax bounds the clients that a ClientConn keeps: a program that makes up
// procedures or sizes makes a client for each call beyond it.
const clientsMax = 4096

// NewClientConn returns a connection to the server at baseURL, such as
// "https://api.acme.com". The client's options are the library's: by default calls
// use the Connect protocol, and with [connect.WithGRPC] the gRPC protocol, which
// servers of grpc-go need. Interceptors see each message as a proto.Message: the
// message of the generated type is its ProtoReflect().Interface().
// [connect.WithResponseInitializer] has no effect. If an argument is not valid,
// every call returns the reason.
func NewClientConn(client connect.HTTPClient, baseURL string, options ...connect.ClientOption) *ClientConn {
	return &ClientConn{
		client:  client,
		url:     strings.TrimRight(baseURL, "/"),
		options: options,
		clients: make(map[clientKey]*connect.Client[message, message]),
	}
}

// Invoke makes a unary call of the procedure, such as "/acme.foo.v1.FooService/Bar".
// It decodes the response into reply. The error has a status of package
// google.golang.org/grpc/status.
func (c *ClientConn) Invoke(ctx context.Context, procedure string, args, reply any, opts ...grpc.CallOption) (err error) {
	o, err := readOptions(opts)
	if err != nil {
		return err
	}
	defer func() { o.finish(err) }()
	in, err := protoOf(args)
	if err != nil {
		return status.Errorf(codes.Internal, "send to %s: %v", procedure, err)
	}
	out, err := protoOf(reply)
	if err != nil {
		return status.Errorf(codes.Internal, "receive from %s: %v", procedure, err)
	}
	req := connect.NewRequest(&message{in})
	if err := c.prepare(ctx, procedure, o, req.Header); err != nil {
		return err
	}
	if o.asks() {
		var info connect.CallInfo
		ctx, info = connect.NewClientContext(ctx)
		defer func() { o.answered(info.ResponseHeader, info.ResponseTrailer, info.Peer) }()
	}
	res, err := c.clientOf(clientKey{procedure, out.ProtoReflect().Type(), o.settings}).CallUnary(ctx, req)
	if err != nil {
		return toStatus(err)
	}
	return toStatus(internal(move(out, res.Msg.Message)))
}

// prepare adds the metadata of the context and the credentials of the call to the
// request's headers.
func (c *ClientConn) prepare(ctx context.Context, procedure string, o *callOptions, header func() http.Header) error {
	if md, ok := metadata.FromOutgoingContext(ctx); ok {
		addMetadata(header(), md)
	}
	if o.credentials == nil {
		return nil
	}
	if o.credentials.RequireTransportSecurity() && !strings.HasPrefix(c.url, "https://") {
		return status.Errorf(codes.Unauthenticated, "call %s: the credentials need a secure connection: expected a URL with https", procedure)
	}
	service := procedure[:max(strings.LastIndexByte(procedure, '/'), 0)]
	values, err := o.credentials.GetRequestMetadata(ctx, c.url+service)
	if err != nil {
		if st, ok := status.FromError(err); ok {
			return st.Err()
		}
		return status.Errorf(codes.Unauthenticated, "call %s: get the credentials: %v", procedure, err)
	}
	for key, value := range values {
		addMetadata(header(), metadata.Pairs(key, value))
	}
	return nil
}

// clientOf returns the library's client with a key.
func (c *ClientConn) clientOf(key clientKey) *connect.Client[message, message] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if client, ok := c.clients[key]; ok {
		return client
	}
	options := append(slices.Clone(c.options), key.settings.options()...)
	if schema := schemaOfProcedure(key.procedure); schema != nil {
		options = append(options, schemaOptions(schema))
	}
	if key.reply != nil {
		options = append(options, connect.WithResponseInitializer(initializer(key.reply)))
	} else {
		options = append(options, connect.WithResponseInitializer(nil))
	}
	client := connect.NewClient[message, message](c.client, c.url+key.procedure, options...)
	if len(c.clients) < clientsMax {
		c.clients[key] = client
	}
	return client
}

// NewStream begins a stream of the procedure. Its request headers are sent at once,
// or for a stream of responses with the request. The caller must receive until an
// error, or end the context.
func (c *ClientConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, procedure string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	o, err := readOptions(opts)
	if err != nil {
		return nil, err
	}
	s := &clientStream{procedure: procedure, desc: desc, options: o, ready: make(chan struct{})}
	header := make(http.Header)
	if err := c.prepare(ctx, procedure, o, func() http.Header { return header }); err != nil {
		o.finish(err)
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	client := c.clientOf(clientKey{procedure: procedure, settings: o.settings})
	switch {
	case desc.ClientStreams:
		err = s.open(client, header)
	case desc.ServerStreams:
		s.begin = func(m proto.Message) (connect.StreamingClientConn, error) {
			return callServerStream(s.ctx, client, header, m)
		}
	default:
		err = status.Errorf(codes.Unimplemented, "call %s as a stream: it streams in no direction: use Invoke", procedure)
	}
	if err != nil {
		s.end(err)
		return nil, err
	}
	s.watch()
	return s, nil
}

// nameMax is the most bytes of a service's name that is looked up: a program that forwards
// calls has it of a peer, and the time grows with the square of its length.
const nameMax = 4 << 10

// schemaOfProcedure returns the schema of a procedure, nil if the program does not
// have it.
func schemaOfProcedure(procedure string) protoreflect.MethodDescriptor {
	service, name, ok := strings.Cut(strings.TrimPrefix(procedure, "/"), "/")
	if !ok || len(service) > nameMax {
		return nil
	}
	return schemaOf(service, name)
}
