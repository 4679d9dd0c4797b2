// SPDX-License-Identifier: Apache-2.0

// This file tests what both sides know of each other's connection: TLS, the verified
// identity and the local address.

package conntest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

const spiffeID = "spiffe://acme.com/billing"

// clientIdentity makes a certificate for a client; issuer signs it, or it signs itself.
func clientIdentity(t *testing.T, issuer *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	wantNil(t, err)
	id, err := url.Parse(spiffeID)
	wantNil(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"billing.acme.com"},
		URIs:        []*url.URL{id},
	}
	parent, signer := template, any(key)
	if issuer != nil {
		parent, signer = issuer.Leaf, issuer.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	wantNil(t, err)
	leaf, err := x509.ParseCertificate(der)
	wantNil(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// authority is a certificate authority for clients. identity has no usage for them.
var authority = sync.OnceValue(func() *tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(3),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
})

// peerEngines are the ways in which a connection can reach the library.
var peerEngines = map[string]tcp{
	"h1":            {http1: true},
	"h2":            {},
	"engine":        {engineServer: true, engineClient: newTransport},
	"direct":        {engineServer: true, engineClient: newTransport, direct: true},
	"engine-server": {engineServer: true},
	"engine-client": {engineClient: configureTransport},
}

// eachPeerMode runs a test over engines and protocols.
func eachPeerMode(t *testing.T, change func(*tcp), test func(t *testing.T, m mode)) {
	t.Helper()
	t.Parallel()
	for name, x := range peerEngines {
		change(&x)
		for _, protocol := range protocols {
			m := mode{protocol: protocol, codec: "proto", compression: "identity", engine: engine{name: name, duplex: !x.http1, start: x.start}}
			t.Run(name+"/"+protocol, func(t *testing.T) {
				t.Parallel()
				test(t, m)
			})
		}
	}
}

// everywhere is a service whose calls report the peer at each place where a program can
// ask for it, and options and clients that do.
type everywhere struct {
	mu    sync.Mutex
	peers map[string]connect.Peer
}

func (e *everywhere) note(where string, p connect.Peer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.peers == nil {
		e.peers = make(map[string]connect.Peer)
	}
	e.peers[where] = p
}

func (e *everywhere) take() map[string]connect.Peer {
	e.mu.Lock()
	defer e.mu.Unlock()
	peers := e.peers
	e.peers = nil
	return peers
}

func (e *everywhere) interceptor(side string) connect.Interceptor {
	return interceptor{
		unary: func(next connect.UnaryFunc) connect.UnaryFunc {
			return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
				response, err := next(ctx, r)
				e.note(side+" interceptor", r.Peer())
				return response, err
			}
		},
		handler: func(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
			return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
				e.note(side+" interceptor", conn.Peer())
				return next(ctx, conn)
			}
		},
	}
}

// serve starts the service.
func (e *everywhere) serve(t *testing.T, m mode) *site {
	t.Helper()
	return m.serve(t, everyKind(func(ctx context.Context, x *exchange) error {
		info, ok := connect.CallInfoForHandlerContext(ctx)
		if !ok {
			return errors.New("no CallInfo")
		}
		e.note("handler", x.peer)
		e.note("handler's CallInfo", info.Peer())
		if _, err := x.receiveAll(); err != nil {
			return err
		}
		return x.send(new(conntestv1.Response))
	}), alone, handlerOptions(connect.WithInterceptors(e.interceptor("handler's")), connect.WithRequestGate(
		func(_ context.Context, _ connect.Spec, p connect.Peer, _ http.Header) (context.Context, error) {
			e.note("gate", p)
			return nil, nil
		})))
}

// call makes a call of a kind, and returns the peers of the server's side and of the
// client's.
func (e *everywhere) call(t *testing.T, s *site, k kind) (server, client map[string]connect.Peer) {
	t.Helper()
	c := s.client(connect.WithInterceptors(e.interceptor("client's")))
	ctx, info := connect.NewClientContext(testContext(t))
	client = make(map[string]connect.Peer)
	switch k {
	case unary, get:
		r := requestOf("x")
		method := c.Unary
		if k == get {
			method = c.Get
		}
		_, err := method(ctx, r)
		wantNil(t, err)
		client["request"] = r.Peer()
	case serverStream:
		r := requestOf("x")
		stream, err := c.ServerStream(ctx, r)
		wantNil(t, err)
		client["request"] = r.Peer()
		conn, err := stream.Conn()
		wantNil(t, err)
		client["conn"] = conn.Peer()
		for stream.Receive() {
		}
		wantNil(t, stream.Err())
		client["conn after the end"] = conn.Peer()
	case clientStream:
		stream := c.ClientStream(ctx)
		if got := stream.Peer(); got.TLS() != nil {
			t.Errorf("before the call: got a TLS connection")
		}
		_, err := stream.CloseAndReceive()
		wantNil(t, err)
		client["stream"] = stream.Peer()
	case bidi:
		stream := c.Bidi(ctx)
		wantNil(t, stream.CloseRequest())
		_ = stream.ResponseHeader()
		client["stream"] = stream.Peer()
		for {
			if _, err := stream.Receive(); err != nil {
				break
			}
		}
		wantNil(t, stream.CloseResponse())
	}
	client["CallInfo"] = info.Peer()
	server = e.take()
	if p, ok := server["client's interceptor"]; ok {
		client["interceptor"] = p
		delete(server, "client's interceptor")
	}
	if len(server) != 4 || len(client) < 2 {
		t.Fatalf("got %v and %v, want four places and two", server, client)
	}
	return server, client
}

// Whatever the way, each side has the other's TLS connection and the identity in its
// certificate, if that was verified.
func TestPeerTLS(t *testing.T) {
	clients := x509.NewCertPool()
	clients.AddCert(authority().Leaf)
	signed, unsigned := clientIdentity(t, authority()), clientIdentity(t, nil)
	for name, c := range map[string]struct {
		auth         tls.ClientAuthType
		certificates []tls.Certificate
		certified    bool // the client sends a certificate
		identified   bool
		insecure     bool // the client verifies nothing
	}{
		"verified":         {auth: tls.RequireAndVerifyClientCert, certificates: []tls.Certificate{signed}, certified: true, identified: true},
		"verified if sent": {auth: tls.VerifyClientCertIfGiven},
		"not verified":     {auth: tls.RequestClientCert, certificates: []tls.Certificate{signed}, certified: true},
		"self-signed":      {auth: tls.RequireAnyClientCert, certificates: []tls.Certificate{unsigned}, certified: true},
		"not asked":        {certificates: []tls.Certificate{signed}, insecure: true},
	} {
		t.Run(name, func(t *testing.T) {
			eachPeerMode(t, func(x *tcp) {
				x.encrypted, x.serverTLS, x.clientTLS = true, serverTLS(), clientTLS()
				x.serverTLS.ClientAuth, x.serverTLS.ClientCAs = c.auth, clients
				x.clientTLS.InsecureSkipVerify = c.insecure
				x.clientTLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					if len(c.certificates) == 0 {
						return new(tls.Certificate), nil
					}
					return &c.certificates[0], nil // also if the server names other authorities
				}
			}, func(t *testing.T, m mode) {
				var e everywhere
				s := e.serve(t, m)
				for _, k := range m.kinds() {
					server, client := e.call(t, s, k)
					for where, p := range server {
						where = string(k) + ": " + where
						state := p.TLS()
						if state == nil || !state.HandshakeComplete {
							t.Fatalf("%s: got no TLS connection", where)
						}
						wantEqual(t, where+": certificates", len(state.PeerCertificates) > 0, c.certified)
						id, ok := p.Identity()
						wantEqual(t, where+": identified", ok, c.identified)
						if ok {
							wantEqual(t, where, fmt.Sprintf("%s %v %v", id.SPIFFEID, id.URIs, id.DNSNames), spiffeID+" ["+spiffeID+"] [billing.acme.com]")
							wantEqual(t, where+": certificate", id.Certificate.Equal(signed.Leaf), true)
						} else if id.Certificate != nil || id.SPIFFEID != "" {
							t.Fatalf("%s: got %v without an identity", where, id)
						}
						if p.LocalAddr() == nil || "https://"+p.LocalAddr().String() != s.url {
							t.Fatalf("%s: got local address %v, want %s", where, p.LocalAddr(), s.url)
						}
						if _, ok := p.Unix(); ok {
							t.Fatalf("%s: got credentials of a Unix socket", where)
						}
					}
					for where, p := range client {
						where = string(k) + ": client's " + where
						if p.TLS() == nil || len(p.TLS().PeerCertificates) == 0 {
							t.Fatalf("%s: got no TLS connection", where)
						}
						id, ok := p.Identity()
						wantEqual(t, where+": identified", ok, !c.insecure)
						if ok && (!id.Certificate.Equal(identity().Leaf) || id.SPIFFEID != "" || fmt.Sprint(id.DNSNames) != "[memory.test]") {
							t.Fatalf("%s: got %v, want the server's", where, id)
						}
						if p.LocalAddr() != nil {
							t.Fatalf("%s: got local address %v, want none", where, p.LocalAddr())
						}
						if !p.Equal(connect.Peer{Addr: parseURL(s.url).Host, Protocol: m.peerProtocol()}) {
							t.Fatalf("%s: got %v", where, p)
						}
					}
				}
			})
		})
	}
}

// Without TLS there is no identity, and the local address is still known.
func TestPeerCleartext(t *testing.T) {
	eachPeerMode(t, func(x *tcp) {
		if x.engineClient != nil && !x.engineServer {
			x.engineClient, x.direct = newTransport, true
		}
	}, func(t *testing.T, m mode) {
		var e everywhere
		s := e.serve(t, m)
		for _, k := range m.kinds() {
			server, client := e.call(t, s, k)
			for _, p := range server {
				if p.LocalAddr() == nil || "http://"+p.LocalAddr().String() != s.url {
					t.Fatalf("%s: got local address %v, want %s", k, p.LocalAddr(), s.url)
				}
			}
			for where, p := range client {
				server[where] = p
			}
			for where, p := range server {
				if _, ok := p.Identity(); ok || p.TLS() != nil {
					t.Fatalf("%s: %s: got TLS without TLS", k, where)
				}
			}
		}
	})
}

// A resumed session has the identity that its first handshake has verified.
func TestPeerResumed(t *testing.T) {
	clients := x509.NewCertPool()
	clients.AddCert(authority().Leaf)
	signed := clientIdentity(t, authority())
	eachPeerMode(t, func(x *tcp) {
		x.encrypted, x.serverTLS, x.clientTLS = true, serverTLS(), clientTLS()
		x.serverTLS.ClientAuth, x.serverTLS.ClientCAs = tls.RequireAndVerifyClientCert, clients
		x.clientTLS.Certificates = []tls.Certificate{signed}
		x.clientTLS.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	}, func(t *testing.T, m mode) {
		var e everywhere
		s := e.serve(t, m)
		resumed := 0
		for calls := 0; resumed == 0; calls++ {
			if calls == 1000 {
				t.Fatal("no connection has resumed a session")
			}
			server, client := e.call(t, s, unary)
			for where, p := range server {
				if p.TLS().DidResume {
					resumed++
				}
				id, ok := p.Identity()
				if !ok || id.SPIFFEID != spiffeID {
					t.Fatalf("%s: resumed %t: got %v, %t, want %s", where, p.TLS().DidResume, id, ok, spiffeID)
				}
			}
			for where, p := range client {
				if _, ok := p.Identity(); !ok {
					t.Fatalf("client's %s: resumed %t: got no identity", where, p.TLS().DidResume)
				}
			}
			// The connection may not be idle yet: then the next call has it again.
			s.transport.(interface{ CloseIdleConnections() }).CloseIdleConnections()
		}
	})
}

// Calls of one connection share the state of its TLS: Peers of the two are equal in depth, for
// programs that compare so. The package go-cmp would ask Peer.Equal, and finds no two functions
// equal, of which a tls.ConnectionState has one.
func TestPeerShared(t *testing.T) {
	eachPeerMode(t, func(x *tcp) { x.encrypted = true }, func(t *testing.T, m mode) {
		var e everywhere
		s := e.serve(t, m)
		first, _ := e.call(t, s, unary)
		second, _ := e.call(t, s, unary)
		p := first["handler"]
		for where, other := range second {
			if p.TLS() != other.TLS() || !p.Equal(other) || !reflect.DeepEqual(p, other) {
				t.Errorf("%s: got %v, want %v, as the connection is the same", where, other, p)
			}
		}
	})
}

// An attempt has the connection that it went over, and the call that of the attempt which
// counts, whatever the type of the request.
func TestPeerOfAttempts(t *testing.T) {
	type ownRequest struct{ connect.AnyRequest }
	eachPeerMode(t, func(x *tcp) { x.encrypted = true }, func(t *testing.T, m mode) {
		var e everywhere
		s := e.serve(t, m)
		for name, wrap := range map[string]func(connect.AnyRequest) connect.AnyRequest{
			"request":     func(r connect.AnyRequest) connect.AnyRequest { return r },
			"own request": func(r connect.AnyRequest) connect.AnyRequest { return ownRequest{r} },
		} {
			attempts := interceptor{unary: func(next connect.UnaryFunc) connect.UnaryFunc {
				return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
					ctx, attempt, commit := connect.NewAttempt(ctx, wrap(r))
					response, err := next(ctx, attempt)
					if attempt.Peer().TLS() == nil || r.Peer().TLS() != nil {
						t.Errorf("%s: got TLS %v for the attempt, %v for the call, want the attempt's alone", name, attempt.Peer().TLS() != nil, r.Peer().TLS() != nil)
					}
					commit()
					return response, err
				}
			}}
			ctx, info := connect.NewClientContext(testContext(t))
			r := requestOf("x")
			_, err := s.client(connect.WithInterceptors(attempts)).Unary(ctx, r)
			wantNil(t, err)
			if r.Peer().TLS() == nil || info.Peer().TLS() == nil {
				t.Errorf("%s: got TLS %v for the request, %v for CallInfo, want both", name, r.Peer().TLS() != nil, info.Peer().TLS() != nil)
			}
		}
	})
}
