// SPDX-License-Identifier: Apache-2.0

// Errors: grpc-go's statuses and the library's errors, in both directions.

package grpcadapter

import (
	"errors"
	"io"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
)

// cause is the text of a status as the reason of a [connect.Error], which also leads
// to the error that the service has returned.
type cause struct {
	text string
	err  error
}

func (c *cause) Error() string { return c.text }
func (c *cause) Unwrap() error { return c.err }

// fromStatus returns the library's error for one that a service has returned. An
// error without a status stays what it is: the library finds its code, and
// [connect.WithSafeErrors] hides its text.
func fromStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*connect.Error](err); ok {
		return err
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	e := connect.NewError(connect.Code(st.Code()), &cause{st.Message(), err})
	for _, detail := range st.Proto().GetDetails() {
		if d, err := connect.NewErrorDetail(detail); err == nil { // an Any is a detail as it is
			e.AddDetail(d)
		}
	}
	return e
}

// statusError is an error of the library as grpc-go's programs expect it: package
// status finds its status, and errors.As finds the [connect.Error].
type statusError struct {
	st  *status.Status
	err error
}

func (e *statusError) Error() string              { return e.st.Err().Error() }
func (e *statusError) GRPCStatus() *status.Status { return e.st }
func (e *statusError) Unwrap() error              { return e.err }

// Is reports whether target has the same status, as the errors of package status do.
func (e *statusError) Is(target error) bool {
	err, ok := e.st.Err().(interface{ Is(error) bool })
	return ok && err.Is(target)
}

// toStatus returns grpc-go's error for one of the library.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*connect.Error](err)
	if !ok || e == nil {
		if _, has := status.FromError(err); has { // an interceptor may return one
			return err
		}
		return &statusError{status.FromContextError(err), err}
	}
	p := status.New(codes.Code(e.Code()), e.Message()).Proto()
	for _, detail := range e.Details() {
		p.Details = append(p.Details, &anypb.Any{TypeUrl: "type.googleapis.com/" + detail.Type(), Value: detail.Bytes()})
	}
	return &statusError{status.FromProto(p), err}
}

// streamError is toStatus for a stream, whose end is a plain io.EOF in grpc-go.
func streamError(err error) error {
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return toStatus(err)
}
