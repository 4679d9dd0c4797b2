// SPDX-License-Identifier: Apache-2.0

// This file runs a program on the drop-in and checks what it adds: identical types, and the meaning of connectrpc.com/connect.

package connect_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"connectrpc.com/connect"
	p "github.com/seed-b7c59c10/connect"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type text = wrapperspb.StringValue

const procedure = "/dropin.v1.Text/Upper"

// overDefault is larger than the library's default receive limit of 16 MiB.
const overDefault = 16<<20 + 1

func upper(_ context.Context, req *connect.Request[text]) (*connect.Response[text], error) {
	if req.Msg.GetValue() == "" {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("nothing to change"))
	}
	res := connect.NewResponse(wrapperspb.String(strings.ToUpper(req.Msg.GetValue())))
	res.Header().Set("Upper", "yes")
	return res, nil
}

func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(procedure, handler)
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server.URL + procedure
}

func httpClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestProgram(t *testing.T) {
	url := serve(t, connect.NewUnaryHandler(procedure, upper))
	for name, options := range map[string][]connect.ClientOption{
		"connect": nil,
		"json":    {connect.WithProtoJSON()},
		"grpc":    {connect.WithGRPC(), connect.WithSendGzip()},
		"grpcweb": {connect.WithClientOptions(connect.WithGRPCWeb())},
	} {
		t.Run(name, func(t *testing.T) {
			client := connect.NewClient[text, text](httpClient(t), url, options...)
			res, err := client.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String("abc")))
			if err != nil {
				t.Fatalf("CallUnary: %v", err)
			}
			if got := res.Msg.GetValue(); got != "ABC" {
				t.Errorf("message: got %q, want %q", got, "ABC")
			}
			if got := res.Header().Get("Upper"); got != "yes" {
				t.Errorf("header: got %q, want %q", got, "yes")
			}

			_, err = client.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String("")))
			if got := connect.CodeOf(err); got != connect.CodeInvalidArgument {
				t.Errorf("code: got %v, want %v", got, connect.CodeInvalidArgument)
			}
			// The library's own names see the very same error.
			var ours *p.Error
			if !errors.As(err, &ours) || ours.Message() != "nothing to change" {
				t.Errorf("error: got %v, want one with the handler's text", err)
			}
		})
	}
}

// TestReceiveDefault pins a difference between constructors here and those
// underneath, on both sides, and that the caller's options still decide.
func TestReceiveDefault(t *testing.T) {
	large := strings.Repeat("x", overDefault)
	call := func(client *connect.Client[text, text]) error {
		_, err := client.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String(large)))
		return err
	}
	http2 := httpClient(t)
	unlimitedURL := serve(t, connect.NewUnaryHandler(procedure, upper))
	for _, test := range []struct {
		name   string
		client *connect.Client[text, text]
		want   connect.Code // 0 for success
	}{
		{"drop-in", connect.NewClient[text, text](http2, unlimitedURL), 0},
		{"option of the client", connect.NewClient[text, text](http2, unlimitedURL, connect.WithReadMaxBytes(1024)), connect.CodeResourceExhausted},
		{"library's client", p.NewClient[text, text](http2, unlimitedURL), connect.CodeResourceExhausted},
		{"option of the handler", connect.NewClient[text, text](http2, serve(t, connect.NewUnaryHandler(procedure, upper, connect.WithReadMaxBytes(1024)))), connect.CodeResourceExhausted},
		{"library's handler", connect.NewClient[text, text](http2, serve(t, p.NewUnaryHandler(procedure, upper))), connect.CodeResourceExhausted},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := call(test.client)
			if test.want == 0 {
				if err != nil {
					t.Errorf("got %v, want success", err)
				}
			} else if got := connect.CodeOf(err); got != test.want {
				t.Errorf("got %v (%v), want %v", got, err, test.want)
			}
		})
	}
}

// TestCompressDefault pins another one: a short answer is compressed here, unless
// the caller's options set a size.
func TestCompressDefault(t *testing.T) {
	for _, test := range []struct {
		name    string
		handler http.Handler
		want    string
	}{
		{"drop-in", connect.NewUnaryHandler(procedure, upper), "gzip"},
		{"option of the handler", connect.NewUnaryHandler(procedure, upper, connect.WithCompressMinBytes(1024)), ""},
		{"library's handler", p.NewUnaryHandler(procedure, upper), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			req := httptest.NewRequest(http.MethodPost, procedure, strings.NewReader(`"abc"`))
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Accept-Encoding", "gzip")
			res := httptest.NewRecorder()
			test.handler.ServeHTTP(res, req)
			if got := res.Header().Get("Content-Encoding"); res.Code != http.StatusOK || got != test.want {
				t.Errorf("got status %d, encoding %q, want 200, %q", res.Code, got, test.want)
			}
		})
	}
}

// TestIdenticalTypes shows with one of each sort that values pass between the
// two import paths; internal/compat compares every name.
func TestIdenticalTypes(t *testing.T) {
	for _, test := range []struct{ got, want reflect.Type }{
		{reflect.TypeFor[connect.Error](), reflect.TypeFor[p.Error]()},
		{reflect.TypeFor[connect.Option](), reflect.TypeFor[p.Option]()},
		{reflect.TypeFor[connect.Request[text]](), reflect.TypeFor[p.Request[text]]()},
		{reflect.TypeFor[connect.Client[text, text]](), reflect.TypeFor[p.Client[text, text]]()},
		{reflect.TypeOf(connect.CodeAborted), reflect.TypeOf(p.CodeAborted)},
		{reflect.TypeOf(connect.NewClient[text, text]), reflect.TypeOf(p.NewClient[text, text])},
	} {
		if test.got != test.want {
			t.Errorf("got %v of %q, want %v of %q", test.got, test.got.PkgPath(), test.want, test.want.PkgPath())
		}
	}
}

// TestMeaning shows that each constructor gives the meaning of
// connectrpc.com/connect: its answers list the accepted compressions, which those of
// the library itself do not. internal/compat compares all that the meaning includes.
func TestMeaning(t *testing.T) {
	unary := connect.NewUnaryHandler(procedure, upper)
	for _, test := range []struct {
		name    string
		handler http.Handler
		want    string
	}{
		{"unary", unary, "gzip"},
		{"unary simple", connect.NewUnaryHandlerSimple(procedure, func(_ context.Context, req *text) (*text, error) { return req, nil }), "gzip"},
		{"service", connect.NewServiceHandler([]*connect.Handler{unary}), "gzip"},
		{"error writer", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = connect.NewErrorWriter().Write(w, r, errors.New("refused"))
		}), ""}, // as there
		{"library's handler", p.NewUnaryHandler(procedure, upper), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			req := httptest.NewRequest(http.MethodPost, procedure, strings.NewReader(`"abc"`))
			req.Header.Set("Content-Type", "application/json")
			res := httptest.NewRecorder()
			test.handler.ServeHTTP(res, req)
			if got := res.Header().Get("Accept-Encoding"); got != test.want {
				t.Errorf("Accept-Encoding: got %q, want %q (status %d)", got, test.want, res.Code)
			}
		})
	}

	unknown := connect.NewServiceHandler([]*connect.Handler{unary})
	req := httptest.NewRequest(http.MethodPost, procedure+"Case", strings.NewReader("{}"))
	req.Header.Set("Content-Type", "application/json")
	res := httptest.NewRecorder()
	unknown.ServeHTTP(res, req)
	if got, want := res.Body.String(), "404 page not found\n"; res.Code != http.StatusNotFound || got != want {
		t.Errorf("unknown procedure: got status %d, %q, want 404, %q", res.Code, got, want)
	}
}
