// SPDX-License-Identifier: Apache-2.0

// The end of streams whose credentials expire.

package auth

import (
	"context"
	"errors"
	"time"

	"github.com/seed-b7c59c10/connect"
)

// ender is the interceptor of [EndStreamsAtExpiry].
type ender struct{}

func (ender) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc { return next }

func (ender) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (ender) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		identity, ok := FromContext(ctx)
		if !ok || identity.Expires.IsZero() {
			return next(ctx, conn)
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		reason := expiredError(identity)
		timer := time.AfterFunc(time.Until(identity.Expires), func() {
			cancel(reason)
			connect.EndCall(ctx, reason)
		})
		defer timer.Stop()
		err := next(ctx, conn)
		if context.Cause(ctx) == error(reason) && (err == nil || isEnd(err)) {
			return reason // the handler may return between the two lines of the timer
		}
		return err
	}
}

// isEnd reports whether a handler's error is that of a context that has ended.
func isEnd(err error) bool {
	code := connect.CodeOf(err)
	return code == connect.CodeCanceled || code == connect.CodeDeadlineExceeded ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
