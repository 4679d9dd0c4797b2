// SPDX-License-Identifier: Apache-2.0

// HPACK encoding for the few fields that RPC repeats. [RFC 7541]
//
// Invariants. entries and the peer's dynamic table are the same after each block; size
// is the sum of the entries' sizes and at most max. Version changes with every change of
// the entries, so a kept block with the present Version still means the same fields.

package wire

import (
	"slices"

	"golang.org/x/net/http2/hpack"
)

const (
	TableSizeDefault = 4096 // of both tables, before SETTINGS
	staticEntries    = 61   // [RFC 7541, appendix A]
	entryOverhead    = 32   // [RFC 7541, section 4.1]
	blocksKept       = 4
)

// An Encoder turns fields into a header block. It searches its table of earlier fields
// from the newest on, and compares a number first: a connection that carries calls has a
// dozen entries, which it searches in a few nanoseconds. A hash map costs several times
// that.
type Encoder struct {
	entries []tableEntry // oldest first
	marks   []uint32     // mark of each entry
	size    int          // of the entries [RFC 7541, section 4.1]
	max     int          // bound of size, from the peer's SETTINGS
	limit   int          // bound of max, from our configuration
	// The next block announces a change of max: the lowest value since the last block, and
	// the present one. [RFC 7541, section 4.2]
	changed bool
	lowest  int

	Version int // counts the changes of the entries
	kept    [blocksKept]keptBlock
	next    int // index of kept that is replaced next
}

// A keptBlock is the encoding of some fields, valid while Version is the same.
type keptBlock struct {
	of      any // identifies the fields, which do not change
	version int
	block   []byte
}

// Repeat appends the block kept for of, and reports whether there is a valid one.
func (e *Encoder) Repeat(b []byte, of any) ([]byte, bool) {
	for i := range e.kept {
		if k := &e.kept[i]; k.of == of && k.version == e.Version {
			return append(b, k.block...), true
		}
	}
	return b, false
}

// Keep keeps a block that did not change the entries. It replaces the oldest.
func (e *Encoder) Keep(of any, block []byte) {
	i := slices.IndexFunc(e.kept[:], func(k keptBlock) bool { return k.of == of })
	if i < 0 {
		i = e.next
		e.next = (e.next + 1) % blocksKept
	}
	e.kept[i] = keptBlock{of, e.Version, append(e.kept[i].block[:0], block...)}
}

type tableEntry struct{ name, value string }

// NewEncoder returns an encoder with a table of up to limit bytes.
func NewEncoder(limit int) *Encoder {
	e := &Encoder{max: TableSizeDefault, limit: limit}
	if limit < e.max {
		e.Resize(limit)
	}
	return e
}

// Resize applies the peer's SETTINGS_HEADER_TABLE_SIZE. [RFC 7541, section 4.2]
func (e *Encoder) Resize(size int) {
	size = min(size, e.limit)
	if !e.changed || size < e.lowest {
		e.lowest = size
	}
	e.changed = true
	e.max = size
	e.evict(0)
}

// evict removes the oldest entries until need more bytes fit. [RFC 7541, section 4.4]
func (e *Encoder) evict(need int) {
	n := 0
	for n < len(e.entries) && e.size+need > e.max {
		e.size -= e.entries[n].size()
		n++
	}
	if n > 0 {
		e.Version++
		e.entries = append(e.entries[:0], e.entries[n:]...)
		e.marks = append(e.marks[:0], e.marks[n:]...)
	}
}

func (t tableEntry) size() int { return len(t.name) + len(t.value) + entryOverhead }

// mark returns a number that differs for most fields that differ.
func mark(name, value string) uint32 {
	m := uint32(len(name))<<24 ^ uint32(len(value))<<12
	if n := len(name); n > 0 {
		m ^= uint32(name[n-1])<<16 ^ uint32(name[n/2])<<5
	}
	if n := len(value); n > 0 {
		m ^= uint32(value[n-1])<<8 ^ uint32(value[n/2])
	}
	return m
}

// Begin appends the changes of the table's size with which a block has to begin. [RFC
// 7541, section 4.2]
func (e *Encoder) Begin(b []byte) []byte {
	if !e.changed {
		return b
	}
	e.changed = false
	if e.lowest < e.max {
		// The table was smaller meanwhile, which the peer has to learn first. Some
		// decoders, golang.org/x/net's among them, accept a second size only while their
		// table is empty: so the first size is zero.
		e.entries, e.marks, e.size = e.entries[:0], e.marks[:0], 0
		e.Version++
		b = appendInt(b, 0x20, 5, 0)
	}
	return appendInt(b, 0x20, 5, e.max)
}

// Append appends one field. A volatile field, whose value differs each time, is not
// added to the table. [RFC 7541, section 6.2]
func (e *Encoder) Append(b []byte, name, value string, volatile bool) []byte {
	if i := staticField(name, value); i > 0 {
		return appendInt(b, 0x80, 7, i)
	}
	m := mark(name, value)
	named := 0 // index of an entry with the name
	if !volatile {
		for i := len(e.marks) - 1; i >= 0; i-- {
			if e.marks[i] != m {
				continue
			}
			if t := &e.entries[i]; t.name == name && t.value == value {
				return appendInt(b, 0x80, 7, e.index(i))
			}
		}
	}
	if named = staticNames[name]; named == 0 {
		for i := len(e.entries) - 1; i >= 0; i-- {
			if e.entries[i].name == name {
				named = e.index(i)
				break
			}
		}
	}
	entry := tableEntry{name, value}
	switch {
	case volatile:
		b = appendInt(b, 0, 4, named) // without indexing [RFC 7541, section 6.2.2]
	case entry.size() > e.max:
		volatile = true
		b = appendInt(b, 0, 4, named)
	default:
		b = appendInt(b, 0x40, 6, named) // with [section 6.2.1]
	}
	if named == 0 {
		b = appendString(b, name)
	}
	b = appendString(b, value)
	if !volatile {
		e.evict(entry.size())
		e.Version++
		e.entries = append(e.entries, entry)
		e.marks = append(e.marks, m)
		e.size += entry.size()
	}
	return b
}

// index returns the number by which the decoder knows an entry: behind the static
// entries, the newest first. [RFC 7541, section 2.3.3]
func (e *Encoder) index(i int) int { return staticEntries + len(e.entries) - i }

// staticField returns the index of a field of the static table, 0 if it is none of those
// that occur in practice.
func staticField(name, value string) int {
	if name == "" || name[0] != ':' {
		return 0
	}
	switch {
	case name == ":method" && value == "POST":
		return 3
	case name == ":method" && value == "GET":
		return 2
	case name == ":scheme" && value == "http":
		return 6
	case name == ":scheme" && value == "https":
		return 7
	case name == ":path" && value == "/":
		return 4
	case name == ":status":
		switch value {
		case "200":
			return 8
		case "204":
			return 9
		case "206":
			return 10
		case "304":
			return 11
		case "400":
			return 12
		case "404":
			return 13
		case "500":
			return 14
		}
	}
	return 0
}

// staticNames has the index of the first entry of the static table with a name. [RFC
// 7541, appendix A]
var staticNames = func() map[string]int {
	names := map[string]int{":authority": 1, ":method": 2, ":path": 4, ":scheme": 6, ":status": 8}
	for i, name := range []string{
		"accept-charset", "accept-encoding", "accept-language", "accept-ranges", "accept",
		"access-control-allow-origin", "age", "allow", "authorization", "cache-control",
		"content-disposition", "content-encoding", "content-language", "content-length", "content-location",
		"content-range", "content-type", "cookie", "date", "etag", "expect", "expires", "from", "host",
		"if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "last-modified",
		"link", "location", "max-forwards", "proxy-authenticate", "proxy-authorization", "range", "referer",
		"refresh", "retry-after", "server", "set-cookie", "strict-transport-security", "transfer-encoding",
		"user-agent", "vary", "via", "www-authenticate",
	} {
		names[name] = 15 + i
	}
	return names
}()

// appendInt appends a number in the form that has prefix bits of the first byte; first
// has the other bits. [RFC 7541, section 5.1]
func appendInt(b []byte, first byte, prefix uint, n int) []byte {
	most := 1<<prefix - 1
	if n < most {
		return append(b, first|byte(n))
	}
	b = append(b, first|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		b = append(b, 0x80|byte(n))
	}
	return append(b, byte(n))
}

// appendString appends a string, in Huffman's code if that is shorter. [RFC 7541,
// section 5.2]
func appendString(b []byte, s string) []byte {
	if n := int(hpack.HuffmanEncodeLength(s)); n < len(s) {
		return hpack.AppendHuffmanString(appendInt(b, 0x80, 7, n), s)
	}
	return append(appendInt(b, 0, 7, len(s)), s...)
}
