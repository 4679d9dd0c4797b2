// SPDX-License-Identifier: Apache-2.0

// Package overload refuses calls of which a server has too many, so that it answers the
// others in time. It is an [http.Handler] around another one:
//
//	mux.Handle(path, overload.Handler(handler, overload.Adaptive(10, 1000)))
//
// A server without it that gets more calls than it can serve queues them, until each
// answer comes after its deadline: then it works at full speed and is of no use. A
// [Limiter] lets in as many calls at once as the server can serve without a queue, and
// refuses the others before it reads their messages: they cost what a call costs without
// its handler, or less.
//
// A call that is refused fails with resource_exhausted. Its error has the metadata
// Grpc-Retry-Pushback-Ms [gRFC A6, "Pushback"] and Retry-After [RFC 9110, section 10.2.3]:
// when to try again. While the limit falls the pushback is -1: not again. Package retry
// heeds both.
//
// Streams can last for hours, whatever the load is: they have a limit of their own,
// [Streams]. A Limiter takes the kind of a procedure from the handler, if that is the
// value of a generated constructor or of [connect.NewServiceHandler], or an
// [http.ServeMux] that leads to it; [Services] names those that middleware hides. Without
// that, requests with a media type of Connect's streams are streams, and all others unary.
package overload

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-b7c59c10/connect"
)

const (
	defaultMin     = 10
	defaultMax     = 1000
	defaultStreams = 10_000
	healthPrefix   = "/grpc.health.v1.Health/"
)

// A Limiter has limits that handlers share. It is safe for concurrent use.
type Limiter struct {
	calls    limit
	streams  *fixed
	reserve  fixed // beside calls, for calls of high priority; its size is set when it is used
	rates    []*rates
	priority func(http.Header) int
	exempt   []string
	errors   *connect.ErrorWriter
	kinds    kinds

	ownErrors bool // errors is the program's
	answers   answers

	full    moment       // when calls was at its limit
	expired atomic.Int64 // calls that have expired since one has ended by itself
	refused [reasons]atomic.Uint64
}

// An Option changes a [Limiter].
type Option func(*Limiter)

// New returns a Limiter. It panics if an option is nil, or has a value that makes no sense,
// with a text that names the option.
func New(options ...Option) *Limiter {
	l := &Limiter{exempt: []string{healthPrefix}, streams: newFixed(defaultStreams)}
	for _, option := range options {
		check(option != nil, "New(nil): an option is nil")
		option(l)
	}
	if l.calls == nil {
		l.calls = newAdaptive(defaultMin, defaultMax)
	}
	if l.errors == nil {
		l.errors = connect.NewErrorWriter()
	}
	return l
}

// Handler is the handler of a new [Limiter] around next. To share limits between services,
// use [Limiter.Handler], or put Handler around their mux.
func Handler(next http.Handler, options ...Option) http.Handler { return New(options...).Handler(next) }

// Adaptive limits the unary calls at once to what the server can serve: the limit falls
// when calls take longer than before, and rises when they do not, between least and most,
// and at most to five times as many calls as there were at once in the last second. The
// time of a call is that of its handler, from the head of the request on. This is the
// default, with 10 and 1000. The limit begins with 20, or what is next to that.
//
// least is also what a quiet server takes at once. When 50 calls in a row end after their
// deadlines, the limit is halved, and grows again while calls end in time. Deadlines of less
// than 10 milliseconds do not count: a client could halve the limit with them.
func Adaptive(least, most int) Option {
	check(least >= 1 && most >= least, "Adaptive(%d, %d): expected 1 <= least <= most", least, most)
	return func(l *Limiter) { l.calls = newAdaptive(least, most) }
}

// Fixed limits the unary calls at once to n, in the place of [Adaptive]. The last of both
// options counts.
func Fixed(n int) Option {
	check(n >= 1, "Fixed(%d): expected at least 1", n)
	return func(l *Limiter) { l.calls = newFixed(n) }
}

// Streams limits the streams at once: 10 000 by default.
func Streams(n int) Option {
	check(n >= 1, "Streams(%d): expected at least 1", n)
	return func(l *Limiter) { l.streams = newFixed(n) }
}

// Priority sets a function that returns the priority of a unary call, from its header,
// which it must not change or keep. It must be safe for concurrent use. Calls have the
// priority 0 without it. If the limit is reached:
//
//   - Calls of a higher priority may exceed it, all together by an eighth, and by at least one.
//   - Calls of priority -1 are refused for the next second while half of the limit is in
//     use, those of -2 while a quarter is, and so on.
//
// A header is the client's claim: let a proxy set the field, or take it from where your
// own clients write it.
func Priority(priority func(http.Header) int) Option {
	check(priority != nil, "Priority(nil): pass the function to call")
	return func(l *Limiter) { l.priority = priority }
}

// Exempt lets calls pass without limits whose path begins with one of the prefixes, such
// as "/acme.v1.AdminService/". Those of gRPC's health service always pass.
func Exempt(prefixes ...string) Option {
	for _, prefix := range prefixes {
		check(strings.HasPrefix(prefix, "/"), "Exempt(%q): expected the beginning of a path, such as \"/acme.v1.AdminService/\"", prefix)
	}
	return func(l *Limiter) { l.exempt = append(l.exempt, prefixes...) }
}

// Services names handlers that list their procedures, for handlers around them that do
// not: the values of generated constructors and of [connect.NewServiceHandler]. It panics
// for others.
func Services(services ...http.Handler) Option {
	for _, service := range services {
		check(connect.Procedures(service) != nil, "Services(%T): it lists no procedures: pass the value of a generated constructor", service)
	}
	return func(l *Limiter) {
		for _, service := range services {
			l.kinds.learn(service)
		}
	}
}

// Errors sets the writer of refusals: by default one without options.
func Errors(writer *connect.ErrorWriter) Option {
	check(writer != nil, "Errors(nil): pass the result of connect.NewErrorWriter")
	return func(l *Limiter) { l.errors, l.ownErrors = writer, true }
}

// Stats are the numbers of a moment.
type Stats struct {
	Limit          int    // of unary calls at once
	Running        int    // unary calls that count against it
	Streams        int    // streams that run
	RefusedCalls   uint64 // unary calls beyond the limit, since the Limiter was made
	RefusedStreams uint64
	RefusedByRate  uint64 // calls of all kinds
}

// Stats returns the numbers of this moment, which need not be those of one instant.
func (l *Limiter) Stats() Stats {
	return Stats{
		Limit: l.calls.size(), Running: l.calls.running(), Streams: l.streams.running(),
		RefusedCalls: l.refused[byLimit].Load(), RefusedStreams: l.refused[byStreams].Load(), RefusedByRate: l.refused[byRate].Load(),
	}
}

func check(ok bool, format string, args ...any) {
	if !ok {
		panic("overload: " + fmt.Sprintf(format, args...))
	}
}

// ---- decisions ----

const (
	pressure   = time.Second           // how long calls of low priority are refused after the limit was reached
	expiredMax = 50                    // calls that expire in a row before the limit is halved
	lateLeast  = 10 * time.Millisecond // a shorter deadline may be one that no server can meet
)

// admit lets a call in, or returns why not. The caller ends the permit.
func (l *Limiter) admit(c *Call, stream bool) (permit, *refusal) {
	for _, r := range l.rates {
		if wait := r.take(c); wait > 0 {
			l.refused[byRate].Add(1)
			return nil, &refusal{text: r.text, wait: wait}
		}
	}
	if stream {
		if p, ok := l.streams.acquire(); ok {
			return p, nil
		}
		l.refused[byStreams].Add(1)
		return nil, &refusal{text: errStreams, wait: jittered()}
	}
	priority := 0
	if l.priority != nil {
		priority = l.priority(c.Header())
	}
	if p, ok := l.acquire(priority); ok {
		return p, nil
	}
	l.refused[byLimit].Add(1)
	if l.calls.falling() {
		return nil, &refusal{text: errLimit, stop: true, wait: fallingFor}
	}
	return nil, &refusal{text: errLimit, wait: jittered()}
}

// acquire gets a permit for a unary call.
func (l *Limiter) acquire(priority int) (permit, bool) {
	if priority < 0 && l.full.within(pressure) {
		if l.calls.running() >= l.calls.size()>>-max(priority, -30) {
			return nil, false
		}
	}
	p, ok := l.calls.acquire()
	if ok {
		return p, true
	}
	l.full.note()
	if priority > 0 {
		return l.reserve.acquireOf(max(1, l.calls.size()/8))
	}
	return nil, false
}

// giveBack gives back what a call that was let in has taken from the rates, because it is
// decided upon again.
func (l *Limiter) giveBack(c *Call) {
	for _, r := range l.rates {
		r.giveBack(c)
	}
}

// ended ends the permit of a call that has returned. A call that was cancelled, or that
// has expired, was cut: its time is not what the server needs, and does not count. late
// is whether the server is to blame for the end of an expired one.
func (l *Limiter) ended(p permit, cut, late bool) {
	switch {
	case late:
		p.Drop()
		if l.expired.Add(1)%expiredMax == 0 {
			l.calls.brake()
		}
	case cut:
		p.Drop()
	default:
		p.Record()
		if l.expired.Load() != 0 {
			l.expired.Store(0)
		}
		l.calls.ease()
	}
}
