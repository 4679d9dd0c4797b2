// SPDX-License-Identifier: Apache-2.0

// The proxy that translates between protocols, for procedures of a schema.

package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/dynamic"
)

// Backend is the server of a translator.
type Backend struct {
	// HTTPClient sends the calls. It must not be nil. gRPC needs HTTP/2.
	HTTPClient connect.HTTPClient
	// BaseURL is the server's URL, such as "https://api.acme.com".
	BaseURL string
	// Options are those of a client: its protocol, compression and limits. By
	// default the server is called in the Connect protocol. The codec is always
	// Protobuf: an option that sets another has no effect.
	Options []connect.ClientOption
}

// NewTranslator returns a handler that serves all procedures of a schema, in all
// protocols and in the codecs "proto" and "json", and forwards each call to a server
// in the protocol of its Options. It is safe for concurrent use. A call of a
// procedure that the schema lacks is unimplemented, or goes to the handler of
// [connect.WithUnknownProcedureHandler]: that may be a proxy of [New].
//
// Messages in Protobuf are passed on byte by byte, and not decoded: the server
// refuses those that it cannot read. Messages in JSON are decoded, and refused with
// CodeInvalidArgument. The limits of the options hold in both directions; the default
// is 16 MiB for each message.
//
// An error of the server keeps its code, text, details and metadata. If the server
// cannot be reached, the caller gets CodeUnavailable, with a text that does not name
// the server. A call that has passed 16 proxies is refused as [New] does.
func NewTranslator(schema *dynamic.Schema, backend Backend, options ...connect.HandlerOption) http.Handler {
	var handlers []*connect.Handler
	codec := jsonCodec{json: dynamic.NewJSONCodec(schema.Types()), proto: dynamic.NewProtoCodec(schema.Types())}
	all := append([]connect.HandlerOption{connect.WithCodec(protoCodec{}), connect.WithCodec(codec)}, options...)
	for method := range schema.Methods() {
		handlers = append(handlers, newTranslation(method, backend).handler(all))
	}
	return connect.NewServiceHandler(handlers, options...)
}

// translation forwards the calls of one method.
type translation struct {
	method    protoreflect.MethodDescriptor
	procedure string
	client    *connect.Client[message, message]
}

func newTranslation(method protoreflect.MethodDescriptor, backend Backend) *translation {
	t := &translation{method: method, procedure: dynamic.Procedure(method)}
	options := append([]connect.ClientOption{dynamic.WithMethod(method)}, backend.Options...)
	options = append(options, connect.WithCodec(protoCodec{}), connect.WithResponseInitializer(initializer(method.Output())))
	t.client = connect.NewClient[message, message](backend.HTTPClient, strings.TrimRight(backend.BaseURL, "/")+t.procedure, options...)
	return t
}

// handler returns the handler for the method's kind.
func (t *translation) handler(options []connect.HandlerOption) *connect.Handler {
	all := append([]connect.HandlerOption{dynamic.WithMethod(t.method)}, options...)
	all = append(all, connect.WithRequestInitializer(initializer(t.method.Input())))
	switch dynamic.KindOf(t.method) {
	case connect.StreamTypeUnary:
		return connect.NewUnaryHandler(t.procedure, t.unary, all...)
	case connect.StreamTypeServer:
		return connect.NewServerStreamHandler(t.procedure, t.serverStream, all...)
	case connect.StreamTypeClient:
		return connect.NewClientStreamHandler(t.procedure, t.clientStream, all...)
	default:
		return connect.NewBidiStreamHandler(t.procedure, t.bidi, all...)
	}
}

// begin fills the header of the request to the server.
func (t *translation) begin(to, from http.Header, peer connect.Peer) error {
	if err := checkVia(from, maxProxies); err != nil {
		return err
	}
	addForwarded(to, from)
	to["Via"] = append(from.Values("Via"), "2 "+pseudonym)
	if host, _, err := net.SplitHostPort(peer.Addr); err == nil {
		to.Set("X-Forwarded-For", host)
	}
	return nil
}

func (t *translation) unary(ctx context.Context, request *connect.Request[message]) (*connect.Response[message], error) {
	out := connect.NewRequest(request.Msg)
	if err := t.begin(out.Header(), request.Header(), request.Peer()); err != nil {
		return nil, err
	}
	answer, err := t.client.CallUnary(ctx, out)
	if err != nil {
		return nil, t.passOn(err, nil)
	}
	response := connect.NewResponse(answer.Msg)
	addForwarded(response.Header(), answer.Header())
	addForwarded(response.Trailer(), answer.Trailer())
	return response, nil
}

func (t *translation) serverStream(ctx context.Context, request *connect.Request[message], in *connect.ServerStream[message]) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := connect.NewRequest(request.Msg)
	if err := t.begin(out.Header(), request.Header(), request.Peer()); err != nil {
		return err
	}
	stream, err := t.client.CallServerStream(ctx, out)
	if err != nil {
		return t.passOn(err, nil)
	}
	conn, _ := stream.Conn()
	return t.responses(in.Conn(), conn)
}

func (t *translation) clientStream(ctx context.Context, in *connect.ClientStream[message]) (*connect.Response[message], error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := t.client.CallClientStream(ctx).Conn()
	if err != nil {
		return nil, t.passOn(err, nil)
	}
	defer func() { _ = conn.CloseResponse() }()
	failed, err := t.requests(in.Conn(), conn, cancel)
	if err != nil {
		return nil, err
	}
	answer := &message{of: t.method.Output()}
	err = conn.Receive(answer)
	if err == nil {
		if err = conn.Receive(new(message)); errors.Is(err, io.EOF) {
			response := connect.NewResponse(answer)
			addForwarded(response.Header(), conn.ResponseHeader())
			addForwarded(response.Trailer(), conn.ResponseTrailer())
			return response, nil
		}
	}
	return nil, causeOf(failed, t.passOn(err, nil))
}

func (t *translation) bidi(ctx context.Context, in *connect.BidiStream[message, message]) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := t.client.CallBidiStream(ctx).Conn()
	if err != nil {
		return t.passOn(err, nil)
	}
	failed, err := t.requests(in.Conn(), conn, cancel)
	if err != nil {
		return err
	}
	if err = t.responses(in.Conn(), conn); err == nil {
		return nil
	}
	return causeOf(failed, err)
}

// panicked is the error of a goroutine that has panicked: in an interceptor, say.
type panicked struct{ value any }

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// causeOf returns the error of the goroutine that forwards the caller's messages, and err
// if it has none. It panics if the goroutine has, because the handler is where panics are
// recovered.
func causeOf(failed <-chan error, err error) error {
	select {
	case cause := <-failed:
		if p, ok := cause.(*panicked); ok {
			panic(p.value)
		}
		return cause
	default:
		return err
	}
}

// requests sends the header, and begins to forward the caller's messages in a
// goroutine. If the caller's stream ends with an error, the goroutine sends that to
// the channel and ends the server's call. It ends when the caller's stream ends, or
// soon after the handler has returned: then nothing can be received any more.
func (t *translation) requests(from connect.StreamingHandlerConn, to connect.StreamingClientConn, cancel func()) (<-chan error, error) {
	if err := t.begin(to.RequestHeader(), from.RequestHeader(), from.Peer()); err != nil {
		return nil, err
	}
	failed := make(chan error, 1)
	go func() {
		defer func() {
			if value := recover(); value != nil {
				failed <- &panicked{value}
				cancel()
			}
		}()
		err := to.Send(nil) // the header, which may be all for a while
		for err == nil {
			request := &message{of: t.method.Input()}
			if err = from.Receive(request); err == nil {
				err = to.Send(request)
				continue
			}
			if errors.Is(err, io.EOF) {
				_ = to.CloseRequest()
				return
			}
			failed <- err
			cancel()
			return
		}
		// The server has ended the call: Receive returns the reason.
	}()
	return failed, nil
}

// responses forwards the server's messages, and returns the end of its stream.
func (t *translation) responses(to connect.StreamingHandlerConn, from connect.StreamingClientConn) error {
	defer func() { _ = from.CloseResponse() }()
	if header := from.ResponseHeader(); header.Get("Grpc-Status") == "" { // otherwise these are trailers
		addForwarded(to.ResponseHeader(), header)
	}
	if err := to.Send(nil); err != nil { // the header, which may be all for a while
		return err
	}
	for {
		answer := &message{of: t.method.Output()}
		err := from.Receive(answer)
		switch {
		case err == nil:
			if err := to.Send(answer); err != nil {
				return err
			}
		case errors.Is(err, io.EOF):
			addForwarded(to.ResponseTrailer(), from.ResponseTrailer())
			return nil
		default:
			return t.passOn(err, from.ResponseTrailer())
		}
	}
}

// passOn returns the server's error as the caller gets it. Its metadata is trailer,
// or the error's own if trailer is nil: that includes the headers.
func (t *translation) passOn(err error, trailer http.Header) error {
	var e *connect.Error
	if !errors.As(err, &e) {
		e = connect.NewError(connect.CodeUnknown, err)
	}
	text := e.Message()
	if code := e.Code(); !connect.IsWireError(e) && (code == connect.CodeUnavailable || code == connect.CodeUnknown) {
		text = fmt.Sprintf("forward %s: the server cannot be reached, or has ended the connection", t.procedure)
	}
	passed := connect.NewError(e.Code(), errors.New(text))
	for _, detail := range e.Details() {
		passed.AddDetail(detail)
	}
	if trailer == nil {
		trailer = e.Meta()
	}
	addForwarded(passed.Meta(), trailer)
	return passed
}
