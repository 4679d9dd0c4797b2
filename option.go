// SPDX-License-Identifier: Apache-2.0

// Options: each is a closure over one setting.

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

// WithOptions makes several options one.
func WithOptions(options ...Option) Option {
	return optionGroup(options)
}

// WithHandlerOptions makes several handler options one.
func WithHandlerOptions(options ...HandlerOption) HandlerOption {
	return handlerOption(func(c *config) {
		for _, o := range options {
			o.applyToHandler(c)
		}
	})
}

// WithClientOptions makes several client options one.
func WithClientOptions(options ...ClientOption) ClientOption {
	return clientOption(func(c *config) {
		for _, o := range options {
			o.applyToClient(c)
		}
	})
}

// WithConditionalHandlerOptions applies the options that conditional returns for
// a procedure's [Spec], so that one procedure of a service can have, say, a
// larger limit than the others. It may return nil.
func WithConditionalHandlerOptions(conditional func(spec Spec) []HandlerOption) HandlerOption {
	return handlerOption(func(c *config) {
		if c.spec.Procedure == "" {
			return // an ErrorWriter: it serves no procedure
		}
		for _, o := range conditional(c.spec) {
			o.applyToHandler(c)
		}
	})
}

// WithInterceptors adds interceptors. The first one is outermost: it is the
// first to see what is sent and the last to see what is received. Interceptors
// of several options run in the order of the options.
func WithInterceptors(interceptors ...Interceptor) Option {
	return option(func(c *config) {
		for _, i := range interceptors {
			if i != nil {
				c.interceptors = append(c.interceptors, i)
			}
		}
	})
}

// WithRecover turns a panic of a handler into an error. The function gets the
// call's context, spec and request headers and the value of the panic, and
// returns the error for the client; it must be safe for concurrent use. The
// recovery is an interceptor: it covers the handler and the interceptors that
// options add after it.
//
// A panic with [http.ErrAbortHandler] passes, as net/http wants it. Without this
// option net/http recovers from a panic by cutting the connection or stream.
func WithRecover(handle func(context.Context, Spec, http.Header, any) error) HandlerOption {
	return WithInterceptors(&recoverer{handle})
}

// A RequestGateFunc decides on a call before it is served: see
// [WithRequestGate].
type RequestGateFunc func(ctx context.Context, spec Spec, peer Peer, header http.Header) (context.Context, error)

// WithRequestGate adds a function that sees each call once its headers are read
// and before any message is: the place for authentication. An error ends the
// call; neither interceptors nor the handler see it. A context other than nil,
// which must descend from the one given, replaces the call's context.
//
// Gates run in the order of their options and must be safe for concurrent use.
// [WithRecover] does not cover them. A nil gate panics.
func WithRequestGate(gate RequestGateFunc) HandlerOption {
	if gate == nil {
		panic("connect: WithRequestGate needs a function")
	}
	return handlerOption(func(c *config) { c.gates = append(c.gates, gate) })
}

// WithSafeErrors keeps the text of errors that are not meant for clients: an
// error that is not and does not wrap an [*Error] reaches the client as its
// code, usually CodeUnknown, without message. Interceptors see the whole error.
// By default its text is sent.
func WithSafeErrors() HandlerOption {
	return handlerOption(func(c *config) { c.safeErrors = true })
}

// WithRequireConnectProtocolHeader refuses unary Connect requests that do not
// tell their protocol version: in the header Connect-Protocol-Version, or the
// parameter connect of a GET. Proxies and middleware can then tell them from
// other requests of the same content type. By default curl and its like need not
// send it. gRPC, gRPC-Web and streaming requests are told by their content type.
func WithRequireConnectProtocolHeader() HandlerOption {
	return handlerOption(func(c *config) { c.requireVersion = true })
}

// WithCodec adds a codec to a handler, in place of one with the same name, and
// makes it the codec of a client. Handlers have "proto" and "json" by default,
// clients "proto". A codec with an empty name is ignored.
func WithCodec(codec Codec) Option {
	return option(func(c *config) { c.addCodec(codec) })
}

// WithProtoJSON makes a client send and receive Protobuf's JSON mapping, as
// google.golang.org/protobuf/encoding/protojson has it. Unknown fields of
// responses are ignored.
func WithProtoJSON() ClientOption {
	return WithCodec(jsonCodec{})
}

// WithCompression adds a compression to a handler, for requests and responses,
// or replaces the one with its name; nil for both constructors removes it.
// Handlers have gzip, of the standard library at [gzip.BestSpeed]. Compressors and
// decompressors are pooled. An empty name is ignored. Without a decompressor
// requests in the compression are refused, without a compressor answers are not
// compressed in it.
func WithCompression(name string, newDecompressor func() Decompressor, newCompressor func() Compressor) HandlerOption {
	return handlerOption(func(c *config) { c.compressions.register(name, newDecompressor, newCompressor) })
}

// WithAcceptCompression adds a compression to a client, or replaces the one with
// its name; nil for both constructors removes it. The client asks for responses
// in all compressions that it has, the one added last preferred; to compress
// requests, too, add [WithSendCompression]. Clients have gzip, of the standard
// library at [gzip.BestSpeed]. An empty name is ignored. Without a decompressor the
// client does not ask for the compression, without a compressor it cannot send it.
func WithAcceptCompression(name string, newDecompressor func() Decompressor, newCompressor func() Compressor) ClientOption {
	return clientOption(func(c *config) { c.compressions.register(name, newDecompressor, newCompressor) })
}

// WithSendCompression compresses a client's requests. Not every server supports
// it, so by default requests are not compressed. Calls fail if the client does
// not have the compression.
func WithSendCompression(name string) ClientOption {
	return clientOption(func(c *config) { c.sendName = name })
}

// WithSendGzip compresses a client's requests with gzip.
func WithSendGzip() ClientOption {
	return WithSendCompression(compressionGzip)
}

// WithCompressMinBytes sends messages of less than minBytes bytes uncompressed.
// The default is 1024 for handlers, as smaller answers cost more to compress than
// to send, and 0 for clients, whose requests are compressed on demand only.
func WithCompressMinBytes(minBytes int) Option {
	return option(func(c *config) { c.compressMin = minBytes })
}

// WithReadMaxBytes limits each received message to maxBytes bytes, both as it
// travels and decompressed; 0 and less is no limit. Larger ones are refused with
// CodeResourceExhausted, after the work that maxBytes bytes take. The default is
// 16 MiB.
//
// To limit whole requests rather than messages use [http.MaxBytesHandler]: its
// error gets CodeResourceExhausted, too.
func WithReadMaxBytes(maxBytes int) Option {
	return option(func(c *config) { c.readMax = max(maxBytes, 0) })
}

// WithSendMaxBytes limits each sent message to maxBytes bytes as it travels; 0,
// the default, and less is no limit. Larger ones are not sent: Send fails with
// CodeResourceExhausted. A handler's error that is larger is sent with its code
// and message only.
func WithSendMaxBytes(maxBytes int) Option {
	return option(func(c *config) { c.sendMax = max(maxBytes, 0) })
}

// WithIdempotency tells what the schema promises about repeated calls. Generated
// code adds it. A handler with [IdempotencyNoSideEffects] answers HTTP GET, too.
func WithIdempotency(idempotencyLevel IdempotencyLevel) Option {
	return option(func(c *config) { c.spec.IdempotencyLevel = idempotencyLevel })
}

// WithSchema sets [Spec.Schema]. Generated code adds it.
func WithSchema(schema any) Option {
	return option(func(c *config) { c.spec.Schema = schema })
}

// WithRequestInitializer lets a handler prepare each message before a request is
// decoded into it. The function gets a pointer of the handler's type, which it
// may fill, for example with a dynamic message for [Spec.Schema]. Its error ends
// the call.
func WithRequestInitializer(initializer func(spec Spec, message any) error) HandlerOption {
	return handlerOption(func(c *config) { c.initialize = initializer })
}

// WithResponseInitializer lets a client prepare each message before a response
// is decoded into it, as [WithRequestInitializer] does for handlers.
func WithResponseInitializer(initializer func(spec Spec, message any) error) ClientOption {
	return clientOption(func(c *config) { c.initialize = initializer })
}

// WithGRPC makes a client speak gRPC. It needs HTTP/2, except for servers that
// send trailers over HTTP/1.1, as this package's do.
func WithGRPC() ClientOption {
	return clientOption(func(c *config) { c.protocol = ProtocolGRPC })
}

// WithGRPCWeb makes a client speak gRPC-Web, in its binary form.
func WithGRPCWeb() ClientOption {
	return clientOption(func(c *config) { c.protocol = ProtocolGRPCWeb })
}

// WithHTTPGet makes a client send unary Connect calls without side effects, by
// [WithIdempotency], as HTTP GET, which caches understand. It needs a codec with
// a stable form: "proto" and "json" have one. Other calls stay POST.
func WithHTTPGet() ClientOption {
	return clientOption(func(c *config) { c.get = true })
}

// WithHTTPGetMaxURLSize limits the URL of HTTP GET requests to bytes bytes; 0,
// the default, is no limit. A call with a longer URL is sent as POST if fallback
// is true, and fails with CodeResourceExhausted otherwise. Many proxies and
// servers take URLs of up to 4 or 8 KiB.
func WithHTTPGetMaxURLSize(bytes int, fallback bool) ClientOption {
	return clientOption(func(c *config) { c.getMax, c.getFallback = bytes, fallback })
}

// The standard library's gzip fits the interfaces as it is.
var (
	_ Compressor   = (*gzip.Writer)(nil)
	_ Decompressor = (*gzip.Reader)(nil)
)
