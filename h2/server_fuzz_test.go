// SPDX-License-Identifier: Apache-2.0

// Frame programs: a string of bytes is read as instructions for a client, lawful
// and unlawful, in any order. Whatever they do, the server does not panic, keeps
// no more than its bounds, and when the connection ends nothing of it is left.

package h2_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// programHeap bounds the heap of a server while a program runs: all that may lie
// unread in one connection, and as much again.
const programHeap = 2 * unreadLimit

// programBytes ends a program that has sent so many bytes.
const programBytes = 4 << 20

// zeros is what handlers and programs send, without memory of their own.
var zeros [1 << 20]byte

// A program is instructions that are not yet carried out. Reading beyond its end
// yields zeros.
type program []byte

func (p *program) byte() byte {
	if len(*p) == 0 {
		return 0
	}
	b := (*p)[0]
	*p = (*p)[1:]
	return b
}

func (p *program) bytes(n int) []byte {
	n = min(n, len(*p))
	b := (*p)[:n]
	*p = (*p)[n:]
	return b
}

// number is a small number as a rule, and one from the edges of what 32 bits hold
// now and then.
func (p *program) number() uint32 {
	b := p.byte()
	edges := []uint32{0, 1<<14 - 1, 1 << 14, 65_535, 1<<24 - 1, 1 << 24, 1<<31 - 2, 1<<31 - 1, 1 << 31, 1<<32 - 1}
	if b >= 200 {
		return edges[int(b)%len(edges)]
	}
	return uint32(b)
}

// programHandlers are what the requests of a program ask for by their path.
var programHandlers = []http.HandlerFunc{
	answerOK,
	untilGone,
	func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) },
	func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(zeros[:200_000]) },
	func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
	func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		w.Header().Set("Trailer", "X-Trailer")
		for range 3 {
			_, _ = io.WriteString(w, strings.Repeat("flushed", 100))
			_ = rc.Flush()
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Trailer", "yes")
		w.Header().Set(http.TrailerPrefix+"X-More", "yes")
	},
	func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.SetReadDeadline(time.Now().Add(time.Second))
		_ = rc.SetWriteDeadline(time.Now().Add(2 * time.Second))
		_, _ = io.Copy(w, r.Body)
		_, _ = w.Write(zeros[:])
	},
	func(w http.ResponseWriter, r *http.Request) {
		_ = r.Body.Close()
		http.MaxBytesReader(w, r.Body, 10)
		_, _ = io.WriteString(w, strings.Repeat("x", int(r.ContentLength%1000+1)))
	},
}

// step carries out the next instruction. id is the highest stream that the
// program has used.
func (p *program) step(c *rawPeer, id *uint32) {
	stream := func() uint32 {
		switch b := p.byte(); {
		case b < 128:
			return *id
		case b < 250:
			return uint32(b) % (*id + 3)
		default:
			return p.number()
		}
	}
	switch op := p.byte() % 16; op {
	case 0: // whatever
		c.bytes(string(p.bytes(int(p.byte()))))
	case 1: // a frame of any type
		kind, flags, on := http2.FrameType(p.byte()), http2.Flags(p.byte()), stream()
		c.raw(kind, flags, on, string(p.bytes(int(p.byte()))))
	case 2, 3, 4: // a request
		*id += 2
		method := []string{"GET", "POST", "HEAD", "CONNECT"}[p.byte()%4]
		head := []string{":method", method, ":scheme", "http", ":path", "/" + strconv.Itoa(int(p.byte())), ":authority", "server.test"}
		switch p.byte() % 8 {
		case 0:
			head = append(head, "content-length", strconv.Itoa(int(p.number())))
		case 1:
			head = append(head, "expect", "100-continue")
		case 2:
			head = append(head, string(p.bytes(int(p.byte()%8))), string(p.bytes(int(p.byte()%8))))
		case 3:
			head = append(head, "x-long", strings.Repeat("x", int(p.number()%100_000)))
		}
		c.fragments(*id, p.byte()%2 == 0, 1+int(p.number()%(1<<14)), c.encode(head...))
	case 5: // data
		c.data(stream(), p.byte()%4 == 0, zeros[:p.number()%70_000])
	case 6: // padded data
		pad := p.byte()
		c.raw(http2.FrameData, http2.FlagDataPadded, stream(), string([]byte{pad})+strings.Repeat("\x00", int(p.number()%1000)))
	case 7:
		c.reset(stream(), http2.ErrCode(p.number()))
	case 8:
		c.window(stream(), p.number())
	case 9:
		c.settings(http2.Setting{ID: http2.SettingID(p.byte() % 10), Val: p.number()})
	case 10:
		c.ping([8]byte{p.byte()})
	case 11: // trailers
		c.headers(stream(), p.byte()%4 != 0, "x-trailer", string(p.bytes(int(p.byte()%8))))
	case 12: // the same, often
		n, again := 1+20*int(p.byte()), *p
		for range n {
			if again = *p; !c.writable() || c.conn.sent() > programBytes {
				break
			}
			if len(again) > 0 && again[0]%16 == 12 {
				break // not often often
			}
			again.step(c, id)
		}
		*p = again
	case 13:
		c.raw(http2.FramePriority, 0, stream(), string(binary.BigEndian.AppendUint32(nil, p.number()))+"\x0f")
	case 14:
		c.goAway(p.number(), http2.ErrCode(p.number()))
	case 15: // time
		switch b := p.byte(); {
		case b < 100:
			synctest.Wait()
		case b < 200:
			time.Sleep(time.Duration(b) * time.Millisecond)
		default:
			time.Sleep(time.Duration(b-199) * 10 * time.Second)
		}
	}
}

// runProgram runs the instructions against a server, and the server to its end.
func runProgram(t *testing.T, instructions []byte) {
	synctest.Test(t, func(t *testing.T) {
		s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
			n, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
			programHandlers[n%len(programHandlers)](w, r)
		})
		before := heap()
		p := program(instructions)
		flags := p.byte()
		deaf := flags&1 != 0
		c := connect(t, s, deaf)
		c.mute.Store(flags&2 != 0)
		if flags&4 == 0 {
			c.preface()
		}
		id := uint32(1<<32 - 1) // the first request is on stream 1
		for len(p) > 0 && c.writable() && c.conn.sent() < programBytes {
			p.step(c, &id)
		}
		synctest.Wait()
		var stats runtime.MemStats
		if runtime.ReadMemStats(&stats); int64(stats.HeapAlloc)-before > programHeap {
			c.mu.Lock()
			c.inbox = nil // of the client
			c.mu.Unlock()
			wantAtMost(t, "bytes of heap more than before", heap()-before, programHeap)
		}
		wantAtMost(t, "handlers at a time", s.peak.Load(), handlerLimit)
		if flags&8 != 0 {
			_ = c.conn.CloseWrite()
		} else {
			_ = c.conn.Close()
		}
		if deaf {
			go func() { _, _ = io.Copy(io.Discard, c.conn) }()
		} else {
			c.wantClosed()
		}
		synctest.Wait()
		if n := s.running.Load(); n != 0 {
			t.Errorf("got %d handlers after the end of the connection, want none", n)
		}
	})
}

// seedPrograms are programs that do something, each of another kind.
func seedPrograms() [][]byte {
	seeds := [][]byte{
		nil,
		{0, 2, 0, 0, 7, 0, 10}, // a request
		{0, 3, 1, 2, 7, 1, 250, 5, 0, 1, 100, 5, 0, 0, 0, 15, 0},   // an echo
		{0, 12, 100, 2, 1, 1, 7, 1, 250, 7, 0, 8},                  // many requests
		{0, 12, 255, 10, 1, 10, 1},                                 // many PINGs
		{1, 12, 255, 10, 1, 12, 255, 9, 4, 0, 12, 255, 2, 0, 3, 7}, // nobody listens
		{0, 3, 1, 1, 7, 1, 250, 8, 0, 0, 8, 0, 208, 15, 0},         // provoked resets
		{4, 0, 24, 'P', 'R', 'I'},                                  // no preface
		{0, 9, 4, 0, 2, 0, 3, 7, 0, 250, 15, 0, 9, 4, 203, 15, 0},  // windows by settings
		{0, 1, 1, 0, 255, 1, 3, 0x82, 0x86, 0x84, 1, 9, 4, 255, 1, 0},
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		seed := make([]byte, 20+r.IntN(400))
		for i := range seed {
			seed[i] = byte(r.Uint32())
		}
		seed[0] &= 0x0b // with a preface
		seeds = append(seeds, seed)
	}
	return seeds
}

// FuzzServer runs frame programs.
func FuzzServer(f *testing.F) {
	for _, seed := range seedPrograms() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, instructions []byte) {
		if len(instructions) > 4<<10 {
			t.Skip("longer than needs be")
		}
		runProgram(t, instructions)
	})
}

// TestServerPrograms runs programs of lawful frames mostly, at random, and
// repeats them by their seed.
func TestServerPrograms(t *testing.T) {
	programs := uint64(300)
	if testing.Short() {
		programs = 30
	}
	for seed := range programs {
		r := rand.New(rand.NewPCG(seed, 0))
		instructions := bytes.NewBuffer([]byte{byte(r.IntN(4)) * 4 & 8})
		for range 10 + r.IntN(100) {
			op := []byte{2, 3, 4, 5, 5, 7, 8, 9, 10, 11, 13, 15, byte(r.IntN(16))}[r.IntN(13)]
			instructions.WriteByte(op)
			for range r.IntN(6) {
				instructions.WriteByte(byte(r.Uint32()))
			}
		}
		runProgram(t, instructions.Bytes())
		if t.Failed() {
			t.Fatalf("the failing seed is %d", seed)
		}
	}
}
