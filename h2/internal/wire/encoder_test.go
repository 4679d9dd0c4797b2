// SPDX-License-Identifier: Apache-2.0

// The HPACK encoder against golang.org/x/net's decoder.

package wire

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// A peer decodes what an encoder under test writes.
type hpackPeer struct {
	t   *testing.T
	enc *Encoder
	dec *hpack.Decoder
}

func newHpackPeer(t *testing.T, limit int) *hpackPeer {
	return &hpackPeer{t, NewEncoder(limit), hpack.NewDecoder(TableSizeDefault, nil)}
}

// send encodes a block of fields, decodes it and compares. It returns its length.
func (p *hpackPeer) send(fields ...hpack.HeaderField) int {
	p.t.Helper()
	block := p.enc.Begin(nil)
	for _, f := range fields {
		block = p.enc.Append(block, f.Name, f.Value, f.Sensitive)
	}
	got, err := p.dec.DecodeFull(block)
	if err != nil {
		p.t.Fatalf("decoding %d bytes that begin with % x: %v", len(block), block[:min(len(block), 20)], err)
	}
	for i := range fields {
		fields[i].Sensitive = false
	}
	if !slices.Equal(got, fields) {
		p.t.Fatalf("got %d other fields than the %d that were sent", len(got), len(fields))
	}
	if p.enc.size > p.enc.max {
		p.t.Fatalf("the table has %d bytes, want at most %d", p.enc.size, p.enc.max)
	}
	return len(block)
}

// field returns a field; passing ones are not to be remembered.
func hfield(name, value string, passing bool) hpack.HeaderField {
	return hpack.HeaderField{Name: name, Value: value, Sensitive: passing}
}

func TestEncoderRepeats(t *testing.T) {
	p := newHpackPeer(t, TableSizeDefault)
	call := func() int {
		return p.send(
			hfield(":method", "POST", false), hfield(":scheme", "http", false), hfield(":authority", "example.com:8080", false),
			hfield(":path", "/package.v1.Service/Method", false), hfield("content-type", "application/grpc", false),
			hfield("te", "trailers", false), hfield("grpc-timeout", "1S", true))
	}
	first, second := call(), call()
	// Six fields of one byte each; the last has a name of the table's end, and a value.
	if second > 6+1+len("grpc-timeout")+1+3 || second >= first {
		t.Errorf("got %d bytes for the second call, %d for the first", second, first)
	}
	if n := len(p.enc.entries); n != 4 {
		t.Errorf("got %d entries, want 4: what is passing, or in the static table, has no place", n)
	}
}

// TestEncoderTables sends random fields through tables of all sizes, which change
// on the way.
func TestEncoderTables(t *testing.T) {
	for seed := range uint64(50) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			p := newHpackPeer(t, random.IntN(6000))
			names := []string{":status", ":path", "content-type", "x-a", "x-b", "cookie", strings.Repeat("n", 300)}
			for range 300 {
				if random.IntN(10) == 0 {
					size := random.IntN(8000)
					p.enc.Resize(size)
					p.dec.SetAllowedMaxDynamicTableSize(uint32(size))
				}
				var fields []hpack.HeaderField
				for range random.IntN(6) {
					value := strings.Repeat(string(rune('a'+random.IntN(26))), random.IntN(4)*random.IntN(400))
					fields = append(fields, hfield(names[random.IntN(len(names))], value, random.IntN(5) == 0))
				}
				if len(fields) > 0 { // a change of size is told before a field
					p.send(fields...)
				}
			}
		})
	}
}

// TestEncoderKeeps sends the same blocks again and again, as they were kept, while
// other fields and changes of the table's size come in between.
func TestEncoderKeeps(t *testing.T) {
	kept, encoded := 0, 0
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 3))
		p := newHpackPeer(t, 4096)
		targets := make([][]hpack.HeaderField, 6) // more than are kept
		for i := range targets {
			targets[i] = []hpack.HeaderField{hfield(":method", "POST", false), hfield(":path", fmt.Sprint("/", i), false), hfield("te", "trailers", false)}
		}
		for range 400 {
			switch random.IntN(40) {
			case 0:
				size := random.IntN(800)
				p.enc.Resize(size)
				p.dec.SetAllowedMaxDynamicTableSize(uint32(size))
			case 1:
				p.send(hfield("x", fmt.Sprint(random.IntN(100)), false))
			}
			of := &targets[random.IntN(len(targets))]
			block, known := p.enc.Repeat(p.enc.Begin(nil), of)
			if known {
				kept++
			} else {
				encoded++
				start, version := len(block), p.enc.Version
				for _, f := range *of {
					block = p.enc.Append(block, f.Name, f.Value, false)
				}
				if p.enc.Version == version {
					p.enc.Keep(of, block[start:])
				}
			}
			if got, err := p.dec.DecodeFull(block); err != nil || !slices.Equal(got, *of) {
				t.Fatalf("got %v and error %v, want %v", got, err, *of)
			}
		}
	}
	if kept < encoded/2 {
		t.Errorf("got %d blocks that were kept and %d that were not: too few to tell", kept, encoded)
	}
}

// TestEncoderStatic makes sure that the names have the numbers of RFC 7541.
func TestEncoderStatic(t *testing.T) {
	for name := range staticNames {
		newHpackPeer(t, TableSizeDefault).send(hfield(name, "some value", true))
	}
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: "GET"}, {Name: ":method", Value: "POST"}, {Name: ":path", Value: "/"},
		{Name: ":scheme", Value: "http"}, {Name: ":scheme", Value: "https"},
		{Name: ":status", Value: "200"}, {Name: ":status", Value: "204"}, {Name: ":status", Value: "206"},
		{Name: ":status", Value: "304"}, {Name: ":status", Value: "400"}, {Name: ":status", Value: "404"}, {Name: ":status", Value: "500"},
	} {
		if n := newHpackPeer(t, TableSizeDefault).send(f); n != 1 {
			t.Errorf("%v: got %d bytes, want 1", f, n)
		}
	}
}

func FuzzEncoder(f *testing.F) {
	f.Add([]byte("\x02ab\x03abc\x00\xff"), 4096)
	f.Add([]byte(strings.Repeat("\x01x\x40", 80)), 100)
	f.Fuzz(func(t *testing.T, program []byte, limit int) {
		if limit < 0 || limit > 1<<20 {
			return
		}
		p := newHpackPeer(t, limit)
		next := func() string {
			if len(program) == 0 {
				return ""
			}
			n := min(int(program[0]), len(program)-1)
			s := string(program[1 : 1+n])
			program = program[1+n:]
			return s
		}
		for len(program) > 0 {
			passing := program[0]&1 == 0
			p.send(hfield("n"+next(), next(), passing))
		}
	})
}
