// SPDX-License-Identifier: Apache-2.0

// Why a request's user does not wait any more: its context, or the channel that
// http.Request had before.

package h2

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// errCanceled is for requests whose Cancel was closed.
var errCanceled = errors.New("h2: request canceled")

// cancelGrace is how long http.Client may take between the two ways of ending a request
// that are due at the same moment.
const cancelGrace = 100 * time.Millisecond

// canceledOf returns the older of the two ways to end a request. http.Client uses
// it for its Timeout. Direct calls have no request.
func canceledOf(r *http.Request) <-chan struct{} {
	if r == nil {
		return nil
	}
	//lint:ignore SA1019 what net/http promises holds for what is deprecated, too
	return r.Cancel
}

// contextEnded returns why ctx is over. An http.Client whose Timeout passes ends the
// context, notes that it was the Timeout, and closes canceled. It looks for its note when
// RoundTrip or Read has returned, which is why they do not return before.
func contextEnded(ctx context.Context, canceled <-chan struct{}) error {
	if canceled != nil && ctx.Err() == context.DeadlineExceeded {
		timer := time.NewTimer(cancelGrace)
		defer timer.Stop()
		select {
		case <-canceled:
		case <-timer.C: // it is somebody else's
		}
	}
	return context.Cause(ctx)
}

// channelClosed returns the error for a request whose Cancel was closed. If its context
// ended at the same time, that says more.
func channelClosed(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errCanceled
}
