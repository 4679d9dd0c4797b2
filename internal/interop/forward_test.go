// SPDX-License-Identifier: Apache-2.0

// This file puts both proxies of package proxy between clients and servers of all three libraries, and asks grpc-go's
// reflection for a schema.

package interop_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/dynamic"
	"github.com/seed-b7c59c10/connect/internal/interop/grpcgo"
	"github.com/seed-b7c59c10/connect/internal/interop/ours"
	"github.com/seed-b7c59c10/connect/internal/interop/peer"
	forward "github.com/seed-b7c59c10/connect/proxy"
	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/reflection"
	v1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// runFronted runs the cases with clients of all libraries against a handler.
func runFronted(t *testing.T, front http.Handler, cases []testCase, onlyGRPC bool) {
	for _, x := range []transport{http1, engineH2C} {
		t.Run("front="+string(x), func(t *testing.T) {
			url := serve(t, x, front)
			client := httpClient(t, x.foreign())
			for _, protocol := range protocols {
				if onlyGRPC && protocol != "grpc" {
					continue
				}
				for _, codec := range codecs {
					if onlyGRPC && codec != "proto" {
						continue
					}
					t.Run(protocol+"/"+codec, func(t *testing.T) {
						t.Run("ours", func(t *testing.T) { runCases(t, cases, x.bidi(), ourClients(client, url, protocol, codec)) })
						t.Run("connect-go", func(t *testing.T) { runCases(t, cases, x.bidi(), peerClients(client, url, protocol, codec)) })
					})
				}
			}
			if x != http1 {
				t.Run("grpc-go", func(t *testing.T) {
					conn := dialGRPC(t, x, hostPort(t, url))
					runCases(t, cases, true, clients{
						plain:    grpcgo.NewClient(conn),
						gzip:     grpcgo.NewClient(conn, grpc.UseCompressor("gzip")),
						identity: grpcgo.NewClient(conn, grpcgo.AcceptNoCompression()),
					})
				})
			}
		})
	}
}

// TestForward checks the proxy that does not know the schema.
func TestForward(t *testing.T) {
	for _, server := range []struct {
		name     string
		start    func(*testing.T) string
		onlyGRPC bool
	}{
		{"ours", func(t *testing.T) string { return serve(t, engineH2C, ours.NewHandler()) }, false},
		{"connect-go", func(t *testing.T) string { return serve(t, h2c, peer.NewHandler()) }, false},
		{"grpc-go", func(t *testing.T) string { return "http://" + serveGRPC(t, h2c) }, true},
	} {
		t.Run("server="+server.name, func(t *testing.T) {
			transport := httpClient(t, h2c).Transport
			front, err := forward.New(server.start(t), forward.WithTransport(transport))
			if err != nil {
				t.Fatal(err)
			}
			runFronted(t, front, standardCases, server.onlyGRPC)
		})
	}
}

// TestTranslate has grpc-go's server behind the proxy that translates, with a schema from its reflection. The cases that
// measure compression are left out: the proxy decompresses, and chooses for each side itself.
func TestTranslate(t *testing.T) {
	cases := slices.DeleteFunc(slices.Clone(standardCases), func(c testCase) bool { return strings.Contains(c.name, "compress") })
	if len(cases) < 10 || len(cases) == len(standardCases) {
		t.Fatalf("got %d of %d cases", len(cases), len(standardCases))
	}
	client := httpClient(t, h2c)
	schema, err := dynamic.Reflect(t.Context(), client, "http://"+serveReflection(t, true), []string{"grpc.testing.TestService"}, connect.WithGRPC())
	if err != nil {
		t.Fatal(err)
	}
	runFronted(t, forward.NewTranslator(schema, forward.Backend{
		HTTPClient: client, BaseURL: "http://" + serveGRPC(t, h2c), Options: []connect.ClientOption{connect.WithGRPC()},
	}), cases, false)
}

// serveReflection serves grpc-go's reflection, in both versions or in the old one.
func serveReflection(t *testing.T, both bool) string {
	t.Helper()
	server := grpc.NewServer()
	testpb.RegisterTestServiceServer(server, testpb.UnimplementedTestServiceServer{})
	if both {
		reflection.Register(server)
	} else {
		v1alpha.RegisterServerReflectionServer(server, reflection.NewServer(reflection.ServerOptions{Services: server}))
	}
	listener := listen(t)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return listener.Addr().String()
}

// TestReflect loads schemas from grpc-go's reflection, and calls with them.
func TestReflect(t *testing.T) {
	for name, both := range map[string]bool{"v1": true, "v1alpha": false} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			address := "http://" + serveReflection(t, both)
			for _, x := range []transport{h2c, engineH2C} {
				schema, err := dynamic.Reflect(ctx, httpClient(t, x), address, nil, connect.WithGRPC())
				if err != nil {
					t.Fatal(err)
				}
				var services []protoreflect.FullName
				for method := range schema.Methods() {
					services = append(services, method.Parent().FullName())
				}
				services = slices.Compact(services)
				if !slices.Contains(services, "grpc.testing.TestService") || slices.ContainsFunc(services, func(s protoreflect.FullName) bool { return strings.HasPrefix(string(s), "grpc.reflection.") }) {
					t.Errorf("got services %q, want the test service and not reflection", services)
				}
				_, err = dynamic.Reflect(ctx, httpClient(t, x), address, []string{"grpc.Missing"}, connect.WithGRPC())
				if connect.CodeOf(err) != connect.CodeNotFound {
					t.Errorf("got error %v for an unknown service, want not_found", err)
				}
			}
		})
	}
}
