// SPDX-License-Identifier: Apache-2.0

// What an error is likely to mean, and how to mend it: words for people, after the
// code is decided.

package connect

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
)

// seeLog ends the texts of calls that a server gave up.
const seeLog = "as after a panic of the handler (the server's log has it) or once http.Server.WriteTimeout has passed"

// waysToHTTP2 are how a client gets HTTP/2 for a URL with http.
const waysToHTTP2 = "use TLS and a URL with https, an http.Transport whose Protocols have SetUnencryptedHTTP2(true) and no HTTP1, or h2.NewTransport"

// waysOverTLS are how a client gets HTTP/2 for a URL with https.
const waysOverTLS = "set ForceAttemptHTTP2 in an http.Transport that has a TLSClientConfig or a dialer of its own, or use h2.NewTransport"

// ---- clients: no response ----

// unanswered explains an error of a transport that returned no response.
func (c *clientConn) unanswered(err error) error {
	if _, coded := asError(err); coded || c.ctx.Err() != nil || isDial(err) || isTimeout(err) {
		return err
	}
	if reset, ok := resetOf(err); ok {
		return explainReset(reset, err)
	}
	version, known := c.config.cleartext()
	silent := ""
	if isClosed(err) { // other errors may be of any kind, for which the words must be true as well
		silent = "the server closed the connection without an answer, " + seeLog + "; "
	}
	switch needs := c.needsHTTP2(); {
	case c.config.url.Host == "": // the base URL was "" or "http://", perhaps of a variable that is not set
		return fmt.Errorf("URL %q has no host: unless the HTTP client adds one, pass a base URL such as http://localhost:8080: %w", withoutSecrets(c.config.url.String()), err)
	case errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%w: use a URL with http, or let the server take TLS", err)
	case known && version == 1 && needs != "":
		return fmt.Errorf("%s needs HTTP/2, and this client speaks HTTP/1.1 to URLs with http: %s: %s%w", needs, waysToHTTP2, silent, err)
	case known && version == 1:
		return fmt.Errorf("%sthis client speaks HTTP/1.1 to URLs with http: where a server takes nothing but HTTP/2, %s: %w", silent, waysToHTTP2, err)
	case known:
		return fmt.Errorf("this client speaks HTTP/2 without TLS to URLs with http: a server with TLS needs a URL with https, "+
			"and one of HTTP/1.1 must take HTTP/2, too (an http.Server does with Protocols.SetUnencryptedHTTP2(true)): %s%w", silent, err)
	case silent != "" && c.config.url.Scheme == "https" && needs != "":
		return fmt.Errorf("%sor it has no TLS, and needs a URL with http, or none of this client's versions of HTTP: %s needs HTTP/2: %s: %w", silent, needs, waysOverTLS, err)
	case silent != "" && c.config.url.Scheme == "https":
		return fmt.Errorf("%sor it has no TLS, and needs a URL with http, or none of this client's versions of HTTP: %w", silent, err)
	case silent != "":
		return fmt.Errorf("%sor it has TLS, and needs a URL with https, or none of this client's versions of HTTP: %w", silent, err)
	}
	return err
}

// waysToHTTP2 returns how this client gets HTTP/2.
func (c *clientConn) waysToHTTP2() string {
	if c.config.url.Scheme == "https" {
		return waysOverTLS
	}
	return waysToHTTP2
}

// needsHTTP2 returns what of a call needs HTTP/2, "" for nothing.
func (c *clientConn) needsHTTP2() string {
	switch {
	case c.overHTTP2:
		return "gRPC"
	case c.spec.StreamType == StreamTypeBidi:
		return "a bidirectional stream"
	}
	return ""
}

// cleartext returns the major version of HTTP that net/http's own transport speaks
// to a URL with http. It does not know that of other transports, nor of other URLs.
func (c *config) cleartext() (version int, known bool) {
	client, ok := c.http.(*http.Client)
	if !ok || client == nil || c.url.Scheme != "http" {
		return 0, false
	}
	transport := client.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	standard, ok := transport.(*http.Transport)
	if !ok || standard == nil {
		return 0, false
	}
	if p := standard.Protocols; p != nil && p.UnencryptedHTTP2() && !p.HTTP1() {
		return 2, true
	}
	return 1, true
}

// isDial reports whether there was no connection: that is clear as it is.
func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect")
}

func isTimeout(err error) bool {
	var timed net.Error
	return errors.As(err, &timed) && timed.Timeout()
}

// isClosed reports whether err says that a connection was closed.
func isClosed(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || disconnected(err)
}

// explainReset explains the reset of a stream.
func explainReset(code resetCode, err error) error {
	if code == resetInternal {
		return fmt.Errorf("%w: the server gave the call up, %s", err, seeLog)
	}
	return err
}

// cutOff explains an error in reading a response.
func cutOff(err error) error {
	if reset, ok := resetOf(err); ok {
		return explainReset(reset, err)
	}
	if isClosed(err) {
		return fmt.Errorf("%w: the server, or a proxy, cut the response off, %s", err, seeLog)
	}
	return err
}

// ---- clients: a response that is not of the protocol ----

// refused adds to the error for a response of another status than 200, which the
// server sent before it looked into the request, what the status means.
func (c *clientConn) refused(err error) error {
	e, ok := asError(err)
	if !ok || e.wire || c.reply.status == http.StatusOK {
		return err
	}
	hint := c.refusal()
	if hint == "" {
		return err
	}
	explained := *e
	explained.cause = fmt.Errorf("%w: %s", e.cause, hint)
	return &explained
}

// refusal returns what the status of a response means, "" where there is nothing to
// say.
func (c *clientConn) refusal() string {
	switch c.reply.status {
	case http.StatusBadRequest:
		if c.reply.proto == 1 && c.reply.protoMinor == 0 && c.config.url.Scheme == "http" { // as package net/http answers
			return "it is how a server with TLS answers a request without: use a URL with https"
		}
	case http.StatusNotFound:
		if isJSON(c.reply.first(headerContentType), false) {
			return fmt.Sprintf("the server has no procedure at %q", c.config.url.Path)
		}
		return fmt.Sprintf("no RPC handler is at %q: the path of the client's URL must be the prefix below which the server mounts the service, "+
			"and takes off with http.StripPrefix", c.config.url.Path)
	case http.StatusMethodNotAllowed:
		return fmt.Sprintf("%q does not take a %s", c.config.url.Path, c.method)
	case http.StatusUnsupportedMediaType:
		sent := c.contentType(c.config.codec.Name())
		if takes := c.reply.first(headerAcceptPost); takes != "" {
			return fmt.Sprintf("the request has content type %q: the server takes %s", sent, mediaTypes(takes))
		}
		return fmt.Sprintf("the request has content type %q: the server does not take it", sent)
	case http.StatusHTTPVersionNotSupported:
		if needs := c.needsHTTP2(); needs != "" {
			return fmt.Sprintf("%s needs HTTP/2, and this one went over HTTP/%d.%d: %s; a proxy between must speak HTTP/2, too",
				needs, c.reply.proto, c.reply.protoMinor, c.waysToHTTP2())
		}
	case http.StatusServiceUnavailable:
		return "the server, or a proxy, refuses calls for now, or http.TimeoutHandler ended this one"
	}
	return ""
}

// mediaTypes returns the content types of an Accept-Post header without those that
// only have parameters besides.
func mediaTypes(list string) string {
	types := strings.Split(list, ", ")
	return strings.Join(slices.DeleteFunc(types, func(s string) bool { return strings.Contains(s, ";") }), ", ")
}

// ---- handlers ----

// lateWrite explains an error in writing a response after the server's own deadline,
// which the call's context does not have.
func (c *handlerConn) lateWrite(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) || expired(&c.ctx) {
		return err
	}
	return fmt.Errorf("the deadline for writing the response has passed: http.Server.WriteTimeout, or SetWriteDeadline, limits all of it: "+
		"leave it zero where there are streams, and limit calls by their contexts: %w", err)
}

// lateRead is lateWrite for reading a request.
func (c *handlerConn) lateRead(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) || expired(&c.ctx) {
		return err
	}
	return fmt.Errorf("the deadline for reading the request has passed: http.Server.ReadTimeout, or SetReadDeadline, limits all of it: "+
		"set ReadHeaderTimeout instead where there are streams: %w", err)
}

// refuse answers a request that is not a call of the procedure with a line of text.
func refuse(w http.ResponseWriter, status int, format string, args ...any) {
	header := w.Header()
	header[headerContentType] = []string{"text/plain; charset=utf-8"}
	header["X-Content-Type-Options"] = []string{"nosniff"} // the text has a part of the request in it
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, format+"\n", args...)
}
