// SPDX-License-Identifier: Apache-2.0

// Connections that are cut at each byte of a response: never is a part taken for
// the whole.

package h2_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A script writes what a server sends to its first request.
type script struct {
	out   bytes.Buffer
	w     *http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
}

func newScript() *script {
	s := new(script)
	s.w = http2.NewFramer(&s.out, nil)
	s.w.AllowIllegalWrites = true
	s.enc = hpack.NewEncoder(&s.block)
	return s
}

func (s *script) headers(end bool, namesAndValues ...string) {
	s.block.Reset()
	for i := 0; i < len(namesAndValues); i += 2 {
		_ = s.enc.WriteField(hpack.HeaderField{Name: namesAndValues[i], Value: namesAndValues[i+1]})
	}
	half := s.block.Len() / 2
	_ = s.w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: end, BlockFragment: s.block.Bytes()[:half]})
	_ = s.w.WriteContinuation(1, true, s.block.Bytes()[half:])
}

func (s *script) data(end bool, b string) { _ = s.w.WriteData(1, end, []byte(b)) }

// scripts are whole responses with the body "hello, world".
func scripts() map[string][]byte {
	zipped := new(bytes.Buffer)
	z := gzip.NewWriter(zipped)
	_, _ = io.WriteString(z, "hello, world")
	_ = z.Close()
	all := make(map[string][]byte)
	for name, write := range map[string]func(*script){
		"length unknown": func(s *script) {
			s.headers(false, ":status", "103", "link", "x")
			s.headers(false, ":status", "200", "content-type", "text/plain")
			s.data(false, "hello, ")
			s.data(true, "world")
		},
		"length known": func(s *script) {
			s.headers(false, ":status", "200", "content-length", "12")
			s.data(false, "hello, world")
			s.data(true, "")
		},
		"padded": func(s *script) {
			s.headers(false, ":status", "200")
			_ = s.w.WriteDataPadded(1, true, []byte("hello, world"), make([]byte, 20))
		},
		"trailers": func(s *script) {
			s.headers(false, ":status", "200", "trailer", "x-sum")
			s.data(false, "hello, world")
			s.headers(true, "x-sum", "12")
		},
		"gzip": func(s *script) {
			s.headers(false, ":status", "200", "content-encoding", "gzip")
			s.data(true, zipped.String())
		},
	} {
		s := newScript()
		_ = s.w.WriteSettings()
		write(s)
		all[name] = s.out.Bytes()
	}
	return all
}

// TestCut sends the first bytes of a response and hangs up, gently or not.
func TestCut(t *testing.T) {
	for name, whole := range scripts() {
		for _, gently := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					for n := range len(whole) + 1 {
						s, client := newFake(t, nil)
						done := begin(client, get(t.Context()))
						nc := s.silent()
						awaitHeaders(t, nc)
						_, _ = nc.Write(whole[:n])
						if gently {
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
}

// awaitHeaders reads from a client until a request has come.
func awaitHeaders(t testing.TB, r io.Reader) {
	t.Helper()
	frames := http2.NewFramer(nil, r)
	for {
		f, err := frames.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if f.Header().Type == http2.FrameHeaders {
			return
		}
	}
}

// TestCutUpload hangs up while a body is sent: the call fails and the body is
// closed, wherever it is.
func TestCutUpload(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for n := range 130 { // the window is 64 KiB
			s, client := newFake(t, &h2.TransportConfig{KeepAlive: -1})
			body := watch(strings.NewReader(strings.Repeat("x", 100_000)))
			done := begin(client, request(t.Context(), "POST", body))
			nc := s.silent()
			_ = http2.NewFramer(nc, nil).WriteSettings()
			_, _ = io.CopyN(io.Discard, nc, int64(n*500))
			_ = nc.Close()
			if o := receive(t, "an error", done); o.err == nil {
				t.Errorf("after %d bytes: got a response", n*500)
			}
			body.wantClosed(t)
		}
	})
}
