// SPDX-License-Identifier: Apache-2.0

// The server: registration, interceptors of both kinds, the library's protocols, and
// grpc-go's packages that register services of their own.

package grpcadapter_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/grpcadapter"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/reflection"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestRegisterMisuse(t *testing.T) {
	for _, test := range []struct {
		name string
		use  func(*grpcadapter.Server)
		want string
	}{
		{"twice", func(s *grpcadapter.Server) {
			testpb.RegisterTestServiceServer(s, &service{})
			testpb.RegisterTestServiceServer(s, &service{})
		}, "grpcadapter: register grpc.testing.TestService: the service is registered already"},
		{"another type", func(s *grpcadapter.Server) {
			s.RegisterService(&testpb.TestService_ServiceDesc, "text")
		}, "grpcadapter: register grpc.testing.TestService: string does not implement grpc_testing.TestServiceServer"},
		{"late", func(s *grpcadapter.Server) {
			s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil))
			testpb.RegisterTestServiceServer(s, &service{})
		}, "grpcadapter: register grpc.testing.TestService: the server serves already: register all services before"},
		{"nil option", func(*grpcadapter.Server) {
			grpcadapter.NewServer(nil)
		}, "grpcadapter: NewServer: an option is nil"},
		{"no direction", func(s *grpcadapter.Server) {
			s.RegisterService(&grpc.ServiceDesc{ServiceName: "a.B", Streams: []grpc.StreamDesc{{StreamName: "C"}}}, nil)
		}, "grpcadapter: register /a.B/C: a stream of the service's description streams in no direction"},
		{"no message", func(s *grpcadapter.Server) {
			s.RegisterService(&grpc.ServiceDesc{ServiceName: "a.B", Methods: []grpc.MethodDesc{{
				MethodName: "C",
				Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
					return nil, decode(new(string))
				},
			}}}, nil)
		}, "grpcadapter: register /a.B/C: the program has no schema for it, and its code decodes into no proto.Message"},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer func() {
				if got := recover(); got != test.want {
					t.Errorf("got panic %q, want %q", got, test.want)
				}
			}()
			test.use(grpcadapter.NewServer())
		})
	}
}

// noting returns interceptors of grpc-go that note when they run.
func noting(name string, notes *[]string) []grpcadapter.ServerOption {
	return []grpcadapter.ServerOption{
		grpcadapter.WithUnaryInterceptors(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			_, typed := req.(*testpb.SimpleRequest)
			_, impl := info.Server.(*service)
			if !typed || !impl || info.FullMethod != unaryMethod {
				return nil, errors.New("wrong arguments")
			}
			*notes = append(*notes, name)
			res, err := next(ctx, req)
			*notes = append(*notes, name+" ends")
			return res, err
		}),
		grpcadapter.WithStreamInterceptors(func(impl any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			if _, ok := impl.(*service); !ok || !info.IsServerStream || info.IsClientStream {
				return errors.New("wrong arguments")
			}
			*notes = append(*notes, name)
			return next(impl, stream)
		}),
	}
}

func TestInterceptors(t *testing.T) {
	s := &service{
		unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			return &testpb.SimpleResponse{}, nil
		},
		server: func(*request, grpc.ServerStreamingServer[response]) error { return nil },
	}
	var notes []string
	options := slices.Concat(noting("a", &notes), noting("b", &notes))
	options = append(options, grpcadapter.WithHandlerOptions(connect.WithInterceptors(connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			res, err := next(ctx, req)
			if err != nil {
				return nil, err
			}
			for _, msg := range []any{req.Any(), res.Any()} {
				m, ok := msg.(proto.Message)
				if !ok {
					t.Errorf("got %T, want a message", msg)
					continue
				}
				switch m := m.ProtoReflect().Interface().(type) {
				case *testpb.SimpleRequest, *testpb.SimpleResponse:
				default:
					t.Errorf("got %T, want a message of the service", m)
				}
			}
			if req.Spec().Schema == nil || req.Spec().Procedure != unaryMethod {
				t.Errorf("got %v", req.Spec())
			}
			notes = append(notes, "library")
			return res, err
		}
	}))))
	address := serveOurs(t, newServer(s, options...), false)
	client := testpb.NewTestServiceClient(grpcadapter.NewClientConn(h2Client(t), "http://"+address+"/")) // the slash is not doubled
	if _, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "b ends", "a ends", "library"}; !cmp.Equal(notes, want) {
		t.Errorf("got %q, want %q", notes, want)
	}
	notes = nil
	stream, err := client.StreamingOutputCall(t.Context(), &request{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("got %v, want io.EOF", err)
	}
	if want := []string{"a", "b"}; !cmp.Equal(notes, want) {
		t.Errorf("got %q, want %q", notes, want)
	}
}

// TestJSON: a call as curl makes it, over HTTP/1.1, and what is no call.
func TestJSON(t *testing.T) {
	s := &service{unary: func(_ context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		if req.FillUsername {
			return nil, status.Error(codes.NotFound, "no user")
		}
		return &testpb.SimpleResponse{Username: "ada"}, nil
	}}
	server := httptest.NewServer(newServer(s))
	defer server.Close()
	for _, test := range []struct {
		path, body string
		status     int
		want       string
	}{
		{unaryMethod, `{}`, http.StatusOK, `{"username":"ada"}`},
		{unaryMethod, `{"fillUsername":true}`, http.StatusNotFound, `{"code":"not_found","message":"no user"}`},
		{unaryMethod, `{"fillUsername":`, http.StatusBadRequest, `"code":"invalid_argument"`},
		{"/grpc.testing.TestService/None", `{}`, http.StatusNotFound, `"code":"unimplemented"`},
		{"/grpc.testing.None/UnaryCall", `{}`, http.StatusNotFound, `"code":"unimplemented"`},
	} {
		res, err := http.Post(server.URL+test.path, "application/json", strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != test.status || !bytes.Contains(got, []byte(test.want)) {
			t.Errorf("%s %s: got %d, %s, %v, want %d, %s", test.path, test.body, res.StatusCode, got, err, test.status, test.want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestBadMetadata: a binary value that is not base64 ends the call.
func TestBadMetadata(t *testing.T) {
	s := &service{
		unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
			return &testpb.SimpleResponse{}, nil
		},
		bidi: func(grpc.BidiStreamingServer[request, response]) error { return nil },
	}
	address := serveOurs(t, newServer(s), false)
	client := connect.NewClient[testpb.SimpleRequest, testpb.SimpleResponse](h2Client(t), "http://"+address+unaryMethod)
	req := connect.NewRequest(&testpb.SimpleRequest{})
	req.Header().Set("Data-Bin", "!")
	const want = `read metadata: value of "data-bin" is "!": expected base64`
	if _, err := client.CallUnary(t.Context(), req); connect.CodeOf(err) != connect.CodeInternal || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	streams := connect.NewClient[request, response](h2Client(t), "http://"+address+"/grpc.testing.TestService/FullDuplexCall")
	stream := streams.CallBidiStream(t.Context())
	stream.RequestHeader().Set("Data-Bin", "!")
	if err := stream.CloseRequest(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Receive(); connect.CodeOf(err) != connect.CodeInternal || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestPackagesOfGRPC: the health service and server reflection of grpc-go.
func TestPackagesOfGRPC(t *testing.T) {
	server := newServer(&service{})
	checks := health.NewServer()
	healthpb.RegisterHealthServer(server, checks)
	reflection.Register(server)
	conn := dialGRPC(t, serveOurs(t, server, false))

	watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{Service: "a"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []healthpb.HealthCheckResponse_ServingStatus{healthpb.HealthCheckResponse_SERVICE_UNKNOWN, healthpb.HealthCheckResponse_SERVING} {
		if res, err := watch.Recv(); err != nil || res.Status != want {
			t.Errorf("got %v, %v, want %v", res, err, want)
		}
		checks.SetServingStatus("a", healthpb.HealthCheckResponse_SERVING)
	}
	checks.Shutdown()

	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	res, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range res.GetListServicesResponse().GetService() {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	want := []string{"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection", "grpc.testing.TestService"}
	if !cmp.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("got %v, want io.EOF", err)
	}
	info := server.GetServiceInfo()["grpc.testing.TestService"]
	if len(info.Methods) != 8 || info.Metadata != "grpc/testing/test.proto" {
		t.Errorf("got %v", info)
	}
}

// TestWithoutSchema: a description that is written by hand, of a service that no
// schema has.
func TestWithoutSchema(t *testing.T) {
	desc := &grpc.ServiceDesc{
		ServiceName: "hand.Written",
		Methods: []grpc.MethodDesc{{MethodName: "Upper", Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := new(wrapperspb.StringValue)
			if err := decode(in); err != nil {
				return nil, err
			}
			if in.Value == "" {
				return (*wrapperspb.StringValue)(nil), nil // as an empty message
			}
			if in.Value == "fault" {
				return "text", nil
			}
			return wrapperspb.String(strings.ToUpper(in.Value)), nil
		}}},
		Streams: []grpc.StreamDesc{{StreamName: "Letters", ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
			in := new(wrapperspb.StringValue)
			if err := stream.RecvMsg(in); err != nil {
				return err
			}
			for _, letter := range in.Value {
				if err := stream.SendMsg(wrapperspb.String(string(letter))); err != nil {
					return err
				}
			}
			return nil
		}}},
	}
	server := grpcadapter.NewServer()
	server.RegisterService(desc, nil)
	conn := grpcadapter.NewClientConn(h2Client(t), "http://"+serveOurs(t, server, true))
	for in, want := range map[string]string{"abc": "ABC", "": ""} {
		out := wrapperspb.String("old")
		if err := conn.Invoke(t.Context(), "/hand.Written/Upper", wrapperspb.String(in), out); err != nil || out.Value != want {
			t.Errorf("got %v, %v, want %q", out, err, want)
		}
	}
	err := conn.Invoke(t.Context(), "/hand.Written/Upper", wrapperspb.String("fault"), new(wrapperspb.StringValue))
	if status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "reply of /hand.Written/Upper: string is not a proto.Message") {
		t.Errorf("got %v", err)
	}
	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/hand.Written/Letters")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(stream.SendMsg(wrapperspb.String("ab")), stream.CloseSend()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a", "b"} {
		out := new(wrapperspb.StringValue)
		if err := stream.RecvMsg(out); err != nil || out.Value != want {
			t.Errorf("got %v, %v, want %q", out, err, want)
		}
	}
	if err := stream.RecvMsg(new(wrapperspb.StringValue)); err != io.EOF {
		t.Errorf("got %v, want io.EOF", err)
	}
}

// TestEmbeddedServer: a type that embeds a Server and has a ServeHTTP of its own gets
// every call, on the engine, too.
func TestEmbeddedServer(t *testing.T) {
	s := &service{unary: func(context.Context, *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
		return &testpb.SimpleResponse{}, nil
	}}
	outer := &refusing{Server: newServer(s)}
	conn := grpcadapter.NewClientConn(h2Client(t), "http://"+serveOurs(t, outer, true), connect.WithGRPC())
	if err := conn.Invoke(t.Context(), unaryMethod, &testpb.SimpleRequest{}, &testpb.SimpleResponse{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("got %v, want Unauthenticated", err)
	}
}

type refusing struct{ *grpcadapter.Server }

func (r *refusing) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusUnauthorized)
}
