// SPDX-License-Identifier: Apache-2.0

// Package retry repeats calls of clients that failed and are safe to repeat.
//
// A [Policy] is a [connect.Interceptor] for clients, for unary calls and streams in all
// protocols. It follows gRPC's design of retries [gRFC A6], with one difference: whether
// a call may be repeated is decided by what is known of it, and not by its code alone.
//
//	the attempt's outcome                             repeated for
//	the request was not sent, or the server           every procedure
//	  reports that it did not process it
//	the server answers unavailable                    procedures without side effects, idempotent ones,
//	                                                  and those for which Codes names the code
//	another code that Codes names                     the procedures for which it is named
//	the server answers with a pushback                every procedure, after the time that it names
//	the connection was lost, before the answer or     procedures without side effects, and idempotent ones
//	  in it, or AttemptTimeout has passed
//	any other                                         no procedure
//
// The idempotency of a procedure is its idempotency_level in the schema, which
// generated code passes on. A pushback is Grpc-Retry-Pushback-Ms or Retry-After; one of
// more than five minutes ends the retries of a call without a deadline. A unary call is
// repeated as long as its answer is not whole, a stream as long as the program has seen
// nothing of its responses; what the program has sent is sent again.
//
// Interceptors that a client has after a Policy see attempts, those before it see calls.
// Attempts after the first have the header Grpc-Previous-Rpc-Attempts. A policy without
// an option makes up to three attempts, with pauses of up to 50 ms and 100 ms, as long as
// there are no more retries than one for five attempts that succeed, and ten a second.
//
// [gRFC A6]: https://github.com/grpc/proposal/blob/master/A6-client-retries.md
package retry

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/seed-b7c59c10/connect"
)

// A Policy decides which calls of a client are repeated, and when. Clients may share
// one: they share its budget. It is safe for concurrent use.
type Policy struct {
	base    rule
	rules   map[string]*rule // by procedure, "/acme.v1.S/Get", or service, "/acme.v1.S/"
	budget  budget
	memory  memory
	breaker func(connect.Spec) Breaker
	observe func(context.Context, Attempt)
	noted   sync.Map // of procedures that would be hedged if they were idempotent

	refine []func(*Policy) // the options of For, applied to the finished base
}

// New returns a policy. It panics if an option is nil or has a value that makes no sense,
// with a text that names the option.
func New(options ...Option) *Policy {
	p := &Policy{
		base:   rule{attempts: 3, backoff: backoff{50 * time.Millisecond, time.Second, 2}},
		rules:  make(map[string]*rule),
		budget: newRatio(0.2, 10),
		memory: memory{stream: 256 << 10, all: 16 << 20},
	}
	for _, o := range options {
		check(!isNil(o), "New: an option is nil")
		o.apply(p)
	}
	for _, refine := range p.refine {
		refine(p)
	}
	return p
}

// An Option changes a [Policy].
type Option interface{ apply(*Policy) }

type policyOption func(*Policy)

func (o policyOption) apply(p *Policy) { o(p) }

// A RuleOption changes a [Policy] for all procedures, or with [For] for some.
type RuleOption func(*rule)

func (o RuleOption) apply(p *Policy) { o(&p.base) }

// isNil reports whether there is no option to apply.
func isNil(o Option) bool {
	r, ok := o.(RuleOption)
	return o == nil || ok && r == nil
}

// A rule is what holds for one procedure.
type rule struct {
	attempts int
	backoff  backoff
	timeout  time.Duration         // of an attempt; 0: none
	overall  time.Duration         // of a call; 0: none
	codes    map[connect.Code]bool // that the program named; nil: by idempotency alone
	hedge    hedge
}

// Attempts bounds the attempts of a call, the first included: 3 by default, 1 for none
// but the first.
func Attempts(n int) RuleOption {
	check(n >= 1, "Attempts(%d): expected at least 1", n)
	return func(r *rule) { r.attempts = n }
}

// Backoff sets the pauses before attempts: a random time of up to first before the
// second, and each further time up to multiplier times as long, at most most. The
// default is 50 ms, 1 s, and 2.
func Backoff(first, most time.Duration, multiplier float64) RuleOption {
	check(first > 0 && most >= first && multiplier >= 1, "Backoff(%v, %v, %v): expected 0 < first <= most and a multiplier of at least 1", first, most, multiplier)
	return func(r *rule) { r.backoff = backoff{first, most, multiplier} }
}

// AttemptTimeout bounds the time of each attempt at a unary call. By default only the
// call's context does. The attempt that it ends is repeated for procedures that are
// idempotent or without side effects.
func AttemptTimeout(d time.Duration) RuleOption {
	check(d > 0, "AttemptTimeout(%v): expected a positive time", d)
	return func(r *rule) { r.timeout = d }
}

// Codes has calls repeated when the server answers with one of the codes, also those of
// procedures that are not idempotent: name them where the server sends a code before it
// does anything. It does not apply to calls whose connection was lost. Without it,
// unavailable is repeated for procedures that are idempotent or without side effects.
func Codes(codes ...connect.Code) RuleOption {
	set := make(map[connect.Code]bool, len(codes))
	for _, c := range codes {
		check(c >= connect.CodeCanceled && c <= connect.CodeUnauthenticated, "Codes(%d): not a code", c)
		set[c] = true
	}
	return func(r *rule) { r.codes = set }
}

// For applies options to one procedure, such as "/acme.v1.S/Get", or to a service, such
// as "/acme.v1.S/". Where several fit, that of the procedure holds, and it has the
// settings that hold for all procedures where its options set nothing.
func For(name string, options ...RuleOption) Option {
	check(strings.HasPrefix(name, "/") && strings.Count(name, "/") == 2, "For(%q): expected a procedure such as \"/acme.v1.S/Get\", or a service such as \"/acme.v1.S/\"", name)
	for _, o := range options {
		check(o != nil, "For(%q): an option is nil", name)
	}
	return policyOption(func(p *Policy) {
		p.refine = append(p.refine, func(p *Policy) {
			r := p.base
			for _, o := range options {
				o(&r)
			}
			p.rules[name] = &r
		})
	})
}

// Buffer bounds the bytes of sent messages that are kept for the repetition of a stream,
// and of all streams of the policy together: 256 KiB and 16 MiB by default. Each message
// counts with its encoded size and 128 bytes for its place in memory. A stream that would
// exceed them is not repeated from then on.
func Buffer(stream, all int) Option {
	check(stream >= 0 && all >= stream, "Buffer(%d, %d): expected 0 <= stream <= all", stream, all)
	return policyOption(func(p *Policy) { p.memory.stream, p.memory.all = int64(stream), int64(all) })
}

// rule returns the rule for a procedure.
func (p *Policy) rule(procedure string) *rule {
	if len(p.rules) > 0 {
		if r := p.rules[procedure]; r != nil {
			return r
		}
		if r := p.rules[procedure[:strings.LastIndexByte(procedure, '/')+1]]; r != nil {
			return r
		}
	}
	return &p.base
}

func check(ok bool, format string, args ...any) {
	if !ok {
		panic("retry: " + fmt.Sprintf(format, args...))
	}
}

type disabledKey struct{}

// Disable returns a context whose calls are not repeated.
func Disable(ctx context.Context) context.Context {
	return context.WithValue(ctx, disabledKey{}, true)
}

// applies reports whether a policy has anything to do with a call.
func applies(ctx context.Context, spec connect.Spec) bool {
	return spec.IsClient && ctx.Value(disabledKey{}) == nil
}

// WrapStreamingHandler returns next: a policy is for clients.
func (p *Policy) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}
