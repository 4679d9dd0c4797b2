// SPDX-License-Identifier: Apache-2.0

// Streams of both sides: receiving and sending within a context, and ranging over
// messages.

package connect

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// leftover is the message for which a goroutine still waits after a ReceiveContext has
// returned without it. The stream's next receive returns that message. The zero value
// is none. The goroutine that receives uses it.
type leftover[T any] struct {
	*awaited[T]
}

// awaited is a message that a goroutine waits for.
type awaited[T any] struct {
	done  chan struct{} // closed once the rest is set
	msg   *T
	err   error
	panic any // of a codec or an initializer, for the goroutine that receives
}

// receive waits for the next message.
func (l *leftover[T]) receive(conn receivingConn, initialize func(Spec, any) error) (*T, error) {
	if l.awaited == nil {
		return receiveMessage[T](conn, initialize)
	}
	<-l.done
	got := l.awaited
	l.awaited = nil
	if got.panic != nil {
		panic(got.panic)
	}
	return got.msg, got.err
}

// receiveWithin waits for the next message, until ctx ends at the latest. A goroutine
// waits for the message, because a read of the transport cannot be broken off and be
// begun again. If ctx ends first, outwaited is true, and that goroutine waits until
// the message arrives or the call is over.
func (l *leftover[T]) receiveWithin(ctx context.Context, conn receivingConn, initialize func(Spec, any) error) (msg *T, err error, outwaited bool) {
	if ctx.Done() == nil {
		msg, err = l.receive(conn, initialize)
		return msg, err, false
	}
	if l.awaited == nil && ctx.Err() == nil {
		a := &awaited[T]{done: make(chan struct{})}
		l.awaited = a
		go func() {
			defer close(a.done)
			defer func() { a.panic = recover() }()
			a.msg, a.err = receiveMessage[T](conn, initialize)
		}()
	}
	if l.awaited != nil {
		select {
		case <-l.done:
		case <-ctx.Done():
		}
		select {
		case <-l.done: // a message that is there is returned, even if ctx has ended as well
			msg, err = l.receive(conn, initialize)
			return msg, err, false
		default:
		}
	}
	return nil, endedError(ctx, "receive: no message came before the context of ReceiveContext ended; the next receive returns it"), true
}

// endedError is the error of an operation whose own context has ended.
func endedError(ctx context.Context, text string) *Error {
	code := CodeCanceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		code = CodeDeadlineExceeded
	}
	return NewError(code, fmt.Errorf("%s: %w", text, ctx.Err()))
}

// messages ranges over what receive returns. The end of the stream ends the loop; any
// other error is its last value.
func messages[T any](receive func() (*T, error)) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for {
			msg, err := receive()
			switch {
			case isEOF(err):
				return
			case err != nil:
				yield(nil, err)
				return
			case !yield(msg, nil):
				return
			}
		}
	}
}

// cutter is a conn whose call can be ended early, with an error.
type cutter interface {
	cut(err *Error)
}

// sendWithin is send, but ends the call if ctx ends before the message is sent: what
// the transport has of the message cannot be taken back. For a conn that is not this
// package's, otherwise returns how to end its call, nil if that is not known; then
// sendWithin waits as long as the conn's Send does.
func sendWithin[T any](ctx context.Context, conn interface{ Send(any) error }, msg *T, otherwise func() func(*Error)) error {
	if ctx.Done() == nil {
		return send(conn, msg)
	}
	if ctx.Err() != nil {
		return endedError(ctx, "send: the context of SendContext had ended before: nothing was sent")
	}
	var cut func(*Error)
	if own, ok := conn.(cutter); ok {
		cut = own.cut
	} else if cut = otherwise(); cut == nil {
		return send(conn, msg)
	}
	var late *Error
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		late = endedError(ctx, "send: the context of SendContext ended before the message was sent, so the call is over")
		cut(late)
	})
	err := send(conn, msg)
	if stop() {
		return err
	}
	<-ended
	return late
}

// cutHandler returns how to end the call of a handler's context, which may be nil.
func cutHandler(ctx context.Context) func() func(*Error) {
	return func() func(*Error) {
		if ctx == nil {
			return nil
		}
		if own, ok := ctx.Value(handlerCallKey{}).(cutter); ok {
			return own.cut
		}
		return nil
	}
}

// cutClient returns how to end the call of a client's conn that an interceptor has
// wrapped.
func cutClient(conn StreamingClientConn) func() func(*Error) {
	return func() func(*Error) {
		return func(*Error) { _ = conn.CloseResponse() }
	}
}
