// SPDX-License-Identifier: Apache-2.0

// This file sends one HTTP request to handlers built with each library and writes down the response.

package compat

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/ours"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
	"github.com/seed-b7c59c10/connect/internal/compat/theirs"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/sourcecontextpb"
)

// serverCase is one request to one server. Zero fields: default options, POST,
// both HTTP versions.
type serverCase struct {
	name    string // begins with the checklist items, "12,55 …"
	server  script.Server
	verb    string
	path    string // below script.Service unless it begins with a slash
	header  string // lines "Key: value"
	body    string
	version string // "1.1" or "2"
	// measure adds a line on whether the server read the whole body or, when
	// server.Inflated is set, whether it inflated far more than it needed.
	measure bool
	chunked bool // the request does not say how long its body is
}

func TestServer(t *testing.T) {
	t.Parallel() // with TestEcosystem, which mostly waits for other programs
	for _, test := range serverCases() {
		t.Run(test.name, func(t *testing.T) {
			for _, version := range []string{"1.1", "2"} {
				if test.version != "" && test.version != version {
					continue
				}
				t.Run(version, func(t *testing.T) {
					want := exchange(t, version, test, serveTheirs)
					judge(t, want, exchange(t, version, test, serveOurs))
					judgeBy(t, listedOfDropIn, want, exchange(t, version, test, serveDropIn))
				})
			}
		})
	}
}

func serveTheirs(config script.Server) http.Handler { return theirs.Serve(config) }

func serveOurs(config script.Server) http.Handler { return ours.Serve(config) }

// serveDropIn returns a server whose handlers are as the drop-in's constructors make
// them.
func serveDropIn(config script.Server) http.Handler {
	return ours.Serve(config, connect.WithConnectGoBehavior())
}

// exchange serves one request and returns the transcript of the response.
func exchange(t *testing.T, version string, test serverCase, serve func(script.Server) http.Handler) []string {
	t.Helper()
	var transcript script.Transcript
	var read atomic.Int64
	finished := make(chan struct{})
	if test.server.Inflated != nil {
		test.server.Inflated = &script.Counter{}
	}
	handler := serve(test.server)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(finished)
		r.Body = &countedBody{r.Body, &read}
		handler.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // some cases make the handler panic
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()

	path := test.path
	if !strings.HasPrefix(path, "/") {
		path = script.Service + path
	}
	verb := test.verb
	if verb == "" {
		verb = http.MethodPost
	}
	var body io.Reader = strings.NewReader(test.body)
	if test.chunked {
		body = struct{ io.Reader }{body}
	}
	req, err := http.NewRequestWithContext(t.Context(), verb, server.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "compat.test" // the port differs
	req.Header = header(test.header)
	transport := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	transport.Protocols.SetHTTP1(version == "1.1")
	transport.Protocols.SetUnencryptedHTTP2(version == "2")
	defer transport.CloseIdleConnections()

	res, err := transport.RoundTrip(req)
	if err != nil {
		transcript.Add("no response")
		return transcript.Lines
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	transcript.Add("%s status %d close=%v", res.Proto, res.StatusCode, res.Close)
	// The transcript has the body, so it needs no length; and flushing decides whether there is one.
	res.Header.Del("Content-Length")
	writeHeader(&transcript, "header", res.Header)
	contentType := res.Header.Get("Content-Type")
	compression := res.Header.Get("Content-Encoding")
	if strings.HasPrefix(contentType, "application/grpc") {
		compression = res.Header.Get("Grpc-Encoding")
	} else if strings.HasPrefix(contentType, "application/connect+") {
		compression = res.Header.Get("Connect-Content-Encoding")
	}
	writeBody(&transcript, contentType, compression, answer)
	writeHeader(&transcript, "trailer", res.Trailer)
	if err != nil {
		transcript.Add("body cut off")
	}
	if test.measure {
		<-finished
		if test.server.Inflated == nil {
			transcript.Add("read whole body: %v", read.Load() >= int64(len(test.body)))
		} else {
			transcript.Add("inflated over 1 MiB: %v", test.server.Inflated.N > 1<<20)
		}
	}
	return transcript.Lines
}

// countedBody counts what is read from a request body.
type countedBody struct {
	io.ReadCloser
	read *atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read.Add(int64(n))
	return n, err
}

// header parses lines "Key: value"; keys keep their canonical form.
func header(lines string) http.Header {
	parsed := make(http.Header)
	for line := range strings.Lines(lines) {
		key, value, found := strings.Cut(strings.TrimSpace(line), ":")
		if found {
			parsed.Add(key, strings.TrimPrefix(value, " "))
		}
	}
	return parsed
}

// message returns the binary form of the message with a text.
func message(text string) string {
	data, err := proto.Marshal(&sourcecontextpb.SourceContext{FileName: text})
	if err != nil {
		panic(err)
	}
	return string(data)
}

// jsonMessage returns the JSON form of the message with a text.
func jsonMessage(text string) string { return fmt.Sprintf(`{"fileName":%q}`, text) }

// envelope frames a payload.
func envelope(flags byte, payload string) string {
	prefix := []byte{flags, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(prefix[1:], uint32(len(payload)))
	return string(prefix) + payload
}

// gzipped compresses data.
func gzipped(data string) string {
	var b bytes.Buffer
	writer := gzip.NewWriter(&b)
	// Writing to a bytes.Buffer does not fail.
	_, _ = io.WriteString(writer, data)
	_ = writer.Close()
	return b.String()
}

// reversed returns data in the compression "reverse".
func reversed(data string) string {
	var b strings.Builder
	for i := len(data) - 1; i >= 0; i-- {
		b.WriteByte(data[i])
	}
	return b.String()
}

func base64url(data string) string { return base64.RawURLEncoding.EncodeToString([]byte(data)) }
