// SPDX-License-Identifier: Apache-2.0

// Calls through events of all formats, and events that make no sense.

package lambda_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/lambda"
)

// service has a procedure of each kind. Its unary one answers with a header, trailers and as
// many bytes as the message asks for, by its length.
func service() http.Handler {
	fail := func() error {
		err := connect.NewError(connect.CodeNotFound, errors.New("nothing there"))
		err.Meta().Add("X-Meta", "m")
		return err
	}
	return connect.NewServiceHandler([]*connect.Handler{
		connect.NewUnaryHandler(pathUnary, func(_ context.Context, r *connect.Request[message]) (*connect.Response[message], error) {
			if string(r.Msg.Value) == "fail" {
				return nil, fail()
			}
			if r.Peer().Addr != "192.0.2.7:0" {
				return nil, connect.NewError(connect.CodeInternal, fmt.Errorf("the peer is %q", r.Peer().Addr))
			}
			response := connect.NewResponse(r.Msg)
			for _, value := range r.Header().Values("X-Many") {
				response.Header().Add("X-Many", value)
			}
			if got := r.Header().Values("X-Some-Bin"); strings.Join(got, " ") != "AQ Ag" {
				return nil, connect.NewError(connect.CodeInternal, fmt.Errorf("the binary headers are %q", got))
			}
			response.Trailer().Set("X-Trail", r.HTTPMethod())
			return response, nil
		}, connect.WithIdempotency(connect.IdempotencyNoSideEffects)),
		connect.NewServerStreamHandler(pathServer, func(_ context.Context, r *connect.Request[message], stream *connect.ServerStream[message]) error {
			for range 3 {
				if err := stream.Send(r.Msg); err != nil {
					return err
				}
			}
			stream.ResponseTrailer().Set("X-Trail", "t")
			return fail()
		}),
		connect.NewClientStreamHandler(pathClient, func(_ context.Context, stream *connect.ClientStream[message]) (*connect.Response[message], error) {
			all := new(message)
			for stream.Receive() {
				all.Value = append(all.Value, stream.Msg().Value...)
			}
			return connect.NewResponse(all), stream.Err()
		}),
		connect.NewBidiStreamHandler(pathBidi, func(context.Context, *connect.BidiStream[message, message]) error { return nil }),
	})
}

func clientOf(transport http.RoundTripper, path string, options ...connect.ClientOption) *client {
	return connect.NewClient[message, message](&http.Client{Transport: transport}, "http://abc.lambda-url.example"+path, options...)
}

// TestCalls makes calls of all kinds through all formats, buffered and streamed.
func TestCalls(t *testing.T) {
	function := lambda.New(service())
	for name, event := range fronts {
		for _, stream := range []bool{false, true} {
			for protocol, options := range map[string][]connect.ClientOption{
				"connect": nil, "JSON": {connect.WithProtoJSON()}, "gzip": {connect.WithSendGzip()}, "GET": {connect.WithHTTPGet()}, "GET, JSON": {connect.WithHTTPGet(), connect.WithProtoJSON()},
				"grpcweb": {connect.WithGRPCWeb()}, "grpcweb, JSON": {connect.WithGRPCWeb(), connect.WithProtoJSON()},
			} {
				t.Run(fmt.Sprintf("%s, stream %v, %s", name, stream, protocol), func(t *testing.T) {
					options = append(options, connect.WithIdempotency(connect.IdempotencyNoSideEffects))
					callAll(t, &front{function, event, stream}, strings.HasPrefix(protocol, "GET"), options...)
				})
			}
		}
	}
}

func callAll(t *testing.T, transport http.RoundTripper, get bool, options ...connect.ClientOption) {
	t.Helper()
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	request := connect.NewRequest(wrapperspb.Bytes(every))
	request.Header()["X-Many"] = []string{"a", "b"}
	request.Header()["X-Some-Bin"] = []string{"AQ", "Ag"}
	response, err := clientOf(transport, pathUnary, options...).CallUnary(t.Context(), request)
	if err != nil {
		t.Fatal("unary:", err)
	}
	method := map[bool]string{false: "POST", true: "GET"}[get]
	if many := strings.Join(response.Header().Values("X-Many"), ","); !bytes.Equal(response.Msg.Value, every) || many != "a,b" || response.Trailer().Get("X-Trail") != method {
		t.Errorf("unary: got %v, %q, %v, want the message, the header and %s in the trailer", response.Msg, many, response.Trailer(), method)
	}
	_, err = clientOf(transport, pathUnary, options...).CallUnary(t.Context(), connect.NewRequest(wrapperspb.Bytes([]byte("fail"))))
	wantFailure(t, "unary error", err)

	stream, err := clientOf(transport, pathServer, options...).CallServerStream(t.Context(), connect.NewRequest(wrapperspb.Bytes(every)))
	if err != nil {
		t.Fatal("server stream:", err)
	}
	count := 0
	for stream.Receive() {
		count++
	}
	wantFailure(t, "server stream", stream.Err())
	if got := stream.ResponseTrailer().Get("X-Trail"); count != 3 || got != "t" {
		t.Errorf("server stream: got %d messages and the trailer %q, want 3 and t", count, got)
	}
	_ = stream.Close()

	sender := clientOf(transport, pathClient, options...).CallClientStream(t.Context())
	for _, text := range []string{"a", "b"} {
		if err := sender.Send(wrapperspb.Bytes([]byte(text))); err != nil {
			t.Error("client stream:", err)
		}
	}
	if sum, err := sender.CloseAndReceive(); err != nil || string(sum.Msg.Value) != "ab" {
		t.Errorf("client stream: got %v, %v, want ab", sum, err)
	}
}

func wantFailure(t *testing.T, what string, err error) {
	t.Helper()
	var failure *connect.Error
	if !errors.As(err, &failure) || failure.Code() != connect.CodeNotFound || failure.Message() != "nothing there" || failure.Meta().Get("X-Meta") != "m" {
		t.Errorf("%s: got %v, want not_found with its metadata", what, err)
	}
}

// TestGRPC refuses calls of gRPC with a reason, and those with both directions at once.
func TestGRPC(t *testing.T) {
	function := lambda.New(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler was called") }))
	for name, event := range fronts {
		for _, stream := range []bool{false, true} {
			for _, options := range [][]connect.ClientOption{{connect.WithGRPC()}, {connect.WithGRPC(), connect.WithProtoJSON()}} {
				_, err := clientOf(&front{function, event, stream}, pathUnary, options...).CallUnary(t.Context(), connect.NewRequest(new(message)))
				if connect.CodeOf(err) != connect.CodeUnimplemented || !strings.Contains(err.Error(), "trailers") {
					t.Errorf("%s, stream %v: got %v, want unimplemented and the reason", name, stream, err)
				}
			}
		}
	}
	for name, event := range fronts {
		both := clientOf(&front{lambda.New(service()), event, true}, pathBidi).CallBidiStream(t.Context())
		_ = both.CloseRequest()
		if _, err := both.Receive(); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: got %v from a bidi stream, want an error", name, err)
		}
		_ = both.CloseResponse()
	}
}

const maxBuffered = 6 << 20

// TestLarge answers with more than fits.
func TestLarge(t *testing.T) {
	for name, c := range map[string]struct {
		size int
		want connect.Code // 0: none
	}{
		"fits":            {4 << 20, 0},
		"not in base64":   {5 << 20, connect.CodeResourceExhausted},
		"not in any form": {7 << 20, connect.CodeResourceExhausted},
	} {
		t.Run(name, func(t *testing.T) {
			handler := connect.NewServiceHandler([]*connect.Handler{connect.NewUnaryHandler(pathUnary, func(context.Context, *connect.Request[message]) (*connect.Response[message], error) {
				return connect.NewResponse(wrapperspb.Bytes(make([]byte, c.size))), nil
			}, connect.WithCompression("gzip", nil, nil))})
			for _, options := range [][]connect.ClientOption{{connect.WithGRPCWeb()}, nil} {
				for _, stream := range []bool{false, true} {
					response, err := clientOf(&front{lambda.New(handler), v2, stream}, pathUnary, options...).CallUnary(t.Context(), connect.NewRequest(new(message)))
					if stream && c.size < maxBuffered {
						continue
					}
					if stream || c.want == 0 {
						if err != nil || len(response.Msg.Value) != c.size {
							t.Errorf("stream %v: got %v, want all bytes", stream, err)
						}
					} else if connect.CodeOf(err) != c.want {
						t.Errorf("got %v, want %v", err, c.want)
					}
				}
			}
		})
	}
	markup := `"` + strings.Repeat("<&>", maxBuffered/4) + `"` // each character would have six bytes in escaped JSON
	page := lambda.New(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, markup)
	}))
	if response, err := (&http.Client{Transport: &front{page, v1, false}}).Get("http://a.example/page"); err != nil {
		t.Error(err)
	} else if body, _ := io.ReadAll(response.Body); string(body) != markup {
		t.Errorf("got the status %d and %.100q, want the markup", response.StatusCode, body)
	}
	plain := lambda.New(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 7<<20)) }))
	response, err := (&http.Client{Transport: &front{plain, v1, false}}).Get("http://a.example/large")
	if err != nil || response.StatusCode != http.StatusTooManyRequests {
		t.Errorf("got %v, %v, want resource_exhausted's 429", response, err)
	}
}

// TestBadEvents has events that are none, and requests that cannot be.
func TestBadEvents(t *testing.T) {
	function := lambda.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host+r.URL.Path) }))
	for _, payload := range []string{
		"", "null", "{}", "[]", "7", `"text"`, `{"Records":[{"eventSource":"aws:s3"}]}`, `{"version":"2.0"}`, `{"httpMethod":"GET"}`, `{"path":"/"}`,
		`{"httpMethod":7,"path":"/"}`, `{"version":"2.0","requestContext":"a"}`, `{"httpMethod":"GET","path":"/"`,
	} {
		if got, err := function.Invoke(t.Context(), []byte(payload)); err == nil {
			t.Errorf("%s: got %s from Invoke, want an error", payload, got)
		}
		if got, err := function.Stream(t.Context(), json.RawMessage(payload)); err == nil {
			t.Errorf("%s: got %v from Stream, want an error", payload, got)
		}
	}
	for payload, want := range map[string]int{
		`{"httpMethod":"GET","path":"/a"}`:                                                                                            200,
		`{"httpMethod":"GET","path":"//evil.example/a"}`:                                                                              200,
		`{"httpMethod":"GET","path":"/a b/ü"}`:                                                                                        200,
		`{"httpMethod":"GET","path":"http://evil.example/"}`:                                                                          400,
		`{"httpMethod":"GET","path":"a"}`:                                                                                             400,
		`{"httpMethod":"G T","path":"/"}`:                                                                                             400,
		`{"httpMethod":"GET","path":"/","body":"*","isBase64Encoded":true}`:                                                           400,
		`{"requestContext":{"http":{"method":"GET"}},"rawPath":"/%zz"}`:                                                               400,
		`{"requestContext":{"http":{"method":"GET"}},"rawPath":""}`:                                                                   400,
		`{"requestContext":{"http":{"method":"GET"}},"rawPath":"/","rawQueryString":"\u0000"}`:                                        400,
		`{"requestContext":{"elb":{}},"httpMethod":"GET","path":"/","queryStringParameters":{"a":"%zz"}}`:                             400,
		`{"requestContext":{"elb":{}},"httpMethod":"GET","path":"/","multiValueQueryStringParameters":{"%zz":["a"]}}`:                 400,
		`{"requestContext":{"elb":{}},"httpMethod":"GET","path":"/","headers":{"\u0000":"a\nb"},"queryStringParameters":{"a":"%20"}}`: 200,
	} {
		for _, stream := range []bool{false, true} {
			var status int
			if stream {
				response, err := function.Stream(t.Context(), json.RawMessage(payload))
				if err != nil {
					t.Fatal(payload, err)
				}
				read, err := readStream(t.Context(), response)
				if err != nil {
					t.Fatal(payload, err)
				}
				_, _ = io.Copy(io.Discard, read.Body)
				_ = read.Body.Close()
				status = read.StatusCode
			} else {
				response, err := function.Invoke(t.Context(), []byte(payload))
				if err != nil {
					t.Fatal(payload, err)
				}
				read, err := readWhole(response)
				if err != nil {
					t.Fatal(payload, err)
				}
				if body, _ := io.ReadAll(read.Body); strings.HasPrefix(string(body), "evil") {
					t.Errorf("%s: got the host %s of a path", payload, body)
				}
				status = read.StatusCode
			}
			if status != want {
				t.Errorf("%s, stream %v: got %d, want %d", payload, stream, status, want)
			}
		}
	}
}

// TestPanics has handlers that panic before and after they have written.
func TestPanics(t *testing.T) {
	for _, value := range []any{"broken", http.ErrAbortHandler} {
		for _, writes := range []bool{false, true} {
			function := lambda.New(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if writes {
					_, _ = io.WriteString(w, "half")
				}
				panic(value)
			}))
			payload := []byte(`{"httpMethod":"GET","path":"/a"}`)
			if got, err := function.Invoke(t.Context(), payload); err == nil {
				t.Errorf("%v, %v: got %s from Invoke, want an error", value, writes, got)
			}
			response, err := function.Stream(t.Context(), payload)
			if !writes {
				if err == nil {
					t.Errorf("%v: got %v from Stream, want an error", value, response)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(response)
			if err == nil || !bytes.HasSuffix(got, []byte("half")) {
				t.Errorf("%v: got %q, %v from a Response, want what was written and an error", value, got, err)
			}
			_ = response.Close()
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("got no panic of New(nil), want one")
		}
	}()
	lambda.New(nil)
}

// TestStreamEnds has handlers that go on when the response is closed, when the function's time
// is over, and when nothing is read.
func TestStreamEnds(t *testing.T) {
	payload := []byte(`{"httpMethod":"GET","path":"/a"}`)
	for _, end := range []string{"close", "close after a read", "time", "time before the head"} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan error, 1)
				function := lambda.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if end == "time before the head" {
						<-r.Context().Done()
						ended <- r.Context().Err()
						return
					}
					for {
						if _, err := w.Write(make([]byte, 1000)); err != nil {
							<-r.Context().Done() // the context of a call that is cut has ended, too
							ended <- err
							return
						}
					}
				}))
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				response, err := function.Stream(ctx, payload)
				if err != nil && end != "time before the head" {
					t.Fatalf("got %v from Stream", err)
				}
				switch end {
				case "close after a read":
					if _, err := io.ReadFull(response, make([]byte, 2500)); err != nil {
						t.Error(err)
					}
					fallthrough
				case "close":
					_ = response.Close()
				case "time":
					synctest.Wait()
					time.Sleep(time.Minute)
				}
				if err := <-ended; err == nil {
					t.Error("got no error in the handler, want one")
				}
				if end == "time before the head" { // the handler and the end of the time race for an empty response
					if response != nil {
						_ = response.Close()
					}
					return
				}
				if response != nil {
					if _, err := io.ReadAll(response); err == nil {
						t.Error("got the whole response, want an error")
					}
				}
			})
		})
	}
}

// TestHeads compares the heads of responses with the formats.
func TestHeads(t *testing.T) {
	function := lambda.New(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Trailer", "X-Late")
		w.WriteHeader(http.StatusCreated)
		w.Header().Set("X-Late", "t")
		w.Header().Set(http.TrailerPrefix+"X-Later", "t")
		_, _ = io.WriteString(w, "é")
	}))
	for payload, want := range map[string]string{
		`{"requestContext":{"http":{"method":"GET"}},"rawPath":"/"}`:                                  `{"statusCode":201,"headers":{"Content-Type":"text/plain"},"cookies":["a=1","b=2"],"body":"é","isBase64Encoded":false}`,
		`{"httpMethod":"GET","path":"/"}`:                                                             `{"statusCode":201,"multiValueHeaders":{"Content-Type":["text/plain"],"Set-Cookie":["a=1","b=2"]},"body":"é","isBase64Encoded":false}`,
		`{"requestContext":{"elb":{}},"httpMethod":"GET","path":"/"}`:                                 `{"statusCode":201,"statusDescription":"201 Created","headers":{"Content-Type":"text/plain","Set-Cookie":"a=1,b=2"},"body":"é","isBase64Encoded":false}`,
		`{"requestContext":{"elb":{}},"httpMethod":"GET","path":"/","multiValueHeaders":{"a":["b"]}}`: `{"statusCode":201,"statusDescription":"201 Created","multiValueHeaders":{"Content-Type":["text/plain"],"Set-Cookie":["a=1","b=2"]},"body":"é","isBase64Encoded":false}`,
	} {
		got, err := function.Invoke(t.Context(), []byte(payload))
		if err != nil || string(got) != want {
			t.Errorf("%s: got\n%s, %v, want\n%s", payload, got, err, want)
		}
	}
}

// FuzzInvoke has payloads of any kind: an error, or a response that can be read.
func FuzzInvoke(f *testing.F) {
	f.Add([]byte(`{"httpMethod":"POST","path":"/test.v1.S/Unary","headers":{"content-type":"application/json"},"body":"\"YQ==\""}`))
	f.Add([]byte(`{"requestContext":{"http":{"method":"GET"}},"rawPath":"/a","rawQueryString":"b=c","cookies":["d"]}`))
	f.Add([]byte(`{"requestContext":{"elb":{}},"httpMethod":"GET","path":"/","queryStringParameters":{"a":"%zz"}}`))
	function := lambda.New(service())
	f.Fuzz(func(t *testing.T, payload []byte) {
		response, err := function.Invoke(context.Background(), payload)
		if err == nil {
			_, err = readWhole(response)
			if err != nil {
				t.Error(err)
			}
		}
	})
}
