// SPDX-License-Identifier: Apache-2.0

// The proxy that forwards calls without their schema.

package proxy

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/seed-b7c59c10/connect"
)

// An Option changes a proxy of [New].
type Option func(*Proxy)

// WithTransport sets the transport that sends the forwarded requests. It must be safe
// for concurrent use. gRPC needs a transport that uses HTTP/2, such as
// h2.NewTransport(nil). By default a proxy has two of net/http: calls in gRPC, and
// those that come over HTTP/2, are sent over HTTP/2; the others over HTTP/1.1. For an
// https target the server's choice of version counts. Nil is ignored.
func WithTransport(transport http.RoundTripper) Option {
	return func(p *Proxy) {
		if transport != nil {
			p.transport = transport
		}
	}
}

// WithRewrite adds a function that changes a request before it is forwarded: it may
// add credentials, or choose another host. It runs after the proxy has set the URL
// and the headers, and must not change the body, the content type, or the headers of
// the protocols. It must be safe for concurrent use. Nil is ignored.
func WithRewrite(rewrite func(*httputil.ProxyRequest)) Option {
	return func(p *Proxy) {
		if rewrite != nil {
			p.rewrites = append(p.rewrites, rewrite)
		}
	}
}

// WithFailureHook adds a function that gets the reason of each call that the proxy,
// and not the server, has failed. Callers get the code and a text without names and
// addresses of servers. The function must be safe for concurrent use. By default the
// reasons are dropped. Nil is ignored.
func WithFailureHook(hook func(ctx context.Context, procedure string, err error)) Option {
	return func(p *Proxy) {
		if hook != nil {
			p.failed = hook
		}
	}
}

// WithMaxProxies limits how many proxies a call may have passed before, as its header
// Via lists them. The default is 16; zero and less stand for that, too. A call beyond
// it is refused with CodeFailedPrecondition: it is likely to go in a circle.
func WithMaxProxies(most int) Option {
	return func(p *Proxy) {
		if most > 0 {
			p.most = most
		}
	}
}

// New returns a proxy that forwards each call to the server at target, such as
// "http://10.0.0.7:8080" or "https://api.acme.com/prefix". It forwards what is a call
// by its method and content type, and a GET by its query; it answers anything else
// as [http.NotFound] does. A unary Connect call in another codec than "proto" and
// "json" needs the header Connect-Protocol-Version, so that posted forms are no calls. It is safe for concurrent use.
//
// If the server cannot be reached, the caller gets CodeUnavailable, in its own
// protocol. If the caller's deadline passes, it gets CodeDeadlineExceeded, even if
// the server does not heed it. If the connection to the server breaks in the middle
// of a response, a call in gRPC, and a call in gRPC-Web or a Connect stream between
// two messages, ends with CodeUnavailable; the response of other calls is cut off.
//
// New returns an error if target is not an absolute http or https URL, or has a
// query or user information.
func New(target string, options ...Option) (*Proxy, error) {
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return nil, fmt.Errorf("new proxy: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("new proxy: target %q: expected a URL such as http://host:port or https://host", target)
	case u.RawQuery != "" || u.User != nil || u.Fragment != "":
		return nil, fmt.Errorf("new proxy: target %q: expected a URL without user, query and fragment", u.Redacted())
	}
	p := &Proxy{target: u, most: maxProxies, errors: connect.NewErrorWriter(), failed: func(context.Context, string, error) {}}
	for _, option := range options {
		if option == nil {
			return nil, errors.New("new proxy: an option is nil")
		}
		option(p)
	}
	if p.transport == nil {
		p.transport = newTransport()
	}
	p.reverse = &httputil.ReverseProxy{
		Rewrite:        p.rewrite,
		Transport:      p.transport,
		BufferPool:     &buffers,
		ModifyResponse: p.watch,
		ErrorHandler:   p.refuse,
		ErrorLog:       log.New(discard{}, "", 0),
	}
	return p, nil
}

// A Proxy forwards calls, as an [http.Handler]: see [New].
type Proxy struct {
	target    *url.URL
	transport http.RoundTripper
	rewrites  []func(*httputil.ProxyRequest)
	failed    func(context.Context, string, error)
	most      int // proxies before this one
	errors    *connect.ErrorWriter
	reverse   *httputil.ReverseProxy
}

// CloseIdleConnections closes the connections to the server that no call uses.
func (p *Proxy) CloseIdleConnections() {
	if t, ok := p.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// ServeHTTP forwards one call.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !isCall(p.errors, r) || hasDots(r.URL.Path) || hasDots(r.URL.EscapedPath()) {
		http.NotFound(w, r)
		return
	}
	if err := checkVia(r.Header, p.most); err != nil {
		_ = p.errors.Write(w, r, err)
		return
	}
	if timeout, ok := timeoutOf(r.Header); ok {
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		r = r.WithContext(ctx)
	}
	c := &call{procedure: r.URL.Path, version: r.ProtoMajor}
	r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
	if r.Body != nil && r.ContentLength != 0 {
		c.body = &requestBody{ReadCloser: r.Body}
		if r.ProtoMajor == 1 {
			c.body.controller = http.NewResponseController(w)
			_ = c.body.controller.EnableFullDuplex() // an early answer does not wait for the rest of the request
		}
		defer c.body.Close()
	}
	p.reverse.ServeHTTP(newResponseWriter(w), r)
	if c.broken {
		panic(http.ErrAbortHandler) // httputil does so only on net/http's own server
	}
}

// call is what the proxy keeps of a request until its response ends. The context of
// the request holds it.
type call struct {
	procedure string
	version   int          // of HTTP, as the caller's request has it
	body      *requestBody // nil without a body
	broken    bool         // the response broke off, with no place for an error
}

// leave makes net/http close the caller's connection of HTTP/1.1 after the response, if
// the rest of the request may be unread then.
func (c *call) leave(response http.Header) {
	if c.version == 1 && c.body != nil && !c.body.isEnded() {
		response.Set("Connection", "close")
	}
}

type callKey struct{}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// rewrite makes the request to the server from the caller's.
func (p *Proxy) rewrite(r *httputil.ProxyRequest) {
	if c := callOf(r.In.Context()); c.body != nil {
		r.Out.Body = c.body
	}
	r.SetURL(p.target)
	r.SetXForwarded()
	h := r.Out.Header
	h.Del("Connection") // httputil keeps both for a change of protocol
	h.Del("Upgrade")
	h.Del("Expect") // this side has answered it
	addVia(h, r.In)
	if h.Get("Accept-Encoding") == "" {
		h.Set("Accept-Encoding", "identity") // otherwise net/http asks for gzip, and decompresses
	}
	for _, f := range p.rewrites {
		f(r)
	}
}

// watch prepares a response for being copied to the caller.
func (p *Proxy) watch(response *http.Response) error {
	if response.StatusCode == http.StatusSwitchingProtocols {
		return errors.New("the server switched protocols: nobody has asked it to")
	}
	ctx := response.Request.Context()
	c := callOf(ctx)
	c.leave(response.Header)
	if isStream(response.Header) || c.version == 1 && len(response.Trailer) > 0 {
		response.Header.Del("Content-Length") // it leaves no place for an error, and over HTTP/1.1 none for trailers
	}
	response.Body = newTail(p, ctx, c, response)
	response.ContentLength = 0 // so that httputil leaves flushing to responseWriter; the header has the length
	return nil
}

// refuse answers a call whose request failed.
func (p *Proxy) refuse(w http.ResponseWriter, r *http.Request, err error) {
	callOf(r.Context()).leave(w.Header())
	_ = p.errors.Write(w, r, p.fault(r.Context(), err))
}

// fault returns the error that a caller gets, and gives the hook the reason.
func (p *Proxy) fault(ctx context.Context, err error) error {
	c := callOf(ctx)
	code, text := connect.CodeUnavailable, "the server cannot be reached, or has ended the connection"
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		code, text = connect.CodeDeadlineExceeded, "the deadline has passed"
	case ctx.Err() != nil:
		code, text = connect.CodeCanceled, "the caller has ended the call"
	case errors.As(err, &tooLarge):
		code, text = connect.CodeResourceExhausted, fmt.Sprintf("the request is larger than %d bytes", tooLarge.Limit)
	}
	p.failed(ctx, c.procedure, err)
	return connect.NewError(code, fmt.Errorf("forward %s: %s", c.procedure, text))
}

// isCall reports whether a request is a call. Any GET has the method of a unary Connect
// call, and its query decides. Any media type such as application/pdf may be that of a
// codec: if it is none of the two that curl and browsers send, the header with the
// protocol's version decides, which clients with a codec of their own send.
// [Connect protocol, "Unary-Request"]
func isCall(w *connect.ErrorWriter, r *http.Request) bool {
	if r.Method == http.MethodGet {
		q := r.URL.Query()
		return q.Has("encoding") && q.Has("message")
	}
	contentType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	switch {
	case !w.IsSupported(r):
		return false
	case strings.HasPrefix(contentType, "application/grpc"), strings.HasPrefix(contentType, "application/connect+"),
		contentType == "application/proto", contentType == "application/json":
		return true
	}
	return r.Header.Get("Connect-Protocol-Version") != ""
}

// hasDots reports whether a path has a segment "." or "..". That of a procedure has
// none, and a server may resolve it to a path outside of the target's.
func hasDots(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// isGRPC reports whether a request or response is in the gRPC protocol.
func isGRPC(h http.Header) bool {
	t := h.Get("Content-Type")
	return t == "application/grpc" || strings.HasPrefix(t, "application/grpc+") || strings.HasPrefix(t, "application/grpc;")
}

// versions sends requests over the version of HTTP that they need.
type versions struct {
	one, two *http.Transport
}

func newTransport() http.RoundTripper {
	base := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 30 * time.Second}).DialContext,
		DisableCompression:  true,
		MaxIdleConnsPerHost: 100,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second,
		// A server that has gone silent is noticed.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
	one, two := base, base.Clone()
	one.Protocols, two.Protocols = new(http.Protocols), new(http.Protocols)
	one.Protocols.SetHTTP1(true)
	one.Protocols.SetHTTP2(true)
	two.Protocols.SetHTTP2(true)
	two.Protocols.SetUnencryptedHTTP2(true)
	return &versions{one, two}
}

func (v *versions) CloseIdleConnections() {
	v.one.CloseIdleConnections()
	v.two.CloseIdleConnections()
}

func (v *versions) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "http" && (isGRPC(r.Header) || callOf(r.Context()).version >= 2) {
		return v.two.RoundTrip(r)
	}
	return v.one.RoundTrip(r)
}

// buffers holds the buffers through which responses are copied.
var buffers bufferPool

const bufferSize = 32 << 10

type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[bufferSize]byte); ok {
		return b[:]
	}
	return new([bufferSize]byte)[:]
}

func (p *bufferPool) Put(b []byte) { p.pool.Put((*[bufferSize]byte)(b)) }

// discard drops the lines that httputil logs: the failure hook has their reasons.
type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
