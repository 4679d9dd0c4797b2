// SPDX-License-Identifier: Apache-2.0

// Errors for RPC clients that middleware and muxes write, not handlers.

package connect

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// An ErrorWriter writes errors in the protocol of a request, as handlers do. With
// it middleware can refuse a request before a handler gets it. It is safe for
// concurrent use.
type ErrorWriter struct {
	config *config
}

// NewErrorWriter returns an ErrorWriter. Call it with the options of the handlers:
// it uses [WithRequireConnectProtocolHeader], [WithSafeErrors], [WithErrorHook] and
// [WithSendMaxBytes], and ignores the others.
func NewErrorWriter(opts ...HandlerOption) *ErrorWriter {
	c := newConfig("")
	c.spec.Procedure = ""
	for _, option := range opts {
		option.applyToHandler(c)
	}
	if c.connectGo {
		c.sendMax = 0
	}
	return &ErrorWriter{c}
}

// IsSupported reports whether a request is a call in one of the protocols, by its
// method and content type. Any GET may be a unary Connect call, unless
// [WithRequireConnectProtocolHeader] makes the query's parameter "connect" a
// condition.
func (w *ErrorWriter) IsSupported(request *http.Request) bool {
	return w.dialect(wholeRequest(request)) != nil
}

// dialect returns the dialect of a request, nil if it has none, or a version that
// handlers refuse.
func (w *ErrorWriter) dialect(r *http.Request) *dialect {
	d := classify(r)
	if d == nil {
		return nil
	}
	hd := &wireHead{fields: &fields{header: r.Header}}
	if r.URL.RawQuery != "" {
		hd.query = r.URL.Query()
	}
	if d.checkVersion(hd) != nil || w.config.requireVersion && !d.hasVersion(hd) {
		return nil
	}
	return d
}

// Write writes an error as the whole response, in the protocol of the request. If
// the request is in none of the protocols, Write writes unary Connect's JSON,
// which people can read. It neither reads nor closes the request's body. It
// returns the error of the ResponseWriter's Write.
func (w *ErrorWriter) Write(response http.ResponseWriter, request *http.Request, err error) error {
	request = wholeRequest(request)
	d := w.dialect(request)
	if err == nil && w.config.connectGo {
		if d != nil && d.framed {
			return w.write(response, request, d, nil) // success
		}
		response.Header()[headerContentType] = valueJSON
		response.WriteHeader(http.StatusInternalServerError)
		panic("connect: ErrorWriter.Write: no error was given")
	}
	if err == nil {
		err = errorf(CodeUnknown, "no error was given")
	}
	return w.write(response, request, d, w.hooked(request, err))
}

// hooked returns an error as the hooks leave it.
func (w *ErrorWriter) hooked(request *http.Request, err error) error {
	if len(w.config.errorHooks) == 0 {
		return err
	}
	return w.config.hookError(request.Context(), Spec{Procedure: procedurePath(request.URL.Path)}, err)
}

// write is Write in a dialect. If err is nil, it writes the end of a call that succeeded.
func (w *ErrorWriter) write(response http.ResponseWriter, request *http.Request, d *dialect, err error) error {
	if d == nil || d == dialectGet {
		d = dialectUnary
	}
	made := new(struct {
		sink     errorSink
		exchange httpResponse
		asked    [1]string
		route    route
		conn     handlerConn
	})
	made.sink.ResponseWriter = response
	made.exchange.ResponseWriter = &made.sink
	made.asked[0] = canonicalType(first(request.Header, headerContentType))
	made.route = route{dialect: d, contentType: made.asked[:]}
	c := &made.conn
	c.route, c.config, c.exchange, c.own = &made.route, w.config, &made.exchange, isOwn(response)
	c.request.proto = uint8(request.ProtoMajor)
	c.remember(response.Header())
	var e *Error
	if err != nil {
		if _, coded := asError(err); !coded && w.config.connectGo && !w.config.safeErrors {
			err = NewError(CodeUnknown, err) // also a context's
		}
		e = w.config.outcome(err)
	}
	if w.config.connectGo && d == dialectGRPC {
		c.announce(e)
	} else {
		c.finish(e, true)
	}
	return made.sink.err
}

// announce writes a whole response in gRPC as connect-go's ErrorWriter does: it names the
// trailers in the headers, and adds them to the headers after these are sent.
func (c *handlerConn) announce(err *Error) {
	e := end{err: err, connectGo: true, protobuf: c.config.protobuf()}
	trailer := c.fit(e, true, c.encodeEnd(e, true)).trailer
	header := c.exchange.Header()
	header[headerContentType] = c.contentType
	header[headerTrailer] = []string{strings.Join(slices.Sorted(maps.Keys(trailer)), ",")}
	c.exchange.WriteHeader(http.StatusOK)
	addHeader(header, trailer)
}

// errorSink is a ResponseWriter that keeps the last error of Write.
type errorSink struct {
	http.ResponseWriter
	err error
}

func (s *errorSink) Write(b []byte) (int, error) {
	n, err := s.ResponseWriter.Write(b)
	if err != nil {
		s.err = err
	}
	return n, err
}

func (s *errorSink) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// NewUnknownProcedureHandler returns a handler for the paths below a service's
// path that are not procedures. It answers RPC clients with CodeUnimplemented in
// their protocol; in the Connect protocol the HTTP status is 404. It answers any
// other request as [http.NotFound] does. With [WithUnknownProcedureHandler] it
// returns that option's handler. Generated code uses it; call it with the options of
// the service's handlers.
func NewUnknownProcedureHandler(options ...HandlerOption) http.Handler {
	return unknownProcedure("", options)
}

// unknownProcedure is NewUnknownProcedureHandler with words for what there is.
func unknownProcedure(known string, options []HandlerOption) http.Handler {
	writer := NewErrorWriter(options...)
	switch {
	case writer.config.unknown != nil:
		return writer.config.unknown
	case writer.config.connectGo:
		return http.NotFoundHandler()
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = wholeRequest(r)
		defer drainHTTP(w, r)
		d := writer.dialect(r)
		if d == nil || d == dialectGet && r.URL.Query().Get(queryVersion) == "" {
			http.NotFound(w, r)
			return
		}
		err := writer.hooked(r, errorf(CodeUnimplemented, "%s is not a procedure of this server%s", r.URL.Path, known))
		e := writer.config.outcome(err)
		if d.unknown == 0 || e.code != CodeUnimplemented { // a hook may have replaced it
			_ = writer.write(w, r, d, err)
			return
		}
		addMetadata(w.Header(), e.meta, false)
		w.Header()[headerContentType] = valueJSON
		w.WriteHeader(d.unknown)
		_, _ = w.Write(marshalError(e))
	})
}
