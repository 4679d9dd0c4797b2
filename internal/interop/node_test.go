// SPDX-License-Identifier: Apache-2.0

// This file runs Node's http2 client against our server, and our client against Node's http2 server.

package interop_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/internal/interop"
	"github.com/seed-b7c59c10/connect/internal/interop/ours"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

// findProgram skips the test when the program is not installed.
func findProgram(t *testing.T, name, debian string) string {
	t.Helper()
	program, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("not run, because %s is not installed (Debian: apt-get install %s): %v", name, debian, err)
	}
	return program
}

// The cases of testdata/node_client.js.
var nodeCases = []string{
	"unary", "grpc_trailers", "grpc_error", "ping_pong", "large", "many", "trailers_both_ways", "expect_continue",
	"early_hints", "head", "cancel", "panic", "ping", "settings",
}

func TestNodeClient(t *testing.T) {
	node := findProgram(t, "node", "nodejs")
	for _, x := range []transport{h2c, h2tls, engineH2C, engineTLS} {
		t.Run(string(x), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			args := []string{"testdata/node_client.js", serve(t, x, nodeHandler())}
			if x.secure() {
				args = append(args, authorityFile(t))
			}
			command := exec.CommandContext(ctx, node, args...)
			command.Stderr = os.Stderr
			out, err := command.Output()
			failures := make(map[string]string)
			for line := range bytes.Lines(out) {
				var result struct{ Name, Failure string }
				if err := json.Unmarshal(line, &result); err != nil {
					t.Errorf("the script wrote %q: %v", line, err)
				}
				failures[result.Name] = result.Failure
			}
			for _, name := range nodeCases {
				t.Run(name, func(t *testing.T) {
					if failure, ok := failures[name]; !ok {
						t.Error("the script did not report this case")
					} else if failure != "" {
						t.Error(failure)
					}
				})
				delete(failures, name)
			}
			if err != nil || len(failures) > 0 {
				t.Errorf("running node: got error %v and %q beside the cases, want neither", err, failures)
			}
		})
	}
}

// nodeHandler serves the test service and a few paths more, for the cases that are HTTP and not RPC.
func nodeHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", ours.NewHandler())
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(w, r.Body)
		for key, values := range r.Trailer {
			w.Header()[http.TrailerPrefix+key] = values
		}
	})
	mux.HandleFunc("/hints", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("/hello", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	gone := make(chan error, 1)
	mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		gone <- r.Context().Err()
	})
	mux.HandleFunc("/gone", func(w http.ResponseWriter, r *http.Request) {
		select {
		case err := <-gone:
			_, _ = io.WriteString(w, err.Error())
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	return mux
}

func TestNodeServer(t *testing.T) {
	node := findProgram(t, "node", "nodejs")
	for _, x := range []transport{h2c, h2tls, engineH2C, engineTLS} {
		t.Run(string(x), func(t *testing.T) {
			n := nodeServer{url: serveNode(t, node, x), client: httpClient(t, x), engine: x.engine()}
			t.Run("echo", n.echo)
			t.Run("expect_continue", n.expectContinue)
			t.Run("early_hints", n.earlyHints)
			t.Run("many", n.many)
			t.Run("reset", n.reset)
			t.Run("refused", n.refused)
			t.Run("goaway", n.goAway)
			t.Run("cancel", n.cancel)
			t.Run("no_push", n.noPush)
			t.Run("not_found", func(t *testing.T) { n.get(t, "/nothing", http.StatusNotFound, "") })
			t.Run("connect", n.connect)
			t.Run("grpc", n.grpc)
		})
	}
}

// serveNode runs testdata/node_server.js until the test ends and returns its URL.
func serveNode(t *testing.T, node string, x transport) string {
	t.Helper()
	args := []string{"testdata/node_server.js"}
	if x.secure() {
		args = append(args, authorityFile(t), keyFile(t))
	}
	command := exec.CommandContext(context.Background(), node, args...)
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := command.Wait(); err != nil {
			t.Errorf("Node's server ended with %v", err)
		}
	})
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("reading the port of Node's server: %v", err)
	}
	return x.scheme() + "://127.0.0.1:" + strings.TrimSpace(port)
}

// nodeServer is a client of Node's server.
type nodeServer struct {
	url    string
	client *http.Client
	engine bool
}

func (n nodeServer) do(t *testing.T, request *http.Request) (*http.Response, string, error) {
	t.Helper()
	response, err := n.client.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, string(body), err
}

func (n nodeServer) get(t *testing.T, path string, status int, want string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, body, err := n.do(t, request)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if response.StatusCode != status || body != want || response.Proto != "HTTP/2.0" {
		t.Errorf("%s: got status %d with body %q over %s, want %d with %q over HTTP/2.0", path, response.StatusCode, body, response.Proto, status, want)
	}
}

// echo sends a body of unknown length that is larger than the windows, and trailers.
func (n nodeServer) echo(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 1<<16)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, n.url+"/echo", io.MultiReader(strings.NewReader(large)))
	if err != nil {
		t.Fatal(err)
	}
	request.Trailer = http.Header{"X-Sum": {"42"}}
	response, body, err := n.do(t, request)
	if err != nil {
		t.Fatal(err)
	}
	if body != large {
		t.Errorf("body: got %d bytes, want the %d that were sent", len(body), len(large))
	}
	if got := response.Header.Get("X-Method"); got != http.MethodPut {
		t.Errorf("method: got %q, want PUT", got)
	}
	if sum, more := response.Trailer.Get("X-Sum"), response.Trailer.Get("X-More"); sum != "42" || more != "more" {
		t.Errorf("trailers: got %v, want those of the request and one more", response.Trailer)
	}
}

// informed makes a request that collects the 1xx responses.
func (n nodeServer) informed(t *testing.T, method, path string, body io.Reader) (*http.Request, *[]string) {
	t.Helper()
	var got []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			got = append(got, strings.TrimSpace(fmt.Sprint(code, " ", header.Get("Link"))))
			return nil
		},
	})
	request, err := http.NewRequestWithContext(ctx, method, n.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return request, &got
}

func (n nodeServer) expectContinue(t *testing.T) {
	request, informed := n.informed(t, http.MethodPost, "/echo", strings.NewReader("abc"))
	request.Header.Set("Expect", "100-continue")
	_, body, err := n.do(t, request)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(*informed); got != "[100]" || body != "abc" {
		t.Errorf("got %s and body %q, want [100] and \"abc\"", got, body)
	}
}

func (n nodeServer) earlyHints(t *testing.T) {
	request, informed := n.informed(t, http.MethodGet, "/hints", nil)
	response, _, err := n.do(t, request)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(*informed), "[103 </style.css>; rel=preload]"; got != want || response.StatusCode != http.StatusNoContent {
		t.Errorf("got %s and status %d, want %s and 204", got, response.StatusCode, want)
	}
}

// many makes more calls at once than the server takes on one connection.
func (n nodeServer) many(t *testing.T) {
	const count = 200
	failures := make(chan error, count)
	for i := range count {
		go func() {
			want := fmt.Sprint("request ", i)
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.url+"/echo", strings.NewReader(want))
			if err == nil {
				var body string
				if _, body, err = n.do(t, request); err == nil && body != want {
					err = fmt.Errorf("got %q, want %q", body, want)
				}
			}
			failures <- err
		}()
	}
	for range count {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
}

func (n nodeServer) reset(t *testing.T) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.url+"/reset", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = n.do(t, request)
	if err == nil {
		t.Fatal("got no error, want that of the reset stream")
	}
	var reset h2.StreamError
	if n.engine && (!errors.As(err, &reset) || reset.Code != h2.ErrCodeInternal) {
		t.Errorf("got %v, want a StreamError with INTERNAL_ERROR", err)
	}
}

// refused makes a request that the server refuses once: the client tries again by itself.
func (n nodeServer) refused(t *testing.T) {
	n.get(t, "/refuse", http.StatusOK, "second attempt")
}

// goAway makes requests whose server sends GOAWAY: the client goes on with another connection.
func (n nodeServer) goAway(t *testing.T) {
	for range 3 {
		n.get(t, "/goaway", http.StatusOK, "last")
	}
}

// cancel ends a request's context while it reads the response: the client resets the stream.
func (n nodeServer) cancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url+"/wait", strings.NewReader("something"))
	if err != nil {
		t.Fatal(err)
	}
	response, err := n.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.ReadFull(response.Body, make([]byte, len("waiting"))); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(response.Body); !errors.Is(err, context.Canceled) {
		t.Errorf("reading after the end of the context: got %v, want %v", err, context.Canceled)
	}
	n.get(t, "/aborted", http.StatusOK, "1")
}

// noPush asks the server whether the client takes pushed responses: it does not.
func (n nodeServer) noPush(t *testing.T) {
	n.get(t, "/push", http.StatusOK, "false")
}

func (n nodeServer) connect(t *testing.T) {
	call := new(interop.Call)
	response, err := ours.NewClient(n.client, n.url, connect.WithProtoJSON()).Unary(t.Context(), call, &testpb.SimpleRequest{ResponseSize: 3})
	checkPayload(t, response.GetPayload(), err, 3)
	// {"responseSize":3}, or with a space that Protobuf's encoder adds or leaves out.
	if got := fmt.Sprint(call.Trailer["x-size"]); got != "[18]" && got != "[19]" {
		t.Errorf("size of the request: got %s, want [18] or [19]", got)
	}
}

func (n nodeServer) grpc(t *testing.T) {
	stream, err := ours.NewClient(n.client, n.url, connect.WithGRPC()).Output(t.Context(), new(interop.Call), output(3, 3))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		response, err := stream.Receive()
		checkPayload(t, response.GetPayload(), err, 3)
	}
	_, err = stream.Receive()
	checkStatus(t, err, &testpb.EchoStatus{Code: int32(codes.ResourceExhausted), Message: "that is all"})
}
