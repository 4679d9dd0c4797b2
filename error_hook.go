// SPDX-License-Identifier: Apache-2.0

// Error hooks: functions that see the error of each failed call, and may replace it.

package connect

import "context"

// An ErrorHookFunc gets the error with which a call fails, and returns the one that
// is sent to the client: see [WithErrorHook].
type ErrorHookFunc func(ctx context.Context, spec Spec, err error) error

// WithErrorHook adds a function that runs once for each call that fails, with the
// error as it was found: by a gate, an interceptor or the handler, or by the library
// before these run. Errors of the library are malformed messages, unknown
// compressions, messages over a limit, and values of headers that it cannot read.
// The client receives the error that hook returns. If hook returns nil, the client
// receives err: a call that has failed does not become a success. [WithSafeErrors]
// applies to the result.
//
// The context is the call's: [CallInfoForHandlerContext] returns the peer and the
// headers. It may have ended. If the response was sent before the call failed, the
// result of hook is not used. Hooks run in the order of their options; each gets the
// error that the one before has returned. A hook must be safe for concurrent use.
// [WithRecover] does not recover from its panics. WithErrorHook panics if hook is
// nil.
//
// An [ErrorWriter] with this option, and a handler for unknown procedures, call hook
// with a Spec that has the request's path as Procedure and nothing else, and with
// the request's context, which has no CallInfo.
//
// A request that is in none of the protocols is not a call, and no hook sees the
// answer to it: the statuses 405, 415 and 505 that [Handler] lists, the 404 of
// [NewUnknownProcedureHandler] for a browser, and what net/http refuses itself.
func WithErrorHook(hook ErrorHookFunc) HandlerOption {
	if hook == nil {
		panic("connect: WithErrorHook needs a function")
	}
	return handlerOption(func(c *config) { c.errorHooks = append(c.errorHooks, hook) })
}

// hookError returns the error of a failed call as the hooks leave it, nil for nil.
func (c *config) hookError(ctx context.Context, spec Spec, err error) error {
	if err == nil {
		return nil
	}
	for _, hook := range c.errorHooks {
		if replaced := hook(ctx, spec, err); replaced != nil {
			err = replaced
		}
	}
	return err
}
