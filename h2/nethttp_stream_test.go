// SPDX-License-Identifier: Apache-2.0

// The cases of TestPromises about exchanges: both directions at once, deadlines,
// ends that come early, and the middleware of net/http.

package h2_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"
)

// half notes the head of a response and returns its body, for cases that end in
// the middle.
func (v *visit) half(r *http.Request) io.ReadCloser {
	res, err := v.http.Do(r)
	if err != nil {
		v.add("no response: %s", kindOf(err))
		return http.NoBody
	}
	v.head(res)
	return res.Body
}

// take notes the next n bytes of a body.
func (v *visit) take(body io.Reader, n int) {
	b := make([]byte, n)
	m, err := io.ReadFull(body, b)
	v.add("took %s: %s", shorten(b[:m]), kindOf(err))
}

var streamPromises = []promise{
	{
		name: "ping-pong",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			n.add("full duplex: %s", kindOf(http.NewResponseController(w).EnableFullDuplex()))
			flush(n, w)
			b := make([]byte, 4)
			for {
				if _, err := io.ReadFull(r.Body, b); err != nil {
					n.add("read: %s", kindOf(err))
					return
				}
				write(n, w, strings.ToUpper(string(b)))
				flush(n, w)
			}
		},
		client: func(v *visit) {
			reader, writer := io.Pipe()
			body := v.half(v.request(http.MethodPost, "/", reader))
			for _, text := range []string{"ping", "pong", "last"} {
				_, err := io.WriteString(writer, text)
				v.add("sent: %s", kindOf(err))
				v.take(body, 4)
			}
			_ = writer.Close()
			v.take(body, 1)
			v.wait()
			_ = body.Close()
		},
	},
	{
		name: "100-continue, read",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			n.add("expects %q", r.Header.Get("Expect"))
			body, err := io.ReadAll(r.Body)
			n.add("read %q: %s", body, kindOf(err))
		},
		client: func(v *visit) { v.fetch(http.MethodPost, "/", known("hello")(), header("Expect", "100-continue")) },
	},
	{
		name: "100-continue, sent by the handler",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusContinue)
			body, err := io.ReadAll(r.Body)
			n.add("read %q: %s", body, kindOf(err))
		},
		client: func(v *visit) { v.fetch(http.MethodPost, "/", known("hello")(), header("Expect", "100-continue")) },
	},
	{
		name: "100-continue, refused",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			http.Error(w, "no", http.StatusExpectationFailed)
		},
		client: func(v *visit) { v.fetch(http.MethodPost, "/", known("hello")(), header("Expect", "100-continue")) },
	},
	{
		name:    "answer before the body",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) { write(n, w, "enough") },
		client: func(v *visit) {
			reader, writer := io.Pipe()
			defer writer.Close()
			v.fetch(http.MethodPost, "/", reader)
		},
	},
	{
		name: "the client leaves",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			write(n, w, "hello")
			flush(n, w)
			<-r.Context().Done()
			n.add("context: %s", kindOf(r.Context().Err()))
			_, err := w.Write(make([]byte, 100<<10))
			n.add("write fails: %v", err != nil)
		},
		client: func(v *visit) {
			ctx, cancel := context.WithCancel(v.ctx)
			defer cancel()
			body := v.half(v.request(http.MethodGet, "/", nil).WithContext(ctx))
			v.take(body, 5)
			cancel()
			v.take(body, 1)
			v.wait()
			_ = body.Close()
		},
	},
	{
		name: "the client closes the body",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 10<<10)); err != nil {
					n.add("context: %s", kindOf(r.Context().Err()))
					return
				}
			}
		},
		client: func(v *visit) {
			body := v.half(v.request(http.MethodGet, "/", nil))
			v.add("closed: %s", kindOf(body.Close()))
			v.wait()
		},
	},
	{
		name: "the client has a deadline",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			n.add("context: %s", kindOf(r.Context().Err()))
		},
		client: func(v *visit) {
			ctx, cancel := context.WithTimeout(v.ctx, time.Second)
			defer cancel()
			v.do(v.request(http.MethodGet, "/", nil).WithContext(ctx))
			v.wait()
		},
	},
	{
		name: "the client's body fails",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			n.add("read: %s", kindOf(err))
			n.add("context: %s", kindOf(r.Context().Err()))
		},
		client: func(v *visit) {
			reader, writer := io.Pipe()
			go func() {
				_, _ = io.WriteString(writer, "hello")
				_ = writer.CloseWithError(io.ErrUnexpectedEOF)
			}()
			v.fetch(http.MethodPost, "/", reader)
		},
	},
	{
		name: "the client's body is too short",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			n.add("read fails: %v", err != nil)
		},
		client: func(v *visit) {
			r := v.request(http.MethodPost, "/", onlyReader("hello"), func(r *http.Request) { r.ContentLength = 6 })
			if res, err := v.http.Do(r); err == nil { // whether there is a response is a matter of who is faster
				_ = res.Body.Close()
			}
			v.wait()
		},
	},
	// ---- deadlines ----
	{
		name: "read deadline",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			n.add("set: %s", kindOf(http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Second))))
			_, err := r.Body.Read(make([]byte, 1))
			n.add("read: %s", kindOf(err))
			write(n, w, "too late")
		},
		client: func(v *visit) {
			reader, writer := io.Pipe()
			defer writer.Close()
			v.fetch(http.MethodPost, "/", reader)
		},
	},
	{
		name: "read deadline that is over, then moved",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			controller := http.NewResponseController(w)
			n.add("set: %s", kindOf(controller.SetReadDeadline(time.Now().Add(-time.Second))))
			n.add("set: %s", kindOf(controller.SetWriteDeadline(time.Now().Add(time.Hour))))
			n.add("set: %s", kindOf(controller.SetWriteDeadline(time.Time{})))
			_, err := r.Body.Read(make([]byte, 1))
			n.add("read: %s", kindOf(err))
			n.add("context: %s", kindOf(r.Context().Err()))
		},
		client: func(v *visit) {
			reader, writer := io.Pipe()
			defer writer.Close()
			v.fetch(http.MethodPost, "/", reader)
		},
	},
	{
		name: "write deadline",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			n.add("set: %s", kindOf(http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Second))))
			write(n, w, "hello")
			flush(n, w)
			time.Sleep(2 * time.Second)
			_, err := w.Write(make([]byte, 100<<10))
			n.add("write fails: %v", err != nil)
			n.add("context: %s", kindOf(r.Context().Err()))
		},
	},
	{
		name: "read deadline that has passed, then moved",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			controller := http.NewResponseController(w)
			n.add("set: %s", kindOf(controller.SetReadDeadline(time.Now().Add(time.Second))))
			for _, later := range []time.Time{{}, time.Now().Add(time.Hour)} {
				_, err := r.Body.Read(make([]byte, 1))
				n.add("read: %s", kindOf(err))
				n.add("set: %s", kindOf(controller.SetReadDeadline(later)))
			}
			_, err := r.Body.Read(make([]byte, 1))
			n.add("read: %s", kindOf(err))
		},
		client: func(v *visit) {
			reader, writer := io.Pipe()
			defer writer.Close()
			v.fetch(http.MethodPost, "/", reader)
		},
	},
	{
		name: "read deadline in the past, then moved",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			controller := http.NewResponseController(w)
			n.add("set: %s", kindOf(controller.SetReadDeadline(time.Now().Add(-time.Second))))
			n.add("set: %s", kindOf(controller.SetReadDeadline(time.Time{})))
			_, err := r.Body.Read(make([]byte, 1))
			n.add("read: %s", kindOf(err))
		},
		client: func(v *visit) {
			reader, writer := io.Pipe()
			defer writer.Close()
			v.fetch(http.MethodPost, "/", reader)
		},
	},
	{
		name: "read deadline that has passed, of a body that is whole",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			n.add("set: %s", kindOf(http.NewResponseController(w).SetReadDeadline(time.Now().Add(-time.Second))))
			body, err := io.ReadAll(r.Body)
			n.add("read: %s, then %s", shorten(body), kindOf(err))
		},
		client: func(v *visit) { v.fetch(http.MethodPost, "/", strings.NewReader("whole")) },
	},
	{
		name: "write deadline in the past",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			controller := http.NewResponseController(w)
			n.add("set: %s", kindOf(controller.SetWriteDeadline(time.Now().Add(-time.Second))))
			n.add("set: %s", kindOf(controller.SetWriteDeadline(time.Time{})))
			_, err := w.Write(make([]byte, 100<<10))
			n.add("write fails: %v", err != nil)
			n.add("flush fails: %v", controller.Flush() != nil)
		},
	},
	{
		name: "write deadline that has passed, then moved",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			controller := http.NewResponseController(w)
			n.add("set: %s", kindOf(controller.SetWriteDeadline(time.Now().Add(time.Second))))
			time.Sleep(2 * time.Second)
			n.add("set: %s", kindOf(controller.SetWriteDeadline(time.Time{})))
			_, err := w.Write(make([]byte, 100<<10))
			n.add("write fails: %v", err != nil)
		},
	},
	// ---- panics ----
	{
		name:    "ErrAbortHandler",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
	},
	{
		name: "ErrAbortHandler in the middle",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			write(n, w, "hello")
			flush(n, w)
			panic(http.ErrAbortHandler)
		},
	},
	{
		name:    "panic",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) { panic("on purpose") },
		client: func(v *visit) {
			v.fetch(http.MethodGet, "/", nil)
			v.fetch(http.MethodGet, "/", nil) // the connection goes on
		},
	},
	{
		name: "Connection: close ends the connection",
		configure: func(n *notes, server *http.Server) {
			server.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew || state == http.StateClosed {
					n.add("now %v", state)
				}
			}
		},
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) { set(w, "Connection", "close") },
		client: func(v *visit) {
			for range 2 {
				v.fetch(http.MethodGet, "/", nil)
				time.Sleep(10 * time.Second)
			}
		},
	},
	// ---- what a ResponseWriter is ----
	{
		name: "interfaces",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			_, flusher := w.(http.Flusher)
			_, hijacker := w.(http.Hijacker)
			_, text := w.(io.StringWriter)
			n.add("Flusher %v, Hijacker %v, StringWriter %v", flusher, hijacker, text)
			_, _, err := http.NewResponseController(w).Hijack()
			n.add("hijacked: %s", kindOf(err))
			if pusher, ok := w.(http.Pusher); ok {
				n.add("pushed: %v", pusher.Push("/x", nil) == nil)
			} else {
				n.add("pushed: false")
			}
		},
	},
	// ---- middleware ----
	{
		name: "MaxBytesReader",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 10))
			n.add("read %s: %s", shorten(body), kindOf(err))
			http.Error(w, "too much", http.StatusRequestEntityTooLarge)
		},
		client: func(v *visit) {
			for _, text := range []string{"0123456789", "0123456789a", digits(1 << 20)} {
				v.fetch(http.MethodPost, "/", known(text)())
			}
		},
	},
	{
		name: "MaxBytesHandler",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			http.MaxBytesHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, err := io.Copy(w, r.Body)
				n.add("copied: %s", kindOf(err))
			}), 10).ServeHTTP(w, r)
		},
		client: func(v *visit) { v.fetch(http.MethodPost, "/", unknown("0123456789a")()) },
	},
	{
		name: "TimeoutHandler",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				set(w, "X-Inner", "1")
				if r.URL.Path == "/slow" {
					<-r.Context().Done()
					time.Sleep(time.Second)
				}
				write(n, w, "hello")
			}), time.Second, "too slow").ServeHTTP(w, r)
		},
		client: func(v *visit) {
			v.fetch(http.MethodGet, "/fast", nil)
			v.fetch(http.MethodGet, "/slow", nil)
			time.Sleep(time.Minute / 2)
		},
	},
	{
		name: "ReverseProxy",
		handler: func(n *notes, w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Forwarded-For") == "" {
				n.proxy.ServeHTTP(w, r)
				return
			}
			showRequest(n, w, r)
			set(w, "Link", "</a>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
			set(w, "Trailer", "X-One", "X-Backend", "1")
			write(n, w, "hello ")
			flush(n, w)
			write(n, w, "world")
			set(w, "X-One", "1", http.TrailerPrefix+"X-Two", "2")
		},
		client: func(v *visit) {
			v.notes.proxy = &httputil.ReverseProxy{
				Transport: v.http.Transport,
				Rewrite: func(r *httputil.ProxyRequest) {
					r.SetURL(&url.URL{Scheme: "http", Host: "server.test", Path: "/backend"})
					r.SetXForwarded()
				},
			}
			v.fetch(http.MethodGet, "/x?y", nil)
			v.wait()
			v.fetch(http.MethodPost, "/x", unknown(digits(100<<10))(), trailer("X-Request", "1"))
			v.wait()
		},
	},
}
