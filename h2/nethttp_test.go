// SPDX-License-Identifier: Apache-2.0

// What net/http promises on HTTP/2, side by side: each case runs with net/http on
// both ends and then with the engine on either or both of them, and what handler
// and client can see must be the same.

package h2_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
)

// A promise is a handler and requests to it.
type promise struct {
	name    string
	handler func(*notes, http.ResponseWriter, *http.Request)
	// configure changes the server before it serves; nil for none.
	configure func(*notes, *http.Server)
	// client makes the requests; nil for a single GET of "/".
	client func(*visit)
	// differs is what the engine does otherwise, on purpose and with a reason
	// beside it: it changes what net/http shows into what is wanted. server and
	// client say where the engine is.
	differs func(want string, server, client bool) string
}

// notes are what a case shows, on the server's side and on the client's.
type notes struct {
	mu             sync.Mutex
	server, client []string
	quiet          bool          // writes are not noted
	done           chan struct{} // has an element for each handler that has returned
	proxy          http.Handler  // of the case that has one
}

// add notes something on the server's side.
func (n *notes) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.server = append(n.server, fmt.Sprintf(format, args...))
}

// Write takes what a server logs. A superfluous WriteHeader is logged by the engine,
// as by net/http with HTTP/1.1, an invalid trailer by net/http.
func (n *notes) Write(p []byte) (int, error) {
	line, _, _ := strings.Cut(string(p), "\n")
	switch {
	case strings.Contains(line, "superfluous"), strings.Contains(line, "invalid trailer"):
	case strings.Contains(line, "panic"):
		n.add("logged: a panic")
	default:
		n.add("logged: %s", line)
	}
	return len(p), nil
}

// A visit is the client's part of a case.
type visit struct {
	t     *testing.T
	ctx   context.Context
	http  *http.Client
	notes *notes
}

// add notes something on the client's side.
func (v *visit) add(format string, args ...any) {
	v.notes.mu.Lock()
	defer v.notes.mu.Unlock()
	v.notes.client = append(v.notes.client, fmt.Sprintf(format, args...))
}

// ends has the implementation on either end: net/http or the engine.
type ends struct {
	server bool   // the engine
	client string // "net/http", "own" or "within"
}

func (e ends) String() string {
	server := "net/http"
	if e.server {
		server = "engine"
	}
	return e.client + " to " + server
}

func TestPromises(t *testing.T) {
	for _, p := range slices.Concat(requestPromises, responsePromises, streamPromises) {
		t.Run(p.name, func(t *testing.T) {
			reference := p.run(t, ends{client: "net/http"})
			for _, e := range []ends{{true, "net/http"}, {false, "own"}, {false, "within"}, {true, "own"}} {
				got, want := p.run(t, e), reference
				if p.differs != nil {
					want = p.differs(want, e.server, e.client != "net/http")
				}
				if got != want {
					t.Errorf("%v: got\n%s\nwant, as of net/http,\n%s", e, without(got, want), without(want, got))
				}
			}
		})
	}
}

// without returns the lines of a text that another does not have.
func without(text, other string) string {
	lines := strings.Split(text, "\n")
	return strings.Join(slices.DeleteFunc(lines, func(line string) bool {
		return line != "server:" && line != "client:" && slices.Contains(strings.Split(other, "\n"), line)
	}), "\n")
}

// run runs a case and returns what it showed.
func (p promise) run(t *testing.T, e ends) string {
	t.Helper()
	n := new(notes)
	bubble(t, func(t *testing.T) {
		n.done = make(chan struct{}, 100)
		handler := func(w http.ResponseWriter, r *http.Request) {
			defer func() { n.done <- struct{}{} }()
			p.handler(n, w, r)
		}
		configure := func(server *http.Server) {
			server.ErrorLog = log.New(n, "", 0)
			if p.configure != nil {
				p.configure(n, server)
			}
		}
		network := startPromised(t, handler, configure, e.server)
		var transport http.RoundTripper
		switch e.client {
		case "own":
			transport = newClient(t, network, nil)
		case "within":
			transport = newWithin(t, network, &http.Transport{ExpectContinueTimeout: time.Second}, nil)
		default:
			standard := &http.Transport{DialContext: network.dialContext, Protocols: new(http.Protocols), ExpectContinueTimeout: time.Second}
			standard.Protocols.SetUnencryptedHTTP2(true)
			t.Cleanup(standard.CloseIdleConnections)
			transport = standard
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		v := &visit{t: t, ctx: ctx, notes: n, http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}}
		if p.client == nil {
			v.fetch(http.MethodGet, "/", nil)
		} else {
			p.client(v)
		}
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(slices.Concat([]string{"server:"}, n.server, []string{"client:"}, n.client), "\n")
}

// startPromised serves cleartext HTTP/2 until the test ends.
func startPromised(t *testing.T, handler http.HandlerFunc, configure func(*http.Server), engine bool) *memoryNetwork {
	t.Helper()
	if engine {
		return startServer(t, handler, func(server *http.Server, _ *h2.ServerConfig) { configure(server) }).network
	}
	network := newMemoryNetwork()
	server := &http.Server{Handler: handler, Protocols: new(http.Protocols)}
	server.Protocols.SetUnencryptedHTTP2(true)
	configure(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(network) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("got %v from Serve, want http.ErrServerClosed", err)
		}
	})
	return network
}

// ---- the client's part ----

// fetch makes a request, notes what comes back, and waits for the handler. Each
// edit changes the request before it is sent.
func (v *visit) fetch(method, path string, body io.Reader, edits ...func(*http.Request)) {
	v.t.Helper()
	v.do(v.request(method, path, body, edits...))
	v.wait()
}

// wait waits for the next handler to return. If none does, it notes that.
func (v *visit) wait() {
	patience := time.NewTimer(time.Second * 10)
	defer patience.Stop()
	select {
	case <-v.notes.done:
	case <-patience.C:
		v.add("no handler returned")
	}
	settle()
}

func (v *visit) request(method, path string, body io.Reader, edits ...func(*http.Request)) *http.Request {
	v.t.Helper()
	trace := &httptrace.ClientTrace{Got1xxResponse: func(status int, header textproto.MIMEHeader) error {
		v.add("informed: %d %s", status, dump(http.Header(header)))
		return nil
	}}
	r, err := http.NewRequestWithContext(httptrace.WithClientTrace(v.ctx, trace), method, serverURL+path, body)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, edit := range edits {
		edit(r)
	}
	return r
}

// do sends a request and notes what comes back.
func (v *visit) do(r *http.Request) {
	res, err := v.http.Do(r)
	if err != nil {
		v.add("no response: %s", kindOf(err))
		return
	}
	v.head(res)
	body, err := io.ReadAll(res.Body)
	v.add("body: %s, then %s", shorten(body), kindOf(err))
	v.add("trailer: %s", dump(res.Trailer))
	v.add("closed: %s", kindOf(res.Body.Close()))
}

// head notes the head of a response.
func (v *visit) head(res *http.Response) {
	v.add("%s %s, length %d, uncompressed %v, close %v, encoding %q", res.Proto, strings.TrimSpace(res.Status), res.ContentLength, res.Uncompressed, res.Close, res.TransferEncoding)
	v.add("header: %s", dump(res.Header))
	v.add("announced: %s", dump(res.Trailer))
}

// header sets a field of a request.
func header(key string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[key] = values }
}

// trailer sets a trailer of a request.
func trailer(key string, values ...string) func(*http.Request) {
	return func(r *http.Request) {
		if r.Trailer == nil {
			r.Trailer = make(http.Header)
		}
		r.Trailer[key] = values
	}
}

// onlyReader hides the methods of a reader from which its length can be found.
func onlyReader(text string) io.Reader { return io.MultiReader(strings.NewReader(text)) }

// ---- what is shown ----

var dates = regexp.MustCompile(`^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$`)

// dump shows a header in a fixed order. The current time is not of interest, only
// that it is there.
func dump(h http.Header) string {
	h = h.Clone()
	for i, date := range h["Date"] {
		if dates.MatchString(date) {
			h["Date"][i] = "a date"
		}
	}
	text, err := json.Marshal(h)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// shorten shows a body.
func shorten(body []byte) string {
	if len(body) < 100 {
		return fmt.Sprintf("%q", body)
	}
	return fmt.Sprintf("%d bytes of %q, all alike: %v", len(body), body[:1], bytes.Count(body, body[:1]) == len(body))
}

// kindOf shows an error as far as programs can tell it from others.
func kindOf(err error) string {
	var reset h2.StreamError
	var tooLarge *http.MaxBytesError
	var timeout net.Error
	switch {
	case err == nil:
		return "no error"
	case errors.As(err, &reset):
		return fmt.Sprintf("stream reset with %v", reset.Code)
	case errors.As(err, &tooLarge):
		return fmt.Sprintf("more than %d bytes", tooLarge.Limit)
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "deadline exceeded"
	}
	for _, known := range []error{
		io.ErrUnexpectedEOF, io.EOF, http.ErrBodyReadAfterClose, http.ErrContentLength, http.ErrBodyNotAllowed,
		http.ErrNotSupported, http.ErrHandlerTimeout, http.ErrAbortHandler,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "an error"
}
