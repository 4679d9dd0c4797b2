// SPDX-License-Identifier: Apache-2.0

// Heads as inverse pairs: one side reads what the other writes, for all dialects,
// without a server between.

package connect

import (
	"bufio"
	"bytes"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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

func (c namedCodec) Name() string { return string(c) }

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
			if err == nil || CodeOf(err) != CodeFromHTTPStatus(status) {
				t.Errorf("%s, status %d: got %v, want %v", d.media, status, err, CodeFromHTTPStatus(status))
			}
		}
		if _, err := dialectUnary.openResponse(headOfResponse(r), codecProto); err != nil {
			t.Errorf("unary, status %d: got %v, want no error from the head", status, err)
		}
		if e := dialectUnary.decodeEnd(wireEnd{status: status, header: http.Header{}, hasBody: true}); e.err == nil {
			t.Errorf("unary, status %d: got no error from the end", status)
		} else if e.err.code != CodeFromHTTPStatus(status) {
			t.Errorf("unary, status %d: got %v, want %v", status, e.err, CodeFromHTTPStatus(status))
		}
	}
}

// headOf and headOfResponse return the heads that dialects read.
func headOf(r *http.Request) *wireHead {
	return &wireHead{fields: &fields{header: r.Header}, query: r.URL.Query()}
}

func headOfResponse(r *http.Response) *wireHead {
	f, head, _, _ := (&httpExchange{response: r}).reply()
	head.fields = &f
	return &head
}
