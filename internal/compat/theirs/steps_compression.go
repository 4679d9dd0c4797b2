// SPDX-License-Identifier: Apache-2.0

// Code generated from package ours by copyside. DO NOT EDIT.

// This file holds the steps of compressions that fail.

package theirs

import (
	"context"
	"errors"
	"fmt"
	"io"

	"connectrpc.com/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
)

// steppingReader is a decompressor whose steps may fail.
type steppingReader struct {
	script.ReverseReader
	reset, read, close error
}

func (r *steppingReader) Reset(source io.Reader) error {
	return errors.Join(r.ReverseReader.Reset(source), r.reset)
}

func (r *steppingReader) Close() error { return r.close }

func (r *steppingReader) Read(p []byte) (int, error) {
	if r.read != nil {
		return 0, r.read
	}
	return r.ReverseReader.Read(p)
}

func compressionEnds(s *steps, options []connect.ClientOption) {
	end := fmt.Errorf("%sends: %w", script.User, io.EOF)
	for _, reader := range []steppingReader{{reset: end}, {read: end}, {close: end}} {
		broken := func() connect.Decompressor { return &reader }
		handler := s.bidi(func(_ context.Context, stream *connect.BidiStream[Message, Message]) error {
			for i := range 2 {
				msg, err := stream.Receive()
				s.received(fmt.Sprintf("handler %d", i), msg, err)
			}
			_ = stream.Send(text("one"))
			return connect.NewError(connect.CodeAborted, errors.New(script.User+"aborted"))
		}, connect.WithCompression("stepping", broken, newReverseWriter), connect.WithCompressMinBytes(0))
		compressed := append(options, connect.WithAcceptCompression("stepping", broken, newReverseWriter), connect.WithSendCompression("stepping"))
		stream := s.client(handler, compressed...).CallBidiStream(context.Background())
		failure(s.t, "send", stream.Send(text("go")))
		failure(s.t, "close", stream.CloseRequest())
		conn, _ := stream.Conn()
		s.all(conn, 2)
		failure(s.t, "close", stream.CloseResponse())
	}
}

func endNotCompressed(s *steps) {
	compressor := func() connect.Compressor { return &failing{err: errors.New(script.User + "fails")} }
	handler := s.bidi(func(_ context.Context, stream *connect.BidiStream[Message, Message]) error {
		failure(s.t, "empty", stream.Send(new(Message)))
		failure(s.t, "send", stream.Send(text("one")))
		return nil
	}, connect.WithCompression("failing", newReverseReader, compressor), connect.WithCompressMinBytes(0))
	s.post(handler, "application/connect+proto", "", "Connect-Accept-Encoding: failing")
	s.post(handler, "application/grpc", "", "Grpc-Accept-Encoding: failing")
	s.post(handler, "application/grpc-web", "", "Grpc-Accept-Encoding: failing")
}

// steppingWriter is a compressor whose Close fails.
type steppingWriter struct {
	script.ReverseWriter
	close error
}

func (w *steppingWriter) Close() error { return w.close }

func compressionSteps(s *steps) {
	for _, err := range []error{context.Canceled, connect.NewError(connect.CodeAborted, errors.New(script.User+"coded"))} {
		for _, reader := range []steppingReader{{reset: err}, {read: err}, {close: err}} {
			handler := s.unary(echo, connect.WithCompression("stepping", func() connect.Decompressor { return &reader }, newReverseWriter))
			s.post(handler, "application/grpc", "\x01\x00\x00\x00\x01a", "Grpc-Encoding: stepping")
		}
		handler := s.unary(echo, connect.WithCompression("stepping", newReverseReader, func() connect.Compressor { return &steppingWriter{close: err} }), connect.WithCompressMinBytes(0))
		s.post(handler, "application/grpc", "\x00\x00\x00\x00\x00", "Grpc-Accept-Encoding: stepping")
	}
}
