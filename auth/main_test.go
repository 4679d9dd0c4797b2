// SPDX-License-Identifier: Apache-2.0

// Parts of all tests: a service, the ways of its calls, and the check for goroutines that
// are left behind.

package auth_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/auth"
	"github.com/seed-b7c59c10/connect/connecttest"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	"github.com/seed-b7c59c10/connect/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// carriers are the ways of a call, with those protocols that work on each.
var carriers = []struct {
	name    string
	bidi    bool
	server  []connecttest.Option
	options []connect.ClientOption
}{
	{"h1 connect", false, []connecttest.Option{connecttest.WithHTTP1()}, nil},
	{"h1 connect json gzip", false, []connecttest.Option{connecttest.WithHTTP1()}, []connect.ClientOption{connect.WithProtoJSON(), connect.WithSendGzip()}},
	{"h1 get", false, []connecttest.Option{connecttest.WithHTTP1()}, []connect.ClientOption{connect.WithHTTPGet()}},
	{"h1 grpcweb", false, []connecttest.Option{connecttest.WithHTTP1()}, []connect.ClientOption{connect.WithGRPCWeb()}},
	{"h2 connect", true, nil, nil},
	{"h2 grpc", true, nil, []connect.ClientOption{connect.WithGRPC()}},
	{"h2 grpcweb", true, nil, []connect.ClientOption{connect.WithGRPCWeb()}},
	{"engine connect", true, []connecttest.Option{connecttest.WithEngine()}, nil},
	{"engine grpc gzip", true, []connecttest.Option{connecttest.WithEngine()}, []connect.ClientOption{connect.WithGRPC(), connect.WithSendGzip()}},
	{"engine grpcweb json", true, []connecttest.Option{connecttest.WithEngine()}, []connect.ClientOption{connect.WithGRPCWeb(), connect.WithProtoJSON()}},
}

// service answers with the subject of its caller.
type service struct {
	calls atomic.Int64 // that have reached it
}

func (s *service) subject(ctx context.Context) *conntestv1.Response {
	s.calls.Add(1)
	identity, ok := auth.FromContext(ctx)
	if !ok {
		return &conntestv1.Response{Text: "anonymous"}
	}
	return &conntestv1.Response{Text: identity.Subject}
}

func (s *service) Unary(ctx context.Context, _ *connect.Request[conntestv1.Request]) (*connect.Response[conntestv1.Response], error) {
	return connect.NewResponse(s.subject(ctx)), nil
}

func (s *service) Get(ctx context.Context, _ *connect.Request[conntestv1.Request]) (*connect.Response[conntestv1.Response], error) {
	return connect.NewResponse(s.subject(ctx)), nil
}

func (s *service) ServerStream(ctx context.Context, _ *connect.Request[conntestv1.Request], stream *connect.ServerStream[conntestv1.Response]) error {
	return stream.Send(s.subject(ctx))
}

func (s *service) ClientStream(ctx context.Context, stream *connect.ClientStream[conntestv1.Request]) (*connect.Response[conntestv1.Response], error) {
	answer := s.subject(ctx)
	for stream.Receive() {
	}
	return connect.NewResponse(answer), stream.Err()
}

func (s *service) Bidi(ctx context.Context, stream *connect.BidiStream[conntestv1.Request, conntestv1.Response]) error {
	answer := s.subject(ctx)
	for {
		if _, err := stream.Receive(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

// serve serves the service until the test ends.
func serve(t testing.TB, s *service, options []connecttest.Option, handlerOptions ...connect.HandlerOption) *connecttest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(conntestv1connect.NewTestServiceHandler(s, handlerOptions...))
	return serveHandler(t, mux, options...)
}

func serveHandler(t testing.TB, h http.Handler, options ...connecttest.Option) *connecttest.Server {
	t.Helper()
	server := connecttest.NewServer(h, options...)
	t.Cleanup(server.Close)
	return server
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // ends a test that hangs
	t.Cleanup(cancel)
	return ctx
}

// calls makes one call of each kind that a carrier has, and returns their answers.
func calls(ctx context.Context, client conntestv1connect.TestServiceClient, bidi bool) map[string]answer {
	answers := make(map[string]answer)
	request := func() *connect.Request[conntestv1.Request] {
		return connect.NewRequest(&conntestv1.Request{Text: strings.Repeat("text ", 400)})
	}
	for name, call := range map[string]func(context.Context, *connect.Request[conntestv1.Request]) (*connect.Response[conntestv1.Response], error){
		"unary": client.Unary, "get": client.Get,
	} {
		res, err := call(ctx, request())
		answers[name] = answerOf(res, err)
	}
	stream, err := client.ServerStream(ctx, request())
	if err != nil {
		answers["server stream"] = answer{err: err}
	} else {
		a := answer{}
		for stream.Receive() {
			a.text = stream.Msg().Text
		}
		a.err = stream.Err()
		_ = stream.Close()
		answers["server stream"] = a
	}
	up := client.ClientStream(ctx)
	_ = up.Send(request().Msg)
	answers["client stream"] = answerOf(up.CloseAndReceive())
	if bidi {
		both := client.Bidi(ctx)
		_ = both.Send(request().Msg)
		_ = both.CloseRequest()
		msg, err := both.Receive()
		a := answer{err: err}
		if err == nil {
			a.text = msg.Text
		}
		_ = both.CloseResponse()
		answers["bidi"] = a
	}
	return answers
}

// An answer is the outcome of a call.
type answer struct {
	text string
	err  error
}

func answerOf(res *connect.Response[conntestv1.Response], err error) answer {
	if err != nil {
		return answer{err: err}
	}
	return answer{text: res.Msg.Text}
}

func wantError(t testing.TB, err error, code connect.Code, text string) {
	t.Helper()
	if err == nil || connect.CodeOf(err) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v, want %v with %q", err, code, text)
	}
}

func wantPanic(t testing.TB, text string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		value := recover()
		got, _ := value.(string)
		if value == nil || !strings.Contains(got, text) {
			t.Errorf("got panic %v, want one with %q", value, text)
		}
	}()
	f()
}

// ada accepts the token "ada".
func ada(_ context.Context, token string) (auth.Identity, error) {
	if !auth.Equal(token, "ada") {
		return auth.Identity{}, errors.New("secret reason")
	}
	return auth.Identity{Subject: "ada", Scopes: []string{"read"}, Roles: []string{"user"}}, nil
}

// withHeader returns an option for clients: each call has a header.
func withHeader(name, value string) connect.ClientOption {
	return connect.WithCallInterceptors(func(next connect.CallFunc) connect.CallFunc {
		return func(ctx context.Context, call *connect.Call) error {
			call.RequestHeader().Add(name, value)
			return next(ctx, call)
		}
	})
}

func newClient(s *connecttest.Server, options ...connect.ClientOption) conntestv1connect.TestServiceClient {
	return conntestv1connect.NewTestServiceClient(s.Client(), s.URL, options...)
}
