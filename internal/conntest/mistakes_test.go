// SPDX-License-Identifier: Apache-2.0

// This file tests the errors after the most frequent mistakes of programs: an error
// names the mistake, and how to mend it. Each test is one mistake, over the
// protocols, kinds and engines where it can happen.

package conntest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/h2"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
)

// --- the table ---

// A mistake is a way to call a server that cannot work.
type mistake struct {
	name   string
	server string // the engine's name
	scheme string // of the client's URL, "" for the server's
	client func(*testing.T) http.RoundTripper
	codes  []connect.Code
	words  []string // each of them is in every error
}

// A client's transport and the server use different versions of HTTP, or one of them
// uses TLS and the other does not.
var transportMistakes = []mistake{
	{"http to TLS, default client", "h2", "http", defaultTransport, []connect.Code{connect.CodeInternal}, []string{"400", "use a URL with https"}},
	{"http to TLS, default client", "engine-h2", "http", defaultTransport, []connect.Code{connect.CodeInternal}, []string{"400", "use a URL with https"}},
	{"http to TLS, h2c client", "h2", "http", clearHTTP2, unavailable, []string{"a server with TLS needs a URL with https"}},
	{"http to TLS, h2c client", "engine-h2", "http", clearHTTP2, unavailable, []string{"a server with TLS needs a URL with https"}},
	{"http to TLS, engine", "h2", "http", engineOnly, unavailable, []string{"TLS", "a URL with https"}},
	{"http to TLS, engine", "engine-h2", "http", engineOnly, unavailable, []string{"TLS", "a URL with https"}},
	{"https to HTTP/1.1", "h1", "https", secureTransport, unavailable, []string{"server gave HTTP response to HTTPS client", "use a URL with http"}},
	{"https to HTTP/1.1, engine", "h1", "https", engineOnly, unavailable, []string{"server gave HTTP response to HTTPS client", "use a URL with http"}},
	{"https to h2c", "h2c", "https", secureTransport, unavailable, []string{"has no TLS", "a URL with http"}},
	{"https to h2c", "engine-h2c", "https", secureTransport, unavailable, []string{"has no TLS", "a URL with http"}},
	{"https to h2c, engine", "h2c", "https", engineOnly, unavailable, []string{"has no TLS", "use a URL with http"}},
	{"https to h2c, engine", "engine-h2c", "https", engineOnly, unavailable, []string{"has no TLS", "use a URL with http"}},
	{"HTTP/1.1 to h2c", "h2c", "", defaultTransport, unavailable, needHTTP2},
	{"HTTP/1.1 to h2c", "engine-h2c", "", defaultTransport, unavailable, needHTTP2},
	{"h2c to HTTP/1.1", "h1", "", clearHTTP2, unavailable, []string{"this client speaks HTTP/2 without TLS", "SetUnencryptedHTTP2"}},
	{"h2c to HTTP/1.1, engine", "h1", "", engineOnly, unavailable, []string{"the server speaks HTTP/1.1 and not HTTP/2", "SetUnencryptedHTTP2"}},
	{"HTTP/1.1 to h2", "h2", "", secureHTTP1, unavailable, []string{"none of this client's versions of HTTP"}},
	{"HTTP/1.1 to h2", "engine-h2", "", secureHTTP1, unavailable, []string{"none of this client's versions of HTTP"}},
}

var (
	unavailable = []connect.Code{connect.CodeUnavailable}
	needHTTP2   = []string{"HTTP/2", "this client speaks HTTP/1.1 to URLs with http", "TLS", "SetUnencryptedHTTP2(true)", "h2.NewTransport"}
)

func TestMistakeTransport(t *testing.T) {
	t.Parallel()
	_, handler := conntestv1connect.NewTestServiceHandler(echo)
	for _, x := range transportMistakes {
		t.Run(x.name+"/"+x.server, func(t *testing.T) {
			t.Parallel()
			server := startNamed(t, x.server, handler)
			_, address, _ := strings.Cut(server.url, "://")
			url := server.url
			if x.scheme != "" {
				url = x.scheme + "://" + address
			}
			transport := x.client(t)
			eachCall(t, transport, url, nil, func(t *testing.T, m mode, k kind, o outcome) {
				words := x.words
				if m.protocol == "grpc" && words[0] == "HTTP/2" {
					words = append(slices.Clone(words), "gRPC needs HTTP/2")
				}
				if m.protocol == "grpc" && x.name == "HTTP/1.1 to h2" {
					words = append(slices.Clone(words), "gRPC needs HTTP/2", "ForceAttemptHTTP2", "h2.NewTransport")
				}
				if x.name == "HTTP/1.1 to h2" && o.err != nil && strings.Contains(o.err.Error(), closedIdle) {
					words = []string{closedIdle}
				}
				codes := x.codes
				if x.name == "http to TLS, default client" && (errors.Is(o.err, syscall.ECONNRESET) || errors.Is(o.err, syscall.EPIPE)) {
					// The server closes the connection after its answer, and the client lost
					// the answer, because it was still writing.
					codes, words = unavailable, []string{"the server closed the connection without an answer"}
				}
				wantMistake(t, o.err, codes, words...)
			})
		})
	}
}

// A base URL without a host is that of a variable that is not set.
func TestMistakeNoHost(t *testing.T) {
	t.Parallel()
	for name, transport := range map[string]func(*testing.T) http.RoundTripper{"default": defaultTransport, "engine": engineOnly, "h2c": clearHTTP2} {
		for _, url := range []string{"", "http://", "https://"} {
			t.Run(name+"/"+url, func(t *testing.T) {
				eachCall(t, transport(t), url, nil, func(t *testing.T, _ mode, _ kind, o outcome) {
					wantMistake(t, o.err, unavailable, `URL "`+strings.TrimRight(url, "/")+`/`, "has no host", "http://localhost:8080")
				})
			})
		}
	}
}

// closedIdle is the text of net/http, in an error without a type of its own, for a server
// that closes a connection before the request is written: the client adds nothing then.
const closedIdle = "http: server closed idle connection"

// --- HTTP versions and paths ---

// A bidirectional stream over HTTP/1.1 is refused, on either side of it.
func TestMistakeBidiOverHTTP1(t *testing.T) {
	t.Parallel()
	_, handler := conntestv1connect.NewTestServiceHandler(echo)
	server := startNamed(t, "h1", handler)
	for _, protocol := range protocols {
		m := mode{protocol: protocol, codec: "proto", compression: "identity"}
		o := call(testContext(t), mistaken(server.transport, server.url, m), bidi, nil, text("x"))
		wantMistake(t, o.err, []connect.Code{connect.CodeUnknown}, "505", "needs HTTP/2", "HTTP/1.1", "SetUnencryptedHTTP2(true)", "h2.NewTransport")

		// A proxy may pass HTTP/2 on as HTTP/1.1, to a server that does not check the version.
		blind := doerFunc(func(r *http.Request) (*http.Response, error) {
			_ = r.Body.Close()
			header := http.Header{"Content-Type": {r.Header.Get("Content-Type")}}
			status := http.StatusOK
			if r.URL.Host == "refusing.test" {
				status = http.StatusHTTPVersionNotSupported
			}
			return &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: header, Body: http.NoBody, Request: r}, nil
		})
		o = call(testContext(t), conntestv1connect.NewTestServiceClient(blind, "http://blind.test", m.clientOptions()...), bidi, nil, text("x"))
		wantMistake(t, o.err, []connect.Code{connect.CodeUnimplemented}, "blind.test answered over HTTP/1.1", "needs HTTP/2", "h2.NewTransport")

		// With TLS, another setting is missing.
		for _, host := range []string{"blind.test", "refusing.test"} {
			o = call(testContext(t), conntestv1connect.NewTestServiceClient(blind, "https://"+host, m.clientOptions()...), bidi, nil, text("x"))
			wantMistake(t, o.err, []connect.Code{connect.CodeUnimplemented, connect.CodeUnknown}, "needs HTTP/2", "ForceAttemptHTTP2", "h2.NewTransport")
		}
	}
	status, _, body := post(t, server, http.MethodPost, bidi.procedure(), "application/connect+json", "")
	wantEqual(t, "status", status, http.StatusHTTPVersionNotSupported)
	wantWords(t, body, bidi.procedure(), "needs HTTP/2", "HTTP/1.1")
}

// A URL below the wrong prefix leads to a mux without a handler.
func TestMistakePrefix(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"h1", "h2c", "direct-h2c"} {
		mux := http.NewServeMux()
		mux.Handle(conntestv1connect.NewTestServiceHandler(echo))
		server := startNamed(t, name, mux)
		eachCall(t, server.transport, server.url+"/api", nil, func(t *testing.T, m mode, k kind, o outcome) {
			wantMistake(t, o.err, []connect.Code{connect.CodeUnimplemented}, "404", `"/api`+k.procedure()+`"`, "prefix", "http.StripPrefix")
		})
	}
}

// A path below a service's may be no procedure of it, for example after StripPrefix
// has taken too much off.
func TestMistakeProcedure(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"h1", "h2c", "direct-h2c"} {
		service, handler := conntestv1connect.NewTestServiceHandler(echo)
		server := startNamed(t, name, http.StripPrefix(strings.TrimSuffix(service, "/"), handler))
		eachCall(t, server.transport, server.url, nil, func(t *testing.T, m mode, k kind, o outcome) {
			if k == bidi && name == "h1" {
				return // its HTTP version is wrong, too
			}
			words := []string{string(k) + " is not a procedure of this server", "it has ", unary.procedure(), bidi.procedure()}
			if m.protocol == "connect" && k != unary { // the answer is no stream
				words = []string{"404", "the server has no procedure at", k.procedure()}
			}
			wantMistake(t, o.err, []connect.Code{connect.CodeUnimplemented}, words...)
		})
		status, header, body := post(t, server, http.MethodPost, unary.procedure(), "application/json", "{}")
		wantEqual(t, "status", status, http.StatusNotFound)
		wantEqual(t, "content type", header.Get("Content-Type"), "application/json")
		wantWords(t, body, `"code":"unimplemented"`, "/Unary is not a procedure", get.procedure())
	}
}

// --- content types ---

// A client of another codec gets an error with the content types that the server takes.
func TestMistakeCodec(t *testing.T) {
	t.Parallel()
	_, handler := conntestv1connect.NewTestServiceHandler(echo)
	for _, name := range []string{"h1", "h2c", "direct-h2c"} {
		server := startNamed(t, name, handler)
		eachCall(t, server.transport, server.url, []connect.ClientOption{connect.WithCodec(flipCodec{})}, func(t *testing.T, m mode, k kind, o outcome) {
			if k == bidi && name == "h1" {
				return // its HTTP version is wrong, too
			}
			wantMistake(t, o.err, []connect.Code{connect.CodeUnknown}, "415", `the request has content type "application/`, `flip"`, "the server takes application/")
		})
	}
}

// A request of curl gets a line of text: its content type, and those that the server
// takes.
func TestMistakeContentType(t *testing.T) {
	t.Parallel()
	_, handler := conntestv1connect.NewTestServiceHandler(echo)
	for _, name := range []string{"h1", "h2c", "engine-h2c", "direct-h2c"} {
		server := startNamed(t, name, handler)
		for _, x := range []struct {
			method, path, contentType string
			status                    int
			words                     []string
		}{
			{"POST", unary.procedure(), "", 415, []string{"unary procedure", `content type ""`, "use one of", "application/json", "application/proto"}},
			{"POST", unary.procedure(), "application/x-www-form-urlencoded", 415, []string{`"application/x-www-form-urlencoded"`, "application/json"}},
			{"POST", unary.procedure(), "application/connect+json", 415, []string{"unary procedure", `"application/connect+json"`, "application/json"}},
			{"POST", serverStream.procedure(), "application/json", 415, []string{"streaming procedure", `"application/json"`, "application/connect+json"}},
			{"GET", get.procedure(), "", 415, []string{`"encoding"`, `"json"`, `"proto"`}},
			{"GET", unary.procedure(), "", 405, []string{"does not take a GET", "POST"}},
		} {
			status, header, body := post(t, server, x.method, x.path, x.contentType, map[string]string{"POST": "{}"}[x.method])
			wantEqual(t, "status", status, x.status)
			wantEqual(t, "content type", header.Get("Content-Type"), "text/plain; charset=utf-8")
			wantEqual(t, "Accept-Post", header.Get("Accept-Post") != "", x.status == 415)
			wantEqual(t, "lines", strings.Count(body, "\n"), 1)
			wantWords(t, body, append(x.words, x.path)...)
		}
	}
}

// --- calls that end otherwise than expected ---

// A stream that is closed stays closed, and its errors name what was called before.
func TestMistakeClosedTwice(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		client, ctx := m.serve(t, echo).client(), testContext(t)

		requests := client.ClientStream(ctx)
		wantNil(t, requests.Send(text("x")))
		_, err := requests.CloseAndReceive()
		wantNil(t, err)
		_, err = requests.CloseAndReceive()
		wantMistake(t, err, []connect.Code{connect.CodeInternal}, "CloseAndReceive was called before")
		err = requests.Send(text("x"))
		wantMistake(t, err, []connect.Code{connect.CodeUnknown}, "the request is closed", "CloseAndReceive was called before")
		wantEOF(t, err)

		responses, err := client.ServerStream(ctx, requestOf("x"))
		wantNil(t, err)
		wantNil(t, responses.Close())
		wantEqual(t, "a message after Close", responses.Receive(), false)
		wantMistake(t, responses.Err(), []connect.Code{connect.CodeCanceled}, "the response is closed", "Close or CloseResponse was called before")
		conn, err := responses.Conn()
		wantNil(t, err)
		wantMistake(t, conn.Send(text("x")), []connect.Code{connect.CodeInternal}, "send: the call has ended", "Close or CloseResponse was called before")
		wantNil(t, responses.Close())

		if !m.engine.duplex {
			return
		}
		both := client.Bidi(ctx)
		wantNil(t, both.Send(text("x")))
		wantNil(t, both.CloseRequest())
		wantMistake(t, both.Send(text("x")), []connect.Code{connect.CodeInternal, connect.CodeUnknown}, "the request is closed", "CloseRequest or CloseAndReceive was called before")
		wantNil(t, both.CloseRequest())
		wantNil(t, both.CloseResponse())
		_, err = both.Receive()
		wantMistake(t, err, []connect.Code{connect.CodeCanceled}, "the response is closed", "CloseResponse was called before")
		wantNil(t, both.CloseResponse())
	})
}

// After a handler's panic, clients get an error without the panic's own text.
func TestMistakePanic(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		if m.engine.name == "h3" { // its errors have types of their own, not of net/http
			return
		}
		for _, before := range []int{0, 1} {
			client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
				for range before {
					_ = x.send(new(conntestv1.Response))
				}
				panic("secret")
			}), alone).client()
			for _, k := range m.kinds() {
				o := call(testContext(t), client, k, nil, text("x"))
				codes := []connect.Code{connect.CodeInternal}
				if m.engine.name == "h1" { // the connection ends, as if the server had ended
					codes = append(codes, connect.CodeUnavailable)
				}
				wantMistake(t, o.err, codes, "panic of the handler", "the server's log")
				if strings.Contains(o.err.Error(), "secret") || strings.Contains(o.err.Error(), "EOF: unexpected EOF") {
					t.Fatalf("%s: got %v", k, o.err)
				}
			}
		}
	})
}

// WriteTimeout ends streams, and the errors on both sides name it.
func TestMistakeWriteTimeout(t *testing.T) {
	t.Parallel()
	for name, engine := range map[string]tcp{
		"h1":         {http1: true},
		"h2":         {encrypted: true},
		"h2c":        {},
		"engine-h2":  {encrypted: true, engineServer: true, engineClient: newTransport},
		"direct-h2c": {engineServer: true, engineClient: newTransport, direct: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			engine.writeTimeout = 50 * time.Millisecond
			sent := make(chan error, 1)
			_, handler := conntestv1connect.NewTestServiceHandler(everyKind(func(ctx context.Context, x *exchange) error {
				var err error
				for err == nil {
					time.Sleep(time.Millisecond)
					err = x.send(new(conntestv1.Response))
				}
				sent <- err
				return err
			}))
			server, err := engine.start(handler, loopback{})
			wantNil(t, err)
			t.Cleanup(server.close)
			for _, protocol := range protocols {
				m := mode{protocol: protocol, codec: "proto", compression: "identity"}
				o := call(testContext(t), mistaken(server.transport, server.url, m), serverStream, nil, text("x"))
				wantMistake(t, o.err, []connect.Code{connect.CodeInternal, connect.CodeUnavailable}, "http.Server.WriteTimeout")
				wantMistake(t, await(t, "the handler's Send", sent), []connect.Code{connect.CodeDeadlineExceeded}, "http.Server.WriteTimeout", "leave it zero")
			}
		})
	}
}

// http.TimeoutHandler lets no stream pass, and ends other calls without an error of
// the call's protocol.
func TestMistakeTimeoutHandler(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		inTime := m.serve(t, echo, alone, wrapped(func(next http.Handler) http.Handler {
			return http.TimeoutHandler(next, time.Hour, "")
		})).client()
		over := make(chan struct{}) // a handler that returned before would answer itself
		defer close(over)
		late := m.serve(t, everyKind(func(ctx context.Context, _ *exchange) error {
			<-over
			return ctx.Err()
		}), alone, wrapped(func(next http.Handler) http.Handler {
			return http.TimeoutHandler(next, time.Millisecond, "")
		})).client()
		for _, k := range m.kinds() {
			o := call(testContext(t), inTime, k, nil, text("x"))
			if k.receivesMany() {
				wantMistake(t, o.err, []connect.Code{connect.CodeInternal}, "http.Flusher", "http.TimeoutHandler", "take it from around "+k.procedure())
				continue
			}
			wantNil(t, o.err)
			o = call(testContext(t), late, k, nil, text("x"))
			wantMistake(t, o.err, unavailable, "503", "http.TimeoutHandler ended this one")
		}
	}, func(m mode) bool { return m.engine.name != "h3" })
}

// A message over a limit names the side whose limit it is, and the option.
func TestMistakeTooLarge(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		exhausted := []connect.Code{connect.CodeResourceExhausted}
		large := &conntestv1.Request{Data: noise(2000)}
		server := m.serve(t, echo)
		reads := m.serve(t, echo, handlerOptions(connect.WithReadMaxBytes(1000)))
		sends := m.serve(t, echo, handlerOptions(connect.WithSendMaxBytes(1000)))
		for _, k := range m.kinds() {
			for _, x := range []struct {
				client conntestv1connect.TestServiceClient
				words  []string
			}{
				{reads.client(), []string{"the server's limit of 1000 bytes for receiving", "WithReadMaxBytes"}},
				{sends.client(), []string{"the server's limit of 1000 bytes for sending", "WithSendMaxBytes"}},
				{server.client(connect.WithReadMaxBytes(1000)), []string{"the client's limit of 1000 bytes for receiving", "WithReadMaxBytes"}},
			} {
				wantMistake(t, call(testContext(t), x.client, k, nil, large).err, exhausted, append(x.words, "message of ", " bytes exceeds")...)
			}
		}
		client := server.client(connect.WithSendMaxBytes(1000))
		words := []string{"message of ", "the client's limit of 1000 bytes for sending", "WithSendMaxBytes"}
		wantMistake(t, call(testContext(t), client, unary, nil, large).err, exhausted, words...)
		stream := client.ClientStream(testContext(t))
		wantMistake(t, stream.Send(large), exhausted, words...)
		_, err := stream.CloseAndReceive()
		wantNil(t, err)
	})
}

// --- helpers ---

func defaultTransport(t *testing.T) http.RoundTripper {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return http.DefaultTransport
}

// standardTransport makes an http.Transport of some versions of HTTP.
func standardTransport(t *testing.T, http1, secure2, clear2 bool) http.RoundTripper {
	versions := new(http.Protocols)
	versions.SetHTTP1(http1)
	versions.SetHTTP2(secure2)
	versions.SetUnencryptedHTTP2(clear2)
	transport := &http.Transport{Protocols: versions, TLSClientConfig: clientTLS()}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func secureTransport(t *testing.T) http.RoundTripper { return standardTransport(t, true, true, false) }
func secureHTTP1(t *testing.T) http.RoundTripper     { return standardTransport(t, true, false, false) }
func clearHTTP2(t *testing.T) http.RoundTripper      { return standardTransport(t, false, false, true) }

func engineOnly(t *testing.T) http.RoundTripper {
	transport := h2.NewTransport(&h2.TransportConfig{TLSClientConfig: clientTLS()})
	t.Cleanup(func() { _ = transport.Close() })
	return transport
}

// startNamed starts an engine's server of its own.
func startNamed(t *testing.T, name string, handler http.Handler) *server {
	t.Helper()
	i := slices.IndexFunc(engines, func(e engine) bool { return e.name == name })
	server, err := engines[i].start(handler, loopback{})
	wantNil(t, err)
	t.Cleanup(server.close)
	return server
}

func mistaken(transport http.RoundTripper, url string, m mode, options ...connect.ClientOption) conntestv1connect.TestServiceClient {
	return conntestv1connect.NewTestServiceClient(&http.Client{Transport: transport}, url, m.clientOptions(options...)...)
}

// eachCall makes calls of all protocols and kinds.
func eachCall(t *testing.T, transport http.RoundTripper, url string, options []connect.ClientOption, check func(*testing.T, mode, kind, outcome)) {
	t.Helper()
	for _, protocol := range protocols {
		for _, k := range []kind{unary, serverStream, clientStream, bidi} {
			m := mode{protocol: protocol, codec: "proto", compression: "identity"}
			t.Run(protocol+"/"+string(k), func(t *testing.T) {
				check(t, m, k, call(testContext(t), mistaken(transport, url, m, options...), k, nil, text("x")))
			})
		}
	}
}

// post sends a request as curl would.
func post(t *testing.T, s *server, method, path, contentType, body string) (status int, header http.Header, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(testContext(t), method, s.url+path, strings.NewReader(body))
	wantNil(t, err)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	res, err := s.transport.RoundTrip(r)
	wantNil(t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	wantNil(t, err)
	return res.StatusCode, res.Header, string(data)
}

// wantMistake fails the test unless err has one of the codes and all of the words.
func wantMistake(t *testing.T, err error, codes []connect.Code, words ...string) {
	t.Helper()
	var coded *connect.Error
	if !errors.As(err, &coded) || !slices.Contains(codes, coded.Code()) {
		t.Fatalf("got %v, want an error of %v", err, codes)
	}
	wantWords(t, err.Error(), words...)
}

func wantWords(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Fatalf("got %q, want %q in it", text, word)
		}
	}
}
