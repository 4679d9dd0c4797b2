// SPDX-License-Identifier: Apache-2.0

// Unary Connect calls as HTTP GET: the request is in the URL's query.

package connect

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// The query parameters. [Connect protocol, "Unary-Get-Request"]
const (
	queryVersion     = "connect"
	queryBase64      = "base64"
	queryCompression = "compression"
	queryEncoding    = "encoding"
	queryMessage     = "message"

	queryVersionOne = "v" + protocolVersion
)

var getFacts = func() facts {
	f := unaryFacts
	f.method = http.MethodGet
	f.version = func(w *wireHead) (got, want string) { return w.query.Get(queryVersion), queryVersionOne }
	return f
}()

// connectGet is connectUnary with the request in the query, and with the headers
// and the status that caches need.
type connectGet struct {
	connectUnary
	malformed Code // of a message that is not the base64 that its query promises
}

// readRequest reads from the query the values that a POST has in its headers and
// its body.
func (p connectGet) readRequest(w *wireHead, hd head) (head, error) {
	query := w.query
	hd.encoding = query[queryCompression]
	if !query.Has(queryMessage) {
		return hd, errorf(CodeInvalidArgument, "query has no parameter %q", queryMessage)
	}
	message := query.Get(queryMessage)
	if query.Get(queryBase64) != "1" {
		hd.message = []byte(message)
		return hd, nil
	}
	data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(message, "="))
	if err != nil {
		err = errorf(p.malformed, "query parameter %q is not URL-safe base64: %w", queryMessage, err)
		if p.malformed == CodeUnknown { // connect-go finds it when it reads the message
			err = unreadableBody{err}
		}
		return hd, err
	}
	hd.message = data
	return hd, nil
}

// encodeEnd adds the header Vary, because the response depends on the accepted
// compressions, and returns status 304 for the error of NewNotModifiedError.
func (p connectGet) encodeEnd(e end, sent bool) wireEnd {
	w := p.connectUnary.encodeEnd(e, sent)
	if !sent && e.err != nil && errors.Is(e.err, errNotModified) {
		delete(w.header, headerContentType)
		w.status, w.body, w.hasBody = http.StatusNotModified, nil, false
	}
	if w.header == nil {
		w.header = make(http.Header, 1)
	}
	if vary := w.header[headerVary]; e.connectGo { // before the error's
		w.header[headerVary] = slices.Insert(slices.Clone(vary), 0, headerAcceptEncoding)
	} else {
		w.header[headerVary] = append(vary, headerAcceptEncoding)
	}
	return w
}

// decodeEnd returns the error of NewNotModifiedError for status 304.
func (p connectGet) decodeEnd(w wireEnd) end {
	e := p.connectUnary.decodeEnd(w)
	if w.status == http.StatusNotModified {
		e.err = NewWireError(CodeUnknown, errNotModified)
	}
	return e
}

// getURL returns the URL of a GET request for a message.
func getURL(base *url.URL, codec string, binary bool, message []byte, compressed *compression) *url.URL {
	var q strings.Builder
	if base.RawQuery != "" {
		q.WriteString(base.RawQuery)
		q.WriteByte('&')
	}
	q.WriteString(queryVersion + "=" + queryVersionOne)
	if binary || compressed != nil {
		q.WriteString("&" + queryBase64 + "=1")
	}
	if compressed != nil {
		q.WriteString("&" + queryCompression + "=" + url.QueryEscape(compressed.name))
	}
	q.WriteString("&" + queryEncoding + "=" + url.QueryEscape(codec))
	q.WriteString("&" + queryMessage + "=")
	if binary || compressed != nil {
		q.WriteString(base64.RawURLEncoding.EncodeToString(message))
	} else {
		q.WriteString(url.QueryEscape(string(message)))
	}
	u := *base
	u.RawQuery = q.String()
	return &u
}
