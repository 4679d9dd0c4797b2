// SPDX-License-Identifier: Apache-2.0

// The errors of the protocol, in the shapes in which programs know them from net/http.

package h2

import (
	"errors"
	"fmt"
	"os"
	"reflect"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// An ErrCode is the reason that RST_STREAM and GOAWAY frames give for the end of a
// stream or a connection. It prints its name in the RFC. [RFC 9113, section 7]
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

// A StreamError is the error of a stream that was reset, by this side or by the peer.
// [RFC 9113, section 5.4.2] Programs find it with [errors.As], into a StreamError or
// into any struct with the same fields, such as a copy of golang.org/x/net/http2's.
type StreamError struct {
	StreamID uint32
	Code     ErrCode
	Cause    error // why this side reset it, or that the peer did; may be nil
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

// As fills a struct that has fields of the same names and of types that convert,
// whatever its package.
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

// A ConnError is the error of a connection that ended because one end broke a rule of
// the protocol [RFC 9113, section 5.4.1], or because the peer sent GOAWAY [section 6.8].
// The streams that were open fail with it.
type ConnError struct {
	Code ErrCode
	// Remote is true if the peer ended the connection, with a GOAWAY frame.
	Remote bool
	Reason string // for people; if Remote is true, up to 256 bytes of the GOAWAY's debug data
}

// Error describes the end.
func (e ConnError) Error() string {
	ended := "closed with"
	if e.Remote {
		ended = "closed by the peer with"
	}
	if e.Reason == "" {
		return fmt.Sprintf("h2: connection %s %v", ended, e.Code)
	}
	return fmt.Sprintf("h2: connection %s %v: %s", ended, e.Code, e.Reason)
}

// violated returns the error that ends a connection whose peer broke a rule. [RFC 9113,
// section 5.4.1]
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
