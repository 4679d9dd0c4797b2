// SPDX-License-Identifier: Apache-2.0

// The server: ConfigureServer, and a connection from its first byte to its last.
//
// Invariants. An engine has the connections of one http.Server that are not over;
// engine.mu guards them and is taken before conn.mu. net/http's goroutine returns when
// the connection is over and not before: net/http then closes it.

package h2

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/flow"
	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// The keys of TLSNextProto under which net/http looks for an HTTP/2 implementation.
const (
	nextProtoTLS         = "h2"
	nextProtoUnencrypted = "unencrypted_http2"
)

// A ServerConfig has the settings that an [http.Server] has no field for. The zero value
// is a good choice.
type ServerConfig struct {
	// FirstRequestTimeout is how long a connection may take from being accepted to the
	// head of its first request, the TLS handshake included. Zero means 10 seconds, a
	// negative value no limit. ConfigureServer sets the server's ConnContext for it, and
	// calls the one that was there before: a program sets its own first.
	FirstRequestTimeout time.Duration

	// ControlBurst and ControlRate bound events that cost a peer little and the server
	// more: streams that end prematurely, PING, SETTINGS, DATA frames without data,
	// PRIORITY and frames of unknown types, and WINDOW_UPDATE, less those PINGs and
	// WINDOW_UPDATEs for which the server's own frames account. A connection may carry
	// ControlBurst of each kind at once, and ControlRate more per second; beyond, it
	// ends with ENHANCE_YOUR_CALM [RFC 9113, section 10.5]. Zero or a negative value
	// means 1000 and 100.
	ControlBurst, ControlRate int

	// MaxConnAge is how long a connection may last before it ends gracefully, as with
	// [http.Server.Shutdown]: the client opens another one, which a balancer may place on
	// another server. Up to a tenth more or less is random for each connection. Zero or a
	// negative value means no limit. [gRPC A9]
	MaxConnAge time.Duration
	// MaxConnAgeGrace is how long the streams that are open at MaxConnAge may take to
	// end. Then the connection is closed, and they fail. Zero or a negative value means
	// no limit.
	MaxConnAgeGrace time.Duration
}

const (
	defaultFirstRequest = 10 * time.Second
	defaultIdle         = 5 * time.Minute
	defaultWriteTimeout = 30 * time.Second
	defaultStreams      = 250
	defaultHeaderList   = 64 << 10
	defaultFrame        = 256 << 10
	defaultTable        = 4096
	defaultBurst        = 1000
	defaultRate         = 100
	streamWindowStart   = 256 << 10
	streamWindowMax     = 4 << 20
	connWindowDefault   = 8 << 20
	defaultPingTimeout  = 15 * time.Second
	drainPingWait       = time.Second // for the PING between the two GOAWAYs of a graceful end
)

// ConfigureServer makes server speak HTTP/2 with this package: over TLS, and over
// cleartext with prior knowledge [RFC 9113, section 3.3]. HTTP/1.1 stays with net/http.
// Call it before the server serves, and after its other fields are set; it is not safe
// for concurrent use. A nil config means defaults. If server.Protocols is nil, HTTP/1.1
// and both kinds of HTTP/2 are enabled; it is an error if they have neither kind, or if
// server is nil. With GODEBUG=http2server=0, which turns net/http's HTTP/2 off,
// ConfigureServer does nothing and returns nil.
//
// The fields of http.Server apply: HTTP2 with its limits, MaxHeaderBytes (zero means 64
// KiB here), IdleTimeout (zero means ReadTimeout, and 5 minutes if that is zero, too),
// ReadTimeout and WriteTimeout for each request, ErrorLog, ConnState, BaseContext and
// ConnContext. A negative IdleTimeout, ReadTimeout or WriteTimeout means no limit.
// HTTP2.MaxConcurrentStreams is 250 if it is zero. HTTP2.WriteByteTimeout is how long a
// client may take none of the bytes that wait for it, 30 seconds if it is zero or
// negative; up to twice that may pass until the connection ends. HTTP2.CountError gets
// "conn_" or "stream_" and a code in lower case, as in "stream_refused_stream", for each
// error of a peer.
//
// [http.Server.Shutdown] ends connections gracefully: streams that were accepted run to
// their end. [RFC 9113, section 6.8]
//
// Extended CONNECT [RFC 8441] is refused; plain CONNECT reaches the handler, as in
// net/http. There is no server push. A handler sees these differences to net/http's own
// HTTP/2:
//
//   - [http.Server.SetKeepAlivesEnabled] has no effect on HTTP/2: net/http offers it to
//     its own implementation only. Use [http.Server.Shutdown].
//   - A response that is shorter than its Content-Length is sent as far as it goes and
//     then reset; net/http leaves it to the client to count.
//   - No Content-Length is added where trailers follow. Otherwise one is added to
//     bodies of up to 16 KiB, instead of 4 KiB, that are not flushed.
//   - The path "*" is for OPTIONS only [RFC 9113, section 8.3.1].
//   - Methods of the ResponseWriter fail, and do not panic, after the handler has
//     returned.
//   - Request.RemoteAddr is "unknown" if the connection has no address.
func ConfigureServer(server *http.Server, config *ServerConfig) error {
	_, err := configure("ConfigureServer", server, config)
	return err
}

// configure is ConfigureServer, for a function of that name. It returns no engine if
// HTTP/2 is switched off.
func configure(function string, server *http.Server, config *ServerConfig) (*engine, error) {
	if server == nil {
		return nil, fmt.Errorf("h2: %s: nil server", function)
	}
	if p := server.Protocols; p != nil && !p.HTTP2() && !p.UnencryptedHTTP2() {
		return nil, fmt.Errorf("h2: %s: the server's Protocols have no HTTP/2: set HTTP2 for TLS, UnencryptedHTTP2 for cleartext, or leave Protocols nil", function)
	}
	if switchedOff(switchServer) {
		return nil, nil
	}
	if config == nil {
		config = new(ServerConfig)
	}
	e := &engine{config: *config, conns: make(map[*serverConn]struct{})}
	if e.config.FirstRequestTimeout == 0 {
		e.config.FirstRequestTimeout = defaultFirstRequest
	}
	if server.Protocols == nil {
		server.Protocols = new(http.Protocols)
		server.Protocols.SetHTTP1(true)
		server.Protocols.SetHTTP2(true)
		server.Protocols.SetUnencryptedHTTP2(true)
	}
	if server.TLSConfig == nil {
		server.TLSConfig = new(tls.Config)
	}
	for _, proto := range []string{nextProtoTLS, "http/1.1"} {
		if !slices.Contains(server.TLSConfig.NextProtos, proto) {
			server.TLSConfig.NextProtos = append(server.TLSConfig.NextProtos, proto)
		}
	}
	if server.TLSNextProto == nil {
		server.TLSNextProto = make(map[string]func(*http.Server, *tls.Conn, http.Handler))
	}
	server.TLSNextProto[nextProtoTLS] = func(server *http.Server, nc *tls.Conn, handler http.Handler) {
		e.serve(server, nc, handler, false)
	}
	server.TLSNextProto[nextProtoUnencrypted] = func(server *http.Server, nc *tls.Conn, handler http.Handler) {
		inner, ok := nc.NetConn().(interface{ UnencryptedNetConn() net.Conn })
		if !ok {
			e.logf(server, "h2: got a TLS connection where a cleartext one was expected")
			return
		}
		e.serve(server, inner.UnencryptedNetConn(), handler, true)
	}
	if e.config.FirstRequestTimeout > 0 {
		before := server.ConnContext
		server.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
			if before != nil {
				ctx = before(ctx, nc)
			}
			now := time.Now()
			// Bounds the TLS handshake and the preface, which net/http reads.
			_ = nc.SetReadDeadline(now.Add(e.config.FirstRequestTimeout))
			return context.WithValue(ctx, acceptedKey{}, now)
		}
	}
	server.RegisterOnShutdown(e.shutdown)
	return e, nil
}

// acceptedKey is the key under which a connection's context has the time.Time when the
// connection was accepted.
type acceptedKey struct{}

// An engine has what the connections of one http.Server share. mu guards conns and
// isShutDown.
type engine struct {
	config     ServerConfig
	mu         sync.Mutex
	conns      map[*serverConn]struct{}
	isShutDown bool // Shutdown has begun

	monitor monitor
	idle    idleWorkers
}

// logf writes to the server's ErrorLog, or to the standard logger.
func (e *engine) logf(server *http.Server, format string, args ...any) {
	if server.ErrorLog != nil {
		server.ErrorLog.Printf(format, args...)
	} else {
		log.Printf(format, args...)
	}
}

// logPanic logs a panic with the stack of the calling goroutine, in net/http's words.
func (c *serverConn) logPanic(v any) {
	stack := make([]byte, 64<<10)
	stack = stack[:runtime.Stack(stack, false)]
	c.engine.logf(c.server, "h2: panic serving %v: %v\n%s", c.template.RemoteAddr, v, stack)
}

// shutdown begins the graceful end of all connections. It does not wait for it.
func (e *engine) shutdown() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.isShutDown = true
	for c := range e.conns {
		go c.drain()
	}
}

// serve runs one connection to its end. greeted is set if net/http has read the client's
// preface.
func (e *engine) serve(server *http.Server, nc net.Conn, handler http.Handler, greeted bool) {
	c := e.newServerConn(server, nc, handler)
	e.mu.Lock()
	e.conns[c] = struct{}{}
	down := e.isShutDown
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		delete(e.conns, c)
		e.mu.Unlock()
	}()
	c.run(greeted, down)
}

// limitsOf returns the limits that an http.HTTP2Config asks for, with defaults where it
// asks for none. headerBytes bounds a field section if it is positive.
func limitsOf(standard *http.HTTP2Config, headerBytes int) limits {
	l := limits{
		maxFrame:        defaultFrame,
		maxHeaderList:   defaultHeaderList,
		decoderTable:    defaultTable,
		encoderTable:    defaultTable,
		streamWindow:    streamWindowStart,
		maxStreamWindow: streamWindowMax,
		connWindow:      connWindowDefault,
		writeTimeout:    defaultWriteTimeout,
		burst:           defaultBurst,
		rate:            defaultRate,
	}
	if headerBytes > 0 {
		l.maxHeaderList = min(headerBytes, headerBytesMost)
	}
	if standard == nil {
		return l
	}
	if n := standard.MaxReadFrameSize; n >= wire.FrameSizeMin && n <= wire.FrameSizeMax {
		l.maxFrame = n
	}
	if n := standard.MaxDecoderHeaderTableSize; n > 0 && n < 4<<20 {
		l.decoderTable = uint32(n)
	}
	if n := standard.MaxEncoderHeaderTableSize; n > 0 && n < 4<<20 {
		l.encoderTable = uint32(n)
	}
	if n := standard.MaxReceiveBufferPerConnection; n >= flow.Start {
		l.connWindow = min(n, flow.Max)
	}
	if n := standard.MaxReceiveBufferPerStream; n > 0 {
		l.maxStreamWindow = min(n, flow.Max)
		l.streamWindow = min(l.streamWindow, n)
	}
	if standard.WriteByteTimeout > 0 {
		l.writeTimeout = standard.WriteByteTimeout
	}
	l.countError = standard.CountError
	return l
}

// A serverConn is the server's end of a connection.
type serverConn struct {
	*conn
	engine      *engine
	server      *http.Server
	handler     http.Handler
	ctx         context.Context
	template    *http.Request // copied for each request
	directCalls bool          // the server's handler may be a directHandler, or a mux of such
	lookUps     lookUps       // finds the handlers of direct calls
	workers     workers
	inline
	ended chan struct{} // has room for one: a value when nothing more is read

	stateMu   sync.Mutex     // held while ConnState runs; taken before conn.mu
	lastState http.ConnState // the last argument of ConnState

	idleFor     time.Duration // how long a connection without streams lives; 0 or less: for ever
	firstTimer  *time.Timer   // nil without ServerConfig.FirstRequestTimeout
	idleTimer   *time.Timer   // nil without idleFor
	healthTimer *time.Timer   // nil without HTTP2Config.SendPingTimeout
	ageTimer    *time.Timer   // nil without ServerConfig.MaxConnAge

	// Guarded by conn.mu.
	handlers    int    // streams whose handler has not returned, also reset ones
	abandoned   int    // of these: their clients have reset them, and that cost no token
	unseen      bucket // refusals because of abandoned handlers
	idleSince   time.Time
	old         bool   // older than MaxConnAge
	hasGreeted  bool   // our SETTINGS are written, which come before any other frame
	drainsLater bool   // the graceful end begins then
	draining    bool   // a first GOAWAY was sent
	lastStream  uint32 // the last stream that is accepted, once the final GOAWAY has named it
}

func (e *engine) newServerConn(server *http.Server, nc net.Conn, handler http.Handler) *serverConn {
	l := limitsOf(server.HTTP2, server.MaxHeaderBytes)
	l.maxStreams = defaultStreams
	if standard := server.HTTP2; standard != nil && standard.MaxConcurrentStreams > 0 {
		l.maxStreams = uint32(min(standard.MaxConcurrentStreams, wire.StreamIDMax))
	}
	if e.config.ControlBurst > 0 {
		l.burst = e.config.ControlBurst
	}
	if e.config.ControlRate > 0 {
		l.rate = e.config.ControlRate
	}
	c := &serverConn{
		conn:       newConn(nc, l),
		engine:     e,
		server:     server,
		handler:    handler,
		ctx:        context.Background(),
		lastStream: wire.StreamIDMax,
		idleFor:    defaultIdle,
		ended:      make(chan struct{}, 1),
	}
	c.side = c
	c.workers.idle = &e.idle
	if base, ok := handler.(interface{ BaseContext() context.Context }); ok {
		c.ctx = base.BaseContext()
	}
	if server.IdleTimeout != 0 {
		c.idleFor = server.IdleTimeout
	} else if server.ReadTimeout != 0 {
		c.idleFor = server.ReadTimeout
	}
	c.directCalls = ofStandard(handler) && takesDirect(server)
	c.template = &http.Request{Proto: "HTTP/2.0", ProtoMajor: 2}
	c.template.RemoteAddr = "unknown" // net/http's handler would ask nc itself for an empty one
	if remote := nc.RemoteAddr(); remote != nil {
		c.template.RemoteAddr = remote.String()
	}
	if t, ok := nc.(*tls.Conn); ok {
		state := t.ConnectionState()
		c.template.TLS = &state
	}
	return c
}

// run serves the connection until it ends. A hook of the program that panics, or ends its
// goroutine, ends the connection, too: net/http then recovers.
func (c *serverConn) run(greeted, down bool) {
	stop := context.AfterFunc(c.ctx, c.baseDone)
	defer stop()
	returned := false
	defer func() {
		if !returned {
			c.hookFailed()
		}
	}()
	if hook := c.server.ConnState; hook != nil {
		hook(c.nc, http.StateActive)
	}
	c.reportState()
	c.startTimers()
	if err := c.greetClient(greeted, down); err != nil {
		c.end(err)
	} else {
		c.serveFrames()
	}
	returned = true
	<-c.ended
}

// end ends the connection after the last read, whose error is err.
func (c *serverConn) end(err error) {
	c.finish(err)
	c.closed()
}

// closed frees what a connection has that is over, and has run return.
func (c *serverConn) closed() {
	c.stateMu.Lock()
	c.lastState = http.StateClosed // reported by the goroutine that closes nc, and the last one
	c.stateMu.Unlock()
	c.stopTimers()
	c.workers.end()
	signal(c.ended)
}

// greetClient sends our SETTINGS and reads the client's preface, if net/http has not.
// [RFC 9113, section 3.4]
func (c *serverConn) greetClient(greeted, down bool) error {
	if !c.tlsAllowed() {
		return violated(ErrCodeInadequateSecurity, "want TLS 1.2 or later and a cipher suite that HTTP/2 allows")
	}
	c.greet("")
	c.mu.Lock()
	c.hasGreeted = true
	down = down || c.drainsLater
	c.mu.Unlock()
	if down {
		go c.drain()
	}
	if greeted {
		return nil
	}
	preface := make([]byte, len(wire.ClientPreface))
	if _, err := io.ReadFull(&c.rd.in, preface); err != nil {
		return err
	}
	if string(preface) != wire.ClientPreface {
		return violated(ErrCodeProtocol, "the client's preface is not that of HTTP/2")
	}
	return nil
}

// tlsAllowed reports whether HTTP/2 may use the connection's version of TLS and cipher
// suite. [RFC 9113, section 9.2 and appendix A]
func (c *serverConn) tlsAllowed() bool {
	state := c.template.TLS
	if state == nil || state.Version >= tls.VersionTLS13 {
		return true
	}
	if state.Version < tls.VersionTLS12 {
		return false
	}
	if standard := c.server.HTTP2; standard != nil && standard.PermitProhibitedCipherSuites {
		return true
	}
	switch state.CipherSuite {
	case tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256:
		return true
	}
	return false
}
