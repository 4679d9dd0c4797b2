// SPDX-License-Identifier: Apache-2.0

// The direct path: calls of package connect's clients without net/http's types, through
// transports of endpoints that have it. The methods are those of package h2's direct path,
// whose DESIGN.md describes them.

package balance

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/seed-b7c59c10/connect/internal/direct"
)

// A target has what direct calls to one URL share.
type target struct {
	g      *group
	url    *url.URL
	shared [][2]string

	mu       sync.Mutex // held while prepared is replaced
	prepared atomic.Pointer[map[*backend]direct.Target]
}

// PrepareDirect prepares POSTs to u without the types of net/http, for package connect.
// All of them have the shared fields, whose names are in lower case. Neither u nor the
// fields may be changed afterwards. The result is nil without an error if self is not b,
// because another type embeds b, and with [NetHTTP].
func (b *Balancer) PrepareDirect(self http.RoundTripper, u *url.URL, shared [][2]string) (interface {
	RoundTripDirect(ctx context.Context, own [][2]string, body []byte) (io.ReadCloser, error)
}, error) {
	if self != http.RoundTripper(b) || b.config.kind == kindNetHTTP {
		return nil, nil
	}
	g, err := b.find(u)
	if err != nil {
		return nil, err
	}
	t := &target{g: g, url: u, shared: shared}
	t.prepared.Store(new(map[*backend]direct.Target))
	return t, nil
}

// of returns the target of an endpoint, nil if its transport makes no direct calls.
func (t *target) of(d *backend) (direct.Target, error) {
	if made := (*t.prepared.Load())[d]; made != nil || d.direct == nil {
		return made, nil
	}
	made, err := d.direct.PrepareDirect(d.transport, t.url, t.shared)
	if err != nil || made == nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := *t.prepared.Load()
	next := make(map[*backend]direct.Target, len(old)+1)
	for other, its := range old {
		if !other.removed.Load() {
			next[other] = its
		}
	}
	next[d] = made
	t.prepared.Store(&next)
	return made, nil
}

// RoundTripDirect posts body and returns the response's body, which has the methods
// DirectHead, DirectTrailer and DirectServerTLS. own are the fields of this call. It
// returns nil without an error if the call needs net/http's types: then nothing was sent.
// It uses neither own nor body after it has returned.
func (t *target) RoundTripDirect(ctx context.Context, own [][2]string, body []byte) (io.ReadCloser, error) {
	var s search
	s.begin(t.g, ctx)
	if p, ok := t.g.policy.(*hashing); ok {
		s.key(p, func(name string) string { return t.field(own, strings.ToLower(name)) })
	}
	for {
		if err := s.next(); err != nil {
			return nil, err
		}
		to, err := t.of(s.use.d)
		if err != nil {
			s.cancel()
			return nil, err
		}
		if to == nil {
			s.undo()
			return nil, nil
		}
		answer, err := to.RoundTripDirect(s.ctx, own, body)
		switch {
		case err == nil && answer == nil:
			s.undo()
			return nil, nil
		case err == nil:
			return s.answeredDirect(answer), nil
		case !s.mayMove(err):
			return nil, s.fail(err, false)
		}
		s.move(err)
	}
}

// field returns the value of a field, the call's own before the shared ones.
func (t *target) field(own [][2]string, name string) string {
	for _, fields := range [][][2]string{own, t.shared} {
		for i := range fields {
			if fields[i][0] == name {
				return fields[i][1]
			}
		}
	}
	return ""
}

// answeredDirect hands the use to the response, unless the interceptor ends it.
func (s *search) answeredDirect(answer io.ReadCloser) io.ReadCloser {
	reply, ok := answer.(direct.Reply)
	if !ok {
		if !s.owned {
			s.cancel()
		}
		return answer
	}
	status, _, _ := reply.DirectHead()
	if s.owned {
		s.call.answered(status)
		return answer
	}
	d := &directDownload{download: download{ReadCloser: answer}, reply: reply}
	d.begin(s, status)
	return d
}
