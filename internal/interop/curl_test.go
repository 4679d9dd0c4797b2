// SPDX-License-Identifier: Apache-2.0

// This file calls our server with curl: Connect needs no RPC library at all.

package interop_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/url"
	"os/exec"
	"testing"

	"github.com/seed-b7c59c10/connect/internal/interop"
	"github.com/seed-b7c59c10/connect/internal/interop/ours"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

func TestCurl(t *testing.T) {
	program := findCurl(t)
	for _, tc := range []struct {
		x       transport
		flag    string
		version string
	}{
		{http1, "--http1.1", "1.1"},
		{h2c, "--http2-prior-knowledge", "2"},
		{h2tls, "--http2", "2"},
		{engineH2C, "--http2-prior-knowledge", "2"},
		{engineTLS, "--http2", "2"},
	} {
		t.Run(string(tc.x), func(t *testing.T) {
			c := curl{program: program, flag: tc.flag, version: tc.version, url: serve(t, tc.x, ours.NewHandler())}
			if tc.x.secure() {
				c.authority = authorityFile(t)
			}
			t.Run("unary", c.unary)
			t.Run("unary_proto", c.unaryProto)
			t.Run("get", c.get)
			t.Run("error", c.error)
			t.Run("unknown_procedure", c.unknownProcedure)
			t.Run("server_stream", c.serverStream)
			t.Run("client_stream", c.clientStream)
			t.Run("stream_error", c.streamError)
		})
	}
}

// findCurl fails the test when there is no curl, or one without HTTP/2: a run without it proves nothing.
func findCurl(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("curl")
	if err != nil {
		t.Fatalf("looking for curl: %v; install it (Debian: apt-get install curl), this test has no other way", err)
	}
	version, err := exec.CommandContext(t.Context(), program, "--version").Output()
	if err != nil {
		t.Fatalf("running curl --version: %v", err)
	}
	if !bytes.Contains(version, []byte("HTTP2")) {
		t.Fatalf("this curl has no HTTP/2, which the test needs; install one that has:\n%s", version)
	}
	return program
}

// curl is one way to call one server.
type curl struct {
	program string
	flag    string // selects the version of HTTP
	version string // the version that must have been spoken
	url     string
	// authority is the file of the certificate to trust, for TLS.
	authority string
}

// reply is a response as curl reports it.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// do runs curl with the input on its standard input.
func (c curl) do(t *testing.T, input []byte, args ...string) reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	args = append([]string{"--silent", "--show-error", "--noproxy", "*", c.flag,
		"--write-out", `%{stderr}{"status":%{http_code},"version":"%{http_version}","header":%{header_json}}`}, args...)
	if c.authority != "" {
		args = append(args, "--cacert", c.authority)
	}
	command := exec.CommandContext(ctx, c.program, args...)
	command.Stdin = bytes.NewReader(input)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		t.Fatalf("running curl %q: %v\n%s", args, err, stderr.Bytes())
	}
	var report struct {
		Status  int
		Version string
		Header  map[string][]string
	}
	if err := json.Unmarshal(stderr.Bytes(), &report); err != nil {
		t.Fatalf("reading curl's report %q: %v", stderr.Bytes(), err)
	}
	if report.Version != c.version {
		t.Fatalf("HTTP version: got %s, want %s", report.Version, c.version)
	}
	r := reply{status: report.Status, header: make(http.Header), body: stdout.Bytes()}
	for key, values := range report.Header {
		r.header[http.CanonicalHeaderKey(key)] = values
	}
	return r
}

// post sends the input and expects a status and a content type.
func (c curl) post(t *testing.T, procedure, kind string, input []byte, status int, wantKind string) reply {
	t.Helper()
	r := c.do(t, input, "--header", "Content-Type: "+kind, "--data-binary", "@-", c.url+procedure)
	checkReply(t, r, status, wantKind)
	return r
}

func checkReply(t *testing.T, r reply, status int, kind string) {
	t.Helper()
	if r.status != status {
		t.Fatalf("HTTP status: got %d with body %q, want %d", r.status, r.body, status)
	}
	if got := r.header.Get("Content-Type"); got != kind {
		t.Fatalf("content type: got %q, want %q", got, kind)
	}
}

func (c curl) unary(t *testing.T) {
	r := c.post(t, interop.UnaryCall, "application/json", []byte(`{"responseSize":3}`), http.StatusOK, "application/json")
	checkJSON(t, r.body, `{"payload":{"body":"AAAA"}}`)
}

func (c curl) unaryProto(t *testing.T) {
	input := []byte{0x10, 0x03} // response_size (field 2): 3
	r := c.post(t, interop.UnaryCall, "application/proto", input, http.StatusOK, "application/proto")
	if want := []byte{0x0a, 0x05, 0x12, 0x03, 0, 0, 0}; !bytes.Equal(r.body, want) { // payload (1) { body (2): 3 zeros }
		t.Errorf("body: got %x, want %x", r.body, want)
	}
}

// get reads the same message twice, as plain JSON and in URL-safe base64.
func (c curl) get(t *testing.T) {
	message := `{"payload":{"body":"AAEC"}}`
	for _, query := range []url.Values{
		{"message": {message}},
		{"message": {base64.RawURLEncoding.EncodeToString([]byte(message))}, "base64": {"1"}},
	} {
		query.Set("connect", "v1")
		query.Set("encoding", "json")
		r := c.do(t, nil, c.url+interop.CacheableUnaryCall+"?"+query.Encode())
		checkReply(t, r, http.StatusOK, "application/json")
		checkJSON(t, r.body, message)
		if got := r.header.Get("Cache-Control"); got != "max-age=60" {
			t.Errorf("cache control: got %q, want max-age=60", got)
		}
		if got := r.header.Get(interop.HTTPMethod); got != http.MethodGet {
			t.Errorf("method: got %q, want GET", got)
		}
	}
	// A procedure with side effects is not for GET.
	r := c.do(t, nil, c.url+interop.UnaryCall+"?connect=v1&encoding=json&message=%7B%7D")
	if r.status != http.StatusMethodNotAllowed {
		t.Errorf("GET of a procedure with side effects: got HTTP status %d, want %d", r.status, http.StatusMethodNotAllowed)
	}
	if got := r.header.Get("Allow"); got != http.MethodPost {
		t.Errorf("allow: got %q, want POST", got)
	}
}

func (c curl) error(t *testing.T) {
	input := []byte(`{"responseStatus":{"code":5,"message":"no such \"thing\""}}`)
	r := c.post(t, interop.UnaryCall, "application/json", input, http.StatusNotFound, "application/json")
	checkJSON(t, r.body, `{"code":"not_found","message":"no such \"thing\""}`)
	// An error to a Protobuf request is JSON too.
	raw, err := proto.Marshal(&testpb.SimpleRequest{ResponseStatus: &testpb.EchoStatus{Code: 8, Message: "full"}})
	if err != nil {
		t.Fatal(err)
	}
	r = c.post(t, interop.UnaryCall, "application/proto", raw, http.StatusTooManyRequests, "application/json")
	checkJSON(t, r.body, `{"code":"resource_exhausted","message":"full"}`)
}

// unknownProcedure sends no body: curl takes it for an error when an HTTP/2 server answers before it has read one.
func (c curl) unknownProcedure(t *testing.T) {
	r := c.do(t, nil, "--request", "POST", "--header", "Content-Type: application/json", c.url+interop.UnimplementedMethod)
	var body struct{ Code string }
	if err := json.Unmarshal(r.body, &body); err != nil || body.Code != "unimplemented" {
		t.Errorf("body: got %q (%v), want a JSON error with code \"unimplemented\"", r.body, err)
	}
}

// serverStream compares every byte of a Protobuf stream: two messages and the end.
func (c curl) serverStream(t *testing.T) {
	raw, err := proto.Marshal(output(1, 2))
	if err != nil {
		t.Fatal(err)
	}
	kind := "application/connect+proto"
	r := c.post(t, interop.StreamingOutputCall, kind, envelope(0, raw), http.StatusOK, kind)
	want := bytes.Join([][]byte{
		envelope(0, []byte{0x0a, 0x03, 0x12, 0x01, 0}),    // payload (1) { body (2): 1 zero }
		envelope(0, []byte{0x0a, 0x04, 0x12, 0x02, 0, 0}), // payload (1) { body (2): 2 zeros }
		envelope(2, []byte("{}")),
	}, nil)
	if !bytes.Equal(r.body, want) {
		t.Errorf("body: got %q, want %q", r.body, want)
	}
}

// clientStream sends two JSON messages in one body and expects one and the end.
func (c curl) clientStream(t *testing.T) {
	input := append(envelope(0, []byte(`{"payload":{"body":"AAAA"}}`)), envelope(0, []byte(`{"payload":{"body":"AA=="}}`))...)
	kind := "application/connect+json"
	r := c.post(t, interop.StreamingInputCall, kind, input, http.StatusOK, kind)
	flags, message, rest := cut(t, r.body)
	if flags != 0 {
		t.Errorf("flags of the message: got %#x, want 0", flags)
	}
	checkJSON(t, message, `{"aggregatedPayloadSize":4}`)
	checkEndOfStream(t, rest, `{}`)
}

// streamError expects an error at the end of a stream, under HTTP status 200.
func (c curl) streamError(t *testing.T) {
	request := output(1)
	request.ResponseStatus = &testpb.EchoStatus{Code: 10, Message: "half way"}
	raw, err := protojson.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	kind := "application/connect+json"
	r := c.post(t, interop.StreamingOutputCall, kind, envelope(0, raw), http.StatusOK, kind)
	flags, message, rest := cut(t, r.body)
	if flags != 0 {
		t.Errorf("flags of the message: got %#x, want 0", flags)
	}
	checkJSON(t, message, `{"payload":{"body":"AA=="}}`)
	checkEndOfStream(t, rest, `{"error":{"code":"aborted","message":"half way"}}`)
}

// envelope is one frame of a Connect stream.
func envelope(flags byte, data []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(data))), data...)
}

// cut is the inverse of envelope: the first frame, and the bytes after it.
func cut(t *testing.T, body []byte) (flags byte, data, rest []byte) {
	t.Helper()
	if len(body) < 5 {
		t.Fatalf("body %q is too short for an envelope", body)
	}
	size := binary.BigEndian.Uint32(body[1:])
	if uint64(len(body)) < 5+uint64(size) {
		t.Fatalf("envelope: got %d bytes after the prefix, want %d", len(body)-5, size)
	}
	return body[0], body[5 : 5+size], body[5+size:]
}

func checkEndOfStream(t *testing.T, body []byte, want string) {
	t.Helper()
	flags, data, rest := cut(t, body)
	if flags != 2 || len(rest) != 0 {
		t.Errorf("end of stream: got flags %#x and %d bytes after it, want 0x2 and none", flags, len(rest))
	}
	checkJSON(t, data, want)
}

// checkJSON compares JSON up to white space, which Protobuf's encoder varies on purpose.
func checkJSON(t *testing.T, body []byte, want string) {
	t.Helper()
	var got bytes.Buffer
	if err := json.Compact(&got, body); err != nil {
		t.Fatalf("body %q is no JSON: %v", body, err)
	}
	if got.String() != want {
		t.Errorf("JSON: got %s, want %s", got.String(), want)
	}
}
