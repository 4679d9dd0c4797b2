// SPDX-License-Identifier: Apache-2.0

// What net/http promises to handlers and to users of a RoundTripper, compared with
// net/http's own HTTP/2 over a network: the same handler and the same caller have to see
// the same.

package inprocess_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"
)

// A scene is what the caller of one case does. It returns what the caller saw.
type scene func(t *testing.T, transport http.RoundTripper) string

// post sends a body.
func post(body string) scene {
	return func(t *testing.T, transport http.RoundTripper) string {
		return outcome(transport.RoundTrip(newRequest(t, http.MethodPost, "/a", strings.NewReader(body))))
	}
}

// send makes a request that change has changed.
func send(method, path string, change func(*http.Request)) scene {
	return func(t *testing.T, transport http.RoundTripper) string {
		r := newRequest(t, method, path, nil)
		if change != nil {
			change(r)
		}
		return outcome(transport.RoundTrip(r))
	}
}

// onlyReader hides what else a body can do.
type onlyReader struct{ io.Reader }

// cases are handlers with their callers. A handler writes what it sees to seen.
var cases = map[string]struct {
	handler func(seen io.Writer, w http.ResponseWriter, r *http.Request)
	caller  scene
}{
	"request": {func(seen io.Writer, _ http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(seen, "%s %q %q %q %q %s %d %v %q %v %v ", r.Method, r.URL.String(), r.RequestURI, r.Host, r.Proto, header(r.Header), r.ContentLength, r.TransferEncoding, r.Pattern, r.TLS, r.Close)
		body, err := io.ReadAll(r.Body)
		fmt.Fprintln(seen, string(body), err)
	}, post("some text")},
	"no body": {func(seen io.Writer, _ http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(seen, r.ContentLength, header(r.Header), r.RequestURI)
	}, send("", "/a%2Fb?c=d&e", nil)},
	"no body, post": {func(seen io.Writer, _ http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(seen, r.ContentLength, header(r.Header), r.URL.RawPath, r.URL.Path)
	}, send(http.MethodPost, "/a%2Fb", func(r *http.Request) { r.Body = http.NoBody })},
	"unknown length": {func(seen io.Writer, _ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintln(seen, r.ContentLength, header(r.Header), string(body), err)
	}, send(http.MethodPut, "/", func(r *http.Request) { r.Body = io.NopCloser(onlyReader{strings.NewReader("unknown")}) })},
	"fields": {func(seen io.Writer, _ http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(seen, r.Host, header(r.Header))
	}, send("", "/", func(r *http.Request) {
		r.Host = "other.test"
		r.Header = http.Header{"x-lower": {"1", "2"}, "Cookie": {"a=b", "c=d"}, "Te": {"trailers"}, "Connection": {"close"},
			"Keep-Alive": {"1"}, "User-Agent": {""}, "Empty": {""}, "Content-Length": {"7"}, "Host": {"x"}}
	})},
	"agent": {func(seen io.Writer, _ http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(seen, header(r.Header))
	}, send("", "/", func(r *http.Request) { r.Header["User-Agent"] = []string{"one", "two"} })},
	"request trailers": {func(seen io.Writer, _ http.ResponseWriter, r *http.Request) {
		fmt.Fprint(seen, header(r.Header), header(r.Trailer))
		_, err := io.ReadAll(r.Body)
		fmt.Fprintln(seen, err, header(r.Trailer))
	}, send(http.MethodPost, "/", func(r *http.Request) {
		r.Trailer = http.Header{"X-Sum": nil}
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader("body"), readerFunc(func([]byte) (int, error) {
			r.Trailer["X-Sum"] = []string{"4"}
			return 0, io.EOF
		})))
	})},
	"nothing written": {func(io.Writer, http.ResponseWriter, *http.Request) {}, post("x")},
	"sniffed": {func(_ io.Writer, w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "<html>")
	}, post("x")},
	"sniffed, large": {func(_ io.Writer, w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte("<html>"), 30_000))
	}, post("x")},
	"nothing added": {func(_ io.Writer, w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"], w.Header()["Date"] = nil, nil
		fmt.Fprint(w, "text")
	}, post("x")},
	"encoded": {func(_ io.Writer, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "x")
		fmt.Fprint(w, "text")
	}, post("x")},
	"fields of the response": {func(_ io.Writer, w http.ResponseWriter, _ *http.Request) {
		w.Header()["x-lower"] = []string{"1"}
		w.Header()["Set-Cookie"] = []string{"a=b", "c=d"}
		w.Header().Set("Bad", "a\x00b")
		w.Header().Set("Bad name", "a")
		w.WriteHeader(http.StatusTeapot)
		w.Header().Set("Late", "1")
		_, _ = io.WriteString(w, "tea")
		w.WriteHeader(http.StatusOK)
	}, post("x")},
	"no content": {func(seen io.Writer, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		_, err := w.Write([]byte("x"))
		fmt.Fprintln(seen, errors.Is(err, http.ErrBodyNotAllowed))
	}, post("x")},
	"not modified": {func(_ io.Writer, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Etag", `"a"`)
		w.WriteHeader(http.StatusNotModified)
	}, send("", "/", nil)},
	"head": {func(_ io.Writer, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "4")
		w.Header().Set("Content-Type", "a/b")
		fmt.Fprint(w, "text")
	}, send(http.MethodHead, "/", nil)},
	"head, nothing": {func(io.Writer, http.ResponseWriter, *http.Request) {}, send(http.MethodHead, "/", nil)},
	"length": {func(_ io.Writer, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "4")
		fmt.Fprint(w, "text")
	}, post("x")},
	"too short": {func(_ io.Writer, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "9")
		fmt.Fprint(w, "text")
		_ = http.NewResponseController(w).Flush()
	}, post("x")},
	"trailers": {func(_ io.Writer, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum, X-None")
		w.Header()["Content-Length"] = nil // net/http would add one, and package h2 does not
		fmt.Fprint(w, "text")
		w.Header().Set("X-Sum", "4")
		w.Header().Set(http.TrailerPrefix+"X-More", "5")
	}, post("x")},
	"trailers alone": {func(_ io.Writer, w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Length"] = nil
		w.Header().Set(http.TrailerPrefix+"X-More", "5")
	}, post("x")},
	"controller": {func(seen io.Writer, w http.ResponseWriter, _ *http.Request) {
		rc := http.NewResponseController(w)
		_, _, err := rc.Hijack()
		fmt.Fprintln(seen, errors.Is(err, http.ErrNotSupported), rc.EnableFullDuplex(), rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{}), rc.Flush())
	}, post("x")},
	"read deadline": {func(seen io.Writer, w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(-time.Second))
		_, err := io.ReadAll(r.Body)
		fmt.Fprintln(seen, kindOf(err))
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Hour))
		_, err = io.ReadAll(r.Body)
		fmt.Fprintln(seen, kindOf(err))
	}, func(t *testing.T, transport http.RoundTripper) string {
		body, end := io.Pipe()
		defer end.Close()
		return outcome(transport.RoundTrip(newRequest(t, http.MethodPost, "/", body)))
	}},
	"write deadline": {func(seen io.Writer, w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.Flush()
		_, _ = io.ReadAll(r.Body)
		_ = rc.SetWriteDeadline(time.Now().Add(-time.Second))
		for {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	}, afterHead},
	"panic": {func(_ io.Writer, w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "text")
		panic("some reason")
	}, post("x")},
	"panic after a flush": {func(_ io.Writer, w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"] = nil
		fmt.Fprint(w, "text")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.ReadAll(r.Body)
		panic(http.ErrAbortHandler)
	}, afterHead},
	"early answer": {func(_ io.Writer, w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "early")
	}, func(t *testing.T, transport http.RoundTripper) string {
		body, end := io.Pipe()
		o := outcome(transport.RoundTrip(newRequest(t, http.MethodPost, "/", body)))
		for { // until the transport has closed the body
			if _, err := end.Write([]byte("x")); err != nil {
				return fmt.Sprint(o, err)
			}
		}
	}},
	"body closed by the handler": {func(seen io.Writer, w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(seen, r.Body.Close())
		_, err := r.Body.Read(make([]byte, 1))
		fmt.Fprintln(seen, err != nil)
		_ = http.NewResponseController(w).Flush()
	}, func(t *testing.T, transport http.RoundTripper) string {
		return outcome(transport.RoundTrip(newRequest(t, http.MethodPost, "/", onlyReader{strings.NewReader(strings.Repeat("x", 1<<20))})))
	}},
	"body fails": {func(seen io.Writer, _ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		fmt.Fprintln(seen, kindOf(err))
		<-r.Context().Done()
	}, send(http.MethodPost, "/", func(r *http.Request) {
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader("some"), readerFunc(func([]byte) (int, error) { return 0, errors.New("disk full") })))
	})},
	"body longer than its length": {func(_ io.Writer, _ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		<-r.Context().Done()
	}, send(http.MethodPost, "/", func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(onlyReader{strings.NewReader("text")}), 3
	})},
	"ping-pong": {func(_ io.Writer, w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.Flush()
		b := make([]byte, 100)
		for {
			n, err := r.Body.Read(b)
			_, _ = w.Write(b[:n])
			_ = rc.Flush()
			if err != nil {
				return
			}
		}
	}, func(t *testing.T, transport http.RoundTripper) string {
		body, end := io.Pipe()
		r, err := transport.RoundTrip(newRequest(t, http.MethodPost, "/", body))
		if err != nil {
			return outcome(r, err)
		}
		var got []byte
		for i := range 50 {
			fmt.Fprintf(end, "message %02d", i)
			b := make([]byte, 10)
			_, err := io.ReadFull(r.Body, b)
			got = fmt.Append(got, string(b), err)
		}
		_ = end.Close()
		return string(got) + outcome(r, nil)
	}},
	"informational": {func(_ io.Writer, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		w.WriteHeader(http.StatusProcessing)
		fmt.Fprint(w, "text")
	}, traced(false)},
	"continue": {func(seen io.Writer, w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(seen, header(r.Header))
		body, err := io.ReadAll(r.Body)
		fmt.Fprintln(seen, string(body), err)
	}, traced(true)},
	"context": {func(seen io.Writer, _ http.ResponseWriter, r *http.Request) {
		_, limited := r.Context().Deadline()
		fmt.Fprintln(seen, r.Context().Value(valueKey{}), limited, r.Context().Value(http.LocalAddrContextKey) != nil)
	}, func(t *testing.T, transport http.RoundTripper) string {
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), valueKey{}, "secret"), time.Hour)
		defer cancel()
		return outcome(transport.RoundTrip(newRequest(t, "", "/", nil).WithContext(ctx)))
	}},
	"bad request: URL":     {nil, send("", "/", func(r *http.Request) { r.URL = nil })},
	"bad request: scheme":  {nil, send("", "/", func(r *http.Request) { r.URL.Scheme = "ftp" })},
	"bad request: host":    {nil, send("", "/", func(r *http.Request) { r.URL.Host = "" })},
	"bad request: header":  {nil, send("", "/", func(r *http.Request) { r.Header = nil })},
	"bad request: method":  {nil, send("", "/", func(r *http.Request) { r.Method = "a b" })},
	"bad request: field":   {nil, send("", "/", func(r *http.Request) { r.Header["a b"] = []string{"c"} })},
	"bad request: value":   {nil, send("", "/", func(r *http.Request) { r.Header["A"] = []string{"c\n"} })},
	"bad request: trailer": {nil, send("", "/", func(r *http.Request) { r.Trailer = http.Header{"a b": nil} })},
	"bad request: path":    {nil, send("", "/", func(r *http.Request) { r.URL.Opaque = "no slash" })},
}

type valueKey struct{}

// readerFunc is a reader.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// afterHead sends a body that ends when the head of the response is there: a handler that
// has read the body can break the response, and the caller does not lose its head.
func afterHead(t *testing.T, transport http.RoundTripper) string {
	body, end := io.Pipe()
	response, err := transport.RoundTrip(newRequest(t, http.MethodPost, "/", body))
	_ = end.Close()
	return outcome(response, err)
}

// traced notes the informational responses.
func traced(expects bool) scene {
	return func(t *testing.T, transport http.RoundTripper) string {
		var mu sync.Mutex
		var seen strings.Builder
		note := func(format string, args ...any) error {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(&seen, format+"; ", args...)
			return nil
		}
		r := newRequest(t, http.MethodPost, "/", onlyReader{strings.NewReader("body")})
		if expects {
			r.Header.Set("Expect", "100-continue")
		}
		o := outcome(transport.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				return note("%d %s", code, header(http.Header(h)))
			},
		}))))
		mu.Lock()
		defer mu.Unlock()
		return seen.String() + o
	}
}

// TestLikeHTTP2 compares what handlers and callers see.
func TestLikeHTTP2(t *testing.T) {
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			play := func(transportTo func(http.Handler) http.RoundTripper) string {
				var seen strings.Builder
				returned := make(chan struct{})
				transport := transportTo(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer close(returned)
					c.handler(&seen, w, r)
				}))
				o := c.caller(t, transport)
				if c.handler == nil {
					return o
				}
				<-returned
				return "caller: " + o + "\nhandler: " + seen.String()
			}
			got := play(func(h http.Handler) http.RoundTripper { return withoutLog(h) })
			want := play(func(h http.Handler) http.RoundTripper { return overHTTP2(t, h) })
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
