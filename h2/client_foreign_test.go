// SPDX-License-Identifier: Apache-2.0

// Servers that speak something else, and servers that say goodbye before they hang up.

package h2_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

// TestForeignServer calls servers that do not speak HTTP/2 over cleartext. The error
// names the protocol that they speak, and the remedy.
func TestForeignServer(t *testing.T) {
	oldHTTP := httptest.NewServer(http.HandlerFunc(sayProto))
	defer oldHTTP.Close()
	own := h2.NewTransport(nil)
	defer own.Close()
	post(t, own, oldHTTP.URL).wantText(t, `it answered "HTTP/1.1 200 OK": let it take HTTP/2 over cleartext`)
	for first, want := range map[string]string{
		"HTTP/1.0 400 Bad Request\r\n\r\n":     `"HTTP/1.0 400 Bad Request"`,
		"HTTP/1.1 505":                         `"HTTP/1.1 505"`,
		"\x15\x03\x01\x00\x02\x02\x46":         "use a URL with https", // an alert
		"\x15\x03\x03\x00\x02\x02\x46\x15\x03": "use a URL with https",
	} {
		bubble(t, func(t *testing.T) {
			s, client := newFake(t, nil)
			done := begin(client, get(t.Context()))
			nc := s.silent()
			_, _ = io.WriteString(nc, first)
			_ = nc.CloseWrite()
			receive(t, "an error", done).wantText(t, want)
		})
	}
}

// TestForeignHalf hangs up in the middle of the first bytes of another protocol.
func TestForeignHalf(t *testing.T) {
	for _, first := range []string{"H", "HTTP/1", "\x15", "\x00\x00"} {
		bubble(t, func(t *testing.T) {
			s, client := newFake(t, nil)
			done := begin(client, get(t.Context()))
			nc := s.silent()
			settle() // the request has been written
			_, _ = io.WriteString(nc, first)
			_ = nc.Close()
			receive(t, "an error", done).wantText(t, "before it spoke HTTP/2: if it has TLS, use a URL with https: unexpected EOF")
		})
	}
}

// wantGoodbye checks that a call ended because the server went.
func wantGoodbye(t *testing.T, err error) {
	t.Helper()
	var ended h2.ConnError
	if !errors.As(err, &ended) || !ended.Remote || ended.Code != h2.ErrCodeNo {
		t.Errorf("got error %v, want one that says that the server has closed the connection with NO_ERROR", err)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got error %v, which passes for a body that was cut off", err)
	}
}

// TestGoodbye shuts a server down while two calls are open, one before and one after
// the head of its response, and closes it then: as a deployment does when its time is
// over. New calls go elsewhere from the first goodbye on.
func TestGoodbye(t *testing.T) {
	for _, engine := range []bool{true, false} {
		for _, within := range []bool{true, false} {
			begun := make(chan struct{}, 1)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/head" {
					_ = http.NewResponseController(w).Flush()
				}
				if r.URL.Path == "/" {
					begun <- struct{}{}
				}
				<-r.Context().Done()
			}))
			server.Config.Protocols = new(http.Protocols)
			server.Config.Protocols.SetUnencryptedHTTP2(true)
			if engine {
				if err := h2.ConfigureServer(server.Config, nil); err != nil {
					t.Fatal(err)
				}
			}
			server.Start()
			var rt http.RoundTripper
			if within {
				standard := &http.Transport{Protocols: server.Config.Protocols}
				if err := h2.ConfigureTransport(standard, nil); err != nil {
					t.Fatal(err)
				}
				rt = standard
			} else {
				own := h2.NewTransport(nil)
				defer own.Close()
				rt = own
			}
			client := &http.Client{Transport: rt}
			res, err := client.Get(server.URL + "/head")
			if err != nil {
				t.Fatal(err)
			}
			headless := make(chan error, 1)
			r, _ := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/", nil)
			go func() {
				_, err := rt.RoundTrip(r)
				headless <- err
			}()
			<-begun
			over, cancel := context.WithCancel(t.Context())
			cancel()
			_ = server.Config.Shutdown(over)
			callUntilRefused(t, client, server.URL)
			_ = server.Config.Close()
			_, err = io.ReadAll(res.Body)
			wantGoodbye(t, err)
			_ = res.Body.Close()
			wantGoodbye(t, <-headless)
			server.Close()
		}
	}
}

// callUntilRefused calls a server that is shut down until the call is refused: its goodbye has
// arrived.
func callUntilRefused(t *testing.T, client *http.Client, url string) {
	t.Helper()
	for {
		ctx, cancel := context.WithCancel(t.Context())
		r, _ := http.NewRequestWithContext(ctx, "GET", url+"/head", nil)
		res, err := client.Do(r)
		cancel()
		if _, refused := errors.AsType[*net.OpError](err); refused {
			return
		}
		if err == nil {
			_ = res.Body.Close()
		}
	}
}

// TestGoodbyeThenReset has the connection reset after the goodbye, so that writing
// fails, too.
func TestGoodbyeThenReset(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		body := newWaitingBody()
		done := begin(client, request(t.Context(), "POST", body))
		p := s.accept()
		p.goAway(p.request().StreamID, http2.ErrCodeNo)
		settle()
		p.conn.in.abandon() // what the client writes fails
		other := begin(client, request(t.Context(), "POST", strings.NewReader("elsewhere")))
		q := s.accept()
		q.respond(q.request().StreamID, "200", "")
		receive(t, "a response", other).want(t, 200, "")
		_ = p.conn.Close()
		o := receive(t, "an error", done)
		wantGoodbye(t, o.err)
	})
}

// TestConfigureNothing configures what has no HTTP/2 by its Protocols.
func TestConfigureNothing(t *testing.T) {
	none := new(http.Protocols)
	none.SetHTTP1(true)
	if err := h2.ConfigureServer(&http.Server{Protocols: none}, nil); err == nil || !strings.Contains(err.Error(), "Protocols") {
		t.Errorf("got error %v from ConfigureServer, want one about Protocols", err)
	}
	if err := h2.ConfigureTransport(&http.Transport{Protocols: none}, nil); err == nil || !strings.Contains(err.Error(), "Protocols") {
		t.Errorf("got error %v from ConfigureTransport, want one about Protocols", err)
	}
}

// TestSwitchedOff has the operator switch HTTP/2 off: servers and an http.Transport go
// on with HTTP/1.1, a transport that has only HTTP/2 returns an error with the reason.
func TestSwitchedOff(t *testing.T) {
	serve := func(off string) (int, string, error) {
		t.Setenv("GODEBUG", off)
		s, trust := startTLS(t, true, false)
		standard := &http.Transport{TLSClientConfig: trust}
		if err := h2.ConfigureTransport(standard, nil); err != nil {
			t.Fatal(err)
		}
		defer standard.CloseIdleConnections()
		o := post(t, standard, s.URL)
		if o.err != nil {
			return 0, "", o.err
		}
		own := h2.NewTransport(&h2.TransportConfig{TLSClientConfig: trust})
		defer own.Close()
		return o.ProtoMajor, o.body, post(t, own, s.URL).err
	}
	if proto, _, err := serve(""); proto != 2 || err != nil {
		t.Errorf("without a switch: got HTTP/%d and error %v, want HTTP/2", proto, err)
	}
	for _, off := range []string{"http2client=0", "http2server=0"} {
		proto, body, err := serve(off)
		if proto != 1 || body != "HTTP/1.1 hello" {
			t.Errorf("%s: got HTTP/%d, %q, want HTTP/1.1", off, proto, body)
		}
		if want := map[string]string{"http2client=0": "GODEBUG=http2client=0", "http2server=0": "does not speak HTTP/2"}[off]; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want one that says %q", off, err, want)
		}
	}
}
