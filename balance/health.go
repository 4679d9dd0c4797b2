// SPDX-License-Identifier: Apache-2.0

// Ejection: endpoints whose calls fail get no calls for a time.

package balance

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// An Ejection is the rule by which endpoints are put out of use whose calls fail because
// of the server, or of the way to it. It follows [gRFC A50], with a count of failures in
// a row, which A50 does not have, and with other limits: those of A50 never apply to a
// set of three endpoints.
//
// An endpoint is ejected for Base times the number of its ejections, at most Max. Then
// one call goes there, for trial. If it succeeds, the endpoint is back; if not, it is
// ejected again. A stream succeeds with its first message. One ejection is forgotten for
// each Interval that the endpoint has been in use since. If no connection could be opened
// meanwhile, the first that opens ends the time of an ejection: there may be another server.
//
// The loss of a connection is one failure, however many calls it ends, and so is the end
// of a server that shuts down, however many streams it ends with CodeUnavailable after a
// message.
//
// The zero value of a field stands for its default. A negative Consecutive or
// FailurePercent switches that test off.
//
// [gRFC A50]: https://github.com/grpc/proposal/blob/master/A50-xds-outlier-detection.md
type Ejection struct {
	// Consecutive failures in a row eject an endpoint: 5 by default.
	Consecutive int

	// FailurePercent is the part of an endpoint's calls within Interval, in percent,
	// whose failure ejects it, if there were at least MinRequests: 85 by default.
	FailurePercent int

	// MinRequests is the number of calls within Interval from which FailurePercent
	// applies: 50 by default.
	MinRequests int

	// Interval is the time in which calls are counted for FailurePercent: 10 s by default.
	Interval time.Duration

	// Base is how long the first ejection lasts: 30 s by default.
	Base time.Duration

	// Max bounds an ejection: 5 min by default, or Base if that is longer.
	Max time.Duration

	// MaxPercent bounds the part of the endpoints that are ejected at a time, in
	// percent: 50 by default. One may be ejected in any case. Drained endpoints (those
	// with the weight zero) do not count.
	MaxPercent int

	// MinHosts is the number of endpoints from which any is ejected: 2 by default.
	// Drained endpoints do not count.
	MinHosts int
}

// resolve returns the rule with its defaults.
func (r Ejection) resolve() (Ejection, error) {
	given := r
	number := func(field *int, otherwise int) {
		if *field == 0 {
			*field = otherwise
		}
	}
	number(&r.Consecutive, 5)
	number(&r.FailurePercent, 85)
	number(&r.MinRequests, 50)
	number(&r.MaxPercent, 50)
	number(&r.MinHosts, 2)
	span := func(field *time.Duration, otherwise time.Duration) {
		if *field == 0 {
			*field = otherwise
		}
	}
	span(&r.Interval, 10*time.Second)
	span(&r.Base, 30*time.Second)
	span(&r.Max, max(5*time.Minute, r.Base))
	switch {
	case r.FailurePercent > 100 || r.MaxPercent > 100 || r.MaxPercent < 0:
		return r, fmt.Errorf("ejection %+v: expected percentages of at most 100, and no negative MaxPercent", given)
	case r.MinRequests < 0 || r.MinHosts < 0:
		return r, fmt.Errorf("ejection %+v: expected no negative MinRequests or MinHosts", given)
	case r.Interval < 0 || r.Base < 0 || r.Max < r.Base:
		return r, fmt.Errorf("ejection %+v: expected a positive Interval, and 0 < Base <= Max", given)
	}
	return r, nil
}

// An ejector owns the rule for a set of endpoints, and counts those that are ejected. Its
// methods are safe for concurrent use.
type ejector struct {
	rule Ejection // with its defaults

	mu      sync.Mutex
	hosts   int // endpoints in the set that are not drained
	ejected int
}

func newEjector(rule Ejection) (*ejector, error) {
	rule, err := rule.resolve()
	if err != nil {
		return nil, err
	}
	return &ejector{rule: rule}, nil
}

// setHosts sets the number of endpoints in the set that are not drained. Endpoints remain
// ejected if the set has become so small that they would not be ejected now.
func (j *ejector) setHosts(n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.hosts = n
}

// take reports whether one endpoint more may be ejected, and counts it.
func (j *ejector) take() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.hosts < j.rule.MinHosts || j.ejected >= max(j.hosts*j.rule.MaxPercent/100, 1) {
		return false
	}
	j.ejected++
	return true
}

// give counts an endpoint that is no longer ejected.
func (j *ejector) give() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ejected--
}

// A health is what one endpoint's calls have come to. Without an ejector it counts
// nothing, and the endpoint is never ejected. Its methods are safe for concurrent use.
//
//	in use ── too many failures, and take() ──→ ejected until a time
//	ejected ── the time has come, try() ──→ on trial: one call
//	on trial ── report(failed) ──→ ejected again, for longer
//	on trial ── report(succeeded) ──→ in use
//	on trial ── abandon(), or no report within trialPatience ──→ ejected, try() again
type health struct {
	calls atomic.Int64 // with an outcome, since began
	quiet atomic.Int64 // the moment until which successes count in calls and change nothing else

	ejector *ejector // set before the endpoint is in use; nil: no ejection

	mu       sync.Mutex
	left     bool // the endpoint is drained, or no longer in the set
	row      int  // failures since the last success
	began    moment
	failures int // since began

	out      bool
	reason   string // of the last ejection
	until    moment // of the last ejection
	times    int    // ejections that are not forgotten
	returned moment // when the last ejection ended; zero: there was none
	trial    moment // when the call for trial began; zero: there is none
}

// trialPatience is the time after which another call is tried if one has no outcome yet:
// it may be a stream, or a caller may have forgotten it.
const trialPatience = 5 * time.Second

// report counts a call with an outcome, and reports whether the endpoint is ejected or
// returned by it.
func (h *health) report(now moment, failed bool) (changed bool) {
	if !failed && int64(now) < h.quiet.Load() {
		h.calls.Add(1)
		return false
	}
	if h.ejector == nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.left {
		return false
	}
	if h.out {
		changed = h.reportOut(now, failed)
	} else {
		changed = h.reportIn(now, failed)
	}
	h.setQuiet()
	return changed
}

// setQuiet sets quiet: a success changes nothing but calls unless there was a failure
// before, the endpoint is not in use, or Interval is over.
func (h *health) setQuiet() {
	until := moment(0)
	if !h.left && !h.out && h.row == 0 {
		until = h.began.Add(h.ejector.rule.Interval)
	}
	h.quiet.Store(int64(until))
}

// reportIn counts a call of an endpoint that is in use.
func (h *health) reportIn(now moment, failed bool) (changed bool) {
	rule := &h.ejector.rule
	if passed := now.Sub(h.began); passed >= rule.Interval || h.began == 0 {
		h.began, h.failures = now, 0
		h.calls.Store(0)
	}
	calls := int(h.calls.Add(1))
	if !failed {
		h.row = 0
		return false
	}
	h.row++
	h.failures++
	var reason string
	switch {
	case rule.Consecutive > 0 && h.row >= rule.Consecutive:
		reason = fmt.Sprintf("%d calls in a row have failed", h.row)
	case rule.FailurePercent > 0 && calls >= rule.MinRequests && h.failures*100 >= rule.FailurePercent*calls:
		reason = fmt.Sprintf("%d of %d calls have failed", h.failures, calls)
	default:
		return false
	}
	if !h.ejector.take() {
		return false
	}
	if h.returned != 0 {
		h.times = max(h.times-int(now.Sub(h.returned)/rule.Interval), 0)
	}
	h.eject(now, reason)
	return true
}

// reportOut counts a call of an endpoint that is ejected.
func (h *health) reportOut(now moment, failed bool) (changed bool) {
	switch {
	case now < h.until: // a call that began before the ejection, or in a panic
		return false
	case failed:
		h.eject(now, "the call for trial has failed")
		return true
	}
	h.ejector.give()
	h.out, h.trial, h.returned = false, 0, now
	h.row, h.failures, h.began = 0, 0, now
	h.calls.Store(0)
	return true
}

func (h *health) eject(now moment, reason string) {
	rule := &h.ejector.rule
	h.times++
	h.out, h.reason, h.trial = true, reason, 0
	lasts := rule.Max
	if int64(h.times) <= int64(rule.Max/rule.Base) {
		lasts = rule.Base * time.Duration(h.times)
	}
	h.until = now.Add(lasts)
}

// ejected reports whether the endpoint is ejected, why, and the time from which a call
// is tried.
func (h *health) ejected(_ moment) (out bool, reason string, until moment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.out {
		return false, "", 0
	}
	return true, h.reason, h.until
}

// try reports whether the caller's call is the one for trial. The caller ends it with
// report or abandon.
func (h *health) try(now moment) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.out || now < h.until || h.trial != 0 && now.Sub(h.trial) < trialPatience {
		return false
	}
	h.trial = now
	return true
}

// tryNow ends the time of an ejection: the next call is the one for trial.
func (h *health) tryNow(now moment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.out && now < h.until {
		h.until = now
	}
}

// abandon ends a call for trial that has no outcome that counts: it was cancelled, or it
// is a stream. The next call is tried instead.
func (h *health) abandon() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trial = 0
}

// leave ends the endpoint's part in the set: its calls and its ejection do not count from
// then on.
func (h *health) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.out && !h.left {
		h.ejector.give()
	}
	h.left, h.out = true, false
	h.quiet.Store(0)
}

// join undoes leave: the endpoint is no longer drained. It is in use.
func (h *health) join() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.left {
		h.left = false
		h.row, h.failures, h.began, h.trial = 0, 0, 0, 0
	}
}

// trialOf returns one of the ejected endpoints that shall be tried with the caller's
// call, or nil.
func trialOf(ejected []*endpoint, call *pickInfo) *endpoint {
	for _, e := range ejected {
		if (call.tried == nil || !call.tried(e)) && e.health.try(call.now) {
			return e
		}
	}
	return nil
}
