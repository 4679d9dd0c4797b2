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
// A handler's client receives the code, the text of the underlying error, the
// details and the metadata: keep secrets out of them. An error that is not and
// does not wrap an *Error is sent with its text and CodeUnknown, or with
// CodeCanceled or CodeDeadlineExceeded if it is a context's error;
// [WithSafeErrors] withholds the text.
//
// Building an Error is not safe for concurrent use; reading one is, after its
// first call of Meta.
type Error struct {
	code    Code
	cause   error
	details []*ErrorDetail
	meta    http.Header
	wire    bool
}

// NewError gives underlying a code. The text of underlying becomes the message;
// a nil underlying error leaves it empty.
func NewError(c Code, underlying error) *Error {
	return &Error{code: c, cause: underlying}
}

// NewWireError is NewError for an error that a server sent, in whatever way:
// [IsWireError] is true for it.
func NewWireError(c Code, underlying error) *Error {
	return &Error{code: c, cause: underlying, wire: true}
}

// NewNotModifiedError tells the client of a conditional HTTP GET that what it
// has is up to date: a 304 response, with these headers, which should hold what
// RFC 9110, section 15.4.5, asks for: ETag, Cache-Control and so on. To any
// other call it is an ordinary error with CodeUnknown.
func NewNotModifiedError(headers http.Header) *Error {
	return &Error{code: CodeUnknown, cause: errNotModified, meta: headers}
}

// IsNotModifiedError reports whether err says that the server answered a
// conditional HTTP GET with 304. The error's Meta holds the response's headers.
func IsNotModifiedError(err error) bool {
	return errors.Is(err, errNotModified)
}

// IsWireError reports whether the server sent err, as opposed to the client
// having found it, as with a broken connection. When a handler returns such an
// error its metadata is not passed on.
func IsWireError(err error) bool {
	e, ok := asError(err)
	return ok && e.wire
}

// Error returns the code and the message.
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

// text returns the message as it travels: each byte that is not UTF-8 is U+FFFD, as
// neither JSON nor Protobuf has anything else.
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

// Details returns the error's details. The slice is the error's own.
func (e *Error) Details() []*ErrorDetail {
	return e.details
}

// AddDetail appends a detail.
func (e *Error) AddDetail(d *ErrorDetail) {
	e.details = append(e.details, d)
}

// Meta returns the error's metadata, never nil. What a handler puts there
// reaches the client as headers or trailers, whichever the protocol has left,
// except for keys that the protocols own. A client finds there the headers and
// the trailers of the response, together.
func (e *Error) Meta() http.Header {
	if e.meta == nil {
		e.meta = make(http.Header)
	}
	return e.meta
}

// An ErrorDetail is a Protobuf message that travels with an [Error], so that
// programs need not parse texts. The package errdetails of
// google.golang.org/genproto holds messages that are often used.
type ErrorDetail struct {
	typeURL string
	value   string // bytes that cannot change
}

// NewErrorDetail encodes msg as a detail. An [*anypb.Any] is taken as the detail
// itself. It fails if msg cannot be marshalled.
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

// Type returns the full name of the detail's message, "acme.foo.v1.Reason".
func (d *ErrorDetail) Type() string {
	return d.typeURL[strings.LastIndexByte(d.typeURL, '/')+1:]
}

// Bytes returns a copy of the message in Protobuf's binary format.
func (d *ErrorDetail) Bytes() []byte {
	return []byte(d.value)
}

// Value decodes the detail into the Go type that the program registered for its
// message. It fails if there is none or the bytes are not such a message.
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

// errorf makes an error with a code, where its cause is known.
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
