// SPDX-License-Identifier: Apache-2.0

// This file tests items 41 to 48 of the checklist: errors of the Connect protocol and their JSON.

package conntest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/apipb"
)

type wireCode struct {
	code   connect.Code
	name   string
	status int
}

// Protocol, "Error Codes".
var wireCodes = []wireCode{
	{connect.CodeCanceled, "canceled", 499},
	{connect.CodeUnknown, "unknown", 500},
	{connect.CodeInvalidArgument, "invalid_argument", 400},
	{connect.CodeDeadlineExceeded, "deadline_exceeded", 504},
	{connect.CodeNotFound, "not_found", 404},
	{connect.CodeAlreadyExists, "already_exists", 409},
	{connect.CodePermissionDenied, "permission_denied", 403},
	{connect.CodeResourceExhausted, "resource_exhausted", 429},
	{connect.CodeFailedPrecondition, "failed_precondition", 400},
	{connect.CodeAborted, "aborted", 409},
	{connect.CodeOutOfRange, "out_of_range", 400},
	{connect.CodeUnimplemented, "unimplemented", 501},
	{connect.CodeInternal, "internal", 500},
	{connect.CodeUnavailable, "unavailable", 503},
	{connect.CodeDataLoss, "data_loss", 500},
	{connect.CodeUnauthenticated, "unauthenticated", 401},
}

func TestItem41_CodeToHTTPStatus(t *testing.T) {
	wantSame(t, "codes in the table", len(wireCodes), 16)
	for number, test := range wireCodes {
		t.Run(test.name, func(t *testing.T) {
			wantSame(t, "number", int(test.code), number+1)
			reply := wirePost(t, wireFail(connect.StreamTypeUnary, connect.NewError(test.code, errors.New("text"))), "application/proto", nil)
			wantSame(t, "HTTP status", reply.status, test.status)
			wantSame(t, "body", string(reply.body), `{"code":"`+test.name+`","message":"text"}`)

			// The body decides, not the status.
			out := wireConnect.call(t, connect.StreamTypeUnary, wireAnswer{
				status: 418, header: wireHeader("Content-Type", "application/json"), body: bytes.NewReader(reply.body),
			})
			wantFault(t, out.err, test.code)
		})
	}
}

// Protocol, "HTTP to Error Code".
func wireStatusCode(status int) connect.Code {
	switch status {
	case 400:
		return connect.CodeInternal
	case 401:
		return connect.CodeUnauthenticated
	case 403:
		return connect.CodePermissionDenied
	case 404:
		return connect.CodeUnimplemented
	case 429, 502, 503, 504:
		return connect.CodeUnavailable
	default:
		return connect.CodeUnknown
	}
}

var wireStatuses = []int{
	201, 204, 206, 302, 307, 400, 401, 402, 403, 404, 405, 408, 409, 410, 412, 413, 415, 416, 418, 422, 428, 429, 431, 451,
	499, 500, 501, 502, 503, 504, 505, 511, 599, 800,
}

func TestItem42_HTTPStatusToCode(t *testing.T) {
	for _, status := range wireStatuses {
		for _, kind := range wireKinds {
			t.Run(fmt.Sprintf("%d/%s", status, kind), func(t *testing.T) {
				out := wireConnect.call(t, kind, wireAnswer{
					status: status, header: wireHeader("Content-Type", "text/html"), body: strings.NewReader("<html>"),
				})
				wantFault(t, out.err, wireStatusCode(status))
				wantTexts(t, out.texts)
			})
		}
	}
}

func TestItem43_ErrorContentType(t *testing.T) {
	const body = `{"code":"aborted","message":"from the body"}`
	for contentType, used := range map[string]bool{
		"application/json":                true,
		"application/json; charset=utf-8": true,
		"application/json;charset=UTF-8":  true,
		"application/proto":               false,
		"application/problem+json":        false,
		"text/plain":                      false,
		"":                                false,
	} {
		t.Run(contentType, func(t *testing.T) {
			header := wireHeader("Content-Type", contentType)
			if contentType == "" {
				header = nil
			}
			out := wireConnect.call(t, connect.StreamTypeUnary, wireAnswer{status: 403, header: header, body: strings.NewReader(body)})
			if used {
				wantFault(t, out.err, connect.CodeAborted)
				wantContains(t, "error", out.err.Error(), "from the body")
				return
			}
			wantFault(t, out.err, connect.CodePermissionDenied)
			wantContains(t, "error", out.err.Error(), "Forbidden")
		})
	}
	for _, malformed := range []string{"", "{", "[]", `"text"`, "<html>", `{"code":"aborted"`, `{"details":"none"}`} {
		t.Run("malformed "+malformed, func(t *testing.T) {
			out := wireConnect.call(t, connect.StreamTypeUnary, wireAnswer{
				status: 403, header: wireHeader("Content-Type", "application/json"), body: strings.NewReader(malformed),
			})
			wantFault(t, out.err, connect.CodePermissionDenied)
		})
	}
}

func TestItem44_ErrorWithoutUsableCode(t *testing.T) {
	for _, body := range []string{
		`{"message":"kept"}`, `{"code":null,"message":"kept"}`, `{"code":"","message":"kept"}`,
		`{"code":"nonsense","message":"kept"}`, `{"code":"CANCELED","message":"kept"}`,
	} {
		t.Run(body, func(t *testing.T) {
			for _, status := range []int{401, 404, 500, 503} {
				out := wireConnect.call(t, connect.StreamTypeUnary, wireAnswer{
					status: status, header: wireHeader("Content-Type", "application/json"), body: strings.NewReader(body),
				})
				wantFault(t, out.err, wireStatusCode(status))
				var coded *connect.Error
				_ = errors.As(out.err, &coded)
				wantSame(t, "message", coded.Message(), "kept")
			}
		})
	}
	// null instead of an object has no code: the HTTP status decides.
	out := wireConnect.call(t, connect.StreamTypeUnary, wireAnswer{
		status: 403, header: wireHeader("Content-Type", "application/json"), body: strings.NewReader("null"),
	})
	wantFault(t, out.err, connect.CodePermissionDenied)
}

func TestItem45_EndStreamErrors(t *testing.T) {
	for _, kind := range wireKinds[1:] {
		for end, want := range map[string]struct {
			code    connect.Code
			message string
		}{
			`{}`:                           {},
			`{"error":null}`:               {},
			`{"metadata":{}}`:              {},
			`{"error":{}}`:                 {connect.CodeUnknown, ""},
			`{"error":{"message":"kept"}}`: {connect.CodeUnknown, "kept"},
			`{"error":{"code":null,"message":"kept"}}`:       {connect.CodeUnknown, "kept"},
			`{"error":{"code":"","message":"kept"}}`:         {connect.CodeUnknown, "kept"},
			`{"error":{"code":"nonsense","message":"kept"}}`: {connect.CodeUnknown, "kept"},
			`{"error":{"code":"aborted"}}`:                   {connect.CodeAborted, ""},
			`{"error":{"code":"aborted","message":"kept"}}`:  {connect.CodeAborted, "kept"},
		} {
			t.Run(kind.String()+"/"+end, func(t *testing.T) {
				out := wireConnect.call(t, kind, wireConnect.raw(kind, wireJoin(wireMessages("first"), wireFrame(flagConnectEnd, []byte(end)))))
				if want.code == 0 {
					if out.err != nil {
						t.Fatal(out.err)
					}
					wantTexts(t, out.texts, "first")
					return
				}
				wantFault(t, out.err, want.code)
				var coded *connect.Error
				_ = errors.As(out.err, &coded)
				wantSame(t, "message", coded.Message(), want.message)
			})
		}
		for _, malformed := range []string{"", "{", "[]", `{"error":"text"}`, `{"metadata":[]}`} {
			t.Run(kind.String()+"/malformed "+malformed, func(t *testing.T) {
				out := wireConnect.call(t, kind, wireConnect.raw(kind, wireJoin(wireMessages("first"), wireFrame(flagConnectEnd, []byte(malformed)))))
				wantFault(t, out.err, connect.CodeInternal, connect.CodeUnknown)
			})
		}
	}
}

// wireDetail is a detail as JSON with a wrong debug value.
func wireDetail(debug string) (detail string, want *apipb.Mixin) {
	want = &apipb.Mixin{Name: "n", Root: "root"}
	data, _ := proto.Marshal(want)
	return `{"type":"google.protobuf.Mixin","value":"` + base64.RawStdEncoding.EncodeToString(data) + `"` + debug + `}`, want
}

func TestItem46_UnknownFieldsAndDebug(t *testing.T) {
	for _, debug := range []string{
		"", `,"debug":{"name":"wrong"}`, `,"debug":null`, `,"debug":"garbage"`, `,"debug":[{"@type":5}]`, `,"debug":{"name":7},"later":true`,
	} {
		detail, want := wireDetail(debug)
		body := `{"later":[1],"code":"aborted","message":"text","details":[` + detail + `],"more":{}}`
		check := func(t *testing.T, err error) {
			t.Helper()
			wantFault(t, err, connect.CodeAborted)
			var coded *connect.Error
			_ = errors.As(err, &coded)
			wantSame(t, "message", coded.Message(), "text")
			wantSame(t, "details", len(coded.Details()), 1)
			got, err := coded.Details()[0].Value()
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(got, want) {
				t.Fatalf("detail: got %v, want %v", got, want)
			}
		}
		t.Run("unary "+debug, func(t *testing.T) {
			out := wireConnect.call(t, connect.StreamTypeUnary, wireAnswer{
				status: 409, header: wireHeader("Content-Type", "application/json"), body: strings.NewReader(body),
			})
			check(t, out.err)
		})
		t.Run("stream "+debug, func(t *testing.T) {
			out := wireConnect.call(t, connect.StreamTypeServer, wireConnect.raw(connect.StreamTypeServer,
				wireFrame(flagConnectEnd, []byte(`{"later":{},"error":`+body+`,"metadata":{"x-end":["1"]}}`))))
			check(t, out.err)
			wantSame(t, "trailer", out.trailer.Get("X-End"), "1")
		})
	}
}

// Protocol, "Error and EndStreamResponse".
func TestItem47_ErrorJSONOfTheServer(t *testing.T) {
	mixin := &apipb.Mixin{Name: "n", Root: "roots"}
	data, _ := proto.Marshal(mixin)
	value := base64.RawStdEncoding.EncodeToString(data)
	if len(data)%3 == 0 {
		t.Fatal("the detail needs a length that padding would show")
	}
	known, err := connect.NewErrorDetail(mixin)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := connect.NewErrorDetail(&anypb.Any{TypeUrl: "example.com/types/no.such.Message", Value: data})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		message string
		details []*connect.ErrorDetail
		want    string
	}{
		{"code only", "", nil, `{"code":"aborted"}`},
		{"message", "text", nil, `{"code":"aborted","message":"text"}`},
		{"message to escape", "a\"b\n\u00f6", nil, `{"code":"aborted","message":"a\"b\n` + "\u00f6" + `"}`},
		{"known detail", "text", []*connect.ErrorDetail{known},
			`{"code":"aborted","message":"text","details":[{"type":"google.protobuf.Mixin","value":"` + value + `","debug":{"name":"n","root":"roots"}}]}`},
		{"unknown detail", "text", []*connect.ErrorDetail{foreign},
			`{"code":"aborted","message":"text","details":[{"type":"no.such.Message","value":"` + value + `"}]}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			failure := connect.NewError(connect.CodeAborted, errors.New(test.message))
			for _, detail := range test.details {
				failure.AddDetail(detail)
			}
			reply := wirePost(t, wireFail(connect.StreamTypeUnary, failure), "application/json", []byte(`""`))
			wantSame(t, "HTTP status", reply.status, 409)
			wantSame(t, "Content-Type", reply.header.Get("Content-Type"), "application/json")
			wantSame(t, "error", canonicalJSON(t, reply.body), canonicalJSON(t, []byte(test.want)))

			reply = wirePost(t, wireFail(connect.StreamTypeServer, failure), "application/connect+proto", wireMessages(""))
			envelopes := wireSplit(t, reply.body)
			wantSame(t, "envelopes", len(envelopes), 1)
			wantSame(t, "flags", envelopes[0].flags, flagConnectEnd)
			wantSame(t, "end of stream", canonicalJSON(t, envelopes[0].payload), canonicalJSON(t, []byte(`{"error":`+test.want+`}`)))
		})
	}
	t.Run("success", func(t *testing.T) {
		reply := wirePost(t, wireEcho(connect.StreamTypeServer), "application/connect+proto", wireMessages("hi"))
		envelopes := wireSplit(t, reply.body)
		wantSame(t, "end of stream", string(envelopes[len(envelopes)-1].payload), "{}")
	})
}

// canonicalJSON removes what JSON leaves free: spaces and the order of keys.
func canonicalJSON(t *testing.T, data []byte) string {
	t.Helper()
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatalf("JSON %q: %v", data, err)
	}
	out, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestItem48_DetailsAsReceived(t *testing.T) {
	for size := range 5 {
		data := []byte("abcd")[:size]
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.StdEncoding} {
			for _, name := range []string{"acme.v1.Thing", "type.googleapis.com/acme.v1.Thing", "example.com/x/acme.v1.Thing"} {
				out := wireConnect.call(t, connect.StreamTypeUnary, wireAnswer{
					status: 409, header: wireHeader("Content-Type", "application/json"),
					body: strings.NewReader(`{"code":"aborted","details":[{"type":"` + name + `","value":"` + encoding.EncodeToString(data) + `"}]}`),
				})
				wantFault(t, out.err, connect.CodeAborted)
				var coded *connect.Error
				_ = errors.As(out.err, &coded)
				wantSame(t, "details", len(coded.Details()), 1)
				wantSame(t, "type", coded.Details()[0].Type(), "acme.v1.Thing")
				wantSame(t, "value", string(coded.Details()[0].Bytes()), string(data))
			}
		}
	}
}
