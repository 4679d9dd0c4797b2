// SPDX-License-Identifier: Apache-2.0

// Functions of a trace that panic in the caller's goroutine.

package h2_test

import (
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

// TestTracePanics has each function of a trace panic that the caller's goroutine calls, and
// the caller recovers. The request's body is closed, and the next call finds the place of
// this one, the only one.
func TestTracePanics(t *testing.T) {
	t.Parallel()
	fail := func() { panic("the reason") }
	for what, trace := range map[string]*httptrace.ClientTrace{
		"GotConn":          {GotConn: func(httptrace.GotConnInfo) { fail() }},
		"WroteHeaderField": {WroteHeaderField: func(string, []string) { fail() }},
		"WroteHeaders":     {WroteHeaders: fail},
		"Wait100Continue":  {Wait100Continue: fail},
	} {
		bubble(t, func(t *testing.T) {
			s, client := newFake(t, &h2.TransportConfig{MaxConnsPerHost: 1})
			warm := begin(client, get(t.Context()))
			p := s.accept(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
			p.respond(p.request().StreamID, "200", "")
			receive(t, "a response", warm).want(t, http.StatusOK, "")

			body := watch(strings.NewReader("body"))
			r := request(httptrace.WithClientTrace(t.Context(), trace), http.MethodPost, body)
			r.Header.Set("Expect", "100-continue")
			func() {
				defer func() {
					if v := recover(); v != "the reason" {
						t.Errorf("%s: got %v from the call, want its panic", what, v)
					}
				}()
				o := call(client, r)
				t.Errorf("%s: got %v and %v, want a panic", what, o.Response, o.err)
			}()
			body.wantClosed(t)
			p.take(func(f *frame) bool { return f.Type == http2.FrameHeaders })
			done := begin(client, get(timeout(t, time.Second)))
			p.respond(p.request().StreamID, "200", "ok")
			receive(t, "a response", done).want(t, http.StatusOK, "ok")
		})
	}
}
