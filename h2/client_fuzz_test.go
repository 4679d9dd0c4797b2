// SPDX-License-Identifier: Apache-2.0

// Frame programs for the other side: a string of bytes is read as instructions for
// a server. Whatever it does to a call, the client does not panic or hang, and
// when the transport is closed nothing of it is left.

package h2_test

import (
	"context"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// meetProgram has a server follow the program, against some calls.
func meetProgram(t *testing.T, code []byte) {
	p := program(code)
	s, client := newFake(t, &h2.TransportConfig{MaxConnsPerHost: 1})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var calls []<-chan outcome
	var bodies []*watchedBody
	for i := range int(p.byte()%3) + 1 {
		var body io.Reader
		if i > 0 {
			watched := watch(strings.NewReader(strings.Repeat("x", i*50_000)))
			bodies = append(bodies, watched)
			body = watched
		}
		calls = append(calls, begin(client, request(ctx, "POST", body)))
	}
	nc := s.silent()
	go func() { _, _ = io.Copy(io.Discard, nc) }()
	settle()
	w := newScript()
	if p.byte()%8 != 0 {
		_ = w.w.WriteSettings()
	}
	for len(p) > 0 && w.out.Len() < programBytes {
		w.instruct(&p)
		if p.byte()%4 == 0 {
			if _, err := nc.Write(w.out.Bytes()); err != nil {
				break
			}
			w.out.Reset()
			settle()
		}
	}
	_, _ = nc.Write(w.out.Bytes())
	settle()
	switch len(code) % 3 {
	case 0:
		_ = nc.Close()
	case 1:
		_ = nc.CloseWrite()
	}
	// Further connections are refused.
	_ = s.network.Close()
	for _, done := range calls {
		receive(t, "an outcome", done)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	for _, body := range bodies {
		body.wantClosed(t)
	}
}

// instruct carries one instruction out.
func (s *script) instruct(p *program) {
	id := uint32(p.byte()%4)*2 + 1
	if p.byte()%32 == 0 {
		id = p.number()
	}
	end := p.byte()%3 == 0
	switch p.byte() % 14 {
	case 0, 1:
		s.block.Reset()
		fields := [][]string{
			{":status", "200"}, {":status", "103"}, {":status", "200", "content-length", "5"}, {":status", "204"},
			{":status", "200", "content-encoding", "gzip"}, {"x-trailer", "y"}, {":status", "100"}, {":status", "x"},
			{":status", "304", "content-length", "9"}, {"grpc-status", "0", "content-length", "1"},
		}[p.byte()%10]
		for i := 0; i < len(fields); i += 2 {
			s.field(fields[i], fields[i+1])
		}
		if p.byte()%8 == 0 {
			s.field(strings.ToLower(string(p.bytes(3))), string(p.bytes(int(p.byte()))))
		}
		_ = s.w.WriteHeaders(http2.HeadersFrameParam{
			StreamID: id, EndStream: end, EndHeaders: p.byte()%8 != 0, PadLength: p.byte() % 5, BlockFragment: s.block.Bytes(),
		})
	case 2, 3:
		_ = s.w.WriteData(id, end, zeros[:min(p.number(), 100_000)])
	case 4:
		_ = s.w.WriteDataPadded(id, end, p.bytes(5), zeros[:p.byte()])
	case 5:
		_ = s.w.WriteRSTStream(id, http2.ErrCode(p.byte()%15))
	case 6:
		_ = s.w.WriteSettings(http2.Setting{ID: http2.SettingID(p.byte() % 8), Val: p.number()})
	case 7:
		_ = s.w.WriteSettingsAck()
	case 8:
		_ = s.w.WritePing(end, [8]byte{p.byte()})
	case 9:
		_ = s.w.WriteGoAway(p.number(), http2.ErrCode(p.byte()%15), p.bytes(4))
	case 10:
		_ = s.w.WriteWindowUpdate(id*uint32(p.byte()%2), p.number())
	case 11:
		_ = s.w.WriteContinuation(id, end, p.bytes(int(p.byte()%20)))
	case 12:
		_ = s.w.WriteRawFrame(http2.FrameType(p.byte()), http2.Flags(p.byte()), id, p.bytes(int(p.byte())))
	case 13:
		s.out.Write(p.bytes(int(p.byte() % 30)))
	}
}

func (s *script) field(name, value string) {
	_ = s.enc.WriteField(hpack.HeaderField{Name: name, Value: value})
}

// FuzzClient gives a client servers of all kinds.
func FuzzClient(f *testing.F) {
	for _, seed := range meetPrograms(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, code []byte) {
		bubble(t, func(t *testing.T) { meetProgram(t, code) })
	})
}

// TestClientMeetsPrograms runs random programs, the same ones each time.
func TestClientMeetsPrograms(t *testing.T) {
	n := 500
	if testing.Short() {
		n = 50
	}
	for i, code := range meetPrograms(n) {
		bubble(t, func(t *testing.T) { meetProgram(t, code) })
		if t.Failed() {
			t.Fatalf("the failing program is number %d: %q", i, code)
		}
	}
}

func meetPrograms(n int) [][]byte {
	r := rand.New(rand.NewPCG(4, 0))
	programs := make([][]byte, n)
	for i := range programs {
		programs[i] = make([]byte, r.IntN(400))
		for j := range programs[i] {
			programs[i][j] = byte(r.Uint32())
		}
	}
	return programs
}
