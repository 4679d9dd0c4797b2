// SPDX-License-Identifier: Apache-2.0

// Call interceptors around the calls of a client.

package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// clientCallKey is the key of the *Call in the context of a client's call, for the
// conns that interceptors begin.
type clientCallKey struct{}

// callAround makes a unary call inside of the call interceptors.
func (c *config) callAround(ctx context.Context, request AnyRequest, next UnaryFunc) (AnyResponse, error) {
	var response AnyResponse
	call := new(Call)
	call.stats.Begin = time.Now()
	call.client.call = callState{spec: &c.spec, peer: c.peer, header: metadata{own: request.Header()}}
	call.run = func(ctx context.Context) (err error) {
		defer call.end()
		if _, err := checkCall(ctx); err != nil {
			return err
		}
		response = nil
		response, err = next(context.WithValue(ctx, clientCallKey{}, call), request)
		return err
	}
	if err := c.around(ctx, call); err != nil {
		return nil, err
	}
	if response == nil {
		return nil, errorf(CodeInternal, "%s: call interceptor returned no error, and there is no response", c.spec.Procedure)
	}
	return response, nil
}

// streamAround begins a stream inside of the call interceptors. It returns when the
// innermost one has called next, or the outermost one has returned. The headers are
// the caller's.
func (c *config) streamAround(ctx context.Context, spec Spec, header http.Header) StreamingClientConn {
	w := &watchedConn{ctx: ctx, began: make(chan struct{}), over: make(chan struct{}), done: make(chan struct{})}
	call := new(Call)
	call.stats.Begin = time.Now()
	call.client.call = callState{spec: &spec, peer: c.peer, header: metadata{own: header}}
	call.run = func(ctx context.Context) error {
		defer call.end()
		return w.run(ctx, c, call)
	}
	go w.intercept(ctx, c, call)
	select {
	case <-w.began:
	case <-w.done:
		if w.StreamingClientConn == nil {
			err := w.wait()
			if err == nil {
				err = errSkipped(spec)
			}
			w.result = err
			w.StreamingClientConn = &failedConn{spec: spec, peer: c.peer, err: err}
		}
	}
	return w
}

// watchedConn is a client's stream inside of call interceptors, which wait in a
// goroutine of their own for its end.
//
//	intercept ──▶ run ──▶ began, waits ──▶ returns ──▶ done
//	                           ▲                         │
//	the program: Receive, CloseResponse ──▶ finish ──▶ wait
type watchedConn struct {
	StreamingClientConn // the call; written before began is closed, or before streamAround returns

	ctx   context.Context // the caller's
	began chan struct{}   // closed when the stream has begun
	over  chan struct{}   // closed when it has ended
	done  chan struct{}   // closed when the interceptors have returned

	running bool  // run was called
	result  error // of the interceptors; written before done is closed

	mu       sync.Mutex
	ended    bool
	err      error // of the stream
	sending  error // the last error of Send, which Receive does not return
	panicked any   // the value of a panic: of the stream's methods before the end, of the interceptors after it
}

// intercept runs the interceptors.
func (w *watchedConn) intercept(ctx context.Context, c *config, call *Call) {
	w.result = errorf(CodeInternal, "%s: call interceptor did not return", call.Spec().Procedure) // runtime.Goexit
	defer close(w.done)
	defer func() {
		if value := recover(); value != nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.panicked, w.ended = value, true // wait panics with it, in a goroutine of the program
		}
	}()
	w.result = c.around(ctx, call)
}

// run begins the stream, and waits for its end.
func (w *watchedConn) run(ctx context.Context, c *config, call *Call) error {
	if w.running {
		return errAgain(call.Spec())
	}
	w.running = true
	spec := call.Spec()
	var conn StreamingClientConn
	if _, err := checkCall(ctx); err != nil {
		conn = &failedConn{spec: spec, peer: c.peer, err: err}
	} else {
		conn = c.stream(context.WithValue(ctx, clientCallKey{}, call), spec, nil)
	}
	c.askHeader(conn.RequestHeader(), call.RequestHeader())
	call.mu.Lock()
	call.client.call.header, call.client.call.method, call.client.response = metadata{own: conn.RequestHeader()}, http.MethodPost, conn
	call.mu.Unlock()
	w.StreamingClientConn = conn
	close(w.began)
	select {
	case <-w.over:
	case <-ctx.Done():
		w.end(fault(ctx, ctx.Err(), CodeCanceled), nil)
	}
	w.mu.Lock()
	value, err := w.panicked, w.err
	w.panicked = nil
	w.mu.Unlock()
	if value != nil {
		panic(value)
	}
	return err
}

// end ends the stream, once, with an error or the value of a panic.
func (w *watchedConn) end(err error, value any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.ended, w.err, w.panicked = true, err, value
		close(w.over)
	}
}

// wait waits for the interceptors and returns their error. If they have panicked, the
// first wait panics.
func (w *watchedConn) wait() error {
	<-w.done
	w.mu.Lock()
	value := w.panicked
	w.panicked = nil
	w.mu.Unlock()
	if value != nil {
		panic(value)
	}
	return w.result
}

// finish ends the stream and returns the interceptors' error.
func (w *watchedConn) finish(err error) error {
	w.end(err, nil)
	return w.wait()
}

// Receive receives a message. At the end it returns the error of the interceptors, or
// io.EOF if they have returned none.
func (w *watchedConn) Receive(msg any) error { return w.receive(msg, nil) }

// receive is Receive with the client's initializer, which may be nil.
func (w *watchedConn) receive(msg any, initialize func(Spec, any) error) error {
	err := w.tryReceive(msg, initialize)
	if err == nil {
		return nil
	}
	if err = w.finish(unlessEOF(err)); err == nil {
		err = codedEnd(io.EOF)
	}
	return err
}

func (w *watchedConn) tryReceive(msg any, initialize func(Spec, any) error) (err error) {
	defer w.caught(&err)
	if initialize != nil {
		if err := prepare(w, msg, initialize); err != nil {
			return err
		}
	}
	return w.StreamingClientConn.Receive(msg)
}

// Send sends a message. After the end of the call its error wraps io.EOF, also if an
// interceptor has ended the context that it has passed on.
func (w *watchedConn) Send(msg any) error {
	err := w.trySend(msg)
	if err == nil || isEOF(err) {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended && w.ctx.Err() == nil {
		return codedEnd(io.EOF)
	}
	w.sending = err
	return err
}

func (w *watchedConn) trySend(msg any) (err error) {
	defer w.caught(&err)
	return w.StreamingClientConn.Send(msg)
}

// cut ends the call with an error, which the interceptors get from next.
func (w *watchedConn) cut(err *Error) {
	w.end(err, nil)
	if own, ok := w.StreamingClientConn.(cutter); ok {
		own.cut(err)
		return
	}
	_ = w.tryClose()
}

// CloseResponse ends the call, and waits for the interceptors.
func (w *watchedConn) CloseResponse() error {
	err := w.tryClose()
	w.mu.Lock()
	early := w.sending
	w.mu.Unlock()
	if early == nil {
		early = NewError(CodeCanceled, errClosedEarly)
	}
	_ = w.finish(early)
	return err
}

func (w *watchedConn) tryClose() (err error) {
	defer w.caught(&err)
	return w.StreamingClientConn.CloseResponse()
}

// errClosedEarly is the error of a stream that the program closed before its end.
var errClosedEarly = errors.New("the caller closed the response before its end")

// caught ends the call with the value of a panic in one of the stream's methods: run
// panics with it, inside of the interceptors, and the next wait panics if none of them
// recovers.
func (w *watchedConn) caught(err *error) {
	value := recover()
	if value == nil {
		return
	}
	w.end(nil, value)
	panicked := NewError(CodeInternal, fmt.Errorf("the stream panicked: %v", value))
	*err = panicked
	defer func() { _ = recover() }() // the conn of an interceptor may panic again
	if own, ok := w.StreamingClientConn.(cutter); ok {
		own.cut(panicked) // with connect-go's meaning CloseResponse would wait for a response
	}
	_ = w.StreamingClientConn.CloseResponse()
}
