// SPDX-License-Identifier: Apache-2.0

// Streams on the client's side, as grpc-go's generated code uses them.

package grpcadapter

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"sync"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// clientStream is a [grpc.ClientStream] over a conn of the library. One goroutine at
// a time may call SendMsg and CloseSend, and another one the other methods.
type clientStream struct {
	procedure string
	desc      *grpc.StreamDesc
	options   *callOptions
	ctx       context.Context
	cancel    context.CancelFunc

	// begin makes the call of a stream of responses with its one request. It waits for
	// the response headers, so a goroutine runs it: SendMsg does not wait in grpc-go.
	begin func(proto.Message) (connect.StreamingClientConn, error)
	begun bool // SendMsg has called begin

	ready    chan struct{} // closed when conn, or failed or panicked, is set
	conn     connect.StreamingClientConn
	failed   error
	panicked any // the value of a panic of begin, which wait continues: in an interceptor, say

	once  sync.Once   // end runs once
	over  bool        // RecvMsg has returned an error or the one response
	ended error       // which error
	stop  func() bool // stops watch
}

// open begins a stream of requests, and sends its headers.
func (s *clientStream) open(client *connect.Client[message, message], header http.Header) error {
	var conn connect.StreamingClientConn
	var err error
	if s.desc.ServerStreams {
		conn, err = client.CallBidiStream(s.ctx).Conn()
	} else {
		conn, err = client.CallClientStream(s.ctx).Conn()
	}
	if err != nil {
		return toStatus(err)
	}
	maps.Copy(conn.RequestHeader(), header)
	if err := conn.Send(nil); err != nil && !errors.Is(err, io.EOF) {
		_ = conn.CloseResponse()
		return toStatus(err)
	}
	s.conn = conn
	close(s.ready)
	return nil
}

// callServerStream makes the call of a stream of responses.
func callServerStream(ctx context.Context, client *connect.Client[message, message], header http.Header, m proto.Message) (connect.StreamingClientConn, error) {
	req := connect.NewRequest(&message{m})
	maps.Copy(req.Header(), header)
	stream, err := client.CallServerStream(ctx, req)
	if err != nil {
		return nil, err
	}
	return stream.Conn()
}

// watch calls the functions of OnFinish when the context ends before the stream.
func (s *clientStream) watch() {
	if len(s.options.finished) > 0 {
		s.stop = context.AfterFunc(s.ctx, func() {
			s.end(status.FromContextError(s.ctx.Err()).Err())
		})
	}
}

// end calls the functions of OnFinish, once.
func (s *clientStream) end(err error) {
	s.once.Do(func() { s.options.finish(err) })
	s.cancel()
}

// errLost is the error of a stream whose goroutine was ended, with runtime.Goexit, before it
// had begun.
var errLost = status.Error(codes.Internal, "the goroutine that began the stream was ended")

// wait waits until the conn is there.
func (s *clientStream) wait() (connect.StreamingClientConn, error) {
	select {
	case <-s.ready:
	default:
		select {
		case <-s.ready:
		case <-s.ctx.Done():
			return nil, s.ctx.Err()
		}
	}
	if s.panicked != nil {
		panic(s.panicked) // in a goroutine of the program, which can recover from it
	}
	return s.conn, s.failed
}

func (s *clientStream) Context() context.Context { return s.ctx }

func (s *clientStream) Header() (metadata.MD, error) {
	conn, err := s.wait()
	if err != nil {
		return nil, toStatus(err)
	}
	md, err := metadataOf(conn.ResponseHeader())
	return md, toStatus(internal(err))
}

func (s *clientStream) Trailer() metadata.MD {
	conn, err := s.wait()
	if err != nil {
		return nil
	}
	md, _ := metadataOf(conn.ResponseTrailer())
	return md
}

func (s *clientStream) CloseSend() error {
	if s.desc.ClientStreams {
		_ = s.conn.CloseRequest() // RecvMsg returns the reason, as in grpc-go
	}
	return nil
}

func (s *clientStream) SendMsg(m any) error {
	msg, err := protoOf(m)
	switch {
	case err != nil:
		return toStatus(internal(err))
	case s.desc.ClientStreams:
		err := s.conn.Send(msg)
		if err != nil && s.ctx.Err() != nil {
			return io.EOF // RecvMsg returns the reason
		}
		return streamError(err)
	case s.begun:
		return status.Errorf(codes.Internal, "send: %s takes one message: this is the second", s.procedure)
	}
	s.begun = true
	msg = proto.Clone(msg) // the caller may change it before the goroutine has sent it
	go func() {
		s.failed = errLost
		defer close(s.ready)
		defer func() { s.panicked = recover() }()
		s.conn, s.failed = s.begin(msg)
	}()
	return nil
}

func (s *clientStream) RecvMsg(m any) error {
	if s.over {
		return s.ended
	}
	msg, err := protoOf(m)
	if err == nil {
		err = s.receive(msg)
	} else {
		err = toStatus(internal(err))
	}
	if err == nil && s.desc.ServerStreams {
		return nil
	}
	s.over, s.ended = true, err
	if err == nil {
		s.ended = io.EOF // the one response was received before
	}
	s.close(err)
	return err
}

// receive receives a message, and for a single response the end of the call.
func (s *clientStream) receive(msg proto.Message) error {
	conn, err := s.wait()
	if err != nil {
		return toStatus(err)
	}
	proto.Reset(msg)
	err = conn.Receive(msg)
	if err == nil && !s.desc.ServerStreams {
		err = conn.Receive(msg.ProtoReflect().New().Interface())
		if errors.Is(err, io.EOF) {
			return nil
		}
	}
	return streamError(err)
}

// close ends the call after its last message, which err followed.
func (s *clientStream) close(err error) {
	if s.stop != nil {
		s.stop()
	}
	select {
	case <-s.ready:
		if s.conn != nil {
			s.options.answered(s.conn.ResponseHeader, s.conn.ResponseTrailer, s.conn.Peer)
			_ = s.conn.CloseResponse()
		}
	default: // the context has ended before the response
	}
	if err == io.EOF {
		err = nil
	}
	s.end(err)
}
