// SPDX-License-Identifier: Apache-2.0

// Servers that break the rules, one after the other: the call fails, nothing
// panics or hangs, and nothing is left.

package h2_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

// ok is the head of a good response.
var ok = []string{":status", "200"}

// hostile are answers to a call on stream 1. The code is that of the GOAWAY (conn)
// or of the RST_STREAM that follows; the call fails each time.
var hostile = map[string]struct {
	code   http2.ErrCode
	conn   bool // the connection ends
	answer func(p *rawPeer, id uint32)
}{
	// Malformed responses: section 8.1.1 of RFC 9113 has the stream end.
	"no status":           {http2.ErrCodeProtocol, false, head("x", "y")},
	"status of letters":   {http2.ErrCodeProtocol, false, head(":status", "abc")},
	"status too long":     {http2.ErrCodeProtocol, false, head(":status", "2000")},
	"status too low":      {http2.ErrCodeProtocol, false, head(":status", "099")},
	"status with a sign":  {http2.ErrCodeProtocol, false, head(":status", "+20")},
	"two statuses":        {http2.ErrCodeProtocol, false, head(":status", "200", ":status", "200")},
	"status after field":  {http2.ErrCodeProtocol, false, head("x", "y", ":status", "200")},
	"request fields":      {http2.ErrCodeProtocol, false, head(":status", "200", ":path", "/")},
	"unknown pseudo":      {http2.ErrCodeProtocol, false, head(":status", "200", ":magic", "x")},
	"upper case":          {http2.ErrCodeProtocol, false, head(":status", "200", "X-Y", "z")},
	"empty name":          {http2.ErrCodeProtocol, false, head(":status", "200", "", "z")},
	"line break":          {http2.ErrCodeProtocol, false, head(":status", "200", "x", "a\r\nb: c")},
	"NUL":                 {http2.ErrCodeProtocol, false, head(":status", "200", "x", "a\x00")},
	"connection field":    {http2.ErrCodeProtocol, false, head(":status", "200", "connection", "close")},
	"transfer-encoding":   {http2.ErrCodeProtocol, false, head(":status", "200", "transfer-encoding", "chunked")},
	"bad content-length":  {http2.ErrCodeProtocol, false, head(":status", "200", "content-length", "-1")},
	"two content-lengths": {http2.ErrCodeProtocol, false, head(":status", "200", "content-length", "1", "content-length", "2")},
	"switching protocols": {http2.ErrCodeProtocol, false, head(":status", "101")},
	"1xx that ends": {http2.ErrCodeProtocol, false, func(p *rawPeer, id uint32) {
		p.headers(id, true, ":status", "103")
	}},
	"body too long": {http2.ErrCodeProtocol, false, func(p *rawPeer, id uint32) {
		p.headers(id, false, ":status", "200", "content-length", "5")
		p.data(id, false, []byte("123456"))
	}},
	"trailers too early": {http2.ErrCodeProtocol, false, func(p *rawPeer, id uint32) {
		p.headers(id, false, ":status", "200", "content-length", "5")
		p.headers(id, true, "x", "y")
	}},
	"second head": {http2.ErrCodeProtocol, false, func(p *rawPeer, id uint32) {
		p.headers(id, false, ok...)
		p.headers(id, false, ok...)
	}},
	"pseudo in trailers": {http2.ErrCodeProtocol, false, func(p *rawPeer, id uint32) {
		p.headers(id, false, ok...)
		p.headers(id, true, ok...)
	}},
	"data before head": {http2.ErrCodeProtocol, false, func(p *rawPeer, id uint32) {
		p.data(id, false, []byte("x"))
		p.headers(id, true, ok...)
	}},
	"body on HEAD's stead": {http2.ErrCodeProtocol, false, func(p *rawPeer, id uint32) {
		p.headers(id, false, ":status", "204")
		p.data(id, true, []byte("x"))
	}},
	"header bomb": {http2.ErrCodeEnhanceYourCalm, false, func(p *rawPeer, id uint32) {
		fields := ok
		for range 30 { // short on the wire, as all but the first are one byte
			fields = append(fields, "x", strings.Repeat("y", 3000))
		}
		p.headers(id, false, fields...)
	}},
	"header beyond the limit": {http2.ErrCodeEnhanceYourCalm, false, func(p *rawPeer, id uint32) {
		fields := ok
		for i := range 70 {
			fields = append(fields, "x", strings.Repeat(string(rune('!'+i)), 3000))
		}
		p.headers(id, false, fields...)
	}},
	"stream window": {http2.ErrCodeFlowControl, false, func(p *rawPeer, id uint32) {
		p.headers(id, false, ok...)
		for range 300 << 10 / (16 << 10) {
			p.data(id, false, make([]byte, 16<<10))
		}
	}},
	"window update of zero": {http2.ErrCodeProtocol, false, func(p *rawPeer, id uint32) { p.window(id, 0) }},
	"window too large":      {http2.ErrCodeFlowControl, false, func(p *rawPeer, id uint32) { p.window(id, 1<<31-1) }},

	// What ends the connection.
	"connection window too large": {http2.ErrCodeFlowControl, true, func(p *rawPeer, _ uint32) { p.window(0, 1<<31-1) }},
	"push": {http2.ErrCodeProtocol, true, func(p *rawPeer, id uint32) {
		p.write(func(w *http2.Framer) error {
			return w.WritePushPromise(http2.PushPromiseParam{StreamID: id, PromiseID: 2, BlockFragment: p.encode(requestHead("GET")...), EndHeaders: true})
		})
	}},
	"push enabled": {http2.ErrCodeProtocol, true, func(p *rawPeer, _ uint32) {
		p.settings(http2.Setting{ID: http2.SettingEnablePush, Val: 1})
	}},
	"response to nothing":  {http2.ErrCodeProtocol, true, func(p *rawPeer, id uint32) { p.headers(id+2, true, ok...) }},
	"response even":        {http2.ErrCodeProtocol, true, func(p *rawPeer, _ uint32) { p.headers(2, true, ok...) }},
	"data for nothing":     {http2.ErrCodeProtocol, true, func(p *rawPeer, id uint32) { p.data(id+2, true, []byte("x")) }},
	"reset of nothing":     {http2.ErrCodeProtocol, true, func(p *rawPeer, id uint32) { p.reset(id+2, http2.ErrCodeCancel) }},
	"window of nothing":    {http2.ErrCodeProtocol, true, func(p *rawPeer, id uint32) { p.window(id+2, 1) }},
	"data on stream 0":     {http2.ErrCodeProtocol, true, func(p *rawPeer, _ uint32) { p.raw(http2.FrameData, 0, 0, "x") }},
	"settings on a stream": {http2.ErrCodeProtocol, true, func(p *rawPeer, id uint32) { p.raw(http2.FrameSettings, 0, id, "") }},
	"settings of 5 bytes":  {http2.ErrCodeFrameSize, true, func(p *rawPeer, _ uint32) { p.raw(http2.FrameSettings, 0, 0, "12345") }},
	"ping of 7 bytes":      {http2.ErrCodeFrameSize, true, func(p *rawPeer, _ uint32) { p.raw(http2.FramePing, 0, 0, "1234567") }},
	"goaway of 7 bytes":    {http2.ErrCodeFrameSize, true, func(p *rawPeer, _ uint32) { p.raw(http2.FrameGoAway, 0, 0, "1234567") }},
	"continuation alone":   {http2.ErrCodeProtocol, true, func(p *rawPeer, id uint32) { p.raw(http2.FrameContinuation, 4, id, "") }},
	"padding too long":     {http2.ErrCodeProtocol, true, func(p *rawPeer, id uint32) { p.raw(http2.FrameData, 8, id, "\x05abc") }},
	"frame too long": {http2.ErrCodeFrameSize, true, func(p *rawPeer, id uint32) {
		p.raw(http2.FrameData, 0, id, strings.Repeat("x", 256<<10+1))
	}},
	"hpack": {http2.ErrCodeCompression, true, func(p *rawPeer, id uint32) {
		p.raw(http2.FrameHeaders, 4, id, "\xff\xff\xff\xff\xff\xff\xff\xff")
	}},
	"header block endless": {http2.ErrCodeEnhanceYourCalm, true, func(p *rawPeer, id uint32) {
		p.raw(http2.FrameHeaders, 0, id, strings.Repeat("\x82", 60_000))
		for range 17 << 20 / 60_000 {
			p.raw(http2.FrameContinuation, 0, id, strings.Repeat("\x82", 60_000))
		}
	}},
	"continuation flood": {http2.ErrCodeEnhanceYourCalm, true, func(p *rawPeer, id uint32) {
		p.raw(http2.FrameHeaders, 0, id, "")
		for range 100 {
			p.raw(http2.FrameContinuation, 0, id, "")
		}
	}},
	"frame inside a header": {http2.ErrCodeProtocol, true, func(p *rawPeer, id uint32) {
		p.raw(http2.FrameHeaders, 0, id, "")
		p.ping([8]byte{})
	}},
	"settings flood": {http2.ErrCodeEnhanceYourCalm, true, repeat(func(p *rawPeer) { p.settings() })},
	"ping flood":     {http2.ErrCodeEnhanceYourCalm, true, repeat(func(p *rawPeer) { p.ping([8]byte{}) })},
	"priority flood": {http2.ErrCodeEnhanceYourCalm, true, repeat(func(p *rawPeer) { p.priority(1, 3) })},
	"window flood":   {http2.ErrCodeEnhanceYourCalm, true, repeat(func(p *rawPeer) { p.window(0, 1) })},
	"unknown flood":  {http2.ErrCodeEnhanceYourCalm, true, repeat(func(p *rawPeer) { p.raw(99, 0, 0, "") })},
	"empty data flood": {http2.ErrCodeEnhanceYourCalm, true, func(p *rawPeer, id uint32) {
		p.headers(id, false, ok...)
		for range 5000 {
			p.data(id, false, nil)
		}
	}},
}

// head answers with a head that is followed by a body.
func head(fields ...string) func(*rawPeer, uint32) {
	return func(p *rawPeer, id uint32) { p.headers(id, false, fields...) }
}

// repeat sends a frame very often.
func repeat(send func(*rawPeer)) func(*rawPeer, uint32) {
	return func(p *rawPeer, _ uint32) {
		for range 5000 {
			send(p)
		}
	}
}

// TestHostile gives each of the answers.
func TestHostile(t *testing.T) {
	for name, c := range hostile {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s, client := newFake(t, nil)
				done := make(chan error, 1)
				go func() { // reads nothing, so that windows can be exceeded
					res, err := client.RoundTrip(get(t.Context()))
					if err == nil {
						settle()
						time.Sleep(time.Second)
						_, err = res.Body.Read(make([]byte, 1<<20))
						for err == nil {
							_, err = res.Body.Read(make([]byte, 1<<20))
						}
						_ = res.Body.Close()
					}
					done <- err
				}()
				p := s.accept()
				f := p.request()
				c.answer(p, f.StreamID)
				if !c.conn {
					p.wantReset(f.StreamID, c.code)
					p.wantAlive()
				} else {
					p.wantGoAway(c.code)
				}
				err := receive(t, "an error", done)
				var reset h2.StreamError
				var ended h2.ConnError
				switch {
				case c.conn && (!errors.As(err, &ended) || ended.Remote || http2.ErrCode(ended.Code) != c.code),
					!c.conn && (!errors.As(err, &reset) || http2.ErrCode(reset.Code) != c.code):
					t.Errorf("got error %v, want one with %v", err, c.code)
				}
			})
		})
	}
}

// TestHostileGoAways sends GOAWAY again and again.
func TestHostileGoAways(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		done := begin(client, get(t.Context()))
		p := s.accept()
		f := p.request()
		for range 5000 {
			p.goAway(f.StreamID, http2.ErrCodeNo)
		}
		receive(t, "an error", done).wantText(t, "too many GOAWAY")
		p.wantClosed()
	})
}

// TestShortBody ends responses before their length is reached: in the middle, or
// with the head. The reader gets io.ErrUnexpectedEOF itself, as from net/http.
func TestShortBody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		var p *rawPeer
		for _, body := range []string{"", "1234"} {
			done := begin(client, get(t.Context()))
			if p == nil {
				p = s.accept()
			}
			f := p.request()
			p.headers(f.StreamID, body == "", ":status", "200", "content-length", "5")
			if body != "" {
				p.data(f.StreamID, true, []byte(body))
			}
			if o := receive(t, "a response", done); o.err != io.ErrUnexpectedEOF || o.body != body || o.ContentLength != 5 {
				t.Errorf("got body %q and error %v, want %q and %v", o.body, o.err, body, io.ErrUnexpectedEOF)
			}
			p.wantAlive()
		}
	})
}

// TestHostileConnectionWindow sends more at once than the connection has window.
func TestHostileConnectionWindow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, &h2.TransportConfig{HTTP2: &http.HTTP2Config{MaxReceiveBufferPerConnection: 1 << 16}})
		done := begin(client, get(t.Context()))
		p := s.accept()
		f := p.request()
		p.headers(f.StreamID, false, ok...)
		p.raw(http2.FrameData, 0, f.StreamID, strings.Repeat("x", 1<<16+1))
		p.wantGoAway(http2.ErrCodeFlowControl)
		receive(t, "an error", done).wantText(t, "window")
	})
}

// TestHostileNoHead ends a stream before there is a response.
func TestHostileNoHead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		done := begin(client, get(t.Context()))
		p := s.accept()
		f := p.request()
		p.data(f.StreamID, true, nil)
		receive(t, "an error", done).wantCode(t, h2.ErrCodeProtocol)
		p.wantAlive()
	})
}

// TestHostileStalled answers calls with frames that want answers, and reads none:
// what is kept for it is bounded, and it is given up.
func TestHostileStalled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, &h2.TransportConfig{KeepAlive: -1})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := begin(client, get(ctx))
		nc := s.silent()
		w := http2.NewFramer(nc, nil)
		_ = w.WriteSettings()
		start := time.Now()
		for {
			if err := w.WritePing(false, [8]byte{}); err != nil {
				break
			}
			time.Sleep(20 * time.Millisecond) // slower than the bucket refills
			if time.Since(start) > time.Hour {
				t.Fatal("got a client that lives with a peer that takes nothing")
			}
		}
		if o := receive(t, "an error", done); o.err == nil {
			t.Error("got a response, want an error")
		}
	})
}

// TestClientResets lets a server end far more calls than the bucket for resets has
// tokens: each was the client's own to begin with.
func TestClientResets(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, client := newFake(t, nil)
		go func() {
			p := s.accept()
			for {
				f, ended := p.take(func(f *frame) bool { return f.Type == http2.FrameHeaders })
				switch {
				case f != nil:
					p.reset(f.StreamID, http2.ErrCodeInternal)
				case ended:
					return
				default:
					<-p.news
				}
			}
		}()
		for range 5000 {
			call(client, get(t.Context())).wantCode(t, h2.ErrCodeInternal)
		}
	})
}
