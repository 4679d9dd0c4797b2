// SPDX-License-Identifier: Apache-2.0

// A call as it is before its message is read.

package overload

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A Call is what a [Key] sees of a call. It must not be kept.
type Call struct {
	Procedure string // the path, such as "/acme.v1.S/Get"
	Peer      string // the client's address, with the port if it has one

	header http.Header
	fields [][2]string // with names in lower case, in the place of header
}

// Field returns the first value of a field of the header, "" if there is none.
func (c *Call) Field(name string) string {
	if c.header != nil {
		return c.header.Get(name)
	}
	for i := range c.fields {
		if strings.EqualFold(c.fields[i][0], name) {
			return c.fields[i][1]
		}
	}
	return ""
}

// Header returns the header, which must not be changed. [Call.Field] costs less.
func (c *Call) Header() http.Header {
	if c.header == nil {
		c.header = make(http.Header, len(c.fields))
		for _, field := range c.fields {
			key := http.CanonicalHeaderKey(field[0])
			c.header[key] = append(c.header[key], field[1])
		}
	}
	return c.header
}

// The fields that a decision needs, with names in lower case.
const (
	fieldType    = "content-type"
	fieldVersion = "connect-protocol-version"
	fieldConnect = "connect-timeout-ms"
	fieldGRPC    = "grpc-timeout"
)

// timeout returns how long the client waits, 0 without a field that has it.
func (c *Call) timeout() time.Duration {
	if c.header != nil {
		if ms := c.header["Connect-Timeout-Ms"]; len(ms) > 0 {
			return timeoutOf(ms[0], 'm')
		}
		if value := c.header["Grpc-Timeout"]; len(value) > 0 {
			return timeoutOf(value[0], 0)
		}
		return 0
	}
	for i := range c.fields {
		switch c.fields[i][0] {
		case fieldConnect:
			return timeoutOf(c.fields[i][1], 'm')
		case fieldGRPC:
			return timeoutOf(c.fields[i][1], 0)
		}
	}
	return 0
}

// units are those of gRPC's timeouts. [gRPC PROTOCOL-HTTP2.md, "Timeout"]
var units = map[byte]time.Duration{
	'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
}

// timeoutOf returns the time of digits with a unit, which is the last byte unless it is
// given. It returns 0 for anything else, which the handler refuses.
func timeoutOf(value string, unit byte) time.Duration {
	if unit == 0 && value != "" {
		value, unit = value[:len(value)-1], value[len(value)-1]
	}
	n, err := strconv.ParseUint(value, 10, 34)
	if err != nil || len(value) > 10 {
		return 0
	}
	each := units[unit]
	if each > 0 && n > uint64(1<<63-1)/uint64(each) {
		return 0 // longer than any call
	}
	return time.Duration(n) * each
}
