// SPDX-License-Identifier: Apache-2.0

// Time: for the first request, between requests, and for a body. The clock is the
// bubble's: it stands still while anything happens.

package h2_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

const (
	firstRequest = 10 * time.Second
	idle         = 5 * time.Minute
)

// TestServerSlowStart begins a connection in every way but with a request. It is
// closed when the time for the first request is over, and not before.
func TestServerSlowStart(t *testing.T) {
	t.Parallel()
	begins := []struct {
		name  string
		begin func(p *rawPeer)
	}{
		{"nothing", func(*rawPeer) {}},
		{"half a preface", func(p *rawPeer) { p.bytes(http2.ClientPreface[:15]) }},
		{"a preface in pieces", func(p *rawPeer) {
			for i := range 9 {
				p.bytes(http2.ClientPreface[i : i+1])
				time.Sleep(time.Second)
			}
		}},
		{"a preface", func(p *rawPeer) { p.bytes(http2.ClientPreface) }},
		{"settings", func(p *rawPeer) { p.preface() }},
		{"half a frame", func(p *rawPeer) {
			p.preface()
			p.bytes("\x00\x00\x10\x01\x05")
		}},
		{"half a head", func(p *rawPeer) {
			p.preface()
			p.raw(http2.FrameHeaders, 0, 1, "\x82\x86\x84")
		}},
		{"half a head, then pieces", func(p *rawPeer) {
			p.preface()
			p.raw(http2.FrameHeaders, 0, 1, "\x82\x86\x84")
			for range 9 {
				time.Sleep(time.Second)
				p.raw(http2.FrameContinuation, 0, 1, "\x82")
			}
		}},
		{"PINGs", func(p *rawPeer) {
			p.preface()
			for range 9 {
				time.Sleep(time.Second)
				p.ping([8]byte{})
			}
		}},
	}
	for _, timeout := range []time.Duration{0, 3 * time.Second, -1} {
		for _, c := range begins {
			if timeout == 3*time.Second && strings.Contains(c.name, "PINGs") || timeout > 0 && strings.Contains(c.name, "pieces") {
				continue // they take longer
			}
			t.Run(strings.ReplaceAll(c.name, " ", "_")+timeout.String(), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					s := startServer(t, answerOK, func(_ *http.Server, c *h2.ServerConfig) { c.FirstRequestTimeout = timeout })
					began := time.Now()
					p := connect(t, s, false)
					p.mute.Store(true) // nothing of its own may come between the pieces
					c.begin(p)
					if timeout < 0 {
						time.Sleep(idle - time.Minute)
						synctest.Wait()
						if p.over() {
							t.Errorf("got the connection ended after %v without a limit, want it to go on: %s", time.Since(began), p.story())
						}
						return
					}
					p.wantClosed()
					want := timeout
					if want == 0 {
						want = firstRequest
					}
					within(t, "the time until the end", time.Since(began), want, want+2*time.Second)
					if n := s.started.Load(); n != 0 {
						t.Errorf("got %d handlers, want none", n)
					}
				})
			})
		}
	}
}

// TestServerFirstRequestInTime makes the first request at the last moment: the
// limit has nothing to say about what follows.
func TestServerFirstRequestInTime(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := startServer(t, answerOK)
		p := connect(t, s, false)
		time.Sleep(firstRequest / 2)
		p.preface()
		time.Sleep(firstRequest/2 - time.Second)
		p.post(1)
		time.Sleep(time.Minute)
		p.data(1, true, []byte("body"))
		p.wantAnswer(1, "200")
		time.Sleep(time.Minute)
		p.wantWorks(3)
	})
}

// TestServerFirstRequestAtLimit makes the first request at the moment at which the limit is
// reached, again and again: the server answers it, or its GOAWAY shows that it did not
// process it.
func TestServerFirstRequestAtLimit(t *testing.T) {
	t.Parallel()
	for range 200 {
		bubble(t, func(t *testing.T) {
			s := startServer(t, answerOK)
			p := connect(t, s, false)
			p.preface()
			synctest.Wait()
			time.Sleep(firstRequest - time.Nanosecond)
			time.Sleep(time.Nanosecond)
			p.get(1)
			f := p.await("an answer or GOAWAY", func(f *frame) bool { return f.Type == http2.FrameHeaders || isGoAway(f) })
			if isGoAway(f) && f.last != 0 {
				t.Errorf("got GOAWAY with last stream %d in the place of an answer, want 0, or the answer", f.last)
			}
		})
	}
}

// TestServerSlowHandshake counts the TLS handshake as part of the start.
func TestServerSlowHandshake(t *testing.T) {
	t.Parallel()
	certificate := httptest.NewUnstartedServer(nil)
	certificate.StartTLS()
	certificates := certificate.TLS.Certificates
	certificate.Close()
	for _, c := range []string{"nothing", "half a hello", "no request"} {
		t.Run(strings.ReplaceAll(c, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var server *http.Server
				s := startServer(t, answerOK, func(s *http.Server, _ *h2.ServerConfig) {
					s.TLSConfig = &tls.Config{Certificates: certificates}
					s.Protocols.SetHTTP2(true)
					server = s
				})
				secure := newMemoryNetwork()
				served := make(chan error, 1)
				go func() { served <- server.ServeTLS(secure, "", "") }()
				defer func() {
					_ = s.Close()
					<-served
				}()
				began := time.Now()
				conn, err := secure.dial()
				if err != nil {
					t.Fatal(err)
				}
				switch c {
				case "half a hello":
					_, _ = io.WriteString(conn, "\x16\x03\x01\x02\x00\x01\x00")
				case "no request":
					time.Sleep(firstRequest / 2)
					encrypted := tls.Client(conn, &tls.Config{NextProtos: []string{"h2"}, InsecureSkipVerify: true})
					if err := encrypted.Handshake(); err != nil {
						t.Fatal(err)
					}
					if got := encrypted.ConnectionState().NegotiatedProtocol; got != "h2" {
						t.Errorf("got protocol %q, want h2", got)
					}
					_, _ = io.WriteString(encrypted, http2.ClientPreface)
				}
				_ = conn.SetReadDeadline(time.Now().Add(patience))
				_, err = io.Copy(io.Discard, conn)
				_ = conn.Close()
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal("got no end of the connection, want one")
				}
				within(t, "the time until the end", time.Since(began), firstRequest, firstRequest+2*time.Second)
			})
		})
	}
}

// TestServerIdle leaves a connection alone, with and without a request before.
// It sends GOAWAY with NO_ERROR and ends; open streams keep it.
func TestServerIdle(t *testing.T) {
	t.Parallel()
	for _, timeout := range []time.Duration{0, time.Minute} {
		want := timeout
		if want == 0 {
			want = idle
		}
		t.Run("after an answer "+timeout.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := startServer(t, answerOK, func(s *http.Server, _ *h2.ServerConfig) { s.IdleTimeout = timeout })
				p := dial(t, s)
				p.wantWorks(1)
				time.Sleep(want - time.Second)
				p.wantWorks(3)
				began := time.Now()
				if f := p.wantGoAway(http2.ErrCodeNo); f.last != 3 {
					t.Errorf("got last stream %d in GOAWAY, want 3", f.last)
				}
				within(t, "the idle time", time.Since(began), want, want+2*time.Second)
			})
		})
		t.Run("in a block "+timeout.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := startServer(t, answerOK, func(s *http.Server, _ *h2.ServerConfig) { s.IdleTimeout = timeout })
				p := dial(t, s)
				p.wantWorks(1)
				began := time.Now()
				p.raw(http2.FrameHeaders, 0, 3, "\x82\x86\x84")
				p.wantClosed()
				within(t, "the wait for the rest", time.Since(began), 0, want+2*time.Second)
			})
		})
		t.Run("stream open "+timeout.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := startServer(t, answerOK, func(s *http.Server, _ *h2.ServerConfig) { s.IdleTimeout = timeout })
				p := dial(t, s)
				p.post(1)
				time.Sleep(3 * want)
				p.data(1, true, []byte("body"))
				p.wantAnswer(1, "200")
				began := time.Now()
				p.wantGoAway(http2.ErrCodeNo)
				within(t, "the idle time", time.Since(began), want, want+2*time.Second)
			})
		})
	}
}

// TestServerReadTimeouts frees a handler that waits for a body: by the deadline
// of its ResponseController, and by the server's ReadTimeout.
func TestServerReadTimeouts(t *testing.T) {
	t.Parallel()
	for _, own := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			read := make(chan error, 1)
			s := startServer(t, func(_ http.ResponseWriter, r *http.Request) {
				_, err := io.Copy(io.Discard, r.Body)
				read <- err
			}, func(s *http.Server, _ *h2.ServerConfig) {
				if !own {
					s.ReadTimeout = 2 * time.Second
				}
				handler := s.Handler
				s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if own {
						if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
							t.Error(err)
						}
					}
					handler.ServeHTTP(w, r)
				})
			})
			p := dial(t, s)
			began := time.Now()
			p.post(1)
			p.data(1, false, []byte("body"))
			err := receive(t, "the end of the body", read)
			within(t, "the handler's wait", time.Since(began), 2*time.Second, 2*time.Second)
			var timeout net.Error
			if !errors.Is(err, os.ErrDeadlineExceeded) && !(errors.As(err, &timeout) && timeout.Timeout()) {
				t.Errorf("own deadline %t: got %v, want one that is a timeout", own, err)
			}
			synctest.Wait()
			if n := s.running.Load(); n != 0 {
				t.Errorf("own deadline %t: got %d handlers, want none", own, n)
			}
		})
	}
}

// TestServerNegativeTimeouts checks that each timeout of net/http means none if it is
// negative, for a connection that waits, a body that comes late, and an answer that
// takes long.
func TestServerNegativeTimeouts(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*http.Server){
		"ReadTimeout":       func(s *http.Server) { s.ReadTimeout = -1 },
		"ReadHeaderTimeout": func(s *http.Server) { s.ReadHeaderTimeout = -1 },
		"WriteTimeout":      func(s *http.Server) { s.WriteTimeout, s.IdleTimeout = -1, 100*time.Hour },
		"IdleTimeout":       func(s *http.Server) { s.IdleTimeout = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
					time.Sleep(10 * time.Hour)
					answerOK(w, r)
				}, func(s *http.Server, c *h2.ServerConfig) {
					c.FirstRequestTimeout = -1
					set(s)
				})
				for range 200 {
					p := dial(t, s)
					if name != "ReadHeaderTimeout" { // then idle connections live as long as ever
						time.Sleep(10 * time.Hour)
					}
					p.post(1)
					time.Sleep(10 * time.Hour)
					p.data(1, true, []byte("body"))
					p.wantAnswer(1, "200")
					_ = p.conn.Close()
				}
			})
		})
	}
}
