// SPDX-License-Identifier: Apache-2.0

// Header fields as they were received: an http.Header, or pairs, which are cheaper
// as long as the program does not ask for a header.

package connect

import (
	"net/http"
	"strings"
	"sync"
)

// fields are the header or the trailers of a received HTTP message: an [http.Header],
// or pairs of a name in lower case and a value. Nothing writes to them.
type fields struct {
	header http.Header
	pairs  [][2]string // instead; shared, never written
}

// values returns the values of a field whose key is canonical.
func (f *fields) values(key string) []string {
	if f.header != nil {
		return f.header[key]
	}
	var found []string
	for i := range f.pairs {
		pair := &f.pairs[i]
		switch {
		case !isNamed(pair[0], key):
		case found == nil:
			found = pair[1:2:2] // so that append copies
		default:
			found = append(found, pair[1])
		}
	}
	return found
}

// first returns the first value of a field whose key is canonical.
func (f *fields) first(key string) string {
	if f.header != nil {
		return first(f.header, key)
	}
	for i := range f.pairs {
		if pair := &f.pairs[i]; isNamed(pair[0], key) {
			return pair[1]
		}
	}
	return ""
}

// isNamed reports whether key is the canonical form of a name in lower case. The key
// has letters, digits and dashes only, as the protocols' own keys have.
func isNamed(name, key string) bool {
	if len(name) != len(key) {
		return false
	}
	for i := range len(key) {
		if name[i] != key[i]|0x20 {
			return false
		}
	}
	return true
}

// all returns the fields as a header: a new one if they are pairs, nil if there are
// no fields.
func (f *fields) all() http.Header {
	if len(f.pairs) > 0 {
		return headerOf(f.pairs)
	}
	return f.header
}

// lazyHeader is the program's view of fields: a header that is made when the program
// asks for it. It is safe for concurrent use.
type lazyHeader struct {
	mu   sync.Mutex
	made http.Header
	from fields     // made has these
	host *[1]string // of a request; nil if it is in from
}

// header returns the fields as a header, always the same one, never nil.
func (l *lazyHeader) header() http.Header {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made == nil {
		if l.made = l.from.all(); l.made == nil {
			l.made = make(http.Header)
		}
		if l.host != nil {
			l.made[headerHost] = l.host[:]
		}
	}
	return l.made
}

// add adds fields that were received later.
func (l *lazyHeader) add(f fields) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made == nil && len(l.from.header)+len(l.from.pairs) == 0 {
		l.from = f
		return
	}
	if l.made == nil {
		l.made = l.from.all()
	}
	addHeader(l.made, f.all())
}

// replace sets the header that the program gets.
func (l *lazyHeader) replace(h http.Header) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made = h
}

// metadata is the header or the trailers of a [Request] or [Response].
type metadata struct {
	own  http.Header // nil until the program asks for it
	lazy *lazyHeader // of a received message; nil for one that the program has made
}

// header returns the header, always the same one, never nil.
func (m *metadata) header() http.Header {
	if m.lazy != nil {
		return m.lazy.header()
	}
	if m.own == nil {
		m.own = make(http.Header)
	}
	return m.own
}

// made returns the header, nil if there is none and the program has not asked for it.
func (m *metadata) made() http.Header {
	if m.lazy != nil {
		return m.lazy.header()
	}
	return m.own
}

// headerOf returns pairs as a header. All first values share one array.
func headerOf(pairs [][2]string) http.Header {
	h := make(http.Header, len(pairs)+1) // a request gets its Host
	values := make([]string, len(pairs))
	for i := range pairs {
		key, value := http.CanonicalHeaderKey(pairs[i][0]), pairs[i][1]
		switch old := h[key]; {
		case old == nil:
			values[0] = value
			h[key], values = values[:1:1], values[1:]
		default:
			h[key] = append(old, value)
		}
	}
	if cookies := h["Cookie"]; len(cookies) > 1 {
		h["Cookie"] = []string{strings.Join(cookies, "; ")} // RFC 9113, section 8.2.3
	}
	return h
}
