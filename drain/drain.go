// SPDX-License-Identifier: Apache-2.0

// Package drain ends a server so that no call is lost:
//
//	d := drain.New(server, drain.OnDrain(func() { health.Shutdown() }))
//	mux.Handle(path, d.Handler(handler))
//	...
//	err := d.Shutdown(ctx, drain.Delay(3*time.Second), drain.Grace(20*time.Second))
//
// [Drainer.Shutdown] has four steps:
//
//  1. The functions of [OnDrain] run: health checks fail from here on. For the time of
//     [Delay] the server serves as before, while balancers take it out.
//  2. The server's Shutdown begins: listeners close, idle connections end, clients of
//     HTTP/2 learn by GOAWAY that they must open another connection. At the same time the
//     channel of [Signal] is closed, so that handlers of streams return.
//  3. Calls go on. New ones that are already on their way are served. When clients have had
//     the time to read the GOAWAY, or when the server's Shutdown has returned, others fail
//     with unavailable and a pushback of 0: package retry repeats them at once, also those
//     that are not idempotent, because no handler has seen them.
//  4. Shutdown returns when no call is left. At the end of [Grace] it closes the server:
//     the contexts of the calls that are left end, and they fail.
package drain

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultGrace = 20 * time.Second
	settle       = 2 * time.Second // for clients to read the GOAWAY; package h2 takes at most one for it
	cutWait      = time.Second     // for handlers to return after their contexts have ended
)

// A Server is what a [Drainer] ends: an [*http.Server] or an [*h2.Server]. If it also has
// a method Close() error, as both have, the Drainer calls it when calls must be cut.
//
// [*h2.Server]: https://pkg.go.dev/github.com/seed-b7c59c10/connect/h2#Server
type Server interface {
	// Shutdown ends the server gracefully, and returns when that is done, or with the error
	// of ctx when ctx ends.
	Shutdown(ctx context.Context) error
}

// A Drainer ends a server. Its methods are safe for concurrent use.
type Drainer struct {
	server  Server
	onDrain []func()

	running  atomic.Int64 // calls in handlers
	ending   atomic.Bool  // idle gets a value when running falls to 0
	refusing atomic.Bool  // new calls fail
	idle     chan struct{}

	signal chan struct{} // closed when streams must end
	cut    chan struct{} // closed by Close
	done   chan struct{} // closed when the first Shutdown has returned
	err    error         // of the first Shutdown; valid once done is closed

	signalOnce, cutOnce, closeOnce sync.Once
	closeErr                       error // of the server's Close; valid after closeOnce
	begun                          atomic.Bool
}

// An Option changes a [Drainer].
type Option func(*Drainer)

// OnDrain has f called when Shutdown begins: it reports to health checks that the server
// ends. Several functions are called one after the other, in the order of the options, in
// a goroutine of their own. Shutdown waits for them, until its context ends or Close is
// called: those that are left then go on by themselves. If one panics, Shutdown panics with
// the same value, and with a text if one ends its goroutine.
func OnDrain(f func()) Option {
	if f == nil {
		panic("drain: OnDrain(nil): pass the function to call")
	}
	return func(d *Drainer) { d.onDrain = append(d.onDrain, f) }
}

// New returns a Drainer of server. It panics if server or an option is nil.
func New(server Server, options ...Option) *Drainer {
	if server == nil {
		panic("drain: New: server is nil: pass an *http.Server or an *h2.Server")
	}
	d := &Drainer{
		server: server,
		idle:   make(chan struct{}, 1),
		signal: make(chan struct{}),
		cut:    make(chan struct{}),
		done:   make(chan struct{}),
	}
	for _, option := range options {
		if option == nil {
			panic("drain: New: an option is nil")
		}
		option(d)
	}
	return d
}

// A ShutdownOption sets a time of [Drainer.Shutdown].
type ShutdownOption func(*times)

type times struct{ delay, grace time.Duration }

// Delay is how long the server serves as before after Shutdown begins: the time that
// balancers need to see failing health checks, a few seconds. The default is 0. It panics
// if d is negative.
func Delay(d time.Duration) ShutdownOption {
	if d < 0 {
		panic(fmt.Sprintf("drain: Delay(%v): expected 0 or more", d))
	}
	return func(t *times) { t.delay = d }
}

// Grace is how long calls may go on after the delay. Then they are cut. The default is 20
// seconds. Delay and Grace together must be less than the time after which the platform
// kills the program. It panics if d is negative.
func Grace(d time.Duration) ShutdownOption {
	if d < 0 {
		panic(fmt.Sprintf("drain: Grace(%v): expected 0 or more", d))
	}
	return func(t *times) { t.grace = d }
}

// ErrCut is in the error of a Shutdown that had to cut calls.
var ErrCut = errors.New("calls were cut")

// Shutdown ends the server, in the steps that the package's comment describes. It returns
// nil if all calls have ended, an error that wraps [ErrCut] if some had to be cut at the end
// of the grace, and otherwise the error of the server's Shutdown, which may be a panic. If ctx
// ends first, calls are cut at once, and the error also wraps that of ctx.
//
// The first call counts. Others wait for it and return what it returns, or the error of
// their own ctx if that ends first; their options have no effect.
func (d *Drainer) Shutdown(ctx context.Context, options ...ShutdownOption) error {
	t := times{grace: defaultGrace}
	for _, option := range options {
		if option == nil {
			panic("drain: Shutdown: an option is nil") // before it begins: later calls do not wait for it
		}
		option(&t)
	}
	if !d.begun.CompareAndSwap(false, true) {
		select {
		case <-d.done:
			return d.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer close(d.done)
	d.err = errors.New("drain: a function of OnDrain did not return: the server goes on") // if it panics
	d.err = d.run(ctx, t)
	return d.err
}

func (d *Drainer) run(ctx context.Context, t times) error {
	d.runHooks(ctx)
	if t.delay > 0 {
		timer := time.NewTimer(t.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done(): // wait ends at once, too
		case <-d.cut:
		}
	}
	began := time.Now()
	grace := time.NewTimer(t.grace)
	defer grace.Stop()
	serverCtx, stopServer := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServer()
	stopped := make(chan error, 1)
	go func() {
		err := errors.New("drain: the server's Shutdown ended its goroutine, and did not return") // runtime.Goexit
		defer func() {
			if value := recover(); value != nil {
				err = fmt.Errorf("drain: the server's Shutdown panicked: %v\n%s", value, debug.Stack())
			}
			stopped <- err
		}()
		err = d.server.Shutdown(serverCtx)
	}()
	d.signalOnce.Do(func() { close(d.signal) })
	err, cause := d.wait(ctx, stopped, grace.C)
	d.refusing.Store(true)
	if cause == nil {
		return err
	}
	left := d.running.Load()
	stopServer()
	took := time.Since(began).Round(time.Millisecond)
	closeErr := d.closeServer()
	d.waitForHandlers()
	return errors.Join(fmt.Errorf("drain: %w: %d were left after %v", cause, left, took), closeErr)
}

// runHooks calls the functions of OnDrain, and waits for them until the server must end.
func (d *Drainer) runHooks(ctx context.Context) {
	if len(d.onDrain) == 0 {
		return
	}
	ended := make(chan any, 1) // gets the value of a panic, or nil
	go func() {
		var gone any = "drain: a function of OnDrain ended its goroutine, and did not return" // runtime.Goexit
		defer func() {
			if value := recover(); value != nil {
				gone = value
			}
			ended <- gone
		}()
		for _, f := range d.onDrain {
			f()
		}
		gone = nil
	}()
	select {
	case value := <-ended:
		if value != nil {
			panic(value)
		}
	case <-ctx.Done():
	case <-d.cut:
	}
}

// wait waits until no call is left, and the server's Shutdown has returned: err is its
// error. cause is not nil if calls must be cut.
func (d *Drainer) wait(ctx context.Context, stopped <-chan error, grace <-chan time.Time) (err, cause error) {
	settled := time.NewTimer(settle)
	defer settled.Stop()
	d.ending.Store(true)
	for stopped != nil || d.running.Load() > 0 {
		select {
		case <-settled.C:
			d.refusing.Store(true)
		case err = <-stopped:
			stopped = nil
			d.refusing.Store(true)
		case <-d.idle:
		case <-grace:
			return nil, ErrCut
		case <-ctx.Done():
			err, cause := ctx.Err(), context.Cause(ctx)
			if errors.Is(cause, err) {
				return nil, fmt.Errorf("%w: %w", ErrCut, cause)
			}
			return nil, fmt.Errorf("%w: %w: %w", ErrCut, err, cause)
		case <-d.cut:
			return nil, errClosed
		}
	}
	if isClosed(d.cut) {
		return nil, errClosed
	}
	return err, nil
}

var errClosed = fmt.Errorf("%w by Close", ErrCut)

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// waitForHandlers gives handlers that heed their contexts the time to return.
func (d *Drainer) waitForHandlers() {
	timer := time.NewTimer(cutWait)
	defer timer.Stop()
	for d.running.Load() > 0 {
		select {
		case <-d.idle:
		case <-timer.C:
			return
		}
	}
}

// Close ends the server at once, also during Shutdown, which then returns. Calls fail, and
// their contexts end. It returns the error of the server's Close; without such a method the
// server goes on, but the Drainer's handlers refuse new calls. Later calls do nothing and
// return the same. A Shutdown that begins after Close does nothing and returns nil. Neither
// waits for the handlers.
func (d *Drainer) Close() error {
	d.cutOnce.Do(func() { close(d.cut) })
	d.refusing.Store(true)
	d.signalOnce.Do(func() { close(d.signal) })
	err := d.closeServer()
	if d.begun.CompareAndSwap(false, true) {
		close(d.done)
	}
	return err
}

// closeServer calls the server's Close, once.
func (d *Drainer) closeServer() error {
	d.closeOnce.Do(func() {
		if c, ok := d.server.(interface{ Close() error }); ok {
			d.closeErr = c.Close()
		}
	})
	return d.closeErr
}
