// SPDX-License-Identifier: Apache-2.0

// Frames: their sizes, flags, padding and order [RFC 9113, sections 4 and 6],
// and what ends a connection for it.

package h2_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
)

// TestServerFrameErrors sends frames that are errors of the connection.
func TestServerFrameErrors(t *testing.T) {
	t.Parallel()
	size, protocol := []http2.ErrCode{http2.ErrCodeFrameSize}, []http2.ErrCode{http2.ErrCodeProtocol}
	either := []http2.ErrCode{http2.ErrCodeFrameSize, http2.ErrCodeProtocol}
	for _, c := range []struct {
		name    string
		kind    http2.FrameType
		flags   http2.Flags
		stream  uint32
		payload string
		codes   []http2.ErrCode
	}{
		{"DATA without its padding's length", http2.FrameData, http2.FlagDataPadded, 1, "", either},
		{"DATA shorter than its padding", http2.FrameData, http2.FlagDataPadded, 1, "\x05abcd", protocol},
		{"DATA as short as its padding", http2.FrameData, http2.FlagDataPadded, 1, "\x04abc", protocol},
		{"HEADERS without its padding's length", http2.FrameHeaders, http2.FlagHeadersPadded | http2.FlagHeadersEndHeaders, 3, "", either},
		{"HEADERS shorter than its padding", http2.FrameHeaders, http2.FlagHeadersPadded | http2.FlagHeadersEndHeaders, 3, "\x05\x82\x86\x84", protocol},
		{"HEADERS shorter than its priority", http2.FrameHeaders, http2.FlagHeadersPriority | http2.FlagHeadersEndHeaders, 3, "\x00\x00", either},
		{"RST_STREAM of three bytes", http2.FrameRSTStream, 0, 1, "\x00\x00\x00", size},
		{"RST_STREAM of five bytes", http2.FrameRSTStream, 0, 1, "\x00\x00\x00\x00\x00", size},
		{"SETTINGS of five bytes", http2.FrameSettings, 0, 0, "\x00\x01\x00\x00\x00", size},
		{"SETTINGS acknowledged with values", http2.FrameSettings, http2.FlagSettingsAck, 0, "\x00\x01\x00\x00\x00\x00", size},
		{"PING of seven bytes", http2.FramePing, 0, 0, "1234567", size},
		{"PING of nine bytes", http2.FramePing, 0, 0, "123456789", size},
		{"PING acknowledged with seven bytes", http2.FramePing, http2.FlagPingAck, 0, "1234567", size},
		{"GOAWAY of seven bytes", http2.FrameGoAway, 0, 0, "1234567", size},
		{"WINDOW_UPDATE of three bytes", http2.FrameWindowUpdate, 0, 0, "123", size},
		{"WINDOW_UPDATE of five bytes", http2.FrameWindowUpdate, 0, 1, "12345", size},
		{"WINDOW_UPDATE of 0 for the connection", http2.FrameWindowUpdate, 0, 0, "\x00\x00\x00\x00", protocol},
		{"CONTINUATION without HEADERS", http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1, "\x82", protocol},
		{"DATA too large", http2.FrameData, 0, 1, strings.Repeat("x", 1<<20+1), size},
		{"HEADERS too large", http2.FrameHeaders, http2.FlagHeadersEndHeaders, 3, strings.Repeat("\x82", 1<<20+1), size},
		{"unknown frame too large", 0x77, 0, 1, strings.Repeat("x", 1<<20+1), size},
		{"PUSH_PROMISE", http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 1, "\x00\x00\x00\x02\x82", protocol},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := startServer(t, untilGone)
				p := dial(t, s)
				if limit, _ := p.greeted(http2.SettingMaxFrameSize); limit > 1<<20 {
					t.Fatalf("got a frame size of %d, want less for this test to mean anything", limit)
				}
				p.post(1)
				p.raw(c.kind, c.flags, c.stream, c.payload)
				if f := p.wantGoAway(c.codes...); f.last != 1 {
					t.Errorf("got last stream %d in GOAWAY, want 1", f.last)
				}
			})
		})
	}
}

// TestServerInterruptedBlock sends every kind of frame between HEADERS and its
// CONTINUATION, where none may be [RFC 9113, section 6.10].
func TestServerInterruptedBlock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		kind    http2.FrameType
		stream  uint32
		payload string
	}{
		{"DATA", http2.FrameData, 1, "x"},
		{"HEADERS", http2.FrameHeaders, 3, "\x82"},
		{"HEADERS of the same stream", http2.FrameHeaders, 5, "\x82"},
		{"PRIORITY", http2.FramePriority, 5, "\x00\x00\x00\x00\x00"},
		{"RST_STREAM", http2.FrameRSTStream, 5, "\x00\x00\x00\x00"},
		{"SETTINGS", http2.FrameSettings, 0, ""},
		{"PING", http2.FramePing, 0, "12345678"},
		{"GOAWAY", http2.FrameGoAway, 0, "12345678"},
		{"WINDOW_UPDATE", http2.FrameWindowUpdate, 0, "\x00\x00\x00\x01"},
		{"CONTINUATION of another stream", http2.FrameContinuation, 1, "\x82"},
		{"unknown", 0x77, 5, "x"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := startServer(t, untilGone)
				p := dial(t, s)
				p.post(1)
				p.raw(http2.FrameHeaders, 0, 5, "\x82\x86")
				p.raw(c.kind, 0, c.stream, c.payload)
				p.wantGoAway(http2.ErrCodeProtocol)
				if n := s.started.Load(); n != 1 {
					t.Errorf("got %d handlers, want one for stream 1", n)
				}
			})
		})
	}
}

// TestServerIgnores sends what a receiver must ignore: frames and flags that it
// does not know, GOAWAY's debug data, acknowledgements, error codes.
func TestServerIgnores(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		p := dial(t, startServer(t, answerOK))
		for kind := http2.FrameType(0x0a); kind != 0; kind++ {
			p.raw(kind, 0xff, 0, "what is this")
			p.raw(kind, 0xff, 7, "")
		}
		p.raw(http2.FramePing, 0xfe, 0, "12345678")
		p.raw(http2.FrameWindowUpdate, 0xff, 0, "\x80\x00\x00\x01") // with the reserved bit
		p.raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders|0xd2, 9, string(p.encode(requestHead("POST")...)))
		p.raw(http2.FrameData, 0xf6|http2.FlagDataEndStream, 9, "body")
		p.wantAnswer(9, "200")
		p.get(11)
		p.reset(11, 0xdeadbeef)
		p.raw(http2.FrameRSTStream, 0xff, 11, "\x00\x00\x00\x08")
		p.wantAlive()
		p.wantWorks(13)
	})
}

// TestServerPadding reads what is padded, as far as a frame can be.
func TestServerPadding(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := startServer(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
		p := dial(t, s)
		pad := strings.Repeat("\x00", 255)
		head := string(p.encode(requestHead("POST")...))
		p.raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersPadded|http2.FlagHeadersPriority, 1,
			"\xff"+"\x00\x00\x00\x07\x0f"+head+pad)
		p.raw(http2.FrameData, http2.FlagDataPadded, 1, "\xff"+"one "+pad)
		p.raw(http2.FrameData, http2.FlagDataPadded, 1, "\x00"+"two")
		p.raw(http2.FrameData, http2.FlagDataPadded, 1, "\xff"+pad)
		p.raw(http2.FrameData, http2.FlagDataPadded|http2.FlagDataEndStream, 1, "\xff"+" three"+pad)
		if a := p.wantAnswer(1, "200"); string(a.body) != "one two three" {
			t.Errorf("got %q, want %q", a.body, "one two three")
		}
	})
}

// TestServerPings answers each PING once, with its data, and none that is an
// answer [RFC 9113, section 6.7].
func TestServerPings(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		p := dial(t, startServer(t, answerOK))
		for i := range byte(20) {
			p.ping([8]byte{i})
			p.write(func(w *http2.Framer) error { return w.WritePing(true, [8]byte{i, 1}) })
		}
		for i := range byte(20) {
			f := p.await("the answer to a PING", func(f *frame) bool { return f.Type == http2.FramePing })
			if [8]byte(f.data) != [8]byte{i} || !f.Flags.Has(http2.FlagPingAck) {
				t.Errorf("got %v with %x, want the answer to %d", f, f.data, i)
			}
		}
		p.wantAlive()
		if n := p.count(func(f *frame) bool { return f.Type == http2.FramePing }); n != 0 {
			t.Errorf("got %d more PINGs, want none", n)
		}
	})
}

// TestServerSlicedFrames sends a conversation byte by byte: the places
// where the network cuts do not matter.
func TestServerSlicedFrames(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := startServer(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
		p := connect(t, s, false)
		p.mute.Store(true) // nothing of its own may come between the bytes
		var record recorder
		framer := p.framer
		p.framer = http2.NewFramer(&record, nil)
		p.preface()
		p.post(1, "x-long", strings.Repeat("y", 20_000)) // needs CONTINUATION
		p.data(1, false, []byte("one "))
		p.ping([8]byte{1})
		p.data(1, false, []byte("two"))
		p.headers(1, true, "x-trailer", "end")
		p.framer = framer
		for i := range record.b {
			p.bytes(string(record.b[i : i+1]))
		}
		if a := p.wantAnswer(1, "200"); string(a.body) != "one two" {
			t.Errorf("got %q, want %q", a.body, "one two")
		}
		p.wantAlive()
	})
}

type recorder struct{ b []byte }

func (r *recorder) Write(b []byte) (int, error) {
	r.b = append(r.b, b...)
	return len(b), nil
}

// TestServerCutAtEveryByte cuts a request after each of its bytes. Before the
// last one no handler sees a body that is whole.
func TestServerCutAtEveryByte(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		whole, cut := 0, 0
		results := make(chan error, 1000)
		s := startServer(t, func(_ http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			results <- err
		})
		var record recorder
		conn, _ := memoryPipe()
		p := newRawPeer(t, conn, true)
		p.framer = http2.NewFramer(&record, nil)
		p.settings()
		p.post(1)
		p.data(1, false, []byte("some body"))
		p.headers(1, true, "x-trailer", "end")
		for n := range len(record.b) + 1 {
			p := connect(t, s, false)
			p.bytes(http2.ClientPreface + string(record.b[:n]))
			_ = p.conn.CloseWrite()
			p.wantClosed()
		}
		synctest.Wait()
		for range s.started.Load() {
			if err := receive(t, "the end of the body", results); err == nil {
				whole++
			} else {
				cut++
			}
		}
		if whole > 1 || cut < 10 {
			t.Errorf("got %d whole requests and %d cut ones, want at most one and at least 10", whole, cut)
		}
	})
}
