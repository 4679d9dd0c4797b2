// SPDX-License-Identifier: Apache-2.0

// The sixteen error codes, their names and their HTTP statuses.

package connect

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// A Code classifies an error. The codes are gRPC's, in number and meaning, and
// there are no others; zero is not an error.
type Code uint32

const (
	// CodeCanceled says that the call was cancelled, usually by its caller.
	CodeCanceled Code = 1
	// CodeUnknown says nothing: an error without a code of its own.
	CodeUnknown Code = 2
	// CodeInvalidArgument says that the request is wrong whatever the state of
	// the system.
	CodeInvalidArgument Code = 3
	// CodeDeadlineExceeded says that time ran out; the operation may have
	// succeeded nevertheless.
	CodeDeadlineExceeded Code = 4
	// CodeNotFound says that something the request names does not exist.
	CodeNotFound Code = 5
	// CodeAlreadyExists says that something to be created exists.
	CodeAlreadyExists Code = 6
	// CodePermissionDenied says that the caller, though known, may not do this.
	CodePermissionDenied Code = 7
	// CodeResourceExhausted says that a limit was reached: a quota, a size, a
	// disk.
	CodeResourceExhausted Code = 8
	// CodeFailedPrecondition says that the system is not in the state that the
	// operation needs; repeating it does not help until the state changes.
	CodeFailedPrecondition Code = 9
	// CodeAborted says that a conflict with other operations ended this one;
	// repeating the whole sequence may help.
	CodeAborted Code = 10
	// CodeOutOfRange says that the operation went past the end of something.
	CodeOutOfRange Code = 11
	// CodeUnimplemented says that the procedure does not exist or is not
	// supported here.
	CodeUnimplemented Code = 12
	// CodeInternal says that something which must hold does not: a defect.
	CodeInternal Code = 13
	// CodeUnavailable says that the service cannot be reached for now;
	// repeating the call, after a pause, may help.
	CodeUnavailable Code = 14
	// CodeDataLoss says that data was lost or corrupted for good.
	CodeDataLoss Code = 15
	// CodeUnauthenticated says that the caller has not shown who it is.
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

// MarshalText returns the text of [Code.String].
func (c Code) MarshalText() ([]byte, error) {
	return []byte(c.String()), nil
}

// UnmarshalText accepts what MarshalText returns, for numbers that are not
// codes, too, so that unknown codes survive a round trip. Anything else is an
// error.
func (c *Code) UnmarshalText(text []byte) error {
	for code := codeMin; code <= codeMax; code++ {
		if codes[code].name == string(text) {
			*c = code
			return nil
		}
	}
	if digits, ok := strings.CutPrefix(string(text), "code_"); ok {
		n, err := strconv.ParseUint(digits, 10, 32)
		if err == nil && Code(n).String() == string(text) {
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

// codeHTTPStatus returns the HTTP status of a unary Connect error.
func codeHTTPStatus(c Code) int {
	if c.valid() {
		return codes[c].status
	}
	return http.StatusInternalServerError
}

// codeFromHTTPStatus returns the code for a response that carries none of its
// own, as a proxy sends it. It is not the inverse of codeHTTPStatus. [Connect
// protocol, HTTP to Error Code; grpc/doc/http-grpc-status-mapping.md]
func codeFromHTTPStatus(status int) Code {
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
