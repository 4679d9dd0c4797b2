// SPDX-License-Identifier: Apache-2.0

// Functions that receive messages from a conn of either side.

package connect

import (
	"errors"
	"io"
)

// codedEnd returns an *Error for io.EOF: a new one each time, because the caller may
// change it.
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

// receiveInto receives a message into msg, which is empty.
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

// receiveOnly receives the one message of a direction, and the direction's end.
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
