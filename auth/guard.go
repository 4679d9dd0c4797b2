// SPDX-License-Identifier: Apache-2.0

// The guard: which authenticators a call meets, and in which order.

package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-b7c59c10/connect"
)

// An Option is an authenticator or a setting of a guard.
type Option interface{ apply(*Guard) }

type option func(*Guard)

func (o option) apply(g *Guard) { o(g) }

// A Guard authenticates and authorises the calls of a server. It is a
// [connect.HandlerOption]: pass it to the constructors of handlers, and each call meets it
// as a gate, after its head was read and before any of its messages is: neither the
// decompression nor the decoding of a message costs anything for a caller without
// credentials. [Guard.Handler] puts it around a whole mux. A guard is safe for concurrent
// use, and many handlers may share one.
type Guard struct {
	connect.HandlerOption

	authenticators []*Authenticator
	table          map[string]Access
	methodOption   bool
	fallback       *Access
	rules          []RuleFunc
	endStreams     bool
	observe        func(context.Context, Decision)
}

// A RuleFunc permits a call, with nil, or refuses it. An error that is a [*connect.Error]
// reaches the client as it is; the text of any other is withheld, and its code is
// [connect.CodePermissionDenied]: see [Func]. The identity is the zero value for callers
// without one, whom only a procedure has that is public or optional.
type RuleFunc func(ctx context.Context, identity Identity, request Request) error

// Require returns a guard. Its authenticators are asked in their order. One whose
// credentials are absent passes the call on to the next; one whose credentials are there and
// wrong refuses it, and no other is asked. A call that has no credentials at all is refused,
// unless the [Access] of its procedure is public or optional.
//
// A refused call has CodeUnauthenticated, and the challenges of the authenticators as
// WWW-Authenticate in the metadata of its error: in the headers of Connect with status 401,
// and for gRPC in the trailers of a response that has no headers of its own.
// [RFC 9110, section 11.6.1; RFC 6750, section 3]
//
// Without [Table], [MethodOption] and [Rule] each authenticated caller may call each
// procedure. Require panics without an authenticator, and with a table that is wrong.
func Require(options ...Option) *Guard {
	g := &Guard{}
	for _, o := range options {
		check(o != nil, "Require: an option is nil")
		o.apply(g)
	}
	check(len(g.authenticators) > 0, "Require: no authenticator: pass at least one, such as Bearer, MTLS or Inherited")
	g.HandlerOption = connect.WithConditionalHandlerOptions(g.options)
	return g
}

// Rule adds a function that runs after the identity and the [Access] of a call have been
// checked, and before its messages are read. It is for decisions that a table cannot make.
// Rules run in their order, up to the first error. Rule panics if rule is nil.
func Rule(rule RuleFunc) Option {
	check(rule != nil, "Rule: the function is nil")
	return option(func(g *Guard) { g.rules = append(g.rules, rule) })
}

// EndStreamsAtExpiry makes a guard end a stream when the credentials of its caller expire:
// [Identity.Expires]. The client receives CodeUnauthenticated. The context of the handler is
// cancelled, with that error as its [context.Cause]; a Receive that waits returns it, and the
// handler has two seconds until a Send that waits fails, too.
//
// By default a stream goes on: credentials are checked when a call begins, as they are for
// a unary call that takes long. The handlers of [connect.Handler.ServeConn] have only their
// context cancelled. [Guard.Handler] alone does not end streams: pass the guard, or one with
// [Inherited], to the handlers, too.
func EndStreamsAtExpiry() Option { return option(func(g *Guard) { g.endStreams = true }) }

// A Decision is what a guard has decided on a call, for [Observe].
type Decision struct {
	Procedure string
	// Identity is the caller; its Subject is empty without one.
	Identity Identity
	// Err is why the call was refused, nil if it was not. Its text is that for the client;
	// errors.Is and errors.As find what was withheld.
	Err error
}

// Observe makes a guard call f with each decision, for audits and metrics, before the call
// goes on. It is called by many goroutines at once. The last of several functions counts.
func Observe(f func(ctx context.Context, decision Decision)) Option {
	return option(func(g *Guard) { g.observe = f })
}

// Inherited returns an authenticator that takes the identity which the context of the call
// has already: of a guard around the mux, or of [NewContext]. With it a guard of handlers
// authorises what [Guard.Handler] has authenticated.
func Inherited() *Authenticator {
	return Func("inherited", func(ctx context.Context, _ Request) (Identity, error) {
		identity, ok := FromContext(ctx)
		if !ok {
			return Identity{}, ErrNoCredentials
		}
		return identity, nil
	})
}

// options returns the options of one procedure. It is called at construction.
func (g *Guard) options(spec connect.Spec) []connect.HandlerOption {
	access := g.accessOf(spec)
	options := []connect.HandlerOption{connect.WithRequestGate(
		func(ctx context.Context, spec connect.Spec, peer connect.Peer, header http.Header) (context.Context, error) {
			return g.admit(ctx, Request{spec, peer, header}, access)
		})}
	if g.endStreams && spec.StreamType != connect.StreamTypeUnary && !access.Public {
		options = append(options, connect.WithInterceptors(ender{}))
	}
	return options
}

// admit authenticates and authorises a call. It returns its context.
func (g *Guard) admit(ctx context.Context, request Request, access Access) (context.Context, error) {
	identity, ok, err := g.decide(ctx, request, access)
	if g.observe != nil {
		g.observe(ctx, Decision{request.Spec.Procedure, identity, err})
	}
	if err != nil {
		return nil, err
	}
	return context.WithValue(ctx, identityKey{}, &proven{identity, ok}), nil
}

func (g *Guard) decide(ctx context.Context, request Request, access Access) (identity Identity, ok bool, err error) {
	if access.Deny {
		return identity, false, denied("%s is not open to any caller", request.Spec.Procedure)
	}
	if !access.Public {
		identity, ok, err = g.authenticate(ctx, request)
		if err != nil {
			return identity, ok, err
		}
		if !ok && !access.Optional {
			return identity, ok, g.unauthenticated(nil, refuse(connect.CodeUnauthenticated, ErrNoCredentials, g.expectation(request)))
		}
	}
	if ok {
		if err := g.permit(identity, request, access); err != nil {
			return identity, ok, err
		}
	}
	for _, rule := range g.rules {
		if err := rule(ctx, identity, request); err != nil {
			return identity, ok, fromVerify(ctx, err, connect.CodePermissionDenied, fmt.Sprintf("the caller may not call %s", request.Spec.Procedure))
		}
	}
	return identity, ok, nil
}

// authenticate asks the authenticators. It returns false if there are no credentials.
func (g *Guard) authenticate(ctx context.Context, request Request) (Identity, bool, error) {
	for _, a := range g.authenticators {
		identity, err := a.Authenticate(ctx, request)
		switch {
		case err == nil:
		case errors.Is(err, ErrNoCredentials):
			continue
		default:
			return Identity{}, false, g.unauthenticated(a, fromVerify(ctx, err, connect.CodeUnauthenticated, fmt.Sprintf("the %s credentials are not valid", a.scheme)))
		}
		switch now := time.Now(); {
		case identity.Subject == "":
			return Identity{}, false, refuse(connect.CodeInternal, nil, fmt.Sprintf("the authenticator of %s credentials returned an identity without a Subject", a.scheme))
		case identity.expired(now):
			return identity, false, g.unauthenticated(a, expiredError(identity))
		}
		return identity, true, nil
	}
	return Identity{}, false, nil
}

// expiredError is the error for an identity that has expired.
func expiredError(identity Identity) *connect.Error {
	return refuse(connect.CodeUnauthenticated, nil, fmt.Sprintf("the %s credentials expired at %s", identity.Scheme, identity.Expires.UTC().Format(time.RFC3339)))
}

// unauthenticated adds the challenges to an error. The authenticator a has found the
// credentials wrong; nil if there were none.
func (g *Guard) unauthenticated(a *Authenticator, err *connect.Error) *connect.Error {
	const field = "Www-Authenticate"
	if err.Code() != connect.CodeUnauthenticated || err.Meta().Get(field) != "" {
		return err
	}
	for _, each := range g.authenticators {
		var params []string
		if each == a && strings.EqualFold(a.challenge, "bearer") {
			params = append(params, `error="invalid_token"`)
		}
		if value := each.header(params...); value != "" && !slices.Contains(err.Meta()[field], value) {
			err.Meta().Add(field, value)
		}
	}
	return err
}

// expectation returns the text for a call without credentials.
func (g *Guard) expectation(request Request) string {
	var schemes []string
	for _, a := range g.authenticators {
		if !slices.Contains(schemes, a.scheme) {
			schemes = append(schemes, a.scheme)
		}
	}
	text := "no credentials: expected " + strings.Join(schemes, " or ")
	if values := request.Header["Authorization"]; len(values) == 1 {
		if name, _, _ := strings.Cut(values[0], " "); isToken(name) && len(name) <= 32 {
			text = fmt.Sprintf("no credentials that are accepted: expected %s, got the scheme %q", strings.Join(schemes, " or "), name)
		}
	}
	return text
}
