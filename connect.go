// SPDX-License-Identifier: Apache-2.0

// Package connect serves and calls Protobuf RPCs with net/http, in the
// Connect, gRPC and gRPC-Web protocols at once.
//
// A [Handler] is an [http.Handler] for one procedure: mount it on any mux. It
// answers each client in the protocol, codec and compression that the client
// chose. A [Client] calls one procedure through any [HTTPClient], such as
// [http.DefaultClient]. Most programs use handlers and clients that
// protoc-gen-connect-go generates from a schema.
//
// A server for clients of all three protocols, without TLS:
//
//	mux := http.NewServeMux()
//	mux.Handle(greetv1connect.NewGreetServiceHandler(&greeter{}))
//	server := &http.Server{Addr: "localhost:8080", Handler: mux, Protocols: new(http.Protocols)}
//	server.Protocols.SetHTTP1(true)
//	server.Protocols.SetUnencryptedHTTP2(true) // gRPC clients need HTTP/2
//	log.Fatal(server.ListenAndServe())
//
// A client of that server:
//
//	client := greetv1connect.NewGreetServiceClient(http.DefaultClient, "http://localhost:8080")
//	res, err := client.Greet(ctx, connect.NewRequest(&greetv1.GreetRequest{Name: "Ada"}))
//
// Package [github.com/seed-b7c59c10/connect/examples] has examples of handlers,
// clients, streams, errors, interceptors and most options.
//
// # Defaults
//
// Handlers and clients refuse messages of more than 16 MiB. Handlers take
// Protobuf and JSON, take requests compressed with gzip, and compress responses
// of 1 KiB and more with gzip for clients that accept it. Clients use the
// Connect protocol with Protobuf, accept gzip, and do not compress requests. An
// [Option] changes each of these.
//
// # Headers and trailers
//
// The protocols reserve the keys that begin with "Connect-" and "Grpc-":
// programs may read them, and should not set them. If a program sets a header
// that the library writes itself, such as Content-Type or Grpc-Status, the
// library replaces it or leaves it out. Values of keys that end in "-Bin" are
// base64: see [EncodeBinaryHeader].
//
// # Specifications
//
// The protocols are specified at https://connectrpc.com/docs/protocol (Connect),
// in grpc/doc/PROTOCOL-HTTP2.md (gRPC) and grpc/doc/PROTOCOL-WEB.md (gRPC-Web).
package connect

import (
	"fmt"
	"net/http"
)

// Version is the version of the connectrpc.com/connect API that this module is
// source-compatible with.
const Version = "1.21.1"

// Each constant stands for a version of the connectrpc.com/connect API. A
// generated file refers to the one whose API it calls: with an older runtime
// it does not compile.
const (
	IsAtLeastVersion0_0_1  = true
	IsAtLeastVersion0_1_0  = true
	IsAtLeastVersion1_7_0  = true
	IsAtLeastVersion1_13_0 = true
)

// The values of [Peer].Protocol.
const (
	ProtocolConnect = "connect"
	ProtocolGRPC    = "grpc"
	ProtocolGRPCWeb = "grpcweb"
)

// StreamType is the kind of a procedure: which sides send a stream of messages,
// and not just one. The zero value is [StreamTypeUnary].
type StreamType uint8

// The four kinds of procedures. Client and server streaming are bits:
// StreamTypeBidi has both.
const (
	StreamTypeUnary  StreamType = 0b00
	StreamTypeClient StreamType = 0b01
	StreamTypeServer StreamType = 0b10
	StreamTypeBidi              = StreamTypeClient | StreamTypeServer
)

// String returns "unary", "client", "server" or "bidi", and "stream_N" for a
// number N that is none of the four kinds.
func (s StreamType) String() string {
	switch s {
	case StreamTypeUnary:
		return "unary"
	case StreamTypeClient:
		return "client"
	case StreamTypeServer:
		return "server"
	case StreamTypeBidi:
		return "bidi"
	}
	return fmt.Sprintf("stream_%d", uint8(s))
}

func (s StreamType) clientStreams() bool { return s&StreamTypeClient != 0 }
func (s StreamType) serverStreams() bool { return s&StreamTypeServer != 0 }

// Spec describes the procedure of a call.
type Spec struct {
	// StreamType is the kind of the procedure.
	StreamType StreamType
	// Schema is the value of [WithSchema]: generated code gives the
	// protoreflect.MethodDescriptor. It is nil without a schema.
	Schema any
	// Procedure is the path of the procedure, such as
	// "/acme.foo.v1.FooService/Bar".
	Procedure string
	// IsClient is true on the client's side of a call, false on the handler's.
	IsClient bool
	// IdempotencyLevel is the schema's promise about repeated calls.
	IdempotencyLevel IdempotencyLevel
}

// HTTPClient sends the requests of a [Client]. [*http.Client] is one. It must be
// safe for concurrent use.
//
// After the request's context ends, Do and the Read method of the response's
// body must return soon, as those of [*http.Client] do. A call returns when its
// context ends even if Do does not, but the goroutine that runs Do lives until
// Do returns. A call waits for Read.
type HTTPClient interface {
	Do(*http.Request) (*http.Response, error)
}

// StreamingHandlerConn is the handler's side of a call, without types: it
// receives requests and sends responses. Streaming interceptors may wrap it.
//
// The first Send writes the response headers; later changes to them have no
// effect. Send(nil) writes the headers alone. Send returns nil when the message
// is written, or waits for earlier ones to be written; the client may not have
// it yet. If a write fails, that Send or a later one returns the error; behind
// middleware with a ResponseWriter of its own, always that Send. Trailers may
// change until the handler returns. After the client's last message Receive
// returns an error that wraps [io.EOF].
//
// One goroutine at a time may call Receive and RequestHeader, and one goroutine
// at a time Send, ResponseHeader and ResponseTrailer: these may be two
// goroutines. Spec and Peer are safe for concurrent use.
//
// Every error of this package's implementation is or wraps an [*Error].
type StreamingHandlerConn interface {
	Spec() Spec
	Peer() Peer

	Receive(any) error
	RequestHeader() http.Header

	Send(any) error
	ResponseHeader() http.Header
	ResponseTrailer() http.Header
}

// StreamingClientConn is the client's side of a call, without types: it sends
// requests and receives responses. Streaming interceptors may wrap it.
//
// The first Send, or CloseRequest if none came before, writes the request
// headers; later changes to them have no effect. Send(nil) writes the headers
// alone. After the server's last message Receive returns an error that wraps
// [io.EOF]. Once the server has ended the call, Send returns an error that
// wraps [io.EOF]: Receive then returns the reason.
//
// One goroutine at a time may call Send, RequestHeader and CloseRequest, and
// one goroutine at a time Receive, ResponseHeader, ResponseTrailer and
// CloseResponse: these may be two goroutines. Spec and Peer are safe for
// concurrent use.
//
// Every error of this package's implementation is or wraps an [*Error].
type StreamingClientConn interface {
	Spec() Spec
	Peer() Peer

	Send(any) error
	RequestHeader() http.Header
	CloseRequest() error

	Receive(any) error
	ResponseHeader() http.Header
	ResponseTrailer() http.Header
	CloseResponse() error
}

// callState is the state of a request's call: all but the message.
type callState struct {
	spec   *Spec // shared, never written; nil until the call
	peer   Peer
	header metadata
	shown  http.Header // those of the library that interceptors see; nil if they are in header, or there are none
	method string      // HTTP method, "" until the request is sent
}

func (s *callState) Spec() Spec {
	if s.spec == nil {
		return Spec{}
	}
	return *s.spec
}

// requestHeader returns the header of a request, never nil. What the library sets is
// added when the program asks: most interceptors do not.
func (s *callState) requestHeader() http.Header {
	h := s.header.header()
	if s.shown != nil {
		showHeader(h, s.shown)
		s.shown = nil
	}
	return h
}

// receive sets the header of a handler's request. If no interceptor has wrapped
// the conn, the request refers to the fields as they were received, and not to
// the conn: a program that keeps the Request does not keep the conn.
func (s *callState) receive(conn StreamingHandlerConn) {
	if c, ok := conn.(*handlerConn); ok && c.request.header == nil {
		s.header.lazy = &c.request.lazy
	} else {
		s.header.own = conn.RequestHeader()
	}
}

// Request is a request message with its headers.
//
// While a call uses a Request, no other goroutine may use it.
type Request[T any] struct {
	// Msg is the message. For a nil Msg an empty message is sent.
	Msg *T

	call callState
}

// NewRequest returns a request that carries message.
func NewRequest[T any](message *T) *Request[T] {
	return &Request[T]{Msg: message}
}

// Any returns Msg as an interface value, which is never nil: if Msg is nil, it
// holds a nil *T.
func (r *Request[_]) Any() any { return r.Msg }

// Spec returns the description of the procedure. On the client's side it is
// empty before the call.
func (r *Request[_]) Spec() Spec { return r.call.Spec() }

// Peer returns the description of the other side. On the client's side it is
// empty before the call, and has the server's TLS connection once the response's
// headers have arrived.
func (r *Request[_]) Peer() Peer { return r.call.peer }

// Header returns the request's headers, never nil. A client may change them
// before the call, and interceptors until they call the next function.
// Interceptors of a client also see the headers that the library sets: of
// these, only changes to User-Agent and X-User-Agent have an effect.
func (r *Request[_]) Header() http.Header { return r.call.requestHeader() }

// HTTPMethod returns "POST", or "GET" for a call that is sent as HTTP GET: see
// [WithHTTPGet]. On the client's side it is "" until the request is sent;
// interceptors see it after they have called the next function.
func (r *Request[_]) HTTPMethod() string { return r.call.method }

func (r *Request[_]) state() *callState { return &r.call }

// AnyRequest is a [*Request] of any message type, for interceptors. Only this
// package implements it; other types can embed one.
type AnyRequest interface {
	Any() any
	Spec() Spec
	Peer() Peer
	Header() http.Header
	HTTPMethod() string

	state() *callState
}

// Response is a response message with its headers and trailers.
//
// While a call uses a Response, no other goroutine may use it.
type Response[T any] struct {
	// Msg is the message. For a nil Msg an empty message is sent.
	Msg *T

	header  metadata
	trailer metadata
}

// NewResponse returns a response that carries message.
func NewResponse[T any](message *T) *Response[T] {
	return &Response[T]{Msg: message}
}

// Any returns Msg as an interface value, which is never nil: if Msg is nil, it
// holds a nil *T.
func (r *Response[_]) Any() any { return r.Msg }

// Header returns the response's headers, never nil.
func (r *Response[_]) Header() http.Header { return r.header.header() }

// Trailer returns the response's trailers, never nil. gRPC sends them as HTTP
// trailers, gRPC-Web and streaming Connect at the end of the body, and unary
// Connect as headers with the prefix "Trailer-", before the message.
func (r *Response[_]) Trailer() http.Header { return r.trailer.header() }

func (r *Response[_]) internalOnly() {}

// metadata returns the headers and trailers, each nil if the program has not
// asked for it.
func (r *Response[_]) metadata() (header, trailer http.Header) {
	return r.header.made(), r.trailer.made()
}

// AnyResponse is a [*Response] of any message type, for interceptors. Only this
// package implements it; other types can embed one.
type AnyResponse interface {
	Any() any
	Header() http.Header
	Trailer() http.Header

	internalOnly()
}
