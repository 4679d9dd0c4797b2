// SPDX-License-Identifier: Apache-2.0

// This file asks the service, also as its clients should not.

package reflection

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
	"github.com/seed-b7c59c10/connect/dynamic"
	"github.com/seed-b7c59c10/connect/health"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/registry"
)

// The files of a schema that is not linked: a.proto has a service, b.proto what it imports
// and an extension, c.proto is what that imports.
const (
	fileA = `name: "acme/a.proto" package: "acme.v1" syntax: "proto3" dependency: "acme/b.proto"
		service { name: "S" method { name: "M" input_type: ".acme.v1.B" output_type: ".acme.v1.B" } }
		service { name: "T" method { name: "M" input_type: ".acme.v1.B" output_type: ".acme.v1.B" } }`
	fileB = `name: "acme/b.proto" package: "acme.v1" syntax: "proto2" dependency: "acme/c.proto"
		message_type {
			name: "B" field { name: "c" number: 1 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".acme.v1.C" }
			extension_range { start: 100 end: 200 }
			nested_type { name: "N" extension { name: "deep" number: 101 label: LABEL_OPTIONAL type: TYPE_INT32 extendee: ".acme.v1.B" } }
			enum_type { name: "E" value { name: "ZERO" number: 0 } }
		}
		extension { name: "top" number: 150 label: LABEL_OPTIONAL type: TYPE_STRING extendee: ".acme.v1.B" }`
	fileC = `name: "acme/c.proto" package: "acme.v1" syntax: "proto3" message_type { name: "C" }`
)

func decode(t testing.TB, encoded []byte) *descriptorpb.FileDescriptorProto {
	t.Helper()
	file := new(descriptorpb.FileDescriptorProto)
	if err := proto.Unmarshal(encoded, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// serveAcme serves acme.v1.S, but not T, beside health.
func serveAcme(t testing.TB, options ...connecttest.Option) *connecttest.Server {
	t.Helper()
	procedures, mux := new(registry.Registry), http.NewServeMux()
	mux.Handle(procedures.Add("/acme.v1.S/", handlerOf(t, schemaOf(t, fileA, fileB, fileC), "/acme.v1.S/M")))
	mux.Handle(procedures.Add(health.NewHandler(health.New())))
	return serve(t, procedures, mux, options...)
}

// questions are asked in one call, which leaves out files that it has sent.
var questions = []struct{ question, want string }{
	{`list_services: "*"`, "acme.v1.S grpc.health.v1.Health grpc.reflection.v1.ServerReflection grpc.reflection.v1alpha.ServerReflection"},
	{`list_services: ""`, "acme.v1.S grpc.health.v1.Health grpc.reflection.v1.ServerReflection grpc.reflection.v1alpha.ServerReflection"},
	{`file_containing_symbol: "acme.v1.S"`, "acme/a.proto acme/b.proto acme/c.proto"},
	{`file_containing_symbol: "acme.v1.S.M"`, "acme/a.proto"}, // what was sent is left out
	{`file_containing_symbol: "acme.v1.B"`, "acme/b.proto"},
	{`file_containing_symbol: "acme.v1.B.c"`, "acme/b.proto"},
	{`file_containing_symbol: "acme.v1.B.N.deep"`, "acme/b.proto"},
	{`file_containing_symbol: "acme.v1.B.ZERO"`, "acme/b.proto"},
	{`file_containing_symbol: "acme.v1.top"`, "acme/b.proto"},
	{`file_containing_symbol: "grpc.health.v1.Health"`, "grpc/health/v1/health.proto"},
	{`file_containing_symbol: "grpc.reflection.v1.ServerReflection"`, "grpc/reflection/v1/reflection.proto"},
	{`file_containing_symbol: "grpc.reflection.v1alpha.ServerReflection"`, "grpc/reflection/v1alpha/reflection.proto"},
	{`file_containing_symbol: "conntest.v1.Request"`, "conntest/v1/conntest.proto google/protobuf/any.proto"}, // linked
	{`file_containing_symbol: "conntest.v1.TestService"`, `not_found: reflect: there is no symbol "conntest.v1.TestService"`},
	{`file_containing_symbol: "conntest.v1.TestService.Get"`, `not_found: reflect: there is no symbol "conntest.v1.TestService.Get"`},
	{`file_containing_symbol: "acme.v1.T"`, `not_found: reflect: there is no symbol "acme.v1.T"`},
	{`file_containing_symbol: "acme.v1.Missing"`, `not_found: reflect: there is no symbol "acme.v1.Missing"`},
	{`file_containing_symbol: ""`, `not_found: reflect: there is no symbol ""`},
	{`file_containing_symbol: ".acme.v1.S"`, `not_found: reflect: there is no symbol ".acme.v1.S"`},
	{`file_by_filename: "acme/c.proto"`, "acme/c.proto"},
	{`file_by_filename: "google/protobuf/any.proto"`, "google/protobuf/any.proto"},
	{`file_by_filename: "acme/missing.proto"`, `not_found: reflect: there is no file "acme/missing.proto"`},
	{`file_containing_extension { containing_type: "acme.v1.B" extension_number: 101 }`, "acme/b.proto"},
	{`file_containing_extension { containing_type: "acme.v1.B" extension_number: 102 }`, `not_found: reflect: there is no extension 102 of "acme.v1.B"`},
	{`file_containing_extension { extension_number: -1 }`, `not_found: reflect: there is no extension -1 of ""`},
	{`all_extension_numbers_of_type: "acme.v1.B"`, "101 150"},
	{`all_extension_numbers_of_type: "acme.v1.C"`, ""}, // none, and no error
	{`all_extension_numbers_of_type: "acme.v1.S"`, `not_found: reflect: there is no message "acme.v1.S"`},
	{`all_extension_numbers_of_type: "acme.v1.Missing"`, `not_found: reflect: there is no message "acme.v1.Missing"`},
	{`host: "a.test"`, "invalid_argument: reflect: the request has no message_request of grpc.reflection"},
	{`file_by_filename: "` + strings.Repeat("x", 60_000) + `"`, `not_found: reflect: there is no file "` + strings.Repeat("x", 200) + `"`},
}

func TestQuestions(t *testing.T) {
	for _, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			s := serveAcme(t, c.server...)
			call := converse(t, s, c.options...)
			for _, c := range questions {
				if got := call.got(c.question); got != c.want {
					t.Errorf("%.100s: got %q, want %q", c.question, got, c.want)
				}
			}
		})
	}
}

// The answer has the question, and the host.
func TestAnswer(t *testing.T) {
	answer, err := converse(t, serveAcme(t)).ask(`host: "a.test" list_services: "*"`)
	if err != nil {
		t.Fatal(err)
	}
	if got := get(answer, "valid_host").String(); got != "a.test" {
		t.Errorf("got host %q, want a.test", got)
	}
	original, err := prototext.Marshal(get(answer, "original_request").Message().Interface())
	if got := strings.ReplaceAll(string(original), "  ", " "); err != nil || got != `host:"a.test" list_services:"*"` {
		t.Errorf("got %q and %v, want the question", got, err)
	}
}

// A service is named once, however often it is mounted, and one without a schema not at all:
// clients would ask for it in vain. Calls see what was added before them.
func TestServices(t *testing.T) {
	procedures, mux := new(registry.Registry), http.NewServeMux()
	pattern, handler := testService()
	procedures.Add(pattern, handler)
	procedures.Add("/api"+pattern, handler)
	procedures.Add("/a.S/M", connect.NewUnaryHandlerSimple("/a.S/M", func(context.Context, *emptypb.Empty) (*emptypb.Empty, error) { return nil, nil }))
	s := serve(t, procedures, mux)
	New(procedures).Mount(connect.MountFunc(func(string, http.Handler) {})) // a second one
	const reflections = " grpc.reflection.v1.ServerReflection grpc.reflection.v1alpha.ServerReflection"
	for _, want := range []string{"conntest.v1.TestService", "acme.v1.S conntest.v1.TestService", "acme.v1.S acme.v1.T conntest.v1.TestService"} {
		if got := converse(t, s).got(`list_services: "*"`); got != want+reflections {
			t.Errorf("got %q, want %q", got, want+reflections)
		}
		name := "S"
		if strings.HasPrefix(want, "acme") {
			name = "T"
		}
		procedures.Add("/", handlerOf(t, schemaOf(t, fileA, fileB, fileC), "/acme.v1."+name+"/M"))
	}
}

func TestAddSchema(t *testing.T) {
	r := New(new(registry.Registry))
	mux := http.NewServeMux()
	r.Mount(mux)
	s := connecttest.NewServer(mux)
	defer s.Close()
	if got := converse(t, s).got(`file_containing_symbol: "acme.v1.T"`); !strings.HasPrefix(got, "not_found") {
		t.Errorf("got %q, want not_found", got)
	}
	r.AddSchema(schemaOf(t, fileA, fileB, fileC))
	if got, want := converse(t, s).got(`file_containing_symbol: "acme.v1.T"`), "acme/a.proto acme/b.proto acme/c.proto"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What is sent is what the compiler made.
func TestFiles(t *testing.T) {
	procedures, mux := new(registry.Registry), http.NewServeMux()
	mux.Handle(procedures.Add(testService()))
	answer, err := converse(t, serve(t, procedures, mux)).ask(`file_containing_symbol: "conntest.v1.TestService"`)
	if err != nil {
		t.Fatal(err)
	}
	got := decode(t, get(get(answer, "file_descriptor_response").Message(), "file_descriptor_proto").List().Get(0).Bytes())
	if want := protodesc.ToFileDescriptorProto(conntestv1.File_conntest_v1_conntest_proto); !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// An answer is of bounded size, and the client still gets all files, by their paths.
func TestLargeSchema(t *testing.T) {
	const files = 40
	big := strings.Repeat("x", 100_000)
	var texts []string
	for i := range files {
		next := ""
		if i+1 < files {
			next = fmt.Sprintf(`dependency: "big/%d.proto"`, i+1)
		}
		texts = append(texts, fmt.Sprintf(`name: "big/%d.proto" package: "big.p%d" syntax: "proto3" %s message_type { name: "M" reserved_name: %q }`, i, i, next, big))
	}
	texts[0] += ` service { name: "S" method { name: "M" input_type: ".big.p0.M" output_type: ".big.p0.M" } }`
	procedures, mux := new(registry.Registry), http.NewServeMux()
	mux.Handle(procedures.Add("/big.p0.S/", handlerOf(t, schemaOf(t, texts...), "/big.p0.S/M")))
	s := serve(t, procedures, mux)
	answer, err := converse(t, s).ask(`file_containing_symbol: "big.p0.S"`)
	if err != nil {
		t.Fatal(err)
	}
	if got := proto.Size(answer); got > answerMax+1000 || got < answerMax-110_000 {
		t.Errorf("got an answer of %d bytes, want about %d", got, answerMax)
	}
	schema, err := NewClient(s.Client(), s.URL, connect.WithReadMaxBytes(2*answerMax)).Schema(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := schema.Files().NumFiles(); got != files {
		t.Errorf("got %d files, want %d", got, files)
	}
}

// A file that imports another one by a path that the program does not have.
func TestMissingImport(t *testing.T) {
	file := new(descriptorpb.FileDescriptorProto)
	if err := prototext.Unmarshal([]byte(fileA), file); err != nil {
		t.Fatal(err)
	}
	made, err := protodesc.FileOptions{AllowUnresolvable: true}.New(file, new(protoregistry.Files))
	if err != nil {
		t.Fatal(err)
	}
	files := new(protoregistry.Files)
	if err := files.RegisterFile(made); err != nil {
		t.Fatal(err)
	}
	procedures, mux := new(registry.Registry), http.NewServeMux()
	mux.Handle(procedures.Add("/acme.v1.S/", handlerOf(t, dynamic.FromFiles(files), "/acme.v1.S/M")))
	s := serve(t, procedures, mux)
	call := converse(t, s)
	if got, want := call.got(`file_containing_symbol: "acme.v1.S"`), "acme/a.proto"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := call.got(`file_by_filename: "acme/b.proto"`), `not_found: reflect: the file "acme/b.proto", which "acme/a.proto" imports, is not linked into this server`; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	_, err = NewClient(s.Client(), s.URL).Resolver(testContext(t)).FindDescriptorByName("acme.v1.S")
	wantError(t, err, connect.CodeFailedPrecondition, `the file "acme/b.proto", which "acme/a.proto" imports`)
}

// Requests that are no questions end the call, and nothing more.
func TestHostileRequests(t *testing.T) {
	s := serveAcme(t)
	_, err := converse(t, s).ask(`file_by_filename: "` + strings.Repeat("x", requestMax) + `"`)
	wantError(t, err, connect.CodeResourceExhausted, "")
	raw := func(message string) error {
		stream := connect.NewClient[[]byte, []byte](s.Client(), s.URL+dynamic.Procedure(methodV1()), connect.WithCodec(rawCodec{})).CallBidiStream(testContext(t))
		defer stream.CloseResponse()
		bytes := []byte(message)
		_ = stream.Send(&bytes)
		_, err := stream.Receive()
		return err
	}
	for _, message := range []string{"\xff", "\x1a\x05a", "\x1a\x01\xff", strings.Repeat("\x2b", 50_000)} {
		wantError(t, raw(message), connect.CodeInvalidArgument, "")
	}
	if err := raw("\x7a\x03xyz\x3a\x01*"); err != nil {
		t.Errorf("an unknown field: got %v, want an answer", err)
	}
	old := connecttest.NewServer(func() http.Handler { _, h := NewHandler(New(new(registry.Registry))); return h }(), connecttest.WithHTTP1())
	defer old.Close()
	_, err = NewClient(old.Client(), old.URL).Services(testContext(t))
	if err == nil || !strings.Contains(err.Error(), "HTTP/2") {
		t.Errorf("over HTTP/1.1: got error %v, want one about HTTP/2", err)
	}
}

// Services are added while others ask for them.
func TestConcurrentUse(t *testing.T) {
	procedures, mux := new(registry.Registry), http.NewServeMux()
	s := serve(t, procedures, mux)
	schema := schemaOf(t, fileA, fileB, fileC)
	var group sync.WaitGroup
	for n := range 4 {
		group.Go(func() {
			for range 20 {
				procedures.Add("/", handlerOf(t, schema, []string{"/acme.v1.S/M", "/acme.v1.T/M"}[n%2]))
				if names, err := NewClient(s.Client(), s.URL).Services(testContext(t)); err != nil || !slices.IsSorted(names) || len(names) < 3 {
					t.Errorf("got %q and %v", names, err)
				}
			}
		})
	}
	group.Wait()
}

// rawCodec carries encoded messages.
type rawCodec struct{}

func (rawCodec) Name() string                  { return "proto" }
func (rawCodec) Marshal(m any) ([]byte, error) { return *m.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, m any) error {
	*m.(*[]byte) = append([]byte(nil), data...)
	return nil
}

// Names that are too long are not looked up: the time for it grows with the square of the
// length.
func TestLongNames(t *testing.T) {
	for length, want := range map[int]bool{nameMax: true, nameMax + 1: false} {
		scope := "a" + strings.Repeat(".a", (length-4)/2)
		name := scope + "." + strings.Repeat("M", length-len(scope)-1)
		schema := schemaOf(t, fmt.Sprintf(`name: "long.proto" package: %q message_type { name: %q }`, scope, name[len(scope)+1:]))
		r := New(new(registry.Registry))
		r.AddSchema(schema)
		x := r.index()
		_, counted := x.extensionNumbers(protoreflect.FullName(name))
		if found := x.descriptor(protoreflect.FullName(name)) != nil; len(name) != length || found != want || counted != want {
			t.Errorf("got a name of %d bytes found %v and %v, want %v", len(name), found, counted, want)
		}
	}
}

// Two schemas have different files of the same path, as those of two backends of a proxy may:
// the error for the service that cannot be described says why.
func TestSamePath(t *testing.T) {
	file := func(name string) string {
		return fmt.Sprintf(`name: "service.proto" package: %q syntax: "proto3" message_type { name: "Q" }
			service { name: "S" method { name: "M" input_type: ".%[1]s.Q" output_type: ".%[1]s.Q" } }`, name)
	}
	r := New(new(registry.Registry))
	r.AddSchema(schemaOf(t, file("first.v1")))
	r.AddSchema(schemaOf(t, file("second.v1")))
	mux := http.NewServeMux()
	mux.Handle(NewHandler(r))
	s := connecttest.NewServer(mux)
	t.Cleanup(s.Close)
	c := converse(t, s)
	for question, want := range map[string]string{
		`list_services: ""`:                       "first.v1.S second.v1.S",
		`file_containing_symbol: "first.v1.S"`:    "service.proto",
		`file_containing_symbol: "second.v1.S"`:   `not_found: reflect: the service "second.v1.S" is in a file "service.proto", and another file of this server has that path, or a name in it: give each file a path and a package of its own`,
		`file_containing_symbol: "second.v1.S.M"`: `not_found: reflect: there is no symbol "second.v1.S.M"`,
	} {
		if got := c.got(question); got != want {
			t.Errorf("%s: got %q, want %q", question, got, want)
		}
	}
}
