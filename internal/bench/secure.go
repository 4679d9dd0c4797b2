// SPDX-License-Identifier: Apache-2.0

// A certificate that server and client of a contender trust, for TLS.

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"
)

// identity makes the certificate, once.
var identity = sync.OnceValues(func() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
})

// tlsConfigs returns the settings of both sides.
func tlsConfigs() (server, client *tls.Config, err error) {
	certificate, err := identity()
	if err != nil {
		return nil, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate.Leaf)
	server = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13}
	return server, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}, nil
}

// secure reports whether a transport has TLS.
func secure(transport string) bool { return transport == overTLS || transport == overEngineTLS }

// onEngine reports whether a transport is package h2's.
func onEngine(transport string) bool {
	return transport == overEngine || transport == overBalance || transport == overEngineTLS
}

// wire returns the transport of net/http whose bytes on the wire are of the same kind.
func wire(transport string) string {
	switch transport {
	case overEngine, overBalance:
		return overH2C
	case overEngineTLS:
		return overTLS
	}
	return transport
}
