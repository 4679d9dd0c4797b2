// SPDX-License-Identifier: Apache-2.0

// The other side of a call: its address, its TLS connection and its verified identity.

package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Peer describes the other side of a call.
//
// Its methods return what the call's connection is known to have. A Peer that a
// program makes has no connection: its methods return nil and false. A Peer is safe
// for concurrent use.
type Peer struct {
	// Addr is, for a handler, the client's address as in
	// [http.Request.RemoteAddr]; for a client, the host of the server's URL,
	// with its port if the URL has one.
	Addr string
	// Protocol is [ProtocolConnect], [ProtocolGRPC] or [ProtocolGRPCWeb]. Later
	// versions may add others.
	Protocol string
	// Query holds, for a handler, the URL's query parameters. Clients leave it
	// nil.
	Query url.Values

	// Values of the connection, and not the connection or a context: so Peers of calls
	// on one connection are deeply equal, and a Peer keeps nothing of its call.
	tls   *tls.ConnectionState // or tlsToCome
	local net.Addr
	unix  *UnixCredentials
}

// tlsToCome is in the Peer of a client whose URL has the scheme "https", until a response
// has the TLS connection. It is no field of its own, which each request would have.
var tlsToCome = new(tls.ConnectionState)

// PeerOfRequest returns the Peer that a handler has for a call of this request: for
// middleware, which gets a request before a handler does. A request that is in none of
// the protocols has an empty Protocol; any GET may be a call in the Connect protocol.
func PeerOfRequest(request *http.Request) Peer {
	p := Peer{Addr: request.RemoteAddr, tls: request.TLS}
	if d := classify(request); d != nil {
		p.Protocol = d.name
	}
	if request.URL != nil && request.URL.RawQuery != "" {
		p.Query = request.URL.Query()
	}
	p.addConn(request.Context())
	return p
}

// Secure reports whether TLS protects what the two sides send. A handler's connection is
// secure if it has a TLS connection itself: what a proxy in front of it has does not count.
// A client's is if the scheme of the server's URL is "https", also before the call; a
// transport that does something else with such a URL, or that follows a redirect, is not
// looked at.
func (p Peer) Secure() bool { return p.tls != nil }

// TLS returns the state of the TLS connection, nil if there is none: for a handler
// that of [http.Request.TLS], for a client that of [http.Response.TLS]. A client
// has it once the response's headers have arrived. The caller must not change it:
// calls share it.
//
// Its PeerCertificates may be certificates that nothing has verified: to authorise a
// peer, use Identity.
func (p Peer) TLS() *tls.ConnectionState {
	if p.tls == tlsToCome {
		return nil
	}
	return p.tls
}

// Identity returns the identity that the TLS handshake has verified, and false if
// there is none: without TLS, without a certificate, or with one that was not
// verified. A server verifies certificates of clients with
// [tls.VerifyClientCertIfGiven] or [tls.RequireAndVerifyClientCert] as its
// [tls.Config.ClientAuth]; a client verifies those of servers unless
// [tls.Config.InsecureSkipVerify] is set. A program that verifies certificates
// itself, in a function of its tls.Config, has to look at TLS instead.
func (p Peer) Identity() (Identity, bool) {
	if p.tls == nil || len(p.tls.VerifiedChains) == 0 || len(p.tls.VerifiedChains[0]) == 0 {
		return Identity{}, false
	}
	leaf := p.tls.VerifiedChains[0][0]
	return Identity{Certificate: leaf, SPIFFEID: spiffeID(leaf), URIs: leaf.URIs, DNSNames: leaf.DNSNames}, true
}

// LocalAddr returns, for a handler, the address at which its server has taken the
// connection: the value of [http.LocalAddrContextKey]. It returns nil if that is not
// known, and for a client.
func (p Peer) LocalAddr() net.Addr { return p.local }

// Unix returns, for a handler, the credentials of the process on the other side of a
// Unix socket. It returns false for other connections, for servers without
// [UnixConnContext], and for a client, which can call [UnixCredentialsOf] where it
// dials.
func (p Peer) Unix() (UnixCredentials, bool) {
	if p.unix == nil {
		return UnixCredentials{}, false
	}
	return *p.unix, true
}

// Equal reports whether p and other have the same Addr, Protocol and Query. It does not
// compare their connections, so that a test can compare a Peer with one that it has
// made. Package go-cmp uses it.
func (p Peer) Equal(other Peer) bool {
	return p.Addr == other.Addr && p.Protocol == other.Protocol && (p.Query == nil) == (other.Query == nil) &&
		maps.EqualFunc(p.Query, other.Query, slices.Equal)
}

// addConn adds what the context of a request holds of its connection.
func (p *Peer) addConn(ctx context.Context) {
	p.local, _ = ctx.Value(http.LocalAddrContextKey).(net.Addr)
	if isUnix(p.local) {
		p.unix, _ = ctx.Value(unixKey{}).(*UnixCredentials)
	}
}

// An Identity is a verified certificate and the names in it that authorisation is
// usually about. They are the certificate's: the caller must not change them. The
// certificate was verified when its connection began; it may have expired since.
type Identity struct {
	// Certificate is the peer's own, the leaf of the verified chain.
	Certificate *x509.Certificate
	// SPIFFEID is the SPIFFE ID, such as "spiffe://acme.com/billing", and "" if the
	// certificate is not a SPIFFE X.509-SVID: it must have exactly one URI, which is
	// a SPIFFE ID, and must not be a certificate authority's. [SPIFFE X.509-SVID,
	// sections 2 and 4; SPIFFE-ID, section 2]
	SPIFFEID string
	// URIs are all URIs among the subject's alternative names.
	URIs []*url.URL
	// DNSNames are the DNS names among the subject's alternative names. A name may
	// have a wildcard.
	DNSNames []string
}

// spiffeMax is how many bytes a SPIFFE ID may have. [SPIFFE-ID, section 2.3]
const spiffeMax = 2048

// spiffeID returns the SPIFFE ID of a leaf, "" if it has none.
func spiffeID(leaf *x509.Certificate) string {
	if len(leaf.URIs) != 1 || leaf.IsCA {
		return ""
	}
	u := leaf.URIs[0]
	if u.Scheme != "spiffe" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "" || !isSPIFFE(u.Host, false) {
		return ""
	}
	if u.Path != "" {
		for segment := range strings.SplitSeq(strings.TrimPrefix(u.Path, "/"), "/") {
			if !isSPIFFE(segment, true) || segment == "." || segment == ".." {
				return ""
			}
		}
	}
	id := "spiffe://" + u.Host + u.Path
	if len(id) > spiffeMax || id != u.String() { // otherwise it has escapes
		return ""
	}
	return id
}

// isSPIFFE reports whether s is a trust domain, or a segment of a path, of which
// letters may be in upper case. [SPIFFE-ID, sections 2.1 and 2.2]
func isSPIFFE(s string, upper bool) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		case upper && 'A' <= c && c <= 'Z':
		default:
			return false
		}
	}
	return s != ""
}
