// SPDX-License-Identifier: Apache-2.0

// The certificate authority: roots, leaves, rotation.

package consultest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// Datacenter is the agent's own.
const Datacenter = "dc1"

// An authority has the roots, the active one last. Agent.mu guards it.
type authority struct {
	domain string
	roots  []*root
	leaves map[string]*leaf // by service
	life   time.Duration    // of leaves; zero: 72 hours
	serial int64
}

type root struct {
	id    string
	key   *ecdsa.PrivateKey
	cert  *x509.Certificate
	cross []byte // signed by the root before; nil for the first
}

type leaf struct{ api.LeafCert }

func (c *authority) begin() error {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return err
	}
	h := hex.EncodeToString(id)
	c.domain = fmt.Sprintf("%s-%s-%s-%s-%s.consul", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
	c.leaves = make(map[string]*leaf)
	return c.rotate()
}

// newRoot returns a root of a trust domain, with its template.
func newRoot(domain string, serial int64) (*root, *x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: fmt.Sprintf("consultest CA %d", serial)},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(10 * 365 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		URIs:     []*url.URL{{Scheme: "spiffe", Host: domain}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	r := &root{id: fmt.Sprintf("root-%d", serial), key: key}
	r.cert, err = x509.ParseCertificate(der)
	return r, template, err
}

// NewRoot returns a key and a root certificate of a trust domain in PEM: as PrivateKey and
// RootCert of the configuration of a real agent's authority they make it rotate.
func NewRoot(trustDomain string) (key, cert string, err error) {
	r, _, err := newRoot(trustDomain, time.Now().UnixNano())
	if err != nil {
		return "", "", fmt.Errorf("consultest: making a root: %w", err)
	}
	sec1, err := x509.MarshalECPrivateKey(r.key)
	if err != nil {
		return "", "", fmt.Errorf("consultest: making a root: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})),
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.cert.Raw})), nil
}

// rotate makes a new root active. The one before signs its key, so that peers that have not
// got the new root accept its leaves.
func (c *authority) rotate() error {
	c.serial++
	r, template, err := newRoot(c.domain, c.serial)
	if err != nil {
		return err
	}
	if len(c.roots) > 0 {
		before := c.roots[len(c.roots)-1]
		c.serial++
		template.SerialNumber = big.NewInt(c.serial)
		if r.cross, err = x509.CreateCertificate(rand.Reader, template, before.cert, r.key.Public(), before.key); err != nil {
			return err
		}
	}
	c.roots = append(c.roots, r)
	return nil
}

// mint returns a new leaf of the active root: the certificate, the cross-signed one of the
// root if there is one, and the key in the form of SEC 1, as agents do. The subject is empty.
func (c *authority) mint(u *url.URL, service string, from, until time.Time) (api.LeafCert, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return api.LeafCert{}, err
	}
	active := c.roots[len(c.roots)-1]
	c.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(c.serial), URIs: []*url.URL{u}, NotBefore: from, NotAfter: until,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, active.cert, key.Public(), active.key)
	if err != nil {
		return api.LeafCert{}, err
	}
	sec1, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return api.LeafCert{}, err
	}
	chain := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	if active.cross != nil {
		chain += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: active.cross}))
	}
	return api.LeafCert{
		SerialNumber: colons(template.SerialNumber), CertPEM: chain,
		PrivateKeyPEM: string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})),
		Service:       service, ServiceURI: u.String(), ValidAfter: from, ValidBefore: until,
	}, nil
}

// colons writes a serial number as Consul does: "0a:1b".
func colons(n *big.Int) string {
	var parts []string
	for _, b := range n.Bytes() {
		parts = append(parts, fmt.Sprintf("%02x", b))
	}
	return strings.Join(parts, ":")
}

// serviceURI returns the identity of a service in the agent's datacenter.
func (c *authority) serviceURI(domain, service string) *url.URL {
	return &url.URL{Scheme: "spiffe", Host: domain, Path: "/ns/default/dc/" + Datacenter + "/svc/" + service}
}

// ---- methods ----

// TrustDomain returns the trust domain, such as "11111111-….consul".
func (a *Agent) TrustDomain() string { return a.authority.domain }

// ServiceURI returns the SPIFFE URI of a service.
func (a *Agent) ServiceURI(service string) string {
	return a.authority.serviceURI(a.authority.domain, service).String()
}

// RotateCA makes a new root, as a change of the authority's configuration does: the old root
// stays in the list, and all services get new leaves, at once.
func (a *Agent) RotateCA() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.authority.rotate(); err != nil {
		return fmt.Errorf("consultest: rotating the certificate authority: %w", err)
	}
	topics := []string{"roots"}
	for service := range a.authority.leaves {
		topics = append(topics, "leaf/"+service)
	}
	clear(a.authority.leaves)
	a.touch(topics...)
	return nil
}

// RetireRoots takes all roots but the active one out of the list, as agents do some time
// after a rotation.
func (a *Agent) RetireRoots() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.authority.roots = a.authority.roots[len(a.authority.roots)-1:]
	a.touch("roots")
}

// SetLeafLife sets how long leaves are valid that are made from now on; a negative time makes
// expired ones. Zero means 72 hours. Services get new leaves at once.
func (a *Agent) SetLeafLife(life time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.authority.life = life
	for service := range a.authority.leaves {
		a.touch("leaf/" + service)
	}
	clear(a.authority.leaves)
}

// Mint returns a certificate of the active root for any SPIFFE URI, such as one of another
// trust domain: for peers that are not what they should be.
func (a *Agent) Mint(uri string, from, until time.Time) (api.LeafCert, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return api.LeafCert{}, fmt.Errorf("consultest: minting a leaf: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.authority.mint(u, "", from, until)
}

// ---- endpoints ----

func (a *Agent) serveRoots(w http.ResponseWriter, r *http.Request) {
	a.serveBlocking(w, r, "roots", func() (any, error) {
		roots := a.authority.roots
		list := api.CARootList{TrustDomain: a.authority.domain}
		for i, each := range roots {
			active := i == len(roots)-1
			if active {
				list.ActiveRootID = each.id
			}
			list.Roots = append(list.Roots, &api.CARoot{
				ID: each.id, Name: "consultest", Active: active, NotBefore: &each.cert.NotBefore, NotAfter: &each.cert.NotAfter,
				RootCertPEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: each.cert.Raw})),
			})
		}
		return list, nil
	})
}

func (a *Agent) serveLeaf(w http.ResponseWriter, r *http.Request) {
	service := r.PathValue("service")
	if !a.mayWrite(w, r, service) {
		return
	}
	topic := "leaf/" + service
	a.serveBlocking(w, r, topic, func() (any, error) {
		l := a.authority.leaves[service]
		if l != nil && a.authority.life >= 0 && !time.Now().Before(l.ValidBefore) {
			l = nil // agents renew long before
		}
		if l == nil {
			life := a.authority.life
			from := time.Now().Add(-time.Minute)
			switch {
			case life == 0:
				life = 72 * time.Hour
			case life < 0:
				from = from.Add(2 * life)
			}
			made, err := a.authority.mint(a.authority.serviceURI(a.authority.domain, service), service, from, time.Now().Add(life))
			if err != nil {
				return nil, err
			}
			l = &leaf{LeafCert: made}
			a.authority.leaves[service] = l
			if a.topics[topic] == 0 {
				a.index++
				a.topics[topic] = a.index
			}
		}
		w.Header().Set("X-Cache", "MISS")
		return l.LeafCert, nil
	})
}
