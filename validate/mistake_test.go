// SPDX-License-Identifier: Apache-2.0

// Mistakes of the program: broken responses, rules that do not compile or cannot be
// evaluated, and messages that are not Protobuf messages.

package validate_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	bufvalidate "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
	"github.com/seed-b7c59c10/connect/dynamic"
	"github.com/seed-b7c59c10/connect/validate"
	pb "github.com/seed-b7c59c10/connect/validate/internal/gen/validatetest/v1"
	pbconnect "github.com/seed-b7c59c10/connect/validate/internal/gen/validatetest/v1/validatetestv1connect"
)

// TestResponsesOfHandlers have an id that is too short.
func TestResponsesOfHandlers(t *testing.T) {
	for _, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			lines, logger := newLog()
			rules := validate.New(validate.WithValidateResponses(), validate.WithLogger(logger))
			client := newClient(serve(t, &accounts{id: "a"}, rules, c.server...), c.options...)
			for range 2 {
				for kind, call := range calls {
					t.Run(kind, func(t *testing.T) {
						wantError(t, call(testContext(t), client, valid()), connect.CodeInternal, "validating response validatetest.v1.OpenResponse: it breaks the rules of its schema")
					})
				}
			}
			if got := lines.lines(); len(got) != 1 || !strings.Contains(got[0], "id: must be at least 3 characters") {
				t.Errorf("got log %q, want one line with the violation", got)
			}
			good := newClient(serve(t, &accounts{id: "abc"}, rules, c.server...), c.options...)
			for kind, call := range calls {
				if err := call(testContext(t), good, valid()); err != nil {
					t.Errorf("%s: got %v, want no error for a good response", kind, err)
				}
			}
		})
	}
}

func TestResponsesOfClients(t *testing.T) {
	for _, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, &accounts{id: "a"}, nil, c.server...)
			unchecked := newClient(s, append(c.options, connect.WithInterceptors(validate.New()))...)
			client := newClient(s, append(c.options, connect.WithInterceptors(validate.New(validate.WithValidateResponses())))...)
			for kind, call := range calls {
				t.Run(kind, func(t *testing.T) {
					if err := call(testContext(t), unchecked, valid()); err != nil {
						t.Errorf("got %v, want no check of responses by default", err)
					}
					wantError(t, call(testContext(t), client, valid()), connect.CodeInternal, "validating response validatetest.v1.OpenResponse: id: ", "id string.min_len")
				})
			}
		})
	}
}

type breaker struct{ calls int }

func (b *breaker) Break(context.Context, *connect.Request[pb.BrokenRequest]) (*connect.Response[pb.OpenResponse], error) {
	b.calls++
	return connect.NewResponse(new(pb.OpenResponse)), nil
}

func TestBrokenRules(t *testing.T) {
	lines, logger := newLog()
	rules, b := validate.New(validate.WithLogger(logger)), new(breaker)
	mux := http.NewServeMux()
	var seen error
	mux.Handle(pbconnect.NewBrokenServiceHandler(b, connect.WithInterceptors(rules),
		connect.WithErrorHook(func(_ context.Context, _ connect.Spec, err error) error { seen = err; return err })))
	s := connecttest.NewServer(mux)
	t.Cleanup(s.Close)
	client := pbconnect.NewBrokenServiceClient(s.Client(), s.URL)
	for range 3 {
		_, err := client.Break(testContext(t), connect.NewRequest(&pb.BrokenRequest{Broken: &pb.Broken{Text: "a"}}))
		wantError(t, err, connect.CodeInternal, "validating request validatetest.v1.BrokenRequest: its rules cannot be evaluated")
		if strings.Contains(err.Error(), "overload") {
			t.Errorf("got text %q, want none of the compiler", err)
		}
	}
	var mistake *protovalidate.CompilationError
	if !errors.As(seen, &mistake) {
		t.Errorf("got error %v on the handler's side, want one that wraps a CompilationError", seen)
	}
	if b.calls != 0 {
		t.Error("the handler was called")
	}
	if got := lines.lines(); len(got) != 1 || !strings.Contains(got[0], "no matching overload") || !strings.Contains(got[0], "procedure=/validatetest.v1.BrokenService/Break") {
		t.Errorf("got log %q, want one line with the compiler's error and the procedure", got)
	}
}

func TestCompile(t *testing.T) {
	services := pb.File_validatetest_v1_account_proto.Services()
	account, broken := services.ByName("AccountService"), services.ByName("BrokenService")
	for _, rules := range []*validate.Interceptor{validate.New(), validate.New(validate.WithValidateResponses())} {
		if err := rules.Compile(account); err != nil {
			t.Errorf("got %v, want no error", err)
		}
		err := rules.Compile(account, broken)
		if err == nil || !strings.Contains(err.Error(), "compiling the rules of validatetest.v1.Broken") {
			t.Errorf("got %v, want the broken type's name", err)
		}
	}
}

// TestUnevaluable has a rule that fails for one value.
func TestUnevaluable(t *testing.T) {
	lines, logger := newLog()
	client := newClient(serve(t, &accounts{id: "abc"}, validate.New(validate.WithLogger(logger))))
	for range 3 {
		msg := valid()
		msg.Parts = 7
		wantError(t, calls["Open"](testContext(t), client, msg), connect.CodeInternal, "its rules cannot be evaluated")
	}
	if got := lines.lines(); len(got) != 1 {
		t.Errorf("got log %q, want one line", got)
	}
}

// TestNotProtobuf calls the interceptor with a message of another kind, as a program with a
// codec of its own does.
func TestNotProtobuf(t *testing.T) {
	_, logger := newLog()
	called := false
	call := func(rules *validate.Interceptor) error {
		_, err := rules.WrapUnary(func(context.Context, connect.AnyRequest) (connect.AnyResponse, error) {
			called = true
			return nil, nil
		})(t.Context(), connect.NewRequest(new(int)))
		return err
	}
	wantError(t, call(validate.New(validate.WithLogger(logger))), connect.CodeInternal, "validating request *int: it is not a Protobuf message: leave its procedure out with validate.WithFilter")
	if called {
		t.Error("the handler was called")
	}
	if err := call(validate.New(validate.WithFilter(func(connect.Spec) bool { return false }))); err != nil || !called {
		t.Errorf("got error %v and call %v, want a call", err, called)
	}
}

// TestDynamic has a schema that the program gets at run time, with rules in extensions.
func TestDynamic(t *testing.T) {
	file := protodesc.ToFileDescriptorProto(pb.File_validatetest_v1_account_proto)
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
		protodesc.ToFileDescriptorProto(bufvalidate.File_buf_validate_validate_proto), file,
	}}
	encoded, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := dynamic.LoadSet(encoded)
	if err != nil {
		t.Fatal(err)
	}
	method, err := schema.Method("/validatetest.v1.AccountService/Open")
	if err != nil {
		t.Fatal(err)
	}
	v, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	rules := validate.New(validate.WithValidator(v))
	if err := rules.Compile(method.Parent().(protoreflect.ServiceDescriptor)); err != nil {
		t.Fatal(err)
	}
	handler := dynamic.NewHandler(method, func(_ context.Context, s *dynamic.Stream) error {
		if _, err := s.Receive(); err != nil {
			return err
		}
		return s.Send(dynamicpb.NewMessage(method.Output()))
	}, connect.WithInterceptors(rules))
	s := connecttest.NewServer(handler)
	t.Cleanup(s.Close)
	client := dynamic.NewClient(s.Client(), s.URL, method)
	msg := dynamicpb.NewMessage(method.Input())
	fields := method.Input().Fields()
	msg.Set(fields.ByName("email"), protoreflect.ValueOfString("ada"))
	msg.Set(fields.ByName("age"), protoreflect.ValueOfInt32(20))
	_, err = client.CallUnary(testContext(t), connect.NewRequest(msg))
	wantError(t, err, connect.CodeInvalidArgument, "email: ", "email string.email")
	msg.Set(fields.ByName("email"), protoreflect.ValueOfString("ada@example.com"))
	if _, err := client.CallUnary(testContext(t), connect.NewRequest(msg)); err != nil {
		t.Error(err)
	}
}
