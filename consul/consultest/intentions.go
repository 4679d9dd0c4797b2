// SPDX-License-Identifier: Apache-2.0

// Intentions: which service may connect to which.

package consultest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"
)

// Allow lets a source connect to a destination. Either may be "*".
func (a *Agent) Allow(source, destination string) {
	a.SetIntention(&api.Intention{SourceName: source, DestinationName: destination, Action: api.IntentionActionAllow})
}

// Deny keeps a source from connecting to a destination.
func (a *Agent) Deny(source, destination string) {
	a.SetIntention(&api.Intention{SourceName: source, DestinationName: destination, Action: api.IntentionActionDeny})
}

// SetIntention sets the intention for its source and destination, with Permissions or an
// Action. The agent sets what operators do not.
func (a *Agent) SetIntention(intention *api.Intention) {
	i := *intention
	i.SourceNS, i.DestinationNS = cmp.Or(i.SourceNS, "default"), cmp.Or(i.DestinationNS, "default")
	i.SourceType = cmp.Or(i.SourceType, api.IntentionSourceConsul)
	i.Precedence = precedence(i.SourceName, i.DestinationName)
	if len(i.Permissions) > 0 {
		i.Action = ""
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.removeLocked(i.SourceName, i.DestinationName)
	a.intentions = append(a.intentions, &i)
	slices.SortStableFunc(a.intentions, func(x, y *api.Intention) int { return cmp.Compare(y.Precedence, x.Precedence) })
	a.touch("intentions")
}

// RemoveIntention removes the intention for a source and a destination: then another one
// holds, or the default policy.
func (a *Agent) RemoveIntention(source, destination string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.removeLocked(source, destination)
	a.touch("intentions")
}

func (a *Agent) removeLocked(source, destination string) {
	a.intentions = slices.DeleteFunc(a.intentions, func(i *api.Intention) bool {
		return i.SourceName == source && i.DestinationName == destination
	})
}

// precedence returns the order of an intention, of which the highest holds: the destination's
// name counts more than the source's. [Consul, "Intention precedence"]
func precedence(source, destination string) int {
	switch {
	case source != "*" && destination != "*":
		return 9
	case destination != "*":
		return 8
	case source != "*":
		return 6
	}
	return 5
}

// matching returns the intentions of a destination. The caller holds mu.
func (a *Agent) matching(destination string) []*api.Intention {
	found := []*api.Intention{}
	for _, i := range a.intentions {
		if i.DestinationName == destination || i.DestinationName == "*" {
			found = append(found, i)
		}
	}
	return found
}

// ---- endpoints ----

func (a *Agent) serveMatch(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	if r.URL.Query().Get("by") != "destination" || name == "" {
		http.Error(w, "expected by=destination and name", http.StatusBadRequest)
		return
	}
	if !a.mayWrite(w, r, name) {
		return
	}
	a.serveBlocking(w, r, "intentions", func() (any, error) {
		return map[string][]*api.Intention{name: a.matching(name)}, nil
	})
}

func (a *Agent) serveUpsert(w http.ResponseWriter, r *http.Request) {
	var i api.Intention
	if err := json.NewDecoder(r.Body).Decode(&i); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	i.SourceName = cmp.Or(r.URL.Query().Get("source"), i.SourceName)
	i.DestinationName = cmp.Or(r.URL.Query().Get("destination"), i.DestinationName)
	a.SetIntention(&i)
	reply(w, true)
}

func (a *Agent) serveRemove(w http.ResponseWriter, r *http.Request) {
	a.RemoveIntention(r.URL.Query().Get("source"), r.URL.Query().Get("destination"))
	reply(w, true)
}

// serveAuthorize answers as agents do: it does not look at the trust domain, and peers for
// whose calls there are permissions are not authorized.
func (a *Agent) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	var p api.AgentAuthorizeParams
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !a.mayWrite(w, r, p.Target) {
		return
	}
	u, err := url.Parse(p.ClientCertURI)
	var service string
	if err == nil {
		_, service, _ = strings.Cut(u.Path, "/svc/")
	}
	if err != nil || u.Scheme != "spiffe" || service == "" {
		http.Error(w, fmt.Sprintf("ClientCertURI not a valid Connect identifier: %s", p.ClientCertURI), http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	answer := api.AgentAuthorize{Authorized: !a.deny, Reason: "Default intention policy"}
	for _, i := range a.matching(p.Target) {
		if i.SourceName != service && i.SourceName != "*" {
			continue
		}
		answer.Authorized, answer.Reason = i.Action == api.IntentionActionAllow, "Matched intention: "+i.SourceName+" => "+i.DestinationName
		if len(i.Permissions) > 0 {
			answer.Authorized, answer.Reason = false, "Matched L7 intention: "+i.SourceName+" => "+i.DestinationName
		}
		break
	}
	w.Header().Set("X-Cache", "HIT")
	reply(w, answer)
}
