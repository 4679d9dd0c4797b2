// SPDX-License-Identifier: Apache-2.0

// Package jwt verifies JSON Web Tokens for package
// [github.com/seed-b7c59c10/connect/auth]: signatures with the keys that an issuer publishes,
// which it may rotate, and the claims about issuer, audience and time.
//
//	verifier := jwt.New(
//		jwt.JWKS("https://issuer.example.com/.well-known/jwks.json"),
//		jwt.Issuer("https://issuer.example.com"),
//		jwt.Audience("https://api.example.com"),
//	)
//	guard := auth.Require(auth.Bearer(verifier.Verify))
//
// # Bad tokens
//
// A token that is refused has CodeUnauthenticated, and its error says why:
//
//	expired, not valid yet, without a time     after the signature was verified
//	of another issuer or audience, no subject  after the signature was verified
//	algorithm "none", HMAC, or another one     before a key is looked for
//	a critical header, another type of token   before a key is looked for
//	unknown key                                after the keys were fetched again, at most once
//	                                           in each interval
//	garbage, longer than allowed               before it is decoded
//
// Keys or addresses of keys in the token itself ("jwk", "jku", "x5c", "x5u") are not used.
// [RFC 8725, sections 3.1 to 3.11]
//
// # Keys
//
// If the issuer's keys cannot be fetched, the ones that are known are used for a day; without
// any the calls have CodeUnavailable, so that clients do not throw their tokens away. A server
// that does not answer, or that answers with garbage or without an end, costs one request in
// each interval, with a limit of time and size.
//
// Signatures and keys are those of github.com/go-jose/go-jose/v4.
package jwt
