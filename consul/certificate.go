// SPDX-License-Identifier: Apache-2.0

// The service's certificate and the roots of the mesh, as the agent has them now.

package consul

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// A leaf is a certificate of the service.
type leaf struct {
	pair *tls.Certificate // with the whole chain
	id   Identity
}

// roots are what certificates of peers lead to.
type roots struct {
	pool   *x509.CertPool // never nil: nil stands for the system's roots in package x509
	n      int
	domain string
}

// A material is what handshakes need. It does not change.
type material struct {
	pair  *tls.Certificate
	cert  *x509.Certificate
	id    Identity
	pool  *x509.CertPool
	roots int
}

// parseLeaf checks a certificate that the agent has given to a service.
func parseLeaf(service string, l *api.LeafCert, now time.Time) (*leaf, error) {
	if l == nil || l.CertPEM == "" {
		return nil, fmt.Errorf("the agent's answer has no certificate")
	}
	pair, err := tls.X509KeyPair([]byte(l.CertPEM), []byte(l.PrivateKeyPEM))
	if err != nil {
		return nil, fmt.Errorf("the agent's certificate cannot be used: %w", err)
	}
	id, err := identityIn(pair.Leaf)
	switch {
	case err != nil:
		return nil, err
	case !strings.EqualFold(id.Service, service):
		return nil, fmt.Errorf("the agent's certificate is that of the service %q (%s): expected %q", id.Service, id, service)
	case !now.Before(pair.Leaf.NotAfter):
		return nil, fmt.Errorf("the agent's certificate expired at %v: see whether the agent reaches its servers, and the clocks", pair.Leaf.NotAfter)
	}
	return &leaf{&pair, id}, nil
}

// identityIn returns the identity in a certificate. The subject is not looked at: in new
// versions of Consul it is empty.
func identityIn(c *x509.Certificate) (Identity, error) {
	if len(c.URIs) != 1 {
		return Identity{}, fmt.Errorf("consul: the certificate has %d URIs: expected one, the SPIFFE ID of a service", len(c.URIs))
	}
	if c.IsCA {
		return Identity{}, fmt.Errorf("consul: the certificate of %q is that of an authority: expected that of a service", c.URIs[0])
	}
	return identityOf(c.URIs[0])
}

// parseRoots returns the roots that the agent has listed, all of them: peers have certificates
// of old ones for a time after a rotation.
func parseRoots(list *api.CARootList) (*roots, error) {
	if list == nil || list.TrustDomain == "" {
		return nil, fmt.Errorf("the agent's answer has no trust domain: see whether its mesh (connect) is enabled")
	}
	r := &roots{pool: x509.NewCertPool(), domain: strings.ToLower(list.TrustDomain)}
	for _, each := range list.Roots {
		if each == nil || !r.pool.AppendCertsFromPEM([]byte(each.RootCertPEM)) {
			return nil, fmt.Errorf("the agent's list of roots has one without a certificate")
		}
		r.n++
	}
	if r.n == 0 {
		return nil, fmt.Errorf("the agent's list of roots is empty")
	}
	return r, nil
}

// queryLeaf gets the certificate.
func (s *Service) queryLeaf(q *api.QueryOptions) (uint64, error) {
	q.Namespace, q.Partition = s.config.Namespace, s.config.Partition
	answer, meta, err := s.client.Agent().ConnectCALeaf(s.name, q)
	if err != nil {
		return 0, explain(fmt.Sprintf("getting the certificate of service %q", s.name), err)
	}
	l, err := parseLeaf(s.name, answer, time.Now())
	if err != nil {
		return 0, explain(fmt.Sprintf("getting the certificate of service %q", s.name), err)
	}
	s.mu.Lock()
	fresh := s.leaf == nil || !s.leaf.pair.Leaf.Equal(l.pair.Leaf)
	if fresh {
		s.leaf = l
		s.changes++
	}
	err = s.settleLocked()
	s.mu.Unlock()
	if fresh {
		s.changed()
	}
	return meta.LastIndex, err
}

// queryRoots gets the roots.
func (s *Service) queryRoots(q *api.QueryOptions) (uint64, error) {
	answer, meta, err := s.client.Agent().ConnectCARoots(q)
	if err != nil {
		return 0, explain("getting the roots of the mesh", err)
	}
	r, err := parseRoots(answer)
	if err != nil {
		return 0, explain("getting the roots of the mesh", err)
	}
	s.mu.Lock()
	s.roots = r
	err = s.settleLocked()
	s.mu.Unlock()
	s.changed()
	return meta.LastIndex, err
}

// settleLocked makes the newest certificate and roots those of handshakes.
func (s *Service) settleLocked() error {
	if s.leaf == nil || s.roots == nil {
		return nil
	}
	if s.leaf.id.TrustDomain != s.roots.domain {
		return fmt.Errorf("consul: the certificate of service %q is of the trust domain %q, and the roots are of %q: the last good ones stay in use", s.name, s.leaf.id.TrustDomain, s.roots.domain)
	}
	m := s.current.Load()
	if m == nil || m.pair != s.leaf.pair || m.pool != s.roots.pool {
		s.current.Store(&material{s.leaf.pair, s.leaf.pair.Leaf, s.leaf.id, s.roots.pool, s.roots.n})
	}
	if s.asked && !isClosed(s.ready) {
		close(s.ready)
	}
	return nil
}

// untilHalf bounds the wait of a query for the certificate: half of the time that is left, so
// that an agent that does not send a new one is asked again before this one expires.
func (s *Service) untilHalf() time.Duration {
	m := s.current.Load()
	if m == nil {
		return queryWait
	}
	return max(time.Until(m.cert.NotAfter)/2, time.Second)
}

// usable returns what handshakes need, or why there is nothing.
func (s *Service) usable() (*material, error) {
	m := s.current.Load()
	switch {
	case s.ctx.Err() != nil:
		return nil, errClosed(s.name)
	case m == nil:
		return nil, s.notReady()
	case !time.Now().Before(m.cert.NotAfter):
		s.mu.Lock()
		cause := s.errs[kindLeaf]
		s.mu.Unlock()
		if cause == nil {
			cause = fmt.Errorf("the agent has sent no new one")
		}
		return nil, fmt.Errorf("consul: the certificate of service %q expired at %v: %w", s.name, m.cert.NotAfter, cause)
	}
	return m, nil
}
