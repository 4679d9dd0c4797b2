// SPDX-License-Identifier: Apache-2.0

// Procedures that a generated handler does not have, and handlers whose names clash.

package gentest

import (
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/clashes"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/clashes/clashesconnect"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1/kindsv1connect"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1/kindsv1peer"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/kinds/v1/kindsv1simple"
	"github.com/seed-b7c59c10/connect/internal/gentest/gen/nomethods/nomethodsconnect"
)

// TestUnknownProcedure sends the request of each protocol's client to a procedure that the service does not have.
//
// Decision "unknown procedure" of the protocol checklist, and item 10.
func TestUnknownProcedure(t *testing.T) {
	services := map[string]func() (string, http.Handler){
		"wrapped":    func() (string, http.Handler) { return kindsv1connect.NewKindsServiceHandler(wrappedServer{}) },
		"simple":     func() (string, http.Handler) { return kindsv1simple.NewKindsServiceHandler(simpleServer{}) },
		"no methods": func() (string, http.Handler) { return nomethodsconnect.NewEmptyHandler(struct{}{}) },
	}
	for name, mount := range services {
		t.Run(name, func(t *testing.T) {
			path, handler := mount()
			server := httptest.NewServer(handler)
			t.Cleanup(server.Close)
			url := server.URL + path + "Nonsense"
			for _, contentType := range []string{
				"application/proto", "application/json", "application/json; charset=utf-8",
				"application/connect+proto", "application/connect+json",
			} {
				t.Run(contentType, func(t *testing.T) {
					checkConnectUnimplemented(t, fetch(t, server.Client(), http.MethodPost, url, contentType))
				})
			}
			t.Run("GET", func(t *testing.T) {
				checkConnectUnimplemented(t, fetch(t, server.Client(), http.MethodGet, url+"?connect=v1&encoding=json&message=%7B%7D", ""))
			})
			for _, contentType := range []string{
				"application/grpc", "application/grpc+proto", "application/grpc+json",
				"application/grpc-web", "application/grpc-web+proto", "application/grpc-web+json",
			} {
				t.Run(contentType, func(t *testing.T) {
					checkGRPCUnimplemented(t, fetch(t, server.Client(), http.MethodPost, url, contentType))
				})
			}
			for _, request := range []struct{ verb, contentType string }{
				{http.MethodPost, "text/plain"},
				{http.MethodPost, ""},
				{http.MethodGet, ""},
				{http.MethodPut, "text/html"},
			} {
				t.Run(request.verb+" "+request.contentType, func(t *testing.T) {
					checkPlainNotFound(t, fetch(t, server.Client(), request.verb, url, request.contentType))
				})
			}
		})
	}
}

// TestUnknownProcedureForClients checks the errors that the typed clients of each protocol return for the answers.
func TestUnknownProcedureForClients(t *testing.T) {
	httpClient, url := serve(t, func() (string, http.Handler) {
		return kindsv1connect.NewKindsServiceHandler(wrappedServer{})
	})
	procedure := strings.TrimRight(url, "/") + "/" + kindsv1connect.KindsServiceName + "/Nonsense"
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			client := connect.NewClient[kindsv1.Number, kindsv1.Number](httpClient, procedure, clientOptions(protocol)...)
			_, err := client.CallUnary(t.Context(), connect.NewRequest(number(1)))
			checkUnimplemented(t, "unary", err)
			stream, err := client.CallServerStream(t.Context(), connect.NewRequest(number(1)))
			if err == nil {
				_, err = collect(stream)
				stream.Close()
			}
			checkUnimplemented(t, "server stream", err)
			checkUnimplemented(t, "bidi stream", firstAnswer(client.CallBidiStream(t.Context())))
		})
	}
}

// TestUnknownProcedureElsewhere checks code for another runtime, which has no function for this: a plain 404.
func TestUnknownProcedureElsewhere(t *testing.T) {
	path, handler := kindsv1peer.NewKindsServiceHandler(wrappedPeerServer{})
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	for _, contentType := range []string{"application/json", "application/grpc", "text/plain"} {
		checkPlainNotFound(t, fetch(t, server.Client(), http.MethodPost, server.URL+path+"Nonsense", contentType))
	}
}

// An answer is a response that was read to its end.
type answer struct {
	*http.Response
	body string
}

func fetch(t *testing.T, client *http.Client, verb, url, contentType string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), verb, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response, string(body)}
}

// checkConnectUnimplemented checks that the answer is an "Error-Body" of the Connect protocol, with the status of a path
// that does not exist.
func checkConnectUnimplemented(t *testing.T, got answer) {
	t.Helper()
	if got.StatusCode != http.StatusNotFound {
		t.Errorf("status: got %d, want %d", got.StatusCode, http.StatusNotFound)
	}
	if mediaType, _, _ := mime.ParseMediaType(got.Header.Get("Content-Type")); mediaType != "application/json" {
		t.Errorf("content type: got %q, want application/json", got.Header.Get("Content-Type"))
	}
	var fault struct{ Code, Message string }
	if err := json.Unmarshal([]byte(got.body), &fault); err != nil {
		t.Fatalf("body: %q: %v", got.body, err)
	}
	if fault.Code != "unimplemented" || fault.Message == "" {
		t.Errorf("body: got %q, want code unimplemented and a message", got.body)
	}
}

// checkGRPCUnimplemented checks gRPC's status in the header, the trailer or, for gRPC-Web, the body.
func checkGRPCUnimplemented(t *testing.T, got answer) {
	t.Helper()
	if got.StatusCode != http.StatusOK {
		t.Errorf("status: got %d, want %d", got.StatusCode, http.StatusOK)
	}
	if request, response := got.Request.Header.Get("Content-Type"), got.Header.Get("Content-Type"); response != request {
		t.Errorf("content type: got %q, want %q as in the request", response, request)
	}
	inBody := strings.Contains(got.body, "grpc-status: 12\r\n")
	if got.Header.Get("Grpc-Status") != "12" && got.Trailer.Get("Grpc-Status") != "12" && !inBody {
		t.Errorf("grpc-status: got header %v, trailer %v, body %q, want 12", got.Header, got.Trailer, got.body)
	}
}

// checkPlainNotFound checks that the answer is net/http's for a path without a handler.
func checkPlainNotFound(t *testing.T, got answer) {
	t.Helper()
	if got.StatusCode != http.StatusNotFound {
		t.Errorf("status: got %d, want %d", got.StatusCode, http.StatusNotFound)
	}
	if mediaType, _, _ := mime.ParseMediaType(got.Header.Get("Content-Type")); mediaType != "text/plain" {
		t.Errorf("content type: got %q, want text/plain", got.Header.Get("Content-Type"))
	}
	if strings.Contains(got.body, "unimplemented") || got.Header.Get("Grpc-Status") != "" {
		t.Errorf("got body %q and header %v, want no protocol's error", got.body, got.Header)
	}
}

func checkUnimplemented(t *testing.T, what string, err error) {
	t.Helper()
	if got := connect.CodeOf(err); err == nil || got != connect.CodeUnimplemented {
		t.Errorf("%s: got %v, want code unimplemented", what, err)
	}
}

// clashing has two methods with the same name in Go. One returns an error, so that a test can distinguish them.
type clashing struct {
	clashesconnect.UnimplementedHttpHandler
}

func (clashing) Get_(context.Context, *connect.Request[clashes.Empty]) (*connect.Response[clashes.Empty], error) {
	return connect.NewResponse(&clashes.Empty{}), nil
}

// TestClashes checks that a call of a method whose Go name was changed reaches that method of the schema.
func TestClashes(t *testing.T) {
	httpClient, url := serve(t, func() (string, http.Handler) { return clashesconnect.NewHttpHandler(clashing{}) })
	client := clashesconnect.NewHttpClient(httpClient, url)
	if _, err := client.Get_(t.Context(), connect.NewRequest(&clashes.Empty{})); err != nil {
		t.Errorf("get: got %v, want no error", err)
	}
	_, err := client.Get(t.Context(), connect.NewRequest(&clashes.Empty{}))
	checkUnimplemented(t, "Get", err)
	if err != nil && !strings.Contains(err.Error(), "gentest.clashes.Http.Get is not implemented") {
		t.Errorf("Get: got %q, want the handler's message", err)
	}
}
