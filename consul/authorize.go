// SPDX-License-Identifier: Apache-2.0

// Decisions: about connections, for which the agent is asked, and about calls.

package consul

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	verdictLife    = time.Minute     // while the intentions are watched
	verdictBlind   = time.Second / 2 // while they are not, and after a change
	verdictSettled = 5 * time.Second // after a change: an agent answers some requests by the old state for a moment
	verdictMost    = 4096
	verdictWait    = 5 * time.Second
	verdictsAtOnce = 32 // questions to the agent
)

// A deniedError is why a peer may not connect or call.
type deniedError struct{ reason string }

func (e *deniedError) Error() string { return e.reason }

// An endedError is why a decision about a call has ended before the agent has answered: the
// call's context has.
type endedError struct{ cause error }

func (e *endedError) Error() string {
	return fmt.Sprintf("consul: asking the agent about a peer: %v", e.cause)
}
func (e *endedError) Unwrap() error { return e.cause }

func (s *Service) denied(peer *Peer, reason string) error {
	return &deniedError{fmt.Sprintf("consul: service %q may not call %q: %s: an intention may allow it", peer.Service, s.name, reason)}
}

// admit decides about a connection to a server that may check calls.
func (s *Service) admit(peer *Peer, checksCalls bool) error {
	if s.client == nil {
		return nil // for development
	}
	all := s.intentions.Load()
	var r *rule
	if all != nil {
		r = all.match(peer.Identity)
	}
	switch {
	case r == nil:
	case r.permissions == nil && !r.allow: // the agent's answers may be older
		return s.denied(peer, fmt.Sprintf("matched intention %q", r.text))
	case r.permissions != nil && checksCalls:
		return nil
	case r.permissions != nil:
		return s.denied(peer, fmt.Sprintf("the intention %q has permissions for calls, which this server does not check: serve with Service.Serve or Service.Handler", r.text))
	}
	v, err := s.verdict(s.ctx, peer)
	if err != nil {
		if r == nil {
			return err
		}
		v.authorized = true // by the last intention that is known
	}
	if !v.authorized {
		return s.denied(peer, v.reason)
	}
	return nil
}

// allow decides about a call. It returns when ctx ends.
func (s *Service) allow(ctx context.Context, peer *Peer, q request) error {
	if s.client == nil {
		return nil
	}
	all := s.intentions.Load()
	if all != nil {
		if r := all.match(peer.Identity); r != nil {
			allowed, known := r.decide(q)
			if !known {
				allowed = all.policy == policyAllow
			}
			if !allowed {
				return s.denied(peer, fmt.Sprintf("the intention %q does not allow %s %s", r.text, q.method, q.path))
			}
			return nil
		}
	}
	v, err := s.verdict(ctx, peer)
	if err != nil {
		return err
	}
	if !v.authorized {
		return s.denied(peer, v.reason)
	}
	return nil
}

// ---- the agent's verdicts ----

// A verdict is what the agent answers about a peer.
type verdict struct {
	authorized bool
	reason     string
}

// verdicts are the agent's answers, by the keys of peers.
type verdicts struct {
	mu    sync.Mutex
	known map[string]*asked
	slots chan struct{} // has an element for each question that the agent has
	epoch uint64        // of intentions: an answer of an earlier one is not used
	since time.Time
}

// An asked is a question to the agent, and its answer.
type asked struct {
	epoch   uint64
	began   time.Time
	last    *verdict      // the answer before, under the same intentions; nil: there is none
	done    chan struct{} // closed when the rest is set
	verdict verdict
	err     error
	at      time.Time
}

// key names a peer among those that the agent is asked about.
func (p *Peer) key() string { return p.URI() + " " + p.serial }

// forget makes all verdicts those of earlier intentions.
func (v *verdicts) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.epoch++
	v.since = time.Now()
}

// verdict asks the agent about a peer, or takes an answer that is not old. It waits for the
// answer until ctx ends, for verdictWait at most.
//
// While the agent does not answer, the last answer under the same intentions stays.
func (s *Service) verdict(ctx context.Context, peer *Peer) (verdict, error) {
	v, key := &s.verdicts, peer.key()
	life := verdictBlind
	if s.intentions.Load() != nil {
		life = verdictLife
	}
	v.mu.Lock()
	before := v.known[key]
	if v.known == nil || len(v.known) >= verdictMost {
		v.known = make(map[string]*asked)
	}
	if v.slots == nil {
		v.slots = make(chan struct{}, verdictsAtOnce)
	}
	if before != nil && before.epoch == v.epoch && !before.stale(life, v.since) {
		v.mu.Unlock()
		return s.answer(ctx, before)
	}
	a := &asked{done: make(chan struct{}), epoch: v.epoch, began: time.Now()}
	if before != nil && before.epoch == v.epoch {
		a.last = before.answered()
	}
	v.known[key] = a
	slots := v.slots
	v.mu.Unlock()
	go s.ask(peer, a, slots)
	return s.answer(ctx, a)
}

// answered returns the answer, or the last one before it, nil if there is none. It is a copy: a
// pointer into a question would keep those before it.
func (a *asked) answered() *verdict {
	select {
	case <-a.done:
		if a.err != nil {
			return nil
		}
		v := a.verdict
		return &v
	default:
		return a.last
	}
}

// stale reports whether an answer is too old, or has not come for so long that it may be lost.
func (a *asked) stale(life time.Duration, since time.Time) bool {
	select {
	case <-a.done:
		if a.at.Sub(since) < verdictSettled {
			life = verdictBlind
		}
		return a.err != nil || time.Since(a.at) >= life
	default:
		return time.Since(a.began) >= verdictWait
	}
}

func (a *asked) end(v verdict, err error) {
	a.verdict, a.err, a.at = v, err, time.Now()
	close(a.done)
}

// ask asks the agent, once it has few questions enough.
func (s *Service) ask(peer *Peer, a *asked, slots chan struct{}) {
	timer := time.NewTimer(verdictWait)
	defer timer.Stop()
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-timer.C:
		s.fail(a, fmt.Errorf("consul: asking the agent about %q: it has not answered %d questions about others for %v", peer.URI(), verdictsAtOnce, verdictWait))
		return
	case <-s.ctx.Done():
		a.end(verdict{}, errClosed(s.name))
		return
	}
	answer, err := s.client.Agent().ConnectAuthorize(&api.AgentAuthorizeParams{Target: s.name, ClientCertURI: peer.URI(), ClientCertSerial: peer.serial})
	switch {
	case err == nil && answer != nil && (answer.Authorized || answer.Reason != ""):
		a.end(verdict{answer.Authorized, answer.Reason}, nil)
		return
	case err == nil:
		err = errors.New("the answer is empty")
	}
	s.fail(a, explain(fmt.Sprintf("asking the agent about %q", peer.URI()), err))
}

// fail ends a question that has no answer: with the last one, if that may be used.
func (s *Service) fail(a *asked, err error) {
	if s.mayKeep(a) {
		a.end(*a.last, nil)
		return
	}
	a.end(verdict{}, err)
}

// mayKeep reports whether the last answer stands for the one that does not come.
func (s *Service) mayKeep(a *asked) bool { return a.last != nil && s.intentions.Load() != nil }

// answer waits for the agent's answer.
func (s *Service) answer(ctx context.Context, a *asked) (verdict, error) {
	select {
	case <-a.done:
		return a.verdict, a.err
	default:
	}
	timer := time.NewTimer(verdictWait)
	defer timer.Stop()
	select {
	case <-a.done:
		return a.verdict, a.err
	case <-timer.C:
		if s.mayKeep(a) {
			return *a.last, nil
		}
		return verdict{}, fmt.Errorf("consul: asking the agent about a peer: no answer within %v", verdictWait)
	case <-s.ctx.Done():
		return verdict{}, errClosed(s.name)
	case <-ctx.Done():
		return verdict{}, &endedError{ctx.Err()}
	}
}
