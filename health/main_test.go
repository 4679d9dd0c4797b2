// SPDX-License-Identifier: Apache-2.0

// Parts of all tests: servers and clients in memory, and the check for goroutines that are
// left behind.

package health

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
	"github.com/seed-b7c59c10/connect/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// carriers are the ways of a call, with those protocols that work on each.
var carriers = []struct {
	name    string
	server  []connecttest.Option
	options []connect.ClientOption
}{
	{"h1 connect", []connecttest.Option{connecttest.WithHTTP1()}, nil},
	{"h1 connect json", []connecttest.Option{connecttest.WithHTTP1()}, []connect.ClientOption{connect.WithProtoJSON()}},
	{"h1 get", []connecttest.Option{connecttest.WithHTTP1()}, []connect.ClientOption{connect.WithHTTPGet()}},
	{"h1 grpcweb", []connecttest.Option{connecttest.WithHTTP1()}, []connect.ClientOption{connect.WithGRPCWeb()}},
	{"h2 connect", nil, nil},
	{"h2 grpc", nil, []connect.ClientOption{connect.WithGRPC()}},
	{"engine grpc", []connecttest.Option{connecttest.WithEngine()}, []connect.ClientOption{connect.WithGRPC()}},
	{"engine grpcweb json", []connecttest.Option{connecttest.WithEngine()}, []connect.ClientOption{connect.WithGRPCWeb(), connect.WithProtoJSON()}},
}

// serve serves the statuses until the test ends.
func serve(t testing.TB, status *Server, options []connecttest.Option, handlerOptions ...connect.HandlerOption) *connecttest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(NewHandler(status, handlerOptions...))
	s := connecttest.NewServer(mux, options...)
	t.Cleanup(s.Close)
	return s
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // ends a test that hangs
	t.Cleanup(cancel)
	return ctx
}

func wantStatus(t testing.TB, got Status, err error, want Status) {
	t.Helper()
	if err != nil || got != want {
		t.Errorf("got %v and error %v, want %v", got, err, want)
	}
}

func wantError(t testing.TB, err error, code connect.Code, text string) {
	t.Helper()
	if err == nil || connect.CodeOf(err) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v, want %v with %q", err, code, text)
	}
}
