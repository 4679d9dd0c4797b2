// SPDX-License-Identifier: Apache-2.0

// Functions of the program that do not return as a client needs it: no call waits for them
// for ever.

package h2_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
)

// TestDialReturnsNothing has DialContext return neither a connection nor an error, or not
// return at all. The call fails, and a later one dials again.
func TestDialReturnsNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fail func()
		want string
	}{
		{func() {}, "DialContext returned neither"},
		{runtime.Goexit, "ended its goroutine"},
	} {
		bubble(t, func(t *testing.T) {
			network := newMemoryNetwork()
			defer network.Close()
			s := &fakeServer{t: t, network: network}
			failed := false
			client := newClient(t, nil, &h2.TransportConfig{
				DialContext: func(ctx context.Context, kind, address string) (net.Conn, error) {
					if failed {
						return network.dialContext(ctx, kind, address)
					}
					failed = true
					c.fail()
					return nil, nil
				},
			})
			o := call(client, get(timeout(t, time.Second)))
			o.wantText(t, c.want)
			if !unprocessed(o.err) {
				t.Errorf("got %v, want an error that says that no peer has the request", o.err)
			}
			time.Sleep(time.Second) // until it may dial again
			done := begin(client, get(t.Context()))
			p := s.accept()
			p.respond(p.request().StreamID, "200", "ok")
			receive(t, "a response", done).want(t, http.StatusOK, "ok")
		})
	}
}

// TestTraceGoexit has a function of a trace end the goroutine that reads: the calls of the
// connection fail, and the transport can be closed.
func TestTraceGoexit(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		done := begin(client, get(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GotFirstResponseByte: runtime.Goexit,
		})))
		p := s.accept()
		id := p.request().StreamID
		other := begin(client, get(t.Context()))
		p.request()
		p.respond(id, "200", "ok")
		for _, done := range []<-chan outcome{done, other} {
			receive(t, "an error", done).wantText(t, "hook")
		}
	})
}

// TestCountErrorGoexit has CountError end the goroutine that reads, on a fault of a stream
// and on one of the connection: the call fails, and the transport can be closed.
func TestCountErrorGoexit(t *testing.T) {
	t.Parallel()
	for _, fault := range []func(p *rawPeer, id uint32){
		func(p *rawPeer, id uint32) { p.headers(id, true, ":status", "abc") },
		func(p *rawPeer, _ uint32) { p.window(0, 0) },
	} {
		bubble(t, func(t *testing.T) {
			s, client := newFake(t, &h2.TransportConfig{HTTP2: &http.HTTP2Config{CountError: func(string) { runtime.Goexit() }}})
			done := begin(client, get(t.Context()))
			p := s.accept()
			fault(p, p.request().StreamID)
			if o := receive(t, "an error", done); o.err == nil {
				t.Error("got a response, want an error")
			}
			p.wantClosed()
		})
	}
}

// A leavingBody ends the goroutine that reads it.
type leavingBody struct{}

func (leavingBody) Read([]byte) (int, error) {
	runtime.Goexit()
	return 0, io.EOF
}

// TestBodyGoexit has the Read of a request's body end its goroutine: the call fails, and
// the body is closed.
func TestBodyGoexit(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		body := watch(leavingBody{})
		done := begin(client, request(t.Context(), http.MethodPost, body))
		p := s.accept()
		id := p.request().StreamID
		receive(t, "an error", done).wantText(t, "ended its goroutine")
		p.await("RST_STREAM", func(f *frame) bool { return isReset(f, id) })
		body.wantClosed(t)
	})
}

// TestOnReadyGoexit has OnReady end its goroutine: the next change is reported all the same.
func TestOnReadyGoexit(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		var l readinessLog
		s, client := newFake(t, &h2.TransportConfig{OnReady: func(host string, ready bool) {
			l.add(host, ready)
			runtime.Goexit()
		}})
		done := begin(client, get(t.Context()))
		p := s.accept()
		p.respond(p.request().StreamID, "200", "ok")
		receive(t, "a response", done).want(t, http.StatusOK, "ok")
		l.want(t, "SETTINGS", true)
		_ = p.conn.Close()
		l.want(t, "the end", true, false)
	})
}
