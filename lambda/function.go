// SPDX-License-Identifier: Apache-2.0

// A function: it calls the handler with the request of an event.

package lambda

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
)

// A Function calls a handler. Its methods are safe for concurrent use.
type Function struct{ handler http.Handler }

// New returns a Function of handler. It panics if handler is nil.
func New(handler http.Handler) *Function {
	if handler == nil {
		panic("lambda: New: handler is nil: pass the handler to serve")
	}
	return &Function{handler}
}

// Invoke serves the request of an event, and returns the event's response with the whole
// body. The runtime of github.com/aws/aws-lambda-go calls it.
func (f *Function) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	e, r, refusal, err := request(ctx, payload)
	if err != nil {
		return nil, err
	}
	w := &buffered{header: make(http.Header)}
	if refusal != nil {
		refusal(w)
	} else if err := f.serve(w, r); err != nil {
		return nil, err
	}
	if w.full || !isText(w.sent(), w.body) && base64.StdEncoding.EncodedLen(len(w.body)) > maxResponse {
		w = w.tooLarge(r)
	}
	response, err := encode(e.response(w))
	if err == nil && len(response) > maxResponse {
		response, err = encode(e.response(w.tooLarge(r)))
	}
	return response, err
}

// encode returns a response in JSON. Unlike json.Marshal it leaves <, > and & as they are, of
// which each would have six bytes.
func encode(response whole) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(response)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// Stream serves the request of an event, and returns the response as soon as its head is
// known. It is for function URLs with the invoke mode RESPONSE_STREAM, and for integrations of
// REST APIs with the transfer mode STREAM. Pass it to the Start of
// github.com/aws/aws-lambda-go/lambda, whose runtime reads and closes the Response.
func (f *Function) Stream(ctx context.Context, payload json.RawMessage) (*Response, error) {
	e, r, refusal, err := request(ctx, payload)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	w := newStreamed(cancel)
	r = r.WithContext(ctx)
	// A write that waits ends with the context, whether or not the runtime closes the Response.
	stop := context.AfterFunc(ctx, func() { w.cut(context.Cause(ctx)) })
	go func() {
		err := errGone
		defer func() {
			w.end(err)
			stop()
			cancel(nil)
		}()
		if refusal != nil {
			refusal(w)
			err = nil
		} else {
			err = f.serve(w, r)
		}
	}()
	select {
	case <-w.begun:
	case <-ctx.Done():
		select {
		case <-w.begun:
		default:
			return nil, fmt.Errorf("lambda: waiting for the handler: %w", context.Cause(ctx))
		}
	}
	if w.failed != nil {
		return nil, w.failed
	}
	return newResponse(e, w)
}

// serve calls the handler. A panic is an error, with the stack if it is none of net/http's
// for this purpose.
func (f *Function) serve(w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			err = errAborted
		default:
			err = fmt.Errorf("lambda: the handler of %s panicked: %v\n%s", r.URL.Path, v, debug.Stack())
		}
	}()
	f.handler.ServeHTTP(w, r)
	return nil
}

var (
	errAborted = errors.New("lambda: the handler broke the response off")
	errGone    = errors.New("lambda: the handler ended its goroutine, and did not return") // runtime.Goexit
)

// isGRPC reports whether a request is gRPC's, and not gRPC-Web's.
func isGRPC(r *http.Request) bool {
	contentType := strings.ToLower(r.Header.Get("Content-Type"))
	rest, ok := strings.CutPrefix(contentType, "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';' || rest[0] == ' ')
}

// refuseGRPC answers in a head without a body, which gRPC's clients take for the status of a
// call. ["Trailers-Only" of gRPC's protocol]
func refuseGRPC(contentType string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Grpc-Status", "12") // unimplemented
		w.Header().Set("Grpc-Message", "AWS Lambda carries no HTTP trailers, which gRPC needs: call with Connect or gRPC-Web")
		w.WriteHeader(http.StatusOK)
	}
}

// refuseBad answers a request that cannot be made of its event.
func refuseBad(err error) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintln(w, err)
	}
}
