// SPDX-License-Identifier: Apache-2.0

// The Connect protocol: unary calls are plain HTTP exchanges, streams are
// framed and end with a JSON message.

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

// connectUnary is a unary call: the body is the message, errors are JSON with
// an HTTP status. [Connect protocol, "Unary RPCs"]
type connectUnary struct{}

func (connectUnary) writeRequest(h http.Header, hd head) {
	h[headerConnectVersion] = valueOne
	if hd.accept == nil {
		h[headerAcceptEncoding] = valueIdentity // or net/http asks for gzip on its own
	}
}

func (connectUnary) readRequest(_ *wireHead, hd head) (head, error) { return hd, nil }

// readResponse leaves any status but 200 to decodeEnd: such a body is no
// message.
func (connectUnary) readResponse(w *wireHead, codec string) error {
	if w.status != http.StatusOK {
		return nil
	}
	contentType := w.first(headerContentType)
	got, ok := unaryFacts.codecOf(contentType)
	if ok && got == codec {
		return nil
	}
	contentType = canonicalType(contentType)
	switch got, ok = unaryFacts.codecOf(contentType); {
	case ok && got == codec, codec == codecJSON && got == codecJSONUTF:
		return nil
	case !ok:
		return errorf(CodeUnknown, "content type %q is not this protocol's: expected %q", contentType, unaryFacts.contentType(codec))
	}
	return errorf(CodeInternal, "content type %q is of another codec: expected %q", contentType, unaryFacts.contentType(codec))
}

// encodeEnd returns headers: trailers by their prefix, and an error's metadata.
// Once the message is sent nothing can follow it, so conns call encodeEnd
// before, with sent true.
func (connectUnary) encodeEnd(e end, sent bool) wireEnd {
	if sent && len(e.trailer) == 0 {
		return wireEnd{}
	}
	w := wireEnd{header: make(http.Header, len(e.trailer))}
	for key, values := range e.trailer {
		if !protocolOwns(key) {
			w.header[trailerPrefix+key] = values
		}
	}
	if sent || e.err == nil {
		return w
	}
	if !e.err.wire {
		addMetadata(w.header, e.err.meta)
	}
	w.header[headerContentType] = valueJSON
	w.status = codeHTTPStatus(e.err.code)
	w.body, w.hasBody = marshalError(e.err), true
	return w
}

// hasTrailers reports whether there are trailers among the headers.
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

// decodeEnd takes the trailers out of the headers.
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
	switch {
	case w.status == http.StatusOK:
	default:
		e.err = unaryError(w)
	}
	return e
}

// unaryError returns the error that a response with another status than 200
// means: its JSON body, where there is one.
func unaryError(w wireEnd) *Error {
	implied := codeFromHTTPStatus(w.status)
	contentType := canonicalType(first(w.header, headerContentType))
	if contentType == valueJSON[0] || contentType == valueJSON[0]+charsetUTF8 {
		if e, err := unmarshalError(w.body, implied); err == nil {
			return e
		}
	}
	return NewError(implied, errors.New(statusText(w.status)))
}

// connectStream is a streaming call: framed messages, then an end-of-stream
// message. [Connect protocol, "Streaming RPCs"]
type connectStream struct{}

func (connectStream) writeRequest(h http.Header, _ head) {
	h[headerConnectVersion] = valueOne
	h[headerAcceptEncoding] = valueIdentity // messages are compressed one by one, not the body
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

// formatConnectTimeout writes a timeout in milliseconds, rounded up, and "" for
// one that needs more than 10 digits. [Connect protocol, "Timeout-Milliseconds"]
func formatConnectTimeout(d time.Duration) string {
	if d <= 0 {
		return "0"
	}
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
