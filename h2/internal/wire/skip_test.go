// SPDX-License-Identifier: Apache-2.0

// Skipping blocks, against golang.org/x/net's decoder, which decodes them.

package wire

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// tableOf returns the entries that a peer can refer to.
func tableOf(decode func(block []byte) ([][2]string, error)) (entries [][2]string) {
	for i := staticEntries + 1; ; i++ {
		got, err := decode(appendInt(nil, 0x80, 7, i))
		if err != nil {
			return entries
		}
		entries = append(entries, got...)
	}
}

// skipBoth gives a block to both decoders, in pieces to the one that skips, and
// compares what they make of it.
func skipBoth(t *testing.T, tableSize uint32, first, block []byte, piece func() int) {
	t.Helper()
	var section FieldSection
	section.Limit = 1 << 30
	d := NewDecoder(tableSize, &section)
	var fields [][2]string
	alone := hpack.NewDecoder(tableSize, func(f hpack.HeaderField) { fields = append(fields, [2]string{f.Name, f.Value}) })
	if _, err := alone.Write(first); err != nil || alone.Close() != nil {
		return // not a block that the table could come from
	}
	section.Begin(true)
	if err := d.Decode(first); err != nil {
		t.Fatal(err)
	}

	_, want := alone.Write(block)
	if want == nil {
		want = alone.Close()
	}
	section.Begin(false)
	var got error
	for rest := block; got == nil && len(rest) > 0; {
		n := min(len(rest), piece())
		got = d.Skip(rest[:n])
		rest = rest[n:]
	}
	if got == nil {
		got = d.EndSkip()
	}
	if len(d.skip.field) > d.skipKept()+16 || cap(d.skip.field) > 4*(d.skipKept()+16) {
		t.Fatalf("kept %d bytes of a field (capacity %d), want at most %d", len(d.skip.field), cap(d.skip.field), d.skipKept())
	}
	if want != nil {
		return // a string that is dropped is not decoded: its errors are not found
	}
	if got != nil {
		t.Fatalf("block of %d bytes: got error %v, want none", len(block), got)
	}
	if len(block) > 0 && !section.TooLarge() {
		t.Fatal("want a section that was skipped to be too large")
	}
	gotTable := tableOf(func(block []byte) ([][2]string, error) {
		section.Begin(true)
		if err := d.Decode(block); err != nil {
			return nil, err
		}
		return [][2]string{{"", ""}}, nil
	})
	fields = nil
	wantTable := tableOf(func(block []byte) ([][2]string, error) {
		_, err := alone.Write(block)
		return [][2]string{{"", ""}}, err
	})
	if !reflect.DeepEqual(gotTable, wantTable) {
		t.Fatalf("got a table of %d entries, want %d", len(gotTable), len(wantTable))
	}
	for i := range fields { // the entries themselves
		section.Begin(true)
		var one [][2]string
		d.hpack.SetEmitFunc(func(f hpack.HeaderField) { one = append(one, [2]string{f.Name, f.Value}) })
		_, err := d.hpack.Write(appendInt(nil, 0x80, 7, staticEntries+1+i))
		if err != nil || len(one) != 1 || one[0] != fields[i] {
			t.Fatalf("entry %d: got %q, %v, want %q", i, one, err, fields[i])
		}
	}
}

func TestSkip(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 3))
		tableSize := uint32(64 + r.IntN(300))
		long := func() string { return strings.Repeat("a rather long value ", r.IntN(200)) }
		var block []byte
		for range 1 + r.IntN(10) {
			block = append(block, randomBlock(r)...)
			name := 1 + r.IntN(61)
			switch r.IntN(4) {
			case 0: // indexed, too long for the table, mostly
				block = appendString(appendInt(block, 0x40, 6, name), long())
			case 1:
				block = appendString(appendString(append(block, 0x40), strings.ToLower(long())+"x"), "value")
			case 2:
				block = appendString(appendInt(block, 0x10, 4, name), long())
			}
		}
		skipBoth(t, tableSize, []byte("\x40\x01a\x011\x40\x02bb\x012"), block, func() int { return 1 + r.IntN(50) })
	}
}

// TestSkipLong: what a block that is skipped costs does not grow with its length.
func TestSkipLong(t *testing.T) {
	var section FieldSection
	section.Limit = 100
	d := NewDecoder(TableSizeDefault, &section)
	section.Begin(false)
	head := appendInt([]byte{0x40, 1, 'a'}, 0, 7, 50<<20)
	piece := make([]byte, 1<<20)
	if err := d.Skip(head); err != nil {
		t.Fatal(err)
	}
	allocs := testing.AllocsPerRun(48, func() {
		if err := d.Skip(piece); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 0 || cap(d.skip.field) > 1<<10 {
		t.Errorf("got %g allocations a piece and %d bytes kept, want none and few", allocs, cap(d.skip.field))
	}
	if err := d.EndSkip(); err == nil {
		t.Error("want an error for a block that ends within a field")
	}
	if err := d.Skip(piece); err != nil { // 48 pieces and one to warm up have gone
		t.Fatal(err)
	}
	if err := d.EndSkip(); err != nil {
		t.Error(err)
	}
	if section.Size < 50<<20 {
		t.Errorf("got a size of %d, want all of what was skipped", section.Size)
	}
}

func FuzzSkip(f *testing.F) {
	f.Add([]byte("\x40\x01a\x011"), []byte("\x40\x01b\x012\x82"), uint8(1))
	f.Fuzz(func(t *testing.T, first, block []byte, piece uint8) {
		skipBoth(t, 64, first, block, func() int { return 1 + int(piece) })
	})
}
