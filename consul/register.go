// SPDX-License-Identifier: Apache-2.0

// Being found: registration with the agent, and the health check that it makes.

package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/health"
)

const (
	checkTimeout = 5 * time.Second
	closeTimeout = 5 * time.Second // for deregistering, and for calls in servers
)

// A Registration is an instance of a service, for [Service.Register].
type Registration struct {
	// ID is the instance's own name: by default that of the service, the host and the port.
	ID string
	// Address is where clients connect to, without the port. "" means that of the node.
	Address string
	// Port is that of the listener. It is needed.
	Port int
	Tags []string
	Meta map[string]string
	// Weight is the instance's share of calls; zero means 1.
	Weight int
	// Health has the statuses that the agent's check sees. nil means one that is serving, and
	// not serving after Close. Close does not end it.
	Health *health.Server
	// HealthService is the service of Health that is checked. "" is the server as a whole.
	HealthService string
	// HealthAddress is where the check is served, without TLS: agents are no members of the
	// mesh, and have no certificate for its listeners. "" means any port of 127.0.0.1; give
	// another one if the agent runs elsewhere.
	HealthAddress string
	// HealthHTTP has the agent ask by HTTP, GET /health, instead of grpc.health.v1.
	HealthHTTP bool
	// Interval is the time between two checks; zero means ten seconds.
	Interval time.Duration
	// Forget is how long the check may fail until the agent forgets the instance. Zero means
	// that it does not; Consul's least is one minute.
	Forget time.Duration
}

// members are what the service has registered and serves.
type members struct {
	turn    chan struct{} // has an element while an instance is registered
	mu      sync.Mutex
	closed  bool
	health  map[string]*healthServer // by the IDs of the instances
	unsure  map[string]bool          // the IDs of those that the agent may have registered, without an answer
	servers []*http.Server
}

// A healthServer serves the check of an instance.
type healthServer struct {
	server  *http.Server
	wanted  string // Registration.HealthAddress
	address string
	check   atomic.Pointer[check]
	done    chan struct{}
}

// A check is what a healthServer answers.
type check struct {
	http.Handler
	own *health.Server // nil if it is the program's, which Close does not end
}

// Register makes an instance of the service known to the agent, as one that speaks TLS of the
// mesh itself (Connect native), with a check of its health, which Register serves. The
// instance gets calls once the first check has passed, and none after [Service.Close]. Several
// instances need IDs or ports of their own; one with the same ID is replaced, once the agent has
// accepted it. Calls of Register come one after another; each returns when ctx ends.
func (s *Service) Register(ctx context.Context, r Registration) error {
	switch {
	case s.client == nil:
		return fmt.Errorf("consul: registering: the service %q is one for development and has no agent", s.name)
	case r.Port < 1 || r.Port > 65535:
		return fmt.Errorf("consul: registering service %q: the port %d: expected that of the listener", s.name, r.Port)
	}
	id := cmp.Or(r.ID, fmt.Sprintf("%s-%s-%d", s.name, cmp.Or(r.Address, "node"), r.Port))
	select {
	case s.members.turn <- struct{}{}:
		defer func() { <-s.members.turn }()
	case <-s.ctx.Done():
	case <-ctx.Done():
		return fmt.Errorf("consul: registering service %q: waiting for another registration: %w", s.name, context.Cause(ctx))
	}
	s.members.mu.Lock()
	before, closed := s.members.health[id], s.members.closed
	s.members.mu.Unlock()
	if closed {
		return errClosed(s.name)
	}
	c, h := newCheck(r), before
	if before == nil || before.wanted != r.HealthAddress {
		var err error
		if h, err = serveHealth(ctx, r.HealthAddress); err != nil {
			return fmt.Errorf("consul: registering service %q: serving its check: %w", s.name, err)
		}
	}
	replaced := h.check.Swap(c)
	if err := s.register(ctx, id, h.address, r); err != nil {
		h.check.Store(replaced)
		if h != before {
			h.close()
		}
		var refused api.StatusError
		if before == nil && !errors.As(err, &refused) {
			s.members.mu.Lock()
			s.members.unsure[id] = true
			s.members.mu.Unlock()
		}
		return explain(fmt.Sprintf("registering service %q", s.name), err)
	}
	s.members.mu.Lock()
	if closed = s.members.closed; !closed {
		s.members.health[id] = h
		delete(s.members.unsure, id)
	}
	s.members.mu.Unlock()
	replaced.end()
	if before != nil && before != h {
		before.close()
	}
	if closed {
		h.close()
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		_ = s.deregister(ctx, id)
		return errClosed(s.name)
	}
	return nil
}

// register makes an instance known to the agent, which finds its check at an address.
func (s *Service) register(ctx context.Context, id, address string, r Registration) error {
	interval := cmp.Or(r.Interval, 10*time.Second)
	check := &api.AgentServiceCheck{Name: "health of " + id, Interval: interval.String(), Timeout: checkTimeout.String()}
	if r.HealthHTTP {
		check.HTTP = "http://" + address + "/health"
	} else {
		check.GRPC = address
		if r.HealthService != "" {
			check.GRPC += "/" + r.HealthService
		}
	}
	if r.Forget > 0 {
		check.DeregisterCriticalServiceAfter = r.Forget.String()
	}
	weight := max(r.Weight, 1)
	registration := &api.AgentServiceRegistration{
		ID: id, Name: s.name, Address: r.Address, Port: r.Port, Tags: r.Tags, Meta: r.Meta, Check: check,
		Connect: &api.AgentServiceConnect{Native: true}, Weights: &api.AgentWeights{Passing: weight, Warning: weight},
		Namespace: s.config.Namespace, Partition: s.config.Partition,
	}
	// Agents keep old checks without the option, and a check that fails is one too many.
	return s.client.Agent().ServiceRegisterOpts(registration, api.ServiceRegisterOpts{ReplaceExistingChecks: true}.WithContext(ctx))
}

// newCheck returns the check of an instance.
func newCheck(r Registration) *check {
	c, status := new(check), r.Health
	if status == nil {
		status = health.New()
		c.own = status
	}
	mux := http.NewServeMux()
	mux.Handle(health.NewHandler(status))
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		now := status.Status(r.HealthService)
		if now != health.StatusServing {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintln(w, now)
	})
	c.Handler = mux
	return c
}

// end ends the status, if it is not the program's. Nothing is done for nil.
func (c *check) end() {
	if c != nil && c.own != nil {
		c.own.Shutdown()
	}
}

// serveHealth serves checks at an address, with HTTP/1.1 and HTTP/2. There is none yet.
func serveHealth(ctx context.Context, wanted string) (*healthServer, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", cmp.Or(wanted, "127.0.0.1:0"))
	if err != nil {
		return nil, err
	}
	h := &healthServer{wanted: wanted, address: l.Addr().String(), done: make(chan struct{})}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	h.server = &http.Server{Handler: http.HandlerFunc(h.serve), Protocols: protocols, ReadHeaderTimeout: 10 * time.Second}
	if err := h2.ConfigureServer(h.server, nil); err != nil {
		_ = l.Close()
		return nil, err
	}
	go func() {
		defer close(h.done)
		_ = h.server.Serve(l)
	}()
	return h, nil
}

func (h *healthServer) serve(w http.ResponseWriter, r *http.Request) {
	if c := h.check.Load(); c != nil {
		c.ServeHTTP(w, r)
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
}

func (h *healthServer) close() {
	h.check.Load().end()
	_ = h.server.Close()
	<-h.done
}

// deregister makes the agent forget an instance.
func (s *Service) deregister(ctx context.Context, id string) error {
	err := s.client.Agent().ServiceDeregisterOpts(id, (&api.QueryOptions{Namespace: s.config.Namespace, Partition: s.config.Partition}).WithContext(ctx))
	var status api.StatusError
	if errors.As(err, &status) && status.Code == http.StatusNotFound {
		return nil // the operator, or the agent, was quicker
	}
	return explain(fmt.Sprintf("deregistering instance %q", id), err)
}

func (m *members) addServer(server *http.Server) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.servers = append(m.servers, server)
	return true
}

func (m *members) removeServer(server *http.Server) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.servers = slices.DeleteFunc(m.servers, func(s *http.Server) bool { return s == server })
}

// close ends all of them, the registrations first, so that no new calls come.
func (m *members) close(s *Service) error {
	m.mu.Lock()
	m.closed = true
	checks, unsure, servers := m.health, m.unsure, slices.Clone(m.servers)
	m.health, m.unsure = nil, make(map[string]bool)
	m.mu.Unlock()
	var ending sync.WaitGroup
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	ids := slices.Sorted(maps.Keys(checks))
	errs := make([]error, len(ids))
	for i, id := range ids {
		ending.Go(func() { errs[i] = s.deregister(ctx, id) })
	}
	for id := range unsure {
		ending.Go(func() { _ = s.deregister(ctx, id) }) // there may be none
	}
	ending.Wait()
	cancel()
	ctx, cancel = context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	for _, server := range servers {
		ending.Go(func() {
			if server.Shutdown(ctx) != nil {
				_ = server.Close()
			}
		})
	}
	ending.Wait()
	for _, h := range checks {
		h.close()
	}
	return errors.Join(errs...)
}
