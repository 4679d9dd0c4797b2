// SPDX-License-Identifier: Apache-2.0

// The kinds of methods whose code differs with the option iterators: the streams.

package main

// sendAll is the part of a handler's function that sends the messages of an iterator.
const sendAll = ` {
			if err == nil {
				err = stream.Send(res)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}`

// failing is the iterator of a method that only has an error.
const failing = `return func(yield func(*$Out, error) bool) { yield(nil, $Err) }`

var iteratorShapes = map[kind]shape{
	{simple: true, iterators: true, clientStreams: true}: {
		callSignature: `(ctx context.Context, reqs iter.Seq2[*$In, error]) (*$Out, error)`,
		callArgs:      `ctx, reqs`,
		callBody: `ctx, cancel := context.WithCancel(ctx)
			defer cancel() // ends the call if reqs has an error
			stream, err := c.$field.CallClientStreamSimple(ctx)
			if err != nil {
				return nil, err
			}
			for req, err := range reqs {
				if err != nil {
					return nil, err
				}
				if err := stream.Send(req); errors.Is(err, io.EOF) {
					break // CloseAndReceive returns the reason
				} else if err != nil {
					return nil, err
				}
			}
			return stream.CloseAndReceive()`,
		callFails:      `return nil, $Err`,
		serveSignature: `(ctx context.Context, reqs iter.Seq2[*$In, error]) (*$Out, error)`,
		serveArgs:      `ctx, reqs`,
		serveFails:     `return nil, $Err`,
		serve: `func(ctx context.Context, stream *connect.ClientStream[$In]) (*$Out, error) {
		return svc.$Method(ctx, func(yield func(*$In, error) bool) {
			for stream.Receive() {
				if !yield(stream.Msg(), nil) {
					return
				}
			}
			if err := stream.Err(); err != nil {
				yield(nil, err)
			}
		})
	}`,
		newHandler: `NewClientStreamHandlerSimple`,
	},
	{simple: true, iterators: true, serverStreams: true}: {
		callSignature: `(ctx context.Context, req *$In) iter.Seq2[*$Out, error]`,
		callArgs:      `ctx, req`,
		callBody: `return func(yield func(*$Out, error) bool) {
				stream, err := c.$field.CallServerStream(ctx, connect.NewRequest(req))
				if err != nil {
					yield(nil, err)
					return
				}
				defer stream.Close()
				for stream.Receive() {
					if !yield(stream.Msg(), nil) {
						return
					}
				}
				if err := stream.Err(); err != nil {
					yield(nil, err)
				}
			}`,
		callFails:      failing,
		serveSignature: `(ctx context.Context, req *$In) iter.Seq2[*$Out, error]`,
		serveArgs:      `ctx, req`,
		serveFails:     failing,
		serve: `func(ctx context.Context, req *$In, stream *connect.ServerStream[$Out]) error {
		for res, err := range svc.$Method(ctx, req)` + sendAll,
		newHandler: `NewServerStreamHandlerSimple`,
	},
	{simple: true, iterators: true, clientStreams: true, serverStreams: true}: {
		callSignature:  `(ctx context.Context) (*connect.BidiStreamForClientSimple[$In, $Out], error)`,
		callArgs:       `ctx`,
		callBody:       `return c.$field.CallBidiStreamSimple(ctx)`,
		callFails:      `return nil, $Err`,
		serveSignature: `(ctx context.Context, reqs iter.Seq2[*$In, error]) iter.Seq2[*$Out, error]`,
		serveArgs:      `ctx, reqs`,
		serveFails:     failing,
		serve: `func(ctx context.Context, stream *connect.BidiStream[$In, $Out]) error {
		reqs := func(yield func(*$In, error) bool) {
			for {
				req, err := stream.Receive()
				if errors.Is(err, io.EOF) {
					return
				}
				if !yield(req, err) || err != nil {
					return
				}
			}
		}
		for res, err := range svc.$Method(ctx, reqs)` + sendAll,
		newHandler: `NewBidiStreamHandler`,
	},
}
