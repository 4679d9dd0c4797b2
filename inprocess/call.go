// SPDX-License-Identifier: Apache-2.0

// One call: a request and its response, from the caller's RoundTrip to the handler's
// return and the end of the response's body.
//
// A call has up to three goroutines: the caller's, the handler's, and one that reads the
// request's body (body.go). Each can end it: the handler returns, the caller gives up or
// closes the response, the body fails. Each end closes both pipes, of which the first
// close counts, and then calls end.

package inprocess

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"

	"github.com/seed-b7c59c10/connect/internal/bytepipe"
)

// A call is one request and its response. It is never used again: programs may keep parts
// of it.
type call struct {
	t      *Transport
	parent context.Context // the caller's
	ctx    context.Context // the handler's
	cancel context.CancelFunc

	in, out bytepipe.Pipe // the bodies of the request and of the response
	w       response
	body    responseBody
	upload  *upload       // reads the request's body; nil if it is in memory
	trailer http.Header   // of the response, set before its end
	sent    http.Header   // the request's trailers, set before its end
	request *http.Request // nil if the call is direct
	direct  directCall

	answered chan struct{} // closed when the head of the response is fixed, or the call has failed

	mu      sync.Mutex
	isFixed bool        // answered is closed
	failed  error       // why there is no response
	over    bool        // the handler has returned, or the call was aborted
	stop    func() bool // stops the function that waits for the end of parent; may be nil
}

// address is the address of both sides. [net.SplitHostPort] can split it.
type address struct{}

func (address) Network() string { return "inprocess" }
func (address) String() string  { return "inprocess:0" }

// base is the parent of the handlers' contexts. As with net/http, it has a server:
// httputil.ReverseProxy aborts a response that its backend breaks off only if there is
// one, and would end it as if it were whole otherwise.
var base = context.WithValue(context.WithValue(context.Background(),
	http.LocalAddrContextKey, net.Addr(address{})),
	http.ServerContextKey, new(http.Server))

func newCall(t *Transport, parent context.Context) *call {
	c := &call{t: t, parent: parent, answered: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(base)
	c.w.c, c.body.c = c, c
	c.in.KeepPassedDeadlines = true
	return c
}

// A streamError is the error of a call that ended early. It has the fields of net/http's
// error for an HTTP/2 stream that was reset, by which programs and this module know it.
type streamError struct {
	StreamID uint32
	Code     errorCode
	Cause    error
}

func (e streamError) Error() string {
	return fmt.Sprintf("inprocess: call ended with %v: %v", e.Code, e.Cause)
}

func (e streamError) Unwrap() error { return e.Cause }

// errorCode is an HTTP/2 error code. [RFC 9113, section 7]
type errorCode uint32

const (
	codeInternal errorCode = 0x2
	codeCancel   errorCode = 0x8
)

func (c errorCode) String() string {
	if c == codeCancel {
		return "CANCEL"
	}
	return "INTERNAL_ERROR"
}

func reset(code errorCode, cause error) error { return streamError{1, code, cause} }

var (
	errBodyClosed  = errors.New("inprocess: the body is closed")
	errHandlerGone = errors.New("inprocess: the handler has returned")
	errGaveUp      = reset(codeCancel, errors.New("the client has given up"))
	errPanicked    = reset(codeInternal, errors.New("the handler has panicked or ended its goroutine"))
	errTooSlow     = reset(codeInternal, errors.New("the server's write deadline has passed"))
	errWriteTime   = fmt.Errorf("inprocess: write deadline: %w", os.ErrDeadlineExceeded)
	errRefused     = errors.New("inprocess: the handler takes no direct call")
)

// run calls the handler, in a goroutine of its own.
func (c *call) run() {
	returned := false
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil && v != http.ErrAbortHandler {
			stack := make([]byte, 64<<10)
			stack = stack[:runtime.Stack(stack, false)]
			c.t.logf("inprocess: panic serving %s: %v\n%s", c.path(), v, stack)
		}
		c.abort(errPanicked, errHandlerGone)
		c.w.revoke()
	}()
	served := true
	if c.request != nil {
		c.t.handler.ServeHTTP(&c.w, c.request)
	} else {
		served = c.direct.serve(&c.w)
	}
	returned = true
	if served {
		c.w.finish()
	} else {
		c.abort(errRefused, errHandlerGone)
	}
}

func (c *call) path() string {
	if c.request != nil {
		return c.request.URL.Path
	}
	return c.direct.path
}

// wait waits until the head of the response is fixed. It returns the error that came in
// its place, or that of the caller's context.
func (c *call) wait() error {
	select {
	case <-c.answered:
	case <-c.parent.Done():
		c.giveUp()
		c.out.CloseRead(context.Cause(c.parent), errGaveUp)
		return context.Cause(c.parent)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil && !c.over && c.parent.Done() != nil {
		c.stop = context.AfterFunc(c.parent, c.giveUp)
	}
	return c.failed
}

// giveUp ends the call because the caller's context has ended.
func (c *call) giveUp() { c.abort(context.Cause(c.parent), errGaveUp) }

// abort ends the call early. The caller gets the bytes that were written, and then an
// error; the handler's reads and writes fail with another. It does nothing if the call is
// over.
func (c *call) abort(caller, handler error) {
	c.out.CloseWrite(caller, handler)
	c.in.CloseRead(handler, io.ErrClosedPipe)
	c.end(caller)
}

// fix lets wait return, once. failure is the error if there is no response.
func (c *call) fix(failure error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fixLocked(failure)
}

func (c *call) fixLocked(failure error) {
	if !c.isFixed {
		c.isFixed, c.failed = true, failure
		close(c.answered)
	}
}

// end ends what waits for a call whose pipes are closed.
func (c *call) end(failure error) {
	c.mu.Lock()
	c.fixLocked(failure)
	over, stop := c.over, c.stop
	c.over = true
	c.mu.Unlock()
	if over {
		return
	}
	if stop != nil {
		stop()
	}
	c.cancel()
	if c.upload != nil {
		c.upload.stop()
	}
}

func (c *call) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}
