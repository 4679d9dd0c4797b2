// SPDX-License-Identifier: Apache-2.0

// Calls: each is allowed by the intentions when it begins, and as long as it goes on.

package consul

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/seed-b7c59c10/connect"
)

// Handler returns a handler that serves what the intentions allow with next: calls of all
// protocols and other requests. Their contexts have the peer: see [PeerFromContext]. The others
// get permission_denied, in the protocol of the call, or the status 403.
//
// A call that goes on when a change of the intentions forbids it is cut: its context is
// canceled, reads of its body fail with permission_denied, and so does the call if
// [Service.Authorize] is among the handler's options, or if it returns that error.
//
// Servers need [Service.ServerTLSConfig]. Once Handler was called, each server with such a
// configuration is taken to check calls, and accepts peers with permissions (L7): if one does
// not, use [Service.Serve] for those that do.
func (s *Service) Handler(next http.Handler) http.Handler {
	s.checksCalls.Store(true)
	return s.handler(next)
}

// handler is Handler for a server whose connections it does not decide about.
func (s *Service) handler(next http.Handler) http.Handler {
	errs := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		state := stateOf(r)
		peer, err := s.peerOf(state)
		if err != nil {
			s.refuse(errs, w, r, connect.NewError(connect.CodeUnauthenticated, err))
			return
		}
		l := &live{peer: peer, request: request{r.Method, r.URL.Path, r.Header.Clone(), r.Host}}
		l.control = http.NewResponseController(w)
		ctx, cancel := context.WithCancelCause(context.WithValue(context.WithValue(r.Context(), peerKey{}, peer), liveKey{s}, l))
		defer cancel(nil)
		l.cancel = cancel
		if err := s.lives.begin(ctx, s, l); err != nil {
			s.refuse(errs, w, r, callError(err))
			return
		}
		defer s.lives.end(l)
		r = r.WithContext(ctx)
		// With the chains, connect.Peer.Identity works as for other verified certificates.
		with := *state
		with.VerifiedChains = peer.chains
		r.TLS = &with
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = &body{r.Body, l}
		}
		next.ServeHTTP(w, r)
	})
}

// stateOf returns the TLS of a request, also for a connection of Serve, which net/http takes
// to be without TLS.
func stateOf(r *http.Request) *tls.ConnectionState {
	if r.TLS != nil {
		return r.TLS
	}
	c, ok := r.Context().Value(connKey{}).(*tls.Conn)
	if !ok {
		return nil
	}
	state := c.ConnectionState()
	return &state
}

// refuse answers a request that is not allowed.
func (s *Service) refuse(errs *connect.ErrorWriter, w http.ResponseWriter, r *http.Request, err error) {
	if errs.IsSupported(r) {
		_ = errs.Write(w, r, err)
		return
	}
	http.Error(w, err.Error(), connect.CodeOf(err).HTTPStatus())
}

// callError returns the error of a decision with its code. An agent that cannot be asked is the
// trouble of this instance: another one may have an answer.
func callError(err error) *connect.Error {
	var denied *deniedError
	var ended *endedError
	switch {
	case errors.As(err, &denied):
		return connect.NewError(connect.CodePermissionDenied, err)
	case errors.As(err, &ended) && errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, err)
	case errors.As(err, &ended):
		return connect.NewError(connect.CodeCanceled, err)
	}
	return connect.NewError(connect.CodeUnavailable, err)
}

// Authorize returns the option for handlers of package connect that decides about each call by
// the intentions, and puts the peer into its context: see [PeerFromContext]. Calls that a change
// forbids while they go on have their contexts canceled, and end with permission_denied; one
// that waits for a message from its client ends so at once only inside of [Service.Handler] or
// [Service.Serve]. It takes the names of paths to be those of procedures.
func (s *Service) Authorize() connect.HandlerOption {
	return connect.WithCallInterceptors(func(next connect.CallFunc) connect.CallFunc {
		return func(ctx context.Context, call *connect.Call) error {
			l, ok := ctx.Value(liveKey{s}).(*live)
			if !ok {
				peer, err := s.peerOf(call.Peer().TLS())
				if err != nil {
					return connect.NewError(connect.CodeUnauthenticated, err)
				}
				l = &live{peer: peer, request: request{call.HTTPMethod(), call.Spec().Procedure, call.RequestHeader().Clone(), ""}}
				inner, cancel := context.WithCancelCause(context.WithValue(ctx, peerKey{}, peer))
				defer cancel(nil)
				l.cancel, ctx = cancel, inner
				if err := s.lives.begin(ctx, s, l); err != nil {
					return callError(err)
				}
				defer s.lives.end(l)
			}
			err := next(ctx, call)
			if cut := l.reason(); cut != nil && err != nil {
				return cut
			}
			return err
		}
	})
}

// ---- calls that go on ----

type (
	liveKey struct{ *Service }
	connKey struct{}
)

// A live is a call that goes on.
type live struct {
	peer    *Peer
	request request
	cancel  context.CancelCauseFunc
	control *http.ResponseController // nil: reads are not ended

	mu    sync.Mutex
	ended bool
	cut   *connect.Error // why it must end; nil: it need not
}

// lives are the calls that go on.
type lives struct {
	mu    sync.Mutex
	calls map[*live]struct{}
}

// begin decides about a call, and notes it. It is noted first, so that no change of the
// intentions is missed between the two.
func (v *lives) begin(ctx context.Context, s *Service, l *live) error {
	v.mu.Lock()
	if v.calls == nil {
		v.calls = make(map[*live]struct{})
	}
	v.calls[l] = struct{}{}
	v.mu.Unlock()
	err := s.allow(ctx, l.peer, l.request)
	if err != nil {
		v.end(l)
	}
	return err
}

func (v *lives) end(l *live) {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.calls, l)
}

// reason returns why the call was cut, or nil.
func (l *live) reason() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut == nil {
		return nil
	}
	return l.cut
}

// end cuts the call.
func (l *live) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || l.cut != nil {
		return
	}
	l.cut = callError(err)
	l.cancel(l.cut)
	if l.control != nil {
		_ = l.control.SetReadDeadline(time.Unix(1, 0))
	}
}

// review decides anew about all calls that go on. Where the agent has to be asked, goroutines
// do, one for each peer; if it cannot be asked, the calls go on.
func (s *Service) review() {
	s.lives.mu.Lock()
	calls := make([]*live, 0, len(s.lives.calls))
	for l := range s.lives.calls {
		calls = append(calls, l)
	}
	s.lives.mu.Unlock()
	all := s.intentions.Load()
	unknown := make(map[string][]*live) // by the keys of their peers
	for _, l := range calls {
		if all.match(l.peer.Identity) == nil {
			key := l.peer.key()
			unknown[key] = append(unknown[key], l)
			continue
		}
		if err := s.allow(s.ctx, l.peer, l.request); err != nil {
			l.end(err)
		}
	}
	for _, calls := range unknown {
		s.running.Go(func() { s.reviewByAgent(all, calls) })
	}
}

// reviewByAgent asks the agent about calls of one peer. The agent's own knowledge may come a
// moment later than the intentions: so it is asked several times, unless newer intentions come.
func (s *Service) reviewByAgent(all *intentions, calls []*live) {
	began, peer := time.Now(), calls[0].peer
	for pause := verdictBlind; ; pause *= 2 { // an answer is kept for verdictBlind
		v, err := s.verdict(s.ctx, peer)
		if err == nil && !v.authorized {
			for _, l := range calls {
				l.end(s.denied(peer, v.reason))
			}
			return
		}
		if time.Since(began) >= verdictSettled {
			return
		}
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
			return
		}
		if s.intentions.Load() != all {
			return
		}
	}
}

// A body is that of a request, whose reads fail when the call is cut.
type body struct {
	io.ReadCloser
	l *live
}

// Read reads. An error after the cut is that of the cut, whose code handlers keep.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		if cut := b.l.reason(); cut != nil {
			return n, cut
		}
	}
	return n, err
}
