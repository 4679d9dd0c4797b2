// SPDX-License-Identifier: Apache-2.0

// This file holds the modes that a test runs over, and the sites: a site is a server
// with its clients in one mode.

package conntest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
)

// --- modes ---

// A mode is one cell of the matrix. Its fields are for the clients of a site; every
// site serves all protocols, codecs and compressions.
type mode struct {
	protocol    string // connect, grpc or grpcweb
	codec       string // proto, json or flip
	engine      engine
	compression string // identity, gzip or one more
	// bubble is true if the test runs inside a synctest bubble: on a network in
	// memory, with a clock that jumps when all goroutines wait.
	bubble bool
}

var (
	protocols = []string{"connect", "grpc", "grpcweb"}
	codecs    = []string{"proto", "json", "flip"}
)

func (m mode) String() string {
	return m.protocol + "/" + m.codec + "/" + m.engine.name + "/" + m.compression
}

// peerProtocol is the mode's protocol as connect.Peer names it.
func (m mode) peerProtocol() string {
	switch m.protocol {
	case "grpc":
		return connect.ProtocolGRPC
	case "grpcweb":
		return connect.ProtocolGRPCWeb
	}
	return connect.ProtocolConnect
}

// allModes is the full matrix: protocol × codec × engine × {identity, gzip, one
// more}. The third compression changes from cell to cell, so that each of them
// meets each protocol, codec and engine somewhere. An engine with part set has one
// compression for each protocol and codec. With the race detector an engine has one codec
// for each protocol, as goroutines are the same for all of them; h2c has the whole matrix,
// and direct-h2c all codecs.
func allModes() []mode {
	var modes []mode
	for p, protocol := range protocols {
		for c, codec := range codecs {
			for e, engine := range engines {
				if !wholeMatrix && c != (p+e)%len(codecs) && engine.name != "h2c" && engine.name != "direct-h2c" {
					continue
				}
				third := extraCompressions[(p+c+e)%len(extraCompressions)].name
				for i, compression := range []string{"identity", "gzip", third} {
					part := engine.part || !wholeMatrix && engine.name != "h2c"
					if part && i != (p+c+e)%3 {
						continue
					}
					modes = append(modes, mode{protocol: protocol, codec: codec, engine: engine, compression: compression})
				}
			}
		}
	}
	return modes
}

// fewModes is protocol × engine; codec and compression change from cell to
// cell. It is for tests whose subject does not touch the bytes of a message.
func fewModes() []mode {
	var modes []mode
	for p, protocol := range protocols {
		for e, engine := range engines {
			third := extraCompressions[(p+e)%len(extraCompressions)].name
			modes = append(modes, mode{
				protocol:    protocol,
				codec:       codecs[(p+e)%len(codecs)],
				engine:      engine,
				compression: []string{"identity", "gzip", third}[(p+2*e)%3],
			})
		}
	}
	return modes
}

// A filter reports whether a test runs in a mode.
type filter func(mode) bool

func duplex(m mode) bool    { return m.engine.duplex }
func inConnect(m mode) bool { return m.protocol == "connect" }

// overNetwork leaves out the rows without connections, for tests of these.
func overNetwork(m mode) bool { return !m.engine.inprocess }

// run runs a test in every mode, in parallel.
func run(t *testing.T, test func(*testing.T, mode), filters ...filter) {
	t.Helper()
	t.Parallel()
	runModes(t, allModes(), test, filters)
}

// runFew runs a test over every protocol and engine, in parallel.
func runFew(t *testing.T, test func(*testing.T, mode), filters ...filter) {
	t.Helper()
	t.Parallel()
	runModes(t, fewModes(), test, filters)
}

// runAlone runs a test over every protocol and engine while no other test runs.
func runAlone(t *testing.T, test func(*testing.T, mode)) {
	t.Helper()
	for _, m := range fewModes() {
		t.Run(m.String(), func(t *testing.T) { test(t, m) })
	}
}

func runModes(t *testing.T, modes []mode, test func(*testing.T, mode), filters []filter) {
	t.Helper()
	for _, m := range modes {
		if slices.ContainsFunc(filters, func(f filter) bool { return !f(m) }) {
			continue
		}
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			test(t, m)
		})
	}
}

// runTimed runs a test about time over every protocol and engine: in a bubble
// where the engine works in memory, elsewhere in real time. Real time decides how
// long the test takes, and not its result.
func runTimed(t *testing.T, test func(*testing.T, mode), filters ...filter) {
	t.Helper()
	t.Parallel()
	identity() // not inside a bubble
	runModes(t, fewModes(), func(t *testing.T, m mode) {
		if !m.engine.memory {
			test(t, m)
			return
		}
		synctest.Test(t, func(t *testing.T) {
			m.bubble = true
			test(t, m)
		})
	}, filters)
}

// short is a time that a test can wait. Within it a call should reach the point that
// the test is about; if it does not, the result must be the same.
func (m mode) short() time.Duration {
	if m.bubble {
		return 10 * time.Second
	}
	return 100 * time.Millisecond
}

// --- sites ---

// A site is a served TestService and the way to reach it.
type site struct {
	mode      mode
	url       string
	transport http.RoundTripper
	close     func()
}

// A siteOption changes how a mode serves.
type siteOption func(*siteConfig)

type siteConfig struct {
	alone   bool
	options []connect.HandlerOption
	wrap    func(http.Handler) http.Handler
}

// alone gives the site a server and a transport of its own, for tests that
// break connections, block their flow control or count them.
func alone(c *siteConfig) { c.alone = true }

// handlerOptions adds options to all handlers of the site.
func handlerOptions(options ...connect.HandlerOption) siteOption {
	return func(c *siteConfig) { c.options = append(c.options, options...) }
}

// wrapped puts middleware around the site.
func wrapped(wrap func(http.Handler) http.Handler) siteOption {
	return func(c *siteConfig) { c.wrap = wrap }
}

// serve starts the service in this mode until the test ends.
func (m mode) serve(t *testing.T, service conntestv1connect.TestServiceHandler, options ...siteOption) *site {
	t.Helper()
	_, handler := conntestv1connect.NewTestServiceHandler(service, m.handlerOptions(options...)...)
	return m.serveHTTP(t, handler, options...)
}

// handlerOptions are what a handler needs to understand all modes, followed by
// the options of the test.
func (m mode) handlerOptions(options ...siteOption) []connect.HandlerOption {
	var config siteConfig
	for _, option := range options {
		option(&config)
	}
	all := []connect.HandlerOption{
		connect.WithCodec(flipCodec{}),
		connect.WithCompressMinBytes(0), // the messages of the tests are small
	}
	for _, c := range extraCompressions {
		all = append(all, c.option(m))
	}
	return append(all, config.options...)
}

// serveHTTP starts any handler on the mode's engine until the test ends.
func (m mode) serveHTTP(t *testing.T, handler http.Handler, options ...siteOption) *site {
	t.Helper()
	var config siteConfig
	for _, option := range options {
		option(&config)
	}
	if config.wrap != nil {
		handler = config.wrap(handler)
	}
	if m.bubble || config.alone || m.engine.single {
		var network network = loopback{}
		if m.bubble {
			network = newMemoryNetwork()
		}
		server, err := m.engine.start(handler, network)
		if err != nil {
			t.Fatalf("start %s: %v", m.engine.name, err)
		}
		closeOnce := sync.OnceFunc(func() {
			server.close()
			if m.bubble {
				// net/http/server.go: a connection lingers for half a second
				// after its last response (rstAvoidanceDelay).
				time.Sleep(time.Second)
			}
		})
		t.Cleanup(closeOnce)
		return &site{mode: m, url: server.url, transport: server.transport, close: closeOnce}
	}
	shared := sharedHost(t, m.engine)
	prefix, remove := shared.mount(handler)
	t.Cleanup(remove)
	return &site{mode: m, url: shared.server.url + prefix, transport: shared.server.transport, close: remove}
}

// httpClient is the transport as an HTTP client that follows no redirects.
func (s *site) httpClient() *http.Client { return &http.Client{Transport: s.transport} }

// client makes a client that speaks the mode's protocol, codec and compression.
func (s *site) client(options ...connect.ClientOption) conntestv1connect.TestServiceClient {
	return s.clientOn(s.httpClient(), options...)
}

// clientOn is client with another HTTP client.
func (s *site) clientOn(doer connect.HTTPClient, options ...connect.ClientOption) conntestv1connect.TestServiceClient {
	options = s.mode.clientOptions(options...)
	if balancer, ok := s.transport.(*balance.Balancer); ok {
		options = append(options, balancer.Options())
	}
	return conntestv1connect.NewTestServiceClient(doer, s.url, options...)
}

// clientOptions select the mode, followed by the options of the test.
func (m mode) clientOptions(options ...connect.ClientOption) []connect.ClientOption {
	var all []connect.ClientOption
	switch m.protocol {
	case "grpc":
		all = append(all, connect.WithGRPC())
	case "grpcweb":
		all = append(all, connect.WithGRPCWeb())
	}
	switch m.codec {
	case "json":
		all = append(all, connect.WithProtoJSON())
	case "flip":
		all = append(all, connect.WithCodec(flipCodec{}))
	}
	switch m.compression {
	case "identity":
		all = append(all, connect.WithAcceptCompression("gzip", nil, nil))
	case "gzip":
		all = append(all, connect.WithSendGzip())
	default:
		for _, c := range extraCompressions {
			if c.name == m.compression {
				all = append(all, c.option(m), connect.WithSendCompression(c.name))
			}
		}
	}
	return append(all, options...)
}

// --- shared servers ---

// A host is a server that many tests share: one listener per engine serves all
// of them, each below a path prefix of its own.
type host struct {
	start  sync.Once
	server *server
	err    error
	mounts sync.Map // prefix → mount
	count  atomic.Int64
}

// A mount is a handler of a test, and the same below its prefix.
type mount struct{ handler, stripped http.Handler }

var hosts = func() map[string]*host {
	m := make(map[string]*host)
	for _, e := range engines {
		m[e.name] = new(host)
	}
	return m
}()

func sharedHost(t *testing.T, e engine) *host {
	t.Helper()
	h := hosts[e.name]
	h.start.Do(func() { h.server, h.err = e.start(h, loopback{}) })
	if h.err != nil {
		t.Fatalf("start %s: %v", e.name, h.err)
	}
	return h
}

// mount puts a handler below a new prefix.
func (h *host) mount(handler http.Handler) (prefix string, remove func()) {
	prefix = "/" + strconv.FormatInt(h.count.Add(1), 10)
	h.mounts.Store(prefix, mount{handler, http.StripPrefix(prefix, handler)})
	return prefix, func() { h.mounts.Delete(prefix) }
}

// ServeHTTP finds the handler by the first segment of the path.
func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			if handler, ok := h.mounts.Load(path[:i]); ok {
				handler.(mount).stripped.ServeHTTP(w, r)
				return
			}
			break
		}
	}
	http.Error(w, "no test serves "+path, http.StatusTeapot)
}

// ServeDirect is ServeHTTP without an http.Request, for the handlers that can do
// without.
func (h *host) ServeDirect(self http.Handler, path string, call http.ResponseWriter) bool {
	i := strings.IndexByte(path[1:], '/') + 1
	mounted, ok := h.mounts.Load(path[:i])
	if !ok || self != http.Handler(h) {
		return false
	}
	handler, ok := mounted.(mount).handler.(interface {
		http.Handler
		ServeDirect(http.Handler, string, http.ResponseWriter) bool
	})
	return ok && handler.ServeDirect(handler, path[i:], call)
}

// closeHosts ends all shared servers.
func closeHosts() {
	for _, h := range hosts {
		if h.server != nil {
			h.server.close()
		}
	}
	sharedBus.close()
}

// --- time ---

// errHang is the cause of a context that the harness cancelled.
var errHang = errors.New("the call did not end")

// guard is the longest that any call of a test may take. It is not a deadline
// of the RPC, which would be visible on the wire; it turns a hang into a failure.
const guard = time.Minute

// testContext returns a context that ends with the test, or after guard.
func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithCancelCause(t.Context())
	timer := time.AfterFunc(guard, func() { cancel(errHang) })
	t.Cleanup(func() {
		timer.Stop()
		if context.Cause(ctx) == errHang {
			t.Errorf("%v within %v", errHang, guard)
		}
		cancel(nil)
	})
	return ctx
}

// await waits until a channel is closed or has a value.
func await[T any](t *testing.T, what string, done <-chan T) T {
	t.Helper()
	timer := time.NewTimer(guard)
	defer timer.Stop()
	select {
	case v := <-done:
		return v
	case <-timer.C:
		t.Fatalf("%s: nothing within %v", what, guard)
		panic("unreachable")
	}
}

// --- checks ---

// wantCode fails the test unless err has the code.
func wantCode(t *testing.T, err error, want connect.Code) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want %v", want)
	}
	if got := connect.CodeOf(err); got != want {
		t.Fatalf("got code %v (%v), want %v", got, err, want)
	}
	var coded *connect.Error
	if !errors.As(err, &coded) {
		t.Fatalf("got %T, want an error that is a *connect.Error", err)
	}
}

// wantNil fails the test on an error.
func wantNil(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("got %v, want no error", err)
	}
}

// wantEqual fails the test unless both are equal.
func wantEqual[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// wantValues fails the test unless the header has exactly these values, in order.
func wantValues(t *testing.T, where string, header http.Header, key string, want ...string) {
	t.Helper()
	if got := header.Values(key); !slices.Equal(got, want) {
		t.Fatalf("%s: %s: got %q, want %q in %v", where, key, got, want, header)
	}
}

// parseURL parses a valid URL.
func parseURL(raw string) *url.URL {
	u, err := url.Parse(raw)
	if err != nil {
		panic(fmt.Sprintf("parsing %q: %v", raw, err))
	}
	return u
}

// wantEOF fails the test unless the stream ended well.
func wantEOF(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, io.EOF) {
		t.Fatalf("got %v, want an error that wraps io.EOF", err)
	}
}

// noise returns bytes that do not compress, at most 1 MiB of them.
func noise(n int) []byte { return manyNoise()[:n:n] }

var manyNoise = sync.OnceValue(func() []byte {
	b := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
})

// requestOf wraps a request that carries a string.
func requestOf(s string) *request { return connect.NewRequest(text(s)) }

// text makes a request that carries a string.
func text(s string) *conntestv1.Request { return &conntestv1.Request{Text: s} }
