// SPDX-License-Identifier: Apache-2.0

// GET requests: the client's URL against the server's query.

package connect

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func mustURL(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestGetURLs(t *testing.T) {
	randomly(t, 3000, func(t *testing.T, r *rand.Rand) {
		base := mustURL(t, []string{"http://host/acme.v1.Foo/Bar", "https://host:8080/prefix/a.B/C?key=a%20b&x=1", "http://h/a%2Fb/c/D"}[r.IntN(3)])
		before := base.String()
		codec := []string{"proto", "json", "thrift+x y"}[r.IntN(3)]
		var used *compression
		if r.IntN(2) == 0 {
			used = newCompression([]string{"gzip", "x+y&z"}[r.IntN(2)], nil, nil)
		}
		binary := r.IntN(2) == 0
		message := randomBytes(r, 60)

		u := getURL(base, codec, binary, message, used)
		if base.String() != before {
			t.Errorf("the base changed: got %v, want %v", base, before)
		}
		if !strings.HasPrefix(u.String(), before) {
			t.Errorf("got %v, want it to begin with %v", u, before)
		}
		read := mustURL(t, u.String()) // as it travels
		hd, err := dialectGet.openRequest(headOf(&http.Request{Method: http.MethodGet, URL: read, Header: http.Header{}}))
		if err != nil {
			t.Fatalf("%v: %v", u, err)
		}
		if !bytes.Equal(hd.message, message) {
			t.Errorf("%v: got message %q, want %q", u, hd.message, message)
		}
		if got := strings.Join(hd.encoding, "|"); used != nil && got != used.name || used == nil && got != "" {
			t.Errorf("%v: got compression %q", u, got)
		}
		if got := read.Query().Get(queryEncoding); got != codec {
			t.Errorf("%v: got codec %q, want %q", u, got, codec)
		}
	})
}

// TestGetURLOrder: the query of the base URL is first, and the parameters follow in
// a fixed order, so that equal calls have one URL in caches. [checklist 56]
func TestGetURLOrder(t *testing.T) {
	base, gzip := mustURL(t, "http://host/a.B/C"), newGzip()
	for _, c := range []struct {
		got  *url.URL
		want string
	}{
		{getURL(base, "json", false, []byte(`{"a":"b c"}`), nil), "http://host/a.B/C?connect=v1&encoding=json&message=%7B%22a%22%3A%22b+c%22%7D"},
		{getURL(base, "proto", true, []byte{0xfb, 0xff}, nil), "http://host/a.B/C?connect=v1&base64=1&encoding=proto&message=-_8"},
		{getURL(base, "proto", true, nil, nil), "http://host/a.B/C?connect=v1&base64=1&encoding=proto&message="},
		{getURL(base, "json", false, []byte("abc"), gzip), "http://host/a.B/C?connect=v1&base64=1&compression=gzip&encoding=json&message=YWJj"},
		{getURL(mustURL(t, "http://host/a.B/C?key=1"), "json", false, []byte("{}"), nil), "http://host/a.B/C?key=1&connect=v1&encoding=json&message=%7B%7D"},
	} {
		if c.got.String() != c.want {
			t.Errorf("got  %v\nwant %s", c.got, c.want)
		}
	}
}

// TestGetQueries reads queries as other implementations write them. [checklist 12,
// 56–58]
func TestGetQueries(t *testing.T) {
	for _, c := range []struct {
		query    string
		message  string
		encoding string
		code     Code // 0 is no error
	}{
		{"connect=v1&encoding=json&message=%7B%7D", "{}", "", 0},
		{"message=%7B%7D&encoding=json", "{}", "", 0},
		{"encoding=json&message=", "", "", 0},
		{"encoding=json&message", "", "", 0},
		{"encoding=json", "", "", CodeInvalidArgument},
		{"", "", "", CodeInvalidArgument},
		{"connect=v2&message=a", "", "", CodeInvalidArgument},
		{"connect=1&message=a", "", "", CodeInvalidArgument},
		{"connect=&message=a", "a", "", 0},
		{"message=YWI&base64=1", "ab", "", 0},
		{"message=YWI%3D&base64=1", "ab", "", 0},
		{"message=YWI=&base64=1", "ab", "", 0},
		{"message=-_8&base64=1", "\xfb\xff", "", 0},
		{"message=%2B%2F8&base64=1", "", "", CodeInvalidArgument}, // the standard alphabet
		{"message=YWI&base64=true", "YWI", "", 0},
		{"message=YWI&base64=0", "YWI", "", 0},
		{"message=YWI&base64=", "YWI", "", 0},
		{"message=%21&base64=1", "", "", CodeInvalidArgument},
		{"message=Y&base64=1", "", "", CodeInvalidArgument},
		{"message=%zz", "", "", CodeInvalidArgument},
		{"message=a;b", "", "", CodeInvalidArgument},
		{"compression=br&message=a&else=1", "a", "br", 0},
		{"compression=&message=a", "a", "", 0},
		{"message=a&message=b", "a", "", 0},
	} {
		hd, err := dialectGet.openRequest(headOf(&http.Request{Method: http.MethodGet, URL: &url.URL{RawQuery: c.query}, Header: http.Header{}}))
		switch {
		case c.code != 0 && (err == nil || CodeOf(err) != c.code):
			t.Errorf("%s: got %v, want %v", c.query, err, c.code)
		case c.code == 0 && err != nil:
			t.Errorf("%s: got %v, want no error", c.query, err)
		case c.code == 0 && (string(hd.message) != c.message || strings.Join(hd.encoding, ",") != c.encoding):
			t.Errorf("%s: got %q, %q, want %q, %q", c.query, hd.message, hd.encoding, c.message, c.encoding)
		}
	}
}

// FuzzGetQuery: any query is refused as the client's fault or holds a message no
// longer than itself, which a client's URL would hold, too.
func FuzzGetQuery(f *testing.F) {
	for _, s := range []string{
		"connect=v1&base64=1&compression=gzip&encoding=proto&message=YWJj", "message=%7B%7D", "message=a;b", "base64=1&message=%21",
		"base64=1&message=====", "&&&=&message", "connect=v2", "message=%zz&message=a", "base64=1&base64=0&message=YQ",
	} {
		f.Add(s)
	}
	gzip := newGzip()
	f.Fuzz(func(t *testing.T, query string) {
		r := &http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "http", Host: "h", Path: "/a.B/C", RawQuery: query}, Header: http.Header{}}
		hd, err := dialectGet.openRequest(headOf(r))
		if err != nil {
			if CodeOf(err) != CodeInvalidArgument {
				t.Errorf("%q: got %v, want %v", query, err, CodeInvalidArgument)
			}
			return
		}
		if len(hd.message) > len(query) {
			t.Errorf("%q: got a message of %d bytes", query, len(hd.message))
		}
		if q := r.URL.Query(); q.Get(queryBase64) == "1" {
			plain, err := base64.URLEncoding.DecodeString(q.Get(queryMessage))
			if err == nil && !bytes.Equal(plain, hd.message) {
				t.Errorf("%q: got %q, want %q", query, hd.message, plain)
			}
		}
		base := &url.URL{Scheme: "http", Host: "h", Path: "/a.B/C"}
		for _, u := range []*url.URL{
			getURL(base, "json", false, hd.message, nil), getURL(base, "proto", true, hd.message, nil), getURL(base, "json", false, hd.message, gzip),
		} {
			again, err := dialectGet.openRequest(headOf(&http.Request{Method: http.MethodGet, URL: mustURL(t, u.String()), Header: http.Header{}}))
			if err != nil || !bytes.Equal(again.message, hd.message) {
				t.Errorf("%q: got %q, written and read %q, %v", query, hd.message, again.message, err)
			}
		}
	})
}
