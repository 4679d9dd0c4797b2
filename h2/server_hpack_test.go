// SPDX-License-Identifier: Apache-2.0

// Field sections that are large, or claim to be, or become large when they are
// decoded (HPACK bombs, CONTINUATION floods), and what they leave in the tables.

package h2_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

const (
	fieldLimit        = 64 << 10 // of a field section, decoded, and of its block
	continuationLimit = 16
)

// echoField answers with the length of the request field x-long, and its last
// byte.
func echoField(w http.ResponseWriter, r *http.Request) {
	long := r.Header.Get("X-Long")
	w.Header().Set("X-Length", strconv.Itoa(len(long)))
	if long != "" {
		w.Header().Set("X-Last", long[len(long)-1:])
	}
}

// literal encodes a field with a new name and a value as it is, without Huffman
// coding, for the dynamic table if indexed.
func literal(indexed bool, name, value string) string {
	first := "\x00"
	if indexed {
		first = "\x40"
	}
	return first + integer(7, 0, len(name)) + name + integer(7, 0, len(value)) + value
}

// integer encodes n with a prefix of so many bits [RFC 7541, section 5.1].
func integer(bits int, first byte, n int) string {
	limit := 1<<bits - 1
	if n < limit {
		return string([]byte{first | byte(n)})
	}
	b := []byte{first | byte(limit)}
	for n -= limit; n >= 128; n /= 128 {
		b = append(b, byte(n)|128)
	}
	return string(append(b, byte(n)))
}

// indexed is a reference to an entry of the tables; 62 is the newest of the
// dynamic one.
func indexed(n int) string { return string([]byte{128 | byte(n)}) }

const newest = 62

// TestServerHPACKBomb has a block of 16 KiB stand for fields of 48 MiB. The
// server refuses each without building them, and its table stays in step.
func TestServerHPACKBomb(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const times = 50
		s := startServer(t, echoField)
		p := dial(t, s)
		long := strings.Repeat("x", 4000)
		bomb := p.encode(requestHead("GET")...)
		bomb = append(bomb, literal(true, "x-long", long)...)
		bomb = append(bomb, strings.Repeat(indexed(newest), 12_000)...)
		id := uint32(1)
		before, beforeAll := heap(), allocated()
		for range times {
			p.fragments(id, true, 16<<10, bomb)
			if a := p.answer(id); a.status != "431" {
				t.Fatalf("got status %q, want 431", a.status)
			}
			id += 2
		}
		wantAtMost(t, "bytes allocated", allocated()-beforeAll, times*(4*fieldLimit))
		wantAtMost(t, "bytes of heap more than before", heap()-before, 1<<20)
		if n := s.started.Load(); n != 0 {
			t.Errorf("got %d handlers, want none", n)
		}
		p.fragments(id, true, 16<<10, append(p.encode(requestHead("GET")...), indexed(newest)...))
		if got := field(p.wantAnswer(id, "200").header, "x-length"); got != "4000" {
			t.Errorf("got a field of %s bytes from the table, want 4000", got)
		}
	})
}

// TestServerHPACKCookieBomb splits a cookie into crumbs of one byte each, which
// [RFC 9113, section 8.2.3] lets a client do; joining them must not cost more
// than the limit, nor much time.
func TestServerHPACKCookieBomb(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := startServer(t, answerOK)
		p := dial(t, s)
		block := p.encode(requestHead("GET")...)
		block = append(block, literal(true, "cookie", "a=b")...)
		block = append(block, strings.Repeat(indexed(newest), 60_000)...)
		before := allocated()
		p.fragments(1, true, 16<<10, block)
		if a := p.answer(1); a.status != "431" {
			t.Errorf("got status %q, want 431", a.status)
		}
		wantAtMost(t, "bytes allocated", allocated()-before, 16*fieldLimit)
		p.wantWorks(3)
	})
}

// TestServerFieldLimit goes up to the limit and beyond, in one field and in
// many. What is beyond is answered with 431, and the connection goes on.
func TestServerFieldLimit(t *testing.T) {
	t.Parallel()
	fields := func(n, size int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(literal(false, "x-long-"+strconv.Itoa(i), strings.Repeat("x", size)))
		}
		return b.String()
	}
	for _, c := range []struct {
		name, block string
		max         int // MaxHeaderBytes
		want        string
	}{
		{"one field of 60 KiB", literal(false, "x-long", strings.Repeat("x", 60<<10)), 0, "200"},
		{"fields of 60 KiB", fields(60, 980), 0, "200"},
		{"fields that are small on the wire", strings.Repeat(literal(false, "x-long", ""), 3000), 0, "431"},
		{"one field that is small on the wire", "\x00\x06x-long" + integer(7, 128, 60_000) + strings.Repeat("\x00\x00\x00\x00\x00", 12_000), 0, "431"},
		{"one field of 1 MB", literal(false, "x-long", strings.Repeat("x", 1_000_000)), 0, "431"},
		{"a name of 100 KB", literal(false, strings.Repeat("x", 100_000), "value"), 0, "431"},
		{"one field of 100 KB", literal(false, "x-long", strings.Repeat("x", 100_000)), 0, "431"},
		{"fields of 100 KB", fields(100, 1000), 0, "431"},
		{"fields within a larger limit", fields(100, 1000), 200_000, "200"},
		{"fields beyond a smaller limit", fields(10, 1000), 8 << 10, "431"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := startServer(t, echoField, func(s *http.Server, _ *h2.ServerConfig) { s.MaxHeaderBytes = c.max })
				p := dial(t, s)
				p.fragments(1, true, 16<<10, append(p.encode(requestHead("GET")...), c.block...))
				f := p.await("an answer", func(f *frame) bool { return f.StreamID == 1 || isGoAway(f) })
				if f.Type != http2.FrameHeaders || field(f.fields, ":status") != c.want {
					t.Fatalf("got %v with %v and %q, want %s", f, f.code, f.fields, c.want)
				}
				p.wantWorks(3)
				if n := s.started.Load(); c.want != "200" && n > 1 {
					t.Errorf("got %d handlers, want none for what was refused", n)
				}
			})
		})
	}
}

// TestServerTrailerLimit sends trailers that are too large: the handler that
// reads the body learns of it.
func TestServerTrailerLimit(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		read := make(chan error, 1)
		s := startServer(t, func(_ http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			read <- err
		})
		p := dial(t, s)
		p.post(1)
		p.data(1, false, []byte("body"))
		block := literal(true, "x-long", strings.Repeat("x", 4000)) + strings.Repeat(indexed(newest), 1000)
		p.fragments(1, true, 16<<10, []byte(block))
		f := p.await("a reset", func(f *frame) bool { return isReset(f, 1) || isGoAway(f) })
		if err := receive(t, "the end of the body", read); err == nil {
			t.Errorf("got no error from the body, want one after %v with %v", f, f.code)
		}
		if f.Type == http2.FrameRSTStream {
			p.wantWorks(3)
		}
	})
}

// TestServerContinuations sends one block in as many frames as the limit allows,
// and then in more.
func TestServerContinuations(t *testing.T) {
	t.Parallel()
	for _, more := range []int{0, 1, continuationLimit, continuationLimit + 1, 100_000} {
		for _, size := range []int{0, 1} {
			t.Run(strconv.Itoa(more)+" of "+strconv.Itoa(size), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					s := startServer(t, answerOK)
					p := dial(t, s)
					block := p.encode(append(requestHead("GET"), "x-filler", strings.Repeat("x", 100))...)
					before := p.conn.sent()
					p.write(func(w *http2.Framer) error {
						return w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, EndHeaders: more == 0, BlockFragment: block[:max(0, len(block)-more*size)]})
					})
					block = block[max(0, len(block)-more*size):]
					if more == 0 {
						block = nil
					}
					for i := 0; i < more && p.writable(); i++ {
						part := block[:min(len(block), size)]
						if block = block[len(part):]; i == more-1 && size == 0 {
							part = block
						}
						p.write(func(w *http2.Framer) error { return w.WriteContinuation(1, i == more-1, part) })
					}
					if more <= continuationLimit {
						p.wantAnswer(1, "200")
						return
					}
					p.wantGoAway(http2.ErrCodeEnhanceYourCalm)
					if n := s.started.Load(); n != 0 {
						t.Errorf("got %d handlers, want none", n)
					}
					// What the server reads after the offence it only drains.
					wantAtMost(t, "bytes sent", p.conn.sent()-before, 512<<10)
				})
			})
		}
	}
}

// TestServerHPACKErrors sends blocks that do not decode: each is a connection
// error of type COMPRESSION_ERROR [RFC 9113, section 4.3].
func TestServerHPACKErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, block string }{
		{"index 0", "\x80"},
		{"index beyond the tables", indexed(newest)},
		{"integer without end", "\xff" + strings.Repeat("\xff", 20) + "\x7f"},
		{"integer that is cut", "\xff\x80"},
		{"name that is cut", "\x00\x0aabc"},
		{"value that is cut", "\x00\x03abc\x0aabc"},
		{"value of 256 MiB that is cut", "\x00\x03abc" + integer(7, 0, 256<<20) + "abc"},
		{"table of more than the limit", "\x3f\xe2\x1f"},
		{"table size after a field", "\x82" + literal(true, "a", "b") + "\x20"},
		{"Huffman code with EOS", "\x00\x03abc\x84\xff\xff\xff\xff"},
		{"Huffman code with long padding", "\x00\x03abc\x83\x1f\xff\xff"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := startServer(t, answerOK)
				p := dial(t, s)
				p.raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, 1, c.block)
				// The end of the connection may be reported as excess, where the
				// length alone makes the field too large.
				p.wantGoAway(http2.ErrCodeCompression, http2.ErrCodeEnhanceYourCalm)
				if n := s.started.Load(); n != 0 {
					t.Errorf("got %d handlers, want none", n)
				}
			})
		})
	}
}

// TestServerHPACKTableChanges shrinks and grows the table a great many times at
// the start of a block, where [RFC 7541, section 4.2] lets that happen.
func TestServerHPACKTableChanges(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := startServer(t, answerOK)
		p := dial(t, s)
		before := allocated()
		block := []byte(strings.Repeat("\x20\x3f\xe1\x1f", 3000)) // 0, 4096, 0, …
		block = append(block, p.encode(requestHead("GET")...)...)
		p.fragments(1, true, 16<<10, block)
		f := p.await("an answer", func(f *frame) bool { return f.StreamID == 1 || isGoAway(f) })
		wantAtMost(t, "bytes allocated", allocated()-before, 4*fieldLimit)
		switch f.Type {
		case http2.FrameHeaders:
			p.wantWorks(3)
		case http2.FrameGoAway:
			p.wantClosed()
		}
	})
}

// TestServerHPACKStateOfRefusedStreams checks that the table takes what comes in
// field sections that the server has no use for: of refused requests, of
// malformed ones, of trailers after a reset [RFC 9113, section 4.3].
func TestServerHPACKStateOfRefusedStreams(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		send func(p *rawPeer) // adds x-long to the table, on a stream up to 999
	}{
		{"malformed", func(p *rawPeer) {
			p.raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, 3,
				string(p.encode("connection", "close"))+literal(true, "x-long", "kept"))
			p.wantReset(3, http2.ErrCodeProtocol)
		}},
		{"refused", func(p *rawPeer) {
			for id := uint32(1); id < 2*handlerLimit; id += 2 {
				p.post(id)
			}
			p.raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, 999,
				string(p.encode(requestHead("GET")...))+literal(true, "x-long", "kept"))
			p.wantReset(999, http2.ErrCodeRefusedStream)
			p.data(1, true, nil)
			p.wantAnswer(1, "200")
		}},
		{"trailers after our reset", func(p *rawPeer) {
			p.post(3)
			p.window(3, 0)
			p.wantReset(3, http2.ErrCodeProtocol)
			p.raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, 3, literal(true, "x-long", "kept"))
		}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					echoField(w, r)
				})
				p := dial(t, s)
				c.send(p)
				synctest.Wait()
				p.raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, 1001, indexed(newest)+string(staticHead()))
				f := p.await("the answer", func(f *frame) bool { return f.StreamID == 1001 || isGoAway(f) })
				if f.Type == http2.FrameRSTStream {
					// The field came before the pseudo-header fields: malformed, but found.
					p.wantAlive()
				} else if f.Type == http2.FrameGoAway {
					t.Errorf("got GOAWAY with %v (%s), want the entry found in the table", f.code, f.data)
				}
			})
		})
	}
}

// staticHead is a request's head without use of the dynamic table.
func staticHead() []byte {
	return []byte(indexed(2) + indexed(6) + indexed(4) + literal(false, ":authority", "server.test"))
}

// TestServerHPACKOwnTable checks that a peer which grants a table of 4 GiB does
// not get one, and that a smaller one is respected: the peer's decoder has no
// more.
func TestServerHPACKOwnTable(t *testing.T) {
	for _, size := range []uint32{1<<32 - 1, 4096, 100, 0} {
		bubble(t, func(t *testing.T) {
			const calls = 2000
			s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Same", "the same each time")
				w.Header().Set("X-Different", r.Header.Get("X-Different")+strings.Repeat("y", 1000))
			})
			p := dial(t, s)
			p.wantWorks(1)
			p.settings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: size})
			p.wantSettingsAck()
			synctest.Wait()
			p.table.SetAllowedMaxDynamicTableSize(size)
			if size <= 4096 {
				p.table.SetMaxDynamicTableSize(size)
			}
			before := heap()
			for id := uint32(3); id < 2*calls; id += 2 {
				p.fragments(id, true, 16<<10, append(staticHead(), literal(false, "x-different", strconv.Itoa(int(id)))...))
				a := p.wantAnswer(id, "200")
				if got := field(a.header, "x-same"); got != "the same each time" {
					t.Fatalf("table of %d: got x-same %q on stream %d, want it as it was set", size, got, id)
				}
				if got := field(a.header, "x-different"); !strings.HasPrefix(got, strconv.Itoa(int(id))+"y") {
					t.Fatalf("table of %d: got x-different %.10q on stream %d, want it as it was set", size, got, id)
				}
			}
			wantAtMost(t, "bytes of heap more than before", heap()-before, 1<<20)
		})
	}
}

// TestServerSmallTable sends fields from a table of the usual size to a server with
// a smaller one: until the client has acknowledged that, both have the usual one.
func TestServerSmallTable(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := startServer(t, echoField, func(server *http.Server, _ *h2.ServerConfig) {
			server.HTTP2 = &http.HTTP2Config{MaxDecoderHeaderTableSize: 100}
		})
		p := dial(t, s)
		value := strings.Repeat("v", 1000)
		for id := uint32(1); id < 7; id += 2 {
			p.get(id, "x-long", value)
			p.wantAnswer(id, "200")
		}
	})
}
