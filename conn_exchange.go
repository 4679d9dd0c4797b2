// SPDX-License-Identifier: Apache-2.0

// The seam between conns and what is below them: an exchange is one HTTP request
// with its response. There are two kinds on either side, net/http's (conn_http.go)
// and the direct one (conn_direct.go).

package connect

import (
	"io"
	"net/http"
)

// handlerExchange is the response of an exchange, as a handler's conn writes it.
type handlerExchange interface {
	// Header is the response's header as the program sees it, Write writes a part of
	// the body, and WriteHeader ends the head if its status is not 200.
	http.ResponseWriter
	// Unwrap lets [http.ResponseController] flush and set deadlines.
	Unwrap() http.ResponseWriter
	// field adds a field to the head. One that is a protocol's own takes the place of
	// what is in Header.
	field(key string, values []string)
	// trailer adds a trailer, after the body.
	trailer(key string, values []string)
}

// inbound is the request of an exchange, as a handler's conn reads it. It is filled
// in when the conn is made.
type inbound struct {
	wireHead
	lazy   lazyHeader // has the fields
	body   io.Reader
	length int64     // of the body, negative if unknown
	remote string    // address of the client
	host   [1]string // the Host header's value
}

// clientExchange is an exchange as a client's conn sees it.
type clientExchange interface {
	// send sends the request and waits for the head of the response. It returns the
	// exchange that has the response: another one where this one cannot go on.
	send(c *clientConn) (clientExchange, error)
	// reply returns the fields, the rest of the head and the body of the response, and
	// the body's length, negative if it is not known.
	reply() (f fields, head wireHead, body io.ReadCloser, length int64)
	// trailer returns what followed the body, once it was read to its end.
	trailer() fields
}

// arrived is the metadata of a response, which outlives the conn.
type arrived struct {
	header, trailer lazyHeader
}
