// SPDX-License-Identifier: Apache-2.0

// Endpoints and where they come from.

package balance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// An Endpoint is one server that can answer calls.
type Endpoint struct {
	// Addr is where connections to it go: host:port, with an IP address or a name. Without
	// a port it is that of the URL's scheme, 80 or 443. With [DialContext] it is any text
	// that the function understands.
	Addr string
	// Weight is its share in the calls of policies that heed weights, relative to others.
	// An endpoint whose weight is zero is drained: it gets no new calls. If all endpoints
	// of a set have no weight, none is meant, and each has weight 1; a set of drained
	// endpoints is an empty set.
	Weight uint32
	// Zone is where it is, for [Zone]; it may be empty.
	Zone string
	// Priority is 0 for the endpoints that are used first. Those of the next numbers are
	// used as well when fewer of the first are usable than the part that [Panic] sets.
	Priority int
	// Meta is for the program, such as for its function of [Transport]. It must not be
	// changed once the set has been handed over.
	Meta map[string]string
}

// A Resolver finds the endpoints of a service.
//
// Watch calls update with the whole set of endpoints, at first and after each change, and
// returns when ctx ends. It calls update with an error, and nil endpoints, where it could
// not find out: the last set then stays in use, and calls that find no endpoint have the
// error in their texts. An empty set without an error means that there is no endpoint.
// update copies the set; it may be called by any goroutine, and does nothing once ctx has
// ended. If Watch returns before ctx ends, it is called again after a pause of 50 ms, which
// doubles up to 5 seconds while no set comes.
//
// A Resolver may have a method Refresh(), which the Balancer calls, at most once a second,
// when an endpoint has become unreachable: a hint to look again. It must return at once. A
// Resolver of several Balancers must be safe for concurrent use, as those of this package are.
type Resolver interface {
	Watch(ctx context.Context, update func([]Endpoint, error)) error
}

// Static returns a resolver for addresses that do not change, each with weight 1.
func Static(addrs ...string) Resolver {
	set := make([]Endpoint, len(addrs))
	for i, addr := range addrs {
		set[i] = Endpoint{Addr: addr, Weight: 1}
	}
	return static(set)
}

// StaticEndpoints returns a resolver for endpoints that do not change.
func StaticEndpoints(endpoints ...Endpoint) Resolver { return static(slices.Clone(endpoints)) }

type static []Endpoint

func (s static) Watch(ctx context.Context, update func([]Endpoint, error)) error {
	update(s, nil)
	<-ctx.Done()
	return nil
}

// check returns an error if the set cannot be used as it is. New calls it.
func (s static) check(anyAddr bool) error {
	if len(s) == 0 {
		return errors.New("balance: Static without an endpoint: pass at least one, such as \"10.0.0.1:8080\"")
	}
	_, err := normalize(s, anyAddr)
	return err
}

// normalize returns a copy of a set without duplicates and bad addresses, with weights,
// and an error that names the bad addresses. Endpoints with the same address become one:
// with the sum of the weights, the lowest priority, and the rest of the first.
func normalize(set []Endpoint, anyAddr bool) ([]Endpoint, error) {
	var bad []error
	weighted := slices.ContainsFunc(set, func(e Endpoint) bool { return e.Weight > 0 })
	known := make(map[string]int, len(set))
	clean := make([]Endpoint, 0, len(set))
	for _, e := range set {
		if err := checkAddr(e.Addr, anyAddr); err != nil {
			bad = append(bad, err)
			continue
		}
		i, twice := known[e.Addr]
		if !twice {
			known[e.Addr] = len(clean)
			if !weighted {
				e.Weight = 1
			}
			clean = append(clean, e)
			continue
		}
		first := &clean[i]
		if weighted {
			first.Weight = uint32(min(uint64(first.Weight)+uint64(e.Weight), math.MaxUint32))
		}
		first.Priority = min(first.Priority, e.Priority)
	}
	return clean, errors.Join(bad...)
}

// checkAddr returns an error for an address to which no connection can go.
func checkAddr(addr string, any bool) error {
	if any {
		if addr == "" {
			return errors.New("balance: endpoint without an address")
		}
		return nil
	}
	if !hasPort(addr) {
		return nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err == nil && host == "" {
		err = errors.New("no host")
	}
	if err == nil {
		if n, bad := strconv.ParseUint(port, 10, 16); bad != nil || n == 0 {
			err = errors.New("its port is no number from 1 to 65535")
		}
	}
	if err != nil {
		return fmt.Errorf("balance: endpoint %q: expected host:port, such as \"10.0.0.1:8080\": %w", addr, err)
	}
	return nil
}

// hasPort reports whether an address is not a host alone: a name, or an IP address with or
// without brackets.
func hasPort(addr string) bool {
	if host, ok := strings.CutPrefix(addr, "["); ok {
		host, ok = strings.CutSuffix(host, "]")
		if _, err := netip.ParseAddr(host); ok && err == nil {
			return false
		}
	}
	_, err := netip.ParseAddr(addr)
	return err != nil && (strings.Contains(addr, ":") || addr == "" || strings.ContainsAny(addr, "/[] "))
}

// dialAddr returns the address to connect to.
func dialAddr(addr, scheme string) string {
	if hasPort(addr) {
		return addr
	}
	port := "80"
	if scheme == "https" {
		port = "443"
	}
	return net.JoinHostPort(strings.Trim(addr, "[]"), port)
}

// same reports whether two endpoints with the same address are the same in all.
func (e *Endpoint) same(other *Endpoint) bool {
	return e.Weight == other.Weight && e.Zone == other.Zone && e.Priority == other.Priority && maps.Equal(e.Meta, other.Meta)
}
