// SPDX-License-Identifier: Apache-2.0

// Intentions: which may come from the agent, and what they mean for a call.

package consul

import (
	"fmt"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"
)

// A policy is what holds where no intention and no permission does.
type policy int

const (
	policyUnknown policy = iota // not in the answer: authorize has it
	policyAllow
	policyDeny
)

// intentions are those of which this service is the destination, in the order in which they
// hold. They do not change.
type intentions struct {
	rules  []rule
	policy policy
}

// A rule is an intention.
type rule struct {
	text                         string // for errors
	namespace, partition, source string // "*" for any
	foreign                      bool   // the source is of another cluster, or not one of Consul's services
	allow                        bool
	permissions                  []permission // nil: the whole connection
}

// A permission is a part of an intention for some requests.
type permission struct {
	allow   bool
	never   bool // it cannot be decided here: it allows nothing, and denies everything
	exact   string
	prefix  string
	regex   *regexp.Regexp
	methods []string
	headers []header
}

// A header is a condition on a field of a request.
type header struct {
	api.IntentionHTTPHeaderPermission
	regex *regexp.Regexp
}

// A request is what intentions look at.
type request struct {
	method, path string
	header       http.Header
	host         string // "": not known here
}

// newIntentions compiles the intentions of an answer.
func newIntentions(list []*api.Intention, policyText string) *intentions {
	all := &intentions{}
	switch policyText {
	case "allow":
		all.policy = policyAllow
	case "deny":
		all.policy = policyDeny
	}
	list = slices.DeleteFunc(slices.Clone(list), func(i *api.Intention) bool { return i == nil })
	slices.SortStableFunc(list, func(a, b *api.Intention) int { return b.Precedence - a.Precedence })
	for _, i := range list {
		r := rule{
			text: i.SourceName + " => " + i.DestinationName, namespace: i.SourceNS, partition: i.SourcePartition, source: i.SourceName,
			foreign: i.SourcePeer != "" || i.SourceSamenessGroup != "" || i.SourceType != "" && i.SourceType != api.IntentionSourceConsul,
			allow:   i.Action == api.IntentionActionAllow,
		}
		for _, p := range i.Permissions {
			r.permissions = append(r.permissions, newPermission(p))
		}
		all.rules = append(all.rules, r)
	}
	return all
}

func newPermission(from *api.IntentionPermission) permission {
	if from == nil {
		return permission{never: true}
	}
	p := permission{allow: from.Action == api.IntentionActionAllow, never: from.JWT != nil}
	h := from.HTTP
	if h == nil {
		return p
	}
	p.exact, p.prefix, p.methods = h.PathExact, h.PathPrefix, h.Methods
	if h.PathRegex != "" {
		p.regex = p.compile(h.PathRegex)
	}
	for _, each := range h.Header {
		c := header{IntentionHTTPHeaderPermission: each}
		if each.Regex != "" {
			c.regex = p.compile(each.Regex)
		}
		p.headers = append(p.headers, c)
	}
	return p
}

// compile returns an expression that has to fit all of a text, as in Envoy, whose RE2 has the
// syntax of package regexp. One that is not valid makes the permission one that cannot be
// decided.
func (p *permission) compile(expression string) *regexp.Regexp {
	re, err := regexp.Compile("^(?:" + expression + ")$")
	if err != nil {
		p.never = true
		return nil
	}
	return re
}

// match returns the rule that holds for a peer, nil if there is none.
func (all *intentions) match(peer Identity) *rule {
	fits := func(pattern, otherwise, value string) bool {
		if pattern == "" {
			pattern = otherwise
		}
		return pattern == "*" || strings.EqualFold(pattern, value)
	}
	for i := range all.rules {
		r := &all.rules[i]
		if !r.foreign && fits(r.source, "", peer.Service) && fits(r.namespace, DefaultNamespace, peer.Namespace) && fits(r.partition, DefaultPartition, peer.Partition) {
			return r
		}
	}
	return nil
}

// decide returns whether a rule allows a request, and false for known if the default policy
// has to.
func (r *rule) decide(q request) (allowed, known bool) {
	switch {
	case r.permissions == nil:
		return r.allow, true
	case !isClean(q.path):
		return false, true
	}
	for i := range r.permissions {
		p := &r.permissions[i]
		if p.never {
			return false, true
		}
		if fits, sure := p.fits(q); fits {
			return p.allow && sure, true
		}
	}
	return false, false
}

// isClean reports whether a path names one thing. Handlers may take "/a/../b" for "/b", for which
// other permissions hold: so it has none.
func isClean(p string) bool {
	if p == "*" {
		return true // of OPTIONS
	}
	clean := path.Clean("/" + p)
	return p == clean || p == clean+"/"
}

// fits reports whether all conditions of a permission are true. [Consul, "Service intentions
// configuration entry", Permissions] It is not sure if all are that can be decided here, and
// another one cannot.
func (p *permission) fits(q request) (fits, sure bool) {
	switch {
	case p.exact != "" && q.path != p.exact,
		p.prefix != "" && !strings.HasPrefix(q.path, p.prefix),
		p.regex != nil && !p.regex.MatchString(q.path),
		len(p.methods) > 0 && !slices.Contains(p.methods, q.method):
		return false, true
	}
	sure = true
	for i := range p.headers {
		c := &p.headers[i]
		values, known := q.values(c.Name)
		switch {
		case !known:
			sure = false
		case !c.fits(values):
			return false, true
		}
	}
	return true, sure
}

// values returns the values of a field, among them those that package net/http has elsewhere,
// and false if they are not known here.
func (q request) values(name string) ([]string, bool) {
	switch strings.ToLower(name) {
	case "host", ":authority":
		return []string{q.host}, q.host != ""
	case ":method":
		return []string{q.method}, true
	case ":scheme":
		return []string{"https"}, true
	}
	return q.header.Values(name), !strings.HasPrefix(name, ":")
}

// fits reports whether a condition on a field is true. Fields of the same name are one, with
// commas. A field that is missing fits nothing but the inverse of Present, as in Envoy.
func (c *header) fits(values []string) bool {
	if len(values) == 0 {
		return c.Present && c.Invert
	}
	value := strings.Join(values, ",")
	fold := func(s string) string {
		if c.IgnoreCase {
			return strings.ToLower(s)
		}
		return s
	}
	var ok bool
	switch v := fold(value); {
	case c.Exact != "":
		ok = v == fold(c.Exact)
	case c.Prefix != "":
		ok = strings.HasPrefix(v, fold(c.Prefix))
	case c.Suffix != "":
		ok = strings.HasSuffix(v, fold(c.Suffix))
	case c.Contains != "":
		ok = strings.Contains(v, fold(c.Contains))
	case c.regex != nil:
		ok = c.regex.MatchString(value)
	default:
		ok = true // Present
	}
	return ok != c.Invert
}

// queryIntentions gets the intentions, and lets calls that go on have them.
func (s *Service) queryIntentions(q *api.QueryOptions) (uint64, error) {
	q.Namespace, q.Partition = s.config.Namespace, s.config.Partition
	answer, meta, err := s.client.Connect().IntentionMatch(&api.IntentionMatch{By: api.IntentionMatchDestination, Names: []string{s.name}}, q)
	if err != nil {
		return 0, explain(fmt.Sprintf("getting the intentions of service %q", s.name), err)
	}
	list, ok := answer[s.name]
	if !ok && len(answer) > 0 || answer == nil {
		return 0, explain(fmt.Sprintf("getting the intentions of service %q", s.name), fmt.Errorf("the answer is about another service"))
	}
	s.intentions.Store(newIntentions(list, meta.DefaultACLPolicy))
	s.verdicts.forget()
	s.review()
	return meta.LastIndex, nil
}
