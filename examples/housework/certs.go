// SPDX-License-Identifier: Apache-2.0

// Certificates for a household: an authority that signs them once and whose key is then
// thrown away, one certificate for the server, and one for each person.

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const lifetime = 365 * 24 * time.Hour

// validName is what people may be called: the name becomes that of a file, and a DNS name.
var validName = regexp.MustCompile(`^[a-z][a-z0-9]{0,30}$`)

// writeCerts makes the certificates and their keys in dir, which must not have any: a new
// authority would make the old ones useless.
func writeCerts(out io.Writer, dir string, people []string) error {
	if _, err := os.Lstat(filepath.Join(dir, "ca.pem")); err == nil {
		return fmt.Errorf("making certificates: %q has some already; remove its .pem files, or choose another folder with -dir", dir)
	}
	authority, key, err := newCert(&x509.Certificate{
		Subject: pkix.Name{CommonName: "housework"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	if err != nil {
		return err
	}
	leaves := map[string]*x509.Certificate{"server": {
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}}
	for _, name := range people {
		if leaves[name] != nil || name == "ca" || !validName.MatchString(name) {
			return fmt.Errorf("making certificates: got the name %q, want different ones of lower-case letters and digits, and none of them \"ca\" or \"server\"", name)
		}
		leaves[name] = &x509.Certificate{DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, template := range leaves {
		template.Subject.CommonName, template.KeyUsage = name, x509.KeyUsageDigitalSignature
		leaf, leafKey, err := newCert(template, authority, key)
		if err != nil {
			return fmt.Errorf("making the certificate of %q: %w", name, err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(leafKey)
		if err != nil {
			return err
		}
		if err := errors.Join(writePEM(dir, name, "CERTIFICATE", leaf.Raw), writePEM(dir, name+"-key", "PRIVATE KEY", der)); err != nil {
			return err
		}
	}
	if err := writePEM(dir, "ca", "CERTIFICATE", authority.Raw); err != nil { // last: with it, all are there
		return err
	}
	_, err = fmt.Fprintf(out, "%s has certificates of the server, %s\n", dir, strings.Join(people, ", "))
	return err
}

// newCert makes a key and a certificate for it, which signs itself if there is no authority.
func newCert(template, authority *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if authority == nil {
		authority, by = template, key
	}
	template.NotBefore = time.Now().Add(-time.Minute) // for clocks that differ a little
	template.NotAfter = template.NotBefore.Add(lifetime)
	der, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), by)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

func writePEM(dir, name, kind string, der []byte) error {
	return writeFile(filepath.Join(dir, name+".pem"), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// readCerts reads the certificate of a person and the authority, the only one that the client
// trusts.
func readCerts(dir, name string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".pem"), filepath.Join(dir, name+"-key.pem"))
	if err != nil {
		return nil, fmt.Errorf("reading the certificate of %q: %w; make one with the command certs", name, err)
	}
	authority, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, fmt.Errorf("reading the authority: %w; make one with the command certs", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("reading the authority: %q has no certificate", filepath.Join(dir, "ca.pem"))
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, RootCAs: pool}, nil
}
