// SPDX-License-Identifier: Apache-2.0

// TLS, on real sockets: what is negotiated, and what http.Transport keeps doing.

package h2_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed-b7c59c10/connect/h2"
)

// sayProto answers with the protocol that a request came by.
func sayProto(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_, _ = io.WriteString(w, r.Proto+" "+string(body))
}

// startTLS serves over TLS, with net/http or on the engine, and returns a
// configuration that trusts it.
func startTLS(t testing.TB, engine, speaksH2 bool) (*httptest.Server, *tls.Config) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(sayProto))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = speaksH2
	if engine {
		if err := h2.ConfigureServer(s.Config, nil); err != nil {
			t.Fatal(err)
		}
		s.TLS = s.Config.TLSConfig
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s, &tls.Config{RootCAs: roots}
}

// post sends a short body to a URL.
func post(t testing.TB, rt http.RoundTripper, to string) outcome {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", to, strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	return call(rt, r)
}

// TestTLS negotiates HTTP/2, with each kind of client and of server.
func TestTLS(t *testing.T) {
	for _, engine := range []bool{true, false} {
		s, trust := startTLS(t, engine, true)
		own := h2.NewTransport(&h2.TransportConfig{TLSClientConfig: trust})
		defer own.Close()
		standard := &http.Transport{TLSClientConfig: trust.Clone()}
		if err := h2.ConfigureTransport(standard, nil); err != nil {
			t.Fatal(err)
		}
		defer standard.CloseIdleConnections()
		for _, rt := range []http.RoundTripper{own, standard} {
			for range 3 {
				o := post(t, rt, s.URL)
				o.want(t, 200, "HTTP/2.0 hello")
				if o.err == nil && (o.TLS == nil || o.TLS.NegotiatedProtocol != "h2" || o.ProtoMajor != 2) {
					t.Errorf("got TLS state %v and protocol %s", o.TLS, o.Proto)
				}
			}
		}
		if trust.NextProtos != nil {
			t.Errorf("got NextProtos %v in a configuration that is the caller's", trust.NextProtos)
		}
	}
}

// TestTLSWithoutHTTP2 meets a server that speaks HTTP/1.1 only. A transport of its
// own returns an error; an http.Transport goes on with HTTP/1.1.
func TestTLSWithoutHTTP2(t *testing.T) {
	s, trust := startTLS(t, false, false)
	own := h2.NewTransport(&h2.TransportConfig{TLSClientConfig: trust})
	defer own.Close()
	post(t, own, s.URL).wantText(t, "does not speak HTTP/2")
	standard := &http.Transport{TLSClientConfig: trust}
	if err := h2.ConfigureTransport(standard, nil); err != nil {
		t.Fatal(err)
	}
	defer standard.CloseIdleConnections()
	post(t, standard, s.URL).want(t, 200, "HTTP/1.1 hello")
}

// TestTLSWithoutALPN meets a server that negotiates nothing.
func TestTLSWithoutALPN(t *testing.T) {
	s, trust := startTLS(t, false, false)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: s.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := listener.Accept()
			if err != nil {
				return
			}
			_ = nc.(*tls.Conn).Handshake()
			_ = nc.Close()
		}
	}()
	defer func() { _ = listener.Close(); <-done }()
	own := h2.NewTransport(&h2.TransportConfig{TLSClientConfig: trust})
	defer own.Close()
	post(t, own, "https://"+listener.Addr().String()).wantText(t, "does not speak HTTP/2")
}

// TestTLSUntrusted refuses a certificate that is not trusted.
func TestTLSUntrusted(t *testing.T) {
	s, _ := startTLS(t, false, true)
	own := h2.NewTransport(nil)
	defer own.Close()
	o := post(t, own, s.URL)
	o.wantText(t, "certificate")
}

// TestTLSTrace calls the hooks of dialing and of the handshake.
func TestTLSTrace(t *testing.T) {
	s, trust := startTLS(t, true, true)
	own := h2.NewTransport(&h2.TransportConfig{TLSClientConfig: trust})
	defer own.Close()
	var connected, shaken atomic.Int32
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		ConnectDone: func(_, _ string, err error) {
			if err == nil {
				connected.Add(1)
			}
		},
		TLSHandshakeDone: func(state tls.ConnectionState, err error) {
			if err == nil && state.NegotiatedProtocol == "h2" {
				shaken.Add(1)
			}
		},
	})
	r, _ := http.NewRequestWithContext(ctx, "GET", s.URL, nil)
	call(own, r).want(t, 200, "HTTP/2.0 ")
	if connected.Load() != 1 || shaken.Load() != 1 {
		t.Errorf("got %d connects and %d handshakes, want 1 each", connected.Load(), shaken.Load())
	}
}

// TestTLSProxy reaches the server through a proxy, as http.Transport does.
func TestTLSProxy(t *testing.T) {
	s, trust := startTLS(t, true, true)
	var tunnels atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "want CONNECT", http.StatusBadRequest)
			return
		}
		tunnels.Add(1)
		out, err := net.Dial("tcp", r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer out.Close()
		w.WriteHeader(http.StatusOK)
		in, buf, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer in.Close()
		go func() {
			_, _ = io.Copy(out, buf)
			_ = out.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(in, out)
	}))
	defer proxy.Close()
	address, _ := url.Parse(proxy.URL)
	standard := &http.Transport{TLSClientConfig: trust, Proxy: http.ProxyURL(address)}
	if err := h2.ConfigureTransport(standard, nil); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		post(t, standard, s.URL).want(t, 200, "HTTP/2.0 hello")
	}
	standard.CloseIdleConnections()
	if n := tunnels.Load(); n != 1 {
		t.Errorf("got %d tunnels for three requests, want 1", n)
	}
}

// TestConfigureTransport refuses what it cannot configure.
func TestConfigureTransport(t *testing.T) {
	if err := h2.ConfigureTransport(nil, nil); err == nil {
		t.Error("got no error for a nil transport")
	}
	standard := new(http.Transport)
	if err := h2.ConfigureTransport(standard, nil); err != nil {
		t.Error(err)
	}
	if err := h2.ConfigureTransport(standard, nil); err == nil {
		t.Error("got no error the second time")
	}
}
