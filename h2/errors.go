// SPDX-License-Identifier: Apache-2.0

// The errors of the protocol, and how they reach the users of net/http.

package h2

import (
	"errors"
	"fmt"
	"os"
	"reflect"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// An ErrCode is the reason that RST_STREAM and GOAWAY frames give for the end of a
// stream or a connection. It prints the name that the RFC gives it.
// [RFC 9113, section 7]
type ErrCode = wire.ErrCode

// The codes of RFC 9113, section 7.
const (
	ErrCodeNo                 ErrCode = wire.ErrCodeNo
	ErrCodeProtocol           ErrCode = wire.ErrCodeProtocol
	ErrCodeInternal           ErrCode = wire.ErrCodeInternal
	ErrCodeFlowControl        ErrCode = wire.ErrCodeFlowControl
	ErrCodeSettingsTimeout    ErrCode = wire.ErrCodeSettingsTimeout
	ErrCodeStreamClosed       ErrCode = wire.ErrCodeStreamClosed
	ErrCodeFrameSize          ErrCode = wire.ErrCodeFrameSize
	ErrCodeRefusedStream      ErrCode = wire.ErrCodeRefusedStream
	ErrCodeCancel             ErrCode = wire.ErrCodeCancel
	ErrCodeCompression        ErrCode = wire.ErrCodeCompression
	ErrCodeConnect            ErrCode = wire.ErrCodeConnect
	ErrCodeEnhanceYourCalm    ErrCode = wire.ErrCodeEnhanceYourCalm
	ErrCodeInadequateSecurity ErrCode = wire.ErrCodeInadequateSecurity
	ErrCodeHTTP11Required     ErrCode = wire.ErrCodeHTTP11Required
)

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
		return fmt.Sprintf("h2: stream %d reset: %v", e.StreamID, e.Code)
	}
	return fmt.Sprintf("h2: stream %d reset: %v: %v", e.StreamID, e.Code, e.Cause)
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
		return fmt.Sprintf("h2: connection %s %v", who, e.Code)
	}
	return fmt.Sprintf("h2: connection %s %v: %s", who, e.Code, e.Reason)
}

// violated returns the error that ends a connection whose peer broke a rule.
func violated(code ErrCode, format string, args ...any) error {
	return ConnError{Code: code, Reason: fmt.Sprintf(format, args...)}
}

var (
	errFromPeer      = errors.New("received from the peer")
	errClosed        = errors.New("h2: connection closed")
	errBodyClosed    = errors.New("h2: body closed")
	errHandlerGone   = errors.New("h2: handler has returned")
	errStreamOver    = errors.New("h2: stream is over")
	errWriteStalled  = errors.New("h2: the peer takes nothing")
	errWriteDeadline = fmt.Errorf("h2: write deadline: %w", os.ErrDeadlineExceeded)
)
