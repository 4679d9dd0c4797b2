// SPDX-License-Identifier: Apache-2.0

// Single connections, for anything that is not RPC.

package consul

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"
)

const dialTimeout = 10 * time.Second

// await waits for the first certificate, until a query for it has failed, and for ten seconds
// at most: a program may connect at once after NewService.
func (s *Service) await(ctx context.Context) error {
	if _, err := s.usable(); err == nil || s.ctx.Err() != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	select {
	case <-s.ready:
	case <-s.failed:
	case <-s.ctx.Done():
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", s.notReady(), context.Cause(ctx))
	}
	_, err := s.usable()
	return err
}

// Dial connects to an instance that the resolver finds, with TLS. The result is a *tls.Conn
// whose peer has the identity that the resolver has named. It waits for the first certificate. The server may still deny the
// connection: then the first read fails, see [ErrorOf]. Dial returns when ctx ends.
func (s *Service) Dial(ctx context.Context, resolver Resolver) (net.Conn, error) {
	return s.dial(ctx, resolver, nil)
}

func (s *Service) dial(ctx context.Context, resolver Resolver, protos []string) (net.Conn, error) {
	if err := s.await(ctx); err != nil {
		return nil, err
	}
	addr, peer, err := resolver.Resolve(ctx)
	if err != nil {
		return nil, err
	}
	d := tls.Dialer{Config: s.clientTLSConfig(protos, func() []Identity { return []Identity{peer} })}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, ErrorOf(fmt.Errorf("consul: connecting to %q at %s: %w", peer.Service, addr, err))
	}
	return c, nil
}

// DialTLSContext connects to the service that a host name stands for: see
// [ConsulResolverFromAddr]. It offers HTTP/2 and HTTP/1.1, for a [net/http.Transport] with
// ForceAttemptHTTP2. network is ignored.
func (s *Service) DialTLSContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return s.dialHost(ctx, addr, protosBoth)
}

// HTTPDialTLS is [Service.DialTLSContext] for a [net/http.Transport] that speaks HTTP/1.1 alone,
// which is what one with a DialTLS and without ForceAttemptHTTP2 does. It offers no protocol
// with ALPN: Consul's own proxy accepts "h2" alone, whatever it forwards to. It has ten seconds.
func (s *Service) HTTPDialTLS(network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, dialTimeout)
	defer cancel()
	return s.dialHost(ctx, addr, nil)
}

func (s *Service) dialHost(ctx context.Context, addr string, protos []string) (net.Conn, error) {
	resolver, err := ConsulResolverFromAddr(s.client, addr)
	if err != nil {
		return nil, err
	}
	return s.dial(ctx, resolver, protos)
}
