// SPDX-License-Identifier: Apache-2.0

// This file holds the sites: a site is a server with its clients in one mode. Most sites
// share a host.

package conntest

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
)

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

// closeHosts ends all shared servers. Later tests start others.
func closeHosts() {
	for name, h := range hosts {
		if h.server != nil {
			h.server.close()
		}
		hosts[name] = new(host)
	}
}
