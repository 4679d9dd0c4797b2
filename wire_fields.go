// SPDX-License-Identifier: Apache-2.0

// Header fields as they are received: an http.Header, or what is cheaper as long as
// no program asks for one.

package connect

import (
	"net/http"
	"sync"
)

// fields are the header or the trailers of an HTTP message as they were received: an
// [http.Header], or pairs of a name in lower case and a value. They are read only.
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

// isNamed reports whether key is the canonical form of a name in lower case. It is
// meant for the protocols' own keys, which have letters, digits and dashes only.
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

// all returns the fields as a header: a new one, unless they are one; nil if there
// are none.
func (f *fields) all() http.Header {
	if len(f.pairs) > 0 {
		return headerOf(f.pairs)
	}
	return f.header
}

// lazyHeader is fields as the program sees them: a header that is made when the
// program asks for it, which goroutines may do at the same time.
type lazyHeader struct {
	mu   sync.Mutex
	made http.Header
	from fields     // what made is made of
	host *[1]string // of a request; nil if it is in from
}

// header returns what was received as a header, always the same one, never nil.
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

// add adds what was received later.
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

// replace makes another header what was received.
func (l *lazyHeader) replace(h http.Header) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made = h
}

// metadata is the header or the trailers of a [Request] or [Response].
type metadata struct {
	own  http.Header // nil until the program asks for it
	lazy *lazyHeader // has the header of what was received; nil for what the program makes
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
		case key == "Cookie":
			old[0] += "; " + value // RFC 9113, section 8.2.3
		default:
			h[key] = append(old, value)
		}
	}
	return h
}
