// SPDX-License-Identifier: Apache-2.0

// The server: how an http.Server hands its connections over, and what one is
// from its first to its last byte.

package h2

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/flow"
	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// The keys with which net/http finds another HTTP/2 implementation.
const (
	nextProtoTLS         = "h2"
	nextProtoUnencrypted = "unencrypted_http2"
)

// A ServerConfig holds what an [http.Server] has no field for. The zero value is
// a good choice.
type ServerConfig struct {
	// FirstRequestTimeout is how long a connection may take from being accepted
	// to the head of its first request, the TLS handshake included. Zero means 10
	// seconds, a negative value no limit. A user who sets the server's ConnContext
	// does so before ConfigureServer, which adds to it.
	FirstRequestTimeout time.Duration

	// ControlBurst and ControlRate bound the frames that cost a peer nothing and
	// the server something: streams that end early, PING, SETTINGS, DATA without
	// data, PRIORITY, and WINDOW_UPDATE that do not go with DATA. Of each kind a
	// connection may carry ControlBurst at once and ControlRate more per second;
	// then it ends with ENHANCE_YOUR_CALM. Zero means 1000 and 100.
	ControlBurst, ControlRate int
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
// cleartext with prior knowledge. HTTP/1.1 stays with net/http. It is called
// before the server serves, and after its other fields are set; a nil config
// means defaults. If server.Protocols is nil, HTTP/1.1 and both kinds of HTTP/2
// are enabled; if it has neither kind, that is an error. With GODEBUG=http2server=0,
// which turns net/http's HTTP/2 off, ConfigureServer does nothing.
//
// What http.Server has fields for is taken from there: HTTP2 with its limits,
// MaxHeaderBytes (zero means 64 KiB here), IdleTimeout (zero means ReadTimeout,
// and without that 5 minutes), ReadTimeout, WriteTimeout, ErrorLog, ConnState,
// BaseContext and ConnContext. Shutdown ends connections gracefully: streams that
// were accepted run to their end. HTTP2.CountError is told "conn_" or "stream_" and
// the code in lower case of what peers do wrong, as in "stream_refused_stream".
//
// A timeout that is negative is none. HTTP2.WriteByteTimeout is how long a client may
// take nothing of what there is to write, 30 seconds if it is zero; it may take up to
// twice that until the connection ends.
//
// Extended CONNECT [RFC 8441] is refused; plain CONNECT reaches the handler, as in
// net/http. Server push is not offered. Where a handler sees something else than with
// net/http's own HTTP/2:
//
//   - [http.Server.SetKeepAlivesEnabled] has no effect on HTTP/2: net/http shows it to
//     its own implementation only. [http.Server.Shutdown] does what it is used for.
//   - A response that is shorter than its Content-Length ends with a reset, after what
//     there is of it: net/http leaves it to the client to count.
//   - No Content-Length is sent by itself where trailers follow, and up to 16 KiB of a
//     body, instead of 4, are sent with one.
//   - The path "*" is for OPTIONS only [RFC 9113, section 8.3.1].
//   - Methods of the ResponseWriter fail, and do not panic, after the handler's return.
//   - Request.RemoteAddr is "unknown" if the connection has no address.
func ConfigureServer(server *http.Server, config *ServerConfig) error {
	if server == nil {
		return errors.New("h2: ConfigureServer: nil server")
	}
	if p := server.Protocols; p != nil && !p.HTTP2() && !p.UnencryptedHTTP2() {
		return errors.New("h2: ConfigureServer: the server's Protocols have no HTTP/2: set HTTP2 for TLS, UnencryptedHTTP2 for cleartext, or leave Protocols nil")
	}
	if switchedOff(switchServer) {
		return nil
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
			// For the handshake and the preface, which net/http reads.
			_ = nc.SetReadDeadline(now.Add(e.config.FirstRequestTimeout))
			return context.WithValue(ctx, acceptedKey{}, now)
		}
	}
	server.RegisterOnShutdown(e.shutdown)
	return nil
}

// acceptedKey is the key of a connection's context for when it was accepted.
type acceptedKey struct{}

// An engine is what all connections of one http.Server share.
type engine struct {
	config     ServerConfig
	mu         sync.Mutex
	conns      map[*serverConn]struct{}
	isShutDown bool // Shutdown was called

	monitor monitor
	idle    idleWorkers
}

func (e *engine) logf(server *http.Server, format string, args ...any) {
	if server.ErrorLog != nil {
		server.ErrorLog.Printf(format, args...)
	} else {
		log.Printf(format, args...)
	}
}

// shutdown begins the graceful end of all connections.
func (e *engine) shutdown() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.isShutDown = true
	for c := range e.conns {
		go c.drain()
	}
}

// serve runs one connection to its end. greeted says that net/http has read the
// client's preface.
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
		l.maxHeaderList = headerBytes
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
		l.connWindow = n
	}
	if n := standard.MaxReceiveBufferPerStream; n > 0 {
		l.maxStreamWindow = n
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
	template    *http.Request // what all requests have in common
	directCalls bool          // the handler may take direct calls
	lookUps     lookUps       // of their handlers
	workers     workers
	inline
	ended chan struct{} // has room for one: nobody reads any more

	stateMu   sync.Mutex     // held while ConnState runs; taken before mu
	lastState http.ConnState // what ConnState was told last

	idleFor     time.Duration // a connection without streams lives; 0 or less: for ever
	firstTimer  *time.Timer   // nil without ServerConfig.FirstRequestTimeout
	idleTimer   *time.Timer   // nil without idleFor
	healthTimer *time.Timer   // nil without HTTP2Config.SendPingTimeout

	// Guarded by conn.mu.
	handlers   int // streams whose handler has not returned, reset or not
	idleSince  time.Time
	draining   bool   // a first GOAWAY was sent
	lastStream uint32 // after the second: streams beyond are ignored
}

func (e *engine) newServerConn(server *http.Server, nc net.Conn, handler http.Handler) *serverConn {
	l := limitsOf(server.HTTP2, server.MaxHeaderBytes)
	l.maxStreams = defaultStreams
	if standard := server.HTTP2; standard != nil && standard.MaxConcurrentStreams > 0 {
		l.maxStreams = uint32(standard.MaxConcurrentStreams)
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

// run serves the connection until it ends.
func (c *serverConn) run(greeted, down bool) {
	stop := context.AfterFunc(c.ctx, c.baseDone)
	defer stop()
	if hook := c.server.ConnState; hook != nil {
		hook(c.nc, http.StateActive)
	}
	c.reportState()
	c.startTimers()
	if err := c.greetClient(greeted, down); err != nil {
		c.end(err)
		return
	}
	c.serveFrames()
	<-c.ended
}

// end ends the connection when nothing more is read, because of err.
func (c *serverConn) end(err error) {
	c.finish(err)
	c.stopTimers()
	c.workers.end()
	signal(c.ended)
}

func (c *serverConn) greetClient(greeted, down bool) error {
	if !c.tlsAllowed() {
		return violated(ErrCodeInadequateSecurity, "want TLS 1.2 or later and a cipher suite that HTTP/2 allows")
	}
	c.greet("")
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

// suitable reports whether the connection's TLS may carry HTTP/2.
// [RFC 9113, section 9.2 and appendix A]
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

// tellState tells the server's ConnState whether there are streams, if that has
// changed. Without mu: it runs code of the user.
func (c *serverConn) reportState() {
	hook := c.server.ConnState
	if hook == nil {
		return
	}
	c.stateMu.Lock()
	defer c.stateMu.Unlock()
	state := http.StateIdle
	c.mu.Lock()
	if c.handlers > 0 {
		state = http.StateActive
	}
	c.mu.Unlock()
	if state != c.lastState {
		c.lastState = state
		hook(c.nc, state)
	}
}

// ---- side ----

func (c *serverConn) settingsChangedLocked() {}

func (c *serverConn) goAway(uint32, ErrCode, string) {
	// The client begins no streams any more; those that are open go on.
}

func (c *serverConn) connEndedLocked(error) {}

// start starts the handlers of new requests that were not started inline.
func (c *serverConn) startHandlers() {
	for i, s := range c.starts {
		if s != nil {
			c.starts[i] = nil
			s.start()
		}
	}
	c.starts = c.starts[:0]
}

// batchEnded runs the handlers that are likely to be quick.
func (c *serverConn) batchEnded() bool { return len(c.starts) == 0 || c.startInline() }

// headers opens a stream, or ends one with trailers.
func (c *serverConn) headers(s *stream, id uint32, end bool) error {
	if s != nil {
		return s.user.(*serverStream).trailers(&c.rd.fields, end)
	}
	first, err := c.openStream(id, end)
	if first {
		if c.firstTimer != nil {
			c.firstTimer.Stop()
		}
		c.reportState()
	}
	return err
}

// openStream makes a stream for the request in c.rd.fields. It reports whether it is
// the only one.
func (c *serverConn) openStream(id uint32, end bool) (first bool, err error) {
	f := &c.rd.fields
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case id <= c.table.maxID && c.table.recentlyResetLocked(id):
		return false, nil // it was under way
	case id <= c.table.maxID:
		return false, violated(ErrCodeStreamClosed, "HEADERS on stream %d, which is closed", id)
	case id > c.lastStream:
		return false, nil // after the last GOAWAY; the client may try elsewhere
	}
	c.table.maxID = id
	if f.Bad == nil {
		f.CheckRequest(end)
	}
	switch {
	case f.Bad != nil:
		c.answerBadRequestLocked(id)
		return false, c.rejectLocked(id, ErrCodeProtocol, f.Bad)
	case c.handlers >= int(c.limits.maxStreams):
		return false, c.rejectLocked(id, ErrCodeRefusedStream, errors.New("too many streams"))
	}
	r := newServerStreamLocked(c, id, f, end)
	c.handlers++
	c.writer.inFlight++
	c.starts = append(c.starts, r)
	return c.handlers == 1, nil
}

// sayBadRequest answers a malformed request before it is reset: some clients,
// net/http's too, repeat a request for ever that is only reset.
// [RFC 9113, section 8.1.1] With conn.mu held.
func (c *serverConn) answerBadRequestLocked(id uint32) {
	at := c.beginFieldsLocked()
	c.fieldLocked(":status", "400")
	c.endFieldsLocked(at, id, true)
}

// returned counts a handler that has returned. With conn.mu held.
func (c *serverConn) handlerReturnedLocked() {
	c.writer.inFlight--
	if c.handlers--; c.handlers == 0 {
		c.idleSince = time.Now()
	}
}

// drained reports whether the connection has nothing left to do. With conn.mu
// held.
func (c *serverConn) drainedLocked() bool {
	return c.handlers == 0 && c.draining && c.lastStream != wire.StreamIDMax && c.err == nil
}
