// SPDX-License-Identifier: Apache-2.0

// Questions to the agent about peers, in a bubble, where its answers take as long as they should.

package consul

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/seed-b7c59c10/connect"
)

// An answerer answers the requests of a client to the agent.
type answerer func(r *http.Request) (string, error)

func (f answerer) RoundTrip(r *http.Request) (*http.Response, error) {
	text, err := f(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"X-Consul-Index": {"7"}}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
}

const (
	yes = `{"Authorized":true,"Reason":"yes"}`
	no  = `{"Authorized":false,"Reason":"no"}`
)

// bubbleService returns the service "ping", which watches nothing. Its intentions are known,
// and match no peer.
func bubbleService(t *testing.T, answer answerer) *Service {
	t.Helper()
	client, err := api.NewClient(&api.Config{Address: "agent", HttpClient: &http.Client{Transport: answer}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := newService("ping", Config{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	s.client = client
	s.intentions.Store(new(intentions))
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func peerNamed(service string) *Peer {
	return &Peer{Identity: Identity{TrustDomain: "x.consul", Partition: "default", Namespace: "default", Datacenter: "dc1", Service: service}, serial: "01"}
}

// TestVerdictsOfMany has more peers at once than questions may wait for the agent: all get its
// answer.
func TestVerdictsOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		asking, most := 0, 0
		s := bubbleService(t, func(*http.Request) (string, error) {
			mu.Lock()
			asking++
			most = max(most, asking)
			mu.Unlock()
			time.Sleep(10 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			asking--
			return yes, nil
		})
		var peers sync.WaitGroup
		for i := range 4 * verdictsAtOnce {
			peers.Go(func() {
				if v, err := s.verdict(t.Context(), peerNamed("web"+strings.Repeat("x", i))); err != nil || !v.authorized {
					t.Errorf("peer %d: got %v, %v, want the agent's yes", i, v, err)
				}
			})
		}
		peers.Wait()
		if most != verdictsAtOnce {
			t.Errorf("got %d questions at once, want %d", most, verdictsAtOnce)
		}
	})
}

// TestVerdictOfAgentThatHangs has an agent that answers once and then never: a peer without an
// answer is refused when the wait or its context is over, and one with an answer keeps it.
func TestVerdictOfAgentThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := make(chan struct{})
		s := bubbleService(t, func(*http.Request) (string, error) {
			select {
			case <-hangs:
			default:
				return yes, nil
			}
			<-t.Context().Done()
			return "", errors.New("the test ends")
		})
		known, other := peerNamed("known"), peerNamed("other")
		if v, err := s.verdict(t.Context(), known); err != nil || !v.authorized {
			t.Fatalf("got %v, %v, want the agent's yes", v, err)
		}
		close(hangs)
		time.Sleep(2 * verdictLife)
		for range 2 {
			began := time.Now()
			if v, err := s.verdict(t.Context(), known); err != nil || !v.authorized || time.Since(began) > verdictWait {
				t.Errorf("got %v, %v after %v about a peer with an answer, want that one", v, err, time.Since(began))
			}
			if _, err := s.verdict(t.Context(), other); err == nil || !strings.Contains(err.Error(), "no answer within") {
				t.Errorf("got %v about a peer without an answer, want an error", err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		err := s.allow(ctx, other, request{"POST", "/a.S/M", nil, ""})
		if time.Since(began) != time.Second || !errors.Is(err, context.DeadlineExceeded) || connect.CodeOf(callError(err)) != connect.CodeDeadlineExceeded {
			t.Errorf("got %v after %v, want the end of the call's deadline", err, time.Since(began))
		}
	})
}

// TestReviewOfLateAgent has an agent that answers by the old intentions for a moment after a
// change: a call that goes on is cut once the agent has the new ones.
func TestReviewOfLateAgent(t *testing.T) {
	for name, late := range map[string]time.Duration{"at once": 0, "a moment": time.Second / 4, "later": verdictSettled - time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				s := bubbleService(t, func(r *http.Request) (string, error) {
					switch {
					case strings.HasSuffix(r.URL.Path, "/match"):
						return `{"ping":[]}`, nil
					case time.Since(began) < late:
						return yes, nil
					}
					return no, nil
				})
				ctx, cancel := context.WithCancelCause(t.Context())
				l := &live{peer: peerNamed("web"), cancel: cancel}
				s.lives.calls = map[*live]struct{}{l: {}}
				if _, err := s.queryIntentions(new(api.QueryOptions)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * verdictSettled)
				if err := l.reason(); connect.CodeOf(err) != connect.CodePermissionDenied || ctx.Err() == nil {
					t.Errorf("got %v, want the call cut", err)
				}
			})
		})
	}
}

// TestVerdictAfterLostQuestion has a question whose answer never comes: after the wait for it
// the agent is asked again.
func TestVerdictAfterLostQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var questions atomic.Int64
		s := bubbleService(t, func(*http.Request) (string, error) {
			if questions.Add(1) == 1 {
				<-t.Context().Done()
				return "", errors.New("the test ends")
			}
			return yes, nil
		})
		peer := peerNamed("web")
		if _, err := s.verdict(t.Context(), peer); err == nil {
			t.Error("got no error without an answer, want one")
		}
		if v, err := s.verdict(t.Context(), peer); err != nil || !v.authorized {
			t.Errorf("got %v, %v, want the answer to another question", v, err)
		}
	})
}
