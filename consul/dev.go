// SPDX-License-Identifier: Apache-2.0

// Services for development and tests, with a certificate of the program's and without an agent.

package consul

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// NewDevServiceWithTLSConfig returns a service without an agent, for development and tests.
// config has its certificate, whose one URI is the SPIFFE ID of the service, in Certificates,
// and the roots in RootCAs. Chains, SPIFFE IDs and the trust domain are checked as ever; there
// are no intentions, so that every member may call; [Service.Dial] finds peers with a
// [StaticResolver], and host names and registration are errors.
func NewDevServiceWithTLSConfig(name string, config *tls.Config) (*Service, error) {
	fail := func(cause error) (*Service, error) {
		return nil, fmt.Errorf("consul: making service %q for development: %w", name, cause)
	}
	if config == nil || len(config.Certificates) == 0 || len(config.Certificates[0].Certificate) == 0 || config.RootCAs == nil {
		return fail(errors.New("expected a configuration with Certificates and RootCAs"))
	}
	pair := config.Certificates[0]
	if pair.Leaf == nil {
		cert, err := x509.ParseCertificate(pair.Certificate[0])
		if err != nil {
			return fail(err)
		}
		pair.Leaf = cert
	}
	id, err := identityIn(pair.Leaf)
	if err != nil {
		return fail(err)
	}
	s, err := newService(name, Config{ServerNextProtos: config.NextProtos})
	if err != nil {
		return nil, err
	}
	s.leaf, s.roots, s.asked = &leaf{&pair, id}, &roots{config.RootCAs, 1, id.TrustDomain}, true
	s.changes = 1
	if err := s.settleLocked(); err != nil {
		return nil, err
	}
	return s, nil
}

// NewDevServiceFromCertFiles is [NewDevServiceWithTLSConfig] with files in PEM: the roots, the
// certificate with its chain, and its key.
func NewDevServiceFromCertFiles(name, caFile, certFile, keyFile string) (*Service, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("consul: making service %q for development: %w", name, err)
	}
	text, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("consul: making service %q for development: %w", name, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("consul: making service %q for development: %q has no certificate: expected PEM", name, caFile)
	}
	return NewDevServiceWithTLSConfig(name, &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool})
}
