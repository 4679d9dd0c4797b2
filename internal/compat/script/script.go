// SPDX-License-Identifier: Apache-2.0

// Package script describes servers, clients and calls without naming an RPC
// library, so that one description drives both libraries under comparison.
package script

import (
	"fmt"
	"hash/crc32"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Service is the service that every server offers; see the Serve function of
// the two driver packages for its methods.
const Service = "/compat.v1.Test/"

// User starts every text that stands for one a user wrote. These texts must
// reach the other side unchanged; all other texts are the library's own.
const User = "user: "

// Server holds the options of every handler of a server. Zero values leave
// the library's defaults.
type Server struct {
	ReadMaxBytes        int // negative for the option with the value 0
	SendMaxBytes        int
	CompressMinBytes    int
	RequireHeader       bool     // WithRequireConnectProtocolHeader
	Recover             bool     // WithRecover with an error of the code aborted
	NoGzip              bool     // gzip removed
	Reverse             bool     // the compression "reverse" added
	Inflated            *Counter // when set, counts what gzip inflates
	Interceptor         bool     // one that marks the response
	Gate                bool     // a gate that refuses calls with the header "Refuse"
	ConditionalReadMax1 bool     // WithConditionalHandlerOptions that limits Unary to 1 byte
	RawCodec            bool     // the codec "raw" added
	ProtoCodec          string   // the codec ProtoCodec added, with this Status
	Replace             string   // an interceptor replaces unary responses: see the function replace of the driver packages
}

// Client holds the options of one client. Zero values leave the library's defaults.
type Client struct {
	Protocol         string // "", "grpc" or "grpcweb"
	JSON             bool
	RawCodec         bool
	Get              bool // WithHTTPGet, on a method without side effects
	GetMaxURL        int  // WithHTTPGetMaxURLSize when not 0
	GetFallback      bool
	SendGzip         bool
	SendCompression  string
	NoGzip           bool // gzip removed from the accepted compressions
	Reverse          bool // the compression "reverse" accepted
	Inflated         *Counter
	ReadMaxBytes     int // negative for the option with the value 0
	SendMaxBytes     int
	CompressMinBytes int
	Interceptor      bool   // one that marks the request
	ProtoCodec       string // the codec is ProtoCodec, with this Status
	Replace          string // as in Server
}

// Kind is the kind of a method and the flavour of the API to call it with.
type Kind string

// The kinds; those with Simple use the API without Request and Response.
const (
	Unary              Kind = "Unary"
	ClientStream       Kind = "ClientStream"
	ServerStream       Kind = "ServerStream"
	BidiStream         Kind = "BidiStream"
	UnarySimple        Kind = "UnarySimple"
	ClientStreamSimple Kind = "ClientStreamSimple"
	ServerStreamSimple Kind = "ServerStreamSimple"
	BidiStreamSimple   Kind = "BidiStreamSimple"
)

// Call is one call: the messages are sent, the request is closed, then
// everything is received.
type Call struct {
	Kind     Kind
	Messages []string
	NilFirst bool // send nil before the messages, which sends the header alone
	NilCall  bool // pass a nil *Request
	Again    bool // of a unary call: record the *Request's headers, and pass it again without a deadline
	Header   http.Header
	Timeout  time.Duration
	Cancel   bool   // cancel the context before the call
	URL      string // default http://compat.test
}

// Counter counts bytes. It belongs to one call at a time.
type Counter struct{ N int64 }

// Transcript holds the results of a caller or of a raw HTTP client, one fact a line.
type Transcript struct{ Lines []string }

// Add adds one line. A long one is cut and completed with its length and a checksum.
func (t *Transcript) Add(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if len(line) > 4096 {
		line = fmt.Sprintf("%s… %d bytes, CRC %08x", line[:64], len(line), crc32.ChecksumIEEE([]byte(line)))
	}
	t.Lines = append(t.Lines, line)
}

// Header adds one line for each value, sorted by key, values in order.
func (t *Transcript) Header(prefix string, header http.Header) {
	for _, key := range slices.Sorted(maps.Keys(header)) {
		for _, value := range header[key] {
			t.Add("%s %s: %s", prefix, key, value)
		}
		if len(header[key]) == 0 {
			t.Add("%s %s without value", prefix, key)
		}
	}
}

// Text returns the user's part of an error text. If there is none, a fixed text stands for the library's own.
func Text(s string) string {
	if i := strings.Index(s, User); i >= 0 {
		return s[i:]
	}
	if s == "" {
		return ""
	}
	return "(library's text)"
}
