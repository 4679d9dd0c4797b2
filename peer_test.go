// SPDX-License-Identifier: Apache-2.0

// Peers: as values, as identities, and of Unix sockets.

package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/emptypb"
)

// TestPeerValue: a Peer of a call compares with one that a test has made, by Equal and so
// by go-cmp, whatever is known of its connection.
func TestPeerValue(t *testing.T) {
	of := Peer{Addr: "a:1", Protocol: ProtocolGRPC, tls: new(tls.ConnectionState), local: &net.TCPAddr{Port: 1}, unix: new(UnixCredentials)}
	if made := (Peer{Addr: "a:1", Protocol: ProtocolGRPC}); !of.Equal(made) || !cmp.Equal(of, made) || !cmp.Equal([]Peer{made}, []Peer{of}) {
		t.Errorf("got %v and %v not equal", of, made)
	}
	query := url.Values{"a": {"1", "2"}}
	for _, other := range []Peer{{}, {Addr: "a:1"}, {Addr: "a:2", Protocol: ProtocolGRPC}, {Addr: "a:1", Protocol: ProtocolGRPC, Query: query}} {
		if of.Equal(other) || cmp.Equal(of, other) {
			t.Errorf("got %v equal to %v", of, other)
		}
	}
	if a, b := (Peer{Query: query}), (Peer{Query: url.Values{"a": {"1", "2"}}}); !a.Equal(b) || a.Equal(Peer{Query: url.Values{"a": {"1"}}}) || a.Equal(Peer{Query: url.Values{"b": {"1", "2"}}}) {
		t.Error("queries are not compared by their values")
	}
	var made Peer
	if _, ok := made.Identity(); ok || made.TLS() != nil || made.LocalAddr() != nil {
		t.Error("a Peer that was made has a connection")
	}
	if _, ok := made.Unix(); ok {
		t.Error("a Peer that was made has credentials")
	}
}

// TestPeerOfRequest: middleware has the Peer that a handler has.
func TestPeerOfRequest(t *testing.T) {
	const procedure = "/a.S/M"
	var before, inside Peer
	h := NewUnaryHandler(procedure, func(_ context.Context, r *Request[emptypb.Empty]) (*Response[emptypb.Empty], error) {
		inside = r.Peer()
		return NewResponse(&emptypb.Empty{}), nil
	}, WithIdempotency(IdempotencyNoSideEffects))
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before = PeerOfRequest(r)
		h.ServeHTTP(w, r)
	}))
	defer s.Close()
	for name, options := range map[string][]ClientOption{"connect": nil, "grpcweb": {WithGRPCWeb()}, "get": {WithHTTPGet()}} {
		client := NewClient[emptypb.Empty, emptypb.Empty](s.Client(), s.URL+procedure, append(options, WithIdempotency(IdempotencyNoSideEffects))...)
		request := NewRequest(&emptypb.Empty{})
		if _, err := client.CallUnary(context.Background(), request); err != nil {
			t.Fatal(err)
		}
		if !before.Equal(inside) || before.TLS() == nil || before.TLS() != inside.TLS() || before.LocalAddr() == nil || !inside.Secure() || !request.Peer().Secure() {
			t.Errorf("%s: got %+v, want that of the handler, %+v", name, before, inside)
		}
	}
	if got := PeerOfRequest(&http.Request{Method: http.MethodPut, RemoteAddr: "a:1"}); !got.Equal(Peer{Addr: "a:1"}) || got.Secure() {
		t.Errorf("got %+v of a request that is no call", got)
	}
}

// TestPeerSecure: a client's Peer is secure by its URL, before the call and after it.
func TestPeerSecure(t *testing.T) {
	for url, want := range map[string]bool{"https://a/b/c": true, "HTTPS://a/b/c": true, "http://a/b/c": false, "http+unix://a/b/c": false} {
		var got []bool
		client := NewClient[emptypb.Empty, emptypb.Empty](http.DefaultClient, url, WithInterceptors(UnaryInterceptorFunc(func(UnaryFunc) UnaryFunc {
			return func(_ context.Context, r AnyRequest) (AnyResponse, error) {
				got = append(got, r.Peer().Secure())
				return nil, errorf(CodeAborted, "not sent")
			}
		})))
		_, _ = client.CallUnary(context.Background(), NewRequest(&emptypb.Empty{}))
		if stream := client.CallBidiStream(context.Background()); true {
			got = append(got, stream.Peer().Secure())
			_ = stream.CloseResponse()
		}
		if len(got) != 2 || got[0] != want || got[1] != want {
			t.Errorf("%s: got %v, want %v", url, got, want)
		}
	}
}

// TestIdentity: only a verified chain is an identity.
func TestIdentity(t *testing.T) {
	leaf := &x509.Certificate{DNSNames: []string{"a.b"}}
	for name, c := range map[string]struct {
		state *tls.ConnectionState
		want  bool
	}{
		"no TLS":       {nil, false},
		"none":         {&tls.ConnectionState{}, false},
		"not verified": {&tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}, false},
		"empty chain":  {&tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: [][]*x509.Certificate{{}}}, false},
		"verified":     {&tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: [][]*x509.Certificate{{leaf, {}}, {leaf}}}, true},
	} {
		id, ok := Peer{tls: c.state}.Identity()
		if ok != c.want || ok != (id.Certificate == leaf) || ok != (len(id.DNSNames) == 1) {
			t.Errorf("%s: got %v, %t, want %t", name, id, ok, c.want)
		}
	}
}

// TestSPIFFEID has the rules of the specification. [SPIFFE-ID, section 2; SPIFFE
// X.509-SVID, sections 2 and 4]
func TestSPIFFEID(t *testing.T) {
	for uri, valid := range map[string]bool{
		"spiffe://acme.com/billing":                       true,
		"spiffe://acme.com":                               true,
		"spiffe://a_b-c.1/ns/Prod/sa/A.b_c-1":             true,
		"spiffe://acme.com/...":                           true,
		"spiffe:///billing":                               false,
		"spiffe:acme.com":                                 false,
		"spiffe://Acme.com/billing":                       false,
		"spiffe://acme.com:443/billing":                   false,
		"spiffe://user@acme.com/billing":                  false,
		"spiffe://acme.com/":                              false,
		"spiffe://acme.com/a//b":                          false,
		"spiffe://acme.com/a/":                            false,
		"spiffe://acme.com/./a":                           false,
		"spiffe://acme.com/..":                            false,
		"spiffe://acme.com/a%2Fb":                         false,
		"spiffe://acme.com/%61":                           false,
		"spiffe://acme.com/a b":                           false,
		"spiffe://acme.com/a?b=c":                         false,
		"spiffe://acme.com/a?":                            false,
		"spiffe://acme.com/a#b":                           false,
		"spiffe://b%C3%BCcher/a":                          false,
		"https://acme.com/billing":                        false,
		"urn:a:b":                                         false,
		"spiffe://a/" + strings.Repeat("b", spiffeMax-11): true,
		"spiffe://a/" + strings.Repeat("b", spiffeMax-10): false,
	} {
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		if valid {
			want = uri
		}
		if got := spiffeID(&x509.Certificate{URIs: []*url.URL{u}}); got != want {
			t.Errorf("%q: got %q, want %q", uri, got, want)
		}
		if got := spiffeID(&x509.Certificate{URIs: []*url.URL{u}, IsCA: true}); got != "" {
			t.Errorf("%q of a certificate authority: got %q", uri, got)
		}
		if got := spiffeID(&x509.Certificate{URIs: []*url.URL{u, u}}); got != "" {
			t.Errorf("%q twice: got %q", uri, got)
		}
	}
}

// TestUnixCredentials calls a server over a Unix socket: the credentials are those of
// this process, and only where a server asks for them.
func TestUnixCredentials(t *testing.T) {
	want, known := UnixCredentials{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), PID: int32(os.Getpid())}, runtime.GOOS == "linux"
	if runtime.GOOS == "windows" {
		t.Skip("no Unix sockets with folders of this length everywhere")
	}
	for name, c := range map[string]struct {
		network string
		context func(context.Context, net.Conn) context.Context
		known   bool
	}{
		"unix":            {"unix", UnixConnContext, known},
		"unix, not asked": {"unix", nil, false},
		"unix, wrapped":   {"unix", func(ctx context.Context, c net.Conn) context.Context { return UnixConnContext(ctx, below{c}) }, known},
		"unix, other types": {"unix", func(ctx context.Context, c net.Conn) context.Context {
			return UnixConnContext(ctx, struct{ net.Conn }{c})
		}, false},
		"tcp": {"tcp", UnixConnContext, false},
	} {
		t.Run(name, func(t *testing.T) {
			address := "127.0.0.1:0"
			if c.network == "unix" {
				folder, err := os.MkdirTemp("", "") // t.TempDir may be too long for a socket
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = os.RemoveAll(folder) }()
				address = filepath.Join(folder, "s")
			}
			listener, err := net.Listen(c.network, address)
			if err != nil {
				t.Fatal(err)
			}
			peers := make(chan Peer, 1)
			handler := NewUnaryHandler("/test.v1.Test/Call", func(_ context.Context, r *Request[emptypb.Empty]) (*Response[emptypb.Empty], error) {
				peers <- r.Peer()
				return NewResponse(new(emptypb.Empty)), nil
			})
			server := &http.Server{Handler: handler, ConnContext: c.context}
			served := make(chan error, 1)
			go func() { served <- server.Serve(listener) }()
			var dialed UnixCredentials
			var dialedOK bool
			transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, c.network, listener.Addr().String())
				if err == nil {
					dialed, dialedOK = UnixCredentialsOf(conn)
				}
				return conn, err
			}}
			_, err = NewClient[emptypb.Empty, emptypb.Empty](&http.Client{Transport: transport}, "http://test/test.v1.Test/Call").
				CallUnary(t.Context(), NewRequest(new(emptypb.Empty)))
			transport.CloseIdleConnections()
			_ = server.Close()
			<-served
			if err != nil {
				t.Fatal(err)
			}
			peer := <-peers
			if got, ok := peer.Unix(); ok != c.known || ok && got != want {
				t.Errorf("the client: got %+v, %t, want %+v, %t", got, ok, want, c.known)
			}
			if ok := c.network == "unix" && known; dialedOK != ok || ok && dialed != want {
				t.Errorf("the server, of the one that dials: got %+v, %t, want %+v, %t", dialed, dialedOK, want, ok)
			}
			if got := peer.LocalAddr(); got == nil || got.Network() != c.network || got.String() != listener.Addr().String() {
				t.Errorf("local address: got %v, want %v", got, listener.Addr())
			}
		})
	}
}

// below is a connection over another one, as tls.Conn is.
type below struct{ net.Conn }

func (b below) NetConn() net.Conn { return b.Conn }

// TestUnixCredentialsBad: what is no open Unix socket has none, and the context stays.
func TestUnixCredentialsBad(t *testing.T) {
	near, far := net.Pipe()
	defer func() { _ = near.Close(); _ = far.Close() }()
	for _, conn := range []net.Conn{nil, near, below{nil}, new(net.UnixConn), struct{ net.Conn }{near}} {
		if got, ok := UnixCredentialsOf(conn); ok {
			t.Errorf("%T: got %v", conn, got)
		}
		if ctx := t.Context(); UnixConnContext(ctx, conn) != ctx {
			t.Errorf("%T: got another context", conn)
		}
	}
}

// TestPeerAllocations: a Peer is made without an allocation, and its connection is read
// without one.
func TestPeerAllocations(t *testing.T) {
	ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(&net.UnixAddr{Name: "a", Net: "unix"}))
	c := &handlerConn{route: &route{dialect: dialectUnary}, config: new(config)}
	c.ctx = handlerContext{context.WithValue(ctx, unixKey{}, new(UnixCredentials)), c}
	c.request.tls = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{new(x509.Certificate)}}}
	if got := testing.AllocsPerRun(100, func() {
		p := c.Peer()
		_, identified := p.Identity()
		_, local := p.Unix()
		if !identified || !local || p.LocalAddr() == nil {
			t.Error("got less than the connection has")
		}
	}); got > 0 {
		t.Errorf("got %.1f allocations, want none", got)
	}
	if p := c.Peer(); !reflect.DeepEqual(p, c.Peer()) {
		t.Errorf("got Peers of one connection that differ: %v", p)
	}
}
