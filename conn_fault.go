// SPDX-License-Identifier: Apache-2.0

// Codes for errors without one: those of net/http, of contexts and of programs get
// their codes in this file alone.

package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"syscall"
	"time"
)

// resetError has the fields of net/http's error for an HTTP/2 stream reset. That
// error's As method converts it to any struct with these fields, so that
// [errors.As] finds it.
type resetError struct {
	StreamID uint32
	Code     resetCode
	Cause    error
}

func (e resetError) Error() string { return fmt.Sprintf("stream %d reset", e.StreamID) }

// resetCode is an HTTP/2 error code. [RFC 9113, section 7]
type resetCode uint32

const (
	resetInternal           resetCode = 0x2
	resetStreamClosed       resetCode = 0x5
	resetRefusedStream      resetCode = 0x7
	resetCancel             resetCode = 0x8
	resetEnhanceYourCalm    resetCode = 0xb
	resetInadequateSecurity resetCode = 0xc
	resetHTTP11Required     resetCode = 0xd
)

// code returns the RPC's code for a reset, false if the reset has no meaning of its
// own. [gRPC PROTOCOL-HTTP2, "Errors"]
func (c resetCode) code() (Code, bool) {
	switch {
	case c == resetRefusedStream:
		return CodeUnavailable, true
	case c == resetCancel:
		return CodeCanceled, true
	case c == resetEnhanceYourCalm:
		return CodeResourceExhausted, true
	case c == resetInadequateSecurity:
		return CodePermissionDenied, true
	case c == resetStreamClosed, c >= resetHTTP11Required:
		return 0, false
	}
	return CodeInternal, true
}

// resetOf returns the HTTP/2 error code if err is a stream reset. The error of
// golang.org/x/net/http2 has the same fields and no As method, so resetOf looks at
// its fields.
func resetOf(err error) (code resetCode, ok bool) {
	var reset resetError
	if errors.As(err, &reset) {
		return reset.Code, true
	}
	for ; err != nil; err = errors.Unwrap(err) {
		v := reflect.ValueOf(err)
		if v.Kind() != reflect.Struct || v.NumField() != reflect.TypeFor[resetError]().NumField() {
			continue
		}
		stream, code := v.FieldByName("StreamID"), v.FieldByName("Code")
		if stream.IsValid() && stream.Kind() == reflect.Uint32 && code.IsValid() && code.Kind() == reflect.Uint32 {
			return resetCode(code.Uint()), true
		}
	}
	return 0, false
}

// fault returns err as or in an *Error, nil for nil. An error with a code keeps it.
// If ctx has ended, any other error is a consequence and gets the code of that. An
// error that no case matches gets the code otherwise. The first case that matches
// decides.
func fault(ctx context.Context, err error, otherwise Code) error {
	if err == nil {
		return nil
	}
	if _, ok := asError(err); ok {
		return err
	}
	switch {
	case errors.Is(err, context.Canceled):
		return NewError(CodeCanceled, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return NewError(CodeDeadlineExceeded, err)
	case expired(ctx):
		return NewError(CodeDeadlineExceeded, err)
	case ctx.Err() != nil:
		return NewError(CodeCanceled, err)
	}
	if e := overLimit(err); e != nil {
		return e
	}
	if reset, ok := resetOf(err); ok {
		if code, ok := reset.code(); ok {
			otherwise = code
		}
	}
	return NewError(otherwise, err)
}

// overLimit returns the error of a body that [http.MaxBytesReader] has cut off, nil for
// any other error.
func overLimit(err error) *Error {
	var tooLarge *http.MaxBytesError
	if _, coded := asError(err); coded || !errors.As(err, &tooLarge) {
		return nil
	}
	return NewError(CodeResourceExhausted, fmt.Errorf("body exceeds the %d bytes of http.MaxBytesReader: %w", tooLarge.Limit, err))
}

// faultOfBody is fault for an error of reading a message. With connect-go's meaning
// [errors.As] does not find one of [http.MaxBytesReader] in the result.
func (c *config) faultOfBody(ctx context.Context, err error, otherwise Code) error {
	found := fault(ctx, err, otherwise)
	if e := overLimit(err); c.connectGo && e != nil && CodeOf(found) == CodeResourceExhausted {
		return NewError(CodeResourceExhausted, errors.New(e.Message()))
	}
	return found
}

// faultBeside is fault for an error that is not of reading a message. With connect-go's
// meaning one of [http.MaxBytesReader] is as any other there.
func (c *config) faultBeside(ctx context.Context, err error, otherwise Code) error {
	found := fault(ctx, err, otherwise)
	if c.connectGo && CodeOf(found) == CodeResourceExhausted && overLimit(err) != nil {
		return NewError(otherwise, err)
	}
	return found
}

// afterEnd returns the error of what follows the frame that ends a body, with connect-go's
// meaning: that of reading on, if it has a code or is about a context or a lost connection,
// and one for any bytes. Other errors of reading do not matter. The frame's payload is not
// valid afterwards.
//
//go:noinline
func (c *config) afterEnd(ctx context.Context, f *frameReader) error {
	more := !f.atEnd()
	if more {
		f.skip(skippedMax)
	}
	if lost := f.err; lost != nil && !isEOF(lost) {
		var otherwise Code
		if gone(lost) {
			otherwise = CodeCanceled
		}
		if err := c.faultBeside(ctx, cutOff(lost), otherwise); CodeOf(err) != 0 {
			return err
		}
	}
	if more {
		return errorf(CodeInternal, "protocol error: corrupt body: bytes after the end of the stream")
	}
	return nil
}

// faultOf returns an error that a handler has returned as or in an *Error. It does
// not look for errors of net/http: the handler may have them from calls of its own.
func faultOf(err error) *Error {
	if e, ok := asError(err); ok {
		return e
	}
	switch {
	case errors.Is(err, context.Canceled), disconnected(err):
		return NewError(CodeCanceled, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return NewError(CodeDeadlineExceeded, err)
	}
	return NewError(CodeUnknown, err)
}

// ofCompression returns an error of a compression, which may be one of a program, as or
// in an *Error. One with a code of its own keeps it.
func ofCompression(err error, otherwise Code) error {
	_, coded := asError(err)
	if e := faultOf(err); coded || e.code != CodeUnknown {
		return e
	}
	return NewError(otherwise, err)
}

// notEnd returns an error that wraps io.ErrUnexpectedEOF for one that wraps io.EOF:
// net/http's error for a connection that closed too early may be io.EOF, which must
// not look like the end of a stream.
func notEnd(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%v: %w", err, io.ErrUnexpectedEOF)
	}
	return err
}

// readFault is fault for an error in reading a request's body. If nothing is known of
// the reason, it has the code otherwise.
func readFault(ctx context.Context, err error, proto int, otherwise Code) error {
	switch err = notEnd(err); {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fault(ctx, err, CodeInternal)
	case proto >= 2 || disconnected(err):
		return fault(ctx, err, CodeCanceled) // in HTTP/2 a body ends early only if the client has reset the stream or is gone
	}
	return fault(ctx, err, otherwise)
}

// expired reports whether the deadline of ctx has passed. It compares the deadline
// with the clock, too: a peer with the same deadline may end the call a moment
// before the timer of ctx fires.
func expired(ctx context.Context) bool {
	if err := ctx.Err(); err != nil {
		return errors.Is(err, context.DeadlineExceeded)
	}
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
}

// unwritten returns the error of a response that could not be written. If the server's
// own ResponseWriter fails, the client is gone. Middleware's may fail for reasons of its
// own.
func (c *handlerConn) unwritten(err error) error {
	otherwise := CodeCanceled
	if err != nil && !c.own && !disconnected(err) && !abandoned(err) {
		otherwise = CodeUnknown
	}
	return c.because(c.config.faultBeside(&c.ctx, c.lateWrite(err), otherwise))
}

// abandoned reports whether err is a server's error for a response whose stream or
// connection the client has ended: that of net/http over HTTP/2, which has no type, or one
// with the fields of those of github.com/quic-go/quic-go for HTTP/3.
func abandoned(err error) bool {
	if abandonedHTTP2(err) {
		return true
	}
	for ; err != nil; err = errors.Unwrap(err) {
		v := reflect.Indirect(reflect.ValueOf(err))
		if v.Kind() != reflect.Struct {
			continue
		}
		remote, code := v.FieldByName("Remote"), v.FieldByName("ErrorCode")
		if remote.IsValid() && remote.Kind() == reflect.Bool && remote.Bool() && code.IsValid() && code.CanUint() {
			return true
		}
	}
	return false
}

// abandonedHTTP2 is abandoned for net/http over HTTP/2.
func abandonedHTTP2(err error) bool {
	text := err.Error()
	return text == "client disconnected" || text == "http2: stream closed"
}

// gone reports whether err stands for a peer that has gone, for connect-go: it does not
// ask which side has the error.
func gone(err error) bool { return disconnected(err) || abandonedHTTP2(err) }

// disconnected reports whether err is the system's error for a connection that the
// other side has closed.
func disconnected(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
