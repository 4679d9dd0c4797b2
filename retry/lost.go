// SPDX-License-Identifier: Apache-2.0

// Lost connections: which errors mean that the answer, or the rest of it, will not come.

package retry

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"syscall"

	"github.com/seed-b7c59c10/connect"
)

// lost reports whether an attempt failed because there was no answer, or because the
// answer was cut off: by a connection that closed, by a reset with which a server gives a
// call up, or by a body that ends too early. Then nothing is known about the request, and
// nothing was wrong with it. Errors that the server sends are not among these, and neither
// are answers that break the protocol, that cannot be decoded, or that exceed a limit.
func lost(err error) bool {
	if connect.IsWireError(err) {
		return false
	}
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable: // no answer, or a connection that failed without a better code
		return true
	case connect.CodeInternal:
		if code, ok := resetOf(err); ok {
			return code == resetNo || code == resetInternal
		}
		return errors.Is(err, io.ErrUnexpectedEOF)
	case connect.CodeCanceled: // so a reset connection is coded by connect.WithConnectGoBehavior
		return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	}
	return false
}

// The codes of resets that end an answer early. Others have a meaning for the call, or
// say that one side has broken the protocol. [RFC 9113, section 7]
const (
	resetNo       = 0x0
	resetInternal = 0x2 // as after a panic of a handler
)

// A streamReset has the fields of the errors of HTTP/2 transports for a stream that was
// reset. The As methods of those of net/http and of package h2 convert to it.
type streamReset struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamReset) Error() string { return fmt.Sprintf("stream %d reset", e.StreamID) }

// resetOf returns the code of a stream's reset, and whether err is one. The error of
// golang.org/x/net/http2 has the fields and no As method.
func resetOf(err error) (code uint32, ok bool) {
	var reset streamReset
	if errors.As(err, &reset) {
		return reset.Code, true
	}
	for ; err != nil; err = errors.Unwrap(err) {
		v := reflect.ValueOf(err)
		if v.Kind() != reflect.Struct || v.NumField() != reflect.TypeFor[streamReset]().NumField() {
			continue
		}
		stream, code := v.FieldByName("StreamID"), v.FieldByName("Code")
		if stream.IsValid() && stream.Kind() == reflect.Uint32 && code.IsValid() && code.Kind() == reflect.Uint32 {
			return uint32(code.Uint()), true
		}
	}
	return 0, false
}
