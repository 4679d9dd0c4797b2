// SPDX-License-Identifier: Apache-2.0

// What receives from a conn of either side.

package connect

import (
	"errors"
	"io"
)

// codedEnd gives the end of a stream a code: anew each time, as the caller may
// change the error.
func codedEnd(err error) error {
	if err == io.EOF {
		return NewError(CodeUnknown, io.EOF)
	}
	return err
}

// receivingConn is the receiving half of a conn.
type receivingConn interface {
	Spec() Spec
	Receive(msg any) error
}

// ownConn is a conn of this package, without interceptors around it.
type ownConn interface {
	receiveNext(msg any, fresh bool) error
}

// receiveInto receives into a message that has nothing in it.
func receiveInto(conn receivingConn, msg any, initialize func(Spec, any) error) error {
	if initialize != nil {
		if err := initialize(conn.Spec(), msg); err != nil {
			return err
		}
	} else if own, ok := conn.(ownConn); ok {
		return codedEnd(own.receiveNext(msg, true))
	}
	return conn.Receive(msg)
}

// receiveOnly is receiveInto for the one message of its direction, with its end.
func receiveOnly(conn receivingConn, msg any, initialize func(Spec, any) error) error {
	if err := receiveInto(conn, msg, initialize); err != nil {
		return err
	}
	if own, ok := conn.(ownConn); ok {
		return unlessEOF(own.receiveNext(msg, false))
	}
	return unlessEOF(conn.Receive(msg))
}

// receiveMessage receives into a new message.
func receiveMessage[T any](conn receivingConn, initialize func(Spec, any) error) (*T, error) {
	msg := new(T)
	if err := receiveInto(conn, msg, initialize); err != nil {
		return nil, err
	}
	return msg, nil
}

// unlessEOF returns err, nil if it is the end of a stream.
func unlessEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
