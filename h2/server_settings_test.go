// SPDX-License-Identifier: Apache-2.0

// SETTINGS: what the server grants, what it takes, and what it refuses
// [RFC 9113, section 6.5].

package h2_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

func (p *rawPeer) greeted(id http2.SettingID) (uint32, bool) {
	for _, s := range p.greets {
		if s.ID == id {
			return s.Val, true
		}
	}
	return 0, false
}

// TestServerSettings checks the server's first SETTINGS: its limits, and no
// setting that a server must not send.
func TestServerSettings(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := startServer(t, answerOK)
		p := connect(t, s, false)
		p.mute.Store(true)
		p.preface()
		synctest.Wait()
		p.mu.Lock()
		first := p.inbox[0]
		p.mu.Unlock()
		if first.Type != http2.FrameSettings || first.Flags.Has(http2.FlagSettingsAck) {
			t.Fatalf("got %v first, want SETTINGS", first)
		}
		p.greets = first.settings
		for id, want := range map[http2.SettingID]uint32{
			http2.SettingMaxConcurrentStreams: handlerLimit,
			http2.SettingMaxHeaderListSize:    fieldLimit,
			http2.SettingInitialWindowSize:    256 << 10,
		} {
			if got, _ := p.greeted(id); got != want {
				t.Errorf("got %v of %d, want %d", id, got, want)
			}
		}
		if size, ok := p.greeted(http2.SettingMaxFrameSize); ok && (size < 1<<14 || size > 1<<24-1) {
			t.Errorf("got a frame size of %d, want one between 2^14 and 2^24-1", size)
		}
		if push, ok := p.greeted(http2.SettingEnablePush); ok && push != 0 {
			t.Errorf("got SETTINGS_ENABLE_PUSH of %d, want none from a server", push)
		}
	})
}

// TestServerSettingsConfigured checks that the fields of http.Server set the
// limits, and that they hold.
func TestServerSettingsConfigured(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		held := newGate(t)
		s := startServer(t, func(http.ResponseWriter, *http.Request) { held.wait() }, func(s *http.Server, _ *h2.ServerConfig) {
			s.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 3, MaxReadFrameSize: 32 << 10}
			s.MaxHeaderBytes = 16 << 10
		})
		p := dial(t, s)
		for id, want := range map[http2.SettingID]uint32{
			http2.SettingMaxConcurrentStreams: 3,
			http2.SettingMaxFrameSize:         32 << 10,
			http2.SettingMaxHeaderListSize:    16 << 10,
		} {
			if got, _ := p.greeted(id); got != want {
				t.Errorf("got %v of %d, want %d", id, got, want)
			}
		}
		for _, id := range []uint32{1, 3, 5} {
			p.post(id)
		}
		p.post(7)
		p.wantReset(7, http2.ErrCodeRefusedStream)
		p.data(1, false, make([]byte, 32<<10))
		p.wantAlive()
		p.data(1, false, make([]byte, 32<<10+1))
		p.wantGoAway(http2.ErrCodeFrameSize)
	})
}

// TestServerSettingsErrors sends values that are connection errors.
func TestServerSettingsErrors(t *testing.T) {
	t.Parallel()
	const max = 1<<31 - 1
	for _, c := range []struct {
		name  string
		prior func(p *rawPeer)
		set   http2.Setting
		code  http2.ErrCode
	}{
		{"ENABLE_PUSH of 2", nil, http2.Setting{ID: http2.SettingEnablePush, Val: 2}, http2.ErrCodeProtocol},
		{"INITIAL_WINDOW_SIZE of 2^31", nil, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}, http2.ErrCodeFlowControl},
		{"MAX_FRAME_SIZE of 2^14-1", nil, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1<<14 - 1}, http2.ErrCodeProtocol},
		{"MAX_FRAME_SIZE of 2^24", nil, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 24}, http2.ErrCodeProtocol},
		{"MAX_FRAME_SIZE of 0", nil, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 0}, http2.ErrCodeProtocol},
		// [RFC 9113, section 6.9.2]: a change that lifts the window of a stream
		// beyond 2^31-1 is an error of the connection.
		{"INITIAL_WINDOW_SIZE too large for a stream", func(p *rawPeer) {
			p.post(1)
			p.window(1, max-65_535)
			p.wantAlive()
		}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65_536}, http2.ErrCodeFlowControl},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := startServer(t, untilGone)
				p := dial(t, s)
				if c.prior != nil {
					c.prior(p)
				}
				p.settings(c.set)
				p.wantGoAway(c.code)
				synctest.Wait()
				if n := s.running.Load(); n != 0 {
					t.Errorf("got %d handlers after the end, want none", n)
				}
			})
		})
	}
}

// TestServerSettingsTaken sends lawful values, among them unknown ones, some
// several times: each SETTINGS is acknowledged once, the last value counts.
func TestServerSettingsTaken(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := startServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 100)) })
		p := dial(t, s,
			http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20},
			http2.Setting{ID: http2.SettingEnablePush, Val: 1},
			http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0},
			http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1<<24 - 1},
			http2.Setting{ID: 0x99, Val: 1<<32 - 1},
			http2.Setting{ID: http2.SettingInitialWindowSize, Val: 7},
		)
		p.get(1)
		p.wantAlive()
		synctest.Wait()
		got := 0
		p.mu.Lock()
		for _, f := range p.inbox {
			got += len(f.data)
			if f.Type == http2.FrameSettings {
				t.Errorf("got %v, want no second acknowledgement", f)
			}
		}
		p.mu.Unlock()
		if got != 7 {
			t.Errorf("got %d bytes, want the 7 of the last window", got)
		}
		p.settings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		p.wantSettingsAck()
		p.wantAnswer(1, "200")
	})
}

// TestServerHugeSettings sends frames that are full of settings, while streams
// wait for their windows: no more is allocated for them than for others.
func TestServerHugeSettings(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := startServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1000)) })
		p := dial(t, s, stalled)
		for id := uint32(1); id < 2*handlerLimit; id += 2 {
			p.get(id)
		}
		synctest.Wait()
		values := make([]http2.Setting, 16<<10/6)
		for i := range values {
			values[i] = http2.Setting{ID: http2.SettingID(i), Val: 1 << 15}
			if i%2 == 0 {
				values[i] = http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}
			}
		}
		before := allocated()
		for range 20 {
			p.settings(values...)
		}
		synctest.Wait()
		wantAtMost(t, "bytes allocated", allocated()-before, 1<<20)
		if n := p.count(func(f *frame) bool { return f.Type == http2.FrameData && len(f.data) > 0 }); n > 0 {
			t.Errorf("got %d DATA frames without a window, want none", n)
		}
		if p.count(isGoAway) > 0 {
			p.wantGoAway(http2.ErrCodeEnhanceYourCalm)
			return
		}
		for range 20 {
			p.wantSettingsAck()
		}
		p.wantAlive()
	})
}

// TestServerFrameSizeOfPeer checks that the server sends no larger frames than
// the peer takes, and larger ones once it does.
func TestServerFrameSizeOfPeer(t *testing.T) {
	t.Parallel()
	for _, size := range []uint32{0, 1 << 14, 1 << 15} {
		bubble(t, func(t *testing.T) {
			long := strings.Repeat("x", 40_000)
			s := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Long", long)
				w.Header().Set("Trailer", "X-Trailer")
				_, _ = w.Write(make([]byte, 100_000))
				w.Header().Set("X-Trailer", long)
			})
			settings := []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 1 << 20}}
			if size > 0 {
				settings = append(settings, http2.Setting{ID: http2.SettingMaxFrameSize, Val: size})
			}
			p := dial(t, s, settings...)
			p.window(0, 1<<20)
			p.get(1)
			limit := max(size, 1<<14)
			got := 0
			for done := false; !done; {
				f := p.await("a response", func(f *frame) bool { return f.StreamID == 1 })
				if f.Length > limit {
					t.Errorf("got a frame of %d bytes, want at most %d", f.Length, limit)
				}
				got += len(f.data)
				if f.Type == http2.FrameHeaders && len(f.fields) > 0 && f.Length == 0 {
					t.Error("got empty HEADERS, want fields in them")
				}
				done = f.ended()
			}
			if got != 100_000 {
				t.Errorf("got %d bytes, want 100000", got)
			}
		})
	}
}

// TestServerSettingsDuringBody changes the windows while a body is sent: the
// server never sends more than it may [RFC 9113, section 6.9.2].
func TestServerSettingsDuringBody(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		const size = 500
		s := startServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", size)) })
		p := dial(t, s, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100})
		p.get(1)
		got := func() (n int) {
			p.wantAlive()
			synctest.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, f := range p.inbox {
				n += len(f.data)
			}
			return n
		}
		for _, step := range []struct {
			initial, update uint32
			want            int
		}{
			{100, 0, 100},
			{50, 0, 100},  // now 50 too many were sent
			{50, 40, 100}, // 10 too many
			{50, 11, 101}, // 1 to send
			{0, 50, 101},  // back to 0
			{250, 0, 351}, // all of the change
			{250, 149, size},
		} {
			p.settings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: step.initial})
			p.wantSettingsAck()
			if step.update > 0 {
				p.window(1, step.update)
			}
			if n := got(); n != step.want {
				t.Errorf("after a window of %d and %d more: got %d bytes, want %d", step.initial, step.update, n, step.want)
			}
		}
		p.wantAnswer(1, "200")
	})
}
