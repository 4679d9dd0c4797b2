// SPDX-License-Identifier: Apache-2.0

// This file asks package reflection with grpcurl, and with the clients of grpc-go and connect-go; and their servers
// with its client.

package interop_test

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/grpcreflect"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	v1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	connectgo "connectrpc.com/connect"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/health"
	"github.com/seed-b7c59c10/connect/internal/interop/ours"
	"github.com/seed-b7c59c10/connect/reflection"
	"github.com/seed-b7c59c10/connect/registry"
)

// serveDescribed serves the test service and health with reflection, or with its old version alone.
func serveDescribed(t *testing.T, x transport, both bool) string {
	var procedures registry.Registry
	mux := http.NewServeMux()
	mux.Handle(procedures.Add("/grpc.testing.TestService/", connect.NewServiceHandler(ours.NewHandlers())))
	mux.Handle(procedures.Add(health.NewHandler(health.New())))
	if r := reflection.New(&procedures); both {
		r.Mount(mux)
	} else {
		mux.Handle(procedures.Add(reflection.NewHandlerV1Alpha(r)))
	}
	return serve(t, x, mux)
}

func TestReflectionSchema(t *testing.T) {
	r := reflection.New(new(registry.Registry))
	_, handler := reflection.NewHandler(r)
	sameFile(t, handler, v1.File_grpc_reflection_v1_reflection_proto)
	_, handler = reflection.NewHandlerV1Alpha(r)
	sameFile(t, handler, grpc_reflection_v1alpha.File_grpc_reflection_v1alpha_reflection_proto)
}

// TestGRPCurl lists, describes and calls with grpcurl, which the module internal/tools pins. The first run compiles it.
func TestGRPCurl(t *testing.T) {
	program := filepath.Join(t.TempDir(), "grpcurl")
	build := exec.Command("go", "build", "-o", program, "github.com/fullstorydev/grpcurl/cmd/grpcurl")
	build.Dir = filepath.Join("..", "tools")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building grpcurl: %v\n%s", err, output)
	}
	for _, x := range []transport{h2c, engineTLS} {
		for name, both := range map[string]bool{"v1": true, "v1alpha": false} {
			t.Run(string(x)+"/"+name, func(t *testing.T) {
				url := serveDescribed(t, x, both)
				secure := []string{"-plaintext"}
				if x.secure() {
					secure = []string{"-cacert", authorityFile(t)}
				}
				run := func(args ...string) string {
					t.Helper()
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					var output bytes.Buffer
					command := exec.CommandContext(ctx, program, append(slices.Clone(secure), args...)...)
					command.Stdout, command.Stderr = &output, &output
					_ = command.Run() // the output decides
					return output.String()
				}
				address := hostPort(t, url)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				watch := exec.CommandContext(ctx, program, append(slices.Clone(secure), address, "grpc.health.v1.Health/Watch")...)
				output, err := watch.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := watch.Start(); err != nil {
					t.Fatal(err)
				}
				lines := bufio.NewScanner(output)
				for seen := false; !seen; { // the call goes on until the program is killed
					if !lines.Scan() {
						t.Fatal("watch: got the end of the output, want a status")
					}
					seen = strings.Contains(lines.Text(), `"status": "SERVING"`)
				}
				cancel()
				_ = watch.Wait()
				want := "grpc.health.v1.Health\ngrpc.reflection.v1alpha.ServerReflection\ngrpc.testing.TestService\n"
				if both {
					want = strings.Replace(want, "grpc.reflection.v1alpha", "grpc.reflection.v1.ServerReflection\ngrpc.reflection.v1alpha", 1)
				}
				if got := run(address, "list"); got != want {
					t.Errorf("list: got %q, want %q", got, want)
				}
				for _, c := range []struct {
					args []string
					want string
				}{
					{[]string{address, "list", "grpc.health.v1.Health"}, "grpc.health.v1.Health.Check\ngrpc.health.v1.Health.List\ngrpc.health.v1.Health.Watch\n"},
					{[]string{address, "describe", "grpc.health.v1.Health.Watch"}, "rpc Watch ( .grpc.health.v1.HealthCheckRequest ) returns ( stream .grpc.health.v1.HealthCheckResponse );"},
					{[]string{address, "describe", "grpc.testing.TestService"}, "rpc FullDuplexCall ( stream .grpc.testing.StreamingOutputCallRequest ) returns ( stream .grpc.testing.StreamingOutputCallResponse );"},
					{[]string{address, "describe", "grpc.testing.SimpleRequest"}, ".grpc.testing.Payload payload = 3;"},
					{[]string{address, "describe", "grpc.reflection.v1alpha.ServerReflection"}, "rpc ServerReflectionInfo ( stream"},
					{[]string{address, "describe"}, "service TestService"},
					{[]string{address, "describe", "acme.v1.Missing"}, "Symbol not found: acme.v1.Missing"},
					{[]string{address, "grpc.health.v1.Health/Check"}, `"status": "SERVING"`},
					{[]string{"-d", `{"service":"acme.v1.Missing"}`, address, "grpc.health.v1.Health/Check"}, "Code: NotFound"},
					{[]string{address, "grpc.health.v1.Health/List"}, `"statuses"`},
					{[]string{"-d", `{"responseSize":3,"payload":{"body":"AAAA"}}`, address, "grpc.testing.TestService/UnaryCall"}, `"body": "AAAA"`},
					{[]string{"-d", `{"responseParameters":[{"size":1},{"size":2}]}`, address, "grpc.testing.TestService/StreamingOutputCall"}, `"body": "AAA="`},
				} {
					if got := run(c.args...); !strings.Contains(got, c.want) {
						t.Errorf("%q: got %q, want %q", c.args, got, c.want)
					}
				}
			})
		}
	}
}

// TestReflectionFromGRPCGo asks with grpc-go's generated client.
func TestReflectionFromGRPCGo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := v1.NewServerReflectionClient(dialGRPC(t, engineH2C, hostPort(t, serveDescribed(t, engineH2C, true)))).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, question := range []*v1.ServerReflectionRequest{
		{Host: "a.test", MessageRequest: &v1.ServerReflectionRequest_ListServices{ListServices: "*"}},
		{MessageRequest: &v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "grpc.testing.TestService"}},
		{MessageRequest: &v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "grpc.Missing"}},
	} {
		if err := stream.Send(question); err != nil {
			t.Fatal(err)
		}
		got, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if got.ValidHost != question.Host || got.OriginalRequest.String() != question.String() {
			t.Errorf("got host %q and question %v, want those of %v", got.ValidHost, got.OriginalRequest, question)
		}
		switch answer := got.MessageResponse.(type) {
		case *v1.ServerReflectionResponse_ListServicesResponse:
			if got := len(answer.ListServicesResponse.Service); got != 4 {
				t.Errorf("got %d services, want 4", got)
			}
		case *v1.ServerReflectionResponse_FileDescriptorResponse:
			if got := len(answer.FileDescriptorResponse.FileDescriptorProto); got != 3 {
				t.Errorf("got %d files, want 3: test.proto, empty.proto and messages.proto", got)
			}
		case *v1.ServerReflectionResponse_ErrorResponse:
			if answer.ErrorResponse.ErrorCode != 5 || question.GetFileContainingSymbol() != "grpc.Missing" {
				t.Errorf("got error %v for %v", answer.ErrorResponse, question)
			}
		default:
			t.Errorf("got %T for %v", answer, question)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
	if _, err := stream.Recv(); err == nil || err.Error() != "EOF" {
		t.Errorf("got %v, want the end", err)
	}
}

// TestReflectionOfGRPCGo asks grpc-go's servers, one of which has the old version alone.
func TestReflectionOfGRPCGo(t *testing.T) {
	for name, both := range map[string]bool{"v1": true, "v1alpha": false} {
		t.Run(name, func(t *testing.T) { askReflection(t, "http://"+serveReflection(t, both), connect.WithGRPC()) })
	}
}

// TestReflectionWithConnectGo has connectrpc.com/grpcreflect on the other side, as server and as client.
func TestReflectionWithConnectGo(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle(grpcreflect.NewHandlerV1(grpcreflect.NewStaticReflector("grpc.testing.TestService")))
	theirs := serve(t, h2c, mux)
	for _, option := range []connect.ClientOption{connect.WithClientOptions(), connect.WithGRPC(), connect.WithGRPCWeb()} {
		askReflection(t, theirs, option)
	}

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, both := range []bool{true, false} {
		url := serveDescribed(t, engineH2C, both)
		for _, options := range [][]connectgo.ClientOption{nil, {connectgo.WithGRPC()}, {connectgo.WithGRPCWeb()}} {
			stream := grpcreflect.NewClient(httpClient(t, h2c), url, options...).NewStream(ctx)
			names, err := stream.ListServices()
			if err != nil || !slices.Contains(names, "grpc.testing.TestService") {
				t.Errorf("got %q and %v", names, err)
			}
			files, err := stream.FileContainingSymbol("grpc.testing.TestService")
			if err != nil || len(files) != 3 || files[0].GetName() != "grpc/testing/test.proto" {
				t.Errorf("got %v and %v", files, err)
			}
			numbers, err := stream.AllExtensionNumbers("grpc.testing.Payload")
			if err != nil || len(numbers) != 0 {
				t.Errorf("got %v and %v, want no extension and no error", numbers, err)
			}
			if _, err := stream.FileByFilename("missing.proto"); connectgo.CodeOf(err) != connectgo.CodeNotFound {
				t.Errorf("got %v, want not_found", err)
			}
			if _, err := stream.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// askReflection asks another library's server about the test service.
func askReflection(t *testing.T, url string, option connect.ClientOption) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, x := range []transport{h2c, engineH2C} {
		client := reflection.NewClient(httpClient(t, x), url, option)
		names, err := client.Services(ctx)
		if err != nil || !slices.Contains(names, "grpc.testing.TestService") {
			t.Errorf("got %q and %v", names, err)
		}
		r := client.Resolver(ctx)
		service, err := r.FindDescriptorByName("grpc.testing.TestService")
		if err != nil {
			t.Fatal(err)
		}
		if got, want := service.(protoreflect.ServiceDescriptor).Methods().Len(), testpb.File_grpc_testing_test_proto.Services().ByName("TestService").Methods().Len(); got != want {
			t.Errorf("got %d methods, want %d", got, want)
		}
		if _, err := r.FindMessageByName("grpc.testing.Missing"); err != protoregistry.NotFound {
			t.Errorf("got %v, want NotFound", err)
		}
		if _, err := client.Schema(ctx, "grpc.testing.TestService"); err != nil {
			t.Error(err)
		}
	}
}
