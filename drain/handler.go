// SPDX-License-Identifier: Apache-2.0

// Handlers that count their calls, refuse new ones at the end, and hand the signal down.

package drain

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/direct"
)

// Handler returns next as a handler whose calls the Drainer counts, and whose contexts
// have the [Signal]. Engines keep the direct path if next is the value of a generated
// constructor or of [connect.NewServiceHandler], or an [http.ServeMux] that leads to it. On
// that path a call costs one allocation more, and otherwise two. It panics if next is nil.
func (d *Drainer) Handler(next http.Handler) http.Handler {
	if next == nil {
		panic("drain: Handler: next is nil: pass the handler to serve")
	}
	return &handler{d, next, connect.NewErrorWriter()}
}

// Running returns how many calls are in the Drainer's handlers.
func (d *Drainer) Running() int { return int(d.running.Load()) }

// Signal returns a channel that is closed when the server ends: a handler of a stream then
// returns. ctx is the context of a call to a [Drainer.Handler]; for others the channel is
// nil, which never is ready.
//
// The best end is a last message that names where the client continues, and no error: to
// retries, balancers and metrics the call has succeeded, and the client calls again. A
// schema without such a message leaves unavailable. Package retry repeats that for
// idempotent procedures, as long as the client has seen no message; otherwise the client's
// program calls again. But it looks as the error of a server that is ill: a balancer that
// counts errors takes one with many of them out, and maybe also its successor at the same
// address. Do not add a pushback of 0, which has every procedure repeated, to the end of a
// stream that has read a message or done anything.
func Signal(ctx context.Context) <-chan struct{} {
	if d, ok := ctx.Value(signalKey{}).(*Drainer); ok {
		return d.signal
	}
	return nil
}

type signalKey struct{}

// A drainContext adds the Drainer to the context of a call.
type drainContext struct {
	context.Context
	d *Drainer
}

func (c *drainContext) Value(key any) any {
	if key == (signalKey{}) {
		return c.d
	}
	return c.Context.Value(key)
}

// AfterFunc runs f when the context ends. Package context calls it, and so needs no goroutine
// to watch this context, if that inside of it needs none, as those of package h2.
func (c *drainContext) AfterFunc(f func()) (stop func() bool) {
	if inside, ok := c.Context.(interface{ AfterFunc(func()) func() bool }); ok {
		return inside.AfterFunc(f)
	}
	return context.AfterFunc(c.Context, f)
}

type handler struct {
	d      *Drainer
	next   http.Handler
	errors *connect.ErrorWriter
}

// Unwrap returns the handler inside: package overload looks there for procedures.
func (h *handler) Unwrap() http.Handler { return h.next }

// enter counts a call, and returns false if it must be refused. The caller calls leave
// after true.
func (d *Drainer) enter() bool {
	d.running.Add(1)
	if d.refusing.Load() {
		d.leave()
		return false
	}
	return true
}

// leave counts off a call. Shutdown sets ending before it looks at running, and leave
// changes running before it looks at ending: so one of them sees the other.
func (d *Drainer) leave() {
	if d.running.Add(-1) == 0 && d.ending.Load() {
		select {
		case d.idle <- struct{}{}:
		default:
		}
	}
}

// ServeHTTP serves one call.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.d.enter() {
		h.refuse(w, r)
		return
	}
	defer h.d.leave()
	h.next.ServeHTTP(w, r.WithContext(&drainContext{r.Context(), h.d}))
}

// refuse answers a call that came too late. The pushback of 0 makes clients repeat it at
// once [gRFC A6, "Pushback"]: over another connection, because this one has ended for new
// calls.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request) {
	err := connect.NewError(connect.CodeUnavailable, errors.New("the server is shutting down: call again, over another connection"))
	err.Meta().Set("Grpc-Retry-Pushback-Ms", "0")
	_ = h.errors.Write(w, r, err)
}

// ServeDirect is ServeHTTP for engines that serve a POST without an [http.Request], such as
// package h2. Calls that are refused go to ServeHTTP.
func (h *handler) ServeDirect(self http.Handler, path string, w http.ResponseWriter) bool {
	call, ok := w.(direct.Call)
	if !ok || self != http.Handler(h) {
		return false
	}
	next := direct.Under(h.next, path, call)
	if next == nil || !h.d.enter() {
		return false
	}
	defer h.d.leave()
	return next.ServeDirect(next, path, &directCall{Call: call, ctx: drainContext{d: h.d}})
}

var (
	_ direct.Handler = (*handler)(nil)
	_ direct.Call    = (*directCall)(nil)
)

// A directCall is a direct call whose context has the signal.
type directCall struct {
	direct.Call
	ctx drainContext
}

// DirectRequest returns the request with that context.
func (c *directCall) DirectRequest() (ctx context.Context, fields [][2]string, body io.Reader, length int64, host, remoteAddr string) {
	ctx, fields, body, length, host, remoteAddr = c.Call.DirectRequest()
	c.ctx.Context = ctx
	return &c.ctx, fields, body, length, host, remoteAddr
}

// Unwrap lets an [http.ResponseController] flush and set deadlines.
func (c *directCall) Unwrap() http.ResponseWriter { return c.Call }
