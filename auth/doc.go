// SPDX-License-Identifier: Apache-2.0

// Package auth authenticates and authorises calls before their messages are decoded, and gives
// clients credentials that are refreshed and not sent in clear.
//
// # Servers
//
// A [Guard] is an option of handlers. It has authenticators, which are asked in their order,
// and may have a table of which callers a procedure has:
//
//	guard := auth.Require(
//		auth.Bearer(verify),
//		auth.MTLS(nil),
//		auth.Table(map[string]auth.Access{
//			userv1connect.UserServiceDeleteProcedure: {Roles: []string{"admin"}},
//			"/user.v1.UserService/":                  {},
//			"/grpc.health.v1.Health/":                {Public: true},
//		}))
//	mux.Handle(userv1connect.NewUserServiceHandler(users{}, guard))
//
// There are [Bearer], [APIKey], [Basic], [MTLS], [SPIFFE], [Unix], [Inherited], and [Func] for
// all others; package auth/jwt, a module of its own, verifies JSON Web Tokens. Handlers find the
// caller with [FromContext], and what the authenticator knows of it, with its type, with
// [Details].
//
// What is wrong is refused, and the handler does not run:
//
//	no credentials                         unauthenticated, with the challenges
//	credentials that cannot be read        unauthenticated: two values, bad base64, too long
//	credentials that are not valid         unauthenticated; the reason stays here
//	credentials that have expired          unauthenticated, with the time
//	a certificate that was not verified    unauthenticated
//	credentials that cannot be verified    the code of verify's error, such as unavailable
//	a caller without scope or role         permission_denied, with what is needed
//	a procedure that no table names        permission_denied
//	a table that names no procedure        a panic or an error at start
//
// An option or middleware? As an option of handlers, the guard sees the schema of a procedure, and
// the calls keep the direct path of package h2. [Guard.Handler] is around a mux, and covers what
// is no procedure: unknown paths, pages, reflection of other libraries. Both may be combined with
// [Inherited].
//
// # Clients
//
// [Credentials] is an option of clients: it sends a token of a [TokenSource] with each call.
// [BasicCredentials] and [APIKeyCredentials] send secrets that do not change. None of them
// sends anything in clear, unless [AllowLoopback] or [AllowInsecure] permits it.
//
// # Compared with connectrpc.com/authn
//
// The package has what authn has: authentication before decoding, any scheme, information on the
// caller in the context, errors in the protocol of the request. It answers these threads:
//
//   - authn-go #8 and #9 (open): the argument of an authenticator is a struct with exported
//     fields, [Request], so that tests can make one.
//   - authn-go #11: [Access] and [Table] say which procedures need no credentials, or none of a
//     kind.
//   - authn-go #20: there are credentials for clients, with examples.
//   - connect-go #756: [connect.PeerOfRequest] and [connect.Spec] have the protocol and the
//     procedure; programs do not infer them from the path.
//   - go-grpc-middleware #213, #345 (open), #489: procedures without authentication are in the
//     table, and not in an override of each service.
//   - go-grpc-middleware #244 (open), grpc-go #3163: reflection and health checks are procedures
//     as any other, and a key such as "/grpc.health.v1.Health/" makes them public.
//   - grpc-go #5390 (open), #4868: the token is refreshed before it expires.
//   - grpc-go #3749: an error of the token source ends the call; it is not repeated for ever.
//   - grpc-java #4929 (open), grpc-go #1238: a call does not wait for a token longer than its own
//     time, and the context of one call is not that of the token of others.
//   - grpc-go #315, #2235 (open): credentials are not sent in clear; over Unix sockets they are
//     with [AllowInsecure].
//   - go-spiffe #296 (open): a unary call whose token a server has refused is made again with
//     another token.
package auth
