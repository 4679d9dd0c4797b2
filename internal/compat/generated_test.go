// SPDX-License-Identifier: Apache-2.0

// This file compares the answers of both libraries' generated code to calls of an unimplemented and of an unknown procedure.

package compat

import (
	"net/http"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
	theirs "github.com/seed-b7c59c10/connect/internal/compat/theirs/conntestv1connect"
	ours "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
)

func TestGenerated(t *testing.T) {
	serveTheirs := func(script.Server) http.Handler {
		mux := http.NewServeMux()
		mux.Handle(theirs.NewTestServiceHandler(theirs.UnimplementedTestServiceHandler{}))
		return mux
	}
	serveOurs := func(options ...connect.HandlerOption) func(script.Server) http.Handler {
		return func(script.Server) http.Handler {
			mux := http.NewServeMux()
			mux.Handle(ours.NewTestServiceHandler(ours.UnimplementedTestServiceHandler{}, options...))
			return mux
		}
	}
	var cases []serverCase
	for _, procedure := range []string{"Unary", "Get", "ServerStream", "ClientStream", "Bidi", "Unknown", "unary", "Unary/", ""} {
		for _, w := range wires {
			cases = append(cases, serverCase{name: w.name + " " + procedure, path: procedure, header: w.header, body: w.request("")})
		}
		cases = append(cases,
			serverCase{name: "text " + procedure, path: procedure, header: "Content-Type: text/plain\n", body: "hello"},
			serverCase{name: "GET " + procedure, verb: http.MethodGet, path: procedure + "?connect=v1&encoding=json&message=%7B%7D"},
			serverCase{name: "PUT " + procedure, verb: http.MethodPut, path: procedure, header: protoHeader},
		)
	}
	for _, test := range cases {
		test.path = "/" + ours.TestServiceName + "/" + test.path
		t.Run(test.name, func(t *testing.T) {
			for _, version := range []string{"1.1", "2"} {
				t.Run(version, func(t *testing.T) {
					want := exchange(t, version, test, serveTheirs)
					judge(t, want, exchange(t, version, test, serveOurs()))
					judgeBy(t, listedOfDropIn, want, exchange(t, version, test, serveOurs(connect.WithConnectGoBehavior())))
				})
			}
		})
	}
}

// TestGeneratedNames compares the generated constants, which programs use.
func TestGeneratedNames(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{ours.TestServiceName, theirs.TestServiceName},
		{ours.TestServiceUnaryProcedure, theirs.TestServiceUnaryProcedure},
		{ours.TestServiceGetProcedure, theirs.TestServiceGetProcedure},
		{ours.TestServiceServerStreamProcedure, theirs.TestServiceServerStreamProcedure},
		{ours.TestServiceClientStreamProcedure, theirs.TestServiceClientStreamProcedure},
		{ours.TestServiceBidiProcedure, theirs.TestServiceBidiProcedure},
	} {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}
