// SPDX-License-Identifier: Apache-2.0

// Code generated from package ours by copyside. DO NOT EDIT.

// This file draws the options of random programs.

package theirs

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
)

// settings are what does not change while a program runs.
type settings struct {
	kind     script.Kind
	server   script.Server
	config   script.Client
	calls    int  // how many
	conns    bool // streams are used by their Conn methods
	deadline bool // calls have one, which does not pass
	notes    bool // interceptors note what they see
	wrapped  bool // the client and the ResponseWriter are not net/http's own

	base    context.Context
	release context.CancelFunc // frees what base needs
	info    connect.CallInfo   // of base, nil if the program uses none
}

// drawSettings draws them.
func drawSettings(r *rand.Rand, http1 bool) (s settings) {
	kinds := []script.Kind{script.Unary, script.UnarySimple, script.ClientStream, script.ClientStreamSimple, script.ServerStream, script.ServerStreamSimple}
	if !http1 {
		kinds = append(kinds, script.BidiStream, script.BidiStream, script.BidiStreamSimple)
	}
	s.kind = pick(r, kinds...)
	protocols := []string{"", connect.ProtocolGRPCWeb}
	if !http1 { // gRPC needs HTTP/2: over HTTP/1.1 its trailers may come with the last message, or later
		protocols = append(protocols, connect.ProtocolGRPC)
	}
	s.config.Protocol = pick(r, protocols...)
	chance := func(n int) bool { return r.IntN(n) == 0 }
	simple := strings.HasSuffix(string(s.kind), "Simple")
	s.calls = 1 + r.IntN(5)/4
	s.conns = !simple && chance(4)
	s.deadline, s.notes, s.wrapped = chance(5), chance(4), chance(4)
	limits := []int{0, 0, 0, 0, 20, 2000}
	minimums := []int{0, 0, 10, 1000}
	s.server = script.Server{
		ReadMaxBytes: pick(r, limits...), SendMaxBytes: pick(r, limits...), CompressMinBytes: pick(r, minimums...),
		RequireHeader: chance(5), Recover: chance(2), NoGzip: chance(5), Reverse: chance(5), Interceptor: chance(4), Gate: chance(6),
	}
	s.config.ReadMaxBytes, s.config.SendMaxBytes, s.config.CompressMinBytes = pick(r, limits...), pick(r, limits...), pick(r, minimums...)
	s.config.SendGzip, s.config.NoGzip, s.config.Reverse, s.config.Interceptor = chance(4), chance(6), chance(4), chance(4)
	if s.config.Reverse && chance(2) {
		s.config.SendCompression = "reverse"
	}
	if http1 && s.up() {
		// connect-go's handler waits for the end of a request that it refuses, which this
		// side does not see.
		s.server.Reverse, s.server.NoGzip = true, false
	}
	switch r.IntN(6) {
	case 0, 1:
		s.server.RawCodec, s.config.RawCodec = true, true
	case 2:
		s.config.JSON = true
	case 3:
		s.server.ProtoCodec, s.config.ProtoCodec = pick(r, "works", "works", "fails"), pick(r, "works", "works", "fails")
	}
	if s.unary() && chance(3) {
		s.config.Get, s.config.GetMaxURL, s.config.GetFallback = true, pick(r, 0, 120, 3000), chance(2)
	}
	s.base, s.release = context.WithCancel(context.Background())
	if s.deadline {
		s.release()
		s.base, s.release = context.WithTimeout(context.Background(), time.Hour)
	}
	if simple || chance(5) {
		s.base, s.info = connect.NewClientContext(s.base)
	}
	return s
}

func (s *settings) unary() bool { return s.kind == script.Unary || s.kind == script.UnarySimple }

// down reports whether the handler sends a stream.
func (s *settings) down() bool {
	return strings.HasPrefix(string(s.kind), "Server") || strings.HasPrefix(string(s.kind), "Bidi")
}

// up reports whether the client sends a stream.
func (s *settings) up() bool {
	return strings.HasPrefix(string(s.kind), "Client") || strings.HasPrefix(string(s.kind), "Bidi")
}

// field draws a header or a trailer and sets it. Names that net/http cuts responses off
// for, such as Content-Length, are left out; so are two spellings of one name, whose
// values come in a random order.
func field(r *rand.Rand, from []string) (what string, set func(http.Header)) {
	name := pick(r, from...)
	switch r.IntN(8) {
	case 0:
		return name + " without value", func(header http.Header) { header[name] = []string{} }
	case 1:
		return name + " twice", func(header http.Header) { header[name] = []string{"one", "two"} }
	case 2:
		return name + " added", func(header http.Header) { header[name] = append(header[name], "three") }
	}
	value := "one " + script.User
	switch {
	case strings.HasSuffix(name, "-Bin"):
		value = connect.EncodeBinaryHeader([]byte{0, 255})
	case strings.HasSuffix(name, "-Lines"):
		value = " one\r\ntwo: three\n"
	case name == "Grpc-Timeout":
		value = "7000000m" // long, so that it does not pass
	case name == "Connect-Timeout-Ms":
		value = "7000000"
	case !strings.Contains(name, "Ask") && !strings.Contains(name, "nswer") && !strings.Contains(name, "fter"):
		value = "7" // the protocols own the name
	}
	return name, func(header http.Header) { header[name] = []string{value} }
}

// Names of headers and trailers. Of a request's, the first ones are those of any program,
// and the last ones those after which a handler may refuse the call.
var (
	askNames    = []string{"Ask", "Ask", "Ask-Bin", "lower-Ask", "Grpc-Trace-Bin", "Trailer-Ask", "Accept-Encoding", "User-Agent", "X-User-Agent"}
	oddAskNames = []string{
		"Content-Type", "Grpc-Encoding", "Connect-Content-Encoding", "Content-Encoding", "Grpc-Timeout", "Connect-Timeout-Ms", "Connect-Protocol-Version",
		"Refuse", "Grpc-Accept-Encoding", "Connect-Accept-Encoding",
	}
	answerNames = []string{
		"Answer", "Answer", "Answer", "Answer-Bin", "lower-answer", "Grpc-Trace-Bin", "Trailer-After", "After", "User-Agent", "Grpc-Timeout", "Accept-Encoding", "Vary",
		"Grpc-Status", "Grpc-Message", "Grpc-Accept-Encoding", "Connect-Accept-Encoding", "Connect-Protocol-Version",
		"Www-Authenticate", "Keep-Alive", "Upgrade", "Host", "Answer-Lines", "Answer Space",
	}
	oddAnswerNames = []string{"Content-Type", "Content-Encoding", "Grpc-Encoding", "Connect-Content-Encoding"}
	afterNames     = []string{
		"After", "After", "After", "After-Bin", "lower-after", "Grpc-Trace-Bin", "Answer", "User-Agent", "Trailer-After", "Content-Type", "Content-Encoding",
		"Grpc-Status", "Grpc-Message", "Grpc-Encoding", "Connect-Content-Encoding", // not Grpc-Status-Details-Bin: see item 69 of the wanted differences
		"Www-Authenticate", "Keep-Alive", "Upgrade", "Host", "After-Lines", "After Space",
	}
)
