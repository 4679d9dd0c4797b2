// SPDX-License-Identifier: Apache-2.0

// The bodies of requests, which are kept for another endpoint until one has answered, and
// of responses, with whose end the use of an endpoint ends.

package balance

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/direct"
)

// An upload is the body of a request for one endpoint after the other. One goroutine uses
// it; those of transports use guards.
type upload struct {
	request *http.Request
	rc      io.ReadCloser // of the request, or of its GetBody
	guard   *guard        // of the current attempt, nil without a body
}

// attempt returns the request for an endpoint.
func (u *upload) attempt() *http.Request {
	if u.rc == nil || u.rc == http.NoBody {
		return u.request
	}
	u.guard = &guard{rc: u.rc}
	next := *u.request
	next.Body = u.guard
	return &next
}

// commit leaves the body to the transport that has answered.
func (u *upload) commit() {
	if u.guard != nil {
		u.guard.commit()
	}
}

// abandon closes the body: there is no further attempt.
func (u *upload) abandon() {
	if u.guard != nil {
		u.guard.revoke()
	}
	if u.rc != nil {
		_ = u.rc.Close()
	}
}

// faulty reports whether the body could not be read.
func (u *upload) faulty() bool {
	if u.guard == nil {
		return false
	}
	u.guard.mu.Lock()
	defer u.guard.mu.Unlock()
	return u.guard.faulty
}

// rewind takes the body from a transport that has failed, and reports whether all of it
// can be sent again.
func (u *upload) rewind() bool {
	if u.guard == nil || !u.guard.revoke() {
		return true
	}
	if u.request.GetBody == nil {
		return false
	}
	rc, err := u.request.GetBody()
	if err != nil {
		return false
	}
	_ = u.rc.Close()
	u.rc = rc
	return true
}

// A guard is the body of one attempt. Until the attempt is the last, it does not close
// the request's body; after it was revoked, it does not read it.
type guard struct {
	rc io.ReadCloser

	mu        sync.Mutex
	used      bool
	faulty    bool // it could not be read: the caller's fault
	revoked   bool
	committed bool
	closed    bool
}

func (g *guard) Read(p []byte) (int, error) {
	g.mu.Lock()
	if g.revoked || g.closed {
		g.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	g.used = true
	g.mu.Unlock()
	n, err := g.rc.Read(p)
	if err != nil && err != io.EOF {
		g.mu.Lock()
		g.faulty = g.faulty || !g.revoked && !g.closed
		g.mu.Unlock()
	}
	return n, err
}

func (g *guard) Close() error {
	g.mu.Lock()
	forward := g.committed && !g.closed
	g.closed = true
	g.mu.Unlock()
	if forward {
		return g.rc.Close()
	}
	return nil
}

// commit has Close, also a past one, close the request's body.
func (g *guard) commit() {
	g.mu.Lock()
	g.committed = true
	closed := g.closed
	g.mu.Unlock()
	if closed {
		_ = g.rc.Close()
	}
}

// revoke ends the attempt, and reports whether a part of the body was read.
func (g *guard) revoke() (used bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.revoked = true
	return g.used
}

// ---- responses ----

// answered hands the use to the response, unless the interceptor ends it.
func (s *search) answered(r *http.Response) {
	if s.owned {
		s.call.answered(r.StatusCode)
	}
	if s.owned && s.call.kind == connect.StreamTypeUnary {
		return
	}
	d := &download{ReadCloser: r.Body}
	d.begin(s, r.StatusCode)
	if r.Body == nil || r.StatusCode == http.StatusSwitchingProtocols {
		d.end(nil)
		return
	}
	if d.ctx.Done() != nil {
		// A program may leave a stream whose context has ended without closing it.
		stop := context.AfterFunc(d.ctx, func() { d.end(context.Cause(d.ctx)) })
		d.stop.Store(&stop)
	}
	r.Body = d
}

// An ending ends the use of an endpoint with the end of a response.
type ending struct {
	use   use
	ctx   context.Context
	owned bool // the interceptor judges
	v     verdict
	once  sync.Once
	stop  atomic.Pointer[func() bool] // stops the function that runs when ctx ends; may be nil
}

// begin takes the use of a search, whose response has a status. The time until the head
// has arrived counts as the latency: of streams it is the only time that depends on the
// endpoint alone, and of those where the client sends, not even that does.
func (e *ending) begin(s *search, status int) {
	e.use, e.ctx, e.owned, e.v = s.use, s.ctx, s.owned, good
	if status >= 500 {
		e.v = bad
	}
	if e.v == good && !(e.owned && s.call.kind&connect.StreamTypeClient != 0) {
		now := clock()
		e.use.d.load.sample(now, now.Sub(e.use.began))
	}
}

// end ends the use, if it has not ended. err is that of a read.
func (e *ending) end(err error) {
	e.once.Do(func() {
		if stop := e.stop.Load(); stop != nil {
			(*stop)()
		}
		now := clock()
		e.use.release(now, false)
		if e.owned {
			return
		}
		if err != nil && err != io.EOF {
			e.v = verdictOfTransport(e.ctx, err)
		}
		e.use.judge(now, e.v)
	})
}

// A download is the body of a response.
type download struct {
	io.ReadCloser
	ending
}

func (d *download) Read(p []byte) (int, error) {
	n, err := d.ReadCloser.Read(p)
	if err != nil {
		d.end(err)
	}
	return n, err
}

func (d *download) Close() error {
	err := d.ReadCloser.Close()
	d.end(nil)
	return err
}

// A directDownload is the body of a direct call's response.
type directDownload struct {
	download
	reply direct.Reply
}

func (d *directDownload) DirectHead() (int, [][2]string, int64) { return d.reply.DirectHead() }
func (d *directDownload) DirectTrailer() [][2]string            { return d.reply.DirectTrailer() }
func (d *directDownload) DirectServerTLS() *tls.ConnectionState { return d.reply.DirectServerTLS() }
