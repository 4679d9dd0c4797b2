// SPDX-License-Identifier: Apache-2.0

// The sixteen error codes, their names and their HTTP statuses.

package connect

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// A Code classifies an error. The sixteen codes are those of gRPC, with the same
// numbers and meanings. Zero, gRPC's OK, is not a code of an error: an [Error]
// with it is sent as CodeUnknown. [Connect protocol, "Error Codes";
// grpc/doc/statuscodes.md]
type Code uint32

const (
	// CodeCanceled means that the call was cancelled, usually by its caller.
	CodeCanceled Code = 1
	// CodeUnknown means that the error has no code of its own.
	CodeUnknown Code = 2
	// CodeInvalidArgument means that the request is not valid, whatever the state of the
	// server.
	CodeInvalidArgument Code = 3
	// CodeDeadlineExceeded means that the deadline passed before the call ended. The
	// operation may have succeeded.
	CodeDeadlineExceeded Code = 4
	// CodeNotFound means that the request names something that does not exist.
	CodeNotFound Code = 5
	// CodeAlreadyExists means that the request creates something that exists already.
	CodeAlreadyExists Code = 6
	// CodePermissionDenied means that the server has identified the caller, and does not
	// let it make this call.
	CodePermissionDenied Code = 7
	// CodeResourceExhausted means that a limit was reached, such as a quota, a message
	// size or the space on a disk.
	CodeResourceExhausted Code = 8
	// CodeFailedPrecondition means that the system is not in the state that the operation
	// needs. A retry does not help until the state changes.
	CodeFailedPrecondition Code = 9
	// CodeAborted means that a conflict with another operation ended this one. A retry of
	// the whole sequence may help.
	CodeAborted Code = 10
	// CodeOutOfRange means that the operation went past the end of its range.
	CodeOutOfRange Code = 11
	// CodeUnimplemented means that the server does not have the procedure, or does not
	// support the request's form.
	CodeUnimplemented Code = 12
	// CodeInternal means that a part of the system broke a rule that it must keep: a bug.
	CodeInternal Code = 13
	// CodeUnavailable means that the server cannot be reached, or does not serve for now.
	// A retry after a pause may help.
	CodeUnavailable Code = 14
	// CodeDataLoss means that data is lost or corrupted for good.
	CodeDataLoss Code = 15
	// CodeUnauthenticated means that the caller has sent no valid credentials.
	CodeUnauthenticated Code = 16

	codeMin, codeMax = CodeCanceled, CodeUnauthenticated
)

// codes holds, for each code, its name in the Connect protocol and the HTTP
// status of a unary Connect error. [Connect protocol, Error Codes]
var codes = [...]struct {
	name   string
	status int
}{
	CodeCanceled:           {"canceled", 499},
	CodeUnknown:            {"unknown", http.StatusInternalServerError},
	CodeInvalidArgument:    {"invalid_argument", http.StatusBadRequest},
	CodeDeadlineExceeded:   {"deadline_exceeded", http.StatusGatewayTimeout},
	CodeNotFound:           {"not_found", http.StatusNotFound},
	CodeAlreadyExists:      {"already_exists", http.StatusConflict},
	CodePermissionDenied:   {"permission_denied", http.StatusForbidden},
	CodeResourceExhausted:  {"resource_exhausted", http.StatusTooManyRequests},
	CodeFailedPrecondition: {"failed_precondition", http.StatusBadRequest},
	CodeAborted:            {"aborted", http.StatusConflict},
	CodeOutOfRange:         {"out_of_range", http.StatusBadRequest},
	CodeUnimplemented:      {"unimplemented", http.StatusNotImplemented},
	CodeInternal:           {"internal", http.StatusInternalServerError},
	CodeUnavailable:        {"unavailable", http.StatusServiceUnavailable},
	CodeDataLoss:           {"data_loss", http.StatusInternalServerError},
	CodeUnauthenticated:    {"unauthenticated", http.StatusUnauthorized},
}

func (c Code) valid() bool { return codeMin <= c && c <= codeMax }

// String returns the code's name as the Connect protocol spells it, such as
// "not_found", and "code_N" for a number that is not a code.
func (c Code) String() string {
	if c.valid() {
		return codes[c].name
	}
	return "code_" + strconv.FormatUint(uint64(c), 10)
}

// MarshalText returns the text of [Code.String]. It never fails.
func (c Code) MarshalText() ([]byte, error) {
	return []byte(c.String()), nil
}

// UnmarshalText sets c from a text that MarshalText returned. It takes "code_N",
// too, so that numbers which are not codes survive a round trip. For any other
// text it returns an error.
func (c *Code) UnmarshalText(text []byte) error {
	for code := codeMin; code <= codeMax; code++ {
		if codes[code].name == string(text) {
			*c = code
			return nil
		}
	}
	if digits, ok := strings.CutPrefix(string(text), "code_"); ok {
		n, err := strconv.ParseUint(digits, 10, 32)
		if err == nil && !Code(n).valid() {
			*c = Code(n)
			return nil
		}
	}
	return fmt.Errorf("unmarshal code: %q is not the name of a code", text)
}

// CodeOf returns the code of the first [*Error] in err's tree, and CodeUnknown
// if there is none.
func CodeOf(err error) Code {
	if e, ok := asError(err); ok {
		return e.Code()
	}
	return CodeUnknown
}

// HTTPStatus returns the status of the HTTP response to a unary Connect call that
// fails with the code, such as 404 for CodeNotFound. For 0 and for numbers that
// are not codes it returns 500, as for CodeUnknown. Programs that also answer
// other HTTP requests can use it there. [Connect protocol, "Error Codes"]
func (c Code) HTTPStatus() int {
	if c.valid() {
		return codes[c].status
	}
	return http.StatusInternalServerError
}

// CodeFromHTTPStatus returns the code for a response that failed without one,
// such as a proxy sends: clients of this package use it. It is CodeUnknown for a
// status that is not in the protocol's table, 200 among them. It is not the
// inverse of [Code.HTTPStatus]: for 404 it returns CodeUnimplemented, because a
// server without the procedure answers so. [Connect protocol, "HTTP to Error
// Code"; grpc/doc/http-grpc-status-mapping.md]
func CodeFromHTTPStatus(status int) Code {
	switch status {
	case http.StatusBadRequest:
		return CodeInternal
	case http.StatusUnauthorized:
		return CodeUnauthenticated
	case http.StatusForbidden:
		return CodePermissionDenied
	case http.StatusNotFound:
		return CodeUnimplemented
	case http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return CodeUnavailable
	}
	return CodeUnknown
}
