// SPDX-License-Identifier: Apache-2.0

// Calls through a transport that takes them directly come out as those through one
// that does not.

package connect

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// A directFake is a transport that takes direct calls with a function.
type directFake struct {
	roundTripper
	direct   func(ctx context.Context, u *url.URL, fields [][2]string, body []byte) (io.ReadCloser, error)
	prepared int // targets
}

func (f *directFake) PrepareDirect(self http.RoundTripper, u *url.URL, shared [][2]string) (directTarget, error) {
	if self != http.RoundTripper(f) {
		return nil, nil
	}
	f.prepared++
	return &directFakeTarget{f, u, shared}, nil
}

type directFakeTarget struct {
	fake   *directFake
	u      *url.URL
	shared [][2]string
}

func (f *directFakeTarget) RoundTripDirect(ctx context.Context, own [][2]string, body []byte) (io.ReadCloser, error) {
	return f.fake.direct(ctx, f.u, slices.Concat(f.shared, own), body)
}

func (f *directFake) HeedsContext(http.RoundTripper) bool { return true }

// A directAnswer is a response to a direct call.
type directAnswer struct {
	io.Reader
	status  int
	fields  [][2]string
	length  int64
	trailer [][2]string
	tls     *tls.ConnectionState
	closes  int
}

func (a *directAnswer) Close() error {
	a.closes++
	return nil
}

func (a *directAnswer) DirectHead() (status int, fields [][2]string, length int64) {
	return a.status, a.fields, a.length
}

func (a *directAnswer) DirectTrailer() [][2]string { return a.trailer }

func (a *directAnswer) DirectServerTLS() *tls.ConnectionState { return a.tls }

// notDirect leaves all calls to RoundTrip.
func notDirect(context.Context, *url.URL, [][2]string, []byte) (io.ReadCloser, error) {
	return nil, nil
}

// ---- requests ----

// TestDirectFields: a direct call sends the fields that newRequest sets in a header.
func TestDirectFields(t *testing.T) {
	keys := slices.Concat(ownKeys, []string{"Date", "Cookie", "X", "Y-Bin", "Grpc-Other", "Connect-Other"})
	synctest.Test(t, func(t *testing.T) { // the time that is left stands still
		randomly(t, 2000, func(t *testing.T, r *rand.Rand) {
			options := [][]ClientOption{nil, {WithGRPC()}, {WithGRPCWeb()}, {WithSendGzip()}, {WithGRPC(), WithSendGzip()},
				{WithAcceptCompression(compressionGzip, nil, nil)}, {WithProtoJSON()}}[r.IntN(7)]
			config, err := newClientConfig(&http.Client{Transport: new(directFake)}, "http://host/a/b", options)
			if err != nil {
				t.Fatal(err)
			}
			ctx := context.Background()
			if r.IntN(2) == 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, time.Duration(r.Int64N(int64(1000*time.Hour))))
				defer cancel()
			}
			header := make(http.Header)
			for range r.IntN(6) {
				var values []string
				for range r.IntN(4) {
					values = append(values, randomValue(r))
				}
				header[keys[r.IntN(len(keys))]] = values
			}
			delete(header, headerHost) // see TestDirectLeft
			delete(header, headerTE)
			compressed := config.send != nil && r.IntN(2) == 0
			before, shared := header.Clone(), slices.Clone(config.pairs)

			c := newUnaryConn(ctx, config, new(arrived))
			c.header, c.compressed = header, compressed
			common, own := c.directFields(nil)
			got := headerOfFields(common, own)
			if diff := cmp.Diff(header, before) + cmp.Diff(config.pairs, shared); diff != "" {
				t.Errorf("got other header or pairs than before (-got +want):\n%s", diff)
			}
			request := &c.newRequest().request
			if compressed && !c.framed {
				request.Header[c.encoding] = config.send.value
			}
			want := make(http.Header)
			for key, values := range request.Header {
				if key == headerUserAgent { // transports send one, and none that is empty
					values = values[:min(len(values), 1)]
					if first(request.Header, key) == "" {
						continue
					}
				}
				if len(values) > 0 {
					want[key] = values
				}
			}
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("of %q (-got +want):\n%s", before, diff)
			}
		})
	})
}

// headerOfFields returns fields as a header, for which nothing is joined.
func headerOfFields(all ...[][2]string) http.Header {
	h := make(http.Header)
	for _, fields := range all {
		for _, f := range fields {
			h.Add(f[0], f[1])
		}
	}
	return h
}

// TestDirectLeft lists calls that only an [http.Request] can be.
func TestDirectLeft(t *testing.T) {
	for name, c := range map[string]struct {
		header  http.Header
		options []ClientOption
		direct  bool
	}{
		"plain":               {nil, nil, true},
		"with headers":        {http.Header{"X": {"1"}, "Cookie": {"a"}}, nil, true},
		"empty host":          {http.Header{"Host": {""}}, nil, true},
		"host":                {http.Header{"Host": {"other"}}, nil, false},
		"GET":                 {nil, []ClientOption{WithHTTPGet(), WithIdempotency(IdempotencyNoSideEffects)}, false},
		"GET of gRPC":         {nil, []ClientOption{WithGRPC(), WithHTTPGet(), WithIdempotency(IdempotencyNoSideEffects)}, true},
		"GET that has no key": {nil, []ClientOption{WithHTTPGet()}, true},
		"name in lower case":  {http.Header{"content-length": {"1"}}, nil, false},
		"odd name":            {http.Header{"x-y": {"1"}}, nil, false},
		"of HTTP/1.1":         {http.Header{"Proxy-Connection": {"close"}}, nil, false},
	} {
		taken, left := 0, 0
		failed := errors.New("of a test")
		transport := &directFake{
			roundTripper: func(*http.Request) (*http.Response, error) { left++; return nil, failed },
			direct: func(context.Context, *url.URL, [][2]string, []byte) (io.ReadCloser, error) {
				taken++
				return nil, failed
			},
		}
		request := NewRequest(text(1))
		maps.Copy(request.Header(), c.header)
		client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](&http.Client{Transport: transport}, "http://host/a/b", c.options...)
		if _, err := client.CallUnary(context.Background(), request); !errors.Is(err, failed) {
			t.Errorf("%s: got error %v, want %v", name, err, failed)
		}
		if (taken == 1) != c.direct || taken+left != 1 {
			t.Errorf("%s: got %d direct calls and %d others, want direct %t", name, taken, left, c.direct)
		}
	}
}

// TestDirectPrepared counts the targets of a client: one for each transport, and one
// for each call with a user agent of its own.
func TestDirectPrepared(t *testing.T) {
	direct := func(context.Context, *url.URL, [][2]string, []byte) (io.ReadCloser, error) {
		return nil, errors.New("of a test")
	}
	transports := []*directFake{{direct: direct}, {direct: direct}}
	httpClient := new(http.Client)
	client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](httpClient, "http://host/a/b")
	call := func(transport int, agent string) {
		httpClient.Transport = transports[transport]
		request := NewRequest(text(1))
		if agent != "" {
			request.Header().Set("User-Agent", agent)
		}
		if _, err := client.CallUnary(context.Background(), request); CodeOf(err) != CodeUnavailable {
			t.Errorf("got error %v", err)
		}
	}
	for i, c := range []struct {
		transport int
		agent     string
		want      [2]int
	}{
		{0, "", [2]int{1, 0}}, {0, "", [2]int{1, 0}}, {0, "test", [2]int{2, 0}}, {0, "", [2]int{2, 0}},
		{1, "", [2]int{2, 1}}, {1, "", [2]int{2, 1}}, {0, "", [2]int{3, 1}},
	} {
		call(c.transport, c.agent)
		if got := [2]int{transports[0].prepared, transports[1].prepared}; got != c.want {
			t.Errorf("after call %d: got %d prepared, want %d", i, got, c.want)
		}
	}
}

// ---- responses ----

// TestDirectExchange compares calls that a transport takes directly with calls that
// it leaves to RoundTrip.
func TestDirectExchange(t *testing.T) {
	message, err := proto.Marshal(text(10))
	if err != nil {
		t.Fatal(err)
	}
	framed := string(append([]byte{0, 0, 0, 0, byte(len(message))}, message...))
	const wrong = `{"code":"aborted","message":"no","details":[{"type":"a.B","value":"AA"}]}`
	type fields = [][2]string
	protoType, jsonType := [2]string{"content-type", "application/proto"}, [2]string{"content-type", "application/json"}
	grpcType, webType := [2]string{"content-type", "application/grpc+proto"}, [2]string{"content-type", "application/grpc-web+proto"}
	answers := map[string]directAnswer{
		"success":               {Reader: strings.NewReader(string(message)), status: 200, fields: fields{protoType, {"x", "1"}, {"x", "2"}, {"trailer-y", "3"}}},
		"empty":                 {status: 200, fields: fields{protoType}},
		"wrong message":         {Reader: strings.NewReader("\xff\xff"), status: 200, fields: fields{protoType}},
		"wrong type":            {Reader: strings.NewReader("<html>"), status: 200, fields: fields{{"content-type", "text/html"}}},
		"no type":               {Reader: strings.NewReader("<html>"), status: 200},
		"unknown encoding":      {Reader: strings.NewReader(string(message)), status: 200, fields: fields{protoType, {"content-encoding", "odd"}}},
		"cut":                   {Reader: io.MultiReader(strings.NewReader("x"), brokenReader{io.ErrUnexpectedEOF}), status: 200, fields: fields{protoType}},
		"broken":                {Reader: brokenReader{syscall.ECONNRESET}, status: 200, fields: fields{protoType}},
		"204":                   {status: 204},
		"trailers announced":    {Reader: strings.NewReader(string(message)), status: 200, fields: fields{protoType, {"trailer", "a, b"}, {"trailer", "c"}}, trailer: fields{{"a", "1"}, {"d", "2"}}},
		"error":                 {Reader: strings.NewReader(wrong), status: 409, fields: fields{jsonType, {"x", "1"}, {"trailer-y", "2"}}},
		"404":                   {Reader: strings.NewReader("not found"), status: 404, fields: fields{{"content-type", "text/plain"}}},
		"500":                   {Reader: strings.NewReader(wrong), status: 500, fields: fields{jsonType}},
		"500, empty":            {status: 500},
		"503, other JSON":       {Reader: strings.NewReader(`[1]`), status: 503, fields: fields{jsonType}},
		"odd status":            {Reader: strings.NewReader("?"), status: 999},
		"300":                   {Reader: strings.NewReader("choose"), status: 300},
		"301":                   {status: 301, fields: fields{{"location", "/else/where"}}},
		"302, nowhere":          {Reader: strings.NewReader("?"), status: 302},
		"303":                   {status: 303, fields: fields{{"location", "http://other/else/where"}}},
		"307":                   {status: 307, fields: fields{{"location", "/else/where?a=b"}}},
		"307, bad":              {status: 307, fields: fields{{"location", ":%zz"}}},
		"308":                   {Reader: strings.NewReader("moved"), status: 308, fields: fields{{"location", "where"}}},
		"304":                   {status: 304},
		"gRPC success":          {Reader: strings.NewReader(framed), status: 200, fields: fields{grpcType, {"x", "1"}}, trailer: fields{{"grpc-status", "0"}, {"y", "2"}}},
		"gRPC announced":        {Reader: strings.NewReader(framed), status: 200, fields: fields{grpcType, {"trailer", "Grpc-Status"}}, trailer: fields{{"grpc-status", "0"}, {"y", "2"}}},
		"gRPC zero":             {Reader: strings.NewReader(framed), status: 200, fields: fields{grpcType}, trailer: fields{{"grpc-status", "00"}}},
		"gRPC error":            {Reader: strings.NewReader(framed), status: 200, fields: fields{grpcType, {"x", "1"}}, trailer: fields{{"grpc-status", "5"}, {"grpc-message", "no%20such"}, {"y", "2"}}},
		"gRPC without status":   {Reader: strings.NewReader(framed), status: 200, fields: fields{grpcType}, trailer: fields{{"y", "2"}}},
		"gRPC without trailers": {Reader: strings.NewReader(framed), status: 200, fields: fields{grpcType}},
		"gRPC trailers alone":   {status: 200, fields: fields{grpcType, {"grpc-status", "5"}, {"grpc-message", "no"}, {"x", "1"}}},
		"gRPC, two messages":    {Reader: strings.NewReader(framed + framed), status: 200, fields: fields{grpcType}, trailer: fields{{"grpc-status", "0"}}},
		"gRPC, none":            {status: 200, fields: fields{grpcType}, trailer: fields{{"grpc-status", "0"}, {"y", "2"}}},
		"gRPC, cut":             {Reader: strings.NewReader(framed[:8]), status: 200, fields: fields{grpcType}},
		"gRPC, cut with status": {Reader: io.MultiReader(strings.NewReader(framed[:8]), brokenReader{io.ErrUnexpectedEOF}), status: 200, fields: fields{grpcType}},
		"web":                   {Reader: strings.NewReader(framed + "\x80\x00\x00\x00\x14grpc-status: 0\r\ny: 2"), status: 200, fields: fields{webType}},
		"web error":             {Reader: strings.NewReader("\x80\x00\x00\x00\x0egrpc-status: 5"), status: 200, fields: fields{webType, {"x", "1"}}},
		"web without end":       {Reader: strings.NewReader(framed), status: 200, fields: fields{webType}},
	}
	for name, answer := range answers {
		content := []byte(nil)
		var failed error
		if answer.Reader != nil {
			content, failed = io.ReadAll(answer.Reader)
		}
		for protocol, options := range map[string][]ClientOption{
			"connect": nil, "compressed": {WithSendGzip(), WithAcceptCompression(compressionGzip, nil, nil)}, "grpc": {WithGRPC()}, "web": {WithGRPCWeb()},
		} {
			for _, length := range []int64{-1, int64(len(content))} {
				call := func(direct bool) string {
					var seen strings.Builder
					reply := func() *directAnswer {
						a := answer
						a.Reader, a.length = bytes.NewReader(content), length
						if failed != nil {
							a.Reader = io.MultiReader(a.Reader, brokenReader{failed})
						}
						return &a
					}
					transport := &directFake{direct: notDirect}
					transport.roundTripper = func(r *http.Request) (*http.Response, error) {
						body, err := []byte(nil), error(nil)
						if r.Body != nil {
							body, err = io.ReadAll(r.Body)
							_ = r.Body.Close()
						}
						fmt.Fprintf(&seen, "%s %s %q %v %v\n", r.Method, r.URL, body, err, sorted(r.Header))
						a := reply()
						if strings.Contains(r.URL.Path, "where") {
							a = &directAnswer{Reader: strings.NewReader("elsewhere"), status: 404, length: -1}
						}
						return responseOf(a), nil
					}
					if direct {
						transport.direct = func(_ context.Context, u *url.URL, fields [][2]string, body []byte) (io.ReadCloser, error) {
							fmt.Fprintf(&seen, "POST %s %q <nil> %v\n", u, body, sorted(headerOfFields(fields)))
							return reply(), nil
						}
					}
					client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](&http.Client{Transport: transport}, "http://host/a/b", options...)
					request := NewRequest(text(100))
					request.Header().Set("X", "1")
					response, err := client.CallUnary(context.Background(), request)
					return fmt.Sprint(seen.String(), outcomeOf(response, err), request.HTTPMethod())
				}
				if got, want := call(true), call(false); got != want {
					t.Errorf("%s, %s, length %d: got\n%s\nwant\n%s", name, protocol, length, got, want)
				}
			}
		}
	}
}

type brokenReader struct{ err error }

func (f brokenReader) Read([]byte) (int, error) { return 0, f.err }

// sorted returns a header as a text, without the field that net/http adds after a
// redirect.
func sorted(h http.Header) string {
	h = h.Clone()
	delete(h, "Referer")
	return fmt.Sprintf("%q", h)
}

// outcomeOf returns the outcome of a call as a text.
func outcomeOf(response *Response[wrapperspb.StringValue], err error) string {
	if err == nil {
		return fmt.Sprintf("%q %q %q", response.Msg.Value, response.Header(), response.Trailer())
	}
	var e *Error
	if !errors.As(err, &e) {
		return fmt.Sprintf("%T %v", err, err)
	}
	return fmt.Sprintf("%v %v %d details, meta %q, of the wire %t", e.Code(), err, len(e.Details()), e.Meta(), IsWireError(err))
}

// TestDirectExchangeErrors: an error of RoundTripDirect has the same outcome as an
// error of RoundTrip.
func TestDirectExchangeErrors(t *testing.T) {
	for _, failed := range []error{
		io.EOF, io.ErrUnexpectedEOF, errors.New("of a test"), context.Canceled, context.DeadlineExceeded,
		&net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}, &url.Error{Op: "Get", URL: "x", Err: io.EOF},
		tls.RecordHeaderError{Msg: "first record", RecordHeader: [5]byte{'H', 'T', 'T', 'P', '/'}}, NewError(CodeAborted, io.EOF),
	} {
		for _, options := range [][]ClientOption{nil, {WithGRPC()}} {
			call := func(transport *directFake) string {
				client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](&http.Client{Transport: transport}, "http://host/a/b", options...)
				response, err := client.CallUnary(context.Background(), NewRequest(text(1)))
				return fmt.Sprint(outcomeOf(response, err), errors.Is(err, http.ErrSchemeMismatch))
			}
			got := call(&directFake{direct: func(context.Context, *url.URL, [][2]string, []byte) (io.ReadCloser, error) { return nil, failed }})
			want := call(&directFake{roundTripper: func(*http.Request) (*http.Response, error) { return nil, failed }, direct: notDirect})
			if got != want {
				t.Errorf("%v: got %s, want %s", failed, got, want)
			}
		}
	}
}

// TestDirectHeadless: a response that has no head is the transport's
// fault. It is closed.
func TestDirectHeadless(t *testing.T) {
	answer := new(directAnswer)
	transport := &directFake{direct: func(context.Context, *url.URL, [][2]string, []byte) (io.ReadCloser, error) {
		return struct{ io.ReadCloser }{answer}, nil
	}}
	client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](&http.Client{Transport: transport}, "http://host/a/b")
	_, err := client.CallUnary(context.Background(), NewRequest(text(1)))
	if CodeOf(err) != CodeInternal || !strings.Contains(err.Error(), "has no head") {
		t.Errorf("got %v, want %v and why", err, CodeInternal)
	}
	if answer.closes != 1 {
		t.Errorf("got %d times closed, want 1", answer.closes)
	}
}

// TestDirectEmbedded: a transport that embeds one with direct calls gets the call,
// and not the one inside it.
func TestDirectEmbedded(t *testing.T) {
	inner := &directFake{direct: func(context.Context, *url.URL, [][2]string, []byte) (io.ReadCloser, error) {
		t.Error("got a call of the transport within, want the one around it")
		return nil, nil
	}}
	asked := 0
	outer := outerTransport{inner, func(*http.Request) (*http.Response, error) {
		asked++
		return nil, errors.New("of a test")
	}}
	client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](&http.Client{Transport: outer}, "http://host/a/b")
	_, err := client.CallUnary(context.Background(), NewRequest(text(1)))
	if CodeOf(err) != CodeUnavailable || asked != 1 {
		t.Errorf("got %v and %d calls, want %v and 1", err, asked, CodeUnavailable)
	}
}

type outerTransport struct {
	*directFake
	own roundTripper
}

func (o outerTransport) RoundTrip(r *http.Request) (*http.Response, error) { return o.own(r) }

// TestResponseOf makes a response of a direct one.
func TestResponseOf(t *testing.T) {
	for name, c := range map[string]struct {
		fields, trailer [][2]string
		header          http.Header
		before, after   http.Header // Trailer
	}{
		"none":            {nil, nil, http.Header{}, nil, http.Header{}},
		"not announced":   {nil, [][2]string{{"a", "1"}, {"a", "2"}}, http.Header{}, nil, http.Header{"A": {"1", "2"}}},
		"announced":       {[][2]string{{"x", "1"}, {"trailer", "a"}}, [][2]string{{"a", "1"}}, http.Header{"X": {"1"}}, http.Header{"A": nil}, http.Header{"A": {"1"}}},
		"announced, some": {[][2]string{{"trailer", "a, B"}, {"trailer", ",c"}}, [][2]string{{"d", "1"}, {"a", "2"}}, http.Header{}, http.Header{"A": nil, "B": nil, "C": nil}, http.Header{"A": {"2"}, "B": nil, "C": nil, "D": {"1"}}},
	} {
		answer := &directAnswer{Reader: strings.NewReader("body"), status: 404, fields: c.fields, length: 4, trailer: c.trailer}
		r := responseOf(answer)
		if r.Status != "404 Not Found" || r.StatusCode != 404 || r.ProtoMajor != 2 || r.ContentLength != 4 {
			t.Errorf("%s: got %q, %d, %q, %d", name, r.Status, r.StatusCode, r.Proto, r.ContentLength)
		}
		if diff := cmp.Diff(r.Header, c.header) + cmp.Diff(r.Trailer, c.before); diff != "" {
			t.Errorf("%s: header and trailer (-got +want):\n%s", name, diff)
		}
		body, err := io.ReadAll(r.Body)
		if diff := cmp.Diff(r.Trailer, c.after); string(body) != "body" || err != nil || diff != "" {
			t.Errorf("%s: got body %q, error %v, want body, nil; trailer (-got +want):\n%s", name, body, err, diff)
		}
		if err := r.Body.Close(); err != nil || answer.closes != 1 {
			t.Errorf("%s: got %v and %d times closed, want nil and 1", name, err, answer.closes)
		}
	}
}
