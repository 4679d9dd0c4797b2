// SPDX-License-Identifier: Apache-2.0

// This file tests answers that come from no handler: those of the generated mux and of
// ErrorWriter.

package conntest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	"google.golang.org/protobuf/types/known/durationpb"
)

// A procedure that the service does not have is unimplemented in the caller's
// protocol.
func TestUnknownProcedure(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		site := m.serve(t, echo)
		for _, path := range []string{"/" + conntestv1connect.TestServiceName + "/Missing", "/other.v1.Service/Unary"} {
			newClient := func() *connect.Client[conntestv1.Request, conntestv1.Response] {
				return connect.NewClient[conntestv1.Request, conntestv1.Response](site.httpClient(), site.url+path, m.clientOptions()...)
			}
			_, err := newClient().CallUnary(testContext(t), requestOf("x"))
			wantCode(t, err, connect.CodeUnimplemented)
			stream, err := newClient().CallServerStream(testContext(t), requestOf("x"))
			if err == nil {
				wantEqual(t, "received", stream.Receive(), false)
				err = stream.Err()
				_ = stream.Close()
			}
			wantCode(t, err, connect.CodeUnimplemented)
			clientStream := newClient().CallClientStream(testContext(t))
			_ = clientStream.Send(text("x"))
			_, err = clientStream.CloseAndReceive()
			wantCode(t, err, connect.CodeUnimplemented)
			if !duplex(m) {
				continue
			}
			both := newClient().CallBidiStream(testContext(t))
			_ = both.Send(text("x"))
			_ = both.CloseRequest()
			_, err = both.Receive()
			wantCode(t, err, connect.CodeUnimplemented)
			_ = both.CloseResponse()
		}
	})
}

// The bytes of that answer: each protocol's own, and 404 for everything else.
func TestUnknownProcedureOnTheWire(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		site := m.serve(t, echo)
		post := func(contentType string) *http.Response {
			t.Helper()
			r, err := http.NewRequestWithContext(testContext(t), http.MethodPost,
				site.url+"/"+conntestv1connect.TestServiceName+"/Missing", strings.NewReader("{}"))
			wantNil(t, err)
			r.Header.Set("Content-Type", contentType)
			res, err := site.httpClient().Do(r)
			wantNil(t, err)
			body, err := io.ReadAll(res.Body)
			wantNil(t, err)
			wantNil(t, res.Body.Close())
			res.Body = io.NopCloser(strings.NewReader(string(body)))
			return res
		}
		res := post("application/json")
		wantEqual(t, "Connect: status", res.StatusCode, http.StatusNotFound)
		wantEqual(t, "Connect: content type", res.Header.Get("Content-Type"), "application/json")
		var wire struct{ Code, Message string }
		wantNil(t, json.NewDecoder(res.Body).Decode(&wire))
		wantEqual(t, "Connect: code", wire.Code, "unimplemented")
		if !strings.Contains(wire.Message, "Missing") {
			t.Fatalf("Connect: message: got %q, want it to name the procedure", wire.Message)
		}
		for _, contentType := range []string{"application/grpc", "application/grpc-web+proto"} {
			res = post(contentType)
			wantEqual(t, contentType+": status", res.StatusCode, http.StatusOK)
			status := res.Trailer.Get("Grpc-Status") + res.Header.Get("Grpc-Status")
			if contentType != "application/grpc" && status == "" {
				body, _ := io.ReadAll(res.Body)
				if strings.Contains(strings.ToLower(string(body)), "grpc-status: 12\r\n") {
					status = "12"
				}
			}
			wantEqual(t, contentType+": grpc-status", status, "12")
		}
		for _, contentType := range []string{"text/html", ""} {
			wantEqual(t, "other: status", post(contentType).StatusCode, http.StatusNotFound)
		}
	}, inConnect)
}

// The program's own handler gets the unknown procedures of a service, and nothing
// else.
func TestUnknownProcedureHandler(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		writer := connect.NewErrorWriter(m.handlerOptions()...)
		own := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_ = writer.Write(w, r, connect.NewError(connect.CodeDataLoss, errors.New("own: "+r.URL.Path)))
		})
		site := m.serve(t, echo, handlerOptions(connect.WithUnknownProcedureHandler(own)))
		const path = "/" + conntestv1connect.TestServiceName + "/Removed"
		client := connect.NewClient[conntestv1.Request, conntestv1.Response](site.httpClient(), site.url+path, m.clientOptions()...)
		_, err := client.CallUnary(testContext(t), requestOf("x"))
		wantCode(t, err, connect.CodeDataLoss)
		if want := "own: " + path; !strings.Contains(err.Error(), want) {
			t.Errorf("got error %q, want %q in it", err, want)
		}
		forKinds(t, m, func(t *testing.T, k kind) {
			wantNil(t, call(testContext(t), site.client(), k, nil, text("x")).err)
		})
	})
}

func TestUnknownProcedureHandlerNil(t *testing.T) {
	defer func() {
		const want = "connect: WithUnknownProcedureHandler needs a handler"
		if got := recover(); got != want {
			t.Errorf("got panic %v, want %q", got, want)
		}
	}()
	connect.WithUnknownProcedureHandler(nil)
}

// Middleware answers every call in its own protocol with an ErrorWriter.
func TestErrorWriter(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		writer := connect.NewErrorWriter(m.handlerOptions()...)
		site := m.serve(t, echo, wrapped(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Token") != "" {
					next.ServeHTTP(w, r)
					return
				}
				if !writer.IsSupported(r) {
					t.Errorf("IsSupported: got false for %s %s", r.Method, r.Header.Get("Content-Type"))
				}
				err := connect.NewError(connect.CodeUnauthenticated, errors.New(awkward))
				merge(err.Meta(), metadata("Failed"))
				detail, e := connect.NewErrorDetail(durationpb.New(7))
				if e != nil {
					t.Error(e)
				}
				err.AddDetail(detail)
				// Write leaves the body alone; middleware that keeps the
				// connection reads it.
				if _, e := io.Copy(io.Discard, r.Body); e != nil {
					t.Error(e)
				}
				if e := writer.Write(w, r, err); e != nil {
					t.Error(e)
				}
			})
		}))
		for _, opts := range [][]connect.ClientOption{nil, {connect.WithHTTPGet()}} {
			client := site.client(opts...)
			forKinds(t, m, func(t *testing.T, k kind) {
				o := call(testContext(t), client, k, nil, text("x"))
				wantCode(t, o.err, connect.CodeUnauthenticated)
				var err *connect.Error
				errors.As(o.err, &err)
				wantEqual(t, "message", err.Message(), awkward)
				wantEqual(t, "is a wire error", connect.IsWireError(o.err), true)
				wantEqual(t, "details", len(err.Details()), 1)
				wantMetadata(t, "error metadata", err.Meta(), "Failed")
				wantNil(t, call(testContext(t), client, k, http.Header{"Token": {"yes"}}, text("x")).err)
			})
		}
	})
}

// Errors of other types are coded by the ErrorWriter as by handlers.
func TestErrorWriterCodesErrors(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		writer := connect.NewErrorWriter(m.handlerOptions()...)
		site := m.serve(t, echo, wrapped(func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if err := writer.Write(w, r, errors.New("plain")); err != nil {
					t.Error(err)
				}
			})
		}))
		for _, k := range m.kinds() {
			err := call(testContext(t), site.client(), k, nil, text("x")).err
			wantCode(t, err, connect.CodeUnknown)
			if !strings.Contains(err.Error(), "plain") {
				t.Fatalf("%s: got %q, want the error's text", k, err)
			}
		}
	})
}

// An ErrorWriter separates calls from other requests, and answers the others in JSON.
func TestErrorWriterAndOtherRequests(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		writer := connect.NewErrorWriter()
		strict := connect.NewErrorWriter(connect.WithRequireConnectProtocolHeader())
		supported := make(chan [2]bool, 1)
		site := m.serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			supported <- [2]bool{writer.IsSupported(r), strict.IsSupported(r)}
			_ = writer.Write(w, r, connect.NewError(connect.CodeNotFound, errors.New("nobody here")))
		}))
		for _, test := range []struct {
			method, contentType, version string
			want                         [2]bool
		}{
			{http.MethodPost, "text/html", "", [2]bool{false, false}},
			{http.MethodPut, "application/json", "1", [2]bool{false, false}},
			{http.MethodPost, "application/json", "", [2]bool{true, false}},
			{http.MethodPost, "application/json", "1", [2]bool{true, true}},
			{http.MethodGet, "", "", [2]bool{true, false}}, // any GET may be one of Connect
		} {
			r, err := http.NewRequestWithContext(testContext(t), test.method, site.url+"/any/Path", http.NoBody)
			wantNil(t, err)
			if test.contentType != "" {
				r.Header.Set("Content-Type", test.contentType)
			}
			if test.version != "" {
				r.Header.Set("Connect-Protocol-Version", test.version)
			}
			res, err := site.httpClient().Do(r)
			wantNil(t, err)
			body, err := io.ReadAll(res.Body)
			wantNil(t, err)
			wantNil(t, res.Body.Close())
			wantEqual(t, test.method+" "+test.contentType+": supported", <-supported, test.want)
			wantEqual(t, "status", res.StatusCode, http.StatusNotFound)
			if !strings.Contains(string(body), `"not_found"`) || !strings.Contains(string(body), "nobody here") {
				t.Fatalf("%s: got %q, want a Connect error", test.contentType, body)
			}
		}
	}, inConnect)
}
