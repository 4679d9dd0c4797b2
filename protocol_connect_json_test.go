// SPDX-License-Identifier: Apache-2.0

// The JSON of the Connect protocol: written and read again, and as other
// implementations write it.

package connect

import (
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestErrorJSON(t *testing.T) {
	detail, err := NewErrorDetail(durationpb.New(1500 * time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err  *Error
		want string
	}{
		{NewError(CodeNotFound, nil), `{"code":"not_found"}`},
		{NewError(CodeNotFound, messageError("gone")), `{"code":"not_found","message":"gone"}`},
		{&Error{code: CodeAborted, details: []*ErrorDetail{{typeURL: typeURLPrefix + "acme.foo.v1.Reason", value: "\xfb\xff"}}},
			`{"code":"aborted","details":[{"type":"acme.foo.v1.Reason","value":"+/8"}]}`},
		{&Error{code: CodeAborted, details: []*ErrorDetail{detail}},
			`{"code":"aborted","details":[{"type":"google.protobuf.Duration","value":"CAEQgMq17gE","debug":"1.500s"}]}`},
	} {
		if got := string(marshalError(c.err)); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

// TestErrorJSONForms reads errors as other implementations write them.
// [checklist 44, 46–48]
func TestErrorJSONForms(t *testing.T) {
	d := func(value string) []*ErrorDetail {
		return []*ErrorDetail{{typeURL: typeURLPrefix + "a.B", value: value}}
	}
	for _, c := range []struct {
		in   string
		want *Error // nil: not an error's JSON
	}{
		{`{"code":"not_found","message":"gone"}`, NewError(CodeNotFound, messageError("gone"))},
		{`{"message":"gone"}`, NewError(CodeUnavailable, messageError("gone"))},
		{`{"code":null,"message":"gone"}`, NewError(CodeUnavailable, messageError("gone"))},
		{`{"code":"no_such","message":"gone"}`, NewError(CodeUnavailable, messageError("gone"))},
		{`{"code":"code_17","message":"gone"}`, NewError(CodeUnavailable, messageError("gone"))},
		{`{"code":"code_5","message":"gone"}`, NewError(CodeUnavailable, messageError("gone"))},
		{`{"code":5,"message":"gone"}`, NewError(CodeUnavailable, messageError("gone"))},
		{`{"code":{"a":[1]},"message":"gone"}`, NewError(CodeUnavailable, messageError("gone"))},
		{`{"code":"","message":"gone"}`, NewError(CodeUnavailable, messageError("gone"))},
		{`{}`, NewError(CodeUnavailable, nil)},
		{`null`, NewError(CodeUnavailable, nil)},
		{` {"code":"aborted","else":{"x":[1,2]}} `, NewError(CodeAborted, nil)},
		{`{"code":"aborted","details":null}`, NewError(CodeAborted, nil)},
		{`{"code":"aborted","details":[]}`, NewError(CodeAborted, nil)},
		{`{"code":"aborted","details":[{"type":"a.B","value":"eA"}]}`, &Error{code: CodeAborted, details: d("x")}},
		{`{"code":"aborted","details":[{"type":"a.B","value":"eA==","debug":{"@type":5}}]}`, &Error{code: CodeAborted, details: d("x")}},
		{`{"code":"aborted","details":[{"type":"type.googleapis.com/a.B","value":"","debug":"?","x":1}]}`, &Error{code: CodeAborted, details: d("")}},
		{`{"code":"aborted","details":[{"type":"a.B","value":"!"},{"value":"eA"},{"type":"a.B","value":"eA"}]}`, &Error{code: CodeAborted, details: d("x")}},
		{``, nil},
		{`nonsense`, nil},
		{`[]`, nil},
		{`"text"`, nil},
		{`{"code":"aborted"`, nil},
		{`{"code":"aborted"} trailing`, nil},
		{`{"code":"aborted","message":5}`, nil},
	} {
		got, err := unmarshalError([]byte(c.in), CodeUnavailable)
		if (err == nil) != (c.want != nil) {
			t.Errorf("%s: got %v, %v, want %v", c.in, got, err, c.want)
			continue
		}
		if err != nil {
			continue
		}
		if err := sameError(got, c.want); err != nil {
			t.Errorf("%s: %v", c.in, err)
		}
		if !got.wire {
			t.Errorf("%s: got an error that the client found", c.in)
		}
	}
}

// TestDetailPassedOn: a program without a detail's type passes on the JSON for people.
func TestDetailPassedOn(t *testing.T) {
	const body = `{"code":"aborted","details":[{"type":"acme.unknown.v1.Reason","value":"CgFh","debug":{"text":"a"}}]}`
	e, err := unmarshalError([]byte(body), CodeUnknown)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(marshalError(e)); got != body {
		t.Errorf("got %s, want %s", got, body)
	}
}

// TestLargeDetails: a detail that is too large or too deep to be written as JSON for
// people arrives without it, also through a program that passes it on.
func TestLargeDetails(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	nested, large := wrapped(durationpb.New(time.Second), 10_500), wrapperspb.String(strings.Repeat("x", debugMax))
	for name, d := range map[string]*ErrorDetail{
		"many levels of Any": {typeURL: "/" + anyName, value: string(encoded(t, nested))},
		"large":              {typeURL: "/google.protobuf.StringValue", value: string(encoded(t, large))},
		"large as JSON":      {typeURL: "/google.protobuf.BytesValue", value: string(encoded(t, wrapperspb.Bytes(make([]byte, debugMax-100))))},
		"deep, of a peer":    {typeURL: "/acme.Unknown", value: "v", debug: deep(9_990)},
		"large, of a peer":   {typeURL: "/acme.Unknown", value: "v", debug: `"` + large.Value + `"`},
		"large value":        {typeURL: "/google.protobuf.Value", value: string(encoded(t, structpb.NewStringValue(large.Value)))},
	} {
		e := &Error{code: CodeAborted, details: []*ErrorDetail{d}}
		data := marshalError(e)
		if strings.Contains(string(data), `"debug"`) {
			t.Errorf("%s: got %d bytes with the JSON for people, want none", name, len(data))
		}
		stream := marshalEndStream(end{err: e})
		for kind, read := range map[string]func() (*Error, error){
			"unary": func() (*Error, error) { return unmarshalError(data, CodeUnknown) },
			"stream": func() (*Error, error) {
				e, err := unmarshalEndStream(stream)
				return e.err, err
			},
		} {
			got, err := read()
			if err != nil || len(got.details) != 1 || got.details[0].value != d.value {
				t.Errorf("%s, %s: got %v, %v, want the detail", name, kind, got, err)
			}
		}
	}
	// The deepest JSON that is passed on.
	debug := deep(debugMax / 2)
	e := &Error{code: CodeAborted, details: []*ErrorDetail{{typeURL: "/acme.Unknown", value: "v", debug: debug}}}
	if got, err := unmarshalEndStream(marshalEndStream(end{err: e})); err != nil || got.err.details[0].debug != debug {
		t.Errorf("%d levels: got %v, %v, want them unchanged", debugMax/2, got, err)
	}
}

func encoded(t *testing.T, m proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestUnaryErrorTypes: a body is an error's JSON if its content type is JSON.
// [checklist 43]
func TestUnaryErrorTypes(t *testing.T) {
	for contentType, read := range map[string]bool{
		"application/json":                    true,
		"Application/JSON; charset=\"UTF-8\"": true,
		"application/json; charset=latin1":    false,
		"application/proto":                   false,
		"application/problem+json":            false,
		"text/html":                           false,
		"":                                    false,
	} {
		e := unaryError(wireEnd{status: 403, header: http.Header{headerContentType: {contentType}}, body: []byte(`{"code":"aborted","message":"text"}`)})
		want := NewError(CodePermissionDenied, messageError("403 Forbidden"))
		if read {
			want = NewError(CodeAborted, messageError("text"))
		}
		if err := sameError(e, want); err != nil {
			t.Errorf("%q: %v", contentType, err)
		}
	}
	e := unaryError(wireEnd{status: 799, header: http.Header{headerContentType: {"application/json"}}, body: []byte("<html>")})
	if e.code != CodeUnknown || !strings.Contains(e.Message(), "799") {
		t.Errorf("broken JSON: got %v, want %v and the status", e, CodeUnknown)
	}
}

func TestEndStreams(t *testing.T) {
	randomly(t, 3000, func(t *testing.T, r *rand.Rand) {
		sent := end{err: randomError(r), trailer: randomHeader(r)}
		data := marshalEndStream(sent)
		if !json.Valid(data) {
			t.Fatalf("got %s, which is not JSON", data)
		}
		got, err := unmarshalEndStream(data)
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		want := sent.err
		if want != nil {
			want = &Error{code: want.code, details: want.details, cause: messageError(validUTF8(want.Message()))}
		}
		if err := sameError(got.err, want); err != nil {
			t.Errorf("%s: %v", data, err)
		}
		if want := sent.metadata(); !sameHeader(got.trailer, want) {
			t.Errorf("%s: got %q, want %q", data, got.trailer, want)
		}
	})
}

// TestEndStreamForms reads end-of-stream messages as other implementations write them.
// [checklist 45, 46]
func TestEndStreamForms(t *testing.T) {
	for _, c := range []struct {
		in      string
		want    string // the error's text, "" for success
		trailer string
		broken  bool
	}{
		{in: `{}`, trailer: `map[]`},
		{in: `{"error":null,"metadata":null}`, trailer: `map[]`},
		{in: `{"metadata":{"x-a":["1","2"],"X-A":["3"],"B":[]}}`},
		{in: `{"metadata":{"x-a":["1","2"]},"else":5}`, trailer: `{"X-A":["1","2"]}`},
		{in: `{"error":{}}`, want: "unknown"},
		{in: `{"error":{"message":"text"}}`, want: "unknown: text"},
		{in: `{"error":{"code":null,"message":"text"}}`, want: "unknown: text"},
		{in: `{"error":{"code":"no_such","message":"text"}}`, want: "unknown: text"},
		{in: `{"error":{"code":"internal","message":"text"}}`, want: "internal: text"},
		{in: ``, broken: true},
		{in: `{`, broken: true},
		{in: `[]`, broken: true},
		{in: `{"error":"text"}`, broken: true},
		{in: `{"metadata":{"a":"b"}}`, broken: true},
		{in: `{} {}`, broken: true},
	} {
		got, err := unmarshalEndStream([]byte(c.in))
		if (err != nil) != c.broken {
			t.Errorf("%s: got error %v, want one: %t", c.in, err, c.broken)
			continue
		}
		text := ""
		if got.err != nil {
			text = got.err.Error()
		}
		if text != c.want {
			t.Errorf("%s: got %q, want %q", c.in, text, c.want)
		}
		if strings.HasPrefix(c.trailer, "{") {
			if data, _ := json.Marshal(got.trailer); string(data) != c.trailer {
				t.Errorf("%s: got trailers %s, want %s", c.in, data, c.trailer)
			}
		}
	}
	got, err := unmarshalEndStream([]byte(`{"metadata":{"x-a":["1","2"],"X-A":["3"]}}`))
	if err != nil || len(got.trailer["X-A"]) != 3 {
		t.Errorf("keys in two cases: got %q, %v, want three values", got.trailer, err)
	}
}

// FuzzErrorJSON: the code of an error that was read is one of the sixteen, and the
// error is the same after it is written and read again.
func FuzzErrorJSON(f *testing.F) {
	for _, s := range []string{
		`{"code":"not_found","message":"gone","details":[{"type":"a.B","value":"eA","debug":{}}]}`,
		`null`, `{"code":null}`, `{"code":"code_17"}`, `{"details":[null,{}]}`, `[`, `{"code":"aborted","CODE":"internal"}`,
		`{"message":"\ud800\u0000"}`, `{"details":[{"type":"/","value":"=="}]}`, `{"details":[{"type":"x/y/z","value":"eA=="}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := unmarshalError(data, CodeUnavailable)
		if err != nil {
			return
		}
		checkReadError(t, got)
		again, err := unmarshalError(marshalError(got), CodeInternal)
		if err != nil {
			t.Fatalf("%q: written and not read: %v", data, err)
		}
		if err := sameError(again, withDefaultURLs(got)); err != nil {
			t.Errorf("%q: written and read: %v", data, err)
		}
	})
}

// checkReadError checks the properties of every received error.
func checkReadError(t *testing.T, e *Error) {
	t.Helper()
	if !e.code.valid() {
		t.Errorf("got code %d", e.code)
	}
	if !e.wire {
		t.Errorf("got an error that the client found: %v", e)
	}
	for _, d := range e.details {
		if !strings.Contains(d.typeURL, "/") {
			t.Errorf("got type URL %q, want a slash in it", d.typeURL)
		}
		_, _ = d.Value() // any bytes: no panic
	}
	_ = e.Error()
}

// withDefaultURLs returns the error as JSON brings it: types without the prefix
// of their URL, details without a type left out.
func withDefaultURLs(e *Error) *Error {
	c := *e
	c.details = nil
	for _, d := range e.details {
		if d.Type() != "" {
			c.details = append(c.details, &ErrorDetail{typeURL: typeURLPrefix + d.Type(), value: d.value})
		}
	}
	return &c
}

// FuzzEndStream is FuzzErrorJSON for end-of-stream messages.
func FuzzEndStream(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"error":null}`, `{"error":{"code":"internal"},"metadata":{"a":["b"]}}`, `{"metadata":{"":[""],"a b":["\n"]}}`,
		`{"metadata":{"a":null}}`, `null`, `{"error":{"code":"canceled","message":"m","details":[{"type":"a.B","value":"eA"}]}}`, `{"Error":{}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := unmarshalEndStream(data)
		viaDialect := dialectStream.decodeEnd(wireEnd{hasBody: true, body: data})
		if err != nil {
			if viaDialect.err == nil || viaDialect.err.code != CodeInternal {
				t.Errorf("%q: got %s, want %v", data, tell(viaDialect.err), CodeInternal)
			}
			return
		}
		if got.err != nil {
			checkReadError(t, got.err)
		}
		again, err := unmarshalEndStream(marshalEndStream(got))
		if err != nil {
			t.Fatalf("%q: written and not read: %v", data, err)
		}
		want := got.err
		if want != nil {
			want = withDefaultURLs(want)
		}
		if err := sameError(again.err, want); err != nil {
			t.Errorf("%q: written and read: %v", data, err)
		}
		kept := make(http.Header)
		addMetadata(kept, got.trailer, false)
		reread := make(http.Header)
		addMetadata(reread, again.trailer, false)
		if !sameHeader(reread, kept) {
			t.Errorf("%q: got %q, written and read %q", data, kept, reread)
		}
	})
}

// FuzzBinaryHeader: all bytes come back, with and without padding; other texts than
// base64 are an error.
func FuzzBinaryHeader(f *testing.F) {
	for _, s := range []string{"", "a", "ab", "abc", "\xff\xfe\xfd", "eA==", "eA=", "=", "e A", "-_8"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		wire := EncodeBinaryHeader(data)
		if strings.ContainsAny(wire, "=\r\n -_") {
			t.Errorf("%x: got %q, want unpadded standard base64", data, wire)
		}
		for _, form := range []string{wire, base64.StdEncoding.EncodeToString(data)} {
			if got, err := DecodeBinaryHeader(form); err != nil || string(got) != string(data) {
				t.Errorf("%q: got %x, %v, want %x", form, got, err, data)
			}
		}
		got, err := DecodeBinaryHeader(string(data))
		if err == nil && len(got) > len(data)*3/4 {
			t.Errorf("%q: got %d bytes of %d", data, len(got), len(data))
		}
	})
}
