// SPDX-License-Identifier: Apache-2.0

// Which dialect and codec a content type stands for, and the protocol versions.

package connect

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

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

// TestClassify: handlers and ErrorWriter find the same dialect, for any name of a
// codec and any form of the content type.
func TestClassify(t *testing.T) {
	for _, name := range []string{codecProto, codecJSON, "thrift", "x-acme.v1"} {
		for _, kind := range []StreamType{StreamTypeUnary, StreamTypeBidi} {
			for contentType, want := range newRoutes(kind, map[string]Codec{name: namedCodec(name)}) {
				for _, written := range []string{contentType, strings.ToUpper(contentType), contentType + ";"} {
					r := &http.Request{Method: http.MethodPost, Header: http.Header{headerContentType: {written}}}
					if got := classify(r); got != want.dialect {
						t.Errorf("%q: got %+v, want the dialect of %s", written, got, want.media)
					}
					r.Method = http.MethodPut
					if got := classify(r); got != nil {
						t.Errorf("PUT of %q: got the dialect of %s, want none", written, got.media)
					}
				}
			}
		}
	}
	if got := classify(&http.Request{Method: http.MethodGet}); got != dialectGet {
		t.Errorf("GET: got %+v, want its dialect", got)
	}
	for _, contentType := range []string{"", "text/plain", "multipart/form-data; boundary=a", "applicationx/json"} {
		if got := classify(&http.Request{Method: http.MethodPost, Header: http.Header{headerContentType: {contentType}}}); got != nil {
			t.Errorf("%q: got the dialect of %s, want none", contentType, got.media)
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
