// SPDX-License-Identifier: Apache-2.0

// Responses as net/http promises them: bodies, trailers, statuses without a body,
// compression, redirects.

package h2_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// TestClientEchoes sends bodies of many sizes and gets them back.
func TestClientEchoes(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Length", strconv.FormatInt(r.ContentLength, 10))
		_, _ = io.Copy(w, r.Body)
	}
	behaves(t, echo, func(t *testing.T, client *http.Client) {
		for _, size := range []int{0, 1, 64, 4 << 10, 64 << 10, 64<<10 + 1, 300 << 10, 5 << 20} {
			for _, known := range []bool{true, false} {
				want := strings.Repeat("0123456789abcdef", size/16+1)[:size]
				var body io.Reader = strings.NewReader(want)
				length := strconv.Itoa(size)
				if !known {
					body, length = io.MultiReader(body), "-1"
				}
				o := call(client.Transport, request(t.Context(), "POST", body))
				o.want(t, 200, want)
				if got := o.Header.Get("X-Length"); got != length {
					t.Errorf("%d bytes: the server got a ContentLength of %s, want %s", size, got, length)
				}
			}
		}
	})
}

// TestClientTrailers sends trailers, and gets announced and other ones back.
func TestClientTrailers(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Announced")
		if _, err := io.Copy(w, r.Body); err != nil {
			t.Error(err)
		}
		w.Header().Set("X-Announced", fmt.Sprint(r.Trailer["X-Sum"]))
		w.Header().Set(http.TrailerPrefix+"X-Other", "other")
	}
	behaves(t, handler, func(t *testing.T, client *http.Client) {
		for _, body := range []string{"", "some body"} {
			r := request(t.Context(), "POST", nil)
			r.Trailer = http.Header{"X-Sum": nil}
			r.Body = watch(readerOf(body, func() { r.Trailer.Set("X-Sum", "42") }))
			res, err := client.Transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			if _, announced := res.Trailer["X-Announced"]; !announced || len(res.Trailer) != 1 {
				t.Errorf("before the body: got trailer %v, want the key X-Announced", res.Trailer)
			}
			got, err := io.ReadAll(res.Body)
			if err != nil || string(got) != body {
				t.Errorf("got body %q and error %v, want %q", got, err, body)
			}
			if res.Trailer.Get("X-Announced") != "[42]" || res.Trailer.Get("X-Other") != "other" {
				t.Errorf("after the body: got trailer %v, want both", res.Trailer)
			}
			if res.Header.Get("Trailer") != "" {
				t.Errorf("got header %v, want none that announces trailers", res.Header)
			}
			r.Body.(*watchedBody).wantClosed(t)
		}
	})
}

// readerOf reads s and calls atEnd before it returns io.EOF.
func readerOf(s string, atEnd func()) io.Reader {
	inner := strings.NewReader(s)
	return readerFunc(func(p []byte) (int, error) {
		n, err := inner.Read(p)
		if err == io.EOF {
			atEnd()
		}
		return n, err
	})
}

// TestClientTrailersWithoutBody sends trailers after no body at all.
func TestClientTrailersWithoutBody(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n, err, r.Trailer)
	}
	behaves(t, handler, func(t *testing.T, client *http.Client) {
		r := get(t.Context())
		r.Trailer = http.Header{"X-Sum": {"7"}}
		call(client.Transport, r).want(t, 200, "0 <nil> map[X-Sum:[7]]")
	})
}

// TestClientBodiless asks for responses that have no body, and say a length all
// the same.
func TestClientBodiless(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.URL.Query().Get("status"))
		w.Header().Set("X-Method", r.Method)
		if status != http.StatusNoContent {
			w.Header().Set("Content-Length", "5")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "hello") // goes nowhere
	}
	behaves(t, handler, func(t *testing.T, client *http.Client) {
		for _, c := range []struct {
			method string
			status int
			length int64
		}{{"HEAD", 200, 5}, {"GET", 204, 0}, {"GET", 304, 5}} {
			r := request(t.Context(), c.method, nil)
			r.URL.RawQuery = "status=" + strconv.Itoa(c.status)
			o := call(client.Transport, r)
			o.want(t, c.status, "")
			if o.ContentLength != c.length || o.Header.Get("X-Method") != c.method {
				t.Errorf("%s, status %d: got ContentLength %d of a %s, want %d", c.method, c.status, o.ContentLength, o.Header.Get("X-Method"), c.length)
			}
		}
	})
}

// TestClientGzip has the transport ask for gzip and inflate it, unless
// DisableCompression is set.
func TestClientGzip(t *testing.T) {
	text := strings.Repeat("gzip me ", 10_000)
	handler := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Asked", r.Header.Get("Accept-Encoding"))
		if r.Header.Get("Accept-Encoding") == "gzip" {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, text)
			_ = z.Close()
		} else {
			_, _ = io.WriteString(w, text)
		}
		w.Header().Set(http.TrailerPrefix+"X-End", "yes")
	}
	behaves(t, handler, func(t *testing.T, client *http.Client) {
		o := call(client.Transport, get(t.Context()))
		o.want(t, 200, text)
		if !o.Uncompressed || o.ContentLength != -1 || o.Header.Get("Content-Encoding") != "" || o.Trailer.Get("X-End") != "yes" {
			t.Errorf("got Uncompressed %v, ContentLength %d, header %v, trailer %v", o.Uncompressed, o.ContentLength, o.Header, o.Trailer)
		}

		r := get(t.Context())
		r.Header.Set("Accept-Encoding", "gzip")
		o = call(client.Transport, r)
		z, err := gzip.NewReader(strings.NewReader(o.body))
		if err != nil || o.Uncompressed {
			t.Fatalf("asked by the caller: got error %v and Uncompressed %v, want gzip as it came", err, o.Uncompressed)
		}
		if plain, _ := io.ReadAll(z); string(plain) != text {
			t.Errorf("got %d bytes, want %d", len(plain), len(text))
		}

		r = get(t.Context())
		r.Header.Set("Range", "bytes=0-")
		if o = call(client.Transport, r); o.Header.Get("X-Asked") != "" {
			t.Errorf("with a Range the transport asked for %q, want nothing", o.Header.Get("X-Asked"))
		}
	})
}

// TestClientDisableCompression asks for nothing.
func TestClientDisableCompression(t *testing.T) {
	bubble(t, func(t *testing.T) {
		handler := func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "asked for "+r.Header.Get("Accept-Encoding"))
		}
		s := startServer(t, handler)
		within := newWithin(t, s.network, &http.Transport{DisableCompression: true}, nil)
		call(within, get(t.Context())).want(t, 200, "asked for ")
	})
}

// TestClientRedirects follows a redirect that has the body sent again.
func TestClientRedirects(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/there", http.StatusTemporaryRedirect)
			return
		}
		_, _ = io.Copy(w, r.Body)
	}
	behaves(t, handler, func(t *testing.T, client *http.Client) {
		res, err := client.Post(serverURL, "text/plain", strings.NewReader("again"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || string(body) != "again" || res.Request.URL.Path != "/there" {
			t.Errorf("got body %q, error %v, from %v", body, err, res.Request.URL)
		}
	})
}

// TestClientConnect opens a tunnel: a request without scheme and path, whose body
// and response flow both ways.
func TestClientConnect(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Asked", r.Method+" "+r.Host)
		w.(http.Flusher).Flush()
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(bytes.ToUpper(buf[:n]))
			w.(http.Flusher).Flush()
			if err != nil {
				return
			}
		}
	}
	behaves(t, handler, func(t *testing.T, client *http.Client) {
		in, out := io.Pipe()
		r := request(t.Context(), http.MethodConnect, in)
		r.Host = "target.test:99"
		res, err := client.Transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := res.Header.Get("X-Asked"); got != "CONNECT target.test:99" {
			t.Errorf("the server got %q, want CONNECT", got)
		}
		buf := make([]byte, 5)
		for _, word := range []string{"hello", "world"} {
			if _, err := io.WriteString(out, word); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != strings.ToUpper(word) {
				t.Errorf("got %q and error %v, want %q", buf, err, strings.ToUpper(word))
			}
		}
		_ = out.Close()
		if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
			t.Errorf("got %q and error %v, want the end", rest, err)
		}
	})
}

// TestClientFields checks what of a request's header is sent, and how.
func TestClientFields(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		r := request(t.Context(), "PATCH", nil)
		r.Host = "other.test"
		r.URL.Path, r.URL.RawQuery = "/a b", "q=1"
		r.Header = http.Header{
			"X-Two": {"1", "2"}, "Connection": {"close"}, "Te": {"trailers"}, "Upgrade": {"x"}, "Keep-Alive": {"1"},
			"Transfer-Encoding": {"chunked"}, "Host": {"wrong"}, "content-length": {"99"}, "User-Agent": {"me"},
		}
		done := begin(client, r)
		p := s.accept()
		f := p.request()
		got := make(map[string][]string)
		for _, f := range f.fields {
			got[f.Name] = append(got[f.Name], f.Value)
		}
		want := map[string][]string{
			":method": {"PATCH"}, ":scheme": {"http"}, ":authority": {"other.test"}, ":path": {"/a%20b?q=1"},
			"x-two": {"1", "2"}, "te": {"trailers"}, "user-agent": {"me"}, "content-length": {"0"}, "accept-encoding": {"gzip"},
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
		p.respond(f.StreamID, "200", "")
		receive(t, "a response", done).want(t, 200, "")
		p.wantClosed() // as the request asked for
	})
}

// TestClientRefusesRequests gives the transport requests that cannot be sent. Not
// one of them reaches the network, and their bodies are closed.
func TestClientRefusesRequests(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, client := newFake(t, nil)
		for text, change := range map[string]func(*http.Request){
			"URL scheme":         func(r *http.Request) { r.URL.Scheme = "ftp" },
			"without a URL":      func(r *http.Request) { r.URL = nil },
			"without a host":     func(r *http.Request) { r.URL.Host = "" },
			"nil Header":         func(r *http.Request) { r.Header = nil },
			"invalid method":     func(r *http.Request) { r.Method = "A B" },
			"field name":         func(r *http.Request) { r.Header["a b"] = []string{"x"} },
			"control characters": func(r *http.Request) { r.Header["X"] = []string{"a\r\nb"} },
			"may not be":         func(r *http.Request) { r.Trailer = http.Header{"Content-Length": nil} },
			"invalid host":       func(r *http.Request) { r.URL.Host = "a b" },
		} {
			r := request(context.Background(), "POST", nil)
			body := watch(strings.NewReader("body"))
			r.Body = body
			change(r)
			call(client, r).wantText(t, text)
			body.wantClosed(t)
		}
	})
}
