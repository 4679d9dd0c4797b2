// SPDX-License-Identifier: Apache-2.0

// A link is what the transports and servers of one connection share: an inbox, the streams
// whose frames arrive there, and the watch over both.

package natsrpc

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed-b7c59c10/connect"
)

// links has the link of each connection in use. A connection has one error handler, so it
// has one link.
var links = struct {
	sync.Mutex
	of map[*nats.Conn]*link
}{of: make(map[*nats.Conn]*link)}

// A link has one subscription, to all subjects below its inbox, and one goroutine, which
// ends when the last user has released the link or the connection is closed.
type link struct {
	nc    *nats.Conn
	inbox string
	sub   *nats.Subscription
	users int // guarded by links

	serving sync.Mutex // held by Serve: the connection has one last error, and its servers look at it

	handler, before nats.ErrHandler // this link's, and the program's own

	status  chan nats.Status // but for the end
	closed  chan nats.Status // the end of the connection, in a channel of its own that is never full
	faster  chan struct{}    // has a value after tick has become shorter
	closing chan struct{}    // closed by close

	mu      sync.Mutex
	streams map[string]*stream // by the last word of their subjects
	made    uint64             // streams
	tick    time.Duration      // between looks for silent peers
	failed  error              // why there are no more streams; nil while the link is open
	denied  error              // why no frame arrives: the connection may not subscribe to the inbox
}

// pendingLimit is the most bytes of frames that wait for the link's goroutine in nats.go.
// What exceeds it is dropped, which the sequence numbers then show. That goroutine does
// little for a frame, so that a wait is short.
const (
	pendingLimit  = 256 << 20
	pendingFrames = 1 << 20
)

// acquire returns the link of a connection, for a user that looks for silent peers each
// interval. The user releases it.
func acquire(nc *nats.Conn, interval time.Duration) (*link, error) {
	links.Lock()
	defer links.Unlock()
	l := links.of[nc]
	if l == nil {
		l = &link{
			nc: nc, inbox: nc.NewInbox(), tick: interval,
			streams: make(map[string]*stream), faster: make(chan struct{}, 1), closing: make(chan struct{}),
		}
		if err := l.open(); err != nil {
			return nil, errorf(connect.CodeUnavailable, "subscribing to the inbox: %w", err)
		}
		links.of[nc] = l
		go l.watch()
	}
	l.users++
	l.mu.Lock()
	defer l.mu.Unlock()
	if interval < l.tick {
		l.tick = interval
		select {
		case l.faster <- struct{}{}:
		default:
		}
	}
	return l, nil
}

// open begins to watch the connection, and then subscribes: an error of the subscription may
// come at once.
func (l *link) open() (err error) {
	l.status = l.nc.StatusChanged(nats.CONNECTED, nats.DISCONNECTED, nats.RECONNECTING, nats.DRAINING_SUBS)
	l.closed = l.nc.StatusChanged(nats.CLOSED)
	l.before, l.handler = l.nc.ErrorHandler(), l.onError
	l.nc.SetErrorHandler(l.handler)
	if l.sub, err = l.nc.Subscribe(l.inbox+".*", l.dispatch); err == nil {
		err = l.sub.SetPendingLimits(pendingFrames, pendingLimit)
	}
	if err != nil {
		l.unwatch()
	}
	return err
}

// unwatch ends what open has begun, but for the subscription.
func (l *link) unwatch() {
	l.nc.RemoveStatusListener(l.status)
	l.nc.RemoveStatusListener(l.closed)
	if now := l.nc.ErrorHandler(); reflect.ValueOf(now).Pointer() == reflect.ValueOf(l.handler).Pointer() {
		l.nc.SetErrorHandler(l.before) // unless the program has set another one meanwhile
	}
}

// release ends the use by one user. The last one closes the link.
func (l *link) release() {
	links.Lock()
	l.users--
	last := l.users == 0
	if last {
		l.forget()
	}
	links.Unlock()
	if last {
		l.close(errLinkClosed)
	}
}

// forget lets the next user make another link. The caller holds the lock of links: so the
// error handler is this link's, and not yet that of the next one.
func (l *link) forget() {
	if links.of[l.nc] == l {
		delete(links.of, l.nc)
		l.unwatch()
	}
}

// close fails all streams, and ends the link's goroutine and subscription.
func (l *link) close(err error) {
	l.mu.Lock()
	if l.failed != nil {
		l.mu.Unlock()
		return
	}
	l.failed = err
	streams := slices.Collect(maps.Values(l.streams))
	l.mu.Unlock()
	for _, st := range streams {
		st.fail(err, err)
	}
	close(l.closing)
	_ = l.sub.Unsubscribe() // fails if the connection is closed, which ends the subscription, too
}

// ---- the connection ----

// watch follows the connection's status, and looks for peers that are silent.
func (l *link) watch() {
	ticker := time.NewTicker(l.interval())
	defer ticker.Stop()
	for !l.nc.IsClosed() {
		select {
		case status := <-l.status:
			l.sweep(status)
		case <-l.closed:
		case now := <-ticker.C:
			for _, st := range l.all() {
				st.check(now)
			}
		case <-l.faster:
			ticker.Reset(l.interval())
		case <-l.closing:
			return
		}
	}
	links.Lock()
	l.forget()
	links.Unlock()
	l.close(errClosed)
}

func (l *link) interval() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tick
}

// sweep fails the streams of which the connection may have lost frames: all that began
// before its last reconnect, and all if it is not connected.
func (l *link) sweep(status nats.Status) {
	if status == nats.CONNECTED {
		l.deny(nil) // nats.go subscribes anew, and permissions may be others by now
	}
	streams := l.all() // first: streams that begin after a reconnect are not among them
	down := !l.nc.IsConnected()
	epoch := l.nc.Stats().Reconnects
	for _, st := range streams {
		switch {
		case status == nats.DRAINING_SUBS:
			if st.client { // a server's answers go out while its connection drains
				st.fail(errDraining, errDraining)
			}
		case down || st.epoch < epoch:
			st.fail(errDisconnected, errDisconnected)
		}
	}
}

// onError handles the connection's asynchronous errors: it ends the streams that a
// permission violation is about, and calls the program's own handler.
func (l *link) onError(nc *nats.Conn, sub *nats.Subscription, err error) {
	l.violation(err)
	if l.before != nil {
		l.before(nc, sub, err)
	}
}

// violation ends the streams that a permission violation is about. A connection that may
// not subscribe to its inbox gets no frame at all.
func (l *link) violation(err error) {
	publish, subject, ok := parseViolation(err)
	if !ok {
		return
	}
	if !publish {
		if strings.HasPrefix(subject, l.inbox+".") {
			denied := errorf(connect.CodePermissionDenied, "subscribing to %q: %w: allow the NATS user to subscribe to its inbox", subject, nats.ErrPermissionViolation)
			l.deny(denied)
			for _, st := range l.all() {
				st.fail(denied, nil)
			}
		}
		return
	}
	for _, st := range l.all() {
		if st.sendsTo(subject) {
			st.fail(errorf(connect.CodePermissionDenied, "publishing to %q: %w: allow it to the NATS user", subject, nats.ErrPermissionViolation), nil)
		}
	}
}

// deny sets or removes the reason why no frame arrives.
func (l *link) deny(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.denied = err
}

// denial returns the reason why no frame arrives, nil if there is none.
func (l *link) denial() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.denied
}

// ---- streams ----

// add registers a stream, and gives it its subject.
func (l *link) add(st *stream) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := cmp.Or(l.failed, l.denied); err != nil {
		return err
	}
	l.made++
	side := "s"
	if st.client {
		side = "c"
	}
	st.token = side + strconv.FormatUint(l.made, 36)
	st.mine = l.inbox + "." + st.token
	l.streams[st.token] = st
	return nil
}

func (l *link) remove(st *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.streams, st.token)
}

func (l *link) all() []*stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.streams))
}

// dispatch gives a message to its stream. nats.go calls it in one goroutine, in the order
// of the messages.
func (l *link) dispatch(m *nats.Msg) {
	token := m.Subject[len(l.inbox)+1:]
	l.mu.Lock()
	st := l.streams[token]
	l.mu.Unlock()
	if isNoResponders(m) {
		if st != nil {
			st.unheard()
		}
		return
	}
	f, err := parseFrame(m.Data)
	switch {
	case st != nil && err != nil:
		st.garbled(err)
	case st != nil && st.handle(m, f): // unless the call is over by now
	case err != nil || f.kind == frameReset || m.Reply == "":
	case strings.HasPrefix(token, "c"):
		l.refuse(m.Reply, errClientGone)
	default:
		l.refuse(m.Reply, errUnknownCall)
	}
}

// isNoResponders reports whether a message is the NATS server's notice that a message with
// this reply subject had no receiver.
func isNoResponders(m *nats.Msg) bool {
	return len(m.Data) == 0 && m.Header.Get("Status") == "503"
}

// refuse sends a RESET to a peer for whose call there is no stream. No frame answers a
// RESET, so two peers cannot keep each other busy.
func (l *link) refuse(subject string, err error) {
	_ = l.nc.Publish(subject, appendFrame(nil, frame{kind: frameReset, payload: packReset(resetOf(err))})) // the peer's pings find out, too
}
