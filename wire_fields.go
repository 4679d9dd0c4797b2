// SPDX-License-Identifier: Apache-2.0

// Header fields as they are read: an http.Header, or what is cheaper as long as
// nobody asks for one.

package connect

import "net/http"

// fields are the header or the trailers of an HTTP message. Those of a direct call
// are pairs of a name in lower case and a value, until somebody asks for the header.
type fields struct {
	header http.Header
	pairs  [][2]string // shared, never written; of no use once there is a header
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

// all returns the fields as a header, always the same one, never nil.
func (f *fields) all() http.Header {
	if f.header == nil {
		f.header = headerOf(f.pairs)
	}
	return f.header
}

// made returns the fields as a header, nil if there are none and nobody has asked
// for it.
func (f *fields) made() http.Header {
	if f.header == nil && len(f.pairs) == 0 {
		return nil
	}
	return f.all()
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
