// SPDX-License-Identifier: Apache-2.0

// Functions that receive messages from a conn of either side.

package connect

import (
	"errors"
	"io"
	"reflect"
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

// receiveInto receives a message into msg, which is empty. Its frame is on the stack of
// each handler that waits for a message: rare cases are other functions.
func receiveInto(conn receivingConn, msg any, initialize func(Spec, any) error) error {
	if w, ok := conn.(*watchedConn); ok {
		return w.receive(msg, initialize)
	}
	if initialize != nil {
		if err := prepare(conn, msg, initialize); err != nil {
			return err
		}
	} else if own, ok := conn.(ownConn); ok {
		return codedEnd(own.receiveNext(msg, true))
	}
	return conn.Receive(msg)
}

// prepare calls an initializer for a message that is to be received.
//
//go:noinline
func prepare(conn receivingConn, msg any, initialize func(Spec, any) error) error {
	return initialize(conn.Spec(), msg)
}

// endless returns an initializer whose errors do not look like the end of a stream: see
// [WithConnectGoBehavior].
func endless(initialize func(Spec, any) error) func(Spec, any) error {
	return func(spec Spec, msg any) error {
		err := initialize(spec, msg)
		if !isEOF(err) {
			return err
		}
		code := CodeUnknown
		if e, ok := asError(err); ok {
			code = e.code
		}
		return NewError(code, notEnd(err))
	}
}

// receiveOnly receives the one message of a direction, and the direction's end. This
// package's conns find out themselves that there is none, or a second one; conns of
// programs and of interceptors need not. With connect-go's meaning the end is received
// into a message of its own, which is initialized, too.
func receiveOnly(conn receivingConn, msg any, initialize func(Spec, any) error, connectGo bool) error {
	own, ok := conn.(ownConn)
	var err error
	if connectGo && initialize != nil {
		err = receiveFirst(conn, msg, initialize)
	} else if err = receiveInto(conn, msg, initialize); isEOF(err) {
		err = errNoMessage(conn.Spec())
	}
	if err != nil {
		return err
	}
	if connectGo && (initialize != nil || !ok) {
		if msg, err = messageForEnd(conn, msg, initialize); err != nil {
			return err
		}
	}
	if ok {
		err = own.receiveNext(msg, false)
	} else {
		err = conn.Receive(msg)
	}
	if err == nil {
		return errMoreMessages(conn.Spec())
	}
	return unlessEOF(err)
}

// receiveFirst is receiveInto for the one message of a direction, with connect-go's
// meaning: an error of the initializer stays as it is, and does not mean that there is no
// message.
//
//go:noinline
func receiveFirst(conn receivingConn, msg any, initialize func(Spec, any) error) error {
	var refused error
	err := receiveInto(conn, msg, func(spec Spec, msg any) error {
		refused = initialize(spec, msg)
		return refused
	})
	if refused == nil && isEOF(err) {
		return errNoMessage(conn.Spec())
	}
	return err
}

// errNoMessage is the error for a direction of one message that has none.
func errNoMessage(s Spec) error {
	if s.IsClient {
		return errorf(CodeUnimplemented, "%s returns one message: the response has none", s.Procedure)
	}
	return errorf(CodeUnimplemented, "%s takes one message: the request has none", s.Procedure)
}

// messageForEnd returns a new message of the type of msg, initialized.
//
//go:noinline
func messageForEnd(conn receivingConn, msg any, initialize func(Spec, any) error) (any, error) {
	msg = reflect.New(reflect.TypeOf(msg).Elem()).Interface()
	if initialize == nil {
		return msg, nil
	}
	return msg, initialize(conn.Spec(), msg)
}

// errMoreMessages is the error for a direction of one message that has a second.
func errMoreMessages(s Spec) error {
	if s.IsClient {
		return errorf(CodeUnimplemented, "%s returns one message: the response has more", s.Procedure)
	}
	return errorf(CodeUnimplemented, "%s takes one message: the request has more", s.Procedure)
}

// receiveMessage receives into a new message, which it returns with an error, too: what
// was decoded before.
func receiveMessage[T any](conn receivingConn, initialize func(Spec, any) error) (*T, error) {
	msg := new(T)
	return msg, receiveInto(conn, msg, initialize)
}

// received returns a message, or none with an error.
func received[T any](msg *T, err error) (*T, error) {
	if err != nil {
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
