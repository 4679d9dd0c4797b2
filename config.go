// SPDX-License-Identifier: Apache-2.0

// The settings of a handler or client.

package connect

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
)

const (
	defaultReadMax     = 16 << 20 // bytes of a received message
	defaultCompressMin = 1 << 10  // bytes of an answer that is worth compressing
)

// config holds the settings of one handler or client. Options write it during
// construction. Afterwards only lastSent and prepared change.
type config struct {
	spec         Spec
	compressions compressions
	compressMin  int
	readMax      int // bytes, 0 is no limit
	sendMax      int // bytes, 0 is no limit
	interceptors []Interceptor
	chained      bool // there are several, or an option had several: see checkNext
	calls        []CallInterceptorFunc
	around       CallFunc              // calls around runCall, nil if there are none
	initialize   func(Spec, any) error // prepares a message before it is decoded into, may be nil; see endless
	connectGo    bool                  // means what connectrpc.com/connect means, see WithConnectGoBehavior
	times        times
	lastSent     atomic.Int64 // size of the message that was packed last, see packer

	// Of a handler.
	codecs         map[string]Codec
	requireVersion bool
	safeErrors     bool
	reuse          bool // requests of unary handlers
	gates          []RequestGateFunc
	recoverer      *recoverer   // the first one, nil if there is none
	unknown        http.Handler // for a service's unknown procedures, nil for the library's own
	errorHooks     []ErrorHookFunc

	// Of a client.
	codec       Codec
	sendName    string       // of the compression of requests, "" is identity
	send        *compression // the one with sendName
	protocol    string       // as in Peer.Protocol
	get         bool
	getMax      int // bytes of a GET's URL, 0 is no limit
	getFallback bool
	http        HTTPClient
	heeds       bool // http is sure to return when a request's context ends
	url         *url.URL
	peer        Peer
	dialect     *dialect    // of unary calls
	streams     *dialect    // of streaming calls
	header      http.Header // of every unary request, never written
	streamHead  http.Header // of every streaming request, never written
	pairs       [][2]string // header, for direct calls
	prepared    atomic.Pointer[preparedTarget]
}

func newConfig(procedure string) *config {
	c := &config{
		spec:     Spec{Procedure: procedurePath(procedure)},
		readMax:  defaultReadMax,
		codecs:   map[string]Codec{codecProto: protoCodec{}, codecJSON: jsonCodec{}},
		codec:    protoCodec{},
		protocol: ProtocolConnect,
	}
	c.compressions.register(standardGzip)
	return c
}

// newHandlerConfig returns the settings of a handler.
func newHandlerConfig(procedure string, kind StreamType, options []HandlerOption) *config {
	c := newConfig(procedure)
	c.spec.StreamType = kind
	c.compressMin = defaultCompressMin
	for _, option := range options {
		option.applyToHandler(c)
	}
	if err := c.compressions.sort(); err != nil {
		panic("connect: " + err.Error())
	}
	if c.connectGo && c.codecs[codecJSONUTF] == nil {
		own, _ := c.codecs[codecJSON].(jsonCodec) // a program's codec does not have this name
		c.codecs[codecJSONUTF] = own
	}
	c.times.readSchema(c.spec.Schema)
	c.keepEnds()
	c.wrapCalls()
	return c
}

// keepEnds keeps the program's initializer from ending a stream.
func (c *config) keepEnds() {
	if c.initialize != nil && !c.connectGo {
		c.initialize = endless(c.initialize)
	}
}

// newClientConfig returns the settings of a client. If it returns an error, every
// call of the client returns that error.
func newClientConfig(client HTTPClient, rawURL string, options []ClientOption) (*config, error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	c := newConfig(u.Path)
	c.spec.IsClient = true
	c.http, c.url = client, u
	for _, option := range options {
		option.applyToClient(c)
	}
	c.times.readSchema(c.spec.Schema)
	if client == nil {
		return nil, errorf(CodeInvalidArgument, "HTTP client is nil: use http.DefaultClient or another")
	}
	if c.codec.Name() == "" {
		return nil, errorf(CodeUnknown, "codec %T has no name", c.codec)
	}
	if err := c.compressions.sort(); err != nil {
		return nil, NewError(CodeUnknown, err)
	}
	send, ok := c.compressions.sent(c.sendName)
	if !ok {
		return nil, errorf(CodeUnknown, "unknown compression %q: register it with WithAcceptCompression", c.sendName)
	}
	c.send = send
	c.heeds = heedsContext(client)
	c.peer = Peer{Addr: u.Host, Protocol: c.protocol}
	if u.Scheme == "https" {
		c.peer.tls = tlsToCome
	}
	switch c.protocol {
	case ProtocolGRPC:
		c.dialect, c.streams = dialectGRPC, dialectGRPC
	case ProtocolGRPCWeb:
		c.dialect, c.streams = dialectWeb, dialectWeb
	default:
		c.dialect, c.streams = dialectUnary, dialectStream
	}
	c.header, c.streamHead = c.requestHeader(c.dialect), c.requestHeader(c.streams)
	c.pairs = pairsOf(c.header)
	c.keepEnds()
	c.wrapCalls()
	return c, nil
}

// requestHeader returns the headers that all requests in a dialect have.
func (c *config) requestHeader(d *dialect) http.Header {
	hd := head{contentType: []string{d.contentType(c.codec.Name())}, accept: c.compressions.accept}
	if d.framed && c.send != nil {
		hd.encoding = c.send.value // an unframed request has the header only if its message is compressed
	}
	h := make(http.Header)
	h[headerUserAgent] = d.userAgent
	d.writeHead(headerWriter(h), hd)
	d.writeRequest(h, hd)
	return h
}

// addCodec adds a codec to those of a handler, and makes it the codec of a client.
func (c *config) addCodec(codec Codec) {
	if codec == nil || codec.Name() == "" {
		return
	}
	c.codecs[codec.Name()] = codec
	c.codec = codec
}

// parseURL returns the URL of a procedure.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.ParseRequestURI(raw)
	if err == nil && u.Opaque == "" {
		return u, nil
	}
	if err == nil || !strings.Contains(raw, "://") { // the scheme of "localhost:8080/a" is "localhost"
		return nil, errorf(CodeUnavailable, "URL %q has no scheme: write http:// or https:// before the host", withoutSecrets(raw))
	}
	return nil, errorf(CodeUnavailable, "URL %q: %w", withoutSecrets(raw), withoutURL(err))
}

// procedurePath returns the last two segments of a path: "/service/method". A path
// without a service is "/", and one without a method "/service".
func procedurePath(path string) string {
	service, method := path, ""
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		service, method = path[:i], path[i+1:]
		service = service[strings.LastIndexByte(service, '/')+1:]
	}
	switch {
	case service == "":
		return "/"
	case method == "":
		return "/" + service
	}
	return "/" + service + "/" + method
}

// heedsContext reports whether Do is sure to return when the request's context
// ends: for net/http's own client with its own transport, or with one whose method
// HeedsContext returns true, such as that of package h2.
func heedsContext(client HTTPClient) bool {
	c, ok := client.(*http.Client)
	if !ok {
		return false
	}
	switch t := c.Transport.(type) {
	case nil, *http.Transport:
		return true
	case interface {
		HeedsContext(self http.RoundTripper) bool
	}:
		return t.HeedsContext(c.Transport)
	}
	return false
}
