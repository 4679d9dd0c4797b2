// SPDX-License-Identifier: Apache-2.0

// HPACK encoding for the few fields that RPC repeats without end. [RFC 7541]

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

// An encoder turns fields into a header block. Its table of earlier fields is
// searched from the newest on, comparing a number first: a connection that carries
// calls has a dozen entries, and finds what it looks for in a few nanoseconds. A
// hash map costs several times that.
type Encoder struct {
	entries []tableEntry // oldest first
	marks   []uint32     // mark of each entry
	size    int          // as RFC 7541 counts
	max     int          // that size may reach
	limit   int          // that max may reach: what we are willing to spend
	// A change of max is told in the next block: its lowest value since the last,
	// and its present one. [RFC 7541, section 4.2]
	changed bool
	lowest  int

	Version int // of the entries: another with each change of them
	kept    [blocksKept]keptBlock
	next    int // of kept, to be given up
}

// A keptBlock is how fields look like as long as the entries are the same.
type keptBlock struct {
	of      any // who knows the fields; they do not change
	version int
	block   []byte
}

// repeat appends fields as they were kept, and reports whether they were.
func (e *Encoder) Repeat(b []byte, of any) ([]byte, bool) {
	for i := range e.kept {
		if k := &e.kept[i]; k.of == of && k.version == e.Version {
			return append(b, k.block...), true
		}
	}
	return b, false
}

// keep keeps a block that has changed no entry.
func (e *Encoder) Keep(of any, block []byte) {
	i := slices.IndexFunc(e.kept[:], func(k keptBlock) bool { return k.of == of })
	if i < 0 {
		i = e.next
		e.next = (e.next + 1) % blocksKept
	}
	e.kept[i] = keptBlock{of, e.Version, append(e.kept[i].block[:0], block...)}
}

type tableEntry struct{ name, value string }

func NewEncoder(limit int) *Encoder {
	e := &Encoder{max: TableSizeDefault, limit: limit}
	if limit < e.max {
		e.Resize(limit)
	}
	return e
}

// resize takes the peer's SETTINGS_HEADER_TABLE_SIZE.
func (e *Encoder) Resize(size int) {
	size = min(size, e.limit)
	if !e.changed || size < e.lowest {
		e.lowest = size
	}
	e.changed = true
	e.max = size
	e.evict(0)
}

// evict makes room for need more bytes.
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

// mark is a number that differs for most fields that differ.
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

// begin appends what has to be at the beginning of a block.
func (e *Encoder) Begin(b []byte) []byte {
	if !e.changed {
		return b
	}
	e.changed = false
	if e.lowest < e.max {
		// The table was smaller meanwhile, and has to be told so first. Some decoders
		// take a second size only while their table is empty, golang.org/x/net's too:
		// so empty it is.
		e.entries, e.marks, e.size = e.entries[:0], e.marks[:0], 0
		e.Version++
		b = appendInt(b, 0x20, 5, 0)
	}
	return appendInt(b, 0x20, 5, e.max)
}

// append appends one field. A passing field is not remembered: its value will not
// be seen again.
func (e *Encoder) Append(b []byte, name, value string, passing bool) []byte {
	if i := staticField(name, value); i > 0 {
		return appendInt(b, 0x80, 7, i)
	}
	m := mark(name, value)
	named := 0 // index of an entry with the name
	if !passing {
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
	case passing:
		b = appendInt(b, 0, 4, named) // without indexing [RFC 7541, section 6.2.2]
	case entry.size() > e.max:
		passing = true
		b = appendInt(b, 0, 4, named)
	default:
		b = appendInt(b, 0x40, 6, named) // with [section 6.2.1]
	}
	if named == 0 {
		b = appendString(b, name)
	}
	b = appendString(b, value)
	if !passing {
		e.evict(entry.size())
		e.Version++
		e.entries = append(e.entries, entry)
		e.marks = append(e.marks, m)
		e.size += entry.size()
	}
	return b
}

// index returns the number by which the decoder knows an entry: the newest comes
// first, after the static ones. [RFC 7541, section 2.3.3]
func (e *Encoder) index(i int) int { return staticEntries + len(e.entries) - i }

// staticField returns the index of a field of the static table that occurs, or 0.
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

// staticNames has the first entry of the static table for each name.
// [RFC 7541, appendix A]
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

// appendInt appends a number whose first byte has bits of prefix for it, beside
// first. [RFC 7541, section 5.1]
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

// appendString appends a string, with Huffman's code if that is shorter.
// [RFC 7541, section 5.2]
func appendString(b []byte, s string) []byte {
	if n := int(hpack.HuffmanEncodeLength(s)); n < len(s) {
		return hpack.AppendHuffmanString(appendInt(b, 0x80, 7, n), s)
	}
	return append(appendInt(b, 0, 7, len(s)), s...)
}
