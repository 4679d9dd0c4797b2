// SPDX-License-Identifier: Apache-2.0

// A stream is one side of a call: its session, and the goroutines that wait for it.

package natsrpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed-b7c59c10/connect"
)

// maxFrame is the most bytes of a body in one frame, and openMax the most in an OPEN: so
// many bytes of window each side has at least.
const (
	maxFrame = 64 << 10
	openMax  = 64 << 10
)

// A stream is registered with its link from its begin until it is over. Frames are sent with
// the lock held, so that they have the order of their numbers.
type stream struct {
	l           *link
	client      bool          // this is the client's side
	token, mine string        // the subject of this side, and its last word
	interval    time.Duration // without frames, after which this side sends a PING
	epoch       uint64        // how often the connection had been made anew at the begin
	subject     string        // client: of the OPEN

	mu                sync.Mutex
	canRead, canWrite sync.Cond
	s                 session
	peer              string // the peer's subject; "" until its first frame
	in                buffer
	discard           bool        // the program reads no more: bytes that arrive are dropped
	head              nats.Header // client: of the HEAD
	trailer           nats.Header // of the frame with the end
	err               error       // why the call ended early
	over              bool        // no more frames
	heard             time.Time   // when the last frame came
	pings             int         // since then
	read, write       deadline

	answered chan struct{} // client: closed when HEAD has come, or the call is over
	upload   *upload       // client: sends the request's body; nil if it was in the OPEN
	owner    *Transport    // client: that has begun the call

	promised bool                    // server: ACCEPT or HEAD was sent
	accept   *time.Timer             // server: sends the ACCEPT of a call that lasts
	cancel   context.CancelCauseFunc // server: ends the handler's context
}

// newStream returns a stream that the caller has to register.
func newStream(l *link, window int, interval time.Duration) *stream {
	st := &stream{l: l, interval: interval, epoch: l.nc.Stats().Reconnects, heard: time.Now()}
	st.s.window = window
	st.canRead.L, st.canWrite.L = &st.mu, &st.mu
	return st
}

// ---- frames that arrive ----

// handle takes a frame. It reports false if the call is over.
func (st *stream) handle(m *nats.Msg, f frame) bool {
	st.mu.Lock()
	if st.over {
		st.mu.Unlock()
		return false
	}
	if f.kind != frameReset && st.peer != m.Reply {
		if st.peer != "" || m.Reply == "" { // such as a second server, if the OPEN came twice
			st.mu.Unlock()
			if m.Reply != "" {
				st.l.refuse(m.Reply, errClientGone)
			}
			return true
		}
		st.peer = m.Reply
	}
	st.heard, st.pings = time.Now(), 0
	verdict, violation := st.s.receive(f)
	switch {
	case violation != nil:
		err := connect.NewError(violation.code, errors.New("natsrpc: "+violation.Error()))
		st.endLocked(err, err)
		return true
	case verdict == duplicate:
		st.mu.Unlock()
		return true
	}
	if err := st.take(m, f); err != nil {
		tell := err
		if f.kind == frameReset {
			tell = nil
		}
		st.endLocked(err, tell)
		return true
	}
	if st.client && st.s.inEnd {
		st.endLocked(nil, nil) // what the client still sends has no reader
		return true
	}
	st.mu.Unlock()
	return true
}

// take uses a frame that may come now. It returns the error that ends the call.
func (st *stream) take(m *nats.Msg, f frame) error {
	switch f.kind {
	case frameAccept, frameWindow:
		st.canWrite.Broadcast()
	case framePing:
		return st.send(frame{kind: framePong}, nil)
	case frameReset:
		r, err := parseReset(f.payload)
		if err != nil {
			return errorf(connect.CodeInternal, "%w", err)
		}
		if st.client {
			return errorOf(r, "server")
		}
		return errorOf(r, "client")
	case frameHead:
		if _, err := parseStatus(m.Header); err != nil {
			return err
		}
		st.head = m.Header
		close(st.answered)
	}
	if !f.kind.hasBody() {
		return nil
	}
	if f.end {
		st.trailer = m.Header
	}
	if st.discard {
		return st.consumed(len(f.payload))
	}
	payload := f.payload
	if m.Size()-len(payload) > partSize { // a header, for which the window has no place
		payload = bytes.Clone(payload) // otherwise it would hold the whole message
	}
	st.in.add(payload)
	st.canRead.Broadcast()
	return nil
}

// garbled ends the call because of a message that is no frame.
func (st *stream) garbled(err error) {
	err = errorf(connect.CodeInternal, "%w", err)
	st.fail(err, err)
}

// unheard is called after the NATS server has found no receiver for a frame of this side.
func (st *stream) unheard() {
	st.mu.Lock()
	if st.client && st.peer == "" {
		st.endLocked(unprocessed(connect.CodeUnavailable,
			"no server listens on %q: none with this service is connected, its prefix is another one, or it has no permission", st.subject), nil)
		return
	}
	st.endLocked(errPeerGone, nil)
}

// sendsTo reports whether frames of this side go to subject.
func (st *stream) sendsTo(subject string) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.peer == subject || st.peer == "" && st.subject == subject
}

// check looks whether the peer is silent. It sends a PING for each interval without a
// frame, and ends the call after three. [PROTOCOL.md, section 6]
func (st *stream) check(now time.Time) {
	st.mu.Lock()
	silent := now.Sub(st.heard)
	switch {
	case st.over:
	case silent >= 3*st.interval && (st.pings >= 2 || st.peer == ""):
		st.endLocked(errSilent, errSilent)
		return
	case st.peer != "" && silent >= time.Duration(st.pings+1)*st.interval:
		st.pings++
		if err := st.send(frame{kind: framePing}, nil); err != nil {
			st.endLocked(err, nil)
			return
		}
	}
	st.mu.Unlock()
}

// ---- the end ----

// fail ends the call with an error, if it is not over. The peer gets the error tell, unless
// that is nil.
func (st *stream) fail(err, tell error) {
	st.mu.Lock()
	st.endLocked(err, tell)
}

// endLocked ends the call, with an error or without, and releases the lock.
func (st *stream) endLocked(err, tell error) {
	if st.over {
		st.mu.Unlock()
		return
	}
	st.over, st.err = true, err
	if tell != nil && st.peer != "" {
		st.l.refuse(st.peer, tell)
	}
	if st.client && st.head == nil {
		close(st.answered)
	}
	if st.accept != nil {
		st.accept.Stop()
	}
	st.write.stop()
	if !st.client {
		st.read.stop()
	}
	st.canRead.Broadcast()
	st.canWrite.Broadcast()
	st.mu.Unlock()
	if st.upload != nil {
		go st.upload.close() // a body of the program's own may wait there
	}
	if st.cancel != nil {
		st.cancel(err)
	}
	st.l.remove(st)
}

// ---- reading ----

// readBody waits for at least one byte of the peer's body. With the last bytes it also
// returns io.EOF.
func (st *stream) readBody(p []byte) (int, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for {
		switch {
		case st.discard:
			return 0, errBodyClosed
		case st.read.passed && !st.s.inEnd:
			return 0, os.ErrDeadlineExceeded
		case st.s.unread > 0:
			n := st.in.read(p)
			err := st.consumed(n)
			if err == nil && st.s.inEnd && st.s.unread == 0 {
				err = io.EOF
			}
			return n, err
		case st.s.inEnd:
			return 0, io.EOF
		case st.err != nil:
			return 0, st.err
		case st.over:
			return 0, errBodyClosed
		case len(p) == 0:
			return 0, nil
		}
		st.canRead.Wait()
	}
}

// consumed notes that n bytes were read or dropped, and makes room for more.
func (st *stream) consumed(n int) error {
	announce := st.s.read(n)
	if announce == 0 || st.over {
		return nil
	}
	return st.send(frame{kind: frameWindow, payload: packCount(announce)}, nil)
}

// closeBody drops what has arrived and what will.
func (st *stream) closeBody() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.discard {
		return
	}
	st.discard = true
	st.in.drop()
	if err := st.consumed(st.s.unread); err != nil {
		return // the next frame finds out, too
	}
	st.canRead.Broadcast()
}

// ---- writing ----

// send sends a frame. The lock is held. An error means that the call cannot go on.
func (st *stream) send(f frame, h nats.Header) error {
	subject := st.peer
	if f.kind == frameOpen {
		subject = st.subject
	}
	f.seq = st.s.number()
	buf := frames.Get().(*[]byte)
	*buf = appendFrame((*buf)[:0], f)
	err := st.l.nc.PublishMsg(&nats.Msg{Subject: subject, Reply: st.mine, Header: h, Data: *buf})
	frames.Put(buf) // nats.go has copied it
	if err != nil {
		return publishError(err)
	}
	return nil
}

var frames = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// A part is what a side writes at once.
type part struct {
	head    nats.Header // of the response; nil if it was sent
	body    []byte
	end     bool // of the body
	trailer nats.Header
}

// writePart sends a part of a body in as many frames as it needs. It waits while the peer
// has no room, until the call ends or the write deadline passes. It returns how many bytes
// of the body were sent.
func (st *stream) writePart(p part) (sent int, err error) {
	st.mu.Lock()
	limit := max(int(st.l.nc.MaxPayload())-frameOverhead, 1)
	for {
		if err := st.await(p.head == nil && len(p.body) > 0); err != nil {
			st.mu.Unlock()
			return sent, err
		}
		f, h := frame{kind: frameData}, p.head
		if h != nil {
			f.kind, st.promised = frameHead, true
		}
		f.payload = p.body[:st.s.take(max(min(len(p.body), maxFrame, limit-headerSize(h)), 0))]
		if p.end && len(f.payload) == len(p.body) {
			if headerSize(h)+headerSize(p.trailer)+len(f.payload) <= limit {
				h = joined(h, p.trailer)
				f.end, st.s.outEnd = true, true
			} else if h == nil && len(f.payload) == 0 {
				err = checkHeader(p.trailer, limit)
			}
		}
		if err == nil {
			err = st.send(f, h)
		}
		if err != nil {
			st.endLocked(err, err)
			return sent, err
		}
		sent += len(f.payload)
		p.head, p.body = nil, p.body[len(f.payload):]
		if len(p.body) == 0 && (f.end || !p.end) {
			st.mu.Unlock()
			return sent, nil
		}
	}
}

// await waits until a frame may be sent: until the peer is known and, if needed, has room.
func (st *stream) await(room bool) error {
	for {
		switch {
		case st.over && st.err != nil:
			return st.err
		case st.over || st.s.outEnd:
			return errHandlerGone
		case st.write.passed:
			return errWriteTime
		case st.peer != "" && (!room || st.s.credit > 0):
			return nil
		}
		st.canWrite.Wait()
	}
}

// joined returns a header with the fields of both.
func joined(a, b nats.Header) nats.Header {
	if len(a) == 0 {
		return b
	}
	for key, values := range b {
		a[key] = values
	}
	return a
}

// parseStatus reads the status of a HEAD.
func parseStatus(h nats.Header) (int, error) {
	text := field(h, fieldStatus)
	if len(text) != 3 || text < "200" || text > "999" || strings.Trim(text, "0123456789") != "" {
		return 0, errorf(connect.CodeInternal, "got a HEAD with the status %q, want 200 to 999", cleanText(text))
	}
	return int(text[0]-'0')*100 + int(text[1]-'0')*10 + int(text[2]-'0'), nil
}

// failure returns why the call ended early, nil if it did not.
func (st *stream) failure() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.err
}

// ---- deadlines ----

// A deadline is a point in time after which reads or writes fail.
type deadline struct {
	timer  *time.Timer
	passed bool
	count  int // of set: a timer that fired too late changes nothing
}

// stop keeps the timer from firing.
func (d *deadline) stop() {
	d.count++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

// setDeadline has pass called at t, with the lock held, or never if t is zero. A deadline
// that has passed stays. pass releases the lock.
func (st *stream) setDeadline(d *deadline, t time.Time, pass func()) {
	st.mu.Lock()
	if d.passed || st.over {
		st.mu.Unlock()
		return
	}
	d.stop()
	if t.IsZero() {
		st.mu.Unlock()
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.passed = true
		pass()
		return
	}
	count := d.count
	d.timer = time.AfterFunc(wait, func() {
		st.mu.Lock()
		if d.count != count {
			st.mu.Unlock()
			return
		}
		d.passed = true
		pass()
	})
	st.mu.Unlock()
}
