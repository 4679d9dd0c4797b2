// SPDX-License-Identifier: Apache-2.0

// Resolvers: the addresses of instances, and the identities that they must have.

package consul

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/seed-b7c59c10/connect/balance"
)

// A Resolver finds an instance of a service for [Service.Dial]: its address, host:port, and the
// identity that its certificate must have. An empty TrustDomain stands for that of the mesh,
// an empty Datacenter for any.
type Resolver interface {
	Resolve(ctx context.Context) (addr string, peer Identity, err error)
}

// A StaticResolver is an address that does not change.
type StaticResolver struct {
	// Addr is host:port.
	Addr string
	// CertURI is the SPIFFE URI that the server's certificate must have.
	CertURI string
}

// Resolve returns the address. It is an error if the URI is not that of a service.
func (r *StaticResolver) Resolve(context.Context) (string, Identity, error) {
	if _, _, err := net.SplitHostPort(r.Addr); err != nil {
		return "", Identity{}, fmt.Errorf("consul: StaticResolver: the address %q: expected host:port: %w", r.Addr, err)
	}
	id, err := ParseIdentity(r.CertURI)
	return r.Addr, id, err
}

// A ResolverType is the kind of thing that a [ConsulResolver] looks up.
type ResolverType int

// The types of resolvers.
const (
	ConsulResolverTypeService       ResolverType = iota // the healthy instances of a service
	ConsulResolverTypePreparedQuery                     // a prepared query, by name or ID
)

// A ConsulResolver finds the healthy instances of a service that are members of the mesh:
// native ones, and sidecars. Its fields must not change once it is used.
//
// It is a [Resolver], which takes any of them, and a [balance.Resolver]. That follows a service
// by a blocking query, and asks a prepared query every ten seconds, and when an endpoint cannot
// be reached. The endpoints have the weights of the services, the zone of the node, and Meta
// with the keys id, node, service, datacenter, namespace, partition.
type ConsulResolver struct {
	// Client is the client of the agent. It is needed.
	Client *api.Client
	// Namespace and Partition are where the service is, in Consul Enterprise. "" means the
	// defaults.
	Namespace, Partition string
	// Name is that of the service or the prepared query. It is needed.
	Name string
	// Type is that of the Name: ConsulResolverTypeService by default.
	Type ResolverType
	// Datacenter is where to look: "" means that of the agent. A prepared query may take
	// instances of another one.
	Datacenter string
	// Filter is an expression that instances have to fit, by Consul's language of filters. It
	// does not apply to prepared queries.
	Filter string
	// Tags are those that instances must have, all of them. They do not apply to prepared
	// queries.
	Tags []string

	refresh sync.Once
	wake    chan struct{}
}

const queryEvery = 10 * time.Second // of a prepared query

// An instance is one that was found.
type instance struct {
	addr   string
	weight uint32
	zone   string
	id     string
	node   string
	peer   Identity
}

// Resolve asks the agent, and returns one of the instances.
func (r *ConsulResolver) Resolve(ctx context.Context) (string, Identity, error) {
	found, _, err := r.find((&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return "", Identity{}, err
	}
	if len(found) == 0 {
		return "", Identity{}, fmt.Errorf("consul: looking for %s: there is no healthy instance that is a member of the mesh: see whether it has registered with Connect, and whether the token may read it", r)
	}
	one := found[rand.IntN(len(found))]
	return one.addr, one.peer, nil
}

// Watch hands over the instances, and again after each change: see [balance.Resolver].
func (r *ConsulResolver) Watch(ctx context.Context, update func([]balance.Endpoint, error)) error {
	query := func(q *api.QueryOptions) (uint64, error) {
		found, index, err := r.find(q)
		if err != nil {
			return 0, err
		}
		set := make([]balance.Endpoint, 0, len(found))
		for _, i := range found {
			set = append(set, i.endpoint())
		}
		update(set, nil)
		return index, nil
	}
	fail := func(err error) {
		if err != nil {
			update(nil, err)
		}
	}
	if r.Type == ConsulResolverTypePreparedQuery {
		return r.poll(ctx, query, fail)
	}
	w := watch{query: query, report: fail}
	w.run(ctx)
	return ctx.Err()
}

// poll repeats a prepared query, which does not block.
func (r *ConsulResolver) poll(ctx context.Context, query query, fail func(error)) error {
	failures := 0
	for {
		asking, cancel := context.WithTimeout(ctx, queryFirst)
		_, err := query((&api.QueryOptions{}).WithContext(asking))
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		fail(err)
		pause := queryEvery
		if failures++; err != nil {
			pause = min(pause, backoff(failures))
		} else {
			failures = 0
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-r.woken():
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

func (r *ConsulResolver) woken() chan struct{} {
	r.refresh.Do(func() { r.wake = make(chan struct{}, 1) })
	return r.wake
}

// Refresh has a prepared query asked again. Services need no hint.
func (r *ConsulResolver) Refresh() {
	select {
	case r.woken() <- struct{}{}:
	default:
	}
}

// String describes what is looked for.
func (r *ConsulResolver) String() string {
	what := "service"
	if r.Type == ConsulResolverTypePreparedQuery {
		what = "prepared query"
	}
	if r.Datacenter != "" {
		return fmt.Sprintf("%s %q in datacenter %q", what, r.Name, r.Datacenter)
	}
	return fmt.Sprintf("%s %q", what, r.Name)
}

// find asks the agent once.
func (r *ConsulResolver) find(q *api.QueryOptions) ([]instance, uint64, error) {
	if r.Client == nil || r.Name == "" || strings.ContainsAny(r.Name, "/?#%") {
		return nil, 0, fmt.Errorf("consul: looking for %s: expected a Client and the name of a service or query", r)
	}
	q.Datacenter, q.Namespace, q.Partition = r.Datacenter, r.Namespace, r.Partition
	if r.Type == ConsulResolverTypePreparedQuery {
		q.Connect = true
		answer, meta, err := r.Client.PreparedQuery().Execute(url.PathEscape(r.Name), q)
		if err == nil && answer == nil {
			err = errors.New("the answer is empty")
		}
		if err != nil {
			return nil, 0, explain("executing "+r.String(), err)
		}
		entries := make([]*api.ServiceEntry, len(answer.Nodes))
		for i := range answer.Nodes {
			entries[i] = &answer.Nodes[i]
		}
		return instances(entries, answer.Datacenter), meta.LastIndex, nil
	}
	q.Filter = r.Filter
	entries, meta, err := r.Client.Health().ConnectMultipleTags(r.Name, r.Tags, true, q)
	if err != nil {
		return nil, 0, explain("looking for "+r.String(), err)
	}
	return instances(entries, r.Datacenter), meta.LastIndex, nil
}

// instances returns the members of the mesh of an answer, without those that have no address.
func instances(entries []*api.ServiceEntry, datacenter string) []instance {
	var found []instance
	for _, e := range entries {
		if e == nil || e.Service == nil || e.Node == nil {
			continue
		}
		s := e.Service
		name := ""
		switch {
		case s.Connect != nil && s.Connect.Native:
			name = s.Service
		case s.Proxy != nil:
			name = s.Proxy.DestinationServiceName
		}
		host := s.Address
		if host == "" {
			host = e.Node.Address
		}
		if name == "" || host == "" || s.Port < 1 || s.Port > 65535 {
			continue
		}
		i := instance{
			addr: net.JoinHostPort(host, strconv.Itoa(s.Port)), weight: uint32(max(s.Weights.Passing, 1)), id: s.ID, node: e.Node.Node,
			peer: Identity{Service: name, Datacenter: e.Node.Datacenter, Namespace: s.Namespace, Partition: s.Partition},
		}
		if i.peer.Datacenter == "" {
			i.peer.Datacenter = datacenter
		}
		if i.peer.Namespace == "" {
			i.peer.Namespace = DefaultNamespace
		}
		for _, l := range []*api.Locality{e.Node.Locality, s.Locality} {
			if l != nil && l.Zone != "" {
				i.zone = l.Zone
			}
		}
		found = append(found, i)
	}
	return found
}

// endpoint returns the instance for package balance.
func (i instance) endpoint() balance.Endpoint {
	return balance.Endpoint{Addr: i.addr, Weight: i.weight, Zone: i.zone, Meta: map[string]string{
		"id": i.id, "node": i.node, "service": i.peer.Service, "datacenter": i.peer.Datacenter, "namespace": i.peer.Namespace, "partition": i.peer.Partition,
	}}
}

// peerAt returns the identity that an endpoint must have.
func peerAt(e balance.Endpoint) Identity {
	return Identity{Service: e.Meta["service"], Datacenter: e.Meta["datacenter"], Namespace: e.Meta["namespace"], Partition: e.Meta["partition"]}
}

// ---- host names ----

const hostForms = "expected <name>.service.consul, <name>.service.<datacenter>.consul, or the same with query"

// ConsulResolverFromAddr returns the resolver for a host name as in Consul's DNS, with a port
// or without one, which is ignored: <name>.service[.<datacenter>].consul and
// <name>.query[.<datacenter>].consul. Case does not matter. Names with tags, and all others,
// are errors.
func ConsulResolverFromAddr(client *api.Client, addr string) (*ConsulResolver, error) {
	host := addr
	if h, _, err := net.SplitHostPort(addr); err == nil {
		host = h
	}
	if host == "" {
		return nil, fmt.Errorf("consul: the address %q has no host: %s", addr, hostForms)
	}
	labels := strings.Split(strings.ToLower(host), ".")
	last := len(labels) - 1
	r := &ConsulResolver{Client: client, Name: labels[0]}
	switch {
	case last != 2 && last != 3 || labels[last] != "consul":
		return nil, fmt.Errorf("consul: the host %q is not one of the mesh: %s", host, hostForms)
	case labels[1] == "query":
		r.Type = ConsulResolverTypePreparedQuery
	case labels[1] != "service":
		return nil, fmt.Errorf("consul: the host %q is not one of the mesh: %s, without tags", host, hostForms)
	}
	if last == 3 {
		r.Datacenter = labels[2]
	}
	if r.Name == "" || last == 3 && r.Datacenter == "" || strings.ContainsAny(host, "/?#%: ") {
		return nil, fmt.Errorf("consul: the host %q has an empty name, or characters that names do not have: %s", host, hostForms)
	}
	return r, nil
}
