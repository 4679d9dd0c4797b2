// SPDX-License-Identifier: Apache-2.0

// Errors for RPC clients from outside of handlers.

package connect

import (
	"net/http"
)

// An ErrorWriter writes errors as the handlers of this package do, for middleware
// that refuses requests before they reach a handler. It is safe for concurrent
// use.
type ErrorWriter struct {
	config *config
}

// NewErrorWriter returns an ErrorWriter. Give it the options of the handlers: it
// heeds [WithRequireConnectProtocolHeader], [WithSafeErrors] and
// [WithSendMaxBytes], and ignores what concerns one procedure.
func NewErrorWriter(opts ...HandlerOption) *ErrorWriter {
	c := newConfig("")
	c.spec.Procedure = ""
	for _, option := range opts {
		option.applyToHandler(c)
	}
	return &ErrorWriter{c}
}

// IsSupported reports whether a request is of one of the protocols.
func (w *ErrorWriter) IsSupported(request *http.Request) bool {
	return w.dialect(request) != nil
}

// dialect returns the dialect of a request, nil if it is of none, or of a version
// that handlers refuse.
func (w *ErrorWriter) dialect(r *http.Request) *dialect {
	d := classify(r)
	if d == nil {
		return nil
	}
	hd := &wireHead{fields: &fields{header: r.Header}, query: r.URL.Query()}
	if d.checkVersion(hd) != nil || w.config.requireVersion && !d.hasVersion(hd) {
		return nil
	}
	return d
}

// Write writes an error in the protocol of the request. To requests of none it
// writes unary Connect's JSON, which people can read. It neither reads nor
// closes the request's body.
func (w *ErrorWriter) Write(response http.ResponseWriter, request *http.Request, err error) error {
	return w.write(response, request, w.dialect(request), err)
}

// write is Write in a dialect.
func (w *ErrorWriter) write(response http.ResponseWriter, request *http.Request, d *dialect, err error) error {
	if d == nil || d == dialectGet {
		d = dialectUnary
	}
	if err == nil {
		err = errorf(CodeUnknown, "no error was given")
	}
	sink := &errorSink{ResponseWriter: response}
	asked := []string{canonicalType(first(request.Header, headerContentType))}
	c := &handlerConn{route: &route{dialect: d, contentType: asked}, config: w.config, exchange: &httpResponse{sink}, own: isOwn(response)}
	c.request.proto = uint8(request.ProtoMajor)
	c.remember(response.Header())
	c.finish(err, true)
	return sink.err
}

// errorSink remembers what went wrong in writing.
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

// NewUnknownProcedureHandler returns a handler for the paths of a service at
// which it has no procedure. It tells RPC clients CodeUnimplemented in their
// protocol, unary and streaming Connect ones with HTTP status 404, and answers
// anything else as [http.NotFound] does. Generated code mounts it; give it the
// service's options.
func NewUnknownProcedureHandler(options ...HandlerOption) http.Handler {
	writer := NewErrorWriter(options...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := writer.dialect(r)
		if d == nil || d == dialectGet && r.URL.Query().Get(queryVersion) == "" {
			http.NotFound(w, r)
			return
		}
		err := errorf(CodeUnimplemented, "%s is not a procedure of this server", r.URL.Path)
		if d.unknown == 0 {
			_ = writer.write(w, r, d, err)
			return
		}
		e, _ := asError(err)
		w.Header()[headerContentType] = valueJSON
		w.WriteHeader(d.unknown)
		_, _ = w.Write(marshalError(e))
	})
}
