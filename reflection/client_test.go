// SPDX-License-Identifier: Apache-2.0

// This file looks up what servers have, also servers that answer as they should not.

package reflection

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
	"github.com/seed-b7c59c10/connect/dynamic"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/registry"
)

var (
	_ protodesc.Resolver = (*Resolver)(nil)
	_ dynamic.Types      = (*Resolver)(nil)
)

func TestClient(t *testing.T) {
	for _, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			ctx := testContext(t)
			s := serveAcme(t, c.server...)
			client := NewClient(s.Client(), s.URL+"/", c.options...)
			names, err := client.Services(ctx)
			if want := []protoreflect.FullName{"acme.v1.S", "grpc.health.v1.Health", ServiceNameV1, ServiceNameV1Alpha}; err != nil || !slices.Equal(names, want) {
				t.Errorf("got %q and %v, want %q", names, err, want)
			}
			numbers, err := client.ExtensionNumbers(ctx, "acme.v1.B")
			if want := []protoreflect.FieldNumber{101, 150}; err != nil || !slices.Equal(numbers, want) {
				t.Errorf("got %d and %v, want %d", numbers, err, want)
			}
			_, err = client.ExtensionNumbers(ctx, "acme.v1.Missing")
			wantError(t, err, connect.CodeNotFound, "acme.v1.Missing")
			schema, err := client.Schema(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, method := range []string{"/acme.v1.S/M", "/grpc.health.v1.Health/Watch"} {
				if _, err := schema.Method(method); err != nil {
					t.Error(err)
				}
			}
			_, err = client.Schema(ctx, "acme.v1.T")
			wantError(t, err, connect.CodeNotFound, "acme.v1.T")
		})
	}
}

// A server with v1alpha alone is asked for v1 once.
func TestOldServer(t *testing.T) {
	var calls atomic.Int32
	mux := http.NewServeMux()
	mux.Handle("/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		connect.NewUnknownProcedureHandler().ServeHTTP(w, r)
	}))
	procedures := new(registry.Registry)
	mux.Handle(procedures.Add(NewHandlerV1Alpha(New(procedures))))
	s := connecttest.NewServer(mux)
	defer s.Close()
	client := NewClient(s.Client(), s.URL, connect.WithGRPC())
	for range 3 {
		if names, err := client.Services(testContext(t)); err != nil || !slices.Equal(names, []protoreflect.FullName{ServiceNameV1Alpha}) {
			t.Errorf("got %q and %v", names, err)
		}
	}
	if got := calls.Load(); got != 1 {
		t.Errorf("got %d calls of v1, want 1", got)
	}
	none := connecttest.NewServer(connect.NewUnknownProcedureHandler())
	defer none.Close()
	_, err := NewClient(none.Client(), none.URL).Services(testContext(t))
	wantError(t, err, connect.CodeUnimplemented, "reflect "+strings.TrimPrefix(none.URL, "http://"))
}

// countCalls counts the calls of a server.
func countCalls(calls *atomic.Int32) connect.ClientOption {
	return connect.WithCallInterceptors(func(next connect.CallFunc) connect.CallFunc {
		return func(ctx context.Context, call *connect.Call) error {
			calls.Add(1)
			return next(ctx, call)
		}
	})
}

func TestResolver(t *testing.T) {
	var calls atomic.Int32
	s := serveAcme(t)
	r := NewClient(s.Client(), s.URL, countCalls(&calls)).Resolver(testContext(t))
	wantCalls := func(want int32) {
		t.Helper()
		if got := calls.Load(); got != want {
			t.Errorf("got %d calls, want %d", got, want)
		}
	}
	service, err := r.FindDescriptorByName("acme.v1.S")
	if _, ok := service.(protoreflect.ServiceDescriptor); err != nil || !ok {
		t.Fatalf("got %v and %v, want the service", service, err)
	}
	wantCalls(1)
	for _, name := range []protoreflect.FullName{"acme.v1.B", "acme.v1.B.c", "acme.v1.S.M", "acme.v1.C"} {
		if d, err := r.FindDescriptorByName(name); err != nil || d.FullName() != name {
			t.Errorf("got %v and %v, want %s", d, err, name)
		}
	}
	if f, err := r.FindFileByPath("acme/c.proto"); err != nil || f.Path() != "acme/c.proto" {
		t.Errorf("got %v and %v, want acme/c.proto", f, err)
	}
	message, err := r.FindMessageByURL("type.test/acme.v1.B")
	if err != nil {
		t.Fatal(err)
	}
	if x, err := r.FindExtensionByNumber("acme.v1.B", 150); err != nil || x.TypeDescriptor().FullName() != "acme.v1.top" {
		t.Errorf("got %v and %v, want acme.v1.top", x, err)
	}
	if x, err := r.FindExtensionByName("acme.v1.B.N.deep"); err != nil || x.TypeDescriptor().Number() != 101 {
		t.Errorf("got %v and %v, want number 101", x, err)
	}
	wantCalls(1) // all of it came with the service
	for range 3 {
		if _, err := r.FindDescriptorByName("acme.v1.Missing"); err != protoregistry.NotFound {
			t.Errorf("got %v, want NotFound", err)
		}
		if _, err := r.FindExtensionByNumber("acme.v1.B", 199); err != protoregistry.NotFound {
			t.Errorf("got %v, want NotFound", err)
		}
		if _, err := r.FindFileByPath("acme/missing.proto"); err != protoregistry.NotFound {
			t.Errorf("got %v, want NotFound", err)
		}
	}
	wantCalls(4)
	if _, err := r.FindMessageByName("acme.v1.S"); err == nil || err == protoregistry.NotFound {
		t.Errorf("got %v, want an error: it is a service", err)
	}
	wantCalls(4)

	// JSON with a type and an extension that the program does not have.
	const text = `{"@type":"type.test/acme.v1.B", "c":{}, "[acme.v1.top]":"here"}`
	any := new(anypb.Any)
	if err := (protojson.UnmarshalOptions{Resolver: r}).Unmarshal([]byte(text), any); err != nil {
		t.Fatal(err)
	}
	m := message.New().Interface()
	if err := (proto.UnmarshalOptions{Resolver: r}).Unmarshal(any.Value, m); err != nil {
		t.Fatal(err)
	}
	if got, err := prototext.Marshal(m); err != nil || strings.ReplaceAll(string(got), "  ", " ") != `c:{} [acme.v1.top]:"here"` {
		t.Errorf("got %s and %v", got, err)
	}
	wantCalls(4)
}

// What the server lacks comes from the program, and what both have from the server.
func TestResolverLinked(t *testing.T) {
	s := serveScript(t, func(string, string) (string, error) { return "", errors.New("there is none") })
	r := NewClient(s.Client(), s.URL).Resolver(testContext(t))
	if m, err := r.FindMessageByName("conntest.v1.Request"); err != nil || m.New().Interface().(*conntestv1.Request) == nil {
		t.Errorf("got %v and %v, want the generated type", m, err)
	}
	if f, err := r.FindFileByPath("conntest/v1/conntest.proto"); err != nil || f != conntestv1.File_conntest_v1_conntest_proto {
		t.Errorf("got %v and %v, want the linked file", f, err)
	}
	for range 2 {
		if _, err := r.FindMessageByName("conntest.v1.Missing"); err != protoregistry.NotFound {
			t.Errorf("got %v, want NotFound", err)
		}
	}
	acme := serveAcme(t)
	r = NewClient(acme.Client(), acme.URL).Resolver(testContext(t))
	if m, err := r.FindMessageByName("conntest.v1.Request"); err != nil {
		t.Error(err)
	} else if _, ok := m.New().Interface().(*dynamicpb.Message); !ok {
		t.Errorf("got a %T, want a dynamic message", m.New().Interface())
	}
}

// serveScript serves answers that a test makes: for the name of a question's field and its
// value, the files in text form, separated by "---", or an error with CodeNotFound.
func serveScript(t testing.TB, answer func(field, value string) (string, error)) *connecttest.Server {
	t.Helper()
	s := connecttest.NewServer(dynamic.NewHandler(methodV1(), func(_ context.Context, stream *dynamic.Stream) error {
		for {
			question, err := stream.Receive()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			field := question.WhichOneof(question.Descriptor().Oneofs().Get(0))
			texts, err := answer(string(field.Name()), question.Get(field).String())
			response := stream.NewResponse()
			fields := response.Descriptor().Fields()
			if err != nil {
				part := response.Mutable(fields.ByName("error_response")).Message()
				set(part, "error_code", protoreflect.ValueOfInt32(int32(connect.CodeNotFound)))
				set(part, "error_message", protoreflect.ValueOfString(err.Error()))
			} else {
				part := response.Mutable(fields.ByName("file_descriptor_response")).Message()
				list := part.Mutable(part.Descriptor().Fields().ByName("file_descriptor_proto")).List()
				for text := range strings.SplitSeq(texts, "---") {
					file := new(descriptorpb.FileDescriptorProto)
					if err := prototext.Unmarshal([]byte(text), file); err != nil {
						return err
					}
					encoded, err := proto.Marshal(file)
					if err != nil {
						return err
					}
					list.Append(protoreflect.ValueOfBytes(encoded))
				}
			}
			if err := stream.Send(response); err != nil {
				return err
			}
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// Servers whose files make no sense.
func TestResolverHostile(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(field, value string) (string, error)
		code   connect.Code // 0 for NotFound
		text   string
	}{
		"another file": {func(string, string) (string, error) { return `name: "x.proto"`, nil }, 0, ""},
		"no syntax":    {func(string, string) (string, error) { return `name: "x.proto" syntax: "proto9"`, nil }, connect.CodeInternal, "proto9"},
		"unresolved": {func(string, string) (string, error) {
			return `name: "x.proto" message_type { name: "M" field { name: "f" number: 1 type: TYPE_MESSAGE label: LABEL_OPTIONAL type_name: ".y.Z" } }`, nil
		}, connect.CodeInternal, "y.Z"},
		"a circle": {func(string, string) (string, error) {
			return `name: "x.proto" dependency: "y.proto" --- name: "y.proto" dependency: "z.proto" --- name: "z.proto" dependency: "x.proto"`, nil
		}, connect.CodeInternal, `file "x.proto" imports itself`},
		"itself": {func(string, string) (string, error) { return `name: "x.proto" dependency: "x.proto"`, nil }, connect.CodeInternal, "imports itself"},
		"name twice": {func(string, string) (string, error) {
			return `name: "x.proto" message_type { name: "M" } --- name: "y.proto" message_type { name: "M" }`, nil
		}, connect.CodeInternal, "M"},
		"no such file": {func(field, value string) (string, error) {
			if field == "file_by_filename" {
				return "", fmt.Errorf("no %s", value)
			}
			return `name: "x.proto" dependency: "y.proto"`, nil
		}, connect.CodeFailedPrecondition, "y.proto"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveScript(t, c.answer)
			r := NewClient(s.Client(), s.URL).Resolver(testContext(t))
			for range 2 { // the first failure breaks nothing
				_, err := r.FindDescriptorByName("a.B")
				if c.code == 0 {
					if err != protoregistry.NotFound {
						t.Errorf("got %v, want NotFound", err)
					}
					continue
				}
				if err == protoregistry.NotFound && c.code == connect.CodeInternal {
					continue // the file is known to be broken
				}
				wantError(t, err, c.code, c.text)
			}
		})
	}
}

// Names that are longer than a server's limit are not looked up: a peer may have chosen them.
func TestResolverLongNames(t *testing.T) {
	r := NewClient(nil, "").Resolver(testContext(t)) // with a call the error would be another
	name := protoreflect.FullName(strings.Repeat("a", nameMax+1))
	if _, err := r.FindDescriptorByName(name); err != protoregistry.NotFound {
		t.Errorf("got %v for a descriptor, want NotFound", err)
	}
	if _, err := r.FindMessageByURL("type.example.com/" + string(name)); err != protoregistry.NotFound {
		t.Errorf("got %v for a message, want NotFound", err)
	}
	if _, err := r.FindExtensionByName(name); err != protoregistry.NotFound {
		t.Errorf("got %v for an extension, want NotFound", err)
	}
}

// A broken file does not spoil what is looked up later.
func TestResolverAfterBrokenFile(t *testing.T) {
	s := serveScript(t, func(_, value string) (string, error) {
		if value == "bad.M" {
			return `name: "bad.proto" syntax: "proto9"`, nil
		}
		return `name: "good.proto" package: "good" message_type { name: "M" }`, nil
	})
	r := NewClient(s.Client(), s.URL).Resolver(testContext(t))
	_, err := r.FindMessageByName("bad.M")
	wantError(t, err, connect.CodeInternal, "proto9")
	if m, err := r.FindMessageByName("good.M"); err != nil || m.Descriptor().FullName() != "good.M" {
		t.Errorf("got %v and %v, want good.M", m, err)
	}
}

// A file that lacks an import does not spoil what is looked up later, and is whole when the
// server has the import.
func TestResolverAfterLackingFile(t *testing.T) {
	var complete atomic.Bool
	s := serveScript(t, func(_, value string) (string, error) {
		switch value {
		case "bad.M":
			return `name: "bad.proto" package: "bad" dependency: "lacking.proto" message_type { name: "M" }`, nil
		case "lacking.proto":
			if !complete.Load() {
				return "", fmt.Errorf("no %s", value)
			}
			return `name: "lacking.proto"`, nil
		}
		return `name: "good.proto" package: "good" message_type { name: "M" }`, nil
	})
	r := NewClient(s.Client(), s.URL).Resolver(testContext(t))
	for range 2 {
		_, err := r.FindMessageByName("bad.M")
		wantError(t, err, connect.CodeFailedPrecondition, "lacking.proto")
		if m, err := r.FindMessageByName("good.M"); err != nil || m.Descriptor().FullName() != "good.M" {
			t.Fatalf("got %v and %v, want good.M", m, err)
		}
	}
	complete.Store(true)
	if m, err := r.FindMessageByName("bad.M"); err != nil || m.Descriptor().FullName() != "bad.M" {
		t.Errorf("got %v and %v, want bad.M", m, err)
	}
}

// A long chain of files of which the last is broken: each file is tried once.
func TestResolverBrokenChain(t *testing.T) {
	const length = 3000
	var all strings.Builder
	for i := range length {
		fmt.Fprintf(&all, "name: \"%d.proto\" dependency: \"%d.proto\" --- ", i, i+1)
	}
	fmt.Fprintf(&all, "name: \"%d.proto\" syntax: \"proto9\"", length)
	s := serveScript(t, func(string, string) (string, error) { return all.String(), nil })
	r := NewClient(s.Client(), s.URL).Resolver(testContext(t))
	_, err := r.FindDescriptorByName("a.B")
	wantError(t, err, connect.CodeInternal, "proto9")
	if r.tries != length+1 {
		t.Errorf("got %d tries to add a file, want %d", r.tries, length+1)
	}
}

// A file with more imports than a set may have files, which the server answers with another
// file: the number of questions is bounded.
func TestResolverManyImports(t *testing.T) {
	var many strings.Builder
	many.WriteString(`name: "x.proto"`)
	for i := range 10_100 {
		fmt.Fprintf(&many, " dependency: \"%d.proto\"", i)
	}
	var questions atomic.Int32
	s := serveScript(t, func(field, _ string) (string, error) {
		questions.Add(1)
		if field == "file_by_filename" {
			return `name: "y.proto"`, nil
		}
		return many.String(), nil
	})
	r := NewClient(s.Client(), s.URL).Resolver(testContext(t))
	_, err := r.FindDescriptorByName("a.B")
	wantError(t, err, connect.CodeResourceExhausted, "10000 files")
	if got := questions.Load(); got > 10_000 {
		t.Errorf("got %d questions, want at most 10000", got)
	}
}

// The context that the resolver has ends its look-ups.
func TestResolverContext(t *testing.T) {
	ctx, cancel := context.WithCancel(testContext(t))
	s := connecttest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer s.Close()
	r := NewClient(s.Client(), s.URL).Resolver(ctx)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			_, err := r.FindDescriptorByName("a.B")
			wantError(t, err, connect.CodeCanceled, "reflect "+strings.TrimPrefix(s.URL, "http://"))
		})
	}
	group.Wait()
}

// Many goroutines look up the same and other names: what the server has is loaded once.
func TestResolverConcurrent(t *testing.T) {
	var calls atomic.Int32
	s := serveAcme(t)
	r := NewClient(s.Client(), s.URL, countCalls(&calls)).Resolver(testContext(t))
	names := []protoreflect.FullName{"acme.v1.S", "acme.v1.B", "grpc.health.v1.Health", "acme.v1.Missing"}
	var group sync.WaitGroup
	for n := range 16 {
		group.Go(func() {
			for i := range 50 {
				name := names[(n+i)%len(names)]
				if d, err := r.FindDescriptorByName(name); (err == protoregistry.NotFound) != (name == "acme.v1.Missing") || err == nil && d.FullName() != name {
					t.Errorf("%s: got %v and %v", name, d, err)
				}
				if _, err := r.FindExtensionByNumber("acme.v1.B", 101); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if got := calls.Load(); got > 4 {
		t.Errorf("got %d calls, want at most one for each name", got)
	}
}

// An option of a method that no code is generated for, from the server to its client: how
// gateways find access rules. A server itself reads them from its registry.
func TestMethodOptions(t *testing.T) {
	file := new(descriptorpb.FileDescriptorProto)
	if err := prototext.Unmarshal([]byte(`name: "acme/s.proto" package: "acme.v1" syntax: "proto3" dependency: "google/protobuf/descriptor.proto"
		extension { name: "scope" number: 50001 label: LABEL_OPTIONAL type: TYPE_STRING extendee: ".google.protobuf.MethodOptions" json_name: "scope" }
		message_type { name: "Q" }
		service { name: "S" method { name: "M" input_type: ".acme.v1.Q" output_type: ".acme.v1.Q" options {} } }`), file); err != nil {
		t.Fatal(err)
	}
	scope := protowire.AppendString(protowire.AppendTag(nil, 50001, protowire.BytesType), "admin")
	file.Service[0].Method[0].Options.ProtoReflect().SetUnknown(scope)
	schema, err := dynamic.NewSchema(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{file}})
	if err != nil {
		t.Fatal(err)
	}
	procedures, mux := new(registry.Registry), http.NewServeMux()
	mux.Handle(procedures.Add("/acme.v1.S/", handlerOf(t, schema, "/acme.v1.S/M")))
	s := serve(t, procedures, mux)
	mounted, _ := procedures.Find("/acme.v1.S/M")
	client := NewClient(s.Client(), s.URL)
	seen, err := client.Schema(testContext(t), "acme.v1.S")
	if err != nil {
		t.Fatal(err)
	}
	method, err := seen.Method("/acme.v1.S/M")
	if err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func() (*descriptorpb.MethodOptions, dynamic.Types, error){
		"registry": func() (*descriptorpb.MethodOptions, dynamic.Types, error) {
			options, err := mounted.Options(schema.Types())
			return options, schema.Types(), err
		},
		"schema": func() (*descriptorpb.MethodOptions, dynamic.Types, error) {
			options, err := dynamic.MethodOptions(method, seen.Types())
			return options, seen.Types(), err
		},
		"resolver": func() (*descriptorpb.MethodOptions, dynamic.Types, error) {
			r := client.Resolver(testContext(t))
			options, err := dynamic.MethodOptions(method, r)
			return options, r, err
		},
	} {
		options, types, err := read()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		extension, err := types.FindExtensionByName("acme.v1.scope")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := proto.GetExtension(options, extension); got != "admin" {
			t.Errorf("%s: got scope %q, want admin", name, got)
		}
	}
}
