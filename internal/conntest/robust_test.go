// SPDX-License-Identifier: Apache-2.0

// This file tests many calls at once, and that a hostile peer harms no other call.

package conntest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// Many goroutines share one client; every call gets its own answer.
func TestConcurrentCalls(t *testing.T) {
	const callers, rounds = 20, 2
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, echo, alone).client()
		ctx := testContext(t)
		var calling sync.WaitGroup
		for i := range callers {
			calling.Go(func() {
				for j := range rounds {
					for _, k := range m.kinds() {
						want := fmt.Sprintf("%d/%d/%s/", i, j, k) + strings.Repeat("x", 37*i)
						o := call(ctx, client, k, http.Header{"Asked": {want}}, text(want))
						if o.err != nil {
							t.Errorf("%s: %v", k, o.err)
							return
						}
						if got := o.messages[0].GetText(); got != want {
							t.Errorf("%s: got %q, want %q", k, got, want)
							return
						}
					}
				}
			})
		}
		calling.Wait()
	})
}

// Some of many concurrent calls are cancelled at any point; the others do not
// notice.
func TestConcurrentCancellation(t *testing.T) {
	const callers = 10
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, echo, alone).client()
		parent := testContext(t)
		var calling sync.WaitGroup
		for i := range callers {
			calling.Go(func() {
				for _, k := range m.kinds() {
					ctx, cancel := context.WithCancel(parent)
					if i%2 == 0 {
						go cancel()
					}
					o := call(ctx, client, k, nil, &conntestv1.Request{Data: noise(1000), Count: 5})
					cancel()
					switch code := connect.CodeOf(o.err); {
					case o.err == nil:
					case i%2 == 0 && code == connect.CodeCanceled:
					default:
						t.Errorf("%s: got %v", k, o.err)
					}
				}
			})
		}
		calling.Wait()
	})
}

// --- hostile clients ---

// frame makes an envelope with any flags and any length.
func frame(flags byte, length uint32, data string) string {
	var b bytes.Buffer
	b.WriteByte(flags)
	_ = binary.Write(&b, binary.BigEndian, length)
	b.WriteString(data)
	return b.String()
}

// whole makes an honest envelope.
func whole(flags byte, data string) string { return frame(flags, uint32(len(data)), data) }

// hostileBodies are requests that no honest client sends.
var hostileBodies = map[string]string{
	"nothing":                "",
	"part of a prefix":       "\x00\x00",
	"prefix only":            frame(0, 10, ""),
	"part of a message":      frame(0, 10, "abc"),
	"endless length":         frame(0, 0xffffffff, "abc"),
	"limit exceeded":         frame(0, 1<<20, strings.Repeat("a", 1000)),
	"unknown flags":          whole(0x7c, "abc"),
	"all flags":              whole(0xff, "abc"),
	"garbage":                whole(0, "\xff\xfe\xfd\xfc"),
	"compressed garbage":     whole(1, "\x1f\x8b\xff\xff\xff\xff"),
	"end of stream":          whole(2, "{}"),
	"trailers":               whole(0x80, "grpc-status: 0\r\n"),
	"two messages":           whole(0, "") + whole(0, ""),
	"garbage after messages": whole(0, "") + "\xff\xff\xff",
}

// Whatever a client sends, the server answers or cuts that one request, and
// goes on to serve the next.
func TestHostileRequests(t *testing.T) {
	contentTypes := []string{
		"application/proto", "application/json", "application/flip", "application/connect+proto", "application/connect+json",
		"application/grpc", "application/grpc+json", "application/grpc-web+proto", "application/grpc-web+json",
	}
	runFew(t, func(t *testing.T, m mode) {
		site := m.serve(t, echo, handlerOptions(connect.WithReadMaxBytes(10_000)))
		client := site.client()
		for name, body := range hostileBodies {
			for _, contentType := range contentTypes {
				for _, k := range m.kinds() {
					for _, encoding := range []string{"", "gzip"} {
						if err := site.post(testContext(t), k, contentType, encoding, body); err != nil {
							t.Fatalf("%s as %s to %s: %v", name, contentType, k, err)
						}
					}
				}
			}
			o := call(testContext(t), client, unary, nil, text("still there?"))
			wantNil(t, o.err)
			wantEqual(t, "text after "+name, o.messages[0].GetText(), "still there?")
		}
		for _, k := range m.kinds() {
			wantNil(t, call(testContext(t), client, k, nil, text("x")).err)
		}
	}, inConnect)
}

// post sends a raw request and reads the whole answer. It fails if there is
// none: the server may refuse a request but not drop it.
func (s *site) post(ctx context.Context, k kind, contentType, encoding, body string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+k.procedure(), strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", contentType)
	for _, key := range []string{"Content-Encoding", "Connect-Content-Encoding", "Grpc-Encoding"} {
		if encoding != "" {
			r.Header.Set(key, encoding)
		}
	}
	res, err := s.httpClient().Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return fmt.Errorf("reading the answer of status %d: %w", res.StatusCode, err)
	}
	return nil
}

// Hostile headers are refused in an orderly way as well.
func TestHostileHeaders(t *testing.T) {
	headers := []http.Header{
		{"Connect-Timeout-Ms": {"-1"}}, {"Connect-Timeout-Ms": {"99999999999999999999"}}, {"Connect-Timeout-Ms": {"x", "y"}},
		{"Grpc-Timeout": {"1"}}, {"Grpc-Timeout": {"99999999999H"}}, {"Grpc-Timeout": {"H"}},
		{"Connect-Protocol-Version": {"2"}}, {"Content-Encoding": {"strange"}}, {"Grpc-Encoding": {"strange"}},
		{"Connect-Content-Encoding": {"strange"}}, {"Accept-Encoding": {";;q=,*;q=2", ","}}, {"Grpc-Accept-Encoding": {"\t ,, ;"}},
	}
	runFew(t, func(t *testing.T, m mode) {
		site := m.serve(t, echo)
		for _, header := range headers {
			for _, k := range m.kinds() {
				for _, contentType := range []string{"application/proto", "application/connect+proto", "application/grpc", "application/grpc-web"} {
					r, err := http.NewRequestWithContext(testContext(t), http.MethodPost, site.url+k.procedure(), strings.NewReader(whole(0, "")))
					wantNil(t, err)
					r.Header = header.Clone()
					r.Header.Set("Content-Type", contentType)
					res, err := site.httpClient().Do(r)
					if err != nil {
						t.Fatalf("%v to %s: %v", r.Header, k, err)
					}
					_, err = io.Copy(io.Discard, res.Body)
					wantNil(t, err)
					wantNil(t, res.Body.Close())
				}
			}
		}
		wantNil(t, call(testContext(t), site.client(), unary, nil, text("x")).err)
	}, inConnect)
}

// --- hostile servers ---

// Whatever a server answers, the client's call ends with an error that has a
// code, or with messages that the answer has.
func TestHostileResponses(t *testing.T) {
	headers := []http.Header{
		{}, {"Content-Type": {"text/html"}}, {"Content-Type": {"application/proto"}}, {"Content-Type": {"application/json"}},
		{"Content-Type": {"application/connect+proto"}}, {"Content-Type": {"application/grpc"}}, {"Content-Type": {"application/grpc-web+proto"}},
		{"Content-Type": {"application/grpc"}, "Grpc-Status": {"x"}}, {"Content-Type": {"application/grpc"}, "Grpc-Status": {"99999999999999999999"}},
		{"Content-Type": {"application/grpc"}, "Grpc-Status": {"3"}, "Grpc-Message": {"%zz%"}, "Grpc-Status-Details-Bin": {"!!!"}},
		{"Content-Type": {"application/grpc-web+proto"}, "Grpc-Encoding": {"strange"}},
		{"Content-Type": {"application/connect+proto"}, "Connect-Content-Encoding": {"gzip"}},
		{"Content-Type": {"application/proto"}, "Content-Encoding": {"gzip"}},
	}
	bodies := map[string]string{
		"JSON null":            "null",
		"JSON garbage":         `{"code": 7, "message": [], "details": {}}`,
		"end without JSON":     whole(2, "x"),
		"end with garbage":     whole(2, `{"error": 1, "metadata": []}`),
		"trailer garbage":      whole(0x80, "grpc-status\r\n: \r\n\r\ngrpc-status: x"),
		"bytes after the end":  whole(2, "{}") + "x",
		"message after an end": whole(2, "{}") + whole(0, ""),
	}
	for name, body := range hostileBodies {
		bodies[name] = body
	}
	runFew(t, func(t *testing.T, m mode) {
		type answer struct {
			status int
			header http.Header
			body   string
		}
		var current answer
		site := &site{mode: m, url: "http://nobody.test"}
		client := site.clientOn(doerFunc(func(r *http.Request) (*http.Response, error) {
			go func() { // a transport may read the request while the caller reads the response
				if r.Body != nil {
					_, _ = io.Copy(io.Discard, r.Body)
					_ = r.Body.Close()
				}
			}()
			return &http.Response{
				StatusCode: current.status, Status: http.StatusText(current.status),
				Proto: "HTTP/2.0", ProtoMajor: 2,
				Header: current.header.Clone(), Trailer: http.Header{},
				Body: io.NopCloser(strings.NewReader(current.body)), ContentLength: -1, Request: r,
			}, nil
		}))
		ctx := testContext(t)
		for _, status := range []int{200, 404} {
			for _, header := range headers {
				for name, body := range bodies {
					current = answer{status, header, body}
					for _, k := range []kind{unary, bidi} {
						o := call(ctx, client, k, nil, text("x"))
						if code := connect.CodeOf(o.err); o.err != nil && (code < connect.CodeCanceled || code > connect.CodeUnauthenticated) {
							t.Fatalf("%d %v %s to %s: got code %v (%v)", status, header, name, k, code, o.err)
						}
						if o.err == nil && status != 200 {
							t.Fatalf("%d %v %s to %s: got no error", status, header, name, k)
						}
					}
				}
			}
		}
	}, func(m mode) bool { return m.engine.name == "h2" }) // no engine runs
}
