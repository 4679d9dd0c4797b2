// SPDX-License-Identifier: Apache-2.0

// What intentions mean for a request, as a table, and the loop of blocking queries in a bubble.

package consul

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"
)

func TestDecide(t *testing.T) {
	const allow, deny, unknown = "allow", "deny", "default"
	a := func(h api.IntentionHTTPPermission) []*api.IntentionPermission {
		return []*api.IntentionPermission{{Action: api.IntentionActionAllow, HTTP: &h}}
	}
	field := func(f api.IntentionHTTPHeaderPermission) []*api.IntentionPermission {
		f.Name = "X-A"
		return a(api.IntentionHTTPPermission{Header: []api.IntentionHTTPHeaderPermission{f}})
	}
	named := func(name string, f api.IntentionHTTPHeaderPermission) []*api.IntentionPermission {
		f.Name = name
		return []*api.IntentionPermission{{Action: api.IntentionActionDeny, HTTP: &api.IntentionHTTPPermission{PathPrefix: "/a", Header: []api.IntentionHTTPHeaderPermission{f}}}, {Action: api.IntentionActionAllow}}
	}
	with := func(values ...string) request {
		return request{"POST", "/a.S/M", http.Header{"X-A": values}, "a.test:80"}
	}
	get := request{"GET", "/a.S/M", http.Header{}, ""}
	for name, c := range map[string]struct {
		permissions []*api.IntentionPermission
		request     request
		want        string
	}{
		"exact":               {a(api.IntentionHTTPPermission{PathExact: "/a.S/M"}), get, allow},
		"exact, longer":       {a(api.IntentionHTTPPermission{PathExact: "/a.S/"}), get, unknown},
		"exact, case":         {a(api.IntentionHTTPPermission{PathExact: "/A.s/m"}), get, unknown},
		"prefix":              {a(api.IntentionHTTPPermission{PathPrefix: "/a.S/"}), get, allow},
		"prefix, other":       {a(api.IntentionHTTPPermission{PathPrefix: "/b"}), get, unknown},
		"not clean":           {a(api.IntentionHTTPPermission{PathPrefix: "/a/"}), request{"GET", "/a/../b", nil, ""}, deny},
		"not clean, slashes":  {a(api.IntentionHTTPPermission{PathPrefix: "/"}), request{"GET", "//b", nil, ""}, deny},
		"not clean, dot":      {a(api.IntentionHTTPPermission{PathPrefix: "/"}), request{"GET", "/./b", nil, ""}, deny},
		"not clean, no slash": {a(api.IntentionHTTPPermission{}), request{"GET", "b", nil, ""}, deny},
		"folder":              {a(api.IntentionHTTPPermission{PathPrefix: "/a/"}), request{"GET", "/a/", nil, ""}, allow},
		"root":                {a(api.IntentionHTTPPermission{PathPrefix: "/"}), request{"GET", "/", nil, ""}, allow},
		"regex":               {a(api.IntentionHTTPPermission{PathRegex: "/a[.]S/[A-Z]"}), get, allow},
		"regex, part":         {a(api.IntentionHTTPPermission{PathRegex: "/a[.]S"}), get, unknown},
		"regex, alternatives": {a(api.IntentionHTTPPermission{PathRegex: "/x|/a"}), get, unknown},
		"regex, invalid":      {a(api.IntentionHTTPPermission{PathRegex: "("}), get, deny},
		"methods":             {a(api.IntentionHTTPPermission{Methods: []string{"PUT", "GET"}}), get, allow},
		"methods, other":      {a(api.IntentionHTTPPermission{Methods: []string{"POST"}}), get, unknown},
		"no condition":        {a(api.IntentionHTTPPermission{}), get, allow},
		"path and method":     {a(api.IntentionHTTPPermission{PathPrefix: "/", Methods: []string{"POST"}}), get, unknown},
		"JWT":                 {[]*api.IntentionPermission{{Action: api.IntentionActionAllow, JWT: &api.IntentionJWTRequirement{}}}, get, deny},
		"null":                {[]*api.IntentionPermission{nil}, get, deny},
		"first of two":        {append(a(api.IntentionHTTPPermission{PathExact: "/a.S/M"}), &api.IntentionPermission{Action: api.IntentionActionDeny}), get, allow},
		"second of two":       {append(a(api.IntentionHTTPPermission{PathExact: "/x"}), &api.IntentionPermission{Action: api.IntentionActionDeny}), get, deny},

		"present":            {field(api.IntentionHTTPHeaderPermission{Present: true}), with("x"), allow},
		"present, empty":     {field(api.IntentionHTTPHeaderPermission{Present: true}), with(""), allow},
		"present, not":       {field(api.IntentionHTTPHeaderPermission{Present: true}), get, unknown},
		"not present":        {field(api.IntentionHTTPHeaderPermission{Present: true, Invert: true}), get, allow},
		"not present, is":    {field(api.IntentionHTTPHeaderPermission{Present: true, Invert: true}), with("x"), unknown},
		"field exact":        {field(api.IntentionHTTPHeaderPermission{Exact: "ab"}), with("ab"), allow},
		"field exact, two":   {field(api.IntentionHTTPHeaderPermission{Exact: "a,b"}), with("a", "b"), allow},
		"field exact, case":  {field(api.IntentionHTTPHeaderPermission{Exact: "AB"}), with("ab"), unknown},
		"field exact, fold":  {field(api.IntentionHTTPHeaderPermission{Exact: "AB", IgnoreCase: true}), with("aB"), allow},
		"field not exact":    {field(api.IntentionHTTPHeaderPermission{Exact: "ab", Invert: true}), with("x"), allow},
		"field not, missing": {field(api.IntentionHTTPHeaderPermission{Exact: "ab", Invert: true}), get, unknown},
		"field prefix":       {field(api.IntentionHTTPHeaderPermission{Prefix: "a"}), with("ab"), allow},
		"field suffix":       {field(api.IntentionHTTPHeaderPermission{Suffix: "b"}), with("ab"), allow},
		"field suffix, not":  {field(api.IntentionHTTPHeaderPermission{Suffix: "a"}), with("ab"), unknown},
		"field contains":     {field(api.IntentionHTTPHeaderPermission{Contains: "b"}), with("abc"), allow},
		"field regex":        {field(api.IntentionHTTPHeaderPermission{Regex: "a.c"}), with("abc"), allow},
		"field regex, part":  {field(api.IntentionHTTPHeaderPermission{Regex: "a."}), with("abc"), unknown},
		"host":               {named("Host", api.IntentionHTTPHeaderPermission{Exact: "a.test:80"}), with(), deny},
		"host, other":        {named("Host", api.IntentionHTTPHeaderPermission{Exact: "b.test"}), with(), allow},
		"host, not":          {named("host", api.IntentionHTTPHeaderPermission{Exact: "a.test:80", Invert: true}), with(), allow},
		"authority":          {named(":authority", api.IntentionHTTPHeaderPermission{Prefix: "a."}), with(), deny},
		"host, unknown":      {named("Host", api.IntentionHTTPHeaderPermission{Exact: "b.test"}), get, deny},
		"host, other path":   {named("Host", api.IntentionHTTPHeaderPermission{Exact: "b.test"}), request{"GET", "/b", nil, ""}, allow},
		"method":             {named(":method", api.IntentionHTTPHeaderPermission{Exact: "GET"}), get, deny},
		"method, other":      {named(":method", api.IntentionHTTPHeaderPermission{Exact: "GET"}), with(), allow},
		"scheme":             {named(":scheme", api.IntentionHTTPHeaderPermission{Exact: "https"}), get, deny},
		"scheme, other":      {named(":scheme", api.IntentionHTTPHeaderPermission{Exact: "http"}), get, allow},
		"other pseudo-field": {named(":path", api.IntentionHTTPHeaderPermission{Exact: "/x"}), get, deny},
		"field regex, bad":   {field(api.IntentionHTTPHeaderPermission{Regex: "["}), with("abc"), deny},
	} {
		all := newIntentions([]*api.Intention{{SourceName: "web", DestinationName: "ping", Permissions: c.permissions}}, "")
		allowed, known := all.match(Identity{Service: "web", Namespace: "default", Partition: "default"}).decide(c.request)
		got := unknown
		if known {
			got = map[bool]string{true: allow, false: deny}[allowed]
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

func TestMatch(t *testing.T) {
	all := newIntentions([]*api.Intention{
		nil,
		{SourceName: "*", DestinationName: "ping", Precedence: 8, ID: "any"},
		{SourceName: "web", DestinationName: "ping", Precedence: 9, ID: "web"},
		{SourceName: "web", SourceNS: "n1", DestinationName: "ping", Precedence: 10, ID: "n1"},
		{SourceName: "web", SourcePartition: "p1", SourceNS: "*", DestinationName: "ping", Precedence: 11, ID: "p1"},
		{SourceName: "web", SourcePeer: "cluster", DestinationName: "ping", Precedence: 12, ID: "peer"},
		{SourceName: "web", SourceType: "other", DestinationName: "ping", Precedence: 13, ID: "type"},
	}, "deny")
	for name, c := range map[string]struct {
		peer Identity
		want string
	}{
		"exact":         {Identity{Service: "WEB", Namespace: "default", Partition: "default"}, "web => ping"},
		"any":           {Identity{Service: "api", Namespace: "default", Partition: "default"}, "* => ping"},
		"namespace":     {Identity{Service: "web", Namespace: "n1", Partition: "default"}, "web => ping"},
		"partition":     {Identity{Service: "web", Namespace: "n7", Partition: "p1"}, "web => ping"},
		"none":          {Identity{Service: "api", Namespace: "n2", Partition: "default"}, ""},
		"no partition ": {Identity{Service: "web", Namespace: "default", Partition: "p2"}, ""},
	} {
		got := ""
		if r := all.match(c.peer); r != nil {
			got = r.text
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	if all.policy != policyDeny {
		t.Errorf("got the policy %v, want deny", all.policy)
	}
}

// TestWatch runs the loop against answers of all kinds. In the bubble, times are exact but for
// the random part of pauses.
func TestWatch(t *testing.T) {
	type answer struct {
		index uint64
		err   error
		takes time.Duration
	}
	type asking struct {
		index uint64
		at    time.Duration
	}
	failed := errors.New("failed")
	for name, c := range map[string]struct {
		answers []answer
		want    []uint64 // the index of each query
		least   time.Duration
		most    time.Duration // of all queries but the last
	}{
		"blocking":     {[]answer{{index: 5}, {index: 6, takes: time.Minute}, {index: 6, takes: time.Minute}}, []uint64{0, 5, 6, 6}, 2*time.Minute + pace, 2*time.Minute + pace},
		"back":         {[]answer{{index: 5}, {index: 3}, {index: 3}}, []uint64{0, 5, 0, 3}, 3 * pace, 3 * pace},
		"none":         {[]answer{{}, {}, {}}, []uint64{0, 0, 0, 0}, 3 * paceBlind, 3 * paceBlind},
		"same at once": {[]answer{{index: 5}, {index: 5}, {index: 5}}, []uint64{0, 5, 5, 5}, 3 * pace, 3 * pace},
		"errors":       {[]answer{{index: 5}, {err: failed}, {err: failed}, {err: failed}}, []uint64{0, 5, 0, 0, 0}, pace + (100+200+400)*time.Millisecond/2, pace + 710*time.Millisecond},
		"after errors": {[]answer{{err: failed}, {index: 9}, {err: failed}}, []uint64{0, 0, 9, 0}, pace + 2*backoffMin/2, pace + 2*backoffMin},
		"no answer":    {[]answer{{takes: time.Hour}, {index: 1}}, []uint64{0, 0, 1}, queryFirst + backoffMin/2 + pace, queryFirst + backoffMin + pace},
		"no answer to a blocking query": {[]answer{{index: 1}, {takes: time.Hour}}, []uint64{0, 1, 0},
			pace + queryWait + queryWait/16 + queryGrace + backoffMin/2, pace + queryWait + queryWait/16 + queryGrace + backoffMin},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				began := time.Now()
				var got []asking
				n := 0
				w := watch{
					report: func(error) {},
					query: func(q *api.QueryOptions) (uint64, error) {
						got = append(got, asking{q.WaitIndex, time.Since(began)})
						if n == len(c.answers) {
							cancel()
							return 0, ctx.Err()
						}
						a := c.answers[n]
						n++
						select {
						case <-time.After(a.takes):
						case <-q.Context().Done():
							return 0, q.Context().Err()
						}
						return a.index, a.err
					},
				}
				w.run(ctx)
				if len(got) != len(c.want) {
					t.Fatalf("got %d queries, want %d", len(got), len(c.want))
				}
				for i := range got {
					if got[i].index != c.want[i] {
						t.Errorf("query %d: got the index %d, want %d", i, got[i].index, c.want[i])
					}
				}
				if at := got[len(got)-1].at; at < c.least || at > c.most {
					t.Errorf("got the last query after %v, want %v to %v", at, c.least, c.most)
				}
			})
		})
	}
}

func TestBackoff(t *testing.T) {
	for failures, most := range map[int]time.Duration{1: backoffMin, 2: 2 * backoffMin, 9: 256 * backoffMin, 10: backoffMax, 1000: backoffMax} {
		for range 100 {
			if got := backoff(failures); got < most/2 || got > most {
				t.Fatalf("%d failures: got %v, want %v to %v", failures, got, most/2, most)
			}
		}
	}
}
