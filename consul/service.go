// SPDX-License-Identifier: Apache-2.0

// A member of the mesh: its settings, its life, its state.

package consul

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/seed-b7c59c10/connect/balance"
	"github.com/seed-b7c59c10/connect/retry"
)

// A Config has the settings of a [Service] beyond its name.
type Config struct {
	// Client is the client of the agent, with its address and token. It is needed.
	Client *api.Client
	// Logger gets what goes wrong in the background, and refused peers. nil means
	// [slog.Default].
	Logger *slog.Logger
	// ServerNextProtos are the protocols that servers offer with ALPN. Empty means "h2" and
	// "http/1.1".
	ServerNextProtos []string
	// Namespace and Partition are where the service is, in Consul Enterprise. "" means the
	// defaults. The Client must have them, too: the agent is asked about peers with its own.
	Namespace, Partition string
	// ChecksCalls promises that [Service.Authorize] or [Service.Handler] decides about each
	// call of each server of this service. Peers whose intention has permissions may connect
	// then. Handler sets it by itself, and Serve has no need of it.
	ChecksCalls bool
	// NetHTTP has clients use net/http, which speaks HTTP/1.1, too, instead of package h2.
	NetHTTP bool
	// Balance are options for the balancers of clients, such as a policy. The service sets
	// dialing and TLS; [balance.Transport] would take both away, and must not be among them.
	Balance []balance.Option
	// Retry is the policy of [Service.Options]. nil means that of retry.New().
	Retry *retry.Policy
	// Observe, if it is not nil, gets the state of the service after each change and each
	// failure, and when it is ready: for metrics, such as the time until the certificate
	// expires. Calls come one after another. It must not call Close. A panic in it is logged.
	Observe func(Status)
}

// A Service is a member of the mesh. All methods are safe for concurrent use. A program that is
// done with it calls Close.
type Service struct {
	name   string
	config Config
	client *api.Client // nil: a service for development
	log    *slog.Logger
	retry  *retry.Policy

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup
	ready   chan struct{} // closed when there are a certificate and roots, and intentions were asked for

	current atomic.Pointer[material] // nil: not ready
	mu      sync.Mutex               // guards the fields until the next gap
	leaf    *leaf
	roots   *roots
	failed  chan struct{} // closed when a query for the certificate or the roots has failed before ready
	asked   bool          // the first query for intentions has ended
	errs    [kinds]error
	changes int // of the certificate
	observe sync.Mutex

	intentions  atomic.Pointer[intentions] // nil: not known
	checksCalls atomic.Bool
	verdicts    verdicts
	lives       lives
	verified    verified
	clients     clients
	members     members
}

// The things that a service watches.
const (
	kindLeaf = iota
	kindRoots
	kindIntentions
	kinds
)

// NewService returns the service of a name, which the token of the client must have
// service:write for. It returns at once; the certificate comes in the background: see
// [Service.ReadyWait]. It is an error if the client is nil or the name is not one of Consul's.
func NewService(name string, client *api.Client) (*Service, error) {
	return NewServiceWithConfig(name, Config{Client: client})
}

// NewServiceWithConfig is [NewService] with settings.
func NewServiceWithConfig(name string, config Config) (*Service, error) {
	if config.Client == nil {
		return nil, fmt.Errorf("consul: making service %q: the client is nil: expected the result of api.NewClient", name)
	}
	s, err := newService(name, config)
	if err != nil {
		return nil, err
	}
	s.client = config.Client
	s.begin()
	return s, nil
}

func newService(name string, config Config) (*Service, error) {
	if name == "" || strings.ContainsAny(name, "/?#% \t\r\n") {
		return nil, fmt.Errorf("consul: making service %q: expected the name of a service, such as \"web\"", name)
	}
	s := &Service{name: name, config: config, log: config.Logger, retry: config.Retry, ready: make(chan struct{}), failed: make(chan struct{})}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.retry == nil {
		s.retry = retry.New()
	}
	s.members.turn, s.members.health = make(chan struct{}, 1), make(map[string]*healthServer)
	s.members.unsure = make(map[string]bool)
	s.checksCalls.Store(config.ChecksCalls)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// begin starts the watches.
func (s *Service) begin() {
	for kind, w := range []watch{
		kindLeaf:       {query: s.queryLeaf, wait: s.untilHalf},
		kindRoots:      {query: s.queryRoots},
		kindIntentions: {query: s.queryIntentions},
	} {
		w.report = func(err error) { s.report(kind, err) }
		s.running.Go(func() { w.run(s.ctx) })
	}
}

// Name returns the name of the service.
func (s *Service) Name() string { return s.name }

// Ready reports whether the service has a certificate that is valid now, and the roots.
func (s *Service) Ready() bool {
	m := s.current.Load()
	return isClosed(s.ready) && m != nil && time.Now().Before(m.cert.NotAfter)
}

// ReadyWait returns a channel that is closed when the service has a certificate and the roots
// for the first time. It stays open if that never comes: Status has the reason.
func (s *Service) ReadyWait() <-chan struct{} { return s.ready }

// WaitReady waits until the service has a certificate and the roots for the first time. It
// returns an error with the reason if ctx ends before, or the service is closed.
func (s *Service) WaitReady(ctx context.Context) error {
	select {
	case <-s.ready:
	case <-s.ctx.Done():
	case <-ctx.Done():
	}
	switch {
	case s.ctx.Err() != nil:
		return errClosed(s.name)
	case isClosed(s.ready):
		return nil
	}
	return fmt.Errorf("%w: %w", s.notReady(), context.Cause(ctx))
}

// Close ends the service: it deregisters what Register has registered, also where the agent's
// answer did not come, ends the servers of Serve and the connections of HTTPClient, and stops
// asking the agent. Handshakes fail from then on. Other connections that are open stay so: the
// program ends its servers before. Close returns when the goroutines of the service have ended;
// deregistering waits for the agent for at most five seconds. The error is that of
// deregistering. A second call does nothing.
//
// The agent's authorize is asked without a context, as the client has none for it: an agent
// that does not answer keeps at most 32 goroutines until its connections end.
func (s *Service) Close() error {
	err := s.members.close(s)
	s.cancel()
	s.clients.close()
	s.running.Wait()
	return err
}

func errClosed(name string) error {
	return fmt.Errorf("consul: service %q is closed", name)
}

// notReady returns the error of what needs a certificate.
func (s *Service) notReady() error {
	if s.ctx.Err() != nil {
		return errClosed(s.name)
	}
	s.mu.Lock()
	cause := errors.Join(s.errs[kindLeaf], s.errs[kindRoots])
	s.mu.Unlock()
	if cause == nil {
		return fmt.Errorf("consul: service %q has no certificate yet: the agent has not answered: wait for ReadyWait", s.name)
	}
	return fmt.Errorf("consul: service %q has no certificate yet: %w", s.name, cause)
}

// ---- state ----

// A Status is the state of a [Service].
type Status struct {
	Name  string
	Ready bool
	// Identity is that of the certificate, and the zero value before the first.
	Identity Identity
	// NotBefore and Expires bound the certificate's validity, and are zero before the first.
	// Agents replace it long before it expires.
	NotBefore, Expires time.Time
	// Changes counts the certificates that the service has had.
	Changes int
	// Roots is the number of roots; after a rotation there are old ones for a time.
	Roots int
	// LeafError, RootsError and IntentionsError are the errors of the last queries for the certificate,
	// the roots and the intentions, nil for those that have succeeded. What came before stays
	// in use.
	LeafError, RootsError, IntentionsError error
}

// Status returns the state of the service.
func (s *Service) Status() Status {
	st := Status{Name: s.name, Ready: s.Ready()}
	m := s.current.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Changes = s.changes
	st.LeafError, st.RootsError, st.IntentionsError = s.errs[kindLeaf], s.errs[kindRoots], s.errs[kindIntentions]
	if m != nil {
		st.Identity, st.NotBefore, st.Expires, st.Roots = m.id, m.cert.NotBefore, m.cert.NotAfter, m.roots
	}
	return st
}

// report notes the outcome of a query.
func (s *Service) report(kind int, err error) {
	s.mu.Lock()
	before := s.errs[kind]
	s.errs[kind] = err
	switch {
	case kind == kindIntentions:
		s.asked = true
	case err != nil && before == nil && s.current.Load() == nil:
		if !isClosed(s.failed) {
			close(s.failed)
		}
	}
	wasReady := isClosed(s.ready)
	s.settleLocked()
	isReady := isClosed(s.ready)
	s.mu.Unlock()
	if err != nil && (before == nil || before.Error() != err.Error()) {
		s.log.Warn("consul: a query of the agent has failed; what it answered before stays in use", "service", s.name, "error", err)
	}
	if err != nil || before != nil || isReady && !wasReady {
		s.changed()
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// changed calls the program's function, in a goroutine of its own: one that panics, or ends its
// goroutine, ends no watch.
func (s *Service) changed() {
	f := s.config.Observe
	if f == nil {
		return
	}
	s.observe.Lock()
	defer s.observe.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				s.log.Error("consul: the function Observe has panicked", "service", s.name, "panic", p, "stack", string(debug.Stack()))
			}
		}()
		f(s.Status())
	}()
	<-done
}
