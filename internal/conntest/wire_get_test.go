// SPDX-License-Identifier: Apache-2.0

// This file tests items 55 to 61 of the checklist: Connect calls as GET requests.

package conntest

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var wireReadOnly = connect.WithIdempotency(connect.IdempotencyNoSideEffects)

// wireGet asks an echo handler with a query.
func wireGet(t *testing.T, query string, pairs ...string) wireReply {
	t.Helper()
	return wireAsk{method: "GET", target: wireProcedure + "?" + query, header: wireHeader(pairs...)}.
		ask(t, wireEcho(connect.StreamTypeUnary, wireReadOnly))
}

func TestItem55_GETNeedsNoSideEffects(t *testing.T) {
	const target = wireProcedure + "?connect=v1&encoding=json&message=%22hi%22"
	for level, want := range map[connect.IdempotencyLevel]int{
		connect.IdempotencyUnknown:       405,
		connect.IdempotencyIdempotent:    405,
		connect.IdempotencyNoSideEffects: 200,
	} {
		reply := wireAsk{method: "GET", target: target}.ask(t, wireEcho(connect.StreamTypeUnary, connect.WithIdempotency(level)))
		wantSame(t, fmt.Sprintf("HTTP status at %v", level), reply.status, want)
		if want == 405 {
			wantSame(t, "Allow", reply.header.Get("Allow"), "POST")
		}
		method := "POST"
		if level == connect.IdempotencyNoSideEffects {
			method = "GET"
		}
		req, _ := wireRequest(t, wireConnect, connect.StreamTypeUnary, connect.WithHTTPGet(), connect.WithIdempotency(level))
		wantSame(t, fmt.Sprintf("method of the client at %v", level), req.Method, method)
	}
	// The option alone, or another protocol, is no GET.
	req, _ := wireRequest(t, wireConnect, connect.StreamTypeUnary, wireReadOnly)
	wantSame(t, "method without WithHTTPGet", req.Method, "POST")
	for _, dialect := range []wireDialect{wireGRPC, wireGRPCWeb} {
		req, _ := wireRequest(t, dialect, connect.StreamTypeUnary, connect.WithHTTPGet(), wireReadOnly)
		wantSame(t, "method of "+dialect.name, req.Method, "POST")
	}
}

// Protocol, "Unary-Get-Request": Query-Get → [Connect-Version] [Base64] [Compression] Encoding Message.
func TestItem56_QueryOrder(t *testing.T) {
	for _, query := range []string{
		"connect=v1&encoding=json&message=%22hi%22",
		"message=%22hi%22&encoding=json&connect=v1",
		"message=%22hi%22&encoding=json",
		"x=1&message=%22hi%22&y=%20&encoding=json&z",
		"base64=1&message=ImhpIg&encoding=json&connect=v1",
		"compression=identity&encoding=json&message=%22hi%22",
	} {
		reply := wireGet(t, query)
		wantSame(t, "HTTP status for "+query, reply.status, 200)
		wantSame(t, "body for "+query, string(reply.body), `"hi"`)
		wantSame(t, "Content-Type for "+query, reply.header.Get("Content-Type"), "application/json")
	}
	keys := func(options ...connect.ClientOption) string {
		var query string
		client := connect.NewClient[wireText, wireText](wireScript(func(req *http.Request) (*http.Response, error) {
			query = req.URL.RawQuery
			return wireAnswer{status: 503}.Do(req)
		}), wireStub, append(options, connect.WithHTTPGet(), wireReadOnly)...)
		_, _ = client.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String(strings.Repeat("hi ", 1000))))
		var names []string
		for part := range strings.SplitSeq(query, "&") {
			name, _, _ := strings.Cut(part, "=")
			names = append(names, name)
		}
		return strings.Join(names, " ")
	}
	wantSame(t, "order of the client", keys(), "connect base64 encoding message")
	wantSame(t, "order of the client with JSON", keys(connect.WithProtoJSON()), "connect encoding message")
	wantSame(t, "order of the client with compression",
		keys(connect.WithSendGzip(), connect.WithHTTPGetMaxURLSize(1000, false)), "connect base64 compression encoding message")
}

func TestItem57_MissingParameters(t *testing.T) {
	for _, query := range []string{"", "message=%22hi%22", "encoding=&message=%22hi%22", "encoding=thrift&message=x", "connect=v1"} {
		reply := wireGet(t, query)
		wantSame(t, "HTTP status for "+query, reply.status, http.StatusUnsupportedMediaType)
		wantRefusal(t, reply.header, reply.body)
	}
	for _, query := range []string{"encoding=proto", "encoding=json", "encoding=proto&base64=1&connect=v1"} {
		reply := wireGet(t, query)
		wantSame(t, "HTTP status for "+query, reply.status, 400)
		wantEnd(t, wireConnect.end(t, connect.StreamTypeUnary, reply), connect.CodeInvalidArgument)
	}
	for _, query := range []string{"encoding=proto&message=", "encoding=proto&message=&base64=1", "encoding=proto&message"} {
		reply := wireGet(t, query)
		wantSame(t, "HTTP status for "+query, reply.status, 200)
		wantSame(t, "body for "+query, string(reply.body), "")
	}
}

// RFC 4648, section 5: the URL-safe alphabet. Decision: base64 that is none is the caller's fault.
func TestItem58_Base64(t *testing.T) {
	// Texts whose encodings need padding, none, and the two characters that differ between the alphabets.
	for _, text := range []string{"", "a", "ab", "abc", "abcd", "\u00fe\u00ff?>~", "\u07ff\u07ff\u07ff"} {
		data := wireProto(text)
		for _, message := range []string{base64.RawURLEncoding.EncodeToString(data), base64.URLEncoding.EncodeToString(data)} {
			reply := wireGet(t, "encoding=proto&base64=1&message="+url.QueryEscape(message))
			wantSame(t, "HTTP status for "+message, reply.status, 200)
			wantSame(t, "text for "+message, wireParse(t, reply.body), text)
		}
	}
	// Other values of the parameter are ignored: the text is taken as it is.
	for _, value := range []string{"0", "2", "true", ""} {
		reply := wireGet(t, "encoding=json&message=%22hi%22&base64="+value)
		wantSame(t, "HTTP status with base64="+value, reply.status, 200)
		wantSame(t, "body with base64="+value, string(reply.body), `"hi"`)
	}
	for _, message := range []string{"!!!!", "a", "abc%2B", "ab%2Fd", "ab%20cd", "%00", "abcd%3D%3D%3D%3D", "%FF"} {
		for _, encoding := range []string{"json", "proto"} {
			reply := wireGet(t, "base64=1&encoding="+encoding+"&message="+message)
			wantSame(t, "HTTP status for "+message, reply.status, 400)
			wantEnd(t, wireConnect.end(t, connect.StreamTypeUnary, reply), connect.CodeInvalidArgument)
		}
	}
}

func TestItem59_GETCompressionAndBody(t *testing.T) {
	reply := wireGet(t, "encoding=json&message=%22hi%22&compression=lzw")
	wantSame(t, "HTTP status for an unknown compression", reply.status, http.StatusNotImplemented)
	wantEnd(t, wireConnect.end(t, connect.StreamTypeUnary, reply), connect.CodeUnimplemented)

	message := base64.RawURLEncoding.EncodeToString(wireGzip([]byte(`"hi"`)))
	reply = wireGet(t, "encoding=json&base64=1&compression=gzip&message="+message, "Accept-Encoding", "identity")
	wantSame(t, "HTTP status for gzip", reply.status, 200)
	wantSame(t, "body for gzip", string(reply.body), `"hi"`)

	for _, http1 := range []bool{true, false} {
		for name, body := range map[string]io.Reader{
			"length": strings.NewReader("x"),
			"stream": io.MultiReader(strings.NewReader("x")),
		} {
			reply := wireAsk{
				method: "GET", target: wireProcedure + "?encoding=json&message=%22hi%22", body: body, http1: http1,
			}.ask(t, wireEcho(connect.StreamTypeUnary, wireReadOnly))
			wantSame(t, fmt.Sprintf("HTTP status for a body with %s, HTTP/1.1 %v", name, http1), reply.status, http.StatusUnsupportedMediaType)
		}
	}
}

func TestItem60_GETRequestsOfTheClient(t *testing.T) {
	t.Run("timeout", func(t *testing.T) {
		var seen *http.Request
		client := connect.NewClient[wireText, wireText](wireScript(func(req *http.Request) (*http.Response, error) {
			seen = req
			return wireConnect.answer(connect.StreamTypeUnary, "hi").Do(req)
		}), wireStub, connect.WithHTTPGet(), wireReadOnly)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := client.CallUnary(ctx, connect.NewRequest(wrapperspb.String("hi"))); err != nil {
			t.Fatal(err)
		}
		wantSame(t, "method", seen.Method, "GET")
		if seen.Header.Get("Connect-Timeout-Ms") == "" {
			t.Error("Connect-Timeout-Ms: got none, want the timeout in the header")
		}
		if strings.Contains(strings.ToLower(seen.URL.RawQuery), "timeout") {
			t.Errorf("query: got %q, want no timeout", seen.URL.RawQuery)
		}
	})
	t.Run("deterministic", func(t *testing.T) {
		fields := make(map[string]any)
		for i := range 50 {
			fields[fmt.Sprint("key", i)] = i
		}
		urls := make(map[string]bool)
		for _, codec := range []connect.ClientOption{connect.WithClientOptions(), connect.WithProtoJSON()} {
			clear(urls)
			client := connect.NewClient[structpb.Struct, structpb.Struct](wireScript(func(req *http.Request) (*http.Response, error) {
				urls[req.URL.String()] = true
				return wireAnswer{status: 503}.Do(req)
			}), wireStub, codec, connect.WithHTTPGet(), wireReadOnly)
			for range 30 {
				message, err := structpb.NewStruct(fields)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = client.CallUnary(t.Context(), connect.NewRequest(message))
			}
			wantSame(t, "different URLs for one message", len(urls), 1)
		}
	})
	t.Run("URL size", func(t *testing.T) {
		text := strings.Repeat("x", 500)
		call := func(options ...connect.ClientOption) (seen *http.Request, body []byte, err error) {
			client := connect.NewClient[wireText, wireText](wireScript(func(req *http.Request) (*http.Response, error) {
				seen = req
				if req.Body != nil {
					body, _ = io.ReadAll(req.Body)
				}
				return wireConnect.answer(connect.StreamTypeUnary, "hi").Do(req)
			}), wireStub, append(options, connect.WithHTTPGet(), wireReadOnly)...)
			_, err = client.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String(text)))
			return seen, body, err
		}
		seen, _, err := call()
		if err != nil {
			t.Fatal(err)
		}
		size := len(seen.URL.String())

		seen, _, err = call(connect.WithHTTPGetMaxURLSize(size, false))
		if err != nil {
			t.Fatalf("URL of exactly the limit: %v", err)
		}
		wantSame(t, "method at the limit", seen.Method, "GET")

		seen, _, err = call(connect.WithHTTPGetMaxURLSize(size, false), connect.WithSendGzip(), connect.WithCompressMinBytes(0))
		if err != nil {
			t.Fatalf("URL of exactly the limit, with gzip: %v", err)
		}
		wantSame(t, "compression of a URL that fits", seen.URL.Query().Get("compression"), "")

		seen, _, err = call(connect.WithHTTPGetMaxURLSize(size-1, false), connect.WithSendGzip(), connect.WithCompressMinBytes(0))
		if err != nil {
			t.Fatalf("URL over the limit, with gzip: %v", err)
		}
		wantSame(t, "method of a URL that fits compressed", seen.Method, "GET")
		wantSame(t, "compression of a URL that does not fit otherwise", seen.URL.Query().Get("compression"), "gzip")

		seen, body, err := call(connect.WithHTTPGetMaxURLSize(size-1, true))
		if err != nil {
			t.Fatalf("URL over the limit, with fallback: %v", err)
		}
		wantSame(t, "method over the limit", seen.Method, "POST")
		wantSame(t, "query over the limit", seen.URL.RawQuery, "")
		wantSame(t, "Content-Type over the limit", seen.Header.Get("Content-Type"), "application/proto")
		wantSame(t, "Connect-Protocol-Version over the limit", seen.Header.Get("Connect-Protocol-Version"), "1")
		if !bytes.Equal(body, wireProto(text)) {
			t.Errorf("body over the limit: got %x, want %x", body, wireProto(text))
		}

		seen, _, err = call(connect.WithHTTPGetMaxURLSize(size-1, false))
		wantFault(t, err, connect.CodeResourceExhausted)
		if seen != nil {
			t.Errorf("a request was sent: %s %s", seen.Method, seen.URL)
		}
	})
}

func TestItem61_Vary(t *testing.T) {
	for _, failure := range []error{nil, connect.NewError(connect.CodeAborted, errors.New("text")), connect.NewNotModifiedError(nil)} {
		for _, own := range []string{"", "X-Tenant"} {
			handler := wireHandler(connect.StreamTypeUnary, func(_ context.Context, call *wireCall) error {
				if own != "" {
					call.info.ResponseHeader().Set("Vary", own)
				}
				return failure
			}, wireReadOnly)
			reply := wireAsk{
				method: "GET", target: wireProcedure + "?encoding=json&message=%22hi%22", header: wireHeader("Accept-Encoding", "gzip"),
			}.ask(t, handler)
			var vary []string
			for part := range strings.SplitSeq(strings.Join(reply.header.Values("Vary"), ","), ",") {
				if part = strings.TrimSpace(part); part != "" {
					vary = append(vary, http.CanonicalHeaderKey(part))
				}
			}
			got := strings.Join(vary, ",")
			wantContains(t, fmt.Sprintf("Vary after %v", failure), got, "Accept-Encoding")
			wantContains(t, fmt.Sprintf("Vary after %v", failure), got, own)
			if want := 1 + len(strings.Fields(own)); len(vary) != want {
				t.Errorf("Vary after %v: got %q, want %d names", failure, vary, want)
			}
		}
	}
}
