// SPDX-License-Identifier: Apache-2.0

// The connections to one host: which of them takes the next call, which calls wait for a
// place, and when another connection is opened.
//
// Invariants. A call takes a place (clientConn.active) under mu, from a connection in
// conns, and gives it back once. queue has the calls that wait, in the order in which
// they came; each event that may make a place, or end the hope for one, calls
// assignPlacesLocked: a place that was freed, SETTINGS, a connection that was added or
// removed, a failed dial, the end of the transport. At most one dial is under way. mu is
// taken after conn.mu, never before.

package h2

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

const (
	dialTimeout = 30 * time.Second
	backoffMin  = 50 * time.Millisecond // after the first dial that fails, then twice as long each time
	backoffMax  = 5 * time.Second
)

// A host is the pool of connections to one address.
type host struct {
	t        *Transport
	secure   bool
	address  string     // host:port
	adopting sync.Mutex // held while a connection of an http.Transport is added; taken before mu
	// tooManyPings is set once the peer has complained about our PINGs.
	tooManyPings atomic.Bool
	// single is set if the only connection is one of http.Transport.NewClientConn; onChange,
	// if not nil, is then called when its places or its state have changed.
	single   bool
	onChange func()

	mu      sync.Mutex
	conns   []*clientConn
	queue   list.List    // of *waiter, in the order in which they came
	waiting atomic.Int32 // the queue's length; a waiter counts itself before it looks for a place again

	dialing   bool
	cancel    context.CancelFunc // ends the dial under way
	lastErr   error              // of the last dial, if it failed
	failures  int                // dials that failed, one after another
	retryAt   time.Time          // no dial before, after one that failed
	stopped   bool               // the transport is closed
	forgotten bool               // the transport has forgotten the host
	readiness readiness
}

// A waiter is a call without a place. The goroutine that takes it out of the queue sets
// conn or err, and closes done.
type waiter struct {
	ctx     context.Context
	patient bool // see host.get
	done    chan struct{}
	conn    *clientConn
	err     error
}

// errHostGone makes a call look its host up again: the transport has forgotten this one.
var errHostGone = errors.New("h2: host is forgotten")

func newHost(t *Transport, secure bool, address string) *host {
	return &host{t: t, secure: secure, address: address}
}

// get returns a connection on which a place is reserved for the call. It waits for a
// connection to be opened, or for a place, until ctx is done or canceled is closed.
// Within an http.Transport, which dials itself, a call that finds no place gets
// errNoConn instead, unless it is patient or a place is about to be free.
func (h *host) get(ctx context.Context, canceled <-chan struct{}, patient bool) (*clientConn, error) {
	h.mu.Lock()
	if h.queue.Len() == 0 && !h.stopped && !h.forgotten {
		if c := h.pickLocked(); c != nil {
			h.mu.Unlock()
			return c, nil
		}
	}
	if h.forgotten {
		h.mu.Unlock()
		return nil, errHostGone
	}
	if h.t.standard != nil && !patient && !h.placeSoonLocked() {
		h.mu.Unlock()
		return nil, errNoConn
	}
	w := &waiter{ctx: ctx, patient: patient, done: make(chan struct{})}
	h.waiting.Add(1)
	place := h.queue.PushBack(w)
	h.assignPlacesLocked()
	h.mu.Unlock()

	var err error
	select {
	case <-w.done:
		return w.conn, w.err
	case <-ctx.Done():
		err = contextEnded(ctx, canceled)
	case <-canceled:
		err = channelClosed(ctx)
	}
	h.mu.Lock()
	select {
	case <-w.done: // a place came at the same moment
		h.mu.Unlock()
		if w.conn != nil {
			w.conn.giveBack()
		}
		return nil, err
	default:
	}
	h.queue.Remove(place)
	h.waiting.Add(-1)
	h.mu.Unlock()
	return nil, err
}

// assignPlacesLocked gives places to the calls that wait, in order, and errors to those
// for which waiting has become useless, then dials if any are left.
//
// Where this side dials, all calls of the queue wait for the same places: the first that
// has to go on waiting ends the loop. Within an http.Transport calls differ (a patient
// one waits where another gets errNoConn and has net/http dial), so each is looked at.
func (h *host) assignPlacesLocked() {
	var next *list.Element
	for first := h.queue.Front(); first != nil; first = next {
		next = first.Next()
		w := first.Value.(*waiter)
		var c *clientConn
		if !h.stopped {
			c = h.pickLocked()
		}
		var err error
		if c == nil {
			if err = h.waitErrorLocked(w); err == nil {
				if h.t.standard == nil {
					break // the others wait, too
				}
				continue
			}
		}
		h.queue.Remove(first)
		h.waiting.Add(-1)
		w.conn, w.err = c, err
		close(w.done)
	}
	if h.queue.Len() > 0 && h.mayDialLocked(true) {
		h.dialLocked(h.queue.Front().Value.(*waiter).ctx)
	}
}

// waitErrorLocked returns nil if w should wait for a place, and otherwise the error that
// it gets.
func (h *host) waitErrorLocked(w *waiter) error {
	switch {
	case h.stopped:
		return errTransportClosed
	case h.t.standard != nil:
		if h.healthyLocked() && (w.patient || h.strict() || h.awaitsSettingsLocked()) {
			return nil
		}
		return errNoConn
	case h.healthyLocked():
		return nil
	case h.lastErr != nil && time.Now().Before(h.retryAt):
		return h.lastErr
	}
	return nil
}

// strict reports whether calls wait while a connection is full, instead of having
// another opened (HTTP2Config.StrictMaxConcurrentRequests).
func (h *host) strict() bool {
	standard := h.t.config.HTTP2
	return standard != nil && standard.StrictMaxConcurrentRequests
}

// pickLocked reserves a place on the connection with the fewest calls, and returns nil
// if there is no place. If even that one has many calls, it dials another connection for the
// calls to come.
func (h *host) pickLocked() *clientConn {
	var best *clientConn
	load := 0
	for _, c := range h.conns {
		n, free := c.load()
		if free && (best == nil || n < load) {
			best, load = c, n
		}
	}
	if best == nil {
		return nil
	}
	best.active.Add(1)
	if load >= callsBeforeDial && h.mayDialLocked(false) {
		h.dialLocked(context.Background())
	}
	return best
}

// placeSoonLocked reports whether a call waits although net/http could dial for it: for
// the first SETTINGS of a new connection, with no more others than net/http would put on
// one connection, or because strict is set.
func (h *host) placeSoonLocked() bool {
	if h.strict() {
		return h.healthyLocked()
	}
	return h.queue.Len() < placesWithin && h.awaitsSettingsLocked()
}

// awaitsSettingsLocked reports whether the first SETTINGS of a connection are still to
// come. Until then it has placesAtFirst places.
func (h *host) awaitsSettingsLocked() bool {
	return slices.ContainsFunc(h.conns, func(c *clientConn) bool { return !c.gotSettings.Load() && !c.suspect() })
}

// healthyLocked reports whether there is a connection that is not suspect.
func (h *host) healthyLocked() bool {
	return slices.ContainsFunc(h.conns, func(c *clientConn) bool { return !c.suspect() })
}

// takesMore reports whether a call would find a place or wait for one, and not get
// errNoConn.
func (h *host) takesMore() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.placeSoonLocked() || h.hasRoomLocked()
}

func (h *host) hasRoomLocked() bool {
	return slices.ContainsFunc(h.conns, func(c *clientConn) bool {
		_, free := c.load()
		return free
	})
}

// mayDialLocked reports whether another connection may be opened. needed is set if no
// connection has a place.
func (h *host) mayDialLocked(needed bool) bool {
	most := h.t.config.MaxConnsPerHost
	if most == 0 && !needed {
		most = runtime.GOMAXPROCS(0)
	}
	switch {
	case h.dialing || h.stopped || h.t.standard != nil:
		return false
	case most > 0 && len(h.conns) >= most:
		return false
	case h.strict() && h.healthyLocked():
		return false
	case h.lastErr != nil && time.Now().Before(h.retryAt):
		return false
	}
	// A new connection has more places once its SETTINGS arrive. A peer that allows no
	// stream on one connection will allow none on another.
	return !slices.ContainsFunc(h.conns, func(c *clientConn) bool {
		return !c.suspect() && (!c.gotSettings.Load() || c.max.Load() == 0)
	})
}

// dialLocked opens a connection in the background, independent of the call that needs
// it: ctx is that call's, for its values only. The result is a place for every call that
// waits.
func (h *host) dialLocked(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dialTimeout)
	h.dialing, h.cancel = true, cancel
	go func() {
		defer cancel()
		err := errDialGone // unless connect returns
		defer func() {
			if err != nil {
				h.dialFailed(ctx, err)
			}
		}()
		var nc net.Conn
		if nc, err = h.connect(ctx); err == nil {
			_, _ = h.add(nc)
		}
	}()
}

// dialFailed ends a dial that has failed.
func (h *host) dialFailed(ctx context.Context, err error) {
	if ctx.Err() == context.DeadlineExceeded {
		err = errDialTimeout // dialTimeout, and no deadline of a call
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dialing = false
	h.dialFailedLocked(err)
	h.assignPlacesLocked()
}

// dialFailedLocked counts a connection that could not be opened or failed before its
// first SETTINGS. The wait before the next dial doubles, up to backoffMax, and up to
// half of it is random.
func (h *host) dialFailedLocked(err error) {
	h.lastErr = unprocessedError{error: fmt.Errorf("h2: connecting to %s: %w", h.address, err)}
	wait := min(backoffMin<<min(h.failures, 10), backoffMax)
	h.failures++
	h.retryAt = time.Now().Add(wait/2 + rand.N(wait/2+1))
}

// proved forgets failed dials: the address works, as a peer has sent its SETTINGS.
func (h *host) proved() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lastErr, h.failures, h.retryAt = nil, 0, time.Time{}
	h.readyChangedLocked()
}

// add makes nc a connection of the pool, greets its peer, and begins to read. It closes
// nc if the transport is closed.
func (h *host) add(nc net.Conn) (*clientConn, error) {
	c := h.t.newClientConn(h, nc)
	err := errTransportClosed
	if h.t.opened(c) {
		c.greet(wire.ClientPreface) // before a call can write
		err = nil
	}
	h.mu.Lock()
	h.dialing = false
	switch {
	case err != nil:
	case h.forgotten:
		err = errHostGone
	case !c.retired.Load(): // it is retired if greeting has failed
		h.conns = append(h.conns, c)
	}
	stopped := h.stopped
	h.assignPlacesLocked()
	h.mu.Unlock()
	if err == errTransportClosed {
		_ = nc.Close()
		return nil, err
	}
	c.begin()
	if stopped || err != nil {
		c.retire()
	}
	return c, err
}

// remove takes a connection out of the pool. err is not nil if it failed before its
// first SETTINGS.
func (h *host) remove(c *clientConn, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notify()
	h.conns = slices.DeleteFunc(h.conns, func(other *clientConn) bool { return other == c })
	if err != nil {
		h.dialFailedLocked(err)
	}
	h.readyChangedLocked()
	h.assignPlacesLocked()
}

// freed runs when there may be a place. It may be called with conn.mu held.
func (h *host) freed() {
	h.notify()
	if h.waiting.Load() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.assignPlacesLocked()
}

// stop ends the dial under way and fails the calls that wait: the transport is closed.
func (h *host) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = true
	if h.cancel != nil {
		h.cancel()
	}
	h.assignPlacesLocked()
}

// forget reports whether the host is unused: it has no connection, no waiting call and
// no dial. From then on get returns errHostGone.
func (h *host) forget() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forgotten = len(h.conns) == 0 && h.queue.Len() == 0 && !h.dialing
	return h.forgotten
}
