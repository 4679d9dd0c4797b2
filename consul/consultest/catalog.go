// SPDX-License-Identifier: Apache-2.0

// Instances of services: registration, health, prepared queries.

package consultest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"
)

// nodeAddress is the address of the agent's node, for services without one.
const nodeAddress = "127.0.0.1"

// An instance is a registered service.
type instance struct {
	api.AgentServiceRegistration
	status map[string]string // by the ID of the check
	cancel context.CancelFunc
}

// A query is a prepared one.
type query struct {
	service   string
	failovers []string
}

// Instances returns how many instances of a service are registered, healthy or not.
func (a *Agent) Instances(service string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, i := range a.instances {
		if i.Name == service {
			n++
		}
	}
	return n
}

// SetHealth sets the status of all checks of an instance: "passing", "warning" or "critical".
// Checks that the agent makes itself set it again.
func (a *Agent) SetHealth(id, status string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := a.instances[id]; i != nil {
		for check := range i.status {
			i.status[check] = status
		}
		if len(i.status) == 0 {
			i.status["set"] = status
		}
		a.touch("health/" + target(i))
	}
}

// Health returns the worst status of the checks of an instance: "passing" without any, and ""
// if there is no such instance.
func (a *Agent) Health(id string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := a.instances[id]; i != nil {
		return i.health()
	}
	return ""
}

// AddRemote adds an instance in another datacenter.
func (a *Agent) AddRemote(datacenter string, entry *api.ServiceEntry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if entry.Node == nil {
		entry.Node = &api.Node{Node: "remote", Address: nodeAddress}
	}
	entry.Node.Datacenter = datacenter
	a.remote[datacenter] = append(a.remote[datacenter], entry)
	a.touch("health/" + entry.Service.Service)
}

// SetQuery defines a prepared query of a service, which takes the instances of the first of
// the other datacenters that has any when there is none here.
func (a *Agent) SetQuery(name, service string, failovers ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queries[name] = query{service, failovers}
}

// health returns the worst status.
func (i *instance) health() string {
	worst := api.HealthPassing
	for _, s := range i.status {
		if s == api.HealthCritical || worst == api.HealthPassing {
			worst = s
		}
	}
	return worst
}

// target returns the service that an instance stands for: a sidecar for its destination.
func target(i *instance) string {
	if i.Proxy != nil && i.Proxy.DestinationServiceName != "" {
		return i.Proxy.DestinationServiceName
	}
	return i.Name
}

// entry returns what queries show of an instance.
func (i *instance) entry() *api.ServiceEntry {
	e := &api.ServiceEntry{
		Node: &api.Node{ID: "node-1", Node: "node-1", Address: nodeAddress, Datacenter: Datacenter},
		Service: &api.AgentService{
			Kind: i.Kind, ID: i.ID, Service: i.Name, Tags: i.Tags, Meta: i.Meta, Port: i.Port, Address: i.Address,
			Weights: api.AgentWeights{Passing: 1, Warning: 1}, Connect: i.Connect, Proxy: i.Proxy,
		},
	}
	if i.Weights != nil {
		e.Service.Weights = *i.Weights
	}
	for _, check := range slices.Sorted(maps.Keys(i.status)) {
		e.Checks = append(e.Checks, &api.HealthCheck{CheckID: check, Status: i.status[check], ServiceID: i.ID})
	}
	return e
}

// found returns the instances of a service that peers of the mesh can connect to, in a fixed
// order. The caller holds mu.
func (a *Agent) found(service, datacenter string, passing bool, tags []string) []*api.ServiceEntry {
	entries := []*api.ServiceEntry{}
	if datacenter != "" && datacenter != Datacenter {
		for _, e := range a.remote[datacenter] {
			if e.Service.Service == service && hasTags(e.Service.Tags, tags) {
				entries = append(entries, e)
			}
		}
		return entries
	}
	for _, i := range a.instances {
		member := i.Connect != nil && i.Connect.Native || i.Kind == api.ServiceKindConnectProxy
		if member && target(i) == service && hasTags(i.Tags, tags) && (!passing || i.health() == api.HealthPassing) {
			entries = append(entries, i.entry())
		}
	}
	slices.SortFunc(entries, func(x, y *api.ServiceEntry) int { return cmp.Compare(x.Service.ID, y.Service.ID) })
	return entries
}

func hasTags(tags, wanted []string) bool {
	for _, w := range wanted {
		if !slices.Contains(tags, w) {
			return false
		}
	}
	return true
}

// ---- endpoints ----

func (a *Agent) serveHealth(w http.ResponseWriter, r *http.Request) {
	service, q := r.PathValue("service"), r.URL.Query()
	a.serveBlocking(w, r, "health/"+service, func() (any, error) {
		if !a.mayRead(r) {
			return []*api.ServiceEntry{}, nil
		}
		return a.found(service, q.Get("dc"), q.Has("passing"), q["tag"]), nil
	})
}

func (a *Agent) serveQuery(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q, ok := a.queries[r.PathValue("query")]
	if !ok {
		http.Error(w, "Query not found", http.StatusNotFound)
		return
	}
	answer := api.PreparedQueryExecuteResponse{Service: q.service, Datacenter: Datacenter, Nodes: []api.ServiceEntry{}}
	for n, dc := range append([]string{Datacenter}, q.failovers...) {
		if entries := a.found(q.service, dc, true, nil); len(entries) > 0 {
			for _, e := range entries {
				answer.Nodes = append(answer.Nodes, *e)
			}
			answer.Datacenter, answer.Failovers = dc, n
			break
		}
	}
	a.head(w, "")
	reply(w, answer)
}

func (a *Agent) serveRegister(w http.ResponseWriter, r *http.Request) {
	i := new(instance)
	if err := json.NewDecoder(r.Body).Decode(&i.AgentServiceRegistration); err != nil || i.Name == "" {
		http.Error(w, fmt.Sprintf("Request decode failed: %v", err), http.StatusBadRequest)
		return
	}
	i.ID = cmp.Or(i.ID, i.Name)
	if !a.mayWrite(w, r, i.Name) {
		return
	}
	checks := i.Checks
	if i.Check != nil {
		checks = append(checks, i.Check)
	}
	ctx, cancel := context.WithCancel(context.Background())
	i.cancel, i.status = cancel, make(map[string]string)
	for n, c := range checks {
		if c.CheckID == "" {
			c.CheckID = fmt.Sprintf("service:%s:%d", i.ID, n+1)
		}
		i.status[c.CheckID] = cmp.Or(c.Status, api.HealthCritical)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.closed:
		cancel()
		return
	default:
	}
	if before := a.instances[i.ID]; before != nil {
		before.cancel()
		if !r.URL.Query().Has("replace-existing-checks") { // a trap of real agents
			for check, status := range before.status {
				if _, again := i.status[check]; !again {
					i.status[check] = status
				}
			}
		}
	}
	a.instances[i.ID] = i
	for _, c := range checks {
		if probe := probeOf(c); probe != nil {
			a.running.Go(func() { a.check(ctx, i, c, probe) })
		}
	}
	a.touch("health/" + target(i))
}

func (a *Agent) serveDeregister(w http.ResponseWriter, r *http.Request) {
	if !a.Deregister(r.PathValue("id")) {
		http.Error(w, fmt.Sprintf("Unknown service ID %q. Ensure that the service ID is passed, not the service name.", r.PathValue("id")), http.StatusNotFound)
	}
}

// Deregister takes an instance away, and reports whether there was one.
func (a *Agent) Deregister(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := a.instances[id]
	if i == nil {
		return false
	}
	i.cancel()
	delete(a.instances, id)
	a.touch("health/" + target(i))
	return true
}

func (a *Agent) serveCheckUpdate(w http.ResponseWriter, r *http.Request) {
	var update struct{ Status string }
	if err := json.NewDecoder(r.Body).Decode(&update); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	id := r.PathValue("id")
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, i := range a.instances {
		if _, ok := i.status[id]; ok {
			i.status[id] = strings.ToLower(update.Status)
			a.touch("health/" + target(i))
			return
		}
	}
	http.Error(w, fmt.Sprintf("Unknown check ID %q", id), http.StatusNotFound)
}
