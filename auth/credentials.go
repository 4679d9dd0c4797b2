// SPDX-License-Identifier: Apache-2.0

// Credentials of clients: what each call sends, and what is not sent in clear.

package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/seed-b7c59c10/connect"
)

// A ClientOption is a setting of [Credentials], [BasicCredentials] and [APIKeyCredentials].
type ClientOption func(*client)

// AllowInsecure permits to send credentials over connections without TLS: for Unix sockets,
// calls in memory, and networks that encrypt by themselves. Whoever can read the
// connection can take the credentials.
func AllowInsecure() ClientOption { return func(c *client) { c.insecure = true } }

// AllowLoopback permits to send credentials without TLS to "localhost" and to addresses of the
// loopback interface, if the connection then goes to one: for development.
func AllowLoopback() ClientOption { return func(c *client) { c.loopback = true } }

// Credentials returns an option for clients: each call sends a token of the source in the
// header Authorization. A call that has this header already keeps it.
//
// All calls share one token. A new one is fetched by one goroutine at a time, while the old
// one is in use: one minute before that expires, or after nine tenths of its life if that is
// later. Calls wait for a token only if there is none that is valid, until their contexts end
// at the latest; a fetch that no call waits for ends, and so does one after 30 seconds. An
// error of the source fails the calls of one second, with its own code if it is a
// [*connect.Error], and CodeUnavailable otherwise. A panic of the source is such an error, with
// CodeInternal. The context of the source is not that of a call, and has none of its values.
//
// If a server refuses a unary call with CodeUnauthenticated, the call is made again, once, with
// another token: unless the refused one is younger than a second, or the source returns
// the same. The handler has not run then, if its server checks credentials first. A stream is
// not repeated; its refusal only makes the next call fetch a token.
//
// Credentials are not sent in clear: a call to a URL without "https" fails with
// CodeFailedPrecondition before it connects, and the source is not asked. See
// [AllowLoopback] and [AllowInsecure]. With transports that report connections to
// [net/http/httptrace], as those of net/http do, the connection that carries the call is
// checked, too: after a redirect to "http", say, net/http would send the header again. Such a
// connection is closed before the header is written.
//
// With package retry, put its option before this one: then each attempt has the newest token.
// Credentials panics if source is nil.
func Credentials(source TokenSource, options ...ClientOption) connect.ClientOption {
	check(source != nil, "Credentials: the source is nil: pass a TokenSource")
	c := newClient("Authorization", options)
	c.tokens = &cache{source: source}
	return connect.WithInterceptors(c)
}

// BasicCredentials returns an option for clients: each call sends a user and a password, under
// the same conditions as [Credentials]. It panics if the user has a colon, or one of them a
// control character. [RFC 7617]
func BasicCredentials(user, password string, options ...ClientOption) connect.ClientOption {
	check(!strings.Contains(user, ":"), "BasicCredentials: the user has a colon, which ends it on the wire")
	check(!strings.ContainsFunc(user+password, isControl), "BasicCredentials: the user or the password has a control character")
	c := newClient("Authorization", options)
	c.value = "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	return connect.WithInterceptors(c)
}

// APIKeyCredentials returns an option for clients: each call sends a key in a header, under the
// same conditions as [Credentials]. It panics if the header is not the name of one, or if the
// key is empty or has characters that a header cannot have.
func APIKeyCredentials(header, key string, options ...ClientOption) connect.ClientOption {
	check(isToken(header), "APIKeyCredentials: %q is not the name of a header", header)
	check(key != "" && isQuotable(key), "APIKeyCredentials: the key is empty, or has characters that a header cannot have")
	c := newClient(http.CanonicalHeaderKey(header), options)
	c.value = key
	return connect.WithInterceptors(c)
}

// client is the interceptor of clients with credentials.
type client struct {
	header             string // of the credentials
	value              string // of the header, "" if there are tokens
	tokens             *cache // nil if there is a value
	insecure, loopback bool
}

func newClient(header string, options []ClientOption) *client {
	c := &client{header: header}
	for _, o := range options {
		check(o != nil, "an option of credentials is nil")
		o(c)
	}
	return c
}

// credentials returns the value of the header, and the token that it has.
func (c *client) credentials(ctx context.Context) (string, Token, error) {
	if c.tokens == nil {
		return c.value, Token{}, nil
	}
	token, err := c.tokens.get(ctx)
	if err != nil {
		return "", Token{}, sourceError(ctx, err)
	}
	value, err := token.header()
	return value, token, err
}

// sourceError returns the error of a call without a token.
func sourceError(ctx context.Context, err error) error {
	code := connect.CodeUnavailable
	var e *connect.Error
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		code = connect.CodeDeadlineExceeded
	case ctx.Err() != nil:
		code = connect.CodeCanceled
	case errors.As(err, &e):
		code = e.Code()
	}
	return connect.NewError(code, fmt.Errorf("credentials: %w", err))
}

// WrapUnary adds the credentials to each attempt, and replaces a refused token.
func (c *client) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		if !request.Spec().IsClient || request.Header().Get(c.header) != "" {
			return next(ctx, request)
		}
		if err := c.refuseClear(request.Spec(), request.Peer()); err != nil {
			return nil, err
		}
		value, token, err := c.credentials(ctx)
		if err != nil {
			return nil, err
		}
		original := request.Header().Clone()
		response, err := c.send(ctx, next, request, value)
		if c.tokens == nil || !isRefusal(err) {
			return response, err
		}
		token, ok := c.tokens.refused(ctx, token)
		if !ok {
			return nil, err
		}
		value, invalid := token.header()
		if invalid != nil {
			return nil, err
		}
		ctx, again, commit := connect.NewAttempt(ctx, request)
		defer commit()
		header := again.Header()
		clear(header)
		for key, values := range original {
			header[key] = values
		}
		return c.send(ctx, next, again, value)
	}
}

// send makes one attempt.
func (c *client) send(ctx context.Context, next connect.UnaryFunc, request connect.AnyRequest, value string) (connect.AnyResponse, error) {
	ctx, w := c.watch(ctx)
	request.Header().Set(c.header, value)
	defer request.Header().Del(c.header) // the program may keep the request, or log it
	response, err := next(ctx, request)
	return response, w.explain(request.Spec(), err)
}

// isRefusal reports whether a server has refused the credentials of a call.
func isRefusal(err error) bool {
	return err != nil && connect.CodeOf(err) == connect.CodeUnauthenticated && connect.IsWireError(err)
}

// WrapStreamingClient adds the credentials to each stream.
func (c *client) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		watched, w := c.watch(ctx)
		conn := next(watched, spec)
		if conn.RequestHeader().Get(c.header) != "" {
			return conn
		}
		var value string
		var token Token
		err := c.refuseClear(spec, conn.Peer())
		if err == nil {
			value, token, err = c.credentials(ctx)
		}
		if err != nil {
			_ = conn.CloseResponse()
			return &failed{conn, err}
		}
		conn.RequestHeader().Set(c.header, value)
		return &stream{StreamingClientConn: conn, client: c, watch: w, token: token, value: value}
	}
}

// WrapStreamingHandler returns next.
func (c *client) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// A stream is one with credentials.
type stream struct {
	connect.StreamingClientConn
	client *client
	watch  *watch
	token  Token
	value  string // of the header
	sent   bool   // the header, by the goroutine that sends
}

// yield takes the credentials out of the header if the program has added some of its own since
// the stream began.
func (s *stream) yield() {
	if s.sent {
		return
	}
	s.sent = true
	header := s.RequestHeader()
	if values := header[s.client.header]; len(values) > 1 && values[0] == s.value {
		header[s.client.header] = values[1:]
	}
}

func (s *stream) CloseRequest() error {
	s.yield()
	return s.StreamingClientConn.CloseRequest()
}

func (s *stream) Send(msg any) error {
	s.yield()
	return s.watch.explain(s.Spec(), s.StreamingClientConn.Send(msg))
}

func (s *stream) Receive(msg any) error {
	err := s.StreamingClientConn.Receive(msg)
	if s.client.tokens != nil && isRefusal(err) {
		s.client.tokens.discard(s.token)
	}
	return s.watch.explain(s.Spec(), err)
}

// failed is a stream that was not begun.
type failed struct {
	connect.StreamingClientConn
	err error
}

func (f *failed) Send(any) error               { return f.err }
func (f *failed) CloseRequest() error          { return f.err }
func (f *failed) Receive(any) error            { return f.err }
func (f *failed) CloseResponse() error         { return nil }
func (f *failed) ResponseHeader() http.Header  { return http.Header{} }
func (f *failed) ResponseTrailer() http.Header { return http.Header{} }

// refuseClear returns an error if the URL of a call does not protect its credentials.
func (c *client) refuseClear(spec connect.Spec, peer connect.Peer) error {
	if c.insecure || peer.Secure() || c.loopback && isLoopback(peer.Addr) {
		return nil
	}
	return errClear(spec, fmt.Sprintf("the URL of %s is not https", peer.Addr))
}

func errClear(spec connect.Spec, why string) error {
	return connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf(
		"%s: credentials are not sent in clear: %s: use TLS, or permit it with auth.AllowLoopback or auth.AllowInsecure", spec.Procedure, why))
}

// isLoopback reports whether the host of a URL is this machine.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}
