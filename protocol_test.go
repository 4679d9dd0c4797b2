// SPDX-License-Identifier: Apache-2.0

// The translators as inverse pairs: what one side writes the other reads, for
// all dialects, with no server between.

package connect

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"
)

// dialects are the dialects of requests with a body.
var dialects = map[string]*dialect{
	"unary":  dialectUnary,
	"stream": dialectStream,
	"grpc":   dialectGRPC,
	"web":    dialectWeb,
}

// eachDialect runs f as a subtest for each dialect of POST requests.
func eachDialect(t *testing.T, f func(t *testing.T, d *dialect)) {
	for name, d := range dialects {
		t.Run(name, func(t *testing.T) { f(t, d) })
	}
}

// byValue compares heads by their fields.
var byValue = cmp.AllowUnexported(head{})

// overTheWire returns a header as the other side of an HTTP/1.1 connection finds
// it.
func overTheWire(t *testing.T, h http.Header) http.Header {
	t.Helper()
	var b bytes.Buffer
	if err := h.Write(&b); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\r\n")
	got, err := textproto.NewReader(bufio.NewReader(&b)).ReadMIMEHeader()
	if err != nil {
		t.Fatalf("header cannot be read: %v", err)
	}
	return http.Header(got)
}

func randomHead(r *rand.Rand, d *dialect) (hd head, codec string) {
	codec = []string{codecProto, codecJSON, "thrift"}[r.IntN(3)]
	hd.contentType = []string{d.contentType(codec)}
	if r.IntN(2) == 0 {
		hd.encoding = []string{[]string{"gzip", "br", "x-acme"}[r.IntN(3)]}
	}
	if r.IntN(2) == 0 {
		hd.accept = []string{[]string{"gzip", "zstd,gzip"}[r.IntN(2)]}
	}
	if r.IntN(2) == 0 {
		hd.timed = true
		hd.timeout = time.Duration(r.Int64N(int64(1) << (1 + r.IntN(62))))
	}
	return hd, codec
}

func TestRequestHeads(t *testing.T) {
	eachDialect(t, func(t *testing.T, d *dialect) {
		randomly(t, 2000, func(t *testing.T, r *rand.Rand) {
			sent, codec := randomHead(r, d)
			h := make(http.Header)
			h[headerUserAgent] = d.userAgent
			d.writeHead(headerWriter(h), sent)
			d.writeRequest(h, sent)
			got, err := d.openRequest(headOf(&http.Request{Method: http.MethodPost, Header: overTheWire(t, h), URL: &url.URL{}}))
			if err != nil {
				t.Fatalf("%+v: got error %v", sent, err)
			}
			direct, err := d.openRequest(&wireHead{fields: &fields{pairs: pairsOf(h)}})
			if diff := cmp.Diff(direct, got, byValue); err != nil || diff != "" {
				t.Errorf("from pairs: got error %v, head (-got +want):\n%s", err, diff)
			}
			want := sent
			if d == dialectUnary && sent.accept == nil {
				want.accept = valueIdentity
			}
			if sent.timed {
				if got.timed && got.timeout < sent.timeout {
					t.Errorf("timeout: got %v, want at least %v", got.timeout, sent.timeout)
				}
				if !got.timed && sent.timeout < 100*24*time.Hour {
					t.Errorf("timeout: got none, want %v", sent.timeout)
				}
				want.timeout, want.timed = got.timeout, got.timed
			}
			if diff := cmp.Diff(got, want, byValue); diff != "" {
				t.Errorf("head (-got +want):\n%s", diff)
			}
			rt := newRoutes(kindOf(d), map[string]Codec{codec: namedCodec(codec)}).find(first(h, headerContentType))
			if rt == nil || rt.dialect != d || rt.codec.Name() != codec {
				t.Errorf("route of %q: got %+v, want dialect %s, codec %s", h[headerContentType], rt, d.media, codec)
			}
		})
	})
}

// kindOf returns a kind of procedures that the dialect serves.
func kindOf(d *dialect) StreamType {
	if d == dialectUnary {
		return StreamTypeUnary
	}
	return StreamTypeBidi
}

// namedCodec is a codec with a name and nothing else.
type namedCodec string

func (c namedCodec) Name() string              { return string(c) }
func (namedCodec) Marshal(any) ([]byte, error) { return nil, errors.ErrUnsupported }
func (namedCodec) Unmarshal([]byte, any) error { return errors.ErrUnsupported }

func TestResponseHeads(t *testing.T) {
	eachDialect(t, func(t *testing.T, d *dialect) {
		randomly(t, 1000, func(t *testing.T, r *rand.Rand) {
			sent, codec := randomHead(r, d)
			sent.timed, sent.timeout = false, 0
			// The route's content type, which a server answers with, may be the long
			// form where the client's is the short one.
			rt := newRoutes(kindOf(d), map[string]Codec{codec: namedCodec(codec)}).find(sent.contentType[0])
			sent.contentType = rt.contentType
			h := make(http.Header)
			d.writeHead(headerWriter(h), sent)
			response := &http.Response{StatusCode: http.StatusOK, Header: overTheWire(t, h)}
			got, err := d.openResponse(headOfResponse(response), codec)
			if err != nil {
				t.Fatalf("%+v: got error %v", sent, err)
			}
			direct, err := d.openResponse(&wireHead{fields: &fields{pairs: pairsOf(response.Header)}, status: http.StatusOK}, codec)
			if diff := cmp.Diff(direct, got, byValue); err != nil || diff != "" {
				t.Errorf("from pairs: got error %v, head (-got +want):\n%s", err, diff)
			}
			if !slices.Equal(got.contentType, sent.contentType) || !slices.Equal(got.encoding, sent.encoding) {
				t.Errorf("got %+v, want %+v", got, sent)
			}
			if _, err := d.openResponse(headOfResponse(response), "other"); CodeOf(err) != CodeInternal {
				t.Errorf("another codec: got %v, want %v", err, CodeInternal)
			}
			response.Header.Set(headerContentType, "text/html; charset=utf-8")
			if _, err := d.openResponse(headOfResponse(response), codec); CodeOf(err) != CodeUnknown {
				t.Errorf("another media type: got %v, want %v", err, CodeUnknown)
			}
		})
	})
}

// TestResponseForms holds the content types that are more than media + codec.
func TestResponseForms(t *testing.T) {
	for _, c := range []struct {
		d           *dialect
		codec       string
		contentType string
		want        Code // 0 is none
	}{
		{dialectGRPC, codecProto, "application/grpc", 0},
		{dialectGRPC, codecProto, "application/grpc+proto", 0},
		{dialectGRPC, codecProto, "Application/GRPC+Proto", 0},
		{dialectGRPC, codecJSON, "application/grpc", CodeInternal},
		{dialectGRPC, codecProto, "application/grpc-web", CodeUnknown},
		{dialectGRPC, codecProto, "application/grpc-web+proto", CodeUnknown},
		{dialectGRPC, codecProto, "", CodeUnknown},
		{dialectWeb, codecProto, "application/grpc-web", 0},
		{dialectWeb, codecProto, "application/grpc-web+proto", 0},
		{dialectWeb, codecProto, "application/grpc", CodeUnknown},
		{dialectWeb, codecProto, "application/grpc-web-text", CodeUnknown},
		{dialectUnary, codecJSON, "application/json", 0},
		{dialectUnary, codecJSON, "application/json;charset=UTF-8", 0},
		{dialectUnary, codecJSON, "application/json; charset=latin1", CodeInternal},
		{dialectUnary, codecProto, "application/json", CodeInternal},
		{dialectUnary, codecProto, "text/plain", CodeUnknown},
		{dialectStream, codecJSON, "application/connect+json", 0},
		{dialectStream, codecJSON, "application/connect+proto", CodeInternal},
		{dialectStream, codecJSON, "application/json", CodeUnknown},
	} {
		r := &http.Response{StatusCode: http.StatusOK, Header: http.Header{headerContentType: {c.contentType}}}
		_, err := c.d.openResponse(headOfResponse(r), c.codec)
		switch {
		case c.want == 0 && err != nil:
			t.Errorf("%s, codec %s, content type %q: got %v, want no error", c.d.media, c.codec, c.contentType, err)
		case c.want != 0 && (err == nil || CodeOf(err) != c.want):
			t.Errorf("%s, codec %s, content type %q: got %v, want %v", c.d.media, c.codec, c.contentType, err, c.want)
		}
	}
}

// TestResponseStatuses: a status other than 200 is an error of a framed response
// at once, and is left to decodeEnd by unary calls. [checklist 42, 62]
func TestResponseStatuses(t *testing.T) {
	for status := 100; status < 1000; status++ {
		if status == http.StatusOK {
			continue
		}
		r := &http.Response{StatusCode: status, Header: http.Header{headerContentType: {"application/grpc"}}}
		for _, d := range []*dialect{dialectStream, dialectGRPC, dialectWeb} {
			_, err := d.openResponse(headOfResponse(r), codecProto)
			if err == nil || CodeOf(err) != codeFromHTTPStatus(status) {
				t.Errorf("%s, status %d: got %v, want %v", d.media, status, err, codeFromHTTPStatus(status))
			}
		}
		if _, err := dialectUnary.openResponse(headOfResponse(r), codecProto); err != nil {
			t.Errorf("unary, status %d: got %v, want no error from the head", status, err)
		}
		if e := dialectUnary.decodeEnd(wireEnd{status: status, header: http.Header{}, hasBody: true}); e.err == nil {
			t.Errorf("unary, status %d: got no error from the end", status)
		} else if e.err.code != codeFromHTTPStatus(status) {
			t.Errorf("unary, status %d: got %v, want %v", status, e.err, codeFromHTTPStatus(status))
		}
	}
}

// passEnd takes an end through a dialect: encoded, over the wire, decoded. It
// returns all metadata that arrives, headers before trailers.
func passEnd(t *testing.T, d *dialect, e end, sent bool) (end, http.Header) {
	t.Helper()
	encoded := d.encodeEnd(e, sent)
	w := wireEnd{
		status:  encoded.status,
		header:  overTheWire(t, encoded.header),
		trailer: overTheWire(t, encoded.trailer),
		body:    encoded.body,
		hasBody: encoded.hasBody,
		empty:   !sent,
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if !d.framed {
		w.hasBody = true // what was read of the body, be it nothing
	} else if encoded.hasBody != (d.endFlag != 0 && (sent || d == dialectStream)) {
		t.Errorf("end frame: got %t for sent %t, flag %#x", encoded.hasBody, sent, d.endFlag)
	}
	if sent && len(encoded.header) > 0 && d.framed {
		t.Errorf("got headers %v after the headers were sent", encoded.header)
	}
	before := w.header.Clone()
	got := d.decodeEnd(w)
	if diff := cmp.Diff(w.header, before); diff != "" {
		t.Errorf("decodeEnd changed the caller's header (-got +want):\n%s", diff)
	}
	metadata := make(http.Header)
	if got.header != nil {
		addHeader(metadata, got.header)
	} else {
		addHeader(metadata, w.header)
	}
	if !got.inHeader {
		addHeader(metadata, got.trailer)
	}
	return got, metadata
}

// custom returns what of the metadata is the application's, over the wire.
func custom(t *testing.T, h http.Header) http.Header {
	clean := make(http.Header)
	addMetadata(clean, h)
	return overTheWire(t, clean)
}

// tell returns an error's text, "success" for none.
func tell(e *Error) string {
	if e == nil {
		return "success"
	}
	return e.Error()
}

// sameError compares what travels of two errors, except for metadata.
func sameError(got, want *Error) error {
	switch {
	case got == nil && want == nil:
		return nil
	case got == nil || want == nil:
		return fmt.Errorf("got %s, want %s", tell(got), tell(want))
	case got.code != want.code:
		return fmt.Errorf("got code %v, want %v", got.code, want.code)
	case got.Message() != want.Message():
		return fmt.Errorf("got message %q, want %q", got.Message(), want.Message())
	case len(got.details) != len(want.details):
		return fmt.Errorf("got %d details, want %d", len(got.details), len(want.details))
	}
	for i := range got.details {
		if got.details[i].typeURL != want.details[i].typeURL || got.details[i].value != want.details[i].value {
			return fmt.Errorf("detail %d: got %q, want %q", i, got.details[i], want.details[i])
		}
	}
	return nil
}

func TestEnds(t *testing.T) {
	all := map[string]*dialect{"get": dialectGet}
	for name, d := range dialects {
		all[name] = d
	}
	for name, d := range all {
		t.Run(name, func(t *testing.T) {
			randomly(t, 4000, func(t *testing.T, r *rand.Rand) {
				e := end{err: randomError(r)}
				if r.IntN(2) == 0 {
					e.trailer = randomHeader(r)
				}
				if e.err != nil {
					e.err.wire = r.IntN(4) == 0
				}
				sent := r.IntN(2) == 0
				if !d.framed && e.err != nil {
					sent = false // an unframed message is the last thing sent
				}
				got, metadata := passEnd(t, d, e, sent)

				want := e.err
				if want != nil {
					text := want.Message()
					switch {
					case d.name == ProtocolConnect:
						text = validUTF8(text)
					case len(want.details) > 0:
						text = strings.ToValidUTF8(text, "\ufffd")
					}
					want = &Error{code: want.code, details: want.details, cause: messageError(text)}
				}
				if err := sameError(got.err, want); err != nil {
					t.Error(err)
				}
				if got.err != nil && !got.err.wire {
					t.Errorf("got an error that the client found, want one that the server sent: %v", got.err)
				}
				wantMeta := make(http.Header)
				addHeader(wantMeta, e.trailer)
				if e.err != nil && !e.err.wire {
					addHeader(wantMeta, e.err.meta)
				}
				if d == dialectGet {
					wantMeta.Add(headerVary, headerAcceptEncoding)
				}
				if got, want := custom(t, metadata), custom(t, wantMeta); !sameHeader(got, want) {
					t.Errorf("metadata: got %q, want %q", got, want)
				}
				if !d.framed && !sameHeader(got.trailer, overTheWire(t, e.trailer)) {
					t.Errorf("trailers: got %q, want %q", got.trailer, e.trailer)
				}
			})
		})
	}
}

// validUTF8 returns what JSON makes of a text: a replacement for each byte that
// is not valid.
func validUTF8(s string) string {
	return string([]rune(s))
}

// sameHeader compares headers; the order counts among the values of a key only,
// and not between an error's metadata and the trailers.
func sameHeader(a, b http.Header) bool {
	if len(a) != len(b) {
		return false
	}
	for key := range a {
		x, y := slices.Clone(a[key]), slices.Clone(b[key])
		slices.Sort(x)
		slices.Sort(y)
		if !slices.Equal(x, y) {
			return false
		}
	}
	return true
}

// TestEndOrder: several values of a key keep their order. [checklist 72]
func TestEndOrder(t *testing.T) {
	want := []string{"c", "a", "b", "a"}
	eachDialect(t, func(t *testing.T, d *dialect) {
		for _, sent := range []bool{false, true} {
			_, metadata := passEnd(t, d, end{trailer: http.Header{"X-Order": want}}, sent)
			if got := metadata["X-Order"]; !slices.Equal(got, want) {
				t.Errorf("sent %t: got %q, want %q", sent, got, want)
			}
		}
	})
}

// TestEndReserved: what the application leaves among the trailers under the
// protocols' keys does not change the outcome. [checklist 51, 90]
func TestEndReserved(t *testing.T) {
	lie, err := NewErrorDetail(durationpb.New(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	reserved := http.Header{
		headerGRPCStatus:  {"0"},
		headerGRPCMessage: {"lie"},
		headerGRPCDetails: {EncodeBinaryHeader(appendStatus(nil, &Error{code: CodeAborted, details: []*ErrorDetail{lie}}))},
		headerContentType: {"text/html"},
	}
	eachDialect(t, func(t *testing.T, d *dialect) {
		for _, sent := range []bool{false, true} {
			for _, want := range []*Error{nil, NewError(CodeNotFound, errors.New("truth"))} {
				if !d.framed && want != nil && sent {
					continue
				}
				for _, e := range []end{{err: want, trailer: reserved}, {err: withMeta(want, reserved)}} {
					got, _ := passEnd(t, d, e, sent)
					if err := sameError(got.err, want); err != nil {
						t.Errorf("sent %t, trailer %t: %v", sent, e.trailer != nil, err)
					}
				}
			}
		}
	})
}

func withMeta(e *Error, meta http.Header) *Error {
	if e == nil {
		return nil
	}
	return &Error{code: e.code, cause: e.cause, meta: meta}
}

// TestEndCodes: an error whose code is not one of the sixteen stays an error.
func TestEndCodes(t *testing.T) {
	c := &handlerConn{config: &config{}}
	if got := c.outcome(NewError(0, errors.New("broken"))); got.code != CodeUnknown || got.Message() != "broken" {
		t.Errorf("code 0: got %v, want %v", got, CodeUnknown)
	}
	eachDialect(t, func(t *testing.T, d *dialect) {
		for _, code := range []Code{codeMax + 1, 99, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
			got, _ := passEnd(t, d, end{err: NewError(code, errors.New("broken"))}, d.framed)
			if got.err == nil || got.err.code != CodeUnknown {
				t.Errorf("code %d: got %s, want %v", code, tell(got.err), CodeUnknown)
			}
			e := NewError(code, errors.New("broken"))
			e.details = []*ErrorDetail{{typeURLPrefix + "google.protobuf.Empty", ""}}
			got, _ = passEnd(t, d, end{err: e}, d.framed)
			if got.err == nil || got.err.code != CodeUnknown {
				t.Errorf("code %d with details: got %s, want %v", code, tell(got.err), CodeUnknown)
			}
		}
	})
}

// TestEndMinimal: what is left of an end that is too large to send.
func TestEndMinimal(t *testing.T) {
	e := randomError(rand.New(rand.NewPCG(1, 1)))
	for e == nil || len(e.details) == 0 || len(e.meta) == 0 {
		e = randomError(rand.New(rand.NewPCG(rand.Uint64(), 1)))
	}
	got := end{err: e, trailer: http.Header{"X-Large": {strings.Repeat("a", 1000)}}}.minimal()
	if len(got.trailer) > 0 || len(got.err.details) > 0 || len(got.err.meta) > 0 {
		t.Errorf("got %+v, want code and message only", got)
	}
	if got.err.code != e.code || got.err.Message() != e.Message() {
		t.Errorf("got %v, want %v", got.err, e)
	}
	got = end{trailer: http.Header{"X-Large": {strings.Repeat("a", 1000)}}}.minimal()
	if got.err == nil || got.err.code != CodeResourceExhausted || len(got.trailer) > 0 {
		t.Errorf("trailers that are too large: got %+v, want %v", got, CodeResourceExhausted)
	}
}

// TestNotModified: a 304 is for GET only. [checklist 53]
func TestNotModified(t *testing.T) {
	e := end{err: NewNotModifiedError(http.Header{"Etag": {`"1"`}})}
	w := dialectGet.encodeEnd(e, false)
	if w.status != http.StatusNotModified || w.hasBody || len(w.body) > 0 || w.header.Get("Etag") != `"1"` || w.header.Get(headerContentType) != "" {
		t.Errorf("GET: got %+v, want an empty 304 with the ETag", w)
	}
	if got := dialectGet.decodeEnd(w); !IsNotModifiedError(got.err) {
		t.Errorf("GET: got %v, want a not-modified error", got.err)
	}
	w = dialectUnary.encodeEnd(e, false)
	if w.status != http.StatusInternalServerError || !w.hasBody {
		t.Errorf("POST: got %+v, want a 500 with a body", w)
	}
	if got := dialectUnary.decodeEnd(wireEnd{status: http.StatusNotModified, header: http.Header{}}); IsNotModifiedError(got.err) || got.err == nil {
		t.Errorf("a 304 to a POST: got %v, want another error", got.err)
	}
}

// TestMissingEnds: a body without its end is an error. [checklist 33, 63, 64]
func TestMissingEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		d    *dialect
		w    wireEnd
		want Code // 0 is success
	}{
		{"stream, nothing", dialectStream, wireEnd{status: 200}, CodeInternal},
		{"stream, empty frame", dialectStream, wireEnd{status: 200, hasBody: true}, CodeInternal},
		{"grpc, nothing", dialectGRPC, wireEnd{status: 200}, CodeInternal},
		{"grpc, trailers without status", dialectGRPC, wireEnd{trailer: http.Header{"X-A": {"b"}}}, CodeInternal},
		{"grpc, header status after a body", dialectGRPC, wireEnd{header: http.Header{headerGRPCStatus: {"0"}}}, CodeInternal},
		{"grpc, header status, no body", dialectGRPC, wireEnd{header: http.Header{headerGRPCStatus: {"5"}}, empty: true}, CodeNotFound},
		{"grpc, trailer beats header", dialectGRPC, wireEnd{header: http.Header{headerGRPCStatus: {"5"}}, trailer: http.Header{headerGRPCStatus: {"0"}}, empty: true}, 0},
		{"web, nothing", dialectWeb, wireEnd{}, CodeInternal},
		{"web, empty frame", dialectWeb, wireEnd{hasBody: true}, CodeInternal},
		{"web, HTTP trailers do not count", dialectWeb, wireEnd{trailer: http.Header{headerGRPCStatus: {"0"}}}, CodeInternal},
		{"web, header status after a body", dialectWeb, wireEnd{header: http.Header{headerGRPCStatus: {"0"}}}, CodeInternal},
		{"web, header status, no body", dialectWeb, wireEnd{header: http.Header{headerGRPCStatus: {"5"}}, empty: true}, CodeNotFound},
		{"web, body beats header", dialectWeb, wireEnd{header: http.Header{headerGRPCStatus: {"5"}}, hasBody: true, body: []byte("grpc-status: 0\r\n"), empty: true}, 0},
		{"web, malformed", dialectWeb, wireEnd{hasBody: true, body: []byte("grpc-status\r\n")}, CodeInternal},
	} {
		got := c.d.decodeEnd(c.w)
		switch {
		case c.want == 0 && got.err != nil:
			t.Errorf("%s: got %v, want success", c.name, got.err)
		case c.want != 0 && (got.err == nil || got.err.code != c.want):
			t.Errorf("%s: got %v, want %v", c.name, got.err, c.want)
		}
	}
	if got := dialectStream.decodeEnd(wireEnd{}); !errors.Is(got.err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want io.ErrUnexpectedEOF in it", got.err)
	}
}

func TestCanonicalType(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"application/json", "application/json"},
		{"Application/JSON", "application/json"},
		{"application/json;charset=utf-8", "application/json; charset=utf-8"},
		{"application/json ; Charset=\"UTF-8\"", "application/json; charset=utf-8"},
		{"application/json; charset=latin1", "application/json; charset=latin1"},
		{"application/json;", "application/json"},
		{"application/connect+proto", "application/connect+proto"},
		{"application/x; B=2; a=1", "application/x; a=1; b=2"},
		{"", ""},
		{"application/json; charset", "application/json; charset"},
		{"application/json; charset=a; charset=b", "application/json; charset=a; charset=b"},
		{"no type at all", "no type at all"},
	} {
		if got := canonicalType(c.in); got != c.want {
			t.Errorf("canonicalType(%q): got %q, want %q", c.in, got, c.want)
		}
	}
}

// FuzzContentType: the canonical form is a fixed point, the answer's form too,
// and no content type leads to a route of another codec or media type.
func FuzzContentType(f *testing.F) {
	for _, s := range []string{
		"", "application/json", "Application/JSON; Charset=UTF-8", "application/grpc", "application/grpc+proto",
		"application/grpc-web-text", "application/connect+json", "application/json; charset=latin1",
		"application/json; q=\"\\\"\"", "application/json; x*=utf-8''%e2%82%ac", "text/plain;a=1;a=1", "a/b;=", ";",
		"application/proto; charset=utf-8", "%;*=utf-8''f-8'%e2%82na",
	} {
		f.Add(s)
	}
	codecs := map[string]Codec{codecProto: protoCodec{}, codecJSON: jsonCodec{}}
	unary, stream := newRoutes(StreamTypeUnary, codecs), newRoutes(StreamTypeBidi, codecs)
	f.Fuzz(func(t *testing.T, contentType string) {
		once := canonicalType(contentType)
		if twice := canonicalType(once); twice != once {
			t.Errorf("canonicalType(%q): got %q, then %q", contentType, once, twice)
		}
		if once == "" && contentType != "" {
			t.Errorf("canonicalType(%q): got nothing", contentType)
		}
		for _, rs := range []routes{unary, stream} {
			rt := rs.find(contentType)
			if rt == nil {
				continue
			}
			if again := rs.find(rt.contentType[0]); again != rt {
				t.Errorf("%q: the answer's content type %q has another route", contentType, rt.contentType)
			}
			lower := strings.ToLower(contentType)
			if !strings.Contains(lower, strings.TrimSuffix(strings.TrimSuffix(rt.media, "+"), "/")) {
				t.Errorf("%q: got the route of %q", contentType, rt.media)
			}
			if !strings.Contains(lower, rt.codec.Name()) && !strings.Contains(lower, rt.bare) {
				t.Errorf("%q: got the codec %q", contentType, rt.codec.Name())
			}
		}
	})
}

// TestRoutes holds the table of content types. [checklist 3–7, 74]
func TestRoutes(t *testing.T) {
	codecs := map[string]Codec{codecProto: protoCodec{}, codecJSON: jsonCodec{}}
	const framed = "application/grpc, application/grpc+json, application/grpc+json; charset=utf-8, application/grpc+proto, " +
		"application/grpc-web, application/grpc-web+json, application/grpc-web+json; charset=utf-8, application/grpc-web+proto"
	for kind, want := range map[StreamType]string{
		StreamTypeUnary: framed + ", application/json, application/json; charset=utf-8, application/proto",
		StreamTypeBidi: "application/connect+json, application/connect+json; charset=utf-8, application/connect+proto, " +
			framed,
	} {
		if got := newRoutes(kind, codecs).String(); got != want {
			t.Errorf("%v: got\n%s, want\n%s", kind, got, want)
		}
	}
	for _, c := range []struct {
		kind        StreamType
		contentType string
		dialect     *dialect // nil: no route
		codec       string
	}{
		{StreamTypeUnary, "application/json", dialectUnary, codecJSON},
		{StreamTypeUnary, "APPLICATION/json; charset=UTF-8", dialectUnary, codecJSON},
		{StreamTypeUnary, "application/json; charset=latin1", nil, ""},
		{StreamTypeUnary, "application/proto; charset=utf-8", nil, ""},
		{StreamTypeUnary, "application/connect+json", nil, ""},
		{StreamTypeUnary, "application/grpc", dialectGRPC, codecProto},
		{StreamTypeUnary, "application/grpc-web+json", dialectWeb, codecJSON},
		{StreamTypeUnary, "application/grpc-web-text", nil, ""},
		{StreamTypeUnary, "application/grpc-web-text+proto", nil, ""},
		{StreamTypeUnary, "application/grpc+thrift", nil, ""},
		{StreamTypeUnary, "", nil, ""},
		{StreamTypeBidi, "application/json", nil, ""},
		{StreamTypeBidi, "application/connect+json", dialectStream, codecJSON},
		{StreamTypeClient, "application/connect+proto", dialectStream, codecProto},
		{StreamTypeServer, "application/grpc+json", dialectGRPC, codecJSON},
	} {
		rt := newRoutes(c.kind, codecs).find(c.contentType)
		switch {
		case rt == nil && c.dialect == nil:
		case rt == nil || rt.dialect != c.dialect || rt.codec.Name() != c.codec:
			t.Errorf("%v, %q: got %+v, want codec %q", c.kind, c.contentType, rt, c.codec)
		}
	}
}

// TestVersions holds the protocol versions that are accepted. [checklist 12]
func TestVersions(t *testing.T) {
	for version, ok := range map[string]bool{"": true, "1": true, "2": false, "v1": false, "01": false, "1 ": false} {
		r := &http.Request{Method: http.MethodPost, Header: http.Header{headerConnectVersion: {version}}, URL: &url.URL{}}
		for _, d := range []*dialect{dialectUnary, dialectStream} {
			_, err := d.openRequest(headOf(r))
			if got := err == nil; got != ok || !ok && CodeOf(err) != CodeInvalidArgument {
				t.Errorf("version %q: got %v, want ok %t", version, err, ok)
			}
		}
		for _, d := range []*dialect{dialectGRPC, dialectWeb} {
			if _, err := d.openRequest(headOf(r)); err != nil {
				t.Errorf("%s, Connect version %q: got %v, want no error", d.media, version, err)
			}
		}
	}
}

// headOf and headOfResponse return what dialects read.
func headOf(r *http.Request) *wireHead {
	return &wireHead{fields: &fields{header: r.Header}, query: r.URL.Query()}
}

func headOfResponse(r *http.Response) *wireHead {
	f, head, _, _ := (&httpExchange{response: r}).reply()
	head.fields = &f
	return &head
}
