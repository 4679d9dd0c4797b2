// SPDX-License-Identifier: Apache-2.0

// This file checks the options on real handlers and clients, over HTTP.

package compress_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/compress"
	"github.com/seed-b7c59c10/connect/compress/br"
	"github.com/seed-b7c59c10/connect/compress/gzip"
	"github.com/seed-b7c59c10/connect/compress/zstd"
)

const procedure = "/test.v1.EchoService/Echo"

// exchange has the compression headers of a request and of its response.
type exchange struct{ sent, accepts, answered string }

// echoServer returns each message it gets. It notes the compression headers of
// the given protocol.
func echoServer(t *testing.T, options ...connect.HandlerOption) (*httptest.Server, func() exchange) {
	t.Helper()
	handler := connect.NewUnaryHandler(procedure,
		func(_ context.Context, r *connect.Request[wrapperspb.StringValue]) (*connect.Response[wrapperspb.StringValue], error) {
			return connect.NewResponse(r.Msg), nil
		}, append(slices.Clone(options), connect.WithCompressMinBytes(0))...)
	var mu sync.Mutex
	var last exchange
	mux := http.NewServeMux()
	mux.HandleFunc(procedure, func(w http.ResponseWriter, r *http.Request) {
		prefix := ""
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			prefix = "Grpc-"
		}
		seen := exchange{sent: r.Header.Get(prefix + "Encoding")}
		if prefix == "" {
			seen.sent = r.Header.Get("Content-Encoding")
			prefix = "Content-"
			seen.accepts = r.Header.Get("Accept-Encoding")
		} else {
			seen.accepts = r.Header.Get("Grpc-Accept-Encoding")
		}
		handler.ServeHTTP(w, r)
		seen.answered = w.Header().Get(prefix + "Encoding")
		mu.Lock()
		last = seen
		mu.Unlock()
	})
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server, func() exchange {
		mu.Lock()
		defer mu.Unlock()
		return last
	}
}

// newClient calls the server over HTTP/2, which all protocols allow.
func newClient(t *testing.T, server *httptest.Server, options ...connect.ClientOption) *connect.Client[wrapperspb.StringValue, wrapperspb.StringValue] {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](
		&http.Client{Transport: transport}, server.URL+procedure, options...)
}

func TestOptionOnBothSides(t *testing.T) {
	protocols := map[string][]connect.ClientOption{
		"connect": nil,
		"grpc":    {connect.WithGRPC()},
		"grpcweb": {connect.WithGRPCWeb()},
	}
	each(t, func(t *testing.T, f format) {
		server, seen := echoServer(t, f.option())
		for name, protocol := range protocols {
			t.Run(name, func(t *testing.T) {
				client := newClient(t, server, append(slices.Clone(protocol),
					f.option(), connect.WithSendCompression(f.name))...)
				for _, n := range []int{1, 100, 100_000} {
					message := string(text(n))
					response, err := client.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String(message)))
					if err != nil {
						t.Fatal(err)
					}
					if got := response.Msg.GetValue(); got != message {
						t.Fatalf("got %d other bytes, want %d", len(got), n)
					}
				}
				got := seen()
				if got.sent != f.name || got.answered != f.name {
					t.Errorf("got request in %q, response in %q, want both in %q", got.sent, got.answered, f.name)
				}
				if first, _, _ := strings.Cut(got.accepts, ","); first != f.name {
					t.Errorf("client accepts %q, want %q first", got.accepts, f.name)
				}
			})
		}
	})
}

// One side without the option still talks to the other.
func TestOptionOnOneSide(t *testing.T) {
	plain, seen := echoServer(t)
	each(t, func(t *testing.T, f format) {
		ask := connect.NewRequest(wrapperspb.String(string(text(1000))))
		if _, err := newClient(t, plain, f.option()).CallUnary(t.Context(), ask); err != nil {
			t.Fatalf("option on the client: %v", err)
		}
		if got := seen(); got.sent != "" || got.answered != "gzip" {
			t.Errorf("option on the client: got %+v, want an uncompressed request and a gzipped response", got)
		}
		server, seen := echoServer(t, f.option())
		if _, err := newClient(t, server).CallUnary(t.Context(), ask); err != nil {
			t.Fatalf("option on the handler: %v", err)
		}
		if got := seen(); got.answered != "gzip" {
			t.Errorf("option on the handler: got %+v, want a gzipped response", got)
		}
		if f.name == gzip.Name {
			return
		}
		_, err := newClient(t, plain, f.option(), connect.WithSendCompression(f.name)).CallUnary(t.Context(), ask)
		if got := connect.CodeOf(err); got != connect.CodeUnimplemented {
			t.Errorf("sending to a handler without the option: got %v (%v), want unimplemented", got, err)
		}
	})
}

// The option added last is the client's first choice.
func TestPreference(t *testing.T) {
	server, seen := echoServer(t, br.With(), zstd.With())
	ask := connect.NewRequest(wrapperspb.String("hello"))
	for _, test := range []struct {
		options []connect.ClientOption
		want    string
	}{
		{[]connect.ClientOption{br.With(), zstd.With()}, "zstd,br,gzip"},
		{[]connect.ClientOption{zstd.With(), br.With()}, "br,zstd,gzip"},
	} {
		if _, err := newClient(t, server, test.options...).CallUnary(t.Context(), ask); err != nil {
			t.Fatal(err)
		}
		got := seen()
		first, _, _ := strings.Cut(test.want, ",")
		if strings.ReplaceAll(got.accepts, " ", "") != test.want || got.answered != first {
			t.Errorf("got accepts %q and answer in %q, want %q and %q", got.accepts, got.answered, test.want, first)
		}
	}
}

// A message limit stops a small message that inflates to a large one, on either
// side.
func TestLimit(t *testing.T) {
	each(t, func(t *testing.T, f format) {
		large := connect.NewRequest(wrapperspb.String(strings.Repeat("x", 4<<20)))
		server, _ := echoServer(t, f.option(), connect.WithReadMaxBytes(1<<20))
		_, err := newClient(t, server, f.option(), connect.WithSendCompression(f.name)).CallUnary(t.Context(), large)
		if got := connect.CodeOf(err); got != connect.CodeResourceExhausted {
			t.Errorf("handler: got %v (%v), want resource_exhausted", got, err)
		}
		server, _ = echoServer(t, f.option())
		_, err = newClient(t, server, f.option(), connect.WithReadMaxBytes(1<<20)).CallUnary(t.Context(), large)
		if got := connect.CodeOf(err); got != connect.CodeResourceExhausted {
			t.Errorf("client: got %v (%v), want resource_exhausted", got, err)
		}
	})
}

// A damaged request gets an error, and the next one is served.
func TestDamagedRequest(t *testing.T) {
	each(t, func(t *testing.T, f format) {
		server, _ := echoServer(t, f.option())
		packed := pack(t, f.compress(), []byte(`"hello, compressed world"`))
		for _, test := range []struct {
			body []byte
			want int
		}{
			{packed, http.StatusOK},
			{packed[:len(packed)-1], http.StatusBadRequest},
			{[]byte("not compressed"), http.StatusBadRequest},
			{append(bytes.Clone(packed), "tail"...), http.StatusBadRequest},
			{packed, http.StatusOK},
		} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+procedure, bytes.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", "application/json")
			request.Header.Set("Content-Encoding", f.name)
			response, err := server.Client().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if response.StatusCode != test.want {
				t.Errorf("% x: got status %d (%s), want %d", test.body, response.StatusCode, body, test.want)
			}
		}
	})
}

// Many calls at a time share the pools of an option.
func TestConcurrentCalls(t *testing.T) {
	each(t, func(t *testing.T, f format) {
		server, _ := echoServer(t, f.option())
		client := newClient(t, server, f.option(), connect.WithSendCompression(f.name))
		var calls sync.WaitGroup
		for i := range 16 {
			calls.Go(func() {
				message := string(text(5000 + i))
				response, err := client.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String(message)))
				if err != nil {
					t.Error(err)
				} else if response.Msg.GetValue() != message {
					t.Error("got another call's message")
				}
			})
		}
		calls.Wait()
	})
}

// An algorithm without a package here is one option, too.
func TestOwnAlgorithm(t *testing.T) {
	option := compress.With("shift",
		func() connect.Decompressor { return &shiftReader{} },
		func() connect.Compressor { return &shiftWriter{} })
	server, seen := echoServer(t, option)
	client := newClient(t, server, option, connect.WithSendCompression("shift"))
	response, err := client.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String("hello")))
	if err != nil {
		t.Fatal(err)
	}
	if got := seen(); response.Msg.GetValue() != "hello" || got.sent != "shift" || got.answered != "shift" {
		t.Errorf("got %q and %+v", response.Msg.GetValue(), got)
	}
}

// shiftWriter adds one to each byte.
type shiftWriter struct{ sink io.Writer }

func (w *shiftWriter) Reset(sink io.Writer) { w.sink = sink }
func (w *shiftWriter) Close() error         { return nil }
func (w *shiftWriter) Write(p []byte) (int, error) {
	shifted := bytes.Clone(p)
	for i := range shifted {
		shifted[i]++
	}
	return w.sink.Write(shifted)
}

// shiftReader takes it off again.
type shiftReader struct{ source io.Reader }

func (r *shiftReader) Reset(source io.Reader) error { r.source = source; return nil }
func (r *shiftReader) Close() error                 { return nil }
func (r *shiftReader) Read(p []byte) (int, error) {
	n, err := r.source.Read(p)
	for i := range p[:n] {
		p[i]--
	}
	return n, err
}
