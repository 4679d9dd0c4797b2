// SPDX-License-Identifier: Apache-2.0

// Mounting on routers whose methods have other signatures than that of http.ServeMux.

package connect

import "net/http"

// MountFunc is a function that mounts a handler under a pattern, as a router for
// generated code: with the option register, protoc-gen-connect-go writes functions
// that mount each procedure of a service by a method Handle. [http.ServeMux] and chi
// have that method; for gorilla/mux, echo and gin a MountFunc calls theirs:
//
//	greetv1connect.RegisterGreetService(connect.MountFunc(func(pattern string, handler http.Handler) {
//		router.Any(pattern, gin.WrapH(handler))
//	}), &greeter{})
type MountFunc func(pattern string, handler http.Handler)

// Handle calls f.
func (f MountFunc) Handle(pattern string, handler http.Handler) { f(pattern, handler) }
