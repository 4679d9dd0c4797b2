// SPDX-License-Identifier: Apache-2.0

// gRPC and gRPC-Web: messages in frames, then a status, in HTTP trailers or in the
// last frame of the body.

package connect

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

var grpcFacts = facts{
	name:      ProtocolGRPC,
	method:    http.MethodPost,
	overHTTP2: true,
	announced: valueStatus,
	media:     "application/grpc+",
	bare:      "application/grpc",
	framed:    true,
	encoding:  headerGRPCEncoding,
	accept:    headerGRPCAccept,
	timeout:   headerGRPCTimeout,
	userAgent: userAgent("grpc-go-connect"),
	formatTTL: formatGRPCTimeout,
	parseTTL:  parseGRPCTimeout,
	succeeded: func(_, trailer fields) bool { return trailer.first(headerGRPCStatus) == "0" },
}

var webFacts = func() facts {
	f := grpcFacts
	f.name, f.media, f.bare, f.endFlag = ProtocolGRPCWeb, "application/grpc-web+", "application/grpc-web", flagEndWeb
	f.overHTTP2, f.announced = false, nil
	f.strayEnd = strayEnd{CodeInternal, "protocol error: invalid envelope flags: a request has no trailers"}
	f.succeeded = nil // the end is in the body
	return f
}()

// grpc is gRPC over HTTP/2. [grpc/doc/PROTOCOL-HTTP2.md]
type grpc struct{}

func (grpc) writeRequest(h http.Header, _ head) {
	h[headerAcceptEncoding] = valueIdentity // otherwise net/http adds gzip itself
	h[headerTE] = valueTrailers             // required: it shows proxies that drop trailers
}

func (grpc) readRequest(_ *wireHead, hd head) (head, error) { return hd, nil }

func (grpc) readResponse(w *wireHead, codec string) error {
	return grpcFacts.checkResponse(w, codec)
}

// grpcSucceeded is the trailer of a successful call without other trailers. Calls
// share it: nothing writes to it.
var grpcSucceeded = http.Header{headerGRPCStatus: {"0"}}

// encodeEnd returns the status and all metadata as trailers.
func (grpc) encodeEnd(e end, _ bool) wireEnd {
	if e.err == nil && len(e.trailer) == 0 {
		return wireEnd{trailer: grpcSucceeded}
	}
	t := e.metadata()
	if t == nil {
		t = make(http.Header, 3)
	}
	if e.err == nil {
		t[headerGRPCStatus] = grpcSucceeded[headerGRPCStatus]
		return wireEnd{trailer: t}
	}
	code, message := e.err.code, e.err.text()
	if len(e.err.details) > 0 {
		status, err := marshalStatus(e.err, e.protobuf)
		if err != nil { // of the program's codec
			failed := errStatus(err)
			code, message = failed.code, failed.text()
		}
		if len(status) > 0 { // also with an error
			t[headerGRPCDetails] = []string{EncodeBinaryHeader(status)}
		}
	}
	t[headerGRPCStatus] = []string{strconv.FormatUint(uint64(code), 10)}
	t[headerGRPCMessage] = []string{encodeMessage(message)}
	return wireEnd{trailer: t}
}

// decodeEnd reads the status from the trailers, or from the headers of a response
// without trailers and body. [gRPC PROTOCOL-HTTP2, "Trailers-Only"]
func (grpc) decodeEnd(w wireEnd) end {
	if len(w.trailer) == 0 && w.empty {
		trailer := make(http.Header, len(w.header))
		for key, values := range w.header {
			if !protocolOwns(key) || isStatus(key) || w.exact && key != headerContentType {
				trailer[key] = values
			}
		}
		return end{err: grpcError(w.header, w.protobuf), trailer: trailer, inHeader: true}
	}
	return end{err: grpcError(w.trailer, w.protobuf), trailer: w.trailer}
}

// grpcError returns the error in trailers, nil for success.
func grpcError(t http.Header, protobuf Codec) *Error {
	status := first(t, headerGRPCStatus)
	switch status {
	case "":
		code := CodeInternal
		if len(t) > 0 { // these trailers are not gRPC's
			code = CodeUnknown
		}
		return NewError(code, fmt.Errorf("protocol error: no Grpc-Status trailer: %w", io.ErrUnexpectedEOF))
	case "0":
		return nil
	}
	message := decodeMessage(first(t, headerGRPCMessage))
	n, err := strconv.ParseUint(status, 10, 32)
	switch {
	case err == nil && n == 0: // "00"
		return nil
	case err != nil, !Code(n).valid():
		return NewWireError(CodeUnknown, fmt.Errorf("protocol error: Grpc-Status %q is not a code: message %q", status, message))
	}
	e := NewWireError(Code(n), messageError(message))
	if details := first(t, headerGRPCDetails); details != "" {
		data, err := DecodeBinaryHeader(details)
		if err != nil {
			return NewError(CodeInternal, fmt.Errorf("protocol error: Grpc-Status-Details-Bin: %w", err))
		}
		parsed, err := unmarshalStatus(data, protobuf)
		if err != nil {
			return NewError(CodeInternal, fmt.Errorf("protocol error: Grpc-Status-Details-Bin: %w", err))
		}
		if parsed.code.valid() {
			e = parsed
		} else {
			e.details = parsed.details
		}
	}
	return e
}

// grpcWeb is gRPC for HTTP clients that cannot read trailers, such as browsers: the
// trailers are the payload of the body's last frame. [grpc/doc/PROTOCOL-WEB.md]
type grpcWeb struct{ grpc }

func (grpcWeb) writeRequest(h http.Header, _ head) {
	h[headerAcceptEncoding] = valueIdentity
	if agent, ok := h[headerUserAgent]; ok {
		h[headerXUserAgent] = agent // browsers do not let programs set User-Agent
	}
}

func (grpcWeb) readResponse(w *wireHead, codec string) error {
	return webFacts.checkResponse(w, codec)
}

// encodeEnd returns the trailers as headers if nothing was sent before, and as the
// payload of the last frame otherwise.
func (p grpcWeb) encodeEnd(e end, sent bool) wireEnd {
	trailer := p.grpc.encodeEnd(e, sent).trailer
	if !sent {
		return wireEnd{header: trailer}
	}
	if e.connectGo {
		replaceLower(trailer)
	}
	return wireEnd{body: appendTrailers(nil, trailer), hasBody: true}
}

func (p grpcWeb) decodeEnd(w wireEnd) end {
	if !w.hasBody {
		w.trailer = nil
		return p.grpc.decodeEnd(w)
	}
	trailer, err := parseTrailers(w.body)
	if err != nil {
		return end{err: NewError(CodeInternal, fmt.Errorf("protocol error: trailers: %w", err))}
	}
	if len(trailer) == 0 && w.empty && first(w.header, headerGRPCStatus) != "" {
		return p.grpc.decodeEnd(wireEnd{header: w.header, empty: true, protobuf: w.protobuf}) // some servers send "Trailers-Only" and an empty frame
	}
	return p.grpc.decodeEnd(wireEnd{trailer: trailer, protobuf: w.protobuf})
}

// replaceLower deletes names in lower case that are there in another spelling, too: with
// connect-go's meaning that one replaces them. Without one it only reads the map, which
// may be grpcSucceeded.
func replaceLower(trailer http.Header) {
	for key := range trailer {
		lower := strings.ToLower(key)
		if _, ok := trailer[lower]; ok && lower != key {
			delete(trailer, lower)
		}
	}
}

// oneLine replaces line breaks, so that a value cannot begin another trailer.
var oneLine = strings.NewReplacer("\r", " ", "\n", " ")

// appendTrailers appends trailers as lines of a key in lower case and a value,
// sorted by key. It leaves out keys that are not valid names of headers, as net/http
// does in headers.
func appendTrailers(b []byte, trailer http.Header) []byte {
	for _, key := range slices.Sorted(maps.Keys(trailer)) {
		if !isToken(key) {
			continue
		}
		for _, value := range trailer[key] {
			b = append(b, strings.ToLower(key)...)
			b = append(b, ": "...)
			b = append(b, strings.Trim(oneLine.Replace(value), " \t")...)
			b = append(b, "\r\n"...)
		}
	}
	return b
}

// parseTrailers is the inverse of appendTrailers. It takes keys in any case, and
// lines that end without a carriage return.
func parseTrailers(b []byte) (http.Header, error) {
	trailer := make(http.Header)
	for line := range strings.SplitSeq(string(b), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok || key == "" || strings.ContainsAny(key, " \t\r") {
			return nil, fmt.Errorf("line %q is not a key, a colon and a value", line)
		}
		key = http.CanonicalHeaderKey(key)
		trailer[key] = append(trailer[key], strings.Trim(value, " \t"))
	}
	return trailer, nil
}
