// SPDX-License-Identifier: Apache-2.0

// The differences between the kinds of methods: four kinds with wrapped messages, and four simple ones. The streams of
// the option iterators are in kind_iterator.go.

package main

// A kind is the key of a shape: which sides stream, and whether the code is simple.
type kind struct {
	clientStreams, serverStreams, simple, iterators bool
}

// A shape holds the source texts for one kind. In them, $In and $Out are the messages.
type shape struct {
	callSignature  string // of the client's method
	callArgs       string
	callBody       string
	callFails      string // ends the client's method without a call; $Err is the error
	serveSignature string // of the handler's method
	serveArgs      string
	serve          string // the function that newHandler takes; empty: the handler's method
	serveFails     string // ends the handler's method; $Err is the error
	newHandler     string // the function of the runtime that turns the handler's method into an http.Handler
}

var shapes = map[kind]shape{
	{}: {
		callSignature:  `(ctx context.Context, req *connect.Request[$In]) (*connect.Response[$Out], error)`,
		callArgs:       `ctx, req`,
		callBody:       `return c.$field.CallUnary(ctx, req)`,
		callFails:      `return nil, $Err`,
		serveSignature: `(ctx context.Context, req *connect.Request[$In]) (*connect.Response[$Out], error)`,
		serveArgs:      `ctx, req`,
		serveFails:     `return nil, $Err`,
		newHandler:     `NewUnaryHandler`,
	},
	{clientStreams: true}: {
		callSignature:  `(ctx context.Context) *connect.ClientStreamForClient[$In, $Out]`,
		callArgs:       `ctx`,
		callBody:       `return c.$field.CallClientStream(ctx)`,
		callFails:      `panic("$FakeClient.$Func is nil: set it before the call")`,
		serveSignature: `(ctx context.Context, stream *connect.ClientStream[$In]) (*connect.Response[$Out], error)`,
		serveArgs:      `ctx, stream`,
		serveFails:     `return nil, $Err`,
		newHandler:     `NewClientStreamHandler`,
	},
	{serverStreams: true}: {
		callSignature:  `(ctx context.Context, req *connect.Request[$In]) (*connect.ServerStreamForClient[$Out], error)`,
		callArgs:       `ctx, req`,
		callBody:       `return c.$field.CallServerStream(ctx, req)`,
		callFails:      `return nil, $Err`,
		serveSignature: `(ctx context.Context, req *connect.Request[$In], stream *connect.ServerStream[$Out]) error`,
		serveArgs:      `ctx, req, stream`,
		serveFails:     `return $Err`,
		newHandler:     `NewServerStreamHandler`,
	},
	{clientStreams: true, serverStreams: true}: {
		callSignature:  `(ctx context.Context) *connect.BidiStreamForClient[$In, $Out]`,
		callArgs:       `ctx`,
		callBody:       `return c.$field.CallBidiStream(ctx)`,
		callFails:      `panic("$FakeClient.$Func is nil: set it before the call")`,
		serveSignature: `(ctx context.Context, stream *connect.BidiStream[$In, $Out]) error`,
		serveArgs:      `ctx, stream`,
		serveFails:     `return $Err`,
		newHandler:     `NewBidiStreamHandler`,
	},

	{simple: true}: {
		callSignature: `(ctx context.Context, req *$In) (*$Out, error)`,
		callArgs:      `ctx, req`,
		callBody: `res, err := c.$field.CallUnary(ctx, connect.NewRequest(req))
			if res == nil {
				return nil, err
			}
			return res.Msg, err`,
		callFails:      `return nil, $Err`,
		serveSignature: `(ctx context.Context, req *$In) (*$Out, error)`,
		serveArgs:      `ctx, req`,
		serveFails:     `return nil, $Err`,
		newHandler:     `NewUnaryHandlerSimple`,
	},
	{simple: true, clientStreams: true}: {
		callSignature:  `(ctx context.Context) (*connect.ClientStreamForClientSimple[$In, $Out], error)`,
		callArgs:       `ctx`,
		callBody:       `return c.$field.CallClientStreamSimple(ctx)`,
		callFails:      `return nil, $Err`,
		serveSignature: `(ctx context.Context, stream *connect.ClientStream[$In]) (*$Out, error)`,
		serveArgs:      `ctx, stream`,
		serveFails:     `return nil, $Err`,
		newHandler:     `NewClientStreamHandlerSimple`,
	},
	{simple: true, serverStreams: true}: {
		callSignature:  `(ctx context.Context, req *$In) (*connect.ServerStreamForClient[$Out], error)`,
		callArgs:       `ctx, req`,
		callBody:       `return c.$field.CallServerStream(ctx, connect.NewRequest(req))`,
		callFails:      `return nil, $Err`,
		serveSignature: `(ctx context.Context, req *$In, stream *connect.ServerStream[$Out]) error`,
		serveArgs:      `ctx, req, stream`,
		serveFails:     `return $Err`,
		newHandler:     `NewServerStreamHandlerSimple`,
	},
	{simple: true, clientStreams: true, serverStreams: true}: {
		callSignature:  `(ctx context.Context) (*connect.BidiStreamForClientSimple[$In, $Out], error)`,
		callArgs:       `ctx`,
		callBody:       `return c.$field.CallBidiStreamSimple(ctx)`,
		callFails:      `return nil, $Err`,
		serveSignature: `(ctx context.Context, stream *connect.BidiStream[$In, $Out]) error`,
		serveArgs:      `ctx, stream`,
		serveFails:     `return $Err`,
		newHandler:     `NewBidiStreamHandler`,
	},
}

// shapeOf returns the texts for a method.
func (f *file) shapeOf(m method) shape {
	k := kind{
		clientStreams: m.Desc.IsStreamingClient(),
		serverStreams: m.Desc.IsStreamingServer(),
		simple:        f.options.simple,
		iterators:     f.options.iterators,
	}
	if shape, ok := iteratorShapes[k]; ok {
		return shape
	}
	k.iterators = false
	return shapes[k]
}
