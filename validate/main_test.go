// SPDX-License-Identifier: Apache-2.0

// Parts of all tests: a service of each kind, the ways to reach it, a log, and the check
// for goroutines that are left behind.

package validate_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/connecttest"
	"github.com/seed-b7c59c10/connect/internal/leaktest"
	"github.com/seed-b7c59c10/connect/validate"
	pb "github.com/seed-b7c59c10/connect/validate/internal/gen/validatetest/v1"
	pbconnect "github.com/seed-b7c59c10/connect/validate/internal/gen/validatetest/v1/validatetestv1connect"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// carriers are the ways of a call.
var carriers = []struct {
	name    string
	server  []connecttest.Option
	options []connect.ClientOption
}{
	{"h1 connect json", []connecttest.Option{connecttest.WithHTTP1()}, []connect.ClientOption{connect.WithProtoJSON()}},
	{"h1 get", []connecttest.Option{connecttest.WithHTTP1()}, []connect.ClientOption{connect.WithHTTPGet()}},
	{"h2 connect", nil, nil},
	{"h2 grpc", nil, []connect.ClientOption{connect.WithGRPC()}},
	{"engine grpc", []connecttest.Option{connecttest.WithEngine()}, []connect.ClientOption{connect.WithGRPC()}},
	{"engine grpcweb", []connecttest.Option{connecttest.WithEngine()}, []connect.ClientOption{connect.WithGRPCWeb()}},
}

// accounts counts the messages that reach the program's code, and answers with its id.
type accounts struct {
	id       string
	messages atomic.Int64
	refused  atomic.Int64 // messages of Chat that the interceptor has refused
}

func (a *accounts) Open(context.Context, *connect.Request[pb.OpenRequest]) (*connect.Response[pb.OpenResponse], error) {
	a.messages.Add(1)
	return connect.NewResponse(&pb.OpenResponse{Id: a.id}), nil
}

func (a *accounts) OpenMany(_ context.Context, stream *connect.ClientStream[pb.OpenRequest]) (*connect.Response[pb.OpenResponse], error) {
	for stream.Receive() {
		a.messages.Add(1)
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	return connect.NewResponse(&pb.OpenResponse{Id: a.id}), nil
}

func (a *accounts) Watch(_ context.Context, _ *connect.Request[pb.OpenRequest], stream *connect.ServerStream[pb.OpenResponse]) error {
	a.messages.Add(1)
	return stream.Send(&pb.OpenResponse{Id: a.id})
}

// Chat answers each message, and goes on after one that was refused.
func (a *accounts) Chat(ctx context.Context, stream *connect.BidiStream[pb.OpenRequest, pb.OpenResponse]) error {
	for {
		_, err := stream.Receive()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case connect.CodeOf(err) == connect.CodeInvalidArgument:
			a.refused.Add(1)
			continue
		case err != nil:
			return err
		}
		a.messages.Add(1)
		if err := stream.Send(&pb.OpenResponse{Id: a.id}); err != nil {
			return err
		}
	}
}

// serve serves the accounts until the test ends.
func serve(t testing.TB, a *accounts, rules *validate.Interceptor, options ...connecttest.Option) *connecttest.Server {
	mux := http.NewServeMux()
	var with connect.HandlerOption
	if rules != nil {
		with = connect.WithInterceptors(rules)
	} else {
		with = connect.WithHandlerOptions()
	}
	mux.Handle(pbconnect.NewAccountServiceHandler(a, with))
	s := connecttest.NewServer(mux, options...)
	t.Cleanup(s.Close)
	return s
}

func newClient(s *connecttest.Server, options ...connect.ClientOption) pbconnect.AccountServiceClient {
	return pbconnect.NewAccountServiceClient(s.Client(), s.URL, options...)
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // ends a test that hangs
	t.Cleanup(cancel)
	return ctx
}

// call makes a call of each kind with one message.
var calls = map[string]func(context.Context, pbconnect.AccountServiceClient, *pb.OpenRequest) error{
	"Open": func(ctx context.Context, c pbconnect.AccountServiceClient, msg *pb.OpenRequest) error {
		_, err := c.Open(ctx, connect.NewRequest(msg))
		return err
	},
	"OpenMany": func(ctx context.Context, c pbconnect.AccountServiceClient, msg *pb.OpenRequest) error {
		stream := c.OpenMany(ctx)
		if err := stream.Send(msg); err != nil && !errors.Is(err, io.EOF) {
			_, _ = stream.CloseAndReceive()
			return err
		}
		_, err := stream.CloseAndReceive()
		return err
	},
	"Watch": func(ctx context.Context, c pbconnect.AccountServiceClient, msg *pb.OpenRequest) error {
		stream, err := c.Watch(ctx, connect.NewRequest(msg))
		if err != nil {
			return err
		}
		defer stream.Close()
		for stream.Receive() {
		}
		return stream.Err()
	},
}

func valid() *pb.OpenRequest { return &pb.OpenRequest{Email: "ada@example.com", Age: 36} }

// wantError checks an error's code, its text, and the fields and rules of its violations,
// as "field rule".
func wantError(t testing.TB, err error, code connect.Code, text string, violations ...string) {
	t.Helper()
	if err == nil || connect.CodeOf(err) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v, want %v with %q", err, code, text)
	}
	var got []string
	for _, v := range validate.Violations(err) {
		var path []string
		for _, e := range v.GetField().GetElements() {
			path = append(path, e.GetFieldName())
		}
		got = append(got, strings.Join(path, ".")+" "+v.GetRuleId())
	}
	if !slices.Equal(got, violations) {
		t.Errorf("got violations %q, want %q", got, violations)
	}
}

// log is a logger that keeps its lines.
type logLines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logLines) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSuffix(l.b.String(), "\n"), "\n")
}

func newLog() (*logLines, *slog.Logger) {
	l := new(logLines)
	return l, slog.New(slog.NewTextHandler(l, nil))
}
