// SPDX-License-Identifier: Apache-2.0

// Access by table, by the schema and by rules.

package auth_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/auth"
	"github.com/seed-b7c59c10/connect/connecttest"
	"github.com/seed-b7c59c10/connect/dynamic"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	"github.com/seed-b7c59c10/connect/methodoption"
)

const servicePath = "/" + conntestv1connect.TestServiceName + "/"

// TestTable: the longest key counts, for a guard of handlers and one around the mux alike.
func TestTable(t *testing.T) {
	guard := auth.Require(auth.Bearer(ada), auth.Table(map[string]auth.Access{
		conntestv1connect.TestServiceUnaryProcedure:        {Scopes: []string{"read", "write"}},
		conntestv1connect.TestServiceGetProcedure:          {Public: true},
		conntestv1connect.TestServiceServerStreamProcedure: {Optional: true},
		conntestv1connect.TestServiceClientStreamProcedure: {Roles: []string{"admin", "user"}},
		servicePath: {Roles: []string{"admin"}},
	}))
	mux := http.NewServeMux()
	mux.Handle(conntestv1connect.NewTestServiceHandler(new(service)))
	for name, server := range map[string]*connecttest.Server{
		"option": serve(t, new(service), nil, guard),
		"around": serveHandler(t, guard.Handler(mux)),
	} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			got := calls(ctx, newClient(server, withHeader("Authorization", "Bearer ada")), true)
			wantError(t, got["unary"].err, connect.CodePermissionDenied, `/conntest.v1.TestService/Unary needs the scopes ["read" "write"]: the credentials do not have "write"`)
			var e *connect.Error
			if want := `Bearer error="insufficient_scope", scope="read write"`; !errors.As(got["unary"].err, &e) || !slices.Equal(e.Meta()["Www-Authenticate"], []string{want}) {
				t.Errorf("got %v, want the challenge %s", e.Meta(), want)
			}
			if a := got["get"]; a.err != nil || a.text != "anonymous" {
				t.Errorf("got %v of a public procedure, want no identity", a)
			}
			if a := got["server stream"]; a.err != nil || a.text != "ada" {
				t.Errorf("got %v of an optional procedure with credentials, want ada", a)
			}
			if a := got["client stream"]; a.err != nil || a.text != "ada" {
				t.Errorf("got %v of a procedure for users, want ada", a)
			}
			wantError(t, got["bidi"].err, connect.CodePermissionDenied, `/conntest.v1.TestService/Bidi needs one of the roles ["admin"]`)

			got = calls(ctx, newClient(server), true)
			if a := got["server stream"]; a.err != nil || a.text != "anonymous" {
				t.Errorf("got %v of an optional procedure without credentials, want no identity", a)
			}
			wantError(t, got["unary"].err, connect.CodeUnauthenticated, "no credentials")

			got = calls(ctx, newClient(server, withHeader("Authorization", "Bearer eve")), true)
			if a := got["get"]; a.err != nil {
				t.Errorf("got %v of a public procedure with wrong credentials, want an answer", a)
			}
			wantError(t, got["server stream"].err, connect.CodeUnauthenticated, "not valid")
		})
	}
}

// TestAccess: which caller each access lets in.
func TestAccess(t *testing.T) {
	for _, c := range []struct {
		name    string
		options []auth.Option
		code    connect.Code // of ada's call, 0 if it succeeds
	}{
		{"no table", nil, 0},
		{"empty table", []auth.Option{auth.Table(nil)}, connect.CodePermissionDenied},
		{"other service", []auth.Option{auth.Table(map[string]auth.Access{"/acme.v1.Service/": {}})}, connect.CodePermissionDenied},
		{"root", []auth.Option{auth.Table(map[string]auth.Access{"/": {}})}, 0},
		{"default", []auth.Option{auth.Default(auth.Access{})}, 0},
		{"default of a table", []auth.Option{auth.Default(auth.Access{}), auth.Table(map[string]auth.Access{"/acme.v1.Service/": {}})}, 0},
		{"default denies", []auth.Option{auth.Default(auth.Access{Deny: true})}, connect.CodePermissionDenied},
		{"subject", []auth.Option{auth.Default(auth.Access{Subjects: []string{"ada", "bob"}})}, 0},
		{"other subject", []auth.Option{auth.Default(auth.Access{Subjects: []string{"bob"}})}, connect.CodePermissionDenied},
		{"rule", []auth.Option{auth.Rule(func(_ context.Context, i auth.Identity, r auth.Request) error {
			if i.Subject != "ada" || r.Spec.Procedure != conntestv1connect.TestServiceUnaryProcedure {
				return errors.New("other call")
			}
			return nil
		})}, 0},
		{"rule refuses", []auth.Option{auth.Rule(func(context.Context, auth.Identity, auth.Request) error { return errors.New("secret") })}, connect.CodePermissionDenied},
		{"rule with a code", []auth.Option{auth.Rule(func(context.Context, auth.Identity, auth.Request) error {
			return connect.NewError(connect.CodeNotFound, errors.New("no such thing"))
		})}, connect.CodeNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := serve(t, new(service), nil, auth.Require(append(c.options, auth.Bearer(ada))...))
			got := calls(testContext(t), newClient(server, withHeader("Authorization", "Bearer ada")), false)["unary"]
			if c.code == 0 {
				if got.err != nil {
					t.Errorf("got %v, want an answer", got.err)
				}
				return
			}
			wantError(t, got.err, c.code, "")
			if strings.Contains(got.err.Error(), "secret") {
				t.Errorf("got the reason in %v", got.err)
			}
		})
	}
}

// TestTypos: a key that names no method is found when a handler of its service is made, and
// one that names no service by Check.
func TestTypos(t *testing.T) {
	bearer := auth.Bearer(ada)
	wantPanic(t, `conntest.v1.TestService has no method Unray: it has Unary, Get,`, func() {
		conntestv1connect.NewTestServiceHandler(new(service), auth.Require(bearer, auth.Table(map[string]auth.Access{servicePath + "Unray": {}})))
	})
	guard := auth.Require(bearer, auth.Table(map[string]auth.Access{
		"/": {}, servicePath: {}, conntestv1connect.TestServiceUnaryProcedure: {},
		"/conntest.v1.TestServise/": {}, "/conntest.v1.TestServise/Get": {},
	}))
	_, handler := conntestv1connect.NewTestServiceHandler(new(service), guard)
	err := guard.Check(handler)
	if want := `auth: Check: the table names what the server does not have: "/conntest.v1.TestServise/", "/conntest.v1.TestServise/Get"`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := auth.Require(bearer, auth.Table(map[string]auth.Access{servicePath: {}})).Check(handler); err != nil {
		t.Error(err)
	}
	if err := guard.Check(http.NotFoundHandler()); err == nil || !strings.Contains(err.Error(), "handler 1 is a http.HandlerFunc, which lists no procedures") {
		t.Errorf("got %v, want an error for a handler without procedures", err)
	}
}

// withAccess returns the test service's schema, with the option for methods by their names.
func withAccess(t *testing.T, access map[string]*methodoption.Access, unknown bool) protoreflect.ServiceDescriptor {
	t.Helper()
	file := protodesc.ToFileDescriptorProto(conntestv1.File_conntest_v1_conntest_proto)
	for _, m := range file.Service[0].Method {
		a, ok := access[m.GetName()]
		if !ok {
			continue
		}
		m.Options = new(descriptorpb.MethodOptions)
		if !unknown {
			proto.SetExtension(m.Options, methodoption.E_Access, a)
			continue
		}
		encoded, err := proto.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		number := methodoption.E_Access.TypeDescriptor().Number()
		m.Options.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), encoded))
	}
	schema, err := dynamic.NewSchema(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{file}})
	if err != nil {
		t.Fatal(err)
	}
	method, err := schema.Method(conntestv1connect.TestServiceUnaryProcedure)
	if err != nil {
		t.Fatal(err)
	}
	return method.Parent().(protoreflect.ServiceDescriptor)
}

// TestMethodOption: the schema's option, whether it was known when the schema was loaded or
// not, below the table's own keys and above wider ones.
func TestMethodOption(t *testing.T) {
	for name, unknown := range map[string]bool{"known": false, "unknown": true} {
		t.Run(name, func(t *testing.T) {
			methods := withAccess(t, map[string]*methodoption.Access{
				"Unary": {Roles: []string{"admin"}}, "Get": {Public: true}, "ServerStream": {Scopes: []string{"read"}}, "Bidi": {Deny: true},
			}, unknown).Methods()
			guard := auth.Require(auth.Bearer(ada), auth.MethodOption(), auth.Table(map[string]auth.Access{
				servicePath: {Public: true}, conntestv1connect.TestServiceBidiProcedure: {},
			}))
			client := connect.WithConditionalHandlerOptions(func(s connect.Spec) []connect.HandlerOption {
				return []connect.HandlerOption{connect.WithSchema(methods.ByName(protoreflect.Name(s.Procedure[strings.LastIndexByte(s.Procedure, '/')+1:]))), guard}
			})
			got := calls(testContext(t), newClient(serve(t, new(service), nil, client), withHeader("Authorization", "Bearer ada")), true)
			wantError(t, got["unary"].err, connect.CodePermissionDenied, `needs one of the roles ["admin"]`)
			for kind, want := range map[string]string{"get": "anonymous", "server stream": "ada", "bidi": "ada", "client stream": "anonymous"} {
				if a := got[kind]; a.err != nil || a.text != want {
					t.Errorf("got %v of %s, want %s", a, kind, want)
				}
			}
		})
	}
	guard := auth.Require(auth.Bearer(ada), auth.MethodOption())
	got := calls(testContext(t), newClient(serve(t, new(service), nil, guard), withHeader("Authorization", "Bearer ada")), false)["unary"]
	wantError(t, got.err, connect.CodePermissionDenied, "is not open to any caller") // a schema without options
	wantPanic(t, "has no schema: MethodOption needs that of generated code", func() {
		connect.NewUnaryHandler("/a.S/M", new(service).Unary, guard)
	})
	methods := withAccess(t, map[string]*methodoption.Access{"Unary": {Public: true, Deny: true}}, false).Methods()
	wantPanic(t, "the option access of /conntest.v1.TestService/Unary: only one of public", func() {
		connect.NewUnaryHandler(conntestv1connect.TestServiceUnaryProcedure, new(service).Unary, connect.WithSchema(methods.ByName("Unary")), guard)
	})
}

// TestInherited: a guard around the mux authenticates, and one of the handlers authorises.
func TestInherited(t *testing.T) {
	outer := auth.Require(auth.Bearer(ada))
	inner := auth.Require(auth.Inherited(), auth.Table(map[string]auth.Access{
		conntestv1connect.TestServiceUnaryProcedure: {}, servicePath: {Roles: []string{"admin"}},
	}))
	mux := http.NewServeMux()
	mux.Handle(conntestv1connect.NewTestServiceHandler(new(service), inner))
	mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) {
		identity, ok := auth.FromContext(r.Context())
		if _, err := w.Write([]byte(identity.Subject)); err != nil || !ok {
			t.Errorf("got %v and %v", ok, err)
		}
	})
	server := serveHandler(t, outer.Handler(mux))
	ctx := testContext(t)
	got := calls(ctx, newClient(server, withHeader("Authorization", "Bearer ada")), true)
	if a := got["unary"]; a.err != nil || a.text != "ada" {
		t.Errorf("got %v, want ada", a)
	}
	wantError(t, got["get"].err, connect.CodePermissionDenied, "needs one of the roles")

	// Requests that are not calls, and calls of procedures that are not there.
	for _, c := range []struct {
		path, token string
		status      int
	}{
		{"/page", "", 401}, {"/page", "Bearer eve", 401}, {"/page", "Bearer ada", 200},
		{"/unknown.Service/Method", "", 401}, {servicePath + "Unknown", "", 401}, {"/other", "Bearer ada", 404},
	} {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.token != "" {
			request.Header.Set("Authorization", c.token)
		}
		res, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != c.status || (c.status == 401) != (res.Header.Get("Www-Authenticate") != "") {
			t.Errorf("%s with %q: got status %d and the challenge %q, want %d", c.path, c.token, res.StatusCode, res.Header.Get("Www-Authenticate"), c.status)
		}
	}
	alone := serve(t, new(service), nil, inner)
	wantError(t, calls(ctx, newClient(alone), false)["unary"].err, connect.CodeUnauthenticated, "no credentials: expected inherited")
}
