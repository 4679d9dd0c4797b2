// SPDX-License-Identifier: Apache-2.0

// Options: each is a function that changes one setting.

package connect

import (
	"compress/gzip"
	"context"
	"net/http"
)

// A HandlerOption configures a [Handler]. Every [Option] is one.
type HandlerOption interface {
	applyToHandler(*config)
}

// A ClientOption configures a [Client]. Every [Option] is one.
type ClientOption interface {
	applyToClient(*config)
}

// An Option configures handlers and clients.
type Option interface {
	ClientOption
	HandlerOption
}

type handlerOption func(*config)

func (o handlerOption) applyToHandler(c *config) { o(c) }

type clientOption func(*config)

func (o clientOption) applyToClient(c *config) { o(c) }

type option func(*config)

func (o option) applyToHandler(c *config) { o(c) }
func (o option) applyToClient(c *config)  { o(c) }

type optionGroup []Option

func (g optionGroup) applyToHandler(c *config) {
	for _, o := range g {
		o.applyToHandler(c)
	}
}

func (g optionGroup) applyToClient(c *config) {
	for _, o := range g {
		o.applyToClient(c)
	}
}

// WithOptions returns one option that applies several, in their order.
func WithOptions(options ...Option) Option {
	return optionGroup(options)
}

// WithHandlerOptions returns one option that applies several, in their order.
func WithHandlerOptions(options ...HandlerOption) HandlerOption {
	return handlerOption(func(c *config) {
		for _, o := range options {
			o.applyToHandler(c)
		}
	})
}

// WithClientOptions returns one option that applies several, in their order.
func WithClientOptions(options ...ClientOption) ClientOption {
	return clientOption(func(c *config) {
		for _, o := range options {
			o.applyToClient(c)
		}
	})
}

// WithConditionalHandlerOptions applies the options that conditional returns for
// a procedure's [Spec]: with it one procedure of a service can have a larger
// limit than the others. The function may return nil. It is called once for each
// handler, and not for an [ErrorWriter].
func WithConditionalHandlerOptions(conditional func(spec Spec) []HandlerOption) HandlerOption {
	return handlerOption(func(c *config) {
		spec := c.spec
		if spec.Procedure == "" { // an ErrorWriter: it serves no procedure
			if !c.connectGo {
				return
			}
			spec.Procedure = "/"
		}
		for _, o := range conditional(spec) {
			o.applyToHandler(c)
		}
	})
}

// WithInterceptors adds interceptors. The first one is outermost: on both sides
// its function runs first, and the function that it calls runs the others. The
// interceptors of an earlier option are outside of those of a later one. Nil
// interceptors are ignored.
func WithInterceptors(interceptors ...Interceptor) Option {
	return option(func(c *config) {
		c.chain(len(interceptors))
		for _, i := range interceptors {
			if i != nil {
				c.interceptors = append(c.interceptors, i)
			}
		}
	})
}

// WithRecover recovers from panics of a handler. It calls handle with the call's
// context, spec and request headers and the value of the panic; the client
// receives the error that handle returns. The function must be safe for
// concurrent use. The recovery is an interceptor, whose error the interceptors of
// earlier options see. It also covers all that runs outside of it on the handler's
// side: gates, initializers, codecs, earlier interceptors and call interceptors.
//
// It does not recover from a panic with [http.ErrAbortHandler], with which a
// handler ends a response early. Without this option, net/http recovers from
// panics: it closes the HTTP/1.1 connection or resets the HTTP/2 stream.
func WithRecover(handle func(context.Context, Spec, http.Header, any) error) HandlerOption {
	r := &recoverer{handle}
	return handlerOption(func(c *config) {
		c.chain(1)
		c.interceptors = append(c.interceptors, r)
		if c.recoverer == nil {
			c.recoverer = r
		}
	})
}

// A RequestGateFunc accepts or refuses a call before any of its messages is
// read: see [WithRequestGate].
type RequestGateFunc func(ctx context.Context, spec Spec, peer Peer, header http.Header) (context.Context, error)

// WithRequestGate adds a function that runs for each call after its headers are
// read and before any message is: the place for authentication. If it returns an
// error, the client receives that error, and neither interceptors nor the
// handler run. If it returns a context that is not nil, that is the call's
// context from then on; it must be derived from the gate's own.
//
// Gates run in the order of their options, and must be safe for concurrent use.
// WithRequestGate panics if gate is nil.
func WithRequestGate(gate RequestGateFunc) HandlerOption {
	if gate == nil {
		panic("connect: WithRequestGate needs a function")
	}
	return handlerOption(func(c *config) { c.gates = append(c.gates, gate) })
}

// WithUnknownProcedureHandler sets the handler for the paths below a service's path
// that are not procedures: for example a proxy, or a handler that counts calls of
// removed procedures. It gets every such request, also those that are not calls in
// one of the protocols. [NewServiceHandler], [NewUnknownProcedureHandler] and
// generated constructors use it; procedures ignore it. The last of several options
// counts. By default [NewUnknownProcedureHandler] answers.
//
// The handler must be safe for concurrent use, and writes the whole response:
// [ErrorWriter] writes errors in the caller's protocol. Gates, interceptors and
// [WithRecover] do not run for it. WithUnknownProcedureHandler panics if handler is
// nil.
func WithUnknownProcedureHandler(handler http.Handler) HandlerOption {
	if handler == nil {
		panic("connect: WithUnknownProcedureHandler needs a handler")
	}
	return handlerOption(func(c *config) { c.unknown = handler })
}

// WithSafeErrors keeps from clients the errors that were not made for them: the
// client receives a code and an empty message, and neither details nor metadata.
// By default the text is sent. Interceptors and hooks see the whole error.
//
// These are errors that are not and do not wrap an [*Error], and errors of calls
// that the handler makes itself, to another server: those that the server sent (see
// [IsWireError]) and those that the client found, whose texts have addresses in
// them. The code is CodeCanceled or CodeDeadlineExceeded for the end of a context,
// and CodeUnknown otherwise: what another server calls not_found or
// permission_denied is about what this one has asked it, not about what the client
// has asked. To pass such an error on, make a new one: [NewError], in the handler or
// in a function of [WithErrorHook].
func WithSafeErrors() HandlerOption {
	return handlerOption(func(c *config) { c.safeErrors = true })
}

// WithRequireConnectProtocolHeader makes a handler refuse, with
// CodeInvalidArgument, unary Connect requests without a protocol version: the
// header Connect-Protocol-Version, or the query's parameter "connect" of a GET.
// Proxies and middleware can then distinguish them from other requests with the
// same content type. By default requests need no version, so that one can call
// procedures with curl. Other requests are not affected: their content types
// belong to their protocols alone.
func WithRequireConnectProtocolHeader() HandlerOption {
	return handlerOption(func(c *config) { c.requireVersion = true })
}

// WithCodec adds a codec to a handler, or replaces the one with its name. For a
// client it sets the codec. By default handlers have the codecs "proto" and
// "json", and clients use "proto". A nil codec, or one with an empty name, is
// ignored.
func WithCodec(codec Codec) Option {
	return option(func(c *config) { c.addCodec(codec) })
}

// WithProtoJSON makes a client send and receive JSON, in the mapping that package
// google.golang.org/protobuf/encoding/protojson implements. The client ignores
// unknown fields of responses.
func WithProtoJSON() ClientOption {
	return WithCodec(jsonCodec{})
}

// WithCompression adds a compression to a handler, for requests and responses, or
// replaces the one with its name. If both constructors are nil, it removes the
// compression. If only newDecompressor is nil, the handler refuses requests in
// this compression with CodeUnimplemented; if only newCompressor is nil, it does
// not use this compression for responses. An empty name is ignored.
//
// By default handlers have gzip: the standard library's, at [gzip.BestSpeed].
// Compressors and decompressors are pooled, one pool for all handlers that get this
// option. The constructors must be safe for concurrent use.
func WithCompression(name string, newDecompressor func() Decompressor, newCompressor func() Compressor) HandlerOption {
	added := newCompression(name, newDecompressor, newCompressor)
	return handlerOption(func(c *config) { c.compressions.register(added) })
}

// WithAcceptCompression adds a compression to a client, or replaces the one with
// its name. If both constructors are nil, it removes the compression. If only
// newDecompressor is nil, the client does not accept responses in this
// compression; if only newCompressor is nil, it cannot send requests in it. An
// empty name is ignored.
//
// The client lists all compressions that it accepts in its requests, the one
// added last first. To compress requests, add [WithSendCompression]. By default
// clients have gzip: the standard library's, at [gzip.BestSpeed]. Compressors and
// decompressors are pooled, one pool for all clients that get this option. The
// constructors must be safe for concurrent use.
func WithAcceptCompression(name string, newDecompressor func() Decompressor, newCompressor func() Compressor) ClientOption {
	added := newCompression(name, newDecompressor, newCompressor)
	return clientOption(func(c *config) { c.compressions.register(added) })
}

// WithSendCompression makes a client compress its requests. By default it does
// not, because a server may not support the compression. If the client does not
// have the compression, every call fails with CodeUnknown.
func WithSendCompression(name string) ClientOption {
	return clientOption(func(c *config) { c.sendName = name })
}

// WithSendGzip makes a client compress its requests with gzip.
func WithSendGzip() ClientOption {
	return WithSendCompression(compressionGzip)
}

// WithCompressMinBytes sets the size in bytes from which messages are compressed.
// The default is 1024 for handlers: to compress smaller responses costs more than
// to send them. For clients it is 0, because they compress only with
// [WithSendCompression].
func WithCompressMinBytes(minBytes int) Option {
	return option(func(c *config) { c.compressMin = minBytes })
}

// WithCompressionOrder sets the order in which compressions are preferred. A handler
// answers with the compression that the client weighs highest, and among equals, as
// most clients weigh theirs, with the first of these names; a client lists its
// compressions in this order. The others follow, the one added last first, which is
// the order without this option. In a handler without it the client's order decides
// among equals.
//
// Each name is that of a compression which the handler or client has, also by a
// later option. With another name, such as "identity", the construction of a handler
// panics, and every call of a client fails with CodeUnknown.
func WithCompressionOrder(names ...string) Option {
	return option(func(c *config) { c.compressions.order = names })
}

// WithReadMaxBytes limits the size of each received message, compressed and
// decompressed, to maxBytes bytes. The default is 16 MiB; 0 and less mean no
// limit. A larger message ends the call with CodeResourceExhausted; it costs no
// more work than one of maxBytes bytes.
//
// To limit whole requests, and not single messages, use [http.MaxBytesHandler]:
// its error gets CodeResourceExhausted, too.
func WithReadMaxBytes(maxBytes int) Option {
	return option(func(c *config) { c.readMax = max(maxBytes, 0) })
}

// WithSendMaxBytes limits the size of each sent message, after compression, to
// maxBytes bytes. The default is 0; 0 and less mean no limit. A larger message is
// not sent: Send, or the call, fails with CodeResourceExhausted. If a handler's
// error is larger, it is sent without details and metadata.
func WithSendMaxBytes(maxBytes int) Option {
	return option(func(c *config) { c.sendMax = max(maxBytes, 0) })
}

// WithConnectGoBehavior gives a handler or client the meaning that
// connectrpc.com/connect v1.21.1 has where the defaults of this package differ
// from it. The drop-in module uses it for everything that it makes. By default
// this package keeps its own meaning. Bounds against hostile input, the texts of
// errors and speed stay as they are; defects of connect-go do not. Put it first: it sets what
// [WithReadMaxBytes] and [WithCompressMinBytes] set to 0, and later options
// change that.
//
// Received messages have no limit, and messages of any size are compressed.
//
// A handler answers in the compression of the request; without one, in the first
// that Accept-Encoding names, without regard to weights. Every answer lists the
// compressions that the handler accepts, and names the compression of its
// messages even if the only one is not compressed. The frame that ends a stream
// is compressed as messages are. An answer waits for the rest of an HTTP/1.1
// request, up to 256 KiB of it, and the connection stays open. Malformed base64
// in a GET is CodeUnknown, and the handler of a GET sees an empty Content-Type.
// [NewServiceHandler] answers unknown procedures with 404 and a line of text.
//
// A client gives the headers of a response to an error only if the server has
// sent one. If the connection is lost while a response arrives, the error is
// CodeCanceled. The content type of a response has one spelling. A GET has no query
// besides its own, needs a codec with MarshalStable unless there is a fallback, and
// is compressed where it is too long, whatever its size.
//
// Where a program makes a mistake, it gets what it gets from connect-go. A handler
// that returns neither a response nor an error panics, or answers with an empty
// message if it returns messages alone, and a call with a nil request panics. An
// error with the code 0 is sent as that. What a program sets under the names of the
// protocols, or of HTTP/1.1's connections, is sent: in requests, in streams of
// responses and, of the connections, in all responses. A client whose message cannot
// be encoded, or exceeds [WithSendMaxBytes], sends a request without a message. An
// error that exceeds it loses its details in unary Connect, details and metadata in
// the body of a stream, and nothing in gRPC; an [ErrorWriter] ignores it. A codec of
// the program with the name "proto" encodes gRPC's status, too.
//
// A stream goes on after a message that was refused, and its end is read again by each
// receive after it. [WithRecover] covers the handler and the interceptors of later
// options. Gates and interceptors of streams have no [CallInfo], and that of a unary
// call has response headers of its own. An initializer runs once more for the end of
// a request or response of one message. A request that a client's interceptor makes
// has no headers but its own. An error of a codec, an initializer or a decompressor that
// wraps [io.EOF] counts as the end of a stream.
func WithConnectGoBehavior() Option {
	return option(func(c *config) { c.connectGo, c.readMax, c.compressMin = true, 0, 0 })
}

// WithIdempotency sets the schema's promise about repeated calls. Generated code
// uses it. A unary handler with [IdempotencyNoSideEffects] serves HTTP GET, too.
func WithIdempotency(idempotencyLevel IdempotencyLevel) Option {
	return option(func(c *config) { c.spec.IdempotencyLevel = idempotencyLevel })
}

// WithSchema sets [Spec].Schema. Generated code uses it.
func WithSchema(schema any) Option {
	return option(func(c *config) { c.spec.Schema = schema })
}

// WithRequestInitializer adds a function to a handler that prepares each message
// before a request is decoded into it. The message is a pointer to the handler's
// request type: the function may fill it, for example with a dynamic message for
// [Spec].Schema. If it returns an error, the call fails. It must be safe for
// concurrent use.
func WithRequestInitializer(initializer func(spec Spec, message any) error) HandlerOption {
	return handlerOption(func(c *config) { c.initialize = initializer })
}

// WithResponseInitializer is [WithRequestInitializer] for the responses of a
// client.
func WithResponseInitializer(initializer func(spec Spec, message any) error) ClientOption {
	return clientOption(func(c *config) { c.initialize = initializer })
}

// WithGRPC makes a client use the gRPC protocol. gRPC needs HTTP/2, with TLS or
// without: see the example in package
// [github.com/seed-b7c59c10/connect/examples]. Handlers of this package serve
// gRPC over HTTP/1.1, too, except for bidirectional streams.
func WithGRPC() ClientOption {
	return clientOption(func(c *config) { c.protocol = ProtocolGRPC })
}

// WithGRPCWeb makes a client use the gRPC-Web protocol, in its binary form.
func WithGRPCWeb() ClientOption {
	return clientOption(func(c *config) { c.protocol = ProtocolGRPCWeb })
}

// WithHTTPGet makes a client send unary calls as HTTP GET, so that caches can
// answer them. It has an effect in the Connect protocol, for procedures with
// [IdempotencyNoSideEffects] and codecs with the method MarshalStable, such as
// "proto" and "json": see [Codec]. All other calls are POST requests.
func WithHTTPGet() ClientOption {
	return clientOption(func(c *config) { c.get = true })
}

// WithHTTPGetMaxURLSize limits the URL of an HTTP GET request to bytes bytes. The
// default is 0, which means no limit. If a URL is longer, and the client
// compresses requests, it compresses the message. If the URL is still longer, the
// call is sent as POST if fallback is true, and fails with CodeResourceExhausted
// otherwise. Many proxies and servers refuse URLs of more than 4 or 8 KiB.
func WithHTTPGetMaxURLSize(bytes int, fallback bool) ClientOption {
	return clientOption(func(c *config) { c.getMax, c.getFallback = bytes, fallback })
}

// The standard library's gzip implements the interfaces.
var (
	_ Compressor   = (*gzip.Writer)(nil)
	_ Decompressor = (*gzip.Reader)(nil)
)
