// SPDX-License-Identifier: Apache-2.0

// Calls on the server's side: their contexts, metadata and streams, as grpc-go's
// programs use them.

package grpcadapter

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// call is the [grpc.ServerTransportStream] of a call. It collects the metadata of the
// response, from any goroutine, until the headers or the end of the call are written.
type call struct {
	ctx       context.Context // the service's
	procedure string
	send      func() error // writes the headers now; nil if the protocol cannot

	mu      sync.Mutex
	header  metadata.MD
	trailer metadata.MD
	sent    bool // the headers are written, or are not to change any more
}

// newCall returns a call whose context has the metadata and the peer of the request.
func newCall(ctx context.Context, procedure string, from connect.Peer, header http.Header) (*call, error) {
	md, err := metadataOf(header)
	if err != nil {
		return nil, internal(err)
	}
	c := &call{procedure: procedure}
	ctx = metadata.NewIncomingContext(ctx, md)
	ctx = peer.NewContext(ctx, peerOf(from))
	c.ctx = grpc.NewContextWithServerTransportStream(ctx, c)
	return c, nil
}

func (c *call) Method() string { return c.procedure }

// errHeaderSent is the error for headers that come too late.
var errHeaderSent = status.Error(codes.Internal, "set header: the headers of the response are sent already")

func (c *call) SetHeader(md metadata.MD) error {
	if md.Len() == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sent {
		return errHeaderSent
	}
	c.header = metadata.Join(c.header, md)
	return nil
}

func (c *call) SendHeader(md metadata.MD) error {
	if err := c.SetHeader(md); err != nil {
		return err
	}
	if c.send != nil {
		return c.send()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sent {
		return errHeaderSent
	}
	c.sent = true
	return nil
}

func (c *call) SetTrailer(md metadata.MD) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trailer = metadata.Join(c.trailer, md)
	return nil
}

// writeHeader adds the headers to h, once. It reports whether it was the first.
func (c *call) writeHeader(h func() http.Header) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sent {
		return false
	}
	c.sent = true
	if len(c.header) > 0 {
		addMetadata(h(), c.header)
	}
	return true
}

// write adds the metadata to that of a unary response.
func (c *call) write(header, trailer http.Header) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = true
	addMetadata(header, c.header)
	addMetadata(trailer, c.trailer)
}

// writeToCall adds the metadata to that of the library's call, where it is sent with
// an error, too.
func (c *call) writeToCall() {
	info, ok := connect.CallInfoForHandlerContext(c.ctx)
	if !ok {
		return
	}
	if c.send != nil {
		c.writeHeader(info.ResponseHeader)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.send == nil && len(c.header) > 0 {
		addMetadata(info.ResponseHeader(), c.header)
	}
	c.sent = true
	if len(c.trailer) > 0 {
		addMetadata(info.ResponseTrailer(), c.trailer)
	}
}

// serverStream is a [grpc.ServerStream] over a conn of the library.
type serverStream struct {
	*call
	conn     connect.StreamingHandlerConn
	receive  func(any) error
	transmit func(any) error
	header   http.Header // of the request
}

func (s *serverStream) Context() context.Context { return s.ctx }

func (s *serverStream) SetTrailer(md metadata.MD) { _ = s.call.SetTrailer(md) }

// sendHeader writes the headers.
func (s *serverStream) sendHeader() error {
	if !s.writeHeader(s.conn.ResponseHeader) {
		return errHeaderSent
	}
	return toStatus(s.conn.Send(nil))
}

func (s *serverStream) SendMsg(m any) error {
	msg, err := protoOf(m)
	if err != nil {
		return toStatus(internal(err))
	}
	s.writeHeader(s.conn.ResponseHeader)
	return toStatus(s.transmit(msg))
}

func (s *serverStream) RecvMsg(m any) error {
	msg, err := protoOf(m)
	if err != nil {
		return toStatus(internal(err))
	}
	proto.Reset(msg)
	return streamError(s.receive(msg))
}

// single is the one message of a direction.
type single struct {
	procedure string
	msg       proto.Message
	done      bool
}

// take returns the message, once.
func (s *single) take(into any) error {
	if s.done {
		return io.EOF
	}
	s.done = true
	return internal(move(into, s.msg))
}

// keep keeps the response of a stream of requests until the service returns.
func (s *single) keep(m any) error {
	if s.done {
		return internal(errors.New("send: " + s.procedure + " returns one message: this is the second"))
	}
	s.done, s.msg = true, m.(proto.Message)
	return nil
}
