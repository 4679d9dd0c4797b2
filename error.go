// SPDX-License-Identifier: Apache-2.0

// Errors that travel: a code, a message, details and metadata.

package connect

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
)

// typeURLPrefix precedes the message's name in the type URL of an Any.
const typeURLPrefix = "type.googleapis.com/"

// errNotModified marks the error of [NewNotModifiedError].
var errNotModified = errors.New("not modified")

// An Error is an error with a [Code], and with metadata and details that travel
// to the client with it.
//
// When a handler returns an Error, the client receives its code, the text of the
// underlying error, its details and its metadata: keep secrets out of them. For
// any other error the client receives the text, with CodeCanceled or
// CodeDeadlineExceeded if the error wraps a context's, and CodeUnknown
// otherwise; with [WithSafeErrors] it receives the code alone.
//
// While one goroutine adds details or metadata to an Error, no other may use it.
// The methods that only read are safe for concurrent use, and so is Meta after
// its first call.
type Error struct {
	code    Code
	cause   error
	details []*ErrorDetail
	meta    http.Header
	wire    bool
}

// NewError returns an error with a code that wraps underlying. The text of
// underlying is the message; if underlying is nil, the message is empty.
func NewError(c Code, underlying error) *Error {
	return &Error{code: c, cause: underlying}
}

// NewWireError is [NewError] for an error that a server sent: [IsWireError]
// reports true for it. It serves programs that receive errors by other ways than
// a [Client].
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
// client, and not its metadata.
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

// An ErrorDetail is a Protobuf message that is sent with an [Error], so that
// programs need not parse its text. Package
// google.golang.org/genproto/googleapis/rpc/errdetails has messages for common
// cases. An ErrorDetail is safe for concurrent use.
type ErrorDetail struct {
	typeURL string
	value   string // a string, so that no caller changes its bytes
}

// NewErrorDetail encodes msg as a detail. If msg is an [*anypb.Any], the detail
// is the message in it. It returns an error if msg is nil or cannot be
// marshalled.
func NewErrorDetail(msg proto.Message) (*ErrorDetail, error) {
	if a, ok := msg.(*anypb.Any); ok {
		return &ErrorDetail{a.GetTypeUrl(), string(a.GetValue())}, nil
	}
	if msg == nil {
		return nil, errors.New("new error detail: message is nil")
	}
	value, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(msg)
	if err != nil {
		return nil, fmt.Errorf("new error detail: marshal %s: %w", msg.ProtoReflect().Descriptor().FullName(), err)
	}
	return &ErrorDetail{typeURLPrefix + string(msg.ProtoReflect().Descriptor().FullName()), string(value)}, nil
}

// Type returns the full name of the detail's message, such as
// "acme.foo.v1.Reason".
func (d *ErrorDetail) Type() string {
	return d.typeURL[strings.LastIndexByte(d.typeURL, '/')+1:]
}

// Bytes returns a copy of the message in Protobuf's binary format.
func (d *ErrorDetail) Bytes() []byte {
	return []byte(d.value)
}

// Value decodes the detail into the Go type that the program has registered for
// its message. It returns an error if there is no such type, or if the bytes are
// not a message of that type.
func (d *ErrorDetail) Value() (proto.Message, error) {
	mt, err := protoregistry.GlobalTypes.FindMessageByURL(d.typeURL)
	if err != nil {
		return nil, fmt.Errorf("error detail %q: %w", d.typeURL, err)
	}
	msg := mt.New().Interface()
	if err := proto.Unmarshal([]byte(d.value), msg); err != nil {
		return nil, fmt.Errorf("error detail %q: %w", d.typeURL, err)
	}
	return msg, nil
}

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
