// SPDX-License-Identifier: Apache-2.0

// HPACK decoding for peers that say the same again and again. [RFC 7541]

package wire

import (
	"bytes"

	"golang.org/x/net/http2/hpack"
)

const (
	startsKept = 8  // a power of two
	startMax   = 32 // fields
)

// A Decoder turns header blocks into field sections. Most blocks begin with
// references to the tables, a byte for each field, and continue, if at all, with
// what is different each time. While the dynamic table is the same, the same
// references mean the same fields: they are decoded, checked and sorted out once.
type Decoder struct {
	hpack    *hpack.Decoder
	tableMax uint32 // what the peer may set the table to, now or before
	into     *FieldSection
	starts   [startsKept]*start // by their hash; those without a block are vacant
	skip     skipper
}

// A start is what a block began with, and what that meant.
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

// Decode adds the fields of a whole block to the section. The caller bounds the
// length of the block, and with it that of strings: they decode to at most 8/5 of it.
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

// Allow bounds the size to which the peer may set the table, which may be less than
// before. [RFC 7541, section 4.2]
func (d *Decoder) Allow(tableSize uint32) { d.hpack.SetAllowedMaxDynamicTableSize(tableSize) }

// forget is called when the table changes.
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

// changesTable reports whether what is left of a block has anything but indexed
// fields and literals without indexing, or is no whole number of them.
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

// readInt is the inverse of appendInt. It does not read what is longer than a field
// can be.
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

// skipString returns what is behind a string. [RFC 7541, section 5.2]
func skipString(b []byte) ([]byte, bool) {
	n, rest, ok := readInt(b, 7)
	if !ok || n > len(rest) {
		return nil, false
	}
	return rest[n:], true
}
