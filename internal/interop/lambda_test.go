// SPDX-License-Identifier: Apache-2.0

// This file runs a function of package lambda in the runtime of github.com/aws/aws-lambda-go, and stands in for AWS on both sides
// of it: the API that the runtime asks for events, and the function URL in front.

package interop_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/internal/interop"
)

func TestLambda(t *testing.T) {
	program := filepath.Join(t.TempDir(), "function")
	if output, err := exec.Command("go", "build", "-o", program, "./lambdafunction").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, output)
	}
	for _, mode := range []string{"buffered", "streamed"} {
		t.Run(mode, func(t *testing.T) {
			api := startLambda(t, program, mode == "streamed")
			for _, protocol := range []string{"connect", "grpcweb"} {
				for _, codec := range []string{"proto", "json"} {
					t.Run(protocol+"/"+codec, func(t *testing.T) {
						client := &http.Client{Transport: interop.WatchTransport(api)}
						runCases(t, lambdaCases, false, ourClients(client, "http://abc.lambda-url.example", protocol, codec))
					})
				}
			}
		})
	}
}

// lambdaCases are the standard ones, without those that end before the function does: one invocation follows the other, and
// a caller that has gone is not seen.
var lambdaCases = func() []testCase {
	var cases []testCase
	for _, tc := range standardCases {
		if !strings.HasPrefix(tc.name, "cancel_") && !strings.HasPrefix(tc.name, "timeout_") {
			cases = append(cases, tc)
		}
	}
	return cases
}()

// A lambdaAPI gives events to a function, one by one, and takes its responses.
type lambdaAPI struct {
	stream bool
	events chan lambdaEvent
	turns  chan *lambdaEvent // what the function works on
	ended  chan error        // the function's process
}

type lambdaEvent struct {
	payload []byte
	answer  chan lambdaAnswer // has room for one
}

type lambdaAnswer struct {
	response *http.Response
	err      error
}

// startLambda runs the program until the test ends.
func startLambda(t *testing.T, program string, stream bool) *lambdaAPI {
	t.Helper()
	a := &lambdaAPI{stream: stream, events: make(chan lambdaEvent), turns: make(chan *lambdaEvent, 1), ended: make(chan error, 1)}
	const prefix = "/2018-06-01/runtime/invocation/"
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+prefix+"next", a.next)
	mux.HandleFunc("POST "+prefix+"{id}/response", a.response)
	mux.HandleFunc("POST "+prefix+"{id}/error", a.failure)
	server := httptest.NewServer(mux)
	command := exec.Command(program)
	if stream {
		command.Args = append(command.Args, "stream")
	}
	command.Env = append(os.Environ(), "AWS_LAMBDA_RUNTIME_API="+strings.TrimPrefix(server.URL, "http://"))
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { a.ended <- command.Wait() }()
	t.Cleanup(func() {
		_ = command.Process.Kill()
		<-a.ended
		server.CloseClientConnections()
		server.Close()
		if t.Failed() {
			t.Logf("the function wrote:\n%s", tail(output.String(), 20))
		}
	})
	return a
}

// next gives the function an event.
func (a *lambdaAPI) next(w http.ResponseWriter, r *http.Request) {
	select {
	case e := <-a.events:
		a.turns <- &e
		w.Header().Set("Lambda-Runtime-Aws-Request-Id", "1")
		w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(patience).UnixMilli()))
		_, _ = w.Write(e.payload)
	case <-r.Context().Done():
	}
}

// response takes what the function returns.
func (a *lambdaAPI) response(w http.ResponseWriter, r *http.Request) {
	e := <-a.turns
	body, err := io.ReadAll(r.Body)
	if err == nil && r.Trailer.Get("Lambda-Runtime-Function-Error-Type") != "" {
		err = errors.New("the function failed while it streamed")
	}
	if err != nil {
		e.answer <- lambdaAnswer{err: err}
		return
	}
	head := body
	if a.stream {
		var found bool
		if head, body, found = bytes.Cut(body, make([]byte, 8)); !found || r.Header.Get("Content-Type") != "application/vnd.awslambda.http-integration-response" {
			err = fmt.Errorf("got a response of type %q, want a streamed one", r.Header.Get("Content-Type"))
		}
	}
	var whole struct {
		StatusCode      int
		Headers         map[string]string
		Body            string
		IsBase64Encoded bool
	}
	err = errors.Join(err, json.Unmarshal(head, &whole))
	if !a.stream {
		body = []byte(whole.Body)
		if whole.IsBase64Encoded {
			var bad error
			body, bad = base64.StdEncoding.DecodeString(whole.Body)
			err = errors.Join(err, bad)
		}
	}
	header := make(http.Header)
	for name, value := range whole.Headers {
		header.Set(name, value)
	}
	e.answer <- lambdaAnswer{&http.Response{
		StatusCode: whole.StatusCode, Status: fmt.Sprint(whole.StatusCode), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}, err}
	w.WriteHeader(http.StatusAccepted)
}

// failure takes the error of an invocation.
func (a *lambdaAPI) failure(w http.ResponseWriter, r *http.Request) {
	e := <-a.turns
	body, _ := io.ReadAll(r.Body)
	e.answer <- lambdaAnswer{err: fmt.Errorf("the invocation failed: %s", body)}
	w.WriteHeader(http.StatusAccepted)
}

// RoundTrip is the function URL: it makes an event of a request.
func (a *lambdaAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
	}
	headers := map[string]string{"host": r.URL.Host}
	for name, values := range r.Header {
		headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	payload, err := json.Marshal(map[string]any{
		"version": "2.0", "rawPath": r.URL.EscapedPath(), "rawQueryString": r.URL.RawQuery, "headers": headers,
		"body": base64.StdEncoding.EncodeToString(body), "isBase64Encoded": true,
		"requestContext": map[string]any{"http": map[string]any{"method": r.Method, "path": r.URL.Path, "sourceIp": "192.0.2.7"}},
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	e := lambdaEvent{payload, make(chan lambdaAnswer, 1)}
	select {
	case a.events <- e:
	case <-ctx.Done():
		return nil, ctx.Err()
	case err := <-a.ended:
		a.ended <- err
		return nil, fmt.Errorf("the function ended: %v", err)
	}
	select {
	case answer := <-e.answer:
		return answer.response, answer.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
