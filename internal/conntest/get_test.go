// SPDX-License-Identifier: Apache-2.0

// This file tests Connect's GET requests.

package conntest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// stable reports whether the mode's codec has the stable form that a GET needs.
func stable(m mode) bool { return m.codec != "flip" }

// methods is an HTTP client that notes the method of each request.
func (s *site) methods(seen *[]string) doerFunc {
	return func(r *http.Request) (*http.Response, error) {
		*seen = append(*seen, r.Method)
		if r.Method == http.MethodGet && (r.Body != nil && r.Body != http.NoBody || r.Header.Get("Content-Type") != "") {
			return nil, fmt.Errorf("a GET has a body or the header %v", r.Header)
		}
		return s.httpClient().Do(r)
	}
}

// wantMethods fails the test unless these requests were sent.
func wantMethods(t *testing.T, seen *[]string, want ...string) {
	t.Helper()
	wantEvents(t, "HTTP methods", *seen, want...)
	*seen = nil
}

// Only side-effect free methods, and only those of Connect, become a GET.
func TestHTTPGet(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		site := m.serve(t, everyKind(func(ctx context.Context, x *exchange) error {
			info, _ := connect.CallInfoForHandlerContext(ctx)
			x.answer.Set("Method", info.HTTPMethod())
			x.answer.Set("Vary", "Cookie")
			x.answer.Set("Queried", fmt.Sprint(len(x.peer.Query) > 0))
			x.answer.Set("Asked", x.header.Get("Asked"))
			requests, err := x.receiveAll()
			if err != nil {
				return err
			}
			return x.send(text2(requests[0].GetText()))
		}))
		var methods []string
		client := site.clientOn(site.methods(&methods), connect.WithHTTPGet())
		forKinds(t, m, func(t *testing.T, k kind) {
			want := http.MethodPost
			if k == get && inConnect(m) && stable(m) {
				want = http.MethodGet
			}
			for _, s := range []string{"", "x", awkward} {
				o := call(testContext(t), client, k, http.Header{"Asked": {"yes"}}, text(s))
				if k == get && inConnect(m) && !stable(m) {
					// It may be refused, or sent in the other way.
					if o.err != nil {
						wantCode(t, o.err, connect.CodeInternal)
						return
					}
				}
				wantNil(t, o.err)
				wantMethods(t, &methods, want)
				wantEqual(t, "text", o.messages[0].GetText(), s)
				wantValues(t, "header", o.header, "Asked", "yes")
				wantValues(t, "header", o.header, "Method", want)
				wantValues(t, "header", o.header, "Queried", fmt.Sprint(want == http.MethodGet))
				if want == http.MethodGet {
					// Checklist item 61.
					if vary := strings.Join(o.header.Values("Vary"), ","); !strings.Contains(vary, "Cookie") || !strings.Contains(vary, "Accept-Encoding") {
						t.Fatalf("Vary: got %q, want Cookie and Accept-Encoding", vary)
					}
				}
			}
		})
		t.Run("HTTPMethod of the request", func(t *testing.T) {
			if !inConnect(m) || !stable(m) {
				return
			}
			r := requestOf("x")
			_, err := client.Get(testContext(t), r)
			wantNil(t, err)
			wantEqual(t, "method", r.HTTPMethod(), http.MethodGet)
			ctx, info := connect.NewClientContext(testContext(t))
			_, err = client.Get(ctx, requestOf("x"))
			wantNil(t, err)
			wantEqual(t, "CallInfo: method", info.HTTPMethod(), http.MethodGet)
		})
	})
}

// Errors of a GET are those of a POST.
func TestHTTPGetErrors(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		client := m.serve(t, echo).client(connect.WithHTTPGet())
		for _, code := range allCodes {
			o := call(testContext(t), client, get, nil, &conntestv1.Request{
				Failure: &conntestv1.Failure{Code: uint32(code), Message: awkward},
			})
			wantCode(t, o.err, code)
			var err *connect.Error
			errors.As(o.err, &err)
			wantEqual(t, "message", err.Message(), awkward)
			wantEqual(t, "not modified", connect.IsNotModifiedError(o.err), false)
		}
	}, inConnect, stable)
}

// A URL that is too long becomes a POST, if that is allowed.
func TestHTTPGetMaxURLSize(t *testing.T) {
	long := &conntestv1.Request{Data: noise(1000)}
	compressible := &conntestv1.Request{Data: make([]byte, 1000)}
	run(t, func(t *testing.T, m mode) {
		site := m.serve(t, echo)
		var methods []string
		fallback := site.clientOn(site.methods(&methods), connect.WithHTTPGet(), connect.WithHTTPGetMaxURLSize(500, true))
		strict := site.clientOn(site.methods(&methods), connect.WithHTTPGet(), connect.WithHTTPGetMaxURLSize(500, false))
		ctx := testContext(t)
		wantNil(t, call(ctx, fallback, get, nil, text("short")).err)
		wantNil(t, call(ctx, strict, get, nil, text("short")).err)
		wantMethods(t, &methods, http.MethodGet, http.MethodGet)
		o := call(ctx, fallback, get, nil, long)
		wantNil(t, o.err)
		wantEqual(t, "data", len(o.messages[0].GetData()), 1000)
		wantMethods(t, &methods, http.MethodPost)
		wantCode(t, call(ctx, strict, get, nil, long).err, connect.CodeResourceExhausted)
		wantMethods(t, &methods)
		// Compression may make it fit.
		o = call(ctx, strict, get, nil, compressible)
		if m.compression == "identity" {
			wantCode(t, o.err, connect.CodeResourceExhausted)
			return
		}
		wantNil(t, o.err)
		wantEqual(t, "data", len(o.messages[0].GetData()), 1000)
		wantMethods(t, &methods, http.MethodGet)
	}, inConnect, stable)
}

// The limit is the longest URL that is sent.
func TestHTTPGetMaxURLSizeIsInclusive(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		m.codec, m.compression = "proto", "identity"
		site := m.serve(t, echo)
		var size int
		measured := doerFunc(func(r *http.Request) (*http.Response, error) {
			size = len(r.URL.String())
			return site.httpClient().Do(r)
		})
		ctx := testContext(t)
		wantNil(t, call(ctx, site.clientOn(measured, connect.WithHTTPGet()), get, nil, text("some text")).err)
		exact := site.client(connect.WithHTTPGet(), connect.WithHTTPGetMaxURLSize(size, false))
		wantNil(t, call(ctx, exact, get, nil, text("some text")).err)
		less := site.client(connect.WithHTTPGet(), connect.WithHTTPGetMaxURLSize(size-1, false))
		wantCode(t, call(ctx, less, get, nil, text("some text")).err, connect.CodeResourceExhausted)
	}, inConnect)
}

// A handler may answer a GET with 304 when the client has the answer already (checklist
// item 53). In every other call 304 is an error like others.
func TestNotModified(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		const tag = `"v1"`
		site := m.serve(t, everyKind(func(ctx context.Context, x *exchange) error {
			info, _ := connect.CallInfoForHandlerContext(ctx)
			if info.HTTPMethod() == http.MethodGet && x.header.Get("If-None-Match") != tag {
				x.answer.Set("Etag", tag)
				return x.send(text2("fresh"))
			}
			return connect.NewNotModifiedError(http.Header{"Etag": {tag}, "Cache-Control": {"no-cache"}})
		}))
		client := site.client(connect.WithHTTPGet())
		isGet := inConnect(m) && stable(m)
		if isGet {
			o := call(testContext(t), client, get, nil, text("x"))
			wantNil(t, o.err)
			wantEqual(t, "text", o.messages[0].GetText(), "fresh")
			wantValues(t, "header", o.header, "Etag", tag)
			o = call(testContext(t), client, get, http.Header{"If-None-Match": {tag}}, text("x"))
			wantCode(t, o.err, connect.CodeUnknown)
			wantEqual(t, "not modified", connect.IsNotModifiedError(o.err), true)
			var err *connect.Error
			errors.As(o.err, &err)
			wantValues(t, "error metadata", err.Meta(), "Etag", tag)
			wantValues(t, "error metadata", err.Meta(), "Cache-Control", "no-cache")
		}
		for _, k := range m.kinds() {
			if k == get && isGet {
				continue
			}
			o := call(testContext(t), site.client(), k, nil, text("x"))
			wantCode(t, o.err, connect.CodeUnknown)
			wantEqual(t, string(k)+": not modified", connect.IsNotModifiedError(o.err), false)
		}
	})
}
