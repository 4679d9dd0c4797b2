// SPDX-License-Identifier: Apache-2.0

// TLS of servers and clients, and the check of a peer's certificate.

package consul

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// ServerTLSConfig returns the configuration for servers of the service: for
// [net/http.Server.TLSConfig], [tls.Listen] or anything else. Each call returns a new one,
// which the program may change where that makes it no weaker. Handshakes use the newest
// certificate. They fail as long as there is none, if the client has no certificate of the
// mesh, and if the intentions deny it; what the agent answers about a client is kept until the
// intentions change, at most for a minute.
//
// Sessions are not resumed, so that every connection is checked.
func (s *Service) ServerTLSConfig() *tls.Config {
	return s.serverTLSConfig(s.checksCalls.Load)
}

// serverTLSConfig is ServerTLSConfig for a server that may check calls.
func (s *Service) serverTLSConfig(checksCalls func() bool) *tls.Config {
	protos := s.config.ServerNextProtos
	if len(protos) == 0 {
		protos = []string{"h2", "http/1.1"}
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: append([]string(nil), protos...),
		// Roots change, and ClientCAs cannot: VerifyConnection checks the chain.
		ClientAuth: tls.RequireAnyClientCert, SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			m, err := s.usable()
			if err != nil {
				return nil, err
			}
			return m.pair, nil
		},
		VerifyConnection: func(state tls.ConnectionState) error {
			peer, err := s.verify(state, x509.ExtKeyUsageClientAuth)
			if err == nil {
				err = s.admit(peer, checksCalls())
			}
			if err != nil && s.ctx.Err() == nil {
				s.log.Info("consul: a connection was refused", "service", s.name, "error", err)
			}
			return err
		},
	}
}

// clientTLSConfig returns the configuration for a connection to a server. wanted returns the
// identities that the server may have, and is called when its certificate is there.
func (s *Service) clientTLSConfig(protos []string, wanted func() []Identity) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: protos,
		InsecureSkipVerify: true, // the names in the mesh are no host names: VerifyConnection checks the chain and the identity
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			m, err := s.usable()
			if err != nil {
				return nil, err
			}
			return m.pair, nil
		},
		VerifyConnection: func(state tls.ConnectionState) error {
			if _, err := s.usable(); err != nil { // no fault of the server
				return err
			}
			peer, err := s.verify(state, x509.ExtKeyUsageServerAuth)
			if err != nil {
				return &identityError{err}
			}
			all := wanted()
			for _, w := range all {
				if peer.fits(w) {
					return nil
				}
			}
			if len(all) == 0 {
				return fmt.Errorf("consul: the server is %q, and its address is that of no instance any more", peer.URI())
			}
			return &identityError{fmt.Errorf("consul: the server is %q: expected the service %q in datacenter %q, namespace %q", peer.URI(), all[0].Service, all[0].Datacenter, all[0].Namespace)}
		},
	}
}

// An identityError is why a client does not accept a server.
type identityError struct{ cause error }

func (e *identityError) Error() string { return e.cause.Error() }
func (e *identityError) Unwrap() error { return e.cause }

// A Peer is the other side of a connection: its identity, which the handshake has checked.
type Peer struct {
	Identity
	// Certificate is the peer's own. It must not be changed.
	Certificate *x509.Certificate

	serial string
	chains [][]*x509.Certificate
}

// verify checks a peer's certificate: the chain, the SPIFFE ID, the trust domain.
func (s *Service) verify(state tls.ConnectionState, usage x509.ExtKeyUsage) (*Peer, error) {
	if len(state.PeerCertificates) == 0 {
		return nil, errors.New("consul: the peer has sent no certificate")
	}
	m, err := s.usable()
	if err != nil {
		return nil, err
	}
	peer, err := m.verify(state.PeerCertificates, usage, time.Now())
	if err == nil && usage == x509.ExtKeyUsageClientAuth {
		s.verified.add(peer)
	}
	return peer, err
}

func (m *material) verify(chain []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) (*Peer, error) {
	own := chain[0]
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	options := x509.VerifyOptions{Roots: m.pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}, CurrentTime: now}
	chains, err := own.Verify(options)
	if err != nil {
		return nil, fmt.Errorf("consul: the peer's certificate is not one of the mesh, or has expired: %w", err)
	}
	id, err := identityIn(own)
	if err != nil {
		return nil, err
	}
	if id.TrustDomain != m.id.TrustDomain {
		return nil, fmt.Errorf("consul: the peer %q is of another trust domain: expected %q", id, m.id.TrustDomain)
	}
	var serial []string
	for _, b := range own.SerialNumber.Bytes() {
		serial = append(serial, fmt.Sprintf("%02x", b))
	}
	return &Peer{Identity: id, Certificate: own, serial: strings.Join(serial, ":"), chains: chains}, nil
}

// ---- peers of calls ----

type peerKey struct{}

// PeerFromContext returns the client of a call, in a handler that is served by [Service.Serve]
// or inside of [Service.Handler], and in handlers of package connect with [Service.Authorize].
// It returns false elsewhere.
func PeerFromContext(ctx context.Context) (Peer, bool) {
	p, ok := ctx.Value(peerKey{}).(*Peer)
	if !ok {
		return Peer{}, false
	}
	return *p, true
}

// verified has the peers whose certificates were checked in handshakes, so that calls are not
// slowed down by it.
type verified struct {
	mu    sync.Mutex
	peers map[[sha256.Size]byte]*Peer
}

const verifiedMost = 4096

func (v *verified) add(p *Peer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.peers == nil || len(v.peers) >= verifiedMost {
		v.peers = make(map[[sha256.Size]byte]*Peer)
	}
	v.peers[sha256.Sum256(p.Certificate.Raw)] = p
}

// peerOf returns the peer of a call's connection. The certificate may have expired since the
// handshake, as in all of TLS. It is checked again if the server has other settings than those
// of ServerTLSConfig.
func (s *Service) peerOf(state *tls.ConnectionState) (*Peer, error) {
	if state == nil || len(state.PeerCertificates) == 0 {
		return nil, errors.New("consul: the call has no certificate: serve with Service.Serve, or with Service.ServerTLSConfig")
	}
	own := state.PeerCertificates[0]
	key := sha256.Sum256(own.Raw)
	s.verified.mu.Lock()
	p := s.verified.peers[key]
	s.verified.mu.Unlock()
	if p != nil {
		return p, nil
	}
	m := s.current.Load()
	if m == nil {
		return nil, s.notReady()
	}
	now := time.Now()
	if now.After(own.NotAfter) {
		now = own.NotAfter // the handshake was before
	}
	p, err := m.verify(state.PeerCertificates, x509.ExtKeyUsageClientAuth, now)
	if err == nil {
		s.verified.add(p)
	}
	return p, err
}
