// SPDX-License-Identifier: Apache-2.0

// Parts of all tests: a server, schemas, questions field by field, and the check for
// goroutines that are left behind.

package reflection

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
	"github.com/seed-b7c59c10/connect/dynamic"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	"github.com/seed-b7c59c10/connect/internal/leaktest"
	"github.com/seed-b7c59c10/connect/registry"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// carriers are the ways of a call, with those protocols that work on each.
var carriers = []struct {
	name    string
	server  []connecttest.Option
	options []connect.ClientOption
}{
	{"h2 connect", nil, nil},
	{"h2 grpc", nil, []connect.ClientOption{connect.WithGRPC()}},
	{"engine grpc", []connecttest.Option{connecttest.WithEngine()}, []connect.ClientOption{connect.WithGRPC()}},
	{"engine grpcweb", []connecttest.Option{connecttest.WithEngine()}, []connect.ClientOption{connect.WithGRPCWeb()}},
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // ends a test that hangs
	t.Cleanup(cancel)
	return ctx
}

func wantError(t testing.TB, err error, code connect.Code, text string) {
	t.Helper()
	if err == nil || connect.CodeOf(err) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v, want %v with %q", err, code, text)
	}
}

// testService returns the handler of the service that is linked into the tests.
func testService() (string, http.Handler) {
	return conntestv1connect.NewTestServiceHandler(conntestv1connect.UnimplementedTestServiceHandler{})
}

// serve mounts handlers with reflection in the mux and the registry, and serves the mux.
func serve(t testing.TB, procedures *registry.Registry, mux *http.ServeMux, options ...connecttest.Option) *connecttest.Server {
	t.Helper()
	New(procedures).Mount(mux)
	s := connecttest.NewServer(mux, options...)
	t.Cleanup(s.Close)
	return s
}

// schemaOf returns the schema of files in text form.
func schemaOf(t testing.TB, files ...string) *dynamic.Schema {
	t.Helper()
	set := new(descriptorpb.FileDescriptorSet)
	for _, text := range files {
		file := new(descriptorpb.FileDescriptorProto)
		if err := prototext.Unmarshal([]byte(text), file); err != nil {
			t.Fatal(err)
		}
		set.File = append(set.File, file)
	}
	schema, err := dynamic.NewSchema(set)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// handlerOf returns a handler of a method that does nothing.
func handlerOf(t testing.TB, schema *dynamic.Schema, method string) *connect.Handler {
	t.Helper()
	found, err := schema.Method(method)
	if err != nil {
		t.Fatal(err)
	}
	return dynamic.NewHandler(found, func(context.Context, *dynamic.Stream) error { return nil })
}

// A conversation is a call of v1 in which a test asks for itself.
type conversation struct {
	t      testing.TB
	stream *connect.BidiStreamForClient[dynamic.Message, dynamic.Message]
}

func converse(t testing.TB, s *connecttest.Server, options ...connect.ClientOption) *conversation {
	ctx, cancel := context.WithCancel(testContext(t))
	t.Cleanup(cancel)
	return &conversation{t, dynamic.NewClient(s.Client(), s.URL, methodV1(), options...).CallBidiStream(ctx)}
}

// ask sends a question in text form and returns the answer.
func (c *conversation) ask(question string) (*dynamic.Message, error) {
	request := dynamicpb.NewMessage(methodV1().Input())
	if err := prototext.Unmarshal([]byte(question), request); err != nil {
		c.t.Fatal(err)
	}
	if err := c.stream.Send(request); err != nil {
		c.t.Log(err) // Receive has the reason
	}
	return c.stream.Receive()
}

// got returns an answer in short: the paths of files, names of services, numbers of extensions, or the
// code and text of an error.
func (c *conversation) got(question string) string {
	c.t.Helper()
	answer, err := c.ask(question)
	if err != nil {
		c.t.Fatalf("%s: %v", question, err)
	}
	field := answer.WhichOneof(answer.Descriptor().Oneofs().Get(0))
	part := answer.Get(field).Message()
	var all []string
	each := func(name protoreflect.Name, text func(protoreflect.Value) string) {
		list := get(part, name).List()
		for i := range list.Len() {
			all = append(all, text(list.Get(i)))
		}
	}
	switch field.Name() {
	case "file_descriptor_response":
		each("file_descriptor_proto", func(v protoreflect.Value) string { return decode(c.t, v.Bytes()).GetName() })
	case "list_services_response":
		each("service", func(v protoreflect.Value) string { return get(v.Message(), "name").String() })
	case "all_extension_numbers_response":
		each("extension_number", func(v protoreflect.Value) string { return v.String() })
	case "error_response":
		return fmt.Sprintf("%v: %s", connect.Code(get(part, "error_code").Int()), get(part, "error_message"))
	}
	return strings.Join(all, " ")
}
