// SPDX-License-Identifier: Apache-2.0

// The errors of calls: each has a code, and those for which a retry is safe prove it.

package natsrpc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/seed-b7c59c10/connect"
)

// errorf returns an error with a code. Its text begins with the name of this package.
func errorf(code connect.Code, format string, args ...any) error {
	return connect.NewError(code, fmt.Errorf("natsrpc: "+format, args...))
}

// An unprocessedError is the error of a call that no handler has seen. Package retry makes
// such a call anew, even if it is not idempotent.
type unprocessedError struct{ error }

func (e unprocessedError) Unwrap() error     { return e.error }
func (e unprocessedError) Unprocessed() bool { return true }

// unprocessed returns an error that proves that no handler has seen the request.
func unprocessed(code connect.Code, format string, args ...any) error {
	return connect.NewError(code, unprocessedError{fmt.Errorf("natsrpc: "+format, args...)})
}

// errorOf returns the error for a RESET of the peer.
func errorOf(r reset, side string) error {
	text := r.text
	if text == "" {
		text = "no reason given"
	}
	if r.unprocessed {
		return unprocessed(r.code, "the %s has refused the call: %s", side, text)
	}
	return errorf(r.code, "the %s has ended the call: %s", side, text)
}

// resetOf returns the RESET that reports an error to the peer.
func resetOf(err error) reset {
	code := connect.CodeOf(err)
	if code < connect.CodeCanceled || code > connect.CodeUnauthenticated {
		code = connect.CodeUnknown
	}
	switch { // contexts, whose errors have no code
	case errors.Is(err, context.Canceled):
		code = connect.CodeCanceled
	case errors.Is(err, context.DeadlineExceeded):
		code = connect.CodeDeadlineExceeded
	}
	var coded *connect.Error
	text := err.Error()
	if errors.As(err, &coded) {
		text = coded.Message()
	}
	var u unprocessedError
	return reset{code: code, unprocessed: errors.As(err, &u), text: strings.TrimPrefix(text, "natsrpc: ")}
}

// publishError returns the error for a message that the connection did not take.
func publishError(err error) error {
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return errorf(connect.CodeResourceExhausted, "sending a frame: %w: raise max_payload of the NATS server, or send fewer and shorter headers", err)
	case errors.Is(err, nats.ErrHeadersNotSupported):
		return errorf(connect.CodeFailedPrecondition, "sending a frame: %w: a NATS server of version 2.2 or later has them", err)
	case errors.Is(err, nats.ErrBadHeaderMsg), errors.Is(err, nats.ErrBadSubject):
		return errorf(connect.CodeInternal, "sending a frame: %w", err)
	}
	return errorf(connect.CodeUnavailable, "sending a frame: %w", err)
}

// The errors of bodies and of calls that one side has ended.
var (
	errBodyClosed   = errors.New("natsrpc: the body is closed")
	errHandlerGone  = errors.New("natsrpc: the handler has returned")
	errPeerGone     = errorf(connect.CodeUnavailable, "the peer is gone: nothing listens on its subject any more")
	errSilent       = errorf(connect.CodeUnavailable, "the peer is silent: it has answered no ping")
	errDisconnected = errorf(connect.CodeUnavailable, "the connection to the NATS server is lost: frames of the call may be lost, too")
	errClosed       = errorf(connect.CodeUnavailable, "the connection to the NATS server is closed")
	errDraining     = errorf(connect.CodeUnavailable, "the connection to the NATS server drains: it gets no more frames")
	errLinkClosed   = errorf(connect.CodeUnavailable, "the transport or the server is closed")
	errUnknownCall  = errorf(connect.CodeUnavailable, "no such call: it has ended, or its start was lost")
	errClientGone   = errorf(connect.CodeCanceled, "the client has given up")
	errPanicked     = errorf(connect.CodeInternal, "after a panic of the handler (the server's log has it), or because it has ended its goroutine")
	errWriteTime    = errorf(connect.CodeDeadlineExceeded, "the server's write deadline has passed: %w", os.ErrDeadlineExceeded)
)

// violationSubject finds the subject in the text of a permission violation, the only place
// where nats.go has it.
var violationSubject = regexp.MustCompile(`Permissions Violation for (Publish|Subscription) to "([^"]+)"`)

// parseViolation returns what a connection was not allowed to do. It reports false for
// other errors.
func parseViolation(err error) (publish bool, subject string, ok bool) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return false, "", false
	}
	m := violationSubject.FindStringSubmatch(err.Error())
	if m == nil {
		return false, "", false
	}
	return m[1] == "Publish", m[2], true
}
