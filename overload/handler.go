// SPDX-License-Identifier: Apache-2.0

// The handler: both ways into it.

package overload

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/seed-b7c59c10/connect/internal/direct"
)

// Handler returns next within the limits of l. Engines keep the direct path if next is the
// value of a generated constructor or of connect.NewServiceHandler, or an
// [http.ServeMux] that leads to it. It panics if next is nil.
func (l *Limiter) Handler(next http.Handler) http.Handler {
	check(next != nil, "Handler(nil): pass the handler to serve")
	return &handler{l, next}
}

type handler struct {
	l    *Limiter
	next http.Handler
}

// Unwrap returns the handler within the limits.
func (h *handler) Unwrap() http.Handler { return h.next }

var calls = sync.Pool{New: func() any { return new(Call) }}

// ServeHTTP serves one call, or refuses it.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.l.isExempt(r.URL.Path) {
		h.next.ServeHTTP(w, r)
		return
	}
	c := calls.Get().(*Call)
	*c = Call{Procedure: r.URL.Path, Peer: r.RemoteAddr, header: r.Header}
	contentType := ""
	if r.Method == http.MethodPost {
		contentType = r.Header.Get(fieldType)
	}
	stream := h.l.kinds.isStream(r.URL.Path, h.next, r.Host, contentType)
	p, no := h.l.admit(c, stream)
	timeout := c.timeout()
	*c = Call{}
	calls.Put(c)
	if no != nil {
		h.l.refuse(w, r, no)
		return
	}
	ctx := r.Context()
	served := serving{l: h.l, p: p, ctx: ctx, began: began(timeout), timeout: timeout, stream: stream}
	defer served.end()
	h.next.ServeHTTP(w, r)
	served.returned = true
}

var _ direct.Handler = (*handler)(nil)

// ServeDirect is ServeHTTP for engines that serve a POST without an [http.Request], such as
// package h2.
func (h *handler) ServeDirect(self http.Handler, path string, w http.ResponseWriter) bool {
	call, ok := w.(direct.Call)
	if !ok || self != http.Handler(h) {
		return false
	}
	next := direct.Under(h.next, path, call)
	if next == nil {
		return false
	}
	if h.l.isExempt(path) {
		return next.ServeDirect(next, path, w)
	}
	ctx, fields, _, _, host, remote := call.DirectRequest()
	c := calls.Get().(*Call)
	*c = Call{Procedure: path, Peer: remote, fields: fields}
	stream := h.l.kinds.isStream(path, next, host, c.Field(fieldType))
	p, no := h.l.admit(c, stream)
	timeout := c.timeout()
	*c = Call{}
	calls.Put(c)
	if no != nil {
		h.l.refuseDirect(call, ctx, path, fields, host, remote, no)
		return true
	}
	served := serving{l: h.l, p: p, ctx: ctx, began: began(timeout), timeout: timeout, stream: stream}
	defer served.end()
	if !next.ServeDirect(next, path, w) {
		h.l.giveBack(&Call{Procedure: path, Peer: remote, fields: fields})
		return false // the engine calls ServeHTTP, which decides again
	}
	served.returned = true
	return true
}

// isExempt reports whether a path has no limits.
func (l *Limiter) isExempt(path string) bool {
	for _, prefix := range l.exempt {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// A serving call has a permit.
type serving struct {
	l        *Limiter
	p        permit
	ctx      context.Context
	began    time.Time
	timeout  time.Duration // 0: none
	stream   bool
	returned bool // the handler has neither panicked nor left the call to ServeHTTP
}

// began returns the time, if it matters.
func began(timeout time.Duration) (now time.Time) {
	if timeout > 0 {
		now = time.Now()
	}
	return now
}

func (s *serving) end() {
	if !s.returned || s.stream {
		s.p.Drop()
		return
	}
	err := s.ctx.Err()
	expired := errors.Is(err, context.DeadlineExceeded) || s.timeout > 0 && time.Since(s.began) >= s.timeout
	s.l.ended(s.p, err != nil || expired, expired && (s.timeout == 0 || s.timeout >= lateLeast))
}
