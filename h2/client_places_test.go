// SPDX-License-Identifier: Apache-2.0

// The peer's limit on streams: no call goes beyond it, from the acknowledgement of
// SETTINGS on.

package h2_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

// A countingServer counts the streams that are open on each connection, frame by
// frame: a stream is open from HEADERS until both halves are closed or one side has
// reset it. It announces its limit when the first calls have come, and changes it
// again and again.
type countingServer struct {
	network *memoryNetwork

	mu      sync.Mutex
	opened  int // streams
	most    int // were open at once on a connection, after an acknowledgement
	beyond  int // streams that were opened beyond an acknowledged limit
	refused int // streams that came before the acknowledgement and were too many
	ended   sync.WaitGroup
}

// limitsInTurn are the limits that a connection has, one after the other.
var limitsInTurn = []uint32{10, 10, 3, 7, 10, 1, 10}

func (s *countingServer) serve() {
	for {
		nc, err := s.network.Accept()
		if err != nil {
			return
		}
		s.ended.Go(func() {
			defer nc.Close()
			_, _ = io.CopyN(io.Discard, nc, int64(len(http2.ClientPreface)))
			(&countedPeer{s: s, nc: nc.(*memoryConn)}).serve()
		})
	}
}

// A countedPeer is one connection of a countingServer.
type countedPeer struct {
	s  *countingServer
	nc *memoryConn

	mu    sync.Mutex
	w     *http2.Framer
	open  map[uint32]*[2]bool // the halves that are closed: the client's and ours
	limit uint32              // that was acknowledged; 0: none yet
	sent  []uint32            // limits that wait for their acknowledgement
	turn  int                 // in limitsInTurn
	seen  int                 // HEADERS
}

func (p *countedPeer) serve() {
	p.w = http2.NewFramer(p.nc, nil)
	p.open = make(map[uint32]*[2]bool)
	r := http2.NewFramer(nil, p.nc)
	random := rand.New(rand.NewPCG(7, 7))
	p.sent = append(p.sent, 0)
	_ = p.w.WriteSettings() // no limit yet: that comes late
	settings := time.AfterFunc(5*time.Millisecond, p.nextLimit)
	defer settings.Stop()
	for {
		f, err := r.ReadFrame()
		if err != nil {
			return
		}
		p.take(f, random)
	}
}

func (p *countedPeer) nextLimit() {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit := limitsInTurn[p.turn%len(limitsInTurn)]
	p.turn++
	p.sent = append(p.sent, limit)
	_ = p.w.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: limit})
}

func (p *countedPeer) take(f http2.Frame, random *rand.Rand) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := f.Header().StreamID
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			_ = p.w.WriteSettingsAck()
		} else if len(p.sent) > 0 {
			p.limit, p.sent = p.sent[0], p.sent[1:]
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			_ = p.w.WritePing(true, f.Data)
		}
	case *http2.RSTStreamFrame:
		delete(p.open, id)
	case *http2.HeadersFrame:
		p.begin(id, f.StreamEnded())
		if p.seen++; p.seen%25 == 0 && len(p.sent) == 0 {
			time.AfterFunc(0, p.nextLimit)
		}
		if delay := random.IntN(4); p.open[id] != nil && random.IntN(8) > 0 { // or never answered
			time.AfterFunc(time.Duration(delay)*time.Millisecond, func() { p.answer(id) })
		}
	case *http2.DataFrame:
		if f.StreamEnded() {
			p.close(id, 0)
		}
	}
}

// begin counts a stream.
func (p *countedPeer) begin(id uint32, ended bool) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.s.opened++
	switch n := len(p.open) + 1; {
	case p.limit > 0 && n > int(p.limit):
		p.s.beyond++
	case p.limit > 0:
		p.s.most = max(p.s.most, n)
	case n > 10: // lawful: the client does not know yet
		p.s.refused++
		_ = p.w.WriteRSTStream(id, http2.ErrCodeRefusedStream)
		return
	}
	p.open[id] = &[2]bool{}
	if ended {
		p.close(id, 0)
	}
}

func (p *countedPeer) answer(id uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[id] == nil {
		return
	}
	_ = p.w.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: true, BlockFragment: []byte{0x88}})
	p.close(id, 1)
}

func (p *countedPeer) close(id uint32, half int) {
	if halves := p.open[id]; halves != nil {
		halves[half] = true
		if halves[0] && halves[1] {
			delete(p.open, id)
		}
	}
}

// TestPlaces makes 800 calls, of which many are given up, to a server that takes ten
// at once or fewer. None goes beyond what was acknowledged, and every call that was
// given time gets its answer.
func TestPlaces(t *testing.T) {
	const callers, each = 100, 8
	for _, within := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			s := &countingServer{network: newMemoryNetwork()}
			go s.serve()
			var rt http.RoundTripper
			if within {
				rt = newWithin(t, s.network, new(http.Transport), nil)
			} else {
				rt = newClient(t, s.network, &h2.TransportConfig{MaxConnsPerHost: 4})
			}
			t.Cleanup(func() { _ = s.network.Close() })
			var calls sync.WaitGroup
			for i := range callers {
				calls.Go(func() {
					random := rand.New(rand.NewPCG(uint64(i), 1))
					for range each {
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+random.IntN(20))*time.Millisecond)
						r := get(ctx)
						switch random.IntN(3) {
						case 0:
							r = request(ctx, "POST", strings.NewReader("in memory"))
						case 1:
							r = request(ctx, "POST", newWaitingBody())
						}
						_ = call(rt, r)
						cancel()
					}
				})
			}
			calls.Wait()
			time.Sleep(time.Second) // for bodies whose Read goes on
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.beyond > 0 {
				t.Errorf("within %v: got %d of %d streams beyond what was acknowledged, want none", within, s.beyond, s.opened)
			}
			if s.opened < callers || s.most != 10 {
				t.Errorf("within %v: got %d streams, %d at once, want hundreds, 10 at once", within, s.opened, s.most)
			}
		})
	}
}

// TestPlacesLost has the limit come down when calls have their places already, with
// bodies that can be had once only. All are answered, over few connections.
func TestPlacesLost(t *testing.T) {
	for _, within := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			d, g := poolServer(t, 10)
			var rt http.RoundTripper
			if within {
				standard := newWithin(t, nil, new(http.Transport), nil)
				standard.DialContext = d.dial
				rt = standard
			} else {
				rt = newClient(t, nil, &h2.TransportConfig{DialContext: d.dial, MaxConnsPerHost: 4})
			}
			time.AfterFunc(time.Second, g.open)
			var calls sync.WaitGroup
			for range 800 {
				calls.Go(func() {
					r := request(t.Context(), "POST", strings.NewReader("in memory"))
					r.GetBody = nil
					call(rt, r).want(t, 200, "ok")
				})
			}
			calls.Wait()
			settle()
			if n := d.alive.Load(); n > 2*800/10 {
				t.Errorf("within %v: got %d open connections for 800 calls, want about 80", within, n)
			}
		})
	}
}
