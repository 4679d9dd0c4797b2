// SPDX-License-Identifier: Apache-2.0

// Parts of all tests of the package: servers, schemas, and the check for leaked
// goroutines.

package dynamic_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/dynamic"
	"github.com/seed-b7c59c10/connect/h2"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// patience ends a test that hangs.
const patience = 30 * time.Second

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// an engine carries the calls of a test.
type engine struct {
	name  string
	start func(t *testing.T, handler http.Handler) (url string, client *http.Client)
}

var engines = []engine{
	{"h1", func(t *testing.T, handler http.Handler) (string, *http.Client) {
		s := httptest.NewServer(handler)
		t.Cleanup(s.Close)
		return s.URL, s.Client()
	}},
	{"h2c", func(t *testing.T, handler http.Handler) (string, *http.Client) {
		s := startH2C(t, handler, false)
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetUnencryptedHTTP2(true)
		t.Cleanup(transport.CloseIdleConnections)
		return s.URL, &http.Client{Transport: transport}
	}},
	{"direct", func(t *testing.T, handler http.Handler) (string, *http.Client) {
		s := startH2C(t, handler, true)
		transport := h2.NewTransport(nil)
		t.Cleanup(transport.CloseIdleConnections)
		return s.URL, &http.Client{Transport: transport}
	}},
}

func startH2C(t *testing.T, handler http.Handler, direct bool) *httptest.Server {
	s := httptest.NewUnstartedServer(handler)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	if direct {
		if err := h2.ConfigureServer(s.Config, nil); err != nil {
			t.Fatal(err)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// protocols are the client options of each protocol.
var protocols = map[string]connect.ClientOption{
	"connect": connect.WithClientOptions(),
	"grpc":    connect.WithGRPC(),
	"grpcweb": connect.WithGRPCWeb(),
}

// testSchema loads the descriptors of the test service from bytes, so that none of its
// messages is a generated type.
func testSchema(t *testing.T) *dynamic.Schema {
	t.Helper()
	return schemaOf(t, protodesc.ToFileDescriptorProto(conntestv1.File_conntest_v1_conntest_proto))
}

func schemaOf(t *testing.T, files ...*descriptorpb.FileDescriptorProto) *dynamic.Schema {
	t.Helper()
	encoded, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: files})
	if err != nil {
		t.Fatal(err)
	}
	schema, err := dynamic.LoadSet(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func methodOf(t *testing.T, schema *dynamic.Schema, name string) protoreflect.MethodDescriptor {
	t.Helper()
	method, err := schema.Method("/conntest.v1.TestService/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return method
}

func wantError(t *testing.T, err error, code connect.Code, text string) {
	t.Helper()
	if err == nil || connect.CodeOf(err) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v, want %v with %q", err, code, text)
	}
}
