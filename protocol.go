// SPDX-License-Identifier: Apache-2.0

// Dialects: the head and the end of a call in each protocol, as pure functions
// between Go values and HTTP values.

package connect

import (
	"crypto/tls"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// head holds the values that precede the messages of one direction. Its slices are
// header values, which calls share: nothing writes to them.
type head struct {
	contentType []string
	encoding    []string // compression of the messages, nil for identity
	accept      []string // compressions that the other side may use
	timeout     time.Duration
	timed       bool   // there is a timeout, which may be zero
	message     []byte // of a GET request, in the compression of encoding; nil for others
}

// wireHead is a head as HTTP values, as it was received.
type wireHead struct {
	*fields
	query      url.Values           // of a request's URL, nil if there is none
	tls        *tls.ConnectionState // of the connection, nil without TLS
	statusLine string               // status and reason as a response has them, "" if unknown
	status     int32                // of a response
	exact      bool                 // client: the content type has one spelling, see WithConnectGoBehavior
	proto      uint8                // the major version of HTTP
	protoMinor uint8
}

// end holds the values that follow the messages. A nil err is success.
type end struct {
	err      *Error
	trailer  http.Header
	header   http.Header // client: the response's headers without its trailers; nil if they were not mixed
	inHeader bool        // client: the trailers are the response's headers
	closed   bool        // client: the body was closed before its end was read
	lost     error       // client: how the body ended, io.EOF or why it failed; may be nil

	connectGo  bool  // handler: the metadata may have the connection's headers, see WithConnectGoBehavior
	anyTrailer bool  // handler: trailers may have any name
	protobuf   Codec // handler: of gRPC's status; nil for Protobuf
}

// wireEnd is an end as HTTP values.
type wireEnd struct {
	status   int         // HTTP status, 0 if it is 200 or sent already
	header   http.Header // client: all headers of the response
	trailer  http.Header
	body     []byte // the end frame's payload, or the body of an unframed error
	hasBody  bool   // there is a body, which may be empty
	empty    bool   // client: no message was received
	exact    bool   // client: as in wireHead
	protobuf Codec  // client: of gRPC's status; nil for Protobuf
}

// keepForbidden moves fields that HTTP forbids in trailers into the header, which is
// not written yet. An error's metadata may have one, such as Www-Authenticate.
func (w *wireEnd) keepForbidden() {
	for key, values := range w.trailer {
		if !forbiddenInTrailers(key) {
			continue
		}
		if w.header == nil {
			w.header = make(http.Header)
		}
		w.header[key] = values
		delete(w.trailer, key)
	}
}

// facts are the differences between the protocols that are data.
type facts struct {
	name      string // as in Peer.Protocol
	method    string // of requests
	media     string // content type of a codec: media + its name
	bare      string // content type without a codec, which means "proto"; "" if there is none
	framed    bool   // each message has a prefix
	endFlag   uint8  // marks the frame that ends the body, 0 if there is none
	encoding  string // header of the messages' compression
	accept    string // header of the acceptable compressions
	timeout   string // header of the timeout
	userAgent []string
	overHTTP2 bool     // clients send it over HTTP/2 only
	announced []string // trailers to announce before an HTTP/1.1 body; shared, never written
	unknown   int      // HTTP status of the error for an unknown procedure, 0 for that of other errors
	strayEnd  strayEnd
	formatTTL func(time.Duration) string // "" if the timeout is too long for the header
	parseTTL  func(string) (time.Duration, bool, error)
	// version returns the protocol version of a request, "" for none, and the version
	// that is supported. It is nil if requests of the protocol have no version.
	version func(w *wireHead) (got, want string)
	// succeeded reports whether the header and the trailers of a response without
	// an end frame mean success, with no trailers in the header: then the conn need
	// not call decodeEnd. It may be nil.
	succeeded func(header, trailer fields) bool
}

// strayEnd is the error for a request with an end frame: only responses have one.
type strayEnd struct {
	code Code
	text string
}

// protocol has the differences between the protocols that are code. The functions
// of one side are the inverse of the other's. They have no state and do no I/O. The
// methods of facts write and read the parts of a head that differ by data alone: for
// a response, these are all.
type protocol interface {
	writeRequest(h http.Header, hd head)
	readRequest(w *wireHead, hd head) (head, error)

	readResponse(w *wireHead, codec string) error

	encodeEnd(e end, sent bool) wireEnd
	decodeEnd(w wireEnd) end
}

// dialect is a protocol in one of its forms.
type dialect struct {
	facts
	protocol
}

// The five dialects. In a GET the request is in the URL: see
// protocol_connect_get.go.
var (
	dialectUnary  = &dialect{unaryFacts, connectUnary{}}
	dialectGet    = &dialect{getFacts, connectGet{malformed: CodeInvalidArgument}}
	dialectStream = &dialect{streamFacts, connectStream{}}
	dialectGet500 = &dialect{getFacts, connectGet{malformed: CodeUnknown}} // of WithConnectGoBehavior
	dialectGRPC   = &dialect{grpcFacts, grpc{}}
	dialectWeb    = &dialect{webFacts, grpcWeb{}}
)

// userAgent returns the User-Agent of a protocol's clients, in the shape that
// gRPC and Connect ask for: protocol and language, a version, and in brackets
// the Go version and the name of this library.
func userAgent(product string) []string {
	return []string{fmt.Sprintf("%s/%s (%s; seed-b7c59c10/connect)", product, ModuleVersion, runtime.Version())}
}

// contentType returns the content type that clients send for a codec. gRPC clients
// leave out the default codec: some proxies accept no other content type.
func (f *facts) contentType(codec string) string {
	if f.overHTTP2 && codec == codecProto {
		return f.bare
	}
	return f.media + codec
}

// codecOf returns the name of the codec in a content type, and false if the type
// belongs to another dialect.
func (f *facts) codecOf(contentType string) (string, bool) {
	if f.bare != "" && contentType == f.bare {
		return codecProto, true
	}
	return strings.CutPrefix(contentType, f.media)
}

// fieldWriter receives the fields of a head.
type fieldWriter interface {
	field(key string, values []string)
}

// headerWriter writes to an [http.Header].
type headerWriter http.Header

func (h headerWriter) field(key string, values []string) { h[key] = values }

// writeHead writes the parts of a head that differ by data alone.
func (f *facts) writeHead(w fieldWriter, hd head) {
	if hd.contentType != nil {
		w.field(headerContentType, hd.contentType)
	}
	if hd.encoding != nil {
		w.field(f.encoding, hd.encoding)
	}
	if hd.accept != nil {
		w.field(f.accept, hd.accept)
	}
	if hd.timed {
		if s := f.formatTTL(hd.timeout); s != "" {
			w.field(f.timeout, []string{s})
		}
	}
}

// readHead is the inverse of writeHead.
func (f *facts) readHead(h *fields) (head, error) {
	hd := head{contentType: h.values(headerContentType), encoding: h.values(f.encoding), accept: h.values(f.accept)}
	if value := h.first(f.timeout); value != "" {
		timeout, timed, err := f.parseTTL(value)
		if err != nil {
			return hd, errorf(CodeInvalidArgument, "parse timeout: %w", err)
		}
		hd.timeout, hd.timed = timeout, timed
	}
	return hd, nil
}

// openRequest reads the head of a request. With an error the head has what could be
// read.
func (d *dialect) openRequest(w *wireHead) (head, error) {
	hd, err := d.readHead(w.fields)
	if err == nil {
		err = d.checkVersion(w)
	}
	hd, malformed := d.readRequest(w, hd)
	if err == nil {
		err = malformed
	}
	return hd, err
}

// checkVersion returns an error if a request has a protocol version that is not
// supported.
func (f *facts) checkVersion(w *wireHead) error {
	if f.version == nil {
		return nil
	}
	if got, want := f.version(w); got != "" && got != want {
		return errorf(CodeInvalidArgument, "protocol version %q is not supported: expected %q", got, want)
	}
	return nil
}

// hasVersion reports whether a request has a protocol version, or needs none.
func (f *facts) hasVersion(w *wireHead) bool {
	if f.version == nil || f.framed {
		return true
	}
	got, _ := f.version(w)
	return got != ""
}

// openResponse reads the head of a response.
func (d *dialect) openResponse(w *wireHead, codec string) (head, error) {
	hd := head{contentType: w.values(headerContentType), encoding: w.values(d.encoding)}
	return hd, d.readResponse(w, codec)
}

// checkResponse returns an error if a framed response has another status than 200,
// or the content type of another dialect or codec.
func (f *facts) checkResponse(w *wireHead, codec string) error {
	if w.status != http.StatusOK {
		return errorf(CodeFromHTTPStatus(int(w.status)), "HTTP status %v", w.statusText())
	}
	return f.checkType(w, codec)
}

// checkType returns an error if a response has the content type of another dialect or
// codec.
func (f *facts) checkType(w *wireHead, codec string) error {
	contentType := w.first(headerContentType)
	if got, ok := f.codecOf(contentType); ok && got == codec {
		return nil
	}
	if !w.exact {
		contentType = canonicalType(contentType)
	}
	switch got, ok := f.codecOf(contentType); {
	case !ok:
		return errorf(CodeUnknown, "content type %q is not this protocol's: expected %q", contentType, f.contentType(codec))
	case got == codec, !f.framed && codec == codecJSON && got == codecJSONUTF:
		return nil
	}
	return errorf(CodeInternal, "content type %q is of another codec: expected %q", contentType, f.contentType(codec))
}

// statusText returns a response's status and reason, such as "404 Not Found".
func (w *wireHead) statusText() string {
	if w.statusLine != "" {
		return w.statusLine
	}
	return statusText(int(w.status))
}

// statusText returns a status and its reason, if HTTP defines one.
func statusText(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

// minimal returns the end without details and metadata, for an error that exceeds
// the limit for sending.
func (e end) minimal() end {
	if e.err == nil {
		return end{err: NewError(CodeResourceExhausted, fmt.Errorf("trailers exceed the limit for sending"))}
	}
	if e.protobuf != nil && len(e.err.details) > 0 {
		if _, failed := marshalStatus(e.err, e.protobuf); failed != nil {
			return end{err: errStatus(failed)}
		}
	}
	return end{err: &Error{code: e.err.code, cause: e.err.cause}}
}

// withoutDetails returns the end with an error that has no details.
func (e end) withoutDetails() end {
	short := *e.err
	short.details = nil
	e.err = &short
	return e
}

// metadata returns the trailers and the error's metadata together, without the
// headers that the protocols own: a proxy may have copied those. It leaves out the
// metadata of an error that came from another server, or from a call to one.
func (e end) metadata() http.Header {
	var meta http.Header
	if e.err != nil && !e.err.foreign() {
		meta = e.err.meta
	}
	if len(e.trailer)+len(meta) == 0 {
		return nil
	}
	merged := make(http.Header, len(e.trailer)+len(meta))
	if e.anyTrailer {
		addHeader(merged, e.trailer)
	} else {
		addMetadata(merged, e.trailer, e.connectGo)
	}
	addMetadata(merged, meta, e.connectGo)
	return merged
}

// route is the dialect and the codec of a content type.
type route struct {
	*dialect
	codec       Codec
	contentType []string // of the answer
}

// posted are the dialects of POST requests. The last one's media type is a prefix of
// all others.
var posted = [...]*dialect{dialectGRPC, dialectWeb, dialectStream, dialectUnary}

// classify returns the dialect of a request with any codec, nil if it has none.
func classify(r *http.Request) *dialect {
	switch r.Method {
	case http.MethodGet:
		return dialectGet
	case http.MethodPost:
		contentType := canonicalType(first(r.Header, headerContentType))
		for _, d := range posted {
			if _, ok := d.codecOf(contentType); ok {
				return d
			}
		}
	}
	return nil
}

// routes maps the content types that a handler takes, in canonical form, to their
// dialects and codecs.
type routes map[string]*route

// newRoutes returns the routes for a kind of procedure.
func newRoutes(kind StreamType, codecs map[string]Codec) routes {
	rs := make(routes, 4*len(codecs)+2)
	connect := dialectStream
	if kind == StreamTypeUnary {
		connect = dialectUnary
	}
	for _, d := range []*dialect{connect, dialectGRPC, dialectWeb} {
		for name, codec := range codecs {
			rs.add(d, d.media+name, codec)
			if _, own := codecs[codecJSONUTF]; name == codecJSON && !own {
				rs.add(d, d.media+codecJSONUTF, codec)
			}
			if name == codecProto && d.bare != "" {
				rs.add(d, d.bare, codec)
			}
		}
	}
	return rs
}

func (rs routes) add(d *dialect, contentType string, codec Codec) {
	contentType = canonicalType(contentType)
	rs[contentType] = &route{d, codec, []string{contentType}}
}

// find returns the route of a content type, nil if there is none. It looks for the
// content type as it is, and then for its canonical form.
func (rs routes) find(contentType string) *route {
	if rt, ok := rs[contentType]; ok {
		return rt
	}
	return rs[canonicalType(contentType)]
}

// String lists the content types, sorted, as an Accept-Post header does.
func (rs routes) String() string {
	types := make([]string, 0, len(rs))
	for contentType := range rs {
		types = append(types, contentType)
	}
	slices.Sort(types)
	return strings.Join(types, ", ")
}

// canonicalType returns a content type in canonical form: in lower case, with
// parameters as [mime.FormatMediaType] writes them. It returns a text that is no
// content type as it is.
func canonicalType(contentType string) string {
	if isPlainType(contentType) {
		return contentType
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return contentType
	}
	if charset, ok := params["charset"]; ok {
		params["charset"] = strings.ToLower(charset) // RFC 9110, section 8.3.2
	}
	if formatted := mime.FormatMediaType(media, params); formatted != "" {
		return formatted
	}
	return contentType // mime parses some types that it cannot format
}

// isPlainType reports whether a content type has neither parameters nor anything that its
// canonical form would change, as those that clients of this library send.
func isPlainType(contentType string) bool {
	for i := range len(contentType) {
		switch c := contentType[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '/', c == '+', c == '-', c == '.':
		default:
			return false
		}
	}
	return true
}
