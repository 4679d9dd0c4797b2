// SPDX-License-Identifier: Apache-2.0

// The agent: its state, its server, and blocking queries.

package consultest

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	waitDefault = 5 * time.Minute
	waitMost    = 10 * time.Minute
)

// An Agent is a fake agent. Make one with [NewAgent]; close it with Close. All methods are
// safe for concurrent use.
type Agent struct {
	address   string
	server    *http.Server
	intercept atomic.Pointer[func(http.Handler) http.Handler]
	closed    chan struct{}
	running   sync.WaitGroup // the server and the checks

	mu         sync.Mutex
	index      uint64
	topics     map[string]uint64 // the index of the last change
	changed    chan struct{}     // closed, and replaced, after each change
	authority  authority
	instances  map[string]*instance // by ID
	remote     map[string][]*api.ServiceEntry
	queries    map[string]query
	intentions []*api.Intention
	deny       bool // the default policy
	oldAgent   bool // sends no X-Consul-Default-Acl-Policy
	tokens     map[string]map[string]bool
	requests   map[string]int // by method and path
}

// NewAgent starts an agent on a port of 127.0.0.1. It allows everything: see
// [Agent.DefaultDeny] and [Agent.AddToken].
func NewAgent() (*Agent, error) {
	a := &Agent{
		closed: make(chan struct{}), index: 10, topics: make(map[string]uint64), changed: make(chan struct{}),
		instances: make(map[string]*instance), remote: make(map[string][]*api.ServiceEntry), queries: make(map[string]query),
		tokens: make(map[string]map[string]bool), requests: make(map[string]int),
	}
	if err := a.authority.begin(); err != nil {
		return nil, fmt.Errorf("consultest: making a certificate authority: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("consultest: listening: %w", err)
	}
	a.address = listener.Addr().String()
	mux := a.mux()
	a.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.requests[r.Method+" "+r.URL.Path]++
		a.mu.Unlock()
		var h http.Handler = mux
		if f := a.intercept.Load(); f != nil {
			h = (*f)(h)
		}
		h.ServeHTTP(w, r)
	}), ReadHeaderTimeout: 10 * time.Second}
	a.running.Go(func() { _ = a.server.Serve(listener) })
	return a, nil
}

// Close ends the agent and its health checks. Queries that wait fail. A second call does
// nothing.
func (a *Agent) Close() {
	a.mu.Lock()
	select {
	case <-a.closed:
		a.mu.Unlock()
		return
	default:
	}
	close(a.closed)
	for _, i := range a.instances {
		i.cancel()
	}
	a.mu.Unlock()
	_ = a.server.Close()
	a.running.Wait()
}

// Address is the agent's host and port, for CONSUL_HTTP_ADDR.
func (a *Agent) Address() string { return a.address }

// Client returns a client of the agent with an ACL token, or "" for none. Its idle
// connections end with the agent.
func (a *Agent) Client(token string) *api.Client {
	config := &api.Config{
		Address: a.address, Scheme: "http", Token: token,
		HttpClient: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
	}
	client, err := api.NewClient(config)
	if err != nil {
		panic("consultest: making a client: " + err.Error()) // the configuration is fixed
	}
	return client
}

// Intercept puts a middleware around all endpoints from the next request on, in place of the
// last one; nil takes it away. It may wait, answer with anything, or end connections.
func (a *Agent) Intercept(middleware func(next http.Handler) http.Handler) {
	if middleware == nil {
		a.intercept.Store(nil)
		return
	}
	a.intercept.Store(&middleware)
}

// Requests returns how many requests there were with a method and a path, such as "GET" and
// "/v1/agent/connect/ca/roots".
func (a *Agent) Requests(method, path string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.requests[method+" "+path]
}

// touch notes a change of a topic. The caller holds mu.
func (a *Agent) touch(topics ...string) {
	a.index++
	for _, topic := range topics {
		a.topics[topic] = a.index
	}
	close(a.changed)
	a.changed = make(chan struct{})
}

// last returns the index of a topic. The caller holds mu.
func (a *Agent) last(topic string) uint64 { return max(a.topics[topic], 1) }

// ---- endpoints ----

func (a *Agent) mux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/agent/connect/ca/roots", a.serveRoots)
	mux.HandleFunc("GET /v1/agent/connect/ca/leaf/{service}", a.serveLeaf)
	mux.HandleFunc("POST /v1/agent/connect/authorize", a.serveAuthorize)
	mux.HandleFunc("GET /v1/health/connect/{service}", a.serveHealth)
	mux.HandleFunc("GET /v1/query/{query}/execute", a.serveQuery)
	mux.HandleFunc("GET /v1/connect/intentions/match", a.serveMatch)
	mux.HandleFunc("PUT /v1/connect/intentions/exact", a.serveUpsert)
	mux.HandleFunc("DELETE /v1/connect/intentions/exact", a.serveRemove)
	mux.HandleFunc("PUT /v1/agent/service/register", a.serveRegister)
	mux.HandleFunc("PUT /v1/agent/service/deregister/{id}", a.serveDeregister)
	mux.HandleFunc("PUT /v1/agent/check/update/{id}", a.serveCheckUpdate)
	mux.HandleFunc("PUT /v1/connect/ca/configuration", func(w http.ResponseWriter, r *http.Request) {
		if err := a.RotateCA(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return mux
}

// serveBlocking answers a query. It waits while the request has the index of the topic or a
// higher one, for the time that it names. value is called with mu held.
func (a *Agent) serveBlocking(w http.ResponseWriter, r *http.Request, topic string, value func() (any, error)) {
	index, _ := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
	wait := waitDefault
	if text := r.URL.Query().Get("wait"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			http.Error(w, "Invalid wait time", http.StatusBadRequest)
			return
		}
		wait = min(d, waitMost)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for expired := false; ; {
		a.mu.Lock()
		changed := a.changed
		if index == 0 || a.last(topic) > index || expired {
			v, err := value()
			a.head(w, topic)
			a.mu.Unlock()
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			reply(w, v)
			return
		}
		a.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
			expired = true
		case <-r.Context().Done():
			return
		case <-a.closed:
			panic(http.ErrAbortHandler)
		}
	}
}

// head writes the fields of an answer to a query. The caller holds mu.
func (a *Agent) head(w http.ResponseWriter, topic string) {
	h := w.Header()
	h.Set("X-Consul-Index", strconv.FormatUint(a.last(topic), 10))
	h.Set("X-Consul-LastContact", "0")
	h.Set("X-Consul-KnownLeader", "true")
	if !a.oldAgent {
		policy := "allow"
		if a.deny {
			policy = "deny"
		}
		h.Set("X-Consul-Default-Acl-Policy", policy)
	}
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// ---- access ----

// DefaultDeny sets the default policy: with true, requests without a token of
// [Agent.AddToken] are refused, and peers for which there is no intention are denied.
func (a *Agent) DefaultDeny(deny bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.deny = deny
	a.touch("intentions")
}

// OldAgent has the agent answer as 1.8.7 does where it differs from 1.22.7: without the field
// X-Consul-Default-Acl-Policy.
func (a *Agent) OldAgent() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.oldAgent = true
}

// AddToken adds an ACL token that may act as some services: get their leaves, authorize
// their peers, register them, and read all others. It replaces the token of the same name.
func (a *Agent) AddToken(token string, services ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens[token] = make(map[string]bool)
	for _, s := range services {
		a.tokens[token][s] = true
	}
}

// mayWrite answers a request whose token may not write a service, and returns false.
func (a *Agent) mayWrite(w http.ResponseWriter, r *http.Request, service string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	token := r.Header.Get("X-Consul-Token")
	if !a.deny || a.tokens[token][service] {
		return true
	}
	http.Error(w, fmt.Sprintf("Permission denied: token with AccessorID 'fake' lacks permission 'service:write' on %q", service), http.StatusForbidden)
	return false
}

// mayRead reports whether a token may read services. The caller holds mu.
func (a *Agent) mayRead(r *http.Request) bool {
	return !a.deny || a.tokens[r.Header.Get("X-Consul-Token")] != nil
}
