// SPDX-License-Identifier: Apache-2.0

// The connections to one host: which of them takes the next call, who waits for
// a place, and when another connection is opened.

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
	backoffMin  = 50 * time.Millisecond
	backoffMax  = 5 * time.Second
)

// A host is the pool of connections to one address. Its mutex may be taken with
// that of a connection held, never the other way round.
type host struct {
	t        *Transport
	secure   bool
	address  string     // host:port
	adopting sync.Mutex // one connection of an http.Transport at a time; taken before mu
	// calm says that the peer has complained about our PINGs.
	tooManyPings atomic.Bool
	// single says that the only connection is one of http.Transport.NewClientConn, and
	// changed, if not nil, what to call when something about it has changed.
	single   bool
	onChange func()

	mu      sync.Mutex
	conns   []*clientConn
	queue   list.List    // of *waiter: calls that found no place, in the order they came
	waiting atomic.Int32 // the queue's length; counted before a waiter looks again

	dialing   bool
	cancel    context.CancelFunc // of the dial under way
	lastErr   error              // why the last connection could not be opened
	failures  int                // how many could not, one after another
	retryAt   time.Time
	stopped   bool // the transport is closed
	forgotten bool // the transport has forgotten the host
}

// A waiter is a call without a place. Who takes it out of the queue sets one of
// conn and err, and closes done.
type waiter struct {
	ctx     context.Context
	patient bool // see host.get
	done    chan struct{}
	conn    *clientConn
	err     error
}

// errHostGone sends a call back to look its host up again.
var errHostGone = errors.New("h2: host is forgotten")

func newHost(t *Transport, secure bool, address string) *host {
	return &host{t: t, secure: secure, address: address}
}

// get returns a connection with a place for the call reserved. It waits for one to
// be opened, or for a place, until ctx is done or canceled is closed. Where net/http
// dials, calls get errNoConn instead, unless they are patient or a place is in sight.
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
	case <-w.done: // at the same moment
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

// serve gives places to those who wait, in order, and has a connection opened for
// those who are left. Whatever makes a place, or the hope of one, calls it. With mu
// held.
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
					break // nor is there hope for the others to be over
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

// hopelessLocked returns why it is of no use for w to wait, as there is no place.
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

// strict reports whether a full connection is to be waited for, instead of
// opening another.
func (h *host) strict() bool {
	standard := h.t.config.HTTP2
	return standard != nil && standard.StrictMaxConcurrentRequests
}

// pick reserves a place on the connection with the fewest calls. With mu held.
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
	if load >= crowded && h.mayDialLocked(false) {
		h.dialLocked(context.Background()) // the next calls will have it
	}
	return best
}

// inSightLocked reports whether a call that net/http could dial for waits instead: for
// the SETTINGS of a connection that is new, with as many others as net/http lets onto
// one, or because the user says so.
func (h *host) placeSoonLocked() bool {
	if h.strict() {
		return h.healthyLocked()
	}
	return h.queue.Len() < placesWithin && h.awaitsSettingsLocked()
}

// settlingLocked reports whether the SETTINGS of a connection are still to come.
func (h *host) awaitsSettingsLocked() bool {
	return slices.ContainsFunc(h.conns, func(c *clientConn) bool { return !c.gotSettings.Load() && !c.suspect() })
}

// healthyLocked reports whether there is a connection whose peer is not suspected to be
// dead.
func (h *host) healthyLocked() bool {
	return slices.ContainsFunc(h.conns, func(c *clientConn) bool { return !c.suspect() })
}

// takesMore reports whether a call would not get errNoConn.
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

// mayDial reports whether another connection may be opened; needed says that no
// other has room. With mu held.
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
	// One that is new has more places in a moment. Where one may carry no call at
	// all, another may not either.
	return !slices.ContainsFunc(h.conns, func(c *clientConn) bool {
		return !c.suspect() && (!c.gotSettings.Load() || c.max.Load() == 0)
	})
}

// dial opens a connection in the background: calls that wait for it may come and
// go. ctx is that of one of them, for its values. With mu held.
func (h *host) dialLocked(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dialTimeout)
	h.dialing, h.cancel = true, cancel
	go func() {
		defer cancel()
		nc, err := h.connect(ctx)
		if err == nil {
			_, _ = h.add(nc)
			return
		}
		if ctx.Err() == context.DeadlineExceeded {
			err = errDialTimeout // the deadline was ours, not that of a call
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.dialing = false
		h.dialFailedLocked(err)
		h.assignPlacesLocked()
	}()
}

// fault counts a connection that could not be opened. With mu held.
func (h *host) dialFailedLocked(err error) {
	h.lastErr = fmt.Errorf("h2: connecting to %s: %w", h.address, err)
	wait := min(backoffMin<<min(h.failures, 10), backoffMax)
	h.failures++
	h.retryAt = time.Now().Add(wait/2 + rand.N(wait/2+1))
}

// proved says that the peer has answered on a new connection: the address works.
func (h *host) proved() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lastErr, h.failures, h.retryAt = nil, 0, time.Time{}
}

// add makes an open network connection one of the pool. It closes it if it is too
// late for that.
func (h *host) add(nc net.Conn) (*clientConn, error) {
	c := h.t.newClientConn(h, nc)
	err := errTransportClosed
	if h.t.opened(c) {
		c.greet(wire.ClientPreface) // before any call can use it
		err = nil
	}
	h.mu.Lock()
	h.dialing = false
	switch {
	case err != nil:
	case h.forgotten:
		err = errHostGone
	case !c.retired.Load(): // greeting may have failed: then there is nothing to add
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

// remove takes a connection out: it takes no more calls. err is why it could not
// be used at all, if so.
func (h *host) remove(c *clientConn, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notify()
	h.conns = slices.DeleteFunc(h.conns, func(other *clientConn) bool { return other == c })
	if err != nil {
		h.dialFailedLocked(err)
	}
	h.assignPlacesLocked()
}

// freed tells those who wait that there may be a place.
func (h *host) freed() {
	h.notify()
	if h.waiting.Load() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.assignPlacesLocked()
}

// stop lets no call in any more, and ends a dial under way.
func (h *host) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = true
	if h.cancel != nil {
		h.cancel()
	}
	h.assignPlacesLocked()
}

// forget reports whether nobody uses the host. Then nobody can from now on.
func (h *host) forget() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forgotten = len(h.conns) == 0 && h.queue.Len() == 0 && !h.dialing
	return h.forgotten
}
