// SPDX-License-Identifier: Apache-2.0

// Calls that are tried again: those that the peer provably did not process, and no
// others.

package h2_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

// TestRetryAfterGoAway sends GOAWAY to a call that was not begun. It is made again,
// on another connection, with a new body.
func TestRetryAfterGoAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		first := request(t.Context(), "POST", strings.NewReader("first"))
		second := request(t.Context(), "POST", strings.NewReader("second"))
		one := begin(client, first)
		p := s.accept()
		a := p.request()
		two := begin(client, second)
		b := p.request()
		p.goAway(a.StreamID, http2.ErrCodeNo)

		q := s.accept()
		again := q.request()
		body := q.await("the body", func(f *frame) bool { return f.Type == http2.FrameData })
		if string(body.data) != "second" || again.StreamID == b.StreamID {
			t.Errorf("got body %q on stream %d, want the second request on a new connection", body.data, again.StreamID)
		}
		q.respond(again.StreamID, "200", "2")
		receive(t, "a response", two).want(t, 200, "2")
		p.respond(a.StreamID, "200", "1") // the old connection goes on with what it accepted
		receive(t, "a response", one).want(t, 200, "1")
		p.wantClosed()
	})
}

// TestRetryRefused has a stream refused: the call is made again on the same
// connection.
func TestRetryRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		done := begin(client, request(t.Context(), "POST", strings.NewReader("body")))
		p := s.accept()
		for range 3 {
			f := p.request()
			p.await("the body", func(f *frame) bool { return string(f.data) == "body" })
			p.reset(f.StreamID, http2.ErrCodeRefusedStream)
		}
		p.respond(p.request().StreamID, "200", "at last")
		receive(t, "a response", done).want(t, 200, "at last")
	})
}

// TestRetryEnds has a call refused again and again: it fails after six attempts.
func TestRetryEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		body := watch(strings.NewReader("body"))
		r := request(t.Context(), "POST", nil)
		r.Body, r.ContentLength = body, 4
		bodies := []*watchedBody{body}
		r.GetBody = func() (io.ReadCloser, error) {
			b := watch(strings.NewReader("body"))
			bodies = append(bodies, b)
			return b, nil
		}
		done := begin(client, r)
		p := s.accept()
		for range 6 {
			f := p.request()
			p.await("the end of the body", func(got *frame) bool { return got.StreamID == f.StreamID && got.Type == http2.FrameData && got.ended() })
			p.reset(f.StreamID, http2.ErrCodeRefusedStream)
		}
		receive(t, "an error", done).wantCode(t, h2.ErrCodeRefusedStream)
		if n := p.count(func(f *frame) bool { return f.Type == http2.FrameHeaders }); n != 0 {
			t.Errorf("got %d more attempts, want none", n)
		}
		for _, b := range bodies {
			b.wantClosed(t)
		}
	})
}

// TestRetryNot lists calls that may have been processed, or cannot be repeated:
// each fails after one attempt.
func TestRetryNot(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*http.Request)
		answer func(p *rawPeer, id uint32)
	}{
		"reset for another reason": {nil, func(p *rawPeer, id uint32) { p.reset(id, http2.ErrCodeCancel) }},
		"enhance your calm":        {nil, func(p *rawPeer, id uint32) { p.reset(id, http2.ErrCodeEnhanceYourCalm) }},
		"connection lost":          {nil, func(p *rawPeer, _ uint32) { _ = p.conn.Close() }},
		"GOAWAY that includes it, then lost": {nil, func(p *rawPeer, id uint32) {
			p.goAway(id, http2.ErrCodeNo)
			_ = p.conn.Close()
		}},
		"refused without GetBody":  {func(r *http.Request) { r.GetBody = nil }, func(p *rawPeer, id uint32) { p.reset(id, http2.ErrCodeRefusedStream) }},
		"disowned without GetBody": {func(r *http.Request) { r.GetBody = nil }, func(p *rawPeer, _ uint32) { p.goAway(0, http2.ErrCodeNo) }},
		"refused, GetBody fails":   {failingGetBody, func(p *rawPeer, id uint32) { p.reset(id, http2.ErrCodeRefusedStream) }},
		"refused, GetBody says nothing": {func(r *http.Request) { r.GetBody = func() (io.ReadCloser, error) { return nil, nil } },
			func(p *rawPeer, id uint32) { p.reset(id, http2.ErrCodeRefusedStream) }},
		"refused, and then cancelled": {cancelingGetBody, func(p *rawPeer, id uint32) { p.reset(id, http2.ErrCodeRefusedStream) }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s, client := newFake(t, nil)
				r := request(t.Context(), "POST", strings.NewReader("body"))
				body := watch(r.Body)
				r.Body = body
				if c.change != nil {
					c.change(r)
				}
				done := begin(client, r)
				p := s.accept()
				f := p.request()
				p.await("the end of the body", (*frame).ended)
				c.answer(p, f.StreamID)
				if o := receive(t, "an error", done); o.err == nil {
					t.Errorf("got status %d, want an error", o.StatusCode)
				}
				body.wantClosed(t)
				if n := p.count(func(f *frame) bool { return f.Type == http2.FrameHeaders }); n > 0 {
					t.Errorf("got %d more requests, want none", n)
				}
			})
		})
	}
}

func failingGetBody(r *http.Request) {
	r.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("no more") }
}

// cancelingGetBody ends the request's context when the body is wanted again.
func cancelingGetBody(r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	*r = *r.WithContext(ctx)
	r.GetBody = func() (io.ReadCloser, error) {
		cancel()
		return io.NopCloser(strings.NewReader("body")), nil
	}
}

// TestRetryUnreadBody refuses a call whose body was not touched: it goes with the
// next attempt, without GetBody.
func TestRetryUnreadBody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		r, body := expecting(strings.NewReader("body"), nil)
		done := begin(client, r)
		p := s.accept()
		p.reset(p.request().StreamID, http2.ErrCodeRefusedStream)
		f := p.request()
		p.headers(f.StreamID, false, ":status", "100")
		p.await("the body", func(f *frame) bool { return string(f.data) == "body" })
		p.respond(f.StreamID, "200", "")
		receive(t, "a response", done).want(t, 200, "")
		body.wantClosed(t)
	})
}

// TestRetryUnreadBodyGivenUp closes a body that no attempt has touched.
func TestRetryUnreadBodyGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		r, body := expecting(strings.NewReader("body"), nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := begin(client, r.WithContext(ctx))
		p := s.accept()
		for range 2 {
			p.reset(p.request().StreamID, http2.ErrCodeRefusedStream)
			settle() // the third attempt waits for a moment
		}
		cancel()
		receive(t, "an error", done).wantError(t, context.Canceled)
		body.wantClosed(t)
	})
}

// TestRetryWithin refuses calls of an http.Transport, which rewinds bodies itself
// when a connection has to be dialed.
func TestRetryWithin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, _ := newFake(t, nil)
		within := newWithin(t, s.network, new(http.Transport), nil)
		done := begin(within, request(t.Context(), "POST", strings.NewReader("body")))
		p := s.accept()
		p.await("the body", func(f *frame) bool { return string(f.data) == "body" })
		p.goAway(0, http2.ErrCodeNo)
		q := s.accept()
		q.await("the body", func(f *frame) bool { return string(f.data) == "body" })
		q.respond(q.request().StreamID, "200", "again")
		receive(t, "a response", done).want(t, 200, "again")
	})
}

// TestRetryHidden checks that responses tell of the caller's request, not of the
// attempt's.
func TestRetryHidden(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		r := request(t.Context(), "POST", strings.NewReader("body"))
		done := begin(client, r)
		p := s.accept()
		p.reset(p.request().StreamID, http2.ErrCodeRefusedStream)
		p.respond(p.request().StreamID, "200", "")
		if o := receive(t, "a response", done); o.err != nil || o.Request != r {
			t.Errorf("got error %v and another request than the caller's", o.err)
		}
	})
}

// TestGoAwayReason has the error of a lost call say why the server closed.
func TestGoAwayReason(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		done := begin(client, get(t.Context()))
		p := s.accept()
		f := p.request()
		p.write(func(w *http2.Framer) error {
			return w.WriteGoAway(f.StreamID, http2.ErrCodeEnhanceYourCalm, []byte("too much of it"))
		})
		_ = p.conn.Close()
		o := receive(t, "an error", done)
		var ended h2.ConnError
		if !errors.As(o.err, &ended) || !ended.Remote || ended.Code != h2.ErrCodeEnhanceYourCalm || ended.Reason != "too much of it" {
			t.Errorf("got error %v, want the reason of the GOAWAY", o.err)
		}
	})
}

// TestGoAwayGraceful announces the end of a connection: calls that are open go on,
// new ones go elsewhere at once.
func TestGoAwayGraceful(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		old := begin(client, get(t.Context()))
		p := s.accept()
		f := p.request()
		p.goAway(1<<31-1, http2.ErrCodeNo)
		p.wantAlive()
		fresh := begin(client, get(t.Context()))
		q := s.accept()
		q.respond(q.request().StreamID, "200", "new")
		receive(t, "a response", fresh).want(t, 200, "new")
		time.Sleep(4 * time.Second)
		p.goAway(f.StreamID, http2.ErrCodeNo)
		p.respond(f.StreamID, "200", "old")
		receive(t, "a response", old).want(t, 200, "old")
		p.wantClosed()
	})
}
