// SPDX-License-Identifier: Apache-2.0

// Policies by which calls with the same key go to the same endpoint.

package balance

import (
	"context"
	"math"
	"net/http"
)

const (
	// boundedLoad is how many times the mean of calls in flight an endpoint may have,
	// before calls of its keys go to their next endpoint.
	boundedLoad = 1.25

	// boundLeast is the number of calls that an endpoint takes in any case. With fewer
	// calls in flight than endpoints the mean is below one, and each two calls that meet
	// would leave their endpoint.
	boundLeast = 4
)

// HashHeader takes the endpoint by a field of the request's header: calls with the same
// value go to the same endpoint, from all clients that have the same endpoints. Calls
// without the field, or with an empty one, go to any. It panics if the name is empty.
//
// Each value has an order of all endpoints ([rendezvous hashing]). A call goes to the
// first that is in use and has at most 1.25 times the mean of calls in flight for its
// weight, or fewer than 4. So an endpoint that is lost moves its own values and no others.
//
// [rendezvous hashing]: https://en.wikipedia.org/wiki/Rendezvous_hashing
func HashHeader(name string) Policy {
	check(name != "", "HashHeader(%q): expected the name of a header field", name)
	return &hashing{header: http.CanonicalHeaderKey(name)}
}

// HashKey is [HashHeader] with a key that a function takes from the call's context. An
// empty key stands for none. The function is called once or twice for each attempt, maybe
// concurrently.
func HashKey(key func(ctx context.Context) string) Policy {
	check(key != nil, "HashKey(nil): expected a function")
	return &hashing{key: key}
}

type hashing struct {
	header string // in its canonical form; "": key is in use
	key    func(context.Context) string
}

func (p *hashing) apply(c *config) error { c.policy = p; return nil }

func (p *hashing) instance() Policy { return p }

// hash sets the hash of a call's key. field returns the value of a header field, "" if
// there is none.
func (p *hashing) hash(ctx context.Context, field func(name string) string, call *pickInfo) {
	var key string
	if p.key != nil {
		key = p.key(ctx)
	} else {
		key = field(p.header)
	}
	if key != "" {
		call.hash, call.hashed = hashKey(key), true
	}
}

func (p *hashing) pick(candidates []*endpoint, call pickInfo) *endpoint {
	if len(candidates) == 0 {
		return nil
	}
	d := newDraw(candidates, &call)
	if !call.hashed {
		_, e := d.one(call.now)
		return e
	}
	// The first of the candidates is the first of all that is in use: each has its place
	// in the order by itself.
	r := ranking{hash: call.hash, tried: d.tried, perWeight: math.Inf(1)}
	r.weigh(candidates)
	first := r.first(candidates)
	if first == nil { // another attempt has failed meanwhile
		return candidates[0]
	}
	if first.load.inflight() < boundLeast {
		return first
	}
	inflight, weight := 1, 0.0
	for _, e := range candidates {
		inflight += e.load.inflight()
		weight += weightOf(e)
	}
	r.perWeight = boundedLoad * float64(inflight) / weight
	if e := r.first(candidates); e != nil {
		return e
	}
	return first
}

// A ranking is the order of endpoints for a hash.
type ranking struct {
	hash      uint64
	tried     func(*endpoint) bool // if not nil, those to pass over
	perWeight float64              // calls in flight that an endpoint may have, for each unit of its weight
	weighted  bool                 // weights differ
}

func (r *ranking) weigh(candidates []*endpoint) {
	for _, e := range candidates {
		if e.Weight != candidates[0].Weight {
			r.weighted = true
			return
		}
	}
}

// first returns the first endpoint that may take a call, or nil.
func (r *ranking) first(candidates []*endpoint) (best *endpoint) {
	var most uint64
	var least float64
	for _, e := range candidates {
		score := mix(r.hash ^ e.id())
		if !r.weighted {
			if best != nil && score <= most || !r.takes(e) {
				continue
			}
			best, most = e, score
			continue
		}
		// The time of the first event of a process with the weight as its rate: the
		// chance to be the first of all is in proportion to the weight.
		time := -math.Log((float64(score>>11)+0.5)/(1<<53)) / weightOf(e)
		if best != nil && time >= least || !r.takes(e) {
			continue
		}
		best, least = e, time
	}
	return best
}

func (r *ranking) takes(e *endpoint) bool {
	if r.tried != nil && r.tried(e) {
		return false
	}
	if math.IsInf(r.perWeight, 1) {
		return true
	}
	inflight := e.load.inflight()
	return inflight < boundLeast || float64(inflight) < math.Ceil(r.perWeight*weightOf(e))
}

func weightOf(e *endpoint) float64 { return float64(max(e.Weight, 1)) }
