// SPDX-License-Identifier: Apache-2.0

// Header blocks that are too large to keep: decoded for the sake of the HPACK tables,
// piece by piece, and thrown away.
//
// Invariants. A decoder that skips holds at most skipKept bytes of a block, however
// long its strings are, and has afterwards the dynamic table that it would have if it
// had decoded the block. A string longer than that is never stored: if its field is to
// be indexed, the entry is larger than the whole table, which it empties.
// [RFC 7541, section 4.4]

package wire

import "errors"

// A skipper is the position of a decoder in a block that it skips.
type skipper struct {
	want    skipPart
	prefix  uint   // bits of the integer under way
	indexes bool   // the field is to be indexed
	dropped bool   // one of the field's strings was too long to keep
	integer []byte // of the integer under way
	field   []byte // the field as it was so far
	left    int    // of the string under way
}

// A skipPart is the part of a block that comes next.
type skipPart uint8

const (
	skipField       skipPart = iota // the first byte of a field [RFC 7541, section 6]
	skipIndex                       // the rest of its index, or of the table's size
	skipNameLength                  // [RFC 7541, section 5.2]
	skipName                        //
	skipValueLength                 //
	skipValue                       //
)

// skipKept returns the length up to which a string is kept. Huffman's code takes at most
// 30 bits for a byte, so even the shortest string of more bytes is larger than the
// table.
func (d *Decoder) skipKept() int { return 4 * int(d.tableMax) }

// Skip takes a piece of a block whose section is too large. From the first piece on the
// section is [FieldSection.TooLarge], and its Size an estimate.
func (d *Decoder) Skip(piece []byte) error {
	if !d.into.skipped {
		d.into.skipped = true
		d.forget()
		d.skip = skipper{integer: d.skip.integer[:0], field: d.skip.field[:0]}
	}
	for len(piece) > 0 {
		n, err := d.skip.take(d, piece)
		if err != nil {
			return err
		}
		piece = piece[n:]
	}
	return nil
}

// EndSkip takes the end of a block that was skipped.
func (d *Decoder) EndSkip() error {
	if d.skip.want != skipField {
		return errTruncated
	}
	return d.hpack.Close()
}

var (
	errTruncated  = errors.New("header block ends within a field")
	errLongNumber = errors.New("header block has a number of more than 32 bits")
)

// take takes the next part from a piece, and returns its length.
func (s *skipper) take(d *Decoder, piece []byte) (int, error) {
	switch s.want {
	case skipField:
		s.begin(piece[0])
	case skipNameLength, skipValueLength:
		s.prefix = 7
	case skipName, skipValue:
		n := min(s.left, len(piece))
		s.left -= n
		if !s.dropped {
			s.field = append(s.field, piece[:n]...)
		}
		if s.left > 0 {
			return n, nil
		}
		return n, s.next(d)
	}
	// An integer, byte by byte: few have more than one.
	s.integer = append(s.integer, piece[0])
	if len(s.integer) > 6 {
		return 0, errLongNumber
	}
	number, done := s.number()
	if !done {
		if s.want == skipField {
			s.want = skipIndex
		}
		return 1, nil
	}
	s.field = append(s.field, s.integer...)
	s.integer = s.integer[:0]
	return 1, s.counted(d, number)
}

// begin takes the first byte of a field. [RFC 7541, section 6]
func (s *skipper) begin(first byte) {
	s.indexes, s.dropped = false, false
	switch {
	case first&0x80 != 0:
		s.prefix = 7
	case first&0x40 != 0:
		s.prefix, s.indexes = 6, true
	case first&0x20 != 0:
		s.prefix = 5
	default:
		s.prefix = 4
	}
}

// number returns the integer that was collected, and whether it is whole.
// [RFC 7541, section 5.1]
func (s *skipper) number() (n int, done bool) {
	most := 1<<s.prefix - 1
	n = int(s.integer[0]) & most
	if n < most {
		return n, true
	}
	for i, b := range s.integer[1:] {
		n += int(b&0x7f) << (7 * i)
		if b&0x80 == 0 {
			return n, true
		}
	}
	return 0, false
}

// counted takes a whole integer: an index, or the length of a string.
func (s *skipper) counted(d *Decoder, number int) error {
	switch s.want {
	case skipNameLength, skipValueLength:
		s.left = number
		if number > d.skipKept() {
			s.dropped = true
			d.into.Size += number
		}
		s.want++
		if number == 0 {
			return s.next(d)
		}
		return nil
	}
	literal := s.field[0]&0x80 == 0 && s.field[0]&0xe0 != 0x20
	switch {
	case !literal:
		s.want = skipValue
		return s.next(d)
	case number == 0:
		s.want = skipNameLength
	default:
		s.want = skipValueLength
	}
	return nil
}

// next goes on behind a string, or behind all of a field, which it then decodes or
// replaces.
func (s *skipper) next(d *Decoder) error {
	if s.want == skipName {
		s.want = skipValueLength
		return nil
	}
	s.want = skipField
	field := s.field
	s.field = s.field[:0]
	if s.dropped {
		if !s.indexes {
			return nil
		}
		// In its place, a field without a name that is as long as the table may be: it
		// empties the table, as the dropped one would. [RFC 7541, section 4.4]
		field = append(appendInt(append(field[:0], 0x40, 0), 0, 7, int(d.tableMax)), make([]byte, d.tableMax)...)
		d.into.Size -= int(d.tableMax)
	}
	_, err := d.hpack.Write(field)
	return err
}
