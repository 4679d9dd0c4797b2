// SPDX-License-Identifier: Apache-2.0

// The head of a response: the handler's fields, the fields that are added, and the size
// that the client accepts.
//
// Invariants. freezeHeader copies the handler's header, so that later changes have no
// effect. A head or trailers that exceed the client's SETTINGS_MAX_HEADER_LIST_SIZE are
// not sent. [RFC 9113, section 6.5.2]

package h2

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-b7c59c10/connect/h2/internal/wire"
)

// freezeHeader fixes the status and copies the header, except trailers.
func (w *response) freezeHeader(status int) {
	w.status = status
	w.s.expects.Store(false)
	w.takeParts()
	for key, values := range w.header {
		if key == "Trailer" {
			w.announceTrailers(values)
		}
	}
	for key, values := range w.header {
		if strings.HasPrefix(key, http.TrailerPrefix) {
			continue
		}
		if _, announced := slices.BinarySearch(w.parts.keys, key); announced {
			continue
		}
		name := wire.Lower(key)
		if !w.inspect(name, values) || !wire.Sendable(name) {
			continue
		}
		for _, value := range values {
			if wire.ValidValue(value) {
				w.parts.fields = append(w.parts.fields, field{name, value})
			}
		}
	}
}

// inspect looks at a field that is about the response as a whole. It reports false if
// the field is not to be sent. As in net/http, a Content-Length, Content-Type or Date
// without values keeps this side from adding one.
func (w *response) inspect(name string, values []string) bool {
	switch name {
	case "content-length":
		if len(values) == 0 {
			w.noLength = true
			return false
		}
		n, err := strconv.ParseUint(values[0], 10, 63)
		if err != nil {
			return false
		}
		w.length, w.declared = int64(n), true
	case "content-type":
		w.hasType = true
	case "content-encoding":
		if len(values) > 0 && values[0] != "" {
			w.hasType = true
		}
	case "date":
		w.hasDate = true
	case "connection":
		if len(values) > 0 && strings.EqualFold(values[0], "close") {
			w.closeConn = true
		}
	}
	return true
}

func (w *response) takeParts() {
	if w.parts == nil {
		w.parts = partsPool.Get().(*responseParts)
	}
}

// announceTrailers keeps the keys that the values of "Trailer" list, sorted and each once:
// several handlers may announce the same one.
func (w *response) announceTrailers(values []string) {
	for _, names := range values {
		for name := range strings.SplitSeq(names, ",") {
			if key := trailerKey(name); key != "" {
				w.parts.keys = append(w.parts.keys, key)
			}
		}
	}
	slices.Sort(w.parts.keys)
	w.parts.keys = slices.Compact(w.parts.keys)
}

// appendHeadLocked appends the head. final is set if the gathered body is the whole
// body; more is the part of the body that follows the gathered one. It reports whether
// the head ends the stream.
func (w *response) appendHeadLocked(more []byte, final bool) (ended bool) {
	w.headSent = true
	c := w.s.sc
	if w.s.overLocked() {
		return false // the next send returns the error
	}
	if w.closeConn {
		c.beginDrainLocked() // before the head: a client that has the response has the GOAWAY
	}
	body := w.parts.body
	empty := len(body) == 0 && len(more) == 0
	var own [3]field // memory for added
	added := own[:0]
	if !w.hasType && !empty && bodyAllowed(w.status) {
		first := body
		if len(first) == 0 {
			first = more
		}
		added = append(added, field{"content-type", http.DetectContentType(first)})
	}
	if !w.declared && !w.noLength && final && bodyAllowed(w.status) && (!empty || !w.s.isHEAD()) {
		added = append(added, field{"content-length", strconv.Itoa(len(body))})
	}
	if !w.hasDate {
		added = append(added, field{"date", dateNow()})
	}
	status := field{":status", statusText(w.status)}
	if size := status.size() + sizeOf(w.parts.fields) + sizeOf(added); !w.acceptedLocked("header", size) {
		return false
	}
	at := c.beginFieldsLocked()
	c.fieldLocked(status.name, status.value)
	c.fieldsLocked(w.parts.fields)
	c.fieldsLocked(added)
	ended = final && (empty || w.s.isHEAD())
	c.endFieldsLocked(at, w.s.id, ended)
	if ended {
		w.s.sentEnd = true
		c.forgetIfDoneLocked(&w.s.stream)
	}
	return ended
}

func (c *serverConn) fieldsLocked(fields []field) {
	for i := range fields {
		c.fieldLocked(fields[i].name, fields[i].value)
	}
}

// ---- the peer's limit ----

// MaxHeaderListSize returns the size of the largest field section that the client takes,
// header or trailers, counted as SETTINGS_MAX_HEADER_LIST_SIZE counts: the bytes of each
// name and value, and 32 for each field. Zero means that the client has announced no
// limit. [RFC 9113, section 6.5.2]
func (w *response) MaxHeaderListSize() int {
	c := w.s.sc
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.peerHeaderList)
}

// acceptedLocked reports whether the client takes a field section of this size. If not,
// it resets the stream and logs the reason: a client that receives too large a section
// may end the connection, with all its streams.
func (w *response) acceptedLocked(what string, size int) bool {
	s, c := w.s, w.s.sc
	if limit := int(c.peerHeaderList); limit == 0 || size <= limit || s.overLocked() {
		return true
	}
	err := fmt.Errorf("h2: the response's %s has %d bytes, the client takes %d (SETTINGS_MAX_HEADER_LIST_SIZE)", what, size, c.peerHeaderList)
	c.abortLocked(&s.stream, ErrCodeInternal, err)
	go c.engine.logf(c.server, "%v: stream reset, for %s", err, s.pathOf()) // the logger is code of the user, and runs without conn.mu
	return false
}

func (f *field) size() int { return wire.FieldSize(f.name, f.value) }

func sizeOf(fields []field) (size int) {
	for i := range fields {
		size += fields[i].size()
	}
	return size
}

// statusText returns the value of ":status".
func statusText(status int) string {
	switch status {
	case 200:
		return "200"
	case 204:
		return "204"
	case 304:
		return "304"
	case 404:
		return "404"
	}
	return strconv.Itoa(status)
}

// A date is the value of the field "date" for one second.
type date struct {
	second int64
	text   string
}

var lastDate atomic.Pointer[date]

func dateNow() string {
	now := time.Now()
	if d := lastDate.Load(); d != nil && d.second == now.Unix() {
		return d.text
	}
	d := &date{now.Unix(), now.UTC().Format(http.TimeFormat)}
	lastDate.Store(d)
	return d.text
}
