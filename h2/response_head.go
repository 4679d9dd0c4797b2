// SPDX-License-Identifier: Apache-2.0

// The head of a response: what the handler set, what is added, and how much of it the
// client takes.

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

// decide takes the status and a copy of the header: what the handler changes
// later has no effect, trailers apart.
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
		if strings.HasPrefix(key, http.TrailerPrefix) || slices.Contains(w.parts.keys, key) {
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

// heed takes from a field what it says of the response as a whole. It reports false
// if the field is not to be sent. As in net/http, a field without values keeps the one
// away that would be sent by itself: Content-Length, Content-Type, Date.
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

// announce takes the keys of trailers from the values of "Trailer".
func (w *response) announceTrailers(values []string) {
	for _, names := range values {
		for name := range strings.SplitSeq(names, ",") {
			key := http.CanonicalHeaderKey(strings.TrimSpace(name))
			switch key {
			case "", "Transfer-Encoding", "Trailer", "Content-Length":
				continue
			}
			w.parts.keys = append(w.parts.keys, key)
		}
	}
}

// appendHeadLocked appends the head. final says that the gathered body is all there is.
// It reports whether the head ends the stream.
func (w *response) appendHeadLocked(more []byte, final bool) (ended bool) {
	w.headSent = true
	c := w.s.sc
	if w.s.overLocked() {
		return false // send will say so
	}
	if w.closeConn {
		c.beginDrainLocked() // ahead of the head: whoever has the answer knows
	}
	body := w.parts.body
	empty := len(body) == 0 && len(more) == 0
	var own [3]field // that the handler did not set
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

// MaxHeaderListSize returns how large a field section the client takes, header or
// trailers, as SETTINGS_MAX_HEADER_LIST_SIZE counts: 32 bytes for each field, beside
// its name and value. Zero means that no limit is known. [RFC 9113, section 6.5.2]
func (w *response) MaxHeaderListSize() int {
	c := w.s.sc
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.peerHeaderList)
}

// acceptedLocked reports whether the peer takes a field section of a size. If not, the
// stream is reset and the server's log has the reason: the peer would do worse, and
// might end the connection with all its streams.
func (w *response) acceptedLocked(what string, size int) bool {
	s, c := w.s, w.s.sc
	if limit := int(c.peerHeaderList); limit == 0 || size <= limit || s.overLocked() {
		return true
	}
	err := fmt.Errorf("h2: the response's %s has %d bytes, the client takes %d (SETTINGS_MAX_HEADER_LIST_SIZE)", what, size, c.peerHeaderList)
	c.abortLocked(&s.stream, ErrCodeInternal, err)
	go c.engine.logf(c.server, "%v: stream reset, for %s", err, s.pathOf()) // without conn.mu: the log is the user's
	return false
}

func (f *field) size() int { return wire.FieldSize(f.name, f.value) }

func sizeOf(fields []field) (size int) {
	for i := range fields {
		size += fields[i].size()
	}
	return size
}

// statusText returns a status as the wire has it.
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

// A date is the value of the field "date" in one second.
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
