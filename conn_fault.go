// SPDX-License-Identifier: Apache-2.0

// Which code an error gets that has none: the one place where errors of
// net/http and of contexts become this package's.

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

// resetError has the shape of the error with which net/http reports an HTTP/2
// stream reset. That type's As method fills in any struct of this shape, so
// that [errors.As] finds it.
type resetError struct {
	StreamID uint32
	Code     resetCode
	Cause    error
}

func (e resetError) Error() string { return fmt.Sprintf("stream %d reset", e.StreamID) }

// resetCode is an HTTP/2 error code. [RFC 9113, section 7]
type resetCode uint32

const (
	resetRefusedStream      resetCode = 0x7
	resetCancel             resetCode = 0x8
	resetEnhanceYourCalm    resetCode = 0xb
	resetInadequateSecurity resetCode = 0xc
	resetHTTP11Required     resetCode = 0xd
)

// code returns what a reset means for an RPC. [gRPC PROTOCOL-HTTP2, "Errors"]
func (c resetCode) code() Code {
	switch {
	case c == resetRefusedStream:
		return CodeUnavailable
	case c == resetCancel:
		return CodeCanceled
	case c == resetEnhanceYourCalm:
		return CodeResourceExhausted
	case c == resetInadequateSecurity:
		return CodePermissionDenied
	case c >= resetHTTP11Required:
		return CodeUnknown
	}
	return CodeInternal
}

// resetOf returns the code of the stream reset that err reports. The error of
// golang.org/x/net/http2 has the shape, but not net/http's As method.
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

// fault returns err as or in an *Error, nil for nil. An error with a code keeps
// it; the end of ctx explains any other; what remains unknown gets the code
// otherwise. The order of the questions is the precedence of the answers.
func fault(ctx context.Context, err error, otherwise Code) error {
	if err == nil {
		return nil
	}
	if _, ok := asError(err); ok {
		return err
	}
	var tooLarge *http.MaxBytesError
	reset, isReset := resetOf(err)
	switch {
	case errors.Is(err, context.Canceled):
		return NewError(CodeCanceled, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return NewError(CodeDeadlineExceeded, err)
	case expired(ctx):
		return NewError(CodeDeadlineExceeded, err)
	case ctx.Err() != nil:
		return NewError(CodeCanceled, err)
	case errors.As(err, &tooLarge):
		return errorf(CodeResourceExhausted, "body exceeds the %d bytes of http.MaxBytesReader: %w", tooLarge.Limit, err)
	case isReset:
		return NewError(reset.code(), err)
	}
	return NewError(otherwise, err)
}

// faultOf returns an error of the program as or in an *Error. What net/http might
// have meant by it does not count: the program may have got it from anywhere.
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

// notEnd returns an error of the transport so that it does not pass for the
// clean end of a stream: net/http reports a connection that closed too early as
// io.EOF, too.
func notEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%v: %w", err, io.ErrUnexpectedEOF)
	}
	return err
}

// readFault is fault for an error in reading a request's body.
func readFault(ctx context.Context, err error, proto int) error {
	switch err = notEnd(err); {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fault(ctx, err, CodeInternal)
	case proto >= 2 || disconnected(err):
		return fault(ctx, err, CodeCanceled) // there, only the client's leaving ends a body early
	}
	return fault(ctx, err, CodeInvalidArgument) // such as a malformed chunk
}

// expired reports whether ctx ended by its deadline. The deadline itself is
// looked at, too: a peer that keeps the same deadline may end the call a moment
// before ctx's timer fires.
func expired(ctx context.Context) bool {
	if err := ctx.Err(); err != nil {
		return errors.Is(err, context.DeadlineExceeded)
	}
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
}

// disconnected reports whether err says that the other side closed the
// connection.
func disconnected(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
