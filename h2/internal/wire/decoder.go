// SPDX-License-Identifier: Apache-2.0

// HPACK decoding for peers that repeat themselves. [RFC 7541]
//
// Invariants. A start is valid as long as no block changes the dynamic table; any change
// forgets all starts. So a start yields what decoding its bytes again would yield. The
// memory of starts is bounded by startsKept sections, each within the section's limit.

package wire

import (
	"bytes"

	"golang.org/x/net/http2/hpack"
)

const (
	startsKept = 8  // a power of two
	startMax   = 32 // fields
)

// A Decoder turns header blocks into field sections. Most blocks begin with references
// to the tables, a byte for each field, and end, if at all, with fields that differ each
// time. While the dynamic table is the same, the same references mean the same fields:
// they are decoded, checked and sorted once.
type Decoder struct {
	hpack    *hpack.Decoder
	tableMax uint32 // largest size of the table that the peer may ever set
	into     *FieldSection
	starts   [startsKept]*start // by their hash; one with an empty block is unused
	skip     skipper
}

// A start is the beginning of a block, and the section that it decodes to.
type start struct {
	block   []byte
	trailer bool
	section section
}

// NewDecoder returns a decoder that adds fields to a section. The peer may set the
// size of its table up to tableSize.
func NewDecoder(tableSize uint32, into *FieldSection) *Decoder {
	return &Decoder{hpack: hpack.NewDecoder(tableSize, into.add), tableMax: tableSize, into: into}
}

// Decode adds the fields of a whole block to the section. The caller bounds the length
// of the block, and with it that of strings: Huffman's code makes at most 8/5 of it.
// [RFC 7541, section 5.2]
//
// A block whose rest changes the table is decoded in one piece, after all starts were
// forgotten, and so is one that follows another into the same section.
func (d *Decoder) Decode(block []byte) error {
	n, hash := references(block)
	rest := block[n:]
	if d.into.Size > 0 || d.into.Bad != nil || changesTable(rest) {
		d.forget()
		n, rest = 0, block
	}
	if n > 0 {
		s := d.starts[hash%startsKept]
		if s == nil {
			s = new(start)
			d.starts[hash%startsKept] = s
		}
		if s.trailer == d.into.trailer && bytes.Equal(s.block, block[:n]) {
			d.into.section.set(&s.section)
		} else {
			if _, err := d.hpack.Write(block[:n]); err != nil {
				return err
			}
			s.block = s.block[:0]
			if d.into.Bad == nil && !d.into.TooLarge() {
				s.block, s.trailer = append(s.block, block[:n]...), d.into.trailer
				s.section.set(&d.into.section)
			}
		}
	}
	if len(rest) == 0 {
		return d.hpack.Close()
	}
	if _, err := d.hpack.Write(rest); err != nil {
		return err
	}
	return d.hpack.Close()
}

// Allow bounds the size to which the peer may set the table from now on, which may be
// less than before. [RFC 7541, section 4.2]
func (d *Decoder) Allow(tableSize uint32) { d.hpack.SetAllowedMaxDynamicTableSize(tableSize) }

// forget makes all starts unused, because the table changes.
func (d *Decoder) forget() {
	for _, s := range d.starts {
		if s == nil {
			continue
		}
		clear(s.section.Fields)
		s.section = section{Fields: s.section.Fields[:0]}
		s.block = s.block[:0]
	}
}

// references returns how many bytes at the beginning of a block are indexed fields
// of one byte, and a hash of them. [RFC 7541, section 6.1]
func references(block []byte) (n int, hash uint32) {
	for n < len(block) && n < startMax && 0x80 < block[n] && block[n] < 0xff {
		hash = hash*31 + uint32(block[n])
		n++
	}
	return n, hash ^ hash>>8
}

// changesTable reports whether the rest of a block may change the table: it has a field
// with incremental indexing or a new table size, or ends within a field. [RFC 7541,
// sections 6.2.1 and 6.3]
func changesTable(block []byte) bool {
	for len(block) > 0 {
		first := block[0]
		var ok bool
		switch {
		case first&0x80 != 0: // indexed [section 6.1]
			_, block, ok = readInt(block, 7)
		case first&0xe0 == 0: // without indexing, or never [sections 6.2.2, 6.2.3]
			var name int
			if name, block, ok = readInt(block, 4); ok && name == 0 {
				block, ok = skipString(block)
			}
			if ok {
				block, ok = skipString(block)
			}
		}
		if !ok {
			return true
		}
	}
	return false
}

// readInt is the inverse of appendInt. It reports false for numbers that are longer than
// a field can be.
func readInt(b []byte, prefix uint) (n int, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	most := 1<<prefix - 1
	n = int(b[0]) & most
	if n < most {
		return n, b[1:], true
	}
	for i := 1; i < len(b) && i < 4; i++ {
		n += int(b[i]&0x7f) << (7 * (i - 1))
		if b[i]&0x80 == 0 {
			return n, b[i+1:], true
		}
	}
	return 0, nil, false
}

// skipString returns the bytes behind a string. [RFC 7541, section 5.2]
func skipString(b []byte) ([]byte, bool) {
	n, rest, ok := readInt(b, 7)
	if !ok || n > len(rest) {
		return nil, false
	}
	return rest[n:], true
}
