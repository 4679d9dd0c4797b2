// SPDX-License-Identifier: Apache-2.0

// Credentials of clients: what is sent, where to, and how often sources are asked.

package auth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/auth"
	"github.com/seed-b7c59c10/connect/connecttest"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	"github.com/seed-b7c59c10/connect/retry"
)

// TestCredentials: each kind of credentials in each kind of call.
func TestCredentials(t *testing.T) {
	guard := auth.Require(auth.Bearer(ada),
		auth.Basic(func(_ context.Context, user, password string) (auth.Identity, error) {
			return auth.Identity{Subject: user + " " + password}, nil
		}),
		auth.APIKey("x-key", auth.Keys(map[auth.KeyHash]auth.Identity{auth.HashKey("k"): {Subject: "robot"}})))
	for _, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			server := serve(t, new(service), c.server, guard)
			for want, option := range map[string]connect.ClientOption{
				"ada":    auth.Credentials(auth.StaticToken("ada"), auth.AllowInsecure()),
				"bob ö:": auth.BasicCredentials("bob", "ö:", auth.AllowInsecure()),
				"robot":  auth.APIKeyCredentials("X-KEY", "k", auth.AllowInsecure()),
			} {
				for kind, got := range calls(testContext(t), newClient(server, append(c.options, option)...), c.bidi) {
					if got.err != nil || got.text != want {
						t.Errorf("%s: got %q and %v, want %q", kind, got.text, got.err, want)
					}
				}
				for kind, got := range calls(testContext(t), newClient(server, append(c.options, option, withHeader("Authorization", "Bearer eve"))...), c.bidi) {
					if want != "robot" { // whose header is another one
						wantError(t, got.err, connect.CodeUnauthenticated, "not valid")
					}
					_ = kind
				}
			}
		})
	}
}

// TestClear: credentials are not sent in clear, and the source is not asked.
func TestClear(t *testing.T) {
	var asked, sent atomic.Int64
	source := auth.TokenFunc(func(context.Context) (auth.Token, error) {
		asked.Add(1)
		return auth.Token{Value: "ada"}, nil
	})
	for _, c := range carriers {
		server := serveHandler(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { sent.Add(1) }), c.server...)
		for _, option := range []connect.ClientOption{
			auth.Credentials(source), auth.Credentials(source, auth.AllowLoopback()), auth.BasicCredentials("a", "b"), auth.APIKeyCredentials("k", "v"),
		} {
			for _, got := range calls(testContext(t), newClient(server, append(c.options, option)...), c.bidi) {
				wantError(t, got.err, connect.CodeFailedPrecondition, "credentials are not sent in clear: the URL of server.test is not https: use TLS")
			}
		}
	}
	if asked.Load() != 0 || sent.Load() != 0 {
		t.Errorf("got %d questions to the source and %d requests, want none", asked.Load(), sent.Load())
	}
}

// TestLoopback: AllowLoopback permits what stays on this machine.
func TestLoopback(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle(conntestv1connect.NewTestServiceHandler(new(service), auth.Require(auth.Bearer(ada))))
	s := httptest.NewServer(mux)
	defer s.Close()
	for base, want := range map[string]string{
		s.URL: "", strings.Replace(s.URL, "127.0.0.1", "localhost", 1): "", strings.Replace(s.URL, "127.0.0.1", "LOCALHOST", 1): "",
		"http://10.0.0.1:80": "is not https", "http://localhost.evil.com": "is not https", "http://127.0.0.1.evil.com": "is not https",
	} {
		client := conntestv1connect.NewTestServiceClient(s.Client(), base, auth.Credentials(auth.StaticToken("ada"), auth.AllowLoopback()))
		got := calls(testContext(t), client, false)["unary"]
		if want == "" {
			if got.err != nil {
				t.Errorf("%s: got %v, want an answer", base, got.err)
			}
			continue
		}
		wantError(t, got.err, connect.CodeFailedPrecondition, want)
	}
}

// TestRedirect: a server with TLS that leads to one without does not get the credentials
// there, over HTTP/1.1 and in clear HTTP/2.
func TestRedirect(t *testing.T) {
	var seen atomic.Int64
	clear := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen.Add(1) }))
	clear.Config.Protocols = new(http.Protocols)
	clear.Config.Protocols.SetHTTP1(true)
	clear.Config.Protocols.SetUnencryptedHTTP2(true)
	clear.Start()
	defer clear.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, clear.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer secure.Close()
	for name, h2c := range map[string]bool{"h1": false, "h2c": true} {
		transport := secure.Client().Transport.(*http.Transport).Clone()
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetHTTP1(!h2c)
		transport.Protocols.SetHTTP2(h2c)
		transport.Protocols.SetUnencryptedHTTP2(h2c)
		if h2c {
			transport.Protocols.SetHTTP1(false)
			secureH2 := httptest.NewUnstartedServer(secure.Config.Handler)
			secureH2.EnableHTTP2 = true
			secureH2.StartTLS()
			defer secureH2.Close()
			transport.TLSClientConfig.InsecureSkipVerify = true
			redirect(t, name, transport, secureH2.URL)
			continue
		}
		redirect(t, name, transport, secure.URL)
	}
	if n := seen.Load(); n != 0 {
		t.Errorf("got %d requests in clear, want none", n)
	}
}

func redirect(t *testing.T, name string, transport *http.Transport, base string) {
	t.Helper()
	defer transport.CloseIdleConnections()
	for kind, httpClient := range map[string]*http.Client{"transport": {Transport: transport}, "Do": {Transport: transport, Timeout: time.Minute}} {
		for _, option := range []connect.ClientOption{auth.Credentials(auth.StaticToken("ada")), auth.BasicCredentials("a", "b"), auth.APIKeyCredentials("k", "v")} {
			client := conntestv1connect.NewTestServiceClient(httpClient, base, option)
			got := calls(testContext(t), client, false)
			for _, each := range []string{"unary", "server stream"} {
				if err := got[each].err; each == "unary" || connect.CodeOf(err) == connect.CodeFailedPrecondition {
					wantError(t, err, connect.CodeFailedPrecondition, "has no TLS: use TLS")
				} else if err == nil {
					t.Errorf("%s, %s, %s: got no error", name, kind, each)
				}
			}
		}
	}
}

// TestTrace: the program's own trace is called as well.
func TestTrace(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle(conntestv1connect.NewTestServiceHandler(new(service), auth.Require(auth.Bearer(ada))))
	s := httptest.NewTLSServer(mux)
	defer s.Close()
	var got atomic.Int64
	ctx := httptrace.WithClientTrace(testContext(t), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { got.Add(1) }})
	client := conntestv1connect.NewTestServiceClient(s.Client(), s.URL, auth.Credentials(auth.StaticToken("ada")))
	if a := calls(ctx, client, false)["unary"]; a.err != nil || a.text != "ada" {
		t.Errorf("got %v, want ada", a)
	}
	if got.Load() == 0 {
		t.Error("the program's trace was not called")
	}
}

// A counting source returns tokens "1", "2", and so on.
type counting struct {
	n     atomic.Int64
	life  time.Duration
	delay time.Duration
	fail  atomic.Pointer[error]
}

func (c *counting) Token(ctx context.Context) (auth.Token, error) {
	n := c.n.Add(1)
	select {
	case <-time.After(c.delay):
	case <-ctx.Done():
		return auth.Token{}, ctx.Err()
	}
	if err := c.fail.Load(); err != nil {
		return auth.Token{}, *err
	}
	token := auth.Token{Value: fmt.Sprint(n)}
	if c.life > 0 {
		token.Expires = time.Now().Add(c.life)
	}
	return token, nil
}

// any accepts each token but those that are refused.
type accepting struct{ refused sync.Map }

func (a *accepting) verify(_ context.Context, token string) (auth.Identity, error) {
	if _, no := a.refused.Load(token); no {
		return auth.Identity{}, errors.New("refused")
	}
	return auth.Identity{Subject: token}, nil
}

// inTime runs a test with a server and a unary call, in time that it controls.
func inTime(t *testing.T, source auth.TokenSource, f func(t *testing.T, a *accepting, call func(context.Context) answer), options ...connect.ClientOption) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := new(accepting)
		mux := http.NewServeMux()
		mux.Handle(conntestv1connect.NewTestServiceHandler(new(service), auth.Require(auth.Bearer(a.verify))))
		server := connecttest.NewServer(mux)
		defer server.Close()
		client := newClient(server, append(options, auth.Credentials(source, auth.AllowInsecure()))...)
		f(t, a, func(ctx context.Context) answer {
			return answerOf(client.Unary(ctx, connect.NewRequest(&conntestv1.Request{})))
		})
	})
}

func wantText(t *testing.T, got answer, want string) {
	t.Helper()
	if got.err != nil || got.text != want {
		t.Errorf("got %q and %v, want %q", got.text, got.err, want)
	}
}

// TestRefresh: one token for all calls, a new one before the end, by one request.
func TestRefresh(t *testing.T) {
	source := &counting{life: time.Hour, delay: time.Second}
	inTime(t, source, func(t *testing.T, _ *accepting, call func(context.Context) answer) {
		ctx := t.Context()
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() { wantText(t, call(ctx), "1") })
		}
		group.Wait()
		time.Sleep(58 * time.Minute)
		wantText(t, call(ctx), "1")
		time.Sleep(time.Minute + time.Second) // the last minute has begun
		for range 20 {
			group.Go(func() { wantText(t, call(ctx), "1") })
		}
		group.Wait()
		time.Sleep(2 * time.Second)
		wantText(t, call(ctx), "2")
		time.Sleep(2 * time.Hour) // it has expired
		wantText(t, call(ctx), "3")
		if n := source.n.Load(); n != 3 {
			t.Errorf("got %d requests for tokens, want 3", n)
		}
	})
}

// TestRenewalFails: the old token is used as long as it is valid, with one request a second.
func TestRenewalFails(t *testing.T) {
	source := &counting{life: time.Hour}
	inTime(t, source, func(t *testing.T, _ *accepting, call func(context.Context) answer) {
		ctx := t.Context()
		wantText(t, call(ctx), "1")
		down := errors.New("down")
		source.fail.Store(&down)
		time.Sleep(59*time.Minute + 30*time.Second)
		for range 20 {
			wantText(t, call(ctx), "1")
			synctest.Wait()
		}
		if n := source.n.Load(); n != 2 {
			t.Errorf("got %d requests for tokens, want 2", n)
		}
		time.Sleep(2 * time.Second)
		wantText(t, call(ctx), "1")
		time.Sleep(time.Minute)
		for range 5 {
			wantError(t, call(ctx).err, connect.CodeUnavailable, "credentials: down")
		}
		if n := source.n.Load(); n != 4 {
			t.Errorf("got %d requests for tokens, want 4", n)
		}
		source.fail.Store(nil)
		wantError(t, call(ctx).err, connect.CodeUnavailable, "credentials: down") // for a moment
		time.Sleep(time.Second)
		wantText(t, call(ctx), "5")
	})
}

// TestRefused: a refused token is replaced, once, and not if it is new.
func TestRefused(t *testing.T) {
	for name, options := range map[string][]connect.ClientOption{
		"connect": nil, "grpc": {connect.WithGRPC()}, "with retry": {connect.WithInterceptors(retry.New())},
	} {
		t.Run(name, func(t *testing.T) {
			source := new(counting)
			inTime(t, source, func(t *testing.T, a *accepting, call func(context.Context) answer) {
				ctx := t.Context()
				wantText(t, call(ctx), "1")
				a.refused.Store("1", true)
				wantError(t, call(ctx).err, connect.CodeUnauthenticated, "not valid") // the token is new
				time.Sleep(time.Second)
				var group sync.WaitGroup
				for range 20 {
					group.Go(func() { wantText(t, call(ctx), "2") })
				}
				group.Wait()
				a.refused.Store("2", true)
				a.refused.Store("3", true)
				time.Sleep(time.Second)
				wantError(t, call(ctx).err, connect.CodeUnauthenticated, "not valid")
				if n := source.n.Load(); n != 3 {
					t.Errorf("got %d requests for tokens, want 3", n)
				}
			}, options...)
		})
	}
	static := auth.StaticToken("1")
	inTime(t, static, func(t *testing.T, a *accepting, call func(context.Context) answer) {
		a.refused.Store("1", true)
		for range 3 {
			wantError(t, call(t.Context()).err, connect.CodeUnauthenticated, "not valid")
			time.Sleep(time.Minute)
		}
	})
}

// TestRefusedStream: the refusal of a stream makes the next call fetch a token.
func TestRefusedStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, source := new(accepting), new(counting)
		mux := http.NewServeMux()
		mux.Handle(conntestv1connect.NewTestServiceHandler(new(service), auth.Require(auth.Bearer(a.verify))))
		server := connecttest.NewServer(mux)
		defer server.Close()
		client := newClient(server, auth.Credentials(source, auth.AllowInsecure()))
		stream := func() (string, error) {
			s := client.Bidi(t.Context())
			defer func() { _ = s.CloseResponse() }()
			_ = s.Send(&conntestv1.Request{})
			_ = s.CloseRequest()
			msg, err := s.Receive()
			return msg.GetText(), err
		}
		if text, err := stream(); err != nil || text != "1" {
			t.Errorf("got %q and %v, want 1", text, err)
		}
		a.refused.Store("1", true)
		time.Sleep(time.Minute)
		_, err := stream()
		wantError(t, err, connect.CodeUnauthenticated, "not valid")
		if text, err := stream(); err != nil || text != "2" {
			t.Errorf("got %q and %v, want 2", text, err)
		}
	})
}

// TestSourceErrors: what the errors of a source become, for unary calls and streams.
func TestSourceErrors(t *testing.T) {
	server := serve(t, new(service), nil)
	for _, c := range []struct {
		name   string
		source auth.TokenFunc
		code   connect.Code
		text   string
	}{
		{"plain", func(context.Context) (auth.Token, error) { return auth.Token{}, errors.New("down") }, connect.CodeUnavailable, "credentials: down"},
		{"coded", func(context.Context) (auth.Token, error) {
			return auth.Token{}, connect.NewError(connect.CodePermissionDenied, errors.New("revoked"))
		}, connect.CodePermissionDenied, "revoked"},
		{"a server's", func(context.Context) (auth.Token, error) { // one that signs in; to repeat the call cannot help
			return auth.Token{}, connect.NewWireError(connect.CodeUnauthenticated, errors.New("wrong password"))
		}, connect.CodeUnauthenticated, "credentials: unauthenticated: wrong password"},
		{"empty", func(context.Context) (auth.Token, error) { return auth.Token{}, nil }, connect.CodeUnavailable, "an empty token"},
		{"line break", func(context.Context) (auth.Token, error) { return auth.Token{Value: "a\r\nX: y"}, nil }, connect.CodeUnavailable, "characters that a header cannot have"},
		{"type", func(context.Context) (auth.Token, error) { return auth.Token{Value: "a", Type: "a b"}, nil }, connect.CodeUnavailable, "characters that a header cannot have"},
		{"panic", func(context.Context) (auth.Token, error) { panic("boom") }, connect.CodeInternal, "the token source panicked: boom"},
		{"exit", func(context.Context) (auth.Token, error) { runtime.Goexit(); return auth.Token{}, nil }, connect.CodeInternal, "the token source ended its goroutine"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, got := range calls(testContext(t), newClient(server, auth.Credentials(c.source, auth.AllowInsecure())), true) {
				wantError(t, got.err, c.code, c.text)
			}
		})
	}
}

// TestSlowSource: a call does not wait longer than its context, the others go on waiting, and
// a fetch that none waits for ends.
func TestSlowSource(t *testing.T) {
	source := &counting{delay: 10 * time.Second}
	inTime(t, source, func(t *testing.T, _ *accepting, call func(context.Context) answer) {
		begin := time.Now()
		short := func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			wantError(t, call(ctx).err, connect.CodeDeadlineExceeded, "credentials")
		}
		var group sync.WaitGroup
		group.Go(short)
		group.Go(func() { wantText(t, call(t.Context()), "1") })
		group.Wait()
		if got := time.Since(begin); got != 10*time.Second {
			t.Errorf("got the token after %v, want ten seconds", got)
		}
	})
	source = &counting{delay: 10 * time.Second}
	inTime(t, source, func(t *testing.T, _ *accepting, call func(context.Context) answer) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantError(t, call(ctx).err, connect.CodeDeadlineExceeded, "credentials")
		begin := time.Now()
		wantText(t, call(t.Context()), "2") // another fetch, at once
		if got := time.Since(begin); got != 10*time.Second {
			t.Errorf("got the token after %v, want ten seconds", got)
		}
	})
}

// stuck is a source without a context, as those of oauth2, that hangs until it is let go.
type stuck struct {
	calls atomic.Int64
	let   chan struct{}
}

func (s *stuck) Token() (*string, error) {
	s.calls.Add(1)
	<-s.let
	token := "ada"
	return &token, nil
}

// TestOAuth2: a source that heeds no context holds one goroutine, whatever calls do.
func TestOAuth2(t *testing.T) {
	s := new(stuck)
	source := auth.OAuth2(s, func(token *string) auth.Token { return auth.Token{Value: *token} })
	inTime(t, source, func(t *testing.T, _ *accepting, call func(context.Context) answer) {
		s.let = make(chan struct{})
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			wantError(t, call(ctx).err, connect.CodeDeadlineExceeded, "credentials")
			cancel()
		}
		wantError(t, call(t.Context()).err, connect.CodeUnavailable, "deadline exceeded") // half a minute
		if n := s.calls.Load(); n != 1 {
			t.Errorf("got %d calls of the source, want 1", n)
		}
		close(s.let)
		time.Sleep(time.Second)
		wantText(t, call(t.Context()), "ada")
	})
	failing := auth.OAuth2(failingSource{}, func(int) auth.Token { return auth.Token{} })
	if _, err := failing.Token(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want the source's error", err)
	}
}

type failingSource struct{}

func (failingSource) Token() (int, error) { return 0, io.ErrUnexpectedEOF }
