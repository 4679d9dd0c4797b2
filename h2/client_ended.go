// SPDX-License-Identifier: Apache-2.0

// The two ways in which the user of a request ends it: the request's context, and the
// channel http.Request.Cancel, which is older.

package h2

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// errCanceled is the error of requests whose Cancel was closed.
var errCanceled = errors.New("h2: request canceled")

// cancelGrace is how long http.Client may take to close Cancel after it has ended the
// context of the same request.
const cancelGrace = 100 * time.Millisecond

// canceledOf returns a request's Cancel, which http.Client uses for its Timeout. A
// direct call has no request and no such channel.
func canceledOf(r *http.Request) <-chan struct{} {
	if r == nil {
		return nil
	}
	//lint:ignore SA1019 what net/http promises holds for what is deprecated, too
	return r.Cancel
}

// contextEnded returns the cause of ctx's end. An http.Client whose Timeout passes ends
// the context, records that it was the Timeout, and closes canceled. It reads its record
// when RoundTrip or Read returns: so these wait until canceled is closed, cancelGrace at
// the most.
func contextEnded(ctx context.Context, canceled <-chan struct{}) error {
	if canceled != nil && ctx.Err() == context.DeadlineExceeded {
		timer := time.NewTimer(cancelGrace)
		defer timer.Stop()
		select {
		case <-canceled:
		case <-timer.C: // the deadline was not http.Client's
		}
	}
	return context.Cause(ctx)
}

// channelClosed returns the error of a request whose Cancel was closed. The context's
// cause, if it has ended too, explains more.
func channelClosed(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errCanceled
}
