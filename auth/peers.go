// SPDX-License-Identifier: Apache-2.0

// Credentials of the connection: certificates, SPIFFE IDs, processes behind Unix sockets.

package auth

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/seed-b7c59c10/connect"
)

// MTLS returns an authenticator for client certificates that the TLS handshake has
// verified: see [connect.Peer.Identity]. The function identify maps one to an identity, or
// returns an error of [Func]; its Expires, if zero, is the certificate's end, and its Issuer,
// if empty, the certificate's. A nil identify takes the distinguished name of the
// certificate as the Subject and the connect.Identity as Details.
//
// A call without TLS or without a certificate has no credentials. These are refused with
// CodeUnauthenticated: a certificate that the server has not verified, because its
// [crypto/tls.Config.ClientAuth] is RequestClientCert or RequireAnyClientCert, and one that
// has expired since its connection began: see [Authenticator.IgnoreExpiry].
func MTLS(identify func(ctx context.Context, certificate connect.Identity) (Identity, error)) *Authenticator {
	if identify == nil {
		identify = func(_ context.Context, certificate connect.Identity) (Identity, error) {
			return Identity{Subject: certificate.Certificate.Subject.String(), Details: certificate}, nil
		}
	}
	return ofConnection("certificate", func(ctx context.Context, request Request) (Identity, error) {
		certificate, err := verifiedCertificate(request.Peer)
		if err != nil {
			return Identity{}, err
		}
		identity, err := identify(ctx, certificate)
		if err != nil {
			return Identity{}, err
		}
		if identity.Issuer == "" {
			identity.Issuer = certificate.Certificate.Issuer.String()
		}
		return until(identity, certificate.Certificate), nil
	})
}

// SPIFFE returns an authenticator for SPIFFE X.509-SVIDs: verified client certificates that
// have one URI, which is a SPIFFE ID, and are not a certificate authority's. The ID must be
// in one of the trust domains, such as "acme.com". The identity has the ID as Subject, the
// trust domain as Issuer, and the [SPIFFEID] as Details.
// [SPIFFE X.509-SVID, sections 2 to 4]
//
// Certificates that are not SVIDs, or of other trust domains, are refused with
// CodeUnauthenticated, as those that [MTLS] refuses. SPIFFE panics without a trust domain,
// and with one that is not the name of one.
func SPIFFE(trustDomains ...string) *Authenticator {
	check(len(trustDomains) > 0, "SPIFFE: no trust domain: name those whose callers are accepted")
	for _, d := range trustDomains {
		err := checkTrustDomain(d)
		check(err == nil, "SPIFFE: %q: %v", d, err)
	}
	trustDomains = slices.Clone(trustDomains)
	return ofConnection("spiffe", func(_ context.Context, request Request) (Identity, error) {
		certificate, err := verifiedCertificate(request.Peer)
		if err != nil {
			return Identity{}, err
		}
		id, err := svid(certificate)
		if err != nil {
			return Identity{}, err
		}
		if !slices.Contains(trustDomains, id.TrustDomain) {
			return Identity{}, malformed(fmt.Sprintf("the trust domain %q of the client's certificate is not accepted", id.TrustDomain))
		}
		return until(Identity{Subject: id.String(), Issuer: id.TrustDomain, Details: id}, certificate.Certificate), nil
	})
}

// svid returns the SPIFFE ID of a certificate, or why it has none.
func svid(certificate connect.Identity) (SPIFFEID, error) {
	switch {
	case len(certificate.URIs) == 0:
		return SPIFFEID{}, malformed("the client's certificate has no SPIFFE ID: it has no URI")
	case len(certificate.URIs) > 1:
		return SPIFFEID{}, malformed(fmt.Sprintf("the client's certificate has %d URIs: one with a SPIFFE ID has no other", len(certificate.URIs)))
	case certificate.Certificate.IsCA:
		return SPIFFEID{}, malformed("the client's certificate is a certificate authority's: expected a leaf")
	case certificate.SPIFFEID == "":
		return SPIFFEID{}, malformed("the client's certificate has a URI that is not a SPIFFE ID")
	}
	id, err := ParseSPIFFEID(certificate.SPIFFEID)
	if err != nil {
		return SPIFFEID{}, malformed("the client's certificate has a URI that is not a SPIFFE ID")
	}
	return id, nil
}

// verifiedCertificate returns the certificate of a peer.
func verifiedCertificate(peer connect.Peer) (connect.Identity, error) {
	if certificate, ok := peer.Identity(); ok {
		return certificate, nil
	}
	if state := peer.TLS(); state != nil && len(state.PeerCertificates) > 0 {
		return connect.Identity{}, malformed("the server has not verified the client's certificate: its tls.Config.ClientAuth has to be VerifyClientCertIfGiven or RequireAndVerifyClientCert")
	}
	return connect.Identity{}, ErrNoCredentials
}

// until returns an identity that ends with its certificate.
func until(identity Identity, certificate *x509.Certificate) Identity {
	if identity.Expires.IsZero() {
		identity.Expires = certificate.NotAfter
	}
	return identity
}

// ofConnection is Func for credentials that a connection has.
func ofConnection(scheme string, verify func(context.Context, Request) (Identity, error)) *Authenticator {
	a := Func(scheme, verify)
	a.connection = true
	return a
}

// IgnoreExpiry returns an authenticator that accepts a certificate as long as its connection
// lasts, also after the certificate has expired. Without it a client with short-lived
// certificates, such as SVIDs of one hour, has to make a new connection before the
// certificate of the old one expires; many do not. A server with IgnoreExpiry should limit
// the age of its connections. IgnoreExpiry panics for an authenticator other than those of
// [MTLS] and [SPIFFE].
func (a *Authenticator) IgnoreExpiry() *Authenticator {
	check(a.connection, "IgnoreExpiry: %s credentials have no connection that verifies them: only certificates have", a.scheme)
	c := *a
	c.lasting = true
	return &c
}

// Unix returns an authenticator for the process on the other side of a Unix socket: see
// [connect.Peer.Unix], which needs [connect.UnixConnContext] and Linux. The function allow
// reports whether the process is accepted; a nil one accepts all, which leaves the choice to
// the mode of the socket's file. The identity's Subject is "uid:" with the number of the
// user, and its Details are the [connect.UnixCredentials].
//
// Other connections have no credentials of this kind. A process that is not allowed is
// refused with CodeUnauthenticated.
func Unix(allow func(connect.UnixCredentials) bool) *Authenticator {
	return Func("unix", func(_ context.Context, request Request) (Identity, error) {
		credentials, ok := request.Peer.Unix()
		if !ok {
			return Identity{}, ErrNoCredentials
		}
		uid := strconv.FormatUint(uint64(credentials.UID), 10)
		if allow != nil && !allow(credentials) {
			return Identity{}, malformed("the user with the number " + uid + " is not accepted on this Unix socket")
		}
		return Identity{Subject: "uid:" + uid, Details: credentials}, nil
	})
}

// expired reports whether an identity has expired.
func (i Identity) expired(now time.Time) bool {
	return !i.Expires.IsZero() && !now.Before(i.Expires)
}
