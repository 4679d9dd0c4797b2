// SPDX-License-Identifier: Apache-2.0

// The HPACK decoder, which remembers how blocks begin, against golang.org/x/net's
// alone, which does not.

package wire

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// twoDecoders read the same blocks.
type twoDecoders struct {
	t          *testing.T
	got, want  FieldSection
	decoder    *Decoder
	alone      *hpack.Decoder
	remembered int // blocks whose beginning was known
}

func newTwoDecoders(t *testing.T, tableSize uint32, limit int) *twoDecoders {
	d := &twoDecoders{t: t}
	d.got.Limit, d.want.Limit = limit, limit
	d.decoder = NewDecoder(tableSize, &d.got)
	d.alone = hpack.NewDecoder(tableSize, d.want.add)
	return d
}

// read reads a block, and reports whether it was one.
func (d *twoDecoders) read(block []byte, trailer, malformed bool) bool {
	d.t.Helper()
	for _, f := range []*FieldSection{&d.got, &d.want} {
		f.Begin(trailer)
		if malformed {
			f.Malformed("before the block")
		}
	}
	for i := range d.decoder.starts {
		s := d.decoder.starts[i]
		if s == nil {
			continue
		}
		if n, _ := references(block); n > 0 && s.trailer == trailer && string(s.block) == string(block[:n]) {
			d.remembered++
		}
	}
	_, err := d.alone.Write(block)
	if err == nil {
		err = d.alone.Close()
	}
	if got := d.decoder.Decode(slices.Clone(block)); fmt.Sprint(got) != fmt.Sprint(err) {
		d.t.Fatalf("block % x: got error %v, want %v", block, got, err)
	}
	if err != nil {
		return false
	}
	got, want := d.got.section, d.want.section
	if fmt.Sprint(got.Bad) != fmt.Sprint(want.Bad) {
		d.t.Fatalf("block % x: got %v, want %v", block, got.Bad, want.Bad)
	}
	got.Bad, want.Bad = nil, nil
	got.Fields, want.Fields = slices.Clip(got.Fields), slices.Clip(want.Fields)
	if len(got.Fields)+len(want.Fields) == 0 {
		got.Fields, want.Fields = nil, nil
	}
	if !reflect.DeepEqual(got, want) {
		d.t.Fatalf("block % x: got %+v, want %+v", block, got, want)
	}
	return true
}

// TestDecoderCalls: what requests begin with is decoded once, whatever follows.
func TestDecoderCalls(t *testing.T) {
	e := NewEncoder(TableSizeDefault)
	d := newTwoDecoders(t, TableSizeDefault, 16<<10)
	call := func(path, value string) {
		block := e.Begin(nil)
		for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "host"}, {":path", path}, {"te", "trailers"}} {
			block = e.Append(block, f[0], f[1], false)
		}
		block = e.Append(block, "grpc-timeout", value, true)
		d.read(block, false, false)
	}
	for i := range 10 {
		call("/a", fmt.Sprint(i))
	}
	if d.remembered != 8 { // the first fills the table, the second is remembered
		t.Errorf("got %d beginnings that were known, want 8", d.remembered)
	}
	for i := range 30 {
		call(fmt.Sprint("/", i%3), "1S")
	}
	if got := d.remembered - 8; got != 24 { // three fill the table, three are remembered
		t.Errorf("of three kinds, got %d beginnings that were known, want 24", got)
	}
	known := []byte{0x83, 0x86}
	if got := testing.AllocsPerRun(100, func() {
		d.got.Begin(false)
		if err := d.decoder.Decode(known); err != nil {
			t.Error(err)
		}
	}); got > 0 {
		t.Errorf("got %g allocations for a block that is known, want none", got)
	}
}

// block returns a block of a few fields: of the tables, new ones, and changes of the
// table's size.
func randomBlock(r *rand.Rand) (block []byte) {
	if r.IntN(20) == 0 {
		block = appendInt(block, 0x20, 5, r.IntN(300))
	}
	for range r.IntN(8) {
		name := []string{"a", "bb", "content-length", ":path", "te", "Bad"}[r.IntN(6)]
		value := []string{"", "1", "trailers", "/", "a rather long value\x00"[:r.IntN(20)]}[r.IntN(5)]
		switch r.IntN(12) {
		case 0: // remembered
			block = appendString(appendString(append(block, 0x40), name), value)
		case 1:
			block = appendString(appendString(append(block, 0), name), value)
		case 2:
			block = appendString(appendInt(block, 0x10, 4, 1+r.IntN(70)), value)
		case 3: // may be too far
			block = appendInt(block, 0x80, 7, r.IntN(140))
		case 4: // in the wrong place, mostly
			if r.IntN(10) == 0 {
				block = appendInt(block, 0x20, 5, r.IntN(300))
			}
		default:
			block = appendInt(block, 0x80, 7, []int{2, 3, 4, 6, 8, 16, 62, 63, 64}[r.IntN(9)])
		}
	}
	return block
}

func TestDecoderRandom(t *testing.T) {
	blocks, remembered := 0, 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		d := newTwoDecoders(t, 256, 100+r.IntN(1000))
		d.read([]byte("\x40\x01a\x011\x40\x02bb\x012\x40\x02cc\x013"), false, false) // 62 to 64
		var earlier [][]byte
		for range 200 {
			block := randomBlock(r)
			if len(earlier) > 0 && r.IntN(3) > 0 {
				block = earlier[r.IntN(len(earlier))]
			}
			if !d.read(block, r.IntN(4) == 0, r.IntN(20) == 0) {
				break
			}
			earlier = append(earlier, block)
			blocks++
		}
		remembered += d.remembered
	}
	if blocks < 3000 || remembered < blocks/20 {
		t.Errorf("got %d blocks without an error, and %d beginnings that were known: too few to tell", blocks, remembered)
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add([]byte("\x04\x83\x86\x84\x85\x03\x83\x86\x84\x02\x83\x86"), 1000)
	f.Add([]byte("\x07\x83\x40\x01a\x01b\xbe\x02\x83\xbe\x03\xbe\x3f\x00\x02\x83\xbe"), 100)
	f.Fuzz(func(t *testing.T, program []byte, limit int) {
		if limit < 0 || limit > 1<<20 {
			return
		}
		d := newTwoDecoders(t, 4096, limit)
		for len(program) > 0 {
			trailer, n := program[0]&0x80 != 0, min(int(program[0]&0x7f), len(program)-1)
			if !d.read(program[1:1+n], trailer, false) {
				return
			}
			program = program[1+n:]
		}
	})
}
