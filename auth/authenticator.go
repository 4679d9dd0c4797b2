// SPDX-License-Identifier: Apache-2.0

// Authenticators: what they are given, and how they refuse.

package auth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/seed-b7c59c10/connect"
)

// credentialMax is how many bytes a credential may have. Most servers and proxies take no
// longer header.
const credentialMax = 16 << 10

// A Request is the head of a call, as an authenticator sees it: no message has been read.
// Programs make one in tests.
type Request struct {
	// Spec describes the procedure. In [Guard.Handler] only its Procedure is set, to the
	// path of the request.
	Spec connect.Spec
	// Peer is the other side of the connection.
	Peer connect.Peer
	// Header has the request's headers. An authenticator must not change it.
	Header http.Header
}

// ErrNoCredentials is what an authenticator returns for a call that has no credentials of
// its kind: the guard asks the next one.
var ErrNoCredentials = errors.New("auth: the call has no credentials of this kind")

// An Authenticator verifies one kind of credentials. It is an [Option] of [Require], and
// safe for concurrent use.
type Authenticator struct {
	scheme    string
	challenge string // of WWW-Authenticate, without parameters; "" if there is none
	realm     string

	connection bool // the credentials are a certificate of the connection
	lasting    bool // the identity does not expire with it

	verify func(ctx context.Context, request Request) (Identity, error)
}

func (a *Authenticator) apply(g *Guard) { g.authenticators = append(g.authenticators, a) }

// Authenticate verifies the credentials of one call: what a guard does, for tests. The
// error is verify's own.
func (a *Authenticator) Authenticate(ctx context.Context, request Request) (Identity, error) {
	identity, err := a.verify(ctx, request)
	if err != nil {
		return Identity{}, err
	}
	if identity.Scheme == "" {
		identity.Scheme = a.scheme
	}
	if a.lasting {
		identity.Expires = time.Time{}
	}
	return identity, nil
}

// Func returns an authenticator of the program's own kind: for cookies, signed requests,
// headers of a proxy. The scheme is the Scheme of its identities; if it is also that of an
// HTTP challenge, such as "DPoP", set it with [Authenticator.Challenge].
//
// The function verify returns [ErrNoCredentials] if there are no credentials of its kind.
// Any other error refuses the call:
//   - an error that is a [*connect.Error] reaches the client as it is, with its code. So
//     that a database that is down does not look like a wrong password, return one with
//     [connect.CodeUnavailable];
//   - the end of ctx has its own code;
//   - the text of any other error is withheld from the client, which receives
//     [connect.CodeUnauthenticated]. Functions of [connect.WithErrorHook] find it with
//     errors.Is and errors.As. The same holds for errors that another server has sent (see
//     [connect.IsWireError]); their code is CodeUnavailable if that server was.
//
// An identity without a Subject is a fault of verify, and refuses the call with
// CodeInternal. Func panics if scheme is empty or verify is nil.
func Func(scheme string, verify func(ctx context.Context, request Request) (Identity, error)) *Authenticator {
	check(scheme != "", "Func: the scheme is empty: give the kind of credentials a name")
	check(verify != nil, "Func: verify is nil: pass the function that verifies the credentials")
	return &Authenticator{scheme: scheme, verify: verify}
}

// Challenge returns the authenticator with another scheme and realm in its WWW-Authenticate. An empty scheme means no challenge, an empty realm none. Bearer and Basic have
// a challenge without a realm. It panics if the scheme is not a token, or if the realm has
// characters that HTTP has no way to send. [RFC 9110, section 11.6.1]
func (a *Authenticator) Challenge(scheme, realm string) *Authenticator {
	check(scheme == "" || isToken(scheme), "Challenge: the scheme %q is not a token of HTTP", scheme)
	check(isQuotable(realm), "Challenge: the realm %q has control characters, or ones that are not ASCII", realm)
	c := *a
	c.challenge, c.realm = scheme, realm
	return &c
}

// header returns the value of WWW-Authenticate, "" if there is none.
func (a *Authenticator) header(params ...string) string {
	if a.challenge == "" {
		return ""
	}
	if a.realm != "" {
		params = append([]string{"realm=" + quote(a.realm)}, params...)
	}
	if len(params) == 0 {
		return a.challenge
	}
	return a.challenge + " " + strings.Join(params, ", ")
}

// A refusal is the error for a client, and the reason, which stays here.
type refusal struct {
	text  string
	cause error
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.cause }

// refuse returns an error with a text for the client. The cause may be nil.
func refuse(code connect.Code, cause error, text string) *connect.Error {
	return connect.NewError(code, &refusal{text, cause})
}

// malformed returns the error for credentials that cannot be read.
func malformed(text string) error {
	return connect.NewError(connect.CodeUnauthenticated, errors.New(text))
}

// fromVerify returns the error for a client, for that of a function of the program. The
// text is for errors whose own text is withheld.
func fromVerify(ctx context.Context, err error, code connect.Code, text string) *connect.Error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		code = connect.CodeCanceled
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			code = connect.CodeDeadlineExceeded
		}
		return refuse(code, err, "the call ended while its credentials were verified")
	}
	var e *connect.Error
	if !errors.As(err, &e) {
		return refuse(code, err, text)
	}
	if connect.IsWireError(err) {
		switch e.Code() {
		case connect.CodeUnavailable, connect.CodeDeadlineExceeded, connect.CodeResourceExhausted, connect.CodeCanceled:
			return refuse(connect.CodeUnavailable, err, "credentials cannot be verified now")
		}
		return refuse(code, err, text)
	}
	// A new one: the program may return one error for many calls, and headers are added.
	own := refuse(e.Code(), err, e.Message())
	for _, d := range e.Details() {
		own.AddDetail(d)
	}
	for key, values := range e.Meta() {
		own.Meta()[key] = append([]string(nil), values...)
	}
	return own
}
