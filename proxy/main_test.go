// SPDX-License-Identifier: Apache-2.0

// Parts of all tests of the package: the server behind the proxy, engines, calls of
// every kind, and the check for leaked goroutines.

package proxy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/dynamic"
	"github.com/seed-b7c59c10/connect/h2"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	"github.com/seed-b7c59c10/connect/internal/leaktest"
	"github.com/seed-b7c59c10/connect/proxy"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// patience ends a test that hangs.
const patience = 30 * time.Second

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// engines serve HTTP, and have a client for it.
var engines = []struct {
	name  string
	start func(t testing.TB, handler http.Handler) (url string, client *http.Client)
}{
	{"h1", func(t testing.TB, handler http.Handler) (string, *http.Client) {
		return start(t, handler, false), &http.Client{Transport: ended(t, new(http.Transport))}
	}},
	{"h2c", func(t testing.TB, handler http.Handler) (string, *http.Client) {
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetUnencryptedHTTP2(true)
		return start(t, handler, false), &http.Client{Transport: ended(t, transport)}
	}},
	{"direct", func(t testing.TB, handler http.Handler) (string, *http.Client) {
		transport := h2.NewTransport(nil)
		return start(t, handler, true), &http.Client{Transport: ended(t, transport)}
	}},
}

// ended closes a transport's connections at the end of the test.
func ended[T interface{ CloseIdleConnections() }](t testing.TB, transport T) T {
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// start serves HTTP/1.1 and HTTP/2 without TLS, by net/http or by package h2.
func start(t testing.TB, handler http.Handler, direct bool) string {
	s := httptest.NewUnstartedServer(handler)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.ErrorLog = nil
	if direct {
		if err := h2.ConfigureServer(s.Config, nil); err != nil {
			t.Fatal(err)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// forward makes a proxy of New.
func forward(t testing.TB, target string, options ...proxy.Option) *proxy.Proxy {
	t.Helper()
	p, err := proxy.New(target, options...)
	if err != nil {
		t.Fatal(err)
	}
	return ended(t, p)
}

// testSchema has the test service and none of its generated types.
func testSchema(t testing.TB) *dynamic.Schema {
	t.Helper()
	schema, err := dynamic.NewSchema(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
		protodesc.ToFileDescriptorProto(conntestv1.File_conntest_v1_conntest_proto)}})
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// protocols are the client options of each protocol.
var protocols = map[string]connect.ClientOption{
	"connect": connect.WithClientOptions(),
	"grpc":    connect.WithGRPC(),
	"grpcweb": connect.WithGRPCWeb(),
}

// serve is the work of the server behind the proxy, for every kind of procedure: it
// answers count times with the text of all requests, and fails if it is asked to.
func serve(header, responseHeader, trailer http.Header, requests []*conntestv1.Request, send func(*conntestv1.Response) error) error {
	var text []string
	var first *conntestv1.Request
	for _, r := range requests {
		text = append(text, r.GetText())
		if first == nil {
			first = r
		}
	}
	responseHeader["Echo"] = header.Values("Ask")
	responseHeader["Echo-Bin"] = header.Values("Ask-Bin")
	responseHeader["Via-Seen"] = header.Values("Via")
	trailer["Echo-Trailer"] = header.Values("Ask")
	for i := range first.GetCount() {
		if err := send(&conntestv1.Response{Text: strings.Join(text, "+"), Data: first.GetData(), Count: i}); err != nil {
			return err
		}
	}
	f := first.GetFailure()
	if f == nil {
		return nil
	}
	err := connect.NewError(connect.Code(f.GetCode()), errors.New(f.GetMessage()))
	for _, any := range f.GetDetails() {
		detail, e := connect.NewErrorDetail(any)
		if e != nil {
			return e
		}
		err.AddDetail(detail)
	}
	for key, value := range f.GetMetadata() {
		err.Meta().Set(key, value)
	}
	return err
}

// backend is the server behind the proxy.
type backend struct{}

type (
	request  = conntestv1.Request
	response = conntestv1.Response
)

func (backend) one(ctx context.Context, requests []*request) (*connect.Response[response], error) {
	info, _ := connect.CallInfoForHandlerContext(ctx)
	var answer *response
	err := serve(info.RequestHeader(), info.ResponseHeader(), info.ResponseTrailer(), requests, func(r *response) error {
		answer = r
		return nil
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(answer), nil
}

func (b backend) Unary(ctx context.Context, r *connect.Request[request]) (*connect.Response[response], error) {
	return b.one(ctx, []*request{r.Msg})
}

func (b backend) Get(ctx context.Context, r *connect.Request[request]) (*connect.Response[response], error) {
	return b.one(ctx, []*request{r.Msg})
}

func (backend) ServerStream(_ context.Context, r *connect.Request[request], stream *connect.ServerStream[response]) error {
	return serve(r.Header(), stream.ResponseHeader(), stream.ResponseTrailer(), []*request{r.Msg}, stream.Send)
}

func (b backend) ClientStream(ctx context.Context, stream *connect.ClientStream[request]) (*connect.Response[response], error) {
	var requests []*request
	for stream.Receive() {
		requests = append(requests, stream.Msg())
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	return b.one(ctx, requests)
}

func (backend) Bidi(_ context.Context, stream *connect.BidiStream[request, response]) error {
	var requests []*request
	for {
		r, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return serve(stream.RequestHeader(), stream.ResponseHeader(), stream.ResponseTrailer(), requests, stream.Send)
		}
		if err != nil {
			return err
		}
		requests = append(requests, r)
	}
}

func backendHandler(options ...connect.HandlerOption) http.Handler {
	_, handler := conntestv1connect.NewTestServiceHandler(backend{}, options...)
	return handler
}

// outcome is what a caller sees of a call.
type outcome struct {
	responses       []*response
	header, trailer http.Header
	err             error
}

// kinds are the procedures of the service.
var kinds = []string{"Unary", "Get", "ServerStream", "ClientStream", "Bidi"}

// call calls a procedure of any kind.
func call(ctx context.Context, client conntestv1connect.TestServiceClient, kind string, header http.Header, requests ...*request) (o outcome) {
	set := func(h http.Header) {
		for key, values := range header {
			h[key] = values
		}
	}
	one := func(r *connect.Response[response], err error) {
		if o.err = err; err == nil {
			o.responses, o.header, o.trailer = []*response{r.Msg}, r.Header(), r.Trailer()
		}
	}
	first := connect.NewRequest(requests[0])
	set(first.Header())
	switch kind {
	case "Unary":
		one(client.Unary(ctx, first))
	case "Get":
		one(client.Get(ctx, first))
	case "ServerStream":
		stream, err := client.ServerStream(ctx, first)
		if err != nil {
			return outcome{err: err}
		}
		for stream.Receive() {
			o.responses = append(o.responses, stream.Msg())
		}
		o.header, o.trailer, o.err = stream.ResponseHeader(), stream.ResponseTrailer(), stream.Err()
		_ = stream.Close()
	case "ClientStream":
		stream := client.ClientStream(ctx)
		set(stream.RequestHeader())
		for _, r := range requests {
			if stream.Send(r) != nil {
				break
			}
		}
		one(stream.CloseAndReceive())
	case "Bidi":
		stream := client.Bidi(ctx)
		set(stream.RequestHeader())
		for _, r := range requests {
			if stream.Send(r) != nil {
				break
			}
		}
		_ = stream.CloseRequest()
		for {
			r, err := stream.Receive()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					o.err = err
				}
				break
			}
			o.responses = append(o.responses, r)
		}
		o.header, o.trailer = stream.ResponseHeader(), stream.ResponseTrailer()
		_ = stream.CloseResponse()
	}
	return o
}

func wantError(t *testing.T, err error, code connect.Code, text string) {
	t.Helper()
	if err == nil || connect.CodeOf(err) != code || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v, want %v with %q", err, code, text)
	}
}

func engineTransport(t testing.TB) *h2.Transport { return ended(t, h2.NewTransport(nil)) }
