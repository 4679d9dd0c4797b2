// SPDX-License-Identifier: Apache-2.0

// An end of a call that is too large for its client, and what is left out of it.

package connect

import (
	"fmt"
	"net/http"
	"strings"
)

// headReserve is room for what a head has beside the metadata: the status, the date,
// the content type and what servers add.
const headReserve = 512

// headerLimit returns how large a header or trailers the client takes, counted as
// SETTINGS_MAX_HEADER_LIST_SIZE is; 0 if the server does not know. Package h2's does.
// [RFC 9113, section 6.5.2]
func headerLimit(w http.ResponseWriter) int {
	for {
		switch t := w.(type) {
		case interface{ MaxHeaderListSize() int }:
			return t.MaxHeaderListSize()
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return 0
		}
	}
}

// listSize returns the size of fields as SETTINGS_MAX_HEADER_LIST_SIZE counts.
func listSize(h http.Header) (size int) {
	for key, values := range h {
		for _, value := range values {
			size += len(key) + len(value) + 32
		}
	}
	return size
}

// fit returns an end with a gRPC status so that its client takes it: w, if it fits.
// Otherwise the error's details are left out, then all metadata, then the end of its
// message. The code and the beginning of the message arrive. Without this the client,
// or the server on its behalf, would reset the stream.
func (c *handlerConn) fit(e end, sent bool, w wireEnd) wireEnd {
	if e.err == nil && len(e.trailer) == 0 || len(w.header)+len(w.trailer) == 0 {
		return w
	}
	limit := headerLimit(c.exchange)
	if limit == 0 || first(w.trailer, headerGRPCStatus)+first(w.header, headerGRPCStatus) == "" {
		return w
	}
	most := limit
	if len(w.header) > 0 {
		most -= headReserve + listSize(c.exchange.Header())
	}
	excess := func() int { return listSize(w.header) + listSize(w.trailer) - most }
	if excess() <= 0 {
		return w
	}
	note := fmt.Sprintf("(shortened: the client accepts %d bytes of header)", limit)
	if e.err == nil {
		e = end{err: &Error{code: CodeResourceExhausted}}
	} else if size := detailsSize(e.err); size > 0 {
		note = fmt.Sprintf("(error details of %d bytes left out: the client accepts %d bytes of header)", size, limit)
	}
	text := e.err.text()
	reduce := func(trailer, meta http.Header) {
		short := *e.err
		short.cause, short.details, short.meta = fmt.Errorf("%s", strings.TrimPrefix(text+" "+note, " ")), nil, meta
		e.err, e.trailer = &short, trailer
		w = c.encodeEnd(e, sent)
	}
	reduce(e.trailer, e.err.meta)
	if excess() > 0 {
		reduce(nil, nil)
	}
	if n := excess(); n > 0 {
		text = shorten(text, n)
		reduce(nil, nil)
	}
	return w
}

// shorten cuts off so much of a text that it has n bytes less as a Grpc-Message.
func shorten(text string, n int) string {
	for n > 0 && text != "" {
		c := text[len(text)-1]
		text = text[:len(text)-1]
		if n--; c < ' ' || c > '~' || c == '%' {
			n -= 2 // it was escaped
		}
	}
	return strings.ToValidUTF8(text, "")
}

// detailsSize returns how many bytes an error's details have.
func detailsSize(e *Error) (size int) {
	for _, d := range e.details {
		size += len(d.value)
	}
	return size
}
