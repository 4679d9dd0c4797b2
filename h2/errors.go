// SPDX-License-Identifier: Apache-2.0

// The errors of the protocol, and how they reach the users of net/http.

package h2

import (
	"errors"
	"fmt"
	"os"
	"reflect"
)

// An ErrCode says in RST_STREAM and GOAWAY frames why a stream or a connection
// ends. [RFC 9113, section 7]
type ErrCode uint32

// The codes of RFC 9113, section 7.
const (
	ErrCodeNo                 ErrCode = 0x0
	ErrCodeProtocol           ErrCode = 0x1
	ErrCodeInternal           ErrCode = 0x2
	ErrCodeFlowControl        ErrCode = 0x3
	ErrCodeSettingsTimeout    ErrCode = 0x4
	ErrCodeStreamClosed       ErrCode = 0x5
	ErrCodeFrameSize          ErrCode = 0x6
	ErrCodeRefusedStream      ErrCode = 0x7
	ErrCodeCancel             ErrCode = 0x8
	ErrCodeCompression        ErrCode = 0x9
	ErrCodeConnect            ErrCode = 0xa
	ErrCodeEnhanceYourCalm    ErrCode = 0xb
	ErrCodeInadequateSecurity ErrCode = 0xc
	ErrCodeHTTP11Required     ErrCode = 0xd
)

var errCodeNames = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
	"STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR",
	"CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

// String returns the code's name in the RFC.
func (c ErrCode) String() string {
	if int(c) < len(errCodeNames) {
		return errCodeNames[c]
	}
	return fmt.Sprintf("error code 0x%x", uint32(c))
}

// A StreamError says that one stream was reset, by this side or by the peer. It
// has the shape that net/http's errors can be converted to with [errors.As], and
// converts to any struct of that shape itself.
type StreamError struct {
	StreamID uint32
	Code     ErrCode
	Cause    error // what this side found, or errFromPeer
}

// Error describes the reset.
func (e StreamError) Error() string {
	if e.Cause == nil {
		return fmt.Sprintf("http2: stream %d reset: %v", e.StreamID, e.Code)
	}
	return fmt.Sprintf("http2: stream %d reset: %v: %v", e.StreamID, e.Code, e.Cause)
}

// Unwrap returns the cause.
func (e StreamError) Unwrap() error { return e.Cause }

// As fills a struct that has the same fields, whatever its package.
func (e StreamError) As(target any) bool {
	to, from := reflect.ValueOf(target).Elem(), reflect.ValueOf(e)
	if to.Kind() != reflect.Struct || to.NumField() != from.NumField() {
		return false
	}
	for i := range from.NumField() {
		name := from.Type().Field(i).Name
		field, ok := to.Type().FieldByName(name)
		if !ok || !from.Field(i).CanConvert(field.Type) || !to.FieldByName(name).CanSet() {
			return false
		}
	}
	for i := range from.NumField() {
		field := to.FieldByName(from.Type().Field(i).Name)
		field.Set(from.Field(i).Convert(field.Type()))
	}
	return true
}

// A ConnError says that the whole connection ended, and why. Streams that it
// carried fail with an error that wraps it.
type ConnError struct {
	Code ErrCode
	// Remote says that the peer ended it, with a GOAWAY frame.
	Remote bool
	Reason string // for people; from the peer if Remote
}

// Error describes the end.
func (e ConnError) Error() string {
	who := "closed with"
	if e.Remote {
		who = "closed by the peer with"
	}
	if e.Reason == "" {
		return fmt.Sprintf("http2: connection %s %v", who, e.Code)
	}
	return fmt.Sprintf("http2: connection %s %v: %s", who, e.Code, e.Reason)
}

// violated returns the error that ends a connection whose peer broke a rule.
func violated(code ErrCode, format string, args ...any) error {
	return ConnError{Code: code, Reason: fmt.Sprintf(format, args...)}
}

var (
	errFromPeer      = errors.New("received from the peer")
	errClosed        = errors.New("http2: connection closed")
	errBodyClosed    = errors.New("http2: body closed")
	errHandlerGone   = errors.New("http2: handler has returned")
	errStreamOver    = errors.New("http2: stream is over")
	errWriteStalled  = errors.New("http2: the peer takes nothing")
	errWriteDeadline = fmt.Errorf("http2: write deadline: %w", os.ErrDeadlineExceeded)
)
