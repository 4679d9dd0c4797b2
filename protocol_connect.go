// SPDX-License-Identifier: Apache-2.0

// The Connect protocol. A unary call is a plain HTTP exchange; a stream has frames
// and ends with a JSON message.

package connect

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	protocolVersion = "1"
	trailerPrefix   = "Trailer-" // marks trailers among the headers of a unary response
	timeoutDigits   = 10         // of a Connect-Timeout-Ms
)

var unaryFacts = facts{
	name:      ProtocolConnect,
	method:    http.MethodPost,
	unknown:   http.StatusNotFound,
	media:     "application/",
	encoding:  headerContentEncoding,
	accept:    headerAcceptEncoding,
	timeout:   headerConnectTimeout,
	userAgent: userAgent("connect-go"),
	formatTTL: formatConnectTimeout,
	parseTTL:  parseConnectTimeout,
	version:   func(w *wireHead) (got, want string) { return w.first(headerConnectVersion), protocolVersion },
	succeeded: func(header, _ fields) bool { return !hasTrailers(header) },
}

var streamFacts = func() facts {
	f := unaryFacts
	f.media, f.framed, f.endFlag = "application/connect+", true, flagEndConnect
	f.encoding, f.accept = headerConnectEncoding, headerConnectAccept
	f.succeeded = nil // the end is in the body
	f.strayEnd = strayEnd{CodeInvalidArgument, "protocol error: a request has no end-of-stream message"}
	return f
}()

// connectUnary is the protocol of unary calls: the body is the message, or an error
// as JSON with an HTTP status. [Connect protocol, "Unary RPCs"]
type connectUnary struct{}

func (connectUnary) writeRequest(h http.Header, hd head) {
	h[headerConnectVersion] = valueOne
	if hd.accept == nil {
		h[headerAcceptEncoding] = valueIdentity // otherwise net/http adds gzip itself
	}
}

func (connectUnary) readRequest(_ *wireHead, hd head) (head, error) { return hd, nil }

// readResponse accepts any status but 200: that is an error, whose body decodeEnd
// reads.
func (connectUnary) readResponse(w *wireHead, codec string) error {
	if w.status != http.StatusOK {
		return nil
	}
	return unaryFacts.checkType(w, codec)
}

// encodeEnd returns the trailers as headers with a prefix, and an error's metadata
// as headers. Nothing can follow the message, so a conn calls encodeEnd before it
// sends the message, with sent true: then the call has succeeded.
func (connectUnary) encodeEnd(e end, sent bool) wireEnd {
	if sent && len(e.trailer) == 0 {
		return wireEnd{}
	}
	w := wireEnd{header: make(http.Header, len(e.trailer))}
	own := !sent && e.err != nil && !e.err.foreign()
	if own && e.connectGo {
		addMetadata(w.header, e.err.meta, true) // before the trailers, which replace it
	}
	for key, values := range e.trailer {
		if !protocolOwns(key) || e.connectGo && isOfConnection(key) {
			w.header[trailerPrefix+key] = values
		}
	}
	if sent || e.err == nil {
		return w
	}
	if own && !e.connectGo {
		addMetadata(w.header, e.err.meta, false)
	}
	w.header[headerContentType] = valueJSON
	w.status = e.err.code.HTTPStatus()
	w.body, w.hasBody = marshalError(e.err), true
	return w
}

// hasTrailers reports whether some headers are trailers, by their prefix.
func hasTrailers(header fields) bool {
	for key := range header.header {
		if strings.HasPrefix(key, trailerPrefix) {
			return true
		}
	}
	const prefix = "trailer-" // trailerPrefix in lower case
	return slices.ContainsFunc(header.pairs, func(pair [2]string) bool {
		return strings.HasPrefix(pair[0], prefix)
	})
}

// decodeEnd separates the trailers from the headers.
func (connectUnary) decodeEnd(w wireEnd) end {
	var e end
	if hasTrailers(fields{header: w.header}) {
		e.header, e.trailer = make(http.Header), make(http.Header)
		for key, values := range w.header {
			if name, ok := strings.CutPrefix(key, trailerPrefix); ok {
				e.trailer[name] = values
			} else {
				e.header[key] = values
			}
		}
	}
	if w.status != http.StatusOK {
		e.err = unaryError(w)
	}
	return e
}

// unaryError returns the error of a response with another status than 200: that of
// its JSON body, or one with the code for the status.
func unaryError(w wireEnd) *Error {
	implied := CodeFromHTTPStatus(w.status)
	if isJSON(first(w.header, headerContentType), w.exact) {
		if e, err := unmarshalError(w.body, implied); err == nil {
			return e
		}
	}
	return NewError(implied, errors.New(statusText(w.status)))
}

// isJSON reports whether a content type is that of an error in JSON, in any spelling
// or exactly.
func isJSON(contentType string, exact bool) bool {
	if !exact {
		contentType = canonicalType(contentType)
	}
	return contentType == valueJSON[0] || contentType == valueJSON[0]+charsetUTF8
}

// connectStream is the protocol of streaming calls: messages in frames, then an
// end-of-stream message. [Connect protocol, "Streaming RPCs"]
type connectStream struct{}

func (connectStream) writeRequest(h http.Header, _ head) {
	h[headerConnectVersion] = valueOne
	h[headerAcceptEncoding] = valueIdentity // each message is compressed, and not the body
}

func (connectStream) readRequest(_ *wireHead, hd head) (head, error) { return hd, nil }

func (connectStream) readResponse(w *wireHead, codec string) error {
	return streamFacts.checkResponse(w, codec)
}

func (connectStream) encodeEnd(e end, _ bool) wireEnd {
	return wireEnd{body: marshalEndStream(e), hasBody: true}
}

func (connectStream) decodeEnd(w wireEnd) end {
	if !w.hasBody {
		return end{err: NewError(CodeInternal, fmt.Errorf("protocol error: the stream has no end-of-stream message: %w", io.ErrUnexpectedEOF))}
	}
	e, err := unmarshalEndStream(w.body)
	if err != nil {
		return end{err: NewError(CodeInternal, fmt.Errorf("protocol error: end-of-stream message: %w", err))}
	}
	return e
}

// formatConnectTimeout returns a timeout in milliseconds, rounded up, and "" if it
// has more than 10 digits. The number is positive, also if no time is left. [Connect
// protocol, "Timeout-Milliseconds"]
func formatConnectTimeout(d time.Duration) string {
	d = max(d, 1)
	millis := int64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		millis++
	}
	if millis >= 10_000_000_000 {
		return ""
	}
	return strconv.FormatInt(millis, 10)
}

// parseConnectTimeout is the inverse of formatConnectTimeout.
func parseConnectTimeout(s string) (d time.Duration, timed bool, err error) {
	millis, err := parseDigits(s, timeoutDigits)
	if err != nil {
		return 0, false, fmt.Errorf("%q is not 1 to %d digits: %w", s, timeoutDigits, err)
	}
	return time.Duration(millis) * time.Millisecond, true, nil
}
