// SPDX-License-Identifier: Apache-2.0

// A client that speaks in frames: it sends what a test needs, lawful or not,
// and keeps what the server answers until the test asks for it.

package h2_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// patience bounds every wait for the server. In a bubble it passes at once, and
// only when all goroutines wait.
const patience = time.Hour

// A frame is a frame that arrived, with the parts that its type has.
type frame struct {
	http2.FrameHeader
	data     []byte              // DATA, GOAWAY's debug data, PING
	fields   []hpack.HeaderField // HEADERS and its CONTINUATIONs
	settings []http2.Setting
	code     http2.ErrCode // RST_STREAM, GOAWAY
	last     uint32        // GOAWAY
	increase uint32        // WINDOW_UPDATE
}

func (f *frame) ended() bool {
	return (f.Type == http2.FrameData || f.Type == http2.FrameHeaders) && f.Flags.Has(http2.FlagDataEndStream)
}

// A rawPeer is one connection to a server. One goroutine uses it, besides the
// one that reads; writing never fails a test, what is missing afterwards does.
type rawPeer struct {
	t     testing.TB
	conn  *memoryConn
	mute  atomic.Bool // acknowledges nothing
	block bytes.Buffer
	hpack *hpack.Encoder
	table *hpack.Decoder // of the reading goroutine

	writing sync.Mutex
	framer  *http2.Framer
	broken  error // why writing stopped; with writing held

	mu     sync.Mutex
	inbox  []*frame
	sought int   // frames of inbox through which takeNew has looked
	err    error // why reading stopped: io.EOF if the server closed in order
	news   chan struct{}
	ended  chan struct{}
	greets []http2.Setting // the server's first SETTINGS
}

// connect opens a connection and sends nothing. The peer reads at once unless it
// is deaf.
func connect(t testing.TB, s *testServer, deaf bool) *rawPeer {
	t.Helper()
	conn, err := s.network.dial()
	if err != nil {
		t.Fatal(err)
	}
	return newRawPeer(t, conn, deaf)
}

func newRawPeer(t testing.TB, conn *memoryConn, deaf bool) *rawPeer {
	p := &rawPeer{t: t, conn: conn, news: make(chan struct{}, 1), ended: make(chan struct{})}
	p.framer = http2.NewFramer(conn, nil)
	p.framer.AllowIllegalWrites = true
	p.hpack = hpack.NewEncoder(&p.block)
	p.table = hpack.NewDecoder(4096, nil)
	if deaf {
		close(p.ended)
	} else {
		go p.read()
	}
	t.Cleanup(func() {
		_ = conn.Close()
		<-p.ended
	})
	return p
}

// dial opens a connection and exchanges settings.
func dial(t testing.TB, s *testServer, settings ...http2.Setting) *rawPeer {
	t.Helper()
	p := connect(t, s, false)
	p.preface(settings...)
	f := p.await("the server's SETTINGS", func(f *frame) bool { return f.Type == http2.FrameSettings })
	if f.Flags.Has(http2.FlagSettingsAck) {
		t.Fatal("got an acknowledgement of SETTINGS, want the server's own first")
	}
	p.greets = f.settings
	p.wantSettingsAck()
	return p
}

// ---- reading ----

// read keeps every frame and acknowledges SETTINGS and PINGs, until the connection
// ends.
func (p *rawPeer) read() {
	defer close(p.ended)
	r := http2.NewFramer(nil, p.conn)
	r.ReadMetaHeaders = p.table
	r.MaxHeaderListSize = 16 << 20
	r.SetMaxReadFrameSize(1<<24 - 1)
	for {
		got, err := r.ReadFrame()
		p.mu.Lock()
		if err != nil {
			p.err = err
			p.mu.Unlock()
			p.wake()
			_ = p.conn.CloseWrite()
			return
		}
		f := describe(got)
		p.inbox = append(p.inbox, f)
		p.mu.Unlock()
		p.wake()
		if p.mute.Load() || f.Flags.Has(http2.FlagSettingsAck) {
			continue
		}
		switch f.Type {
		case http2.FrameSettings:
			p.write(func(w *http2.Framer) error { return w.WriteSettingsAck() })
		case http2.FramePing:
			p.write(func(w *http2.Framer) error { return w.WritePing(true, [8]byte(f.data)) })
		}
	}
}

// wake wakes await.
func (p *rawPeer) wake() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// describe copies the parts of a frame.
func describe(got http2.Frame) *frame {
	f := &frame{FrameHeader: got.Header()}
	switch got := got.(type) {
	case *http2.DataFrame:
		f.data = bytes.Clone(got.Data())
	case *http2.MetaHeadersFrame:
		f.fields = got.Fields
	case *http2.SettingsFrame:
		_ = got.ForeachSetting(func(s http2.Setting) error {
			f.settings = append(f.settings, s)
			return nil
		})
	case *http2.RSTStreamFrame:
		f.code = got.ErrCode
	case *http2.GoAwayFrame:
		f.code, f.last, f.data = got.ErrCode, got.LastStreamID, bytes.Clone(got.DebugData())
	case *http2.WindowUpdateFrame:
		f.increase = got.Increment
	case *http2.PingFrame:
		f.data = bytes.Clone(got.Data[:])
	}
	return f
}

// take removes the first frame that matches from the inbox and returns it. ended
// reports that no more will come.
func (p *rawPeer) take(match func(*frame) bool) (f *frame, ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.IndexFunc(p.inbox, match); i >= 0 {
		f = p.inbox[i]
		p.inbox = slices.Delete(p.inbox, i, i+1)
		if i < p.sought {
			p.sought--
		}
	}
	return f, p.err != nil
}

// takeNew is take for callers that always look for the same frames: it looks at each
// frame of the inbox once.
func (p *rawPeer) takeNew(match func(*frame) bool) *frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ; p.sought < len(p.inbox); p.sought++ {
		if f := p.inbox[p.sought]; match(f) {
			p.inbox = slices.Delete(p.inbox, p.sought, p.sought+1)
			return f
		}
	}
	return nil
}

// await returns the first frame that matches and was not taken before. Others
// stay.
func (p *rawPeer) await(what string, match func(*frame) bool) *frame {
	p.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		f, ended := p.take(match)
		if f != nil {
			return f
		}
		if ended {
			p.t.Fatalf("the connection ended, want %s; got %s", what, p.story())
		}
		select {
		case <-p.news:
		case <-late.C:
			p.t.Fatalf("got no answer, want %s; got %s", what, p.story())
		}
	}
}

// count returns how many frames that match wait in the inbox.
func (p *rawPeer) count(match func(*frame) bool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, f := range p.inbox {
		if match(f) {
			n++
		}
	}
	return n
}

// story describes the frames in the inbox, and how reading ended.
func (p *rawPeer) story() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for i, f := range p.inbox {
		if i == 5 && len(p.inbox) > 10 {
			b.WriteString("…; ")
		}
		if i >= 5 && i < len(p.inbox)-5 {
			continue
		}
		b.WriteString(f.String())
		if f.Type == http2.FrameRSTStream || f.Type == http2.FrameGoAway {
			b.WriteString(" " + f.code.String() + " " + string(f.data))
		}
		b.WriteString("; ")
	}
	if p.err != nil {
		b.WriteString("end: " + p.err.Error())
	}
	return b.String()
}

// wantClosed waits for the server to close the connection.
func (p *rawPeer) wantClosed() {
	p.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-p.ended:
	case <-late.C:
		p.t.Fatalf("got no end of the connection, want one; got %s", p.story())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil && !errors.Is(p.err, io.EOF) && !errors.Is(p.err, net.ErrClosed) {
		p.t.Errorf("got %v at the end of what the server sent, want io.EOF", p.err)
	}
}

// over reports whether the server has ended the connection.
func (p *rawPeer) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err != nil
}

// ---- what is wanted ----

// wantGoAway waits for a GOAWAY with one of the codes and for the end of the
// connection, as [RFC 9113, section 5.4.1] has it.
func (p *rawPeer) wantGoAway(codes ...http2.ErrCode) *frame {
	p.t.Helper()
	f := p.await("GOAWAY", func(f *frame) bool { return f.Type == http2.FrameGoAway })
	if !slices.Contains(codes, f.code) {
		p.t.Errorf("got GOAWAY with %v (%s), want one of %v", f.code, f.data, codes)
	}
	p.wantClosed()
	return f
}

// wantReset waits for a RST_STREAM with one of the codes.
func (p *rawPeer) wantReset(id uint32, codes ...http2.ErrCode) {
	p.t.Helper()
	f := p.await("RST_STREAM", func(f *frame) bool { return isReset(f, id) || f.Type == http2.FrameGoAway })
	if f.Type != http2.FrameRSTStream || !slices.Contains(codes, f.code) {
		p.t.Fatalf("stream %d: got %v with %v, want RST_STREAM with one of %v", id, f, f.code, codes)
	}
}

func isReset(f *frame, id uint32) bool { return f.Type == http2.FrameRSTStream && f.StreamID == id }

func isGoAway(f *frame) bool { return f.Type == http2.FrameGoAway }

func (p *rawPeer) wantSettingsAck() {
	p.t.Helper()
	p.await("an acknowledgement of SETTINGS", func(f *frame) bool {
		return f.Type == http2.FrameSettings && f.Flags.Has(http2.FlagSettingsAck)
	})
}

// wantAlive sends a PING and waits for its answer: all frames sent before have
// been read, and the connection goes on.
func (p *rawPeer) wantAlive() {
	p.t.Helper()
	data := [8]byte{'a', 'l', 'i', 'v', 'e', '?', '!', '!'}
	p.ping(data)
	f := p.await("the answer to a PING", func(f *frame) bool {
		return f.Type == http2.FrameGoAway || f.Type == http2.FramePing && f.Flags.Has(http2.FlagPingAck) && [8]byte(f.data) == data
	})
	if f.Type == http2.FrameGoAway {
		p.t.Fatalf("got GOAWAY with %v (%s), want a connection that goes on", f.code, f.data)
	}
}

// A rawAnswer is a response.
type rawAnswer struct {
	status  string
	header  []hpack.HeaderField
	body    []byte
	trailer []hpack.HeaderField
}

// answer waits for the whole response on a stream.
func (p *rawPeer) answer(id uint32) *rawAnswer {
	p.t.Helper()
	a := new(rawAnswer)
	for {
		f := p.await("a response", func(f *frame) bool { return f.StreamID == id && f.Type != http2.FrameWindowUpdate })
		switch f.Type {
		case http2.FrameHeaders:
			if a.status == "" || strings.HasPrefix(a.status, "1") {
				a.header, a.status = f.fields, field(f.fields, ":status")
			} else {
				a.trailer = f.fields
			}
		case http2.FrameData:
			a.body = append(a.body, f.data...)
		default:
			p.t.Fatalf("stream %d: got %v with %v, want a response", id, f, f.code)
		}
		if f.ended() {
			return a
		}
	}
}

// wantAnswer waits for the whole response on a stream, with the status.
func (p *rawPeer) wantAnswer(id uint32, status string) *rawAnswer {
	p.t.Helper()
	a := p.answer(id)
	if a.status != status {
		p.t.Errorf("stream %d: got status %q, want %q", id, a.status, status)
	}
	return a
}

func field(fields []hpack.HeaderField, name string) string {
	for _, f := range fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// wantWorks makes a request and expects its answer.
func (p *rawPeer) wantWorks(id uint32) {
	p.t.Helper()
	p.get(id)
	p.wantAnswer(id, "200")
}
