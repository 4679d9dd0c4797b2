// SPDX-License-Identifier: Apache-2.0

// The cases of TestPromises about responses: heads, bodies and trailers.

package h2_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// answering is a case that only differs from others in the handler. It is asked
// with GET and with HEAD.
func answering(name string, handler func(*notes, http.ResponseWriter)) promise {
	return promise{
		name: name,
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			// net/http lets writes fail once the head of an answer to HEAD was sent.
			n.quiet = r.Method == http.MethodHead
			handler(n, w)
		},
		client: func(v *visit) {
			v.fetch(http.MethodGet, "/", nil)
			v.fetch(http.MethodHead, "/", nil)
		},
	}
}

// trailing is answering with trailers. The engine sends no Content-Length then that
// the handler did not set, as net/http with HTTP/1.1; and a trailer that is set
// before the head it does not send as a header, too.
func trailing(name string, handler func(*notes, http.ResponseWriter)) promise {
	p := answering(name, handler)
	p.differs = func(want string, server, _ bool) string {
		if server {
			want = computedLength.ReplaceAllString(want, "length -1,")
			want = computedField.ReplaceAllString(want, "")
			want = strings.ReplaceAll(want, `,"X-One":["1"]}`+"\nannounced", "}\nannounced")
		}
		return want
	}
	return p
}

var (
	computedLength = regexp.MustCompile(`length [05],`)
	computedField  = regexp.MustCompile(`"Content-Length":\["[05]"\],`)
)

// writing is answering with a body and the fields before it.
func writing(name, body string, fields ...string) promise {
	return answering(name, func(n *notes, w http.ResponseWriter) {
		set(w, fields...)
		write(n, w, body)
	})
}

// sized is a promise whose response has a Content-Length, which net/http adds up to 4
// KiB and the engine up to 16 KiB.
func sized(p promise, length string) promise {
	p.differs = func(want string, server, _ bool) string {
		if server {
			want = strings.ReplaceAll(want, "length -1", "length "+length)
			want = strings.ReplaceAll(want, `header: {"Content-Type"`, `header: {"Content-Length":["`+length+`"],"Content-Type"`)
		}
		return want
	}
	return p
}

// with is answering with a status, fields, and a body unless it is empty.
func with(name string, status int, body string, fields ...string) promise {
	return answering(name, func(n *notes, w http.ResponseWriter) {
		set(w, fields...)
		w.WriteHeader(status)
		if body != "" {
			write(n, w, body)
		}
	})
}

// set adds fields, names and values in turn.
func set(w http.ResponseWriter, fields ...string) {
	for i := 0; i+1 < len(fields); i += 2 {
		w.Header()[fields[i]] = append(w.Header()[fields[i]], fields[i+1])
	}
}

func write(n *notes, w http.ResponseWriter, body string) {
	if written, err := io.WriteString(w, body); !n.quiet {
		n.add("wrote %d: %s", written, kindOf(err))
	}
}

func flush(n *notes, w http.ResponseWriter) {
	if err := http.NewResponseController(w).Flush(); !n.quiet {
		n.add("flushed: %s", kindOf(err))
	}
}

// unsuccessful notes what came of a response that is not whole, and that it is not.
// How it fails differs: net/http ends a stream that is too short, which leaves it to
// the client to count, and the engine resets it.
func unsuccessful(v *visit) {
	res, err := v.http.Do(v.request(http.MethodGet, "/", nil))
	if err == nil {
		v.head(res)
		var body []byte
		body, err = io.ReadAll(res.Body)
		v.add("body: %q", body)
		_ = res.Body.Close()
	}
	v.add("fails: %v", err != nil)
	v.wait()
}

func digits(n int) string { return strings.Repeat("0", n) }

var responsePromises = []promise{
	answering("nothing", func(*notes, http.ResponseWriter) {}),
	writing("text", "hello"),
	writing("nothing written", ""),
	writing("HTML", "<!DOCTYPE html><p>"),
	writing("PNG", "\x89PNG\x0D\x0A\x1A\x0A"),
	writing("4 KiB", digits(4<<10)),
	sized(writing("4 KiB and a byte", digits(4<<10+1)), "4097"),
	sized(writing("16 KiB", digits(16<<10)), "16384"),
	writing("16 KiB and a byte", digits(16<<10+1)),
	writing("64 KiB", digits(64<<10)),
	writing("1 MiB", digits(1<<20)),
	writing("own type", "hello", "Content-Type", "x/y"),
	writing("own encoding", "hello", "Content-Encoding", "strange"),
	writing("own length", "hello", "Content-Length", "5"),
	writing("own date", "hello", "Date", "yesterday"),
	writing("length that is none", "hello", "Content-Length", "five"),
	writing("field of a response in lower case", "hello", "x-lower", "1"),
	writing("many values", "hello", "Set-Cookie", "a=1", "Set-Cookie", "b=2", "X-Empty", ""),
	writing("value with a line break", "hello", "X-Text", "a\r\nb: c", "X-Other", "1"),
	writing("name with a space", "hello", "X Text", "1", "X-Other", "1"),
	writing("value with spaces", "hello", "X-Text", "a  b"),
	writing("value beyond ASCII", "hello", "X-Text", "ü\xff"),
	writing("pseudo field", "hello", ":status", "404"),
	with("201", http.StatusCreated, "hello", "Location", "/x"),
	with("204", http.StatusNoContent, ""),
	with("204 with a body", http.StatusNoContent, "hello"),
	with("204 with a type", http.StatusNoContent, "", "Content-Type", "x/y", "Etag", `"1"`),
	with("304", http.StatusNotModified, "", "Etag", `"1"`),
	with("304 with a body", http.StatusNotModified, "hello"),
	{
		name: "304 with a length",
		handler: func(n *notes, w http.ResponseWriter, _ *http.Request) {
			set(w, "Content-Length", "5")
			w.WriteHeader(http.StatusNotModified)
		},
		// net/http's client misses the body that a 304 never has.
		differs: func(want string, server, client bool) string {
			if client {
				want = strings.Replace(want, "unexpected EOF", "no error", 1)
			}
			return want
		},
	},
	with("404", http.StatusNotFound, "not here"),
	with("500 without a body", http.StatusInternalServerError, ""),
	with("599", 599, "hello"),
	with("999", 999, "hello"),
	answering("no date", func(n *notes, w http.ResponseWriter) { w.Header()["Date"] = nil }),
	answering("no type", func(n *notes, w http.ResponseWriter) {
		w.Header()["Content-Type"] = nil
		write(n, w, "hello")
	}),
	answering("no length", func(n *notes, w http.ResponseWriter) {
		w.Header()["Content-Length"] = nil
		write(n, w, "hello")
	}),
	answering("no length of nothing", func(n *notes, w http.ResponseWriter) { w.Header()["Content-Length"] = nil }),
	writing("empty type", "hello", "Content-Type", ""),
	writing("empty encoding", "<html>", "Content-Encoding", ""),
	writing("encoding, an empty value first", "<html>", "Content-Encoding", "", "Content-Encoding", "x"),
	answering("no encoding", func(n *notes, w http.ResponseWriter) {
		w.Header()["Content-Encoding"] = nil
		write(n, w, "<html>")
	}),
	writing("empty date", "hello", "Date", ""),
	answering("nothing by itself", func(n *notes, w http.ResponseWriter) {
		for _, key := range []string{"Content-Length", "Content-Type", "Date"} {
			w.Header()[key] = nil
		}
		write(n, w, "hello")
	}),
	answering("flush first", func(n *notes, w http.ResponseWriter) {
		flush(n, w)
		write(n, w, "hello")
	}),
	answering("flush after a part", func(n *notes, w http.ResponseWriter) {
		write(n, w, "hello ")
		flush(n, w)
		write(n, w, "world")
		flush(n, w)
	}),
	answering("flush without a body", func(n *notes, w http.ResponseWriter) {
		flush(n, w)
		flush(n, w)
	}),
	answering("flush after 204", func(n *notes, w http.ResponseWriter) {
		w.WriteHeader(http.StatusNoContent)
		flush(n, w)
	}),
	answering("two writes", func(n *notes, w http.ResponseWriter) {
		write(n, w, "<html")
		write(n, w, ">")
	}),
	answering("header after WriteHeader", func(n *notes, w http.ResponseWriter) {
		set(w, "X-Before", "1")
		w.WriteHeader(http.StatusOK)
		set(w, "X-Before", "2", "X-After", "1", "Content-Type", "x/y")
		write(n, w, "hello")
	}),
	answering("header after Write", func(n *notes, w http.ResponseWriter) {
		write(n, w, "hello")
		set(w, "X-After", "1")
	}),
	answering("header after all", func(n *notes, w http.ResponseWriter) {
		write(n, w, "hello")
		flush(n, w)
		set(w, "X-After", "1")
		n.add("header: %s", dump(w.Header()))
	}),
	answering("WriteHeader twice", func(n *notes, w http.ResponseWriter) {
		w.WriteHeader(http.StatusAccepted)
		w.WriteHeader(http.StatusTeapot)
		write(n, w, "hello")
	}),
	answering("WriteHeader after Write", func(n *notes, w http.ResponseWriter) {
		write(n, w, "hello")
		w.WriteHeader(http.StatusTeapot)
	}),
	answering("invalid statuses", func(n *notes, w http.ResponseWriter) {
		for _, status := range []int{-1, 0, 99, 1000} {
			func() {
				defer func() { n.add("%d panics: %v", status, recover()) }()
				w.WriteHeader(status)
			}()
		}
	}),
	answering("invalid statuses after the head", func(n *notes, w http.ResponseWriter) {
		w.WriteHeader(http.StatusAccepted)
		for _, status := range []int{-1, 0, 99, 1000} {
			w.WriteHeader(status)
		}
		write(n, w, "hello")
	}),
	{
		name: "one write too long",
		handler: func(n *notes, w http.ResponseWriter, _ *http.Request) {
			set(w, "Content-Length", "3")
			_, _ = io.WriteString(w, "hello")
		},
		// net/http sends what is too much, and the engine nothing of that write.
		client: func(v *visit) {
			res, err := v.http.Do(v.request(http.MethodGet, "/", nil))
			if err == nil {
				_, err = io.ReadAll(res.Body)
				_ = res.Body.Close()
			}
			v.add("fails: %v", err != nil)
			v.wait()
		},
	},
	{
		name: "in pieces too long",
		handler: func(n *notes, w http.ResponseWriter, _ *http.Request) {
			set(w, "Content-Length", "6")
			write(n, w, "hello")
			write(n, w, "!")
			flush(n, w)
			_, err := io.WriteString(w, "!")
			n.add("fails: %v", err != nil)
		},
		client: func(v *visit) {
			res, err := v.http.Do(v.request(http.MethodGet, "/", nil))
			if err != nil {
				v.add("no response: %s", kindOf(err))
				return
			}
			v.head(res)
			body, _ := io.ReadAll(res.Body) // net/http sends the byte too much, and fails here
			v.add("body: %q", body)
			_ = res.Body.Close()
			v.wait()
		},
	},
	{
		name: "too short for its length",
		handler: func(n *notes, w http.ResponseWriter, _ *http.Request) {
			set(w, "Content-Length", "6")
			write(n, w, "hello")
		},
		client: unsuccessful,
	},
	{
		name: "too short for its length, flushed",
		handler: func(n *notes, w http.ResponseWriter, _ *http.Request) {
			set(w, "Content-Length", "12")
			write(n, w, "hello")
			flush(n, w)
			write(n, w, "world")
		},
		client: unsuccessful,
	},
	{
		name: "too short for its length, more than a window",
		handler: func(n *notes, w http.ResponseWriter, _ *http.Request) {
			set(w, "Content-Length", "10000000")
			write(n, w, digits(100<<10))
			write(n, w, "!")
		},
		client: unsuccessful,
	},
	{
		name: "too short for its length, with trailers",
		handler: func(n *notes, w http.ResponseWriter, _ *http.Request) {
			set(w, "Content-Length", "6", http.TrailerPrefix+"X-One", "1")
			write(n, w, "hello")
		},
		client: unsuccessful,
	},
	{
		name:    "nothing for its length",
		handler: func(n *notes, w http.ResponseWriter, _ *http.Request) { set(w, "Content-Length", "6") },
		client:  unsuccessful,
	},
	answering("Connection: close", func(n *notes, w http.ResponseWriter) {
		set(w, "Connection", "close")
		write(n, w, "hello")
	}),
	answering("early hints", func(n *notes, w http.ResponseWriter) {
		set(w, "Link", "</a>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		set(w, "Link", "</b>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		set(w, "X-Final", "1")
		write(n, w, "hello")
	}),
	answering("102 and 150", func(n *notes, w http.ResponseWriter) {
		w.WriteHeader(http.StatusProcessing)
		set(w, "Content-Length", "5")
		w.WriteHeader(150)
		write(n, w, "hello")
	}),
	answering("early hints too late", func(n *notes, w http.ResponseWriter) {
		w.WriteHeader(http.StatusOK)
		w.WriteHeader(http.StatusEarlyHints)
	}),
	// ---- trailers ----
	trailing("announced trailers of a response", func(n *notes, w http.ResponseWriter) {
		set(w, "Trailer", "X-One, X-Two", "Trailer", "X-None")
		write(n, w, "hello")
		set(w, "X-One", "1", "X-One", "2", "X-Two", "3")
	}),
	trailing("trailers that are announced twice", func(n *notes, w http.ResponseWriter) {
		set(w, "Trailer", "X-One, x-one", "Trailer", "X-Two, X-One")
		write(n, w, "hello")
		set(w, "X-One", "1", "X-Two", "2")
	}),
	trailing("trailers in both ways", func(n *notes, w http.ResponseWriter) {
		set(w, "Trailer", "X-One")
		write(n, w, "hello")
		set(w, "X-One", "1", http.TrailerPrefix+"X-One", "2")
	}),
	trailing("trailers of an empty body", func(n *notes, w http.ResponseWriter) {
		set(w, "Trailer", "X-One")
		w.WriteHeader(http.StatusOK)
		set(w, "X-One", "1")
	}),
	trailing("unannounced trailers", func(n *notes, w http.ResponseWriter) {
		write(n, w, "hello")
		set(w, http.TrailerPrefix+"X-One", "1", http.TrailerPrefix+"x-lower", "2")
	}),
	trailing("unannounced trailers, set early", func(n *notes, w http.ResponseWriter) {
		set(w, http.TrailerPrefix+"X-One", "1")
		write(n, w, "hello")
		flush(n, w)
	}),
	trailing("trailers, set before the head", func(n *notes, w http.ResponseWriter) {
		set(w, "Trailer", "X-One", "X-One", "1")
		write(n, w, "hello")
	}),
	trailing("forbidden trailers", func(n *notes, w http.ResponseWriter) {
		set(w, "Trailer", "Content-Length, Transfer-Encoding, Trailer, X-One")
		write(n, w, "hello")
		set(w, "X-One", "1", http.TrailerPrefix+"Content-Length", "7", http.TrailerPrefix+"Bad Name", "1", http.TrailerPrefix+"X-Bad", "a\nb")
	}),
	trailing("trailers of a large body", func(n *notes, w http.ResponseWriter) {
		set(w, "Trailer", "X-One")
		write(n, w, digits(1<<20))
		set(w, "X-One", "1")
	}),
	trailing("trailers with 204", func(n *notes, w http.ResponseWriter) {
		set(w, "Trailer", "X-One")
		w.WriteHeader(http.StatusNoContent)
		set(w, "X-One", "1")
	}),
	// ---- helpers of net/http ----
	answering("http.Error", func(n *notes, w http.ResponseWriter) {
		set(w, "Content-Length", "100", "Etag", `"1"`)
		http.Error(w, "no", http.StatusForbidden)
	}),
	{
		name: "ServeContent",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "name.txt", time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), strings.NewReader(digits(10000)))
		},
		client: func(v *visit) {
			v.fetch(http.MethodGet, "/", nil)
			v.fetch(http.MethodHead, "/", nil)
			v.fetch(http.MethodGet, "/", nil, header("Range", "bytes=10-19"))
			v.fetch(http.MethodGet, "/", nil, header("Range", "bytes=20000-"))
			v.fetch(http.MethodGet, "/", nil, header("If-Modified-Since", "Wed, 01 Jan 2020 00:00:00 GMT"))
		},
	},
	{
		name: "Redirect",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/other?x", http.StatusSeeOther)
		},
	},
	{
		name: "gzip that the transport asked for",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			n.add("accepts %q", r.Header.Get("Accept-Encoding"))
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, _ = io.WriteString(z, digits(10000))
			_ = z.Close()
			set(w, "Content-Encoding", "gzip", "Content-Length", fmt.Sprint(b.Len()), http.TrailerPrefix+"X-One", "1")
			_, _ = w.Write(b.Bytes())
		},
	},
	{
		name: "gzip that is none",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			set(w, "Content-Encoding", "gzip")
			write(n, w, "hello")
		},
	},
	{
		name: "gzip of nothing",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			set(w, "Content-Encoding", "gzip")
			w.WriteHeader(http.StatusOK)
			flush(n, w)
		},
	},
}
