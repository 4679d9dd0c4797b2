// SPDX-License-Identifier: Apache-2.0

// The generated code at work: clients and handlers of every kind, over every protocol.

package gentest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	reference "connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1/kindsv1connect"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1/kindsv1peer"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1/kindsv1simple"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1/kindsv1simplepeer"
)

// A style is a way to generate the code for kinds.proto: an implementation of the service, and a client without types.
type style struct {
	name string
	// mount returns the path and the handler of an implementation.
	mount func() (string, http.Handler)
	dial  func(httpClient *http.Client, baseURL, protocol string) caller
	code  func(error) string // the code of an error of the style's runtime
}

// A caller makes the calls of KindsService.
type caller interface {
	double(ctx context.Context, number int64) (int64, error)
	sum(ctx context.Context, numbers ...int64) (int64, error)
	count(ctx context.Context, number int64) ([]int64, error)
	add(ctx context.Context, numbers ...int64) ([]int64, error)
	missing(ctx context.Context) error
	missingStream(ctx context.Context) error
}

var styles = []style{
	{
		name:  "wrapped",
		mount: func() (string, http.Handler) { return kindsv1connect.NewKindsServiceHandler(wrappedServer{}) },
		dial: func(httpClient *http.Client, baseURL, protocol string) caller {
			return wrappedCaller{kindsv1connect.NewKindsServiceClient(httpClient, baseURL, clientOptions(protocol)...)}
		},
		code: func(err error) string { return connect.CodeOf(err).String() },
	},
	{
		name:  "simple",
		mount: func() (string, http.Handler) { return kindsv1simple.NewKindsServiceHandler(simpleServer{}) },
		dial: func(httpClient *http.Client, baseURL, protocol string) caller {
			return simpleCaller{kindsv1simple.NewKindsServiceClient(httpClient, baseURL, clientOptions(protocol)...)}
		},
		code: func(err error) string { return connect.CodeOf(err).String() },
	},
	{
		name:  "wrapped on the reference",
		mount: func() (string, http.Handler) { return kindsv1peer.NewKindsServiceHandler(wrappedPeerServer{}) },
		dial: func(httpClient *http.Client, baseURL, protocol string) caller {
			return wrappedPeerCaller{kindsv1peer.NewKindsServiceClient(httpClient, baseURL, peerOptions(protocol)...)}
		},
		code: func(err error) string { return reference.CodeOf(err).String() },
	},
	{
		name:  "simple on the reference",
		mount: func() (string, http.Handler) { return kindsv1simplepeer.NewKindsServiceHandler(simplePeerServer{}) },
		dial: func(httpClient *http.Client, baseURL, protocol string) caller {
			return simplePeerCaller{kindsv1simplepeer.NewKindsServiceClient(httpClient, baseURL, peerOptions(protocol)...)}
		},
		code: func(err error) string { return reference.CodeOf(err).String() },
	},
}

var protocols = []string{"connect", "grpc", "grpcweb"}

func TestCalls(t *testing.T) {
	for _, server := range styles {
		for _, client := range styles {
			t.Run(server.name+" server/"+client.name+" client", func(t *testing.T) {
				httpClient, url := serve(t, server.mount)
				for _, protocol := range protocols {
					t.Run(protocol, func(t *testing.T) {
						testCalls(t, client, client.dial(httpClient, url, protocol))
					})
				}
			})
		}
	}
}

func testCalls(t *testing.T, style style, client caller) {
	ctx := t.Context()
	if got, err := client.double(ctx, 21); err != nil || got != 42 {
		t.Errorf("double: got %d, %v, want 42", got, err)
	}
	if got, err := client.sum(ctx, 1, 2, 3); err != nil || got != 6 {
		t.Errorf("sum: got %d, %v, want 6", got, err)
	}
	if got, err := client.count(ctx, 3); err != nil || !slices.Equal(got, []int64{1, 2, 3}) {
		t.Errorf("count: got %d, %v, want 1 2 3", got, err)
	}
	if got, err := client.add(ctx, 1, 2, 3); err != nil || !slices.Equal(got, []int64{1, 3, 6}) {
		t.Errorf("add: got %d, %v, want 1 3 6", got, err)
	}
	// The messages of UnimplementedKindsServiceHandler name the method.
	for method, err := range map[string]error{"Missing": client.missing(ctx), "MissingStream": client.missingStream(ctx)} {
		if got := style.code(err); err == nil || got != "unimplemented" {
			t.Errorf("%s: got %v, want code unimplemented", method, err)
		}
		want := "unimplemented: gentest.kinds.v1.KindsService." + method + " is not implemented"
		if err != nil && err.Error() != want {
			t.Errorf("%s: got %q, want %q", method, err, want)
		}
	}
	// Errors keep their codes in every style.
	if _, err := client.double(ctx, -1); err == nil || style.code(err) != "out_of_range" {
		t.Errorf("double of -1: got %v, want code out_of_range", err)
	}
	if _, err := client.count(ctx, -1); err == nil || style.code(err) != "out_of_range" {
		t.Errorf("count to -1: got %v, want code out_of_range", err)
	}
}

// serve mounts a handler on an HTTP/2 server and returns a client for it. The URL ends in slashes, which generated
// clients remove.
func serve(t *testing.T, mount func() (string, http.Handler)) (*http.Client, string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(mount())
	server := httptest.NewUnstartedServer(mux)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Client(), server.URL + "//"
}

func clientOptions(protocol string) []connect.ClientOption {
	switch protocol {
	case "grpc":
		return []connect.ClientOption{connect.WithGRPC()}
	case "grpcweb":
		return []connect.ClientOption{connect.WithGRPCWeb()}
	default:
		return nil
	}
}

func peerOptions(protocol string) []reference.ClientOption {
	switch protocol {
	case "grpc":
		return []reference.ClientOption{reference.WithGRPC()}
	case "grpcweb":
		return []reference.ClientOption{reference.WithGRPCWeb()}
	default:
		return nil
	}
}

// TestSpecs checks the Spec that interceptors get from the generated code: procedure, schema and idempotency, on both sides.
func TestSpecs(t *testing.T) {
	var specs []connect.Spec
	record := connect.WithInterceptors(connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			specs = append(specs, req.Spec())
			return next(ctx, req)
		}
	}))
	httpClient, url := serve(t, func() (string, http.Handler) {
		return kindsv1connect.NewKindsServiceHandler(wrappedServer{}, record)
	})
	client := kindsv1connect.NewKindsServiceClient(httpClient, url, record)
	if _, err := client.Double(t.Context(), connect.NewRequest(number(1))); err != nil {
		t.Fatal(err)
	}
	if len(specs) != 2 {
		t.Fatalf("got %d specs, want one of the client and one of the handler", len(specs))
	}
	for n, spec := range specs {
		if got, want := spec.Procedure, kindsv1connect.KindsServiceDoubleProcedure; got != want {
			t.Errorf("procedure %d: got %q, want %q", n, got, want)
		}
		if got, want := spec.IdempotencyLevel, connect.IdempotencyNoSideEffects; got != want {
			t.Errorf("idempotency %d: got %v, want %v", n, got, want)
		}
		schema, ok := spec.Schema.(protoreflect.MethodDescriptor)
		if want := protoreflect.FullName("gentest.kinds.v1.KindsService.Double"); !ok || schema.FullName() != want {
			t.Errorf("schema %d: got %v, want %v", n, spec.Schema, want)
		}
		if got, want := spec.IsClient, n == 0; got != want {
			t.Errorf("client %d: got %t, want %t", n, got, want)
		}
	}
}

// TestGet checks that a client with the option for GET uses it for a method without side effects, and for no other.
func TestGet(t *testing.T) {
	var verbs []string
	httpClient, url := serve(t, func() (string, http.Handler) {
		path, handler := kindsv1connect.NewKindsServiceHandler(wrappedServer{})
		return path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			verbs = append(verbs, r.Method)
			handler.ServeHTTP(w, r)
		})
	})
	client := kindsv1connect.NewKindsServiceClient(httpClient, url, connect.WithHTTPGet())
	if res, err := client.Double(t.Context(), connect.NewRequest(number(4))); err != nil || res.Msg.GetValue() != 8 {
		t.Errorf("double: got %v, %v, want 8", res, err)
	}
	_, _ = client.Missing(t.Context(), connect.NewRequest(number(4)))
	if want := []string{http.MethodGet, http.MethodPost}; !slices.Equal(verbs, want) {
		t.Errorf("verbs: got %q, want %q", verbs, want)
	}
}

func number(value int64) *kindsv1.Number {
	return &kindsv1.Number{Value: proto.Int64(value)}
}

var errNegative = errors.New("negative")

// receiver has the methods of a stream's reading side that are the same in every style.
type receiver interface {
	Receive() bool
	Msg() *kindsv1.Number
	Err() error
}

// collect reads a stream to its end.
func collect(stream receiver) ([]int64, error) {
	var numbers []int64
	for stream.Receive() {
		numbers = append(numbers, stream.Msg().GetValue())
	}
	return numbers, stream.Err()
}

// conversation has the methods of a client's bidirectional stream that are the same in every style.
type conversation interface {
	Send(*kindsv1.Number) error
	Receive() (*kindsv1.Number, error)
	CloseRequest() error
	CloseResponse() error
}

// converse sends numbers, and reads an answer after each.
func converse(stream conversation, numbers ...int64) (answers []int64, err error) {
	defer func() { err = errors.Join(err, stream.CloseResponse()) }()
	for _, value := range numbers {
		if err := stream.Send(number(value)); err != nil {
			return answers, err
		}
		answer, err := stream.Receive()
		if err != nil {
			return answers, err
		}
		answers = append(answers, answer.GetValue())
	}
	if err := stream.CloseRequest(); err != nil {
		return answers, err
	}
	if _, err := stream.Receive(); !errors.Is(err, io.EOF) {
		return answers, err
	}
	return answers, nil
}

// firstAnswer returns the error of a stream that is expected to have nothing else.
func firstAnswer(stream conversation) error {
	_ = stream.CloseRequest()
	_, err := stream.Receive()
	_ = stream.CloseResponse()
	return err
}
