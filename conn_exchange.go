// SPDX-License-Identifier: Apache-2.0

// The seam between conns and HTTP: an exchange is one HTTP request with its
// response. There are two kinds on either side: through net/http's types
// (conn_http.go), and direct (conn_direct.go).

package connect

import (
	"io"
	"net/http"
)

// handlerExchange is the response of an exchange. A handler's conn writes it.
type handlerExchange interface {
	// Header returns the response's headers for the program, Write writes a part of
	// the body, and WriteHeader ends the head if its status is not 200.
	http.ResponseWriter
	// Unwrap lets [http.ResponseController] flush and set deadlines.
	Unwrap() http.ResponseWriter
	// field adds a field to the head. A field that the protocols own replaces the
	// one in Header.
	field(key string, values []string)
	// trailer adds a trailer, after the body.
	trailer(key string, values []string)
}

// inbound is the request of an exchange. A handler's conn reads it. It is set when
// the conn is made.
type inbound struct {
	wireHead
	lazy   lazyHeader // of the request's fields
	body   io.Reader
	length int64     // of the body, negative if unknown
	remote string    // address of the client
	host   [1]string // the Host header's value
}

// clientExchange is the request and the response of a client's conn.
type clientExchange interface {
	// send sends the request and waits for the head of the response. It returns the
	// exchange that has the response: itself, or another one that send has begun
	// because this one cannot make the call.
	send(c *clientConn) (clientExchange, error)
	// reply returns the fields, the rest of the head and the body of the response, and
	// the body's length, which is negative if it is unknown.
	reply() (f fields, head wireHead, body io.ReadCloser, length int64)
	// trailer returns the trailers, after the body was read to its end.
	trailer() fields
}

// arrived is the metadata of a response. A program may keep it longer than the
// conn.
type arrived struct {
	header, trailer lazyHeader
}
