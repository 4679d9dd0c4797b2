// SPDX-License-Identifier: Apache-2.0

// The direct path of the client: RoundTripDirect comes to what RoundTrip comes to.

package h2_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A directResponse is what RoundTripDirect returns.
type directResponse interface {
	io.ReadCloser
	DirectHead() (status int, fields [][2]string, length int64)
	DirectTrailer() [][2]string
}

// A directClient makes a direct call of each request, and a response of what it
// comes to. What the call was given is written over as soon as it returns.
type directClient struct{ *h2.Transport }

func (d directClient) RoundTrip(r *http.Request) (*http.Response, error) {
	var shared, own [][2]string
	for i, key := range slices.Sorted(maps.Keys(r.Header)) {
		for _, value := range r.Header[key] {
			if pair := [2]string{strings.ToLower(key), value}; i%2 == 0 {
				shared = append(shared, pair)
			} else {
				own = append(own, pair)
			}
		}
	}
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
	}
	before := [][][2]string{slices.Clone(shared), slices.Clone(own)}
	content := bytes.Clone(body)
	target, err := d.PrepareDirect(d.Transport, r.URL, shared)
	var got io.ReadCloser
	if err == nil {
		got, err = target.RoundTripDirect(r.Context(), own, body)
	}
	if !slices.Equal(shared, before[0]) || !slices.Equal(own, before[1]) || !bytes.Equal(body, content) {
		return nil, errors.New("got fields or a body that were written, want what they were")
	}
	for i := range body {
		body[i] = '!'
	}
	for _, fields := range [][][2]string{shared, own} {
		for i := range fields {
			fields[i] = [2]string{"written", "over"}
		}
	}
	switch {
	case err != nil:
		return nil, err
	case got == nil:
		return nil, errNotDirect
	}
	return responseOf(got.(directResponse)), nil
}

var errNotDirect = errors.New("got neither a response nor an error")

// responseOf returns a direct response as an http.Response.
func responseOf(d directResponse) *http.Response {
	status, fields, length := d.DirectHead()
	res := &http.Response{
		Status: strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status))), StatusCode: status,
		Proto: "HTTP/2.0", ProtoMajor: 2, Header: headerOf(fields), ContentLength: length,
	}
	if names := res.Header["Trailer"]; names != nil {
		res.Trailer = make(http.Header)
		for _, name := range strings.Split(strings.Join(names, ","), ",") {
			res.Trailer[http.CanonicalHeaderKey(name)] = nil
		}
		delete(res.Header, "Trailer")
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{readerFunc(func(p []byte) (int, error) {
		n, err := d.Read(p)
		if err != io.EOF {
			return n, err
		}
		for key, values := range headerOf(d.DirectTrailer()) {
			if res.Trailer == nil {
				res.Trailer = make(http.Header)
			}
			res.Trailer[key] = values
		}
		return n, err
	}), d}
	return res
}

func headerOf(fields [][2]string) http.Header {
	h := make(http.Header)
	for _, f := range fields {
		h.Add(f[0], f[1])
	}
	return h
}

// directURL is where direct calls go.
func directURL() *url.URL { return &url.URL{Scheme: "http", Host: "server.test", Path: "/"} }

// directRequest returns a POST whose header has all that RoundTrip would add.
func directRequest(ctx context.Context, body string) *http.Request {
	r := request(ctx, "POST", strings.NewReader(body))
	r.Header = http.Header{"Accept-Encoding": {"identity"}, "User-Agent": {"test"}, "Content-Type": {"x"}, "X": {"1", "", "2"}}
	return r
}

// bothClients runs a test with RoundTrip and with RoundTripDirect, in a bubble each
// and with a server that speaks frames, and compares what it returns.
func bothClients(t *testing.T, f func(t *testing.T, s *fakeServer, client http.RoundTripper, transport *h2.Transport) string) {
	t.Helper()
	var said [2]string
	for i := range said {
		bubble(t, func(t *testing.T) {
			s, transport := newFake(t, nil)
			var client http.RoundTripper = transport
			if i == 1 {
				client = directClient{transport}
			}
			said[i] = f(t, s, client, transport)
		})
	}
	if said[1] != said[0] {
		t.Errorf("got\n%s\nwant, as of RoundTrip,\n%s", said[1], said[0])
	}
}

// String shows an outcome.
func (o outcome) String() string {
	if o.Response == nil {
		return fmt.Sprint("no response: ", o.err)
	}
	return fmt.Sprintf("%s %s, %s, length %d, body %q, trailer %s, error %v",
		o.Proto, o.Status, dump(o.Header), o.ContentLength, o.body, dump(o.Trailer), o.err)
}

// ---- what is sent ----

// TestDirectSent compares the frames of a request.
func TestDirectSent(t *testing.T) {
	for _, size := range []int{0, 1, 100, 16 << 10, 16<<10 + 1, 64<<10 - 1} {
		bothClients(t, func(t *testing.T, s *fakeServer, client http.RoundTripper, _ *h2.Transport) string {
			r := directRequest(t.Context(), digits(size))
			r.URL = &url.URL{Scheme: "http", Host: "server.test:80", Path: "/a b/c", RawQuery: "d=e"}
			r.Host = r.URL.Host
			done := begin(client, r)
			p := s.accept()
			head := p.request()
			got := new(strings.Builder)
			slices.SortStableFunc(head.fields, func(a, b hpack.HeaderField) int { return strings.Compare(a.Name, b.Name) })
			fmt.Fprintln(got, head.fields, head.ended())
			body := ""
			for end := head.ended(); !end; {
				f := p.await("the body", func(f *frame) bool { return f.Type == http2.FrameData })
				body, end = body+string(f.data), f.ended()
			}
			fmt.Fprintln(got, len(body), body == digits(size))
			p.respond(head.StreamID, "200", "done")
			fmt.Fprintln(got, receive(t, "a response", done))
			return got.String()
		})
	}
}

// TestDirectNot lists calls that are left to RoundTrip: nothing is sent.
func TestDirectNot(t *testing.T) {
	type outer struct{ *h2.Transport }
	transport := h2.NewTransport(nil)
	defer transport.Close()
	standard := new(http.Transport)
	if err := h2.ConfigureTransport(standard, nil); err != nil {
		t.Fatal(err)
	}
	for name, self := range map[string]http.RoundTripper{
		"embedded":      outer{transport},
		"pointer to it": &outer{transport},
		"not comparable": struct {
			*h2.Transport
			_ []int
		}{Transport: transport},
		"nobody":     nil,
		"another":    h2.NewTransport(nil),
		"net/http's": standard,
	} {
		target, err := transport.PrepareDirect(self, directURL(), nil)
		if target != nil || err != nil {
			t.Errorf("%s: got %v and error %v, want nil and nil", name, target, err)
		}
	}
	target, err := transport.PrepareDirect(transport, directURL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := target.RoundTripDirect(t.Context(), nil, make([]byte, 64<<10+1))
	if body != nil || err != nil {
		t.Errorf("more than 64 KiB: got %v and error %v, want nil and nil", body, err)
	}
}

// TestDirectLargest sends a body of 64 KiB.
func TestDirectLargest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			fmt.Fprint(w, len(body), string(body) == digits(64<<10), err, r.ContentLength)
		})
		call(directClient{newClient(t, s.network, nil)}, directRequest(t.Context(), digits(64<<10))).want(t, 200, "65536 true <nil> 65536")
	})
}

// TestDirectMemory answers a request before its body has gone: what the caller does
// with its memory afterwards has no effect on what arrives.
func TestDirectMemory(t *testing.T) {
	text := "what was said, not what was written later"
	bothClients(t, func(t *testing.T, s *fakeServer, client http.RoundTripper, _ *h2.Transport) string {
		warm := begin(client, directRequest(t.Context(), ""))
		p := s.accept(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5})
		p.respond(p.request().StreamID, "200", "")
		receive(t, "a response", warm).want(t, 200, "")

		answered := make(chan *http.Response, 1)
		go func() {
			res, err := client.RoundTrip(directRequest(t.Context(), text))
			if err != nil {
				t.Error(err)
			}
			answered <- res
		}()
		f := p.request()
		p.headers(f.StreamID, false, ":status", "200")
		res := receive(t, "the head of the response", answered)
		settle()
		got := ""
		for end := false; !end; {
			d := p.await("a piece of the body", func(f *frame) bool { return f.Type == http2.FrameData })
			got, end = got+string(d.data), d.ended()
			p.window(f.StreamID, 3)
		}
		if got != text {
			t.Errorf("got body %q, want %q", got, text)
		}
		p.data(f.StreamID, true, []byte("answer"))
		body, err := io.ReadAll(res.Body)
		return fmt.Sprintf("%q %v %v", body, err, res.Body.Close())
	})
}

// TestDirectUnwanted ends the response before the request's body has gone, with and
// without a word about it.
func TestDirectUnwanted(t *testing.T) {
	for _, reset := range []bool{false, true} {
		bothClients(t, func(t *testing.T, s *fakeServer, client http.RoundTripper, _ *h2.Transport) string {
			warm := begin(client, directRequest(t.Context(), ""))
			p := s.accept(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5})
			p.respond(p.request().StreamID, "200", "")
			receive(t, "a response", warm).want(t, 200, "")
			done := begin(client, directRequest(t.Context(), "more than a few bytes"))
			f := p.request()
			p.respond(f.StreamID, "413", "too much")
			if reset {
				p.reset(f.StreamID, http2.ErrCodeNo)
			}
			o := receive(t, "a response", done)
			settle()
			return fmt.Sprint(o, p.count(func(f *frame) bool { return f.Type == http2.FrameRSTStream }))
		})
	}
}

// ---- what comes back ----

// TestDirectAnswers compares responses of the engine's server and of net/http's.
func TestDirectAnswers(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"200":   func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "body") },
		"empty": func(http.ResponseWriter, *http.Request) {},
		"flushed": func(w http.ResponseWriter, _ *http.Request) {
			flushed(w)
			_, _ = io.WriteString(w, "body")
		},
		"204": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
		"304": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "4")
			w.WriteHeader(304)
		},
		"404":        http.NotFound,
		"500":        func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", 500) },
		"odd status": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(599) },
		"redirect":   func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/b", http.StatusSeeOther) },
		"1xx": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(103)
			w.WriteHeader(199)
			_, _ = io.WriteString(w, "body")
		},
		"fields": func(w http.ResponseWriter, _ *http.Request) {
			set(w, "X", "1", "Set-Cookie", "a=b")
			w.Header().Add("Set-Cookie", "c=d")
		},
		"trailers": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "body")
			w.Header().Set("Trailer:X-Sum", "4")
		},
		"trailers alone": func(w http.ResponseWriter, _ *http.Request) { flushed(w); w.Header().Set("Trailer:X-Sum", "0") },
		"trailers, 204": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(204)
			flushed(w)
			w.Header().Set("Trailer:X-Sum", "0")
		},
		"announced":       func(w http.ResponseWriter, _ *http.Request) { set(w, "Trailer", "A,B"); flushed(w); set(w, "A", "1") },
		"announced, none": func(w http.ResponseWriter, _ *http.Request) { set(w, "Trailer", "A"); _, _ = io.WriteString(w, "body") },
		"large":           func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, digits(200_000)) },
		"too short": func(w http.ResponseWriter, _ *http.Request) {
			set(w, "Content-Length", "5")
			_, _ = io.WriteString(w, "body")
		},
		"aborted":         func(w http.ResponseWriter, _ *http.Request) { flushed(w); panic(http.ErrAbortHandler) },
		"aborted at once": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"gzip": func(w http.ResponseWriter, _ *http.Request) {
			set(w, "Content-Encoding", "gzip")
			_, _ = io.WriteString(w, "no")
		},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				for server, network := range map[string]*memoryNetwork{
					"engine": startServer(t, answer).network, "net/http": startStandard(t, answer),
				} {
					want := call(newClient(t, network, nil), directRequest(t.Context(), "body")).String()
					if got := call(directClient{newClient(t, network, nil)}, directRequest(t.Context(), "body")).String(); got != want {
						t.Errorf("%s: got\n%s\nwant\n%s", server, got, want)
					}
				}
			})
		})
	}
}

// TestDirectCut cuts the connection at each byte of a response.
func TestDirectCut(t *testing.T) {
	for name, whole := range scripts() {
		if name == "gzip" {
			continue // nobody inflates it
		}
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				for n := range len(whole) + 1 {
					s, client := newFake(t, nil)
					done := begin(directClient{client}, directRequest(t.Context(), "body"))
					nc := s.silent()
					awaitHeaders(t, nc)
					_, _ = nc.Write(whole[:n])
					if n%2 == 0 {
						_ = nc.CloseWrite()
					} else {
						settle() // or else what was sent would be lost
						_ = nc.Close()
					}
					o := receive(t, "an outcome", done)
					switch {
					case n == len(whole):
						o.want(t, 200, "hello, world")
					case o.err == nil:
						t.Errorf("after %d of %d bytes: got a response with body %q, want an error", n, len(whole), o.body)
					}
				}
			})
		})
	}
}

// TestDirectHeadRead reads the head after the end, and again: it stays what it was.
func TestDirectHeadRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
			set(w, "X", r.Header.Get("X"), "Trailer:Y", r.Header.Get("X"))
			_, _ = io.WriteString(w, "body")
		})
		transport := newClient(t, s.network, nil)
		type received struct {
			response      directResponse
			head, trailer [][2]string
		}
		target, err := transport.PrepareDirect(transport, directURL(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var all []received
		for i := range 5 {
			body, err := target.RoundTripDirect(t.Context(), [][2]string{{"x", fmt.Sprint(i / 2)}}, []byte("body"))
			if err != nil {
				t.Fatal(err)
			}
			d := body.(directResponse)
			if trailer := d.DirectTrailer(); trailer != nil && len(trailer) != 1 {
				t.Errorf("before the end: got trailers %q", trailer)
			}
			if text, err := io.ReadAll(d); string(text) != "body" || err != nil {
				t.Errorf("got body %q and error %v", text, err)
			}
			_, head, _ := d.DirectHead()
			all = append(all, received{d, slices.Clone(head), slices.Clone(d.DirectTrailer())})
			_ = d.Close()
		}
		for i, was := range all {
			status, head, length := was.response.DirectHead()
			if status != 200 || length != -1 || !reflect.DeepEqual(head, was.head) || !reflect.DeepEqual(was.response.DirectTrailer(), was.trailer) {
				t.Errorf("got %d, %q, %d and %q, want 200, %q, -1 and %q", status, head, length, was.response.DirectTrailer(), was.head, was.trailer)
			}
			if want := [2]string{"y", fmt.Sprint(i / 2)}; !slices.Equal(was.trailer, [][2]string{want}) || !slices.Contains(head, [2]string{"x", want[1]}) {
				t.Errorf("call %d: got %q and trailers %q, want x and %q", i, head, was.trailer, want)
			}
		}
	})
}
