// SPDX-License-Identifier: Apache-2.0

// The messages of calls, as golden files: go test -run Transcript -rewrite writes them.

package natstest

import (
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	natsrpc "github.com/seed-b7c59c10/connect/nats"
)

var rewrite = flag.Bool("rewrite", false, "write the golden transcripts")

// A recorder notes all messages of a NATS server. Subjects of inboxes get short names, in
// the order in which they come.
type recorder struct {
	sub      *nats.Subscription
	names    map[string]string
	text     strings.Builder
	accepted bool // there is an ACCEPT
}

func record(t *testing.T, nc *nats.Conn) *recorder {
	sub, err := nc.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	flush(t, nc)
	return &recorder{sub: sub, names: make(map[string]string)}
}

// flush waits until the NATS server has taken what a connection has sent, and the
// connection what was sent to it before.
func flush(t *testing.T, nc *nats.Conn) {
	t.Helper()
	if err := nc.FlushWithContext(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

// transcript returns the messages that have come.
func (r *recorder) transcript(t *testing.T) string {
	for {
		if n, _, err := r.sub.Pending(); err != nil {
			t.Fatal(err)
		} else if n == 0 {
			return r.text.String()
		}
		m, err := r.sub.NextMsgWithContext(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&r.text, "%s, reply %s\n", r.name(m.Subject), r.name(m.Reply))
		for _, key := range slices.Sorted(maps.Keys(m.Header)) {
			fmt.Fprintf(&r.text, "    %s: %q\n", key, m.Header[key])
		}
		r.text.WriteString("    " + strings.ReplaceAll(strings.TrimSpace(hex.Dump(m.Data)), "\n", "\n    ") + "\n")
		r.accepted = r.accepted || len(m.Data) > 0 && m.Data[0] == accept
	}
}

// name returns the name of a subject.
func (r *recorder) name(subject string) string {
	if subject == "" {
		return "none"
	}
	if !strings.HasPrefix(subject, "_INBOX.") {
		return subject
	}
	if r.names[subject] == "" {
		r.names[subject] = fmt.Sprintf("inbox %d", len(r.names)+1)
	}
	return r.names[subject]
}

func TestTranscript(t *testing.T) {
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		body    func() io.Reader
		goesOn  bool // the body is not a part of the OPEN
	}{
		"unary": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(http.TrailerPrefix+"X-Sum", "4")
			_, _ = io.Copy(w, r.Body)
		}, func() io.Reader { return strings.NewReader("text") }, false},
		"no body": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusNotFound)
		}, func() io.Reader { return nil }, false},
		"stream": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadAll(r.Body)
			w.Header().Set("Trailer", "X-Sum")
			for range 2 {
				_, _ = io.WriteString(w, "part")
				_ = http.NewResponseController(w).Flush()
			}
			w.Header().Set("X-Sum", "8")
		}, func() io.Reader { return io.MultiReader(strings.NewReader("one"), strings.NewReader("two")) }, true},
		"early answer": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "no")
		}, func() io.Reader { r, _ := io.Pipe(); return r }, true},
		"panic": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, func() io.Reader { return nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", strings.ReplaceAll(name, " ", "_")+".txt")
			for range 100 {
				got, accepted := transcribe(t, test.handler, test.body())
				if accepted && !test.goesOn {
					continue // a busy machine took so long that the server has sent an ACCEPT: once more
				}
				compare(t, file, got)
				return
			}
			t.Error("got an ACCEPT each time, want two messages")
		})
	}
}

// transcribe makes a call, and returns its messages, and whether there is an ACCEPT.
func transcribe(t *testing.T, handler http.Handler, body io.Reader) (text string, accepted bool) {
	s := startServer(t, nil)
	watcher, own, nc := dial(t, s), dial(t, s), dial(t, s)
	recorded := record(t, watcher)
	server := serve(t, own, handler, natsrpc.Services("a.B"))
	r, err := http.NewRequestWithContext(testContext(t), http.MethodPost, base+"/a.B/M?q=1", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "text/plain")
	if response, err := natsrpc.NewTransport(nc).RoundTrip(r); err == nil {
		_, _ = io.ReadAll(response.Body)
		_ = response.Body.Close()
	}
	if err := server.Shutdown(testContext(t)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*nats.Conn{own, nc, watcher} {
		flush(t, c)
	}
	return recorded.transcript(t), recorded.accepted
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got messages\n%s\nwant\n%s", got, want)
	}
}
