// SPDX-License-Identifier: Apache-2.0

// This file calls package health from grpc-go's and connect-go's clients of grpc.health.v1, and their servers from its
// client. It also starts a program that links all three.

package interop_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"testing"

	"connectrpc.com/grpchealth"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	grpchealthserver "google.golang.org/grpc/health" // with it, grpc-go's clients watch the health of their servers
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"

	connectgo "connectrpc.com/connect"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/health"
)

// TestLinked fails when the packages register a Protobuf name twice: then the program panics before main.
func TestLinked(t *testing.T) {
	command := exec.Command("go", "run", "./linked")
	got, err := command.CombinedOutput()
	want := "grpc-go: grpc/health/v1/health.proto grpc/reflection/v1/reflection.proto grpc/reflection/v1alpha/reflection.proto\n" +
		"connect-go: grpc.health.v1.Health grpc.reflection.v1.ServerReflection\n" +
		"ours: SERVING [grpc.health.v1.Health grpc.reflection.v1.ServerReflection grpc.reflection.v1alpha.ServerReflection]\n"
	if err != nil || string(got) != want {
		t.Errorf("got %v and %q, want %q", err, got, want)
	}
}

// sameFile checks that a handler's schema is the one that grpc-go has, down to the names of options.
func sameFile(t *testing.T, handler http.Handler, want protoreflect.FileDescriptor) {
	t.Helper()
	method := connect.Procedures(handler)[0].Spec().Schema.(protoreflect.MethodDescriptor)
	got := protodesc.ToFileDescriptorProto(method.ParentFile())
	if want := protodesc.ToFileDescriptorProto(want); !proto.Equal(got, want) {
		t.Errorf("got schema %v, want %v", got, want)
	}
}

// serveHealth serves a healthy service, one that is not, and a third that is unknown.
func serveHealth(t *testing.T, x transport) (url string, statuses *health.Server) {
	statuses = health.New("acme.v1.Up", "acme.v1.Down")
	statuses.Set("acme.v1.Down", health.StatusNotServing)
	mux := http.NewServeMux()
	mux.Handle(health.NewHandler(statuses))
	return serve(t, x, mux), statuses
}

func TestHealthSchema(t *testing.T) {
	_, handler := health.NewHandler(health.New())
	sameFile(t, handler, healthpb.File_grpc_health_v1_health_proto)
}

func TestHealthFromGRPCGo(t *testing.T) {
	for _, x := range []transport{h2c, engineH2C, h2tls, engineTLS} {
		t.Run(string(x), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			url, statuses := serveHealth(t, x)
			client := healthpb.NewHealthClient(dialGRPC(t, x, hostPort(t, url)))
			for service, want := range map[string]healthpb.HealthCheckResponse_ServingStatus{"": 1, "acme.v1.Up": 1, "acme.v1.Down": 2} {
				got, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: service})
				if err != nil || got.Status != want {
					t.Errorf("check %q: got %v and %v, want %v", service, got, err, want)
				}
			}
			if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: "acme.v1.Missing"}); status.Code(err) != codes.NotFound {
				t.Errorf("got error %v, want NotFound", err)
			}
			list, err := client.List(ctx, &healthpb.HealthListRequest{})
			if err != nil || len(list.Statuses) != 3 || list.Statuses["acme.v1.Down"].GetStatus() != 2 || list.Statuses[""].GetStatus() != 1 {
				t.Errorf("list: got %v and %v", list, err)
			}
			stream, err := client.Watch(ctx, &healthpb.HealthCheckRequest{Service: "acme.v1.Late"})
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range []healthpb.HealthCheckResponse_ServingStatus{3, 1, 2} {
				got, err := stream.Recv()
				if err != nil || got.Status != want {
					t.Errorf("watch: got %v and %v, want %v", got, err, want)
				}
				switch i {
				case 0:
					statuses.Set("acme.v1.Late", health.StatusServing)
				case 1:
					statuses.Shutdown()
				}
			}
			if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
				t.Errorf("got error %v, want Unavailable", err)
			}
		})
	}
}

// TestHealthOfGRPCGoClient has grpc-go's client watch its server: it stops using a server that is not serving.
func TestHealthOfGRPCGoClient(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	url, statuses := serveHealth(t, engineH2C)
	conn, err := grpc.NewClient(hostPort(t, url), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"healthCheckConfig": {"serviceName": "acme.v1.Up"}, "loadBalancingConfig": [{"round_robin": {}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Connect()
	for _, step := range []struct {
		status health.Status
		want   connectivity.State
	}{{health.StatusServing, connectivity.Ready}, {health.StatusNotServing, connectivity.TransientFailure}, {health.StatusServing, connectivity.Ready}} {
		statuses.Set("acme.v1.Up", step.status)
		for state := conn.GetState(); state != step.want; state = conn.GetState() {
			if !conn.WaitForStateChange(ctx, state) {
				t.Fatalf("got state %v, want %v for %v", state, step.want, step.status)
			}
		}
	}
}

func TestHealthOfGRPCGo(t *testing.T) {
	theirs := grpchealthserver.NewServer()
	theirs.SetServingStatus("acme.v1.Down", healthpb.HealthCheckResponse_NOT_SERVING)
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, theirs)
	listener := listen(t)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	defer func() { server.Stop(); <-done }()
	url := "http://" + listener.Addr().String()
	for _, x := range []transport{h2c, engineH2C} {
		t.Run(string(x), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			client := health.NewClient(httpClient(t, x), url, connect.WithGRPC())
			got, err := client.List(ctx)
			maps.DeleteFunc(got, func(service string, _ health.Status) bool { return service == "acme.v1."+string(h2c) }) // of the run before
			if want := map[string]health.Status{"": health.StatusServing, "acme.v1.Down": health.StatusNotServing}; err != nil || !maps.Equal(got, want) {
				t.Errorf("got %v and %v, want %v", got, err, want)
			}
			if _, err := client.Check(ctx, "acme.v1.Missing"); connect.CodeOf(err) != connect.CodeNotFound {
				t.Errorf("got error %v, want not_found", err)
			}
			if err := health.Probe("", connect.WithGRPC())(ctx, httpClient(t, x), url); err != nil {
				t.Error(err)
			}
			service := "acme.v1." + string(x)
			var seen []health.Status
			for one, err := range client.Watch(ctx, service) {
				if err != nil {
					t.Fatal(err)
				}
				if seen = append(seen, one); len(seen) == 2 {
					break
				}
				theirs.SetServingStatus(service, healthpb.HealthCheckResponse_SERVING)
			}
			if want := []health.Status{health.StatusServiceUnknown, health.StatusServing}; !slices.Equal(seen, want) {
				t.Errorf("got %v, want %v", seen, want)
			}
		})
	}
}

// TestHealthWithConnectGo has connectrpc.com/grpchealth on the other side, as client and as server. JSON is left out:
// there its statuses have names of its own, such as SERVING_STATUS_SERVING, in the place of the schema's.
func TestHealthWithConnectGo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	url, _ := serveHealth(t, engineH2C)
	for _, options := range [][]connectgo.ClientOption{nil, {connectgo.WithGRPC()}, {connectgo.WithGRPCWeb()}} {
		client := grpchealth.NewClient(httpClient(t, h2c), url, options...)
		got, err := client.Check(ctx, &grpchealth.CheckRequest{Service: "acme.v1.Down"})
		if err != nil || got.Status != grpchealth.StatusNotServing {
			t.Errorf("got %v and %v, want NOT_SERVING", got, err)
		}
		watching, stop := context.WithCancel(ctx)
		if event := <-client.Watch(watching, &grpchealth.CheckRequest{Service: "acme.v1.Up"}); event.Response == nil || event.Response.Status != grpchealth.StatusServing {
			t.Errorf("got %+v, want SERVING", event)
		}
		stop()
	}

	checker := grpchealth.NewStaticChecker("acme.v1.Up")
	mux := http.NewServeMux()
	mux.Handle(grpchealth.NewHandler(checker))
	theirs := serve(t, h2c, mux)
	for _, options := range [][]connect.ClientOption{nil, {connect.WithGRPC()}, {connect.WithGRPCWeb()}} {
		client := health.NewClient(httpClient(t, engineH2C), theirs, options...)
		if got, err := client.Check(ctx, "acme.v1.Up"); err != nil || got != health.StatusServing {
			t.Errorf("got %v and %v, want SERVING", got, err)
		}
		for got, err := range client.Watch(ctx, "acme.v1.Up") {
			if errors.Is(err, io.EOF) || err == nil && got != health.StatusServing || err != nil && connect.CodeOf(err) != connect.CodeUnimplemented {
				t.Errorf("got %v and %v, want SERVING", got, err)
			}
			break
		}
	}
}
