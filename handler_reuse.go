// SPDX-License-Identifier: Apache-2.0

// The reuse of request messages, and the point at which it is safe.

package connect

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"
)

// WithRequestReuse lets a unary handler use its request messages again: each is
// cleared after its call and taken for a later one. It saves memory for large
// messages whose code vtprotobuf has generated with its feature pool: their ResetVT
// keeps the memory of lists and bytes, into which [WithVTProto] decodes the next
// request. Other messages are cleared by proto.Reset, which keeps no more than the
// message itself. It has no effect on streams, on messages that are not Protobuf,
// and on calls of [Handler.ServeConn].
//
// A message is cleared after the handler and all interceptors of [WithInterceptors]
// have returned and the response is encoded and written, so a response may contain
// parts of its request. Until then nothing else uses it. A message whose call fails or
// panics is not used again, because its error may contain parts of it. Interceptors of
// [WithCallInterceptors] must not use the message after their next function has
// returned. Use the option only if neither the handler nor an interceptor keeps the
// request message, or a part of it such as a slice of bytes, beyond the call: in a
// goroutine that goes on, in a cache, or in a log that is written later. Such code
// would see the values of other callers.
func WithRequestReuse() HandlerOption {
	return handlerOption(func(c *config) { c.reuse = true })
}

// resetVT is the method of vtprotobuf's feature pool: it clears a message and keeps
// its memory.
type resetVT interface {
	ResetVT()
}

// serveReused returns the function of a unary handler that takes its messages from a
// pool.
func serveReused[Req, Res any](c *config, call UnaryFunc) StreamingHandlerFunc {
	messages := &sync.Pool{New: func() any { return new(Req) }}
	return func(ctx context.Context, conn StreamingHandlerConn) error {
		request := &Request[Req]{Msg: messages.Get().(*Req)}
		msg := request.Msg // an interceptor may change the field
		err := receiveOnly(conn, msg, c.initialize, c.connectGo)
		if err == nil {
			err = c.serveUnary(ctx, conn, request, call, contentOf[Res])
		}
		// An error may refer to msg, and is written later. Another conn than this package's
		// may keep the response, and so parts of msg.
		if _, encodes := conn.(*handlerConn); err == nil && encodes && clearMessage(msg) {
			messages.Put(msg)
		}
		return err
	}
}

// clearMessage clears a message for its next use. It reports whether it could.
func clearMessage(msg any) bool {
	m, ok := msg.(proto.Message)
	if !ok {
		return false
	}
	if _, kind := vtOf(m); kind.able {
		if vt, ok := msg.(resetVT); ok {
			vt.ResetVT()
			return true
		}
	}
	proto.Reset(m)
	return true
}
