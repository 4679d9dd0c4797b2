// SPDX-License-Identifier: Apache-2.0

// Package connect serves and calls Protobuf RPCs with net/http, in the
// Connect, gRPC and gRPC-Web protocols at once.
//
// A [Handler] is an [http.Handler] for one procedure: mount it on any mux. It
// answers every client in the protocol, codec and compression that the client
// chose. A [Client] calls one procedure through any [HTTPClient], such as
// [http.DefaultClient]. Both are usually made by the code that
// protoc-gen-connect-go generates from a schema.
//
//	mux := http.NewServeMux()
//	mux.Handle(greetv1connect.NewGreetServiceHandler(&server{}))
//	http.ListenAndServe("localhost:8080", mux)
//
//	client := greetv1connect.NewGreetServiceClient(http.DefaultClient, "http://localhost:8080")
//	res, err := client.Greet(ctx, connect.NewRequest(&greetv1.GreetRequest{Name: "Ada"}))
//
// Unless an option says otherwise, handlers and clients refuse messages larger
// than 16 MiB, handlers speak Protobuf and JSON, accept gzip and compress
// answers of 1 KiB and more for clients that accept it, and clients speak the
// Connect protocol with Protobuf, uncompressed.
//
// The protocols are specified at https://connectrpc.com/docs/protocol (Connect),
// in grpc/doc/PROTOCOL-HTTP2.md (gRPC) and grpc/doc/PROTOCOL-WEB.md (gRPC-Web).
package connect

import (
	"fmt"
	"net/http"
	"net/url"
)

// Version is the version of the connectrpc.com/connect API that this module is
// source-compatible with.
const Version = "1.21.1"

// Generated code refers to one of these constants, so that it does not compile
// with a runtime that lacks what it calls.
const (
	IsAtLeastVersion0_0_1  = true
	IsAtLeastVersion0_1_0  = true
	IsAtLeastVersion1_7_0  = true
	IsAtLeastVersion1_13_0 = true
)

// The protocols, as [Peer] names them.
const (
	ProtocolConnect = "connect"
	ProtocolGRPC    = "grpc"
	ProtocolGRPCWeb = "grpcweb"
)

// StreamType says which sides of a procedure send more than one message.
type StreamType uint8

// The four kinds of procedures. Client and server streaming are bits:
// StreamTypeBidi has both.
const (
	StreamTypeUnary  StreamType = 0b00
	StreamTypeClient StreamType = 0b01
	StreamTypeServer StreamType = 0b10
	StreamTypeBidi              = StreamTypeClient | StreamTypeServer
)

// String returns "unary", "client", "server" or "bidi".
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
	// Procedure is the path of the procedure: "/acme.foo.v1.FooService/Bar".
	Procedure string
	// IsClient is true for a client's call, false for a handler's.
	IsClient bool
	// IdempotencyLevel is what the schema promises about repeated calls.
	IdempotencyLevel IdempotencyLevel
}

// Peer describes the other side of a call.
type Peer struct {
	// Addr is, for a handler, the client's address as in
	// [http.Request.RemoteAddr]; for a client, the host of the server's URL,
	// with its port if the URL has one.
	Addr string
	// Protocol is [ProtocolConnect], [ProtocolGRPC] or [ProtocolGRPCWeb]. More
	// may come.
	Protocol string
	// Query holds, for a handler, the URL's query parameters. Clients leave it
	// nil.
	Query url.Values
}

// HTTPClient is what a [Client] sends its requests with. [*http.Client] is one.
//
// Do must return soon after the request's context ends, as [*http.Client]
// does, and a body's Read must too: a call waits for them.
type HTTPClient interface {
	Do(*http.Request) (*http.Response, error)
}

// StreamingHandlerConn is a call as its handler sees it: messages in, messages
// out. Streaming interceptors may wrap it.
//
// The first Send writes the response headers; later changes to them have no
// effect. Send returns nil once a message is on its way or waits for the ones before
// it: that a client has it only its answer shows. An error in writing is returned by
// that Send or by a later one; behind middleware, which may have a ResponseWriter of
// its own, always by that Send. Trailers may change until the handler returns. After the client's
// last message Receive returns an error that wraps [io.EOF].
//
// Receive and RequestHeader belong to one goroutine at a time, and so do Send,
// ResponseHeader and ResponseTrailer; the two groups may run concurrently. Spec
// and Peer are always safe.
//
// Every error of this module's implementation is or wraps an [*Error]. Keys
// that begin with "Connect-" and "Grpc-" are the protocols': read, but do not
// write them.
type StreamingHandlerConn interface {
	Spec() Spec
	Peer() Peer

	Receive(any) error
	RequestHeader() http.Header

	Send(any) error
	ResponseHeader() http.Header
	ResponseTrailer() http.Header
}

// StreamingClientConn is a call as its client sees it: messages out, messages
// in. Streaming interceptors may wrap it.
//
// The first Send, or CloseRequest if none came before, writes the request
// headers; later changes to them have no effect. Send(nil) writes the headers
// alone. After the server's last message Receive returns an error that wraps
// [io.EOF]. Once the server has ended the call, Send returns an error that
// wraps [io.EOF]: Receive then returns the reason.
//
// Send, RequestHeader and CloseRequest belong to one goroutine at a time, and
// so do Receive, ResponseHeader, ResponseTrailer and CloseResponse; the two
// groups may run concurrently. Spec and Peer are always safe.
//
// Every error of this module's implementation is or wraps an [*Error]. Keys
// that begin with "Connect-" and "Grpc-" are the protocols': read, but do not
// write them.
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

// callState is what a request knows of its call besides the message.
type callState struct {
	spec   *Spec // shared, never written; nil until the call
	peer   Peer
	header metadata
	method string // HTTP method, "" until the request is sent
}

func (s *callState) Spec() Spec {
	if s.spec == nil {
		return Spec{}
	}
	return *s.spec
}

// receive gives a handler's request its header: one that is there is the request's
// own, so that a Request which the program keeps does not keep the conn.
func (s *callState) receive(conn StreamingHandlerConn) {
	if c, ok := conn.(*handlerConn); ok && c.request.header == nil {
		s.header.lazy = &c.request.lazy
	} else {
		s.header.own = conn.RequestHeader()
	}
}

// Request is a request message with its metadata.
//
// A Request is not safe for concurrent use while a call uses it.
type Request[T any] struct {
	// Msg is the message. A nil Msg is sent as an empty message.
	Msg *T

	call callState
}

// NewRequest returns a request that carries message.
func NewRequest[T any](message *T) *Request[T] {
	return &Request[T]{Msg: message}
}

// Any returns Msg. It is never a nil interface value.
func (r *Request[_]) Any() any { return r.Msg }

// Spec describes the procedure. It is empty until a client calls with the
// request.
func (r *Request[_]) Spec() Spec { return r.call.Spec() }

// Peer describes the other side. It is empty until a client calls with the
// request.
func (r *Request[_]) Peer() Peer { return r.call.peer }

// Header returns the request's headers, never nil. A client's headers may be
// changed until the call; the headers that the library sets are visible to
// interceptors, and what a program makes of these counts for nothing. Keys that
// begin with "Connect-" and "Grpc-" are the protocols': read, but do not write them.
func (r *Request[_]) Header() http.Header { return r.call.header.header() }

// HTTPMethod returns "POST", or "GET" for a side-effect-free call that is sent
// as such. For a client it is "" until the request is sent, so interceptors see
// it after they called the next function.
func (r *Request[_]) HTTPMethod() string { return r.call.method }

func (r *Request[_]) state() *callState { return &r.call }

// AnyRequest is what all [Request] types have in common, for interceptors.
// Only this package implements it.
type AnyRequest interface {
	Any() any
	Spec() Spec
	Peer() Peer
	Header() http.Header
	HTTPMethod() string

	state() *callState
}

// Response is a response message with its metadata.
//
// A Response is not safe for concurrent use while a call uses it.
type Response[T any] struct {
	// Msg is the message. A nil Msg is sent as an empty message.
	Msg *T

	header  metadata
	trailer metadata
}

// NewResponse returns a response that carries message.
func NewResponse[T any](message *T) *Response[T] {
	return &Response[T]{Msg: message}
}

// Any returns Msg. It is never a nil interface value.
func (r *Response[_]) Any() any { return r.Msg }

// Header returns the response's headers, never nil. Keys that begin with
// "Connect-" and "Grpc-" are the protocols': read, but do not write them.
func (r *Response[_]) Header() http.Header { return r.header.header() }

// Trailer returns the response's trailers, never nil. They travel after the
// message: as HTTP trailers in gRPC, at the end of the body in gRPC-Web and in
// Connect streams, and as headers with the prefix "Trailer-" in unary Connect.
// Keys that begin with "Connect-" and "Grpc-" are the protocols': read, but do
// not write them.
func (r *Response[_]) Trailer() http.Header { return r.trailer.header() }

func (r *Response[_]) internalOnly() {}

// metadata returns the headers and trailers that there are, nil for those that nobody
// asked for.
func (r *Response[_]) metadata() (header, trailer http.Header) {
	return r.header.made(), r.trailer.made()
}

// AnyResponse is what all [Response] types have in common, for interceptors.
// Only this package implements it.
type AnyResponse interface {
	Any() any
	Header() http.Header
	Trailer() http.Header

	internalOnly()
}
