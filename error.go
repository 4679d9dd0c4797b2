// SPDX-License-Identifier: Apache-2.0

// Errors that travel: a code, a message, details and metadata.

package connect

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"unicode/utf8"
)

// errNotModified marks the error of [NewNotModifiedError].
var errNotModified = errors.New("not modified")

// An Error is an error with a [Code], and with metadata and details that travel
// to the client with it.
//
// When a handler returns an Error, the client receives its code, the text of the
// underlying error, its details and its metadata: keep secrets out of them. For
// any other error the client receives the text, with CodeCanceled or
// CodeDeadlineExceeded if the error wraps a context's, and CodeUnknown
// otherwise; with [WithSafeErrors] it receives the code alone. [WithErrorHook]
// lets a program replace any error.
//
// While one goroutine adds details or metadata to an Error, no other may use it.
// The methods that only read are safe for concurrent use, and so is Meta after
// its first call.
type Error struct {
	code    Code
	cause   error
	details []*ErrorDetail
	meta    http.Header
	wire    bool // a server sent it
	client  bool // a client of this program found it
}

// NewError returns an error with a code that wraps underlying. The text of
// underlying is the message; if underlying is nil, the message is empty.
func NewError(c Code, underlying error) *Error {
	return &Error{code: c, cause: underlying}
}

// NewWireError is [NewError] for an error that a server sent: [IsWireError]
// reports true for it. It serves programs that receive errors by other ways than
// a [Client], such as in the messages of a stream.
func NewWireError(c Code, underlying error) *Error {
	return &Error{code: c, cause: underlying, wire: true}
}

// NewNotModifiedError returns the error with which a handler answers a
// conditional HTTP GET if the client's copy is up to date. The response has
// status 304 and these headers; RFC 9110, section 15.4.5, lists those that it
// must have, such as ETag and Cache-Control. In an answer to any other call it
// is an ordinary error with CodeUnknown.
func NewNotModifiedError(headers http.Header) *Error {
	return &Error{code: CodeUnknown, cause: errNotModified, meta: headers}
}

// IsNotModifiedError reports whether err is the error of a conditional HTTP GET
// that the server answered with status 304. The error's Meta holds the
// response's headers.
func IsNotModifiedError(err error) bool {
	return errors.Is(err, errNotModified)
}

// IsWireError reports whether a server sent err. It is false for errors that the
// client found itself, such as a broken connection. A handler that returns an
// error from another server sends its code, message and details to its own
// client, and not its metadata; with [WithSafeErrors] it sends none of them.
func IsWireError(err error) bool {
	e, ok := asError(err)
	return ok && e.wire
}

// Error returns the code and the message, as "not_found: no such file".
func (e *Error) Error() string {
	if message := e.Message(); message != "" {
		return e.Code().String() + ": " + message
	}
	return e.Code().String()
}

// Message returns the text of the underlying error, "" if there is none.
func (e *Error) Message() string {
	if e == nil || e.cause == nil {
		return ""
	}
	return e.cause.Error()
}

// text returns the message as it is sent: with U+FFFD for each byte that is not
// UTF-8, because strings in JSON and Protobuf are UTF-8.
func (e *Error) text() string {
	message := e.Message()
	if utf8.ValidString(message) {
		return message
	}
	return string([]rune(message))
}

// Unwrap returns the underlying error, nil if there is none.
func (e *Error) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.cause
}

// Code returns the error's code.
func (e *Error) Code() Code {
	if e == nil {
		return CodeUnknown
	}
	return e.code
}

// Details returns the error's details, nil if there are none. The slice is the
// error's own: the caller must not change it.
func (e *Error) Details() []*ErrorDetail {
	return e.details
}

// AddDetail appends a detail.
func (e *Error) AddDetail(d *ErrorDetail) {
	e.details = append(e.details, d)
}

// Meta returns the error's metadata, never nil. A handler's metadata is sent with
// the error: as headers if these are not yet sent and the protocol allows it, as
// trailers otherwise. The headers that the library writes itself are left out. On
// the client's side it holds the headers and the trailers of the response,
// together.
func (e *Error) Meta() http.Header {
	if e.meta == nil {
		e.meta = make(http.Header)
	}
	return e.meta
}

// ofClient returns the error of a client's call, marked as that. It marks a copy,
// because the error may be one of the program's transport.
func ofClient(err error) error {
	e, ok := err.(*Error)
	if !ok || e == nil || e.foreign() {
		return err
	}
	marked := e.copy()
	marked.client = true
	return marked
}

// copy returns a copy. A detail that is added to it does not reach e, or another copy.
func (e *Error) copy() *Error {
	c := *e
	c.details = slices.Clip(e.details)
	return &c
}

// foreign reports whether e is the error of a call that this program made as a
// client. Its text and its metadata are about another server.
func (e *Error) foreign() bool { return e.wire || e.client }

// errorf returns an error with a code. The code that finds an error uses it;
// errors of other packages get their codes in fault.
func errorf(c Code, format string, args ...any) error {
	return NewError(c, fmt.Errorf(format, args...))
}

// asError finds the first *Error in err's tree. A nil *Error in an error value
// does not count.
func asError(err error) (*Error, bool) {
	if e, ok := err.(*Error); ok { // most errors, without the walk
		return e, e != nil
	}
	var e *Error
	return e, errors.As(err, &e) && e != nil
}
