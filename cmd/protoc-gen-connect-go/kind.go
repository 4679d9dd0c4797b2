// SPDX-License-Identifier: Apache-2.0

// The differences between the kinds of methods: four kinds with wrapped messages, and four simple ones.

package main

// A kind is the key of a shape: which sides stream, and whether the code is simple.
type kind struct {
	clientStreams, serverStreams, simple bool
}

// A shape holds the source texts for one kind. In them, $In and $Out are the messages.
type shape struct {
	callSignature  string // of the client's method
	callBody       string
	serveSignature string // of the handler's method
	newHandler     string // the function of the runtime that turns the handler's method into an http.Handler
}

var shapes = map[kind]shape{
	{}: {
		callSignature:  `(ctx context.Context, req *connect.Request[$In]) (*connect.Response[$Out], error)`,
		callBody:       `return c.$field.CallUnary(ctx, req)`,
		serveSignature: `(ctx context.Context, req *connect.Request[$In]) (*connect.Response[$Out], error)`,
		newHandler:     `NewUnaryHandler`,
	},
	{clientStreams: true}: {
		callSignature:  `(ctx context.Context) *connect.ClientStreamForClient[$In, $Out]`,
		callBody:       `return c.$field.CallClientStream(ctx)`,
		serveSignature: `(ctx context.Context, stream *connect.ClientStream[$In]) (*connect.Response[$Out], error)`,
		newHandler:     `NewClientStreamHandler`,
	},
	{serverStreams: true}: {
		callSignature:  `(ctx context.Context, req *connect.Request[$In]) (*connect.ServerStreamForClient[$Out], error)`,
		callBody:       `return c.$field.CallServerStream(ctx, req)`,
		serveSignature: `(ctx context.Context, req *connect.Request[$In], stream *connect.ServerStream[$Out]) error`,
		newHandler:     `NewServerStreamHandler`,
	},
	{clientStreams: true, serverStreams: true}: {
		callSignature:  `(ctx context.Context) *connect.BidiStreamForClient[$In, $Out]`,
		callBody:       `return c.$field.CallBidiStream(ctx)`,
		serveSignature: `(ctx context.Context, stream *connect.BidiStream[$In, $Out]) error`,
		newHandler:     `NewBidiStreamHandler`,
	},

	{simple: true}: {
		callSignature: `(ctx context.Context, req *$In) (*$Out, error)`,
		callBody: `res, err := c.$field.CallUnary(ctx, connect.NewRequest(req))
			if res == nil {
				return nil, err
			}
			return res.Msg, err`,
		serveSignature: `(ctx context.Context, req *$In) (*$Out, error)`,
		newHandler:     `NewUnaryHandlerSimple`,
	},
	{simple: true, clientStreams: true}: {
		callSignature:  `(ctx context.Context) (*connect.ClientStreamForClientSimple[$In, $Out], error)`,
		callBody:       `return c.$field.CallClientStreamSimple(ctx)`,
		serveSignature: `(ctx context.Context, stream *connect.ClientStream[$In]) (*$Out, error)`,
		newHandler:     `NewClientStreamHandlerSimple`,
	},
	{simple: true, serverStreams: true}: {
		callSignature:  `(ctx context.Context, req *$In) (*connect.ServerStreamForClient[$Out], error)`,
		callBody:       `return c.$field.CallServerStream(ctx, connect.NewRequest(req))`,
		serveSignature: `(ctx context.Context, req *$In, stream *connect.ServerStream[$Out]) error`,
		newHandler:     `NewServerStreamHandlerSimple`,
	},
	{simple: true, clientStreams: true, serverStreams: true}: {
		callSignature:  `(ctx context.Context) (*connect.BidiStreamForClientSimple[$In, $Out], error)`,
		callBody:       `return c.$field.CallBidiStreamSimple(ctx)`,
		serveSignature: `(ctx context.Context, stream *connect.BidiStream[$In, $Out]) error`,
		newHandler:     `NewBidiStreamHandler`,
	},
}

// shapeOf returns the texts for a method.
func (f *file) shapeOf(m method) shape {
	return shapes[kind{
		clientStreams: m.Desc.IsStreamingClient(),
		serverStreams: m.Desc.IsStreamingServer(),
		simple:        f.options.simple,
	}]
}
