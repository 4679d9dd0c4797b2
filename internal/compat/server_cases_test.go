// SPDX-License-Identifier: Apache-2.0

// This file is the table of requests that servers of both libraries answer.

package compat

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-b7c59c10/connect/internal/compat/script"
)

const (
	protoHeader       = "Content-Type: application/proto\n"
	jsonHeader        = "Content-Type: application/json\n"
	connectHeader     = "Content-Type: application/connect+proto\n"
	connectJSONHeader = "Content-Type: application/connect+json\n"
	grpcHeader        = "Content-Type: application/grpc\nTe: trailers\n"
	grpcJSONHeader    = "Content-Type: application/grpc+json\nTe: trailers\n"
	webHeader         = "Content-Type: application/grpc-web+proto\n"
	webJSONHeader     = "Content-Type: application/grpc-web+json\n"
)

// wire is one way to write a request: protocol and codec.
type wire struct {
	name   string
	header string
	json   bool
	framed bool
	// encoding and accept are the headers of compression.
	encoding, accept string
}

var wires = []wire{
	{"connect proto", protoHeader, false, false, "Content-Encoding", "Accept-Encoding"},
	{"connect json", jsonHeader, true, false, "Content-Encoding", "Accept-Encoding"},
	{"connect stream proto", connectHeader, false, true, "Connect-Content-Encoding", "Connect-Accept-Encoding"},
	{"connect stream json", connectJSONHeader, true, true, "Connect-Content-Encoding", "Connect-Accept-Encoding"},
	{"grpc proto", grpcHeader, false, true, "Grpc-Encoding", "Grpc-Accept-Encoding"},
	{"grpc json", grpcJSONHeader, true, true, "Grpc-Encoding", "Grpc-Accept-Encoding"},
	{"web proto", webHeader, false, true, "Grpc-Encoding", "Grpc-Accept-Encoding"},
	{"web json", webJSONHeader, true, true, "Grpc-Encoding", "Grpc-Accept-Encoding"},
}

// payload returns a message in the wire's codec.
func (w wire) payload(text string) string {
	if w.json {
		return jsonMessage(text)
	}
	return message(text)
}

// request returns a body with the given messages.
func (w wire) request(texts ...string) string {
	var b strings.Builder
	for _, text := range texts {
		if w.framed {
			b.WriteString(envelope(0, w.payload(text)))
		} else {
			b.WriteString(w.payload(text))
		}
	}
	return b.String()
}

// unary reports whether the wire carries unary calls, and stream whether it carries streams.
func (w wire) unary() bool  { return !strings.HasPrefix(w.name, "connect stream") }
func (w wire) stream() bool { return w.framed }

func serverCases() []serverCase {
	var cases []serverCase
	for _, group := range [][]serverCase{
		routingCases(), everyWireCases(), compressionCases(), framingCases(),
		errorCases(), getCases(), timeoutCases(), limitCases(), optionCases(), errorWriterCases(),
	} {
		cases = append(cases, group...)
	}
	return cases
}

func routingCases() []serverCase {
	hello := message("hello")
	framed := envelope(0, hello)
	return []serverCase{
		{name: "2 unread body", path: "ClientStream", header: connectHeader + "Connect-Protocol-Version: 0\n", body: framed, version: "1.1", chunked: true},
		{name: "2 GET on a method with side effects", verb: "GET", path: "Unary?connect=v1&encoding=json&message=%7B%7D"},
		{name: "2 PUT", verb: "PUT", path: "Unary", header: protoHeader, body: hello},
		{name: "2 PUT on a method without side effects", verb: "PUT", path: "Get", header: protoHeader, body: hello},
		{name: "2 HEAD", verb: "HEAD", path: "Get?connect=v1&encoding=json&message=%7B%7D"},
		{name: "2 OPTIONS", verb: "OPTIONS", path: "Unary"},
		{name: "2 DELETE on a stream", verb: "DELETE", path: "ServerStream", header: connectHeader},
		{name: "3 content type text", path: "Unary", header: "Content-Type: text/plain\n", body: hello},
		{name: "3 content type missing", path: "Unary", body: hello},
		{name: "3 content type malformed", path: "Unary", header: "Content-Type: application/\n", body: hello},
		{name: "3 content type form", path: "ServerStream", header: "Content-Type: application/x-www-form-urlencoded\n", body: "a=b"},
		{name: "3 server with another codec lists it", server: script.Server{RawCodec: true}, path: "Unary", header: "Content-Type: text/plain\n"},
		{name: "3 list of a stream", path: "ClientStream", header: "Content-Type: text/plain\n"},
		{name: "3 list of a method without side effects", path: "Get", header: "Content-Type: text/plain\n"},
		{name: "4 codec unknown connect", path: "Unary", header: "Content-Type: application/thrift\n", body: hello},
		{name: "4 codec unknown connect stream", path: "ServerStream", header: "Content-Type: application/connect+thrift\n", body: framed},
		{name: "4 codec unknown grpc", path: "Unary", header: "Content-Type: application/grpc+thrift\n", body: framed},
		{name: "4 codec unknown web", path: "Unary", header: "Content-Type: application/grpc-web+thrift\n", body: framed},
		{name: "5 unary type on a stream", path: "ServerStream", header: jsonHeader, body: "{}"},
		{name: "5 stream type on unary", path: "Unary", header: connectHeader, body: framed},
		{name: "6 upper case", path: "Unary", header: "Content-Type: APPLICATION/JSON\n", body: jsonMessage("hello")},
		{name: "6 charset", path: "Unary", header: "Content-Type: application/json; charset=utf-8\n", body: jsonMessage("hello")},
		{name: "6 charset upper case", path: "Unary", header: "Content-Type: application/json;charset=UTF-8\n", body: jsonMessage("hello")},
		{name: "6 charset other", path: "Unary", header: "Content-Type: application/json; charset=latin1\n", body: jsonMessage("hello")},
		{name: "6 charset on proto", path: "Unary", header: "Content-Type: application/proto; charset=utf-8\n", body: hello},
		{name: "6 parameter other", path: "Unary", header: "Content-Type: application/json; q=1\n", body: jsonMessage("hello")},
		{name: "6 charset on a stream", path: "ServerStream", header: "Content-Type: application/connect+json; charset=utf-8\n", body: envelope(0, jsonMessage("hello"))},
		{name: "6 upper case see", path: "Unary", header: "Content-Type: APPLICATION/JSON\n", body: jsonMessage("see")},
		{name: "6 charset upper case see", path: "Unary", header: "Content-Type: application/json;charset=UTF-8\n", body: jsonMessage("see")},
		{name: "6 upper case stream see", path: "ServerStream", header: "Content-Type: Application/Connect+Proto\n", body: envelope(0, message("see"))},
		{name: "6 upper case grpc see", path: "Unary", header: "Content-Type: Application/gRPC+Proto\n", body: envelope(0, message("see"))},
		{name: "6 upper case grpc", path: "Unary", header: "Content-Type: Application/gRPC+Proto\n", body: framed},
		{name: "7 grpc bare", path: "Unary", header: "Content-Type: application/grpc\n", body: framed},
		{name: "7 grpc proto", path: "Unary", header: "Content-Type: application/grpc+proto\n", body: framed},
		{name: "7 web bare", path: "Unary", header: "Content-Type: application/grpc-web\n", body: framed},
		{name: "9 bidi connect", path: "BidiStream", header: connectHeader, body: framed + framed},
		{name: "9 bidi grpc", path: "BidiStream", header: grpcHeader, body: framed + framed},
		{name: "9 bidi web", path: "BidiStream", header: webHeader, body: framed + framed},
		{name: "12 version right", path: "Unary", header: protoHeader + "Connect-Protocol-Version: 1\n", body: hello},
		{name: "12 version wrong", path: "Unary", header: protoHeader + "Connect-Protocol-Version: 2\n", body: hello},
		{name: "12 version wrong on a stream", path: "ServerStream", header: connectHeader + "Connect-Protocol-Version: 0\n", body: framed},
		{name: "12 version missing but required", server: script.Server{RequireHeader: true}, path: "Unary", header: protoHeader, body: hello},
		{name: "12 version given and required", server: script.Server{RequireHeader: true}, path: "Unary", header: protoHeader + "Connect-Protocol-Version: 1\n", body: hello},
		{name: "12 version missing on a stream", server: script.Server{RequireHeader: true}, path: "ServerStream", header: connectHeader, body: framed},
		{name: "12 version missing in grpc", server: script.Server{RequireHeader: true}, path: "Unary", header: grpcHeader, body: framed},
		{name: "74 grpc web text", path: "Unary", header: "Content-Type: application/grpc-web-text\n", body: framed},
		{name: "74 grpc web text proto", path: "Unary", header: "Content-Type: application/grpc-web-text+proto\n", body: framed},
	}
}

// everyWireCases crosses the wires with the kinds and with what handlers do.
func everyWireCases() []serverCase {
	var cases []serverCase
	for _, w := range wires {
		add := func(item, name, path, header string, texts ...string) {
			cases = append(cases, serverCase{
				name: fmt.Sprintf("%s %s %s %s", item, w.name, path, name),
				path: path, header: w.header + header, body: w.request(texts...),
			})
		}
		if w.unary() {
			for _, path := range []string{"Unary", "UnarySimple"} {
				add("34", "echo", path, "", "hello")
				add("34", "empty answer", path, "", "empty")
				add("51", "metadata", path, "Meta: a\nMeta: b\nMeta-Bin: AAE\n", "see header")
				add("50", "metadata and error", path, "", "header code=9 detail errmeta")
				add("nil", "nil answer", path, "", "nil")
			}
			add("51", "reserved metadata", "Unary", "", "reserved")
			for _, key := range []string{"Www-Authenticate", "Cache-Control", "Vary", "content-type"} {
				add("51", "metadata "+key, "Unary", "", "connection="+key)
				add("51", "error metadata "+key, "Unary", "", "code=9 errconn="+key)
			}
			for _, key := range []string{"Keep-Alive", "Upgrade", "Transfer-Encoding"} {
				add("51", "metadata "+key, "Unary", "", "connection="+key)
				add("51", "error metadata "+key, "Unary", "", "code=9 errconn="+key)
			}
			add("61", "vary", "Unary", "", "vary")
			add("47", "details", "Unary", "", "code=3 detail")
			add("47", "details of a plain error", "Unary", "", "detail")
			add("51", "error metadata", "Unary", "", "code=7 errmeta")
			add("52", "wire error", "Unary", "", "wire")
			add("52", "wire error with details", "Unary", "", "wire detail errmeta")
			add("53", "not modified over POST", "Unary", "", "notmodified")
			add("54", "plain error", "Unary", "", "plain")
			add("54", "plain error and metadata", "Unary", "", "header plain")
			add("54", "context canceled", "Unary", "", "canceled")
			add("54", "context deadline", "Unary", "", "deadline")
			add("54", "body over a limit", "Unary", "", "toolarge")
			add("54", "broken connection", "Unary", "", "broken")
			add("54", "wrapped", "Unary", "", "code=5 detail errmeta wrapped")
			add("41", "error without text", "Unary", "", "nothing")
			add("41", "code out of range", "Unary", "", "code=17")
			add("41", "code zero", "Unary", "", "code=0")
			for code := 1; code <= 16; code++ {
				add("41", fmt.Sprintf("code %d", code), "Unary", "", fmt.Sprintf("code=%d", code))
			}
			add("88", "panic", "Unary", "", "panic")
			add("88", "abort", "Unary", "", "abort")
		}
		if w.stream() {
			for _, path := range []string{"ClientStream", "ClientStreamSimple", "ServerStream", "ServerStreamSimple"} {
				add("34", "echo", path, "", "hello")
				add("51", "metadata", path, "Meta: a\nMeta: b\n", "see header")
				add("51", "reserved metadata", path, "", "harmless")
				add("51", "reserved metadata and error", path, "", "harmless code=9 errmeta")
				add("66", "metadata and error", path, "", "header code=9 detail errmeta")
				add("54", "plain error", path, "", "plain")
				add("54", "body over a limit", path, "", "toolarge")
				add("54", "broken connection", path, "", "broken")
				add("34", "empty answer", path, "", "empty")
			}
			for _, length := range []int{0, 3, 5, 7, 1000} {
				add("51", fmt.Sprintf("length %d in metadata", length), "ServerStream", "", fmt.Sprintf("n=3 length=%d", length))
				add("51", fmt.Sprintf("length %d in metadata and nil first", length), "ServerStream", "", fmt.Sprintf("sendnil n=3 length=%d", length))
				add("51", fmt.Sprintf("length %d in metadata and error", length), "ServerStream", "", fmt.Sprintf("first code=9 n=1 length=%d", length))
				add("51", fmt.Sprintf("length %d in metadata", length), "ClientStream", "", fmt.Sprintf("length=%d", length))
			}
			for _, key := range []string{"Keep-Alive", "Upgrade", "Transfer-Encoding"} {
				for _, path := range []string{"ClientStream", "ServerStream"} {
					add("51", "metadata "+key, path, "", "connection="+key)
					add("51", "error metadata "+key, path, "", "code=9 errconn="+key)
				}
			}
			for _, key := range []string{"Www-Authenticate", "content-type"} {
				add("51", "error metadata "+key, "ServerStream", "", "code=9 errconn="+key)
				add("51", "error metadata "+key+" after a message", "ServerStream", "", "first n=1 code=9 errconn="+key)
			}
			add("34", "several", "ClientStream", "", "a", "b", "", "d")
			add("34", "nothing", "ClientStream", "")
			add("nil", "nil answer", "ClientStream", "", "nil")
			add("nil", "nil answer", "ClientStreamSimple", "", "nil")
			add("34", "several", "ServerStream", "", "n=5")
			add("34", "none", "ServerStream", "", "n=0")
			add("34", "none with metadata", "ServerStream", "", "n=0 header")
			add("40", "nil first", "ServerStream", "", "sendnil n=2 header")
			add("40", "nil first and error", "ServerStream", "", "sendnil code=8")
			add("66", "error after messages", "ServerStream", "", "first header n=2 code=10 detail errmeta")
			add("52", "wire error", "ServerStream", "", "wire")
			add("53", "not modified", "ServerStream", "", "notmodified")
			add("54", "wrapped", "ServerStream", "", "code=5 detail wrapped")
			add("41", "error without text", "ServerStream", "", "nothing")
			add("41", "code zero", "ServerStream", "", "first n=1 code=0 detail")
			add("88", "panic", "ServerStream", "", "panic")
			add("88", "abort after messages", "ServerStream", "", "abort")
			add("34", "several", "BidiStream", "", "a", "n=2", "", "n=0", "see header")
			add("66", "error after messages", "BidiStream", "", "a", "header code=14 detail errmeta", "never read")
			add("34", "nothing", "BidiStream", "")
		}
	}
	return cases
}

func compressionCases() []serverCase {
	var cases []serverCase
	for _, w := range wires {
		add := func(item, name, path, header, body string, server script.Server) {
			// The default is a difference of its own, see below.
			server.CompressMinBytes = max(server.CompressMinBytes, 1)
			cases = append(cases, serverCase{
				name: fmt.Sprintf("%s %s %s %s", item, w.name, path, name), server: server,
				path: path, header: w.header + header, body: body,
			})
		}
		one := func(flags byte, payload string) string {
			if w.framed {
				return envelope(flags, payload)
			}
			return payload
		}
		path := "Unary"
		if !w.unary() {
			path = "ServerStream"
		}
		hello := w.payload("hello")
		add("21", "gzip request", path, w.encoding+": gzip\n", one(1, gzipped(hello)), script.Server{})
		add("21", "gzip request and answer", path, w.encoding+": gzip\n"+w.accept+": gzip\n", one(1, gzipped(hello)), script.Server{})
		add("19", "gzip answer by the request", path, w.encoding+": gzip\n", one(1, gzipped(w.payload("big=3000"))), script.Server{})
		add("21", "gzip answer", path, w.accept+": gzip\n", one(0, w.payload("big=3000")), script.Server{})
		add("21", "gzip answer below the minimum", path, w.accept+": gzip\n", one(0, hello), script.Server{CompressMinBytes: 100})
		add("21", "gzip answer above the minimum", path, w.accept+": gzip\n", one(0, w.payload("big=101")), script.Server{CompressMinBytes: 100})
		add("34", "gzip empty answer", path, w.accept+": gzip\n", one(0, w.payload("empty")), script.Server{})
		add("24", "gzip error", path, w.accept+": gzip\n", one(0, w.payload("code=9 detail header")), script.Server{})
		add("14", "request encoding unknown", path, w.encoding+": zstd\n", one(1, hello), script.Server{})
		add("14", "request encoding unknown and not used", path, w.encoding+": zstd\n", one(0, hello), script.Server{})
		add("14", "request encoding unknown to a server with more", path, w.encoding+": zstd\n", one(1, hello), script.Server{Reverse: true})
		timeout := "Grpc-Timeout: x\n"
		if strings.HasPrefix(w.name, "connect") {
			timeout = "Connect-Timeout-Ms: x\n"
		}
		add("order", "timeout malformed and encoding unknown", path, w.encoding+": zstd\n"+timeout, one(1, hello), script.Server{})
		add("order", "timeout malformed and gzip answer", path, w.accept+": gzip\n"+timeout, one(0, hello), script.Server{})
		if strings.HasPrefix(w.name, "connect") {
			add("order", "version wrong and encoding unknown", path, w.encoding+": zstd\nConnect-Protocol-Version: 2\n", one(1, hello), script.Server{})
			add("order", "version wrong and gzip answer", path, w.accept+": gzip\nConnect-Protocol-Version: 2\n", one(0, hello), script.Server{})
		}
		if w.unary() {
			add("order", "version missing and encoding unknown", path, w.encoding+": zstd\n", one(1, hello), script.Server{RequireHeader: true})
		}
		add("14", "request encoding removed", path, w.encoding+": gzip\n", one(1, gzipped(hello)), script.Server{NoGzip: true})
		add("20", "answer encoding unknown", path, w.accept+": zstd\n", one(0, hello), script.Server{})
		add("20", "answer encoding second", path, w.accept+": zstd, gzip\n", one(0, hello), script.Server{})
		add("20", "answer encoding without space", path, w.accept+": zstd,gzip\n", one(0, hello), script.Server{})
		add("20", "answer encoding order", path, w.accept+": reverse, gzip\n", one(0, hello), script.Server{Reverse: true})
		add("20", "answer encoding other order", path, w.accept+": gzip, reverse\n", one(0, hello), script.Server{Reverse: true})
		add("20", "answer encoding identity first", path, w.accept+": identity, gzip\n", one(0, hello), script.Server{})
		add("20", "answer encoding with quality", path, w.accept+": gzip;q=1.0\n", one(0, hello), script.Server{})
		add("20", "answer encoding excluded", path, w.accept+": gzip;q=0\n", one(0, hello), script.Server{})
		add("20", "answer encoding any", path, w.accept+": *\n", one(0, hello), script.Server{})
		add("20", "answer encoding upper case", path, w.accept+": GZIP\n", one(0, hello), script.Server{})
		add("20", "answer encoding empty", path, w.accept+":\n", one(0, hello), script.Server{})
		add("21", "request and answer differ", path, w.encoding+": reverse\n"+w.accept+": gzip\n", one(1, reversed(hello)), script.Server{Reverse: true})
		add("21", "identity", path, w.encoding+": identity\n"+w.accept+": identity\n", one(0, hello), script.Server{})
		add("21", "not gzip", path, w.encoding+": gzip\n", one(1, hello), script.Server{})
		add("21", "gzip cut off", path, w.encoding+": gzip\n", one(1, gzipped(hello)[:15]), script.Server{})
		for size, name := range map[int]string{0: "nothing", 1: "1 byte", 1010: "1010 bytes", 1030: "1030 bytes"} {
			cases = append(cases, serverCase{
				name: fmt.Sprintf("21 %s %s gzip answer by default, %s", w.name, path, name),
				path: path, header: w.header + w.accept + ": gzip\n", body: one(0, w.payload(fmt.Sprintf("big=%d", size))),
			})
		}
		if w.framed {
			add("16", "flag without encoding", path, "", one(1, hello), script.Server{})
			add("16", "flag with identity", path, w.encoding+": identity\n", one(1, hello), script.Server{})
			add("16", "flag without encoding, empty", path, "", one(1, ""), script.Server{})
			add("18", "flag with gzip, empty", path, w.encoding+": gzip\n", one(1, ""), script.Server{})
			add("21", "encoding without flag", path, w.encoding+": gzip\n", one(0, hello), script.Server{})
			add("22", "several", "ClientStream", w.encoding+": gzip\n"+w.accept+": gzip\n",
				one(1, gzipped(hello))+one(0, hello)+one(1, gzipped(w.payload("big=2000"))), script.Server{})
			add("22", "several answers", "ServerStream", w.accept+": gzip\n", one(0, w.payload("n=3 header")), script.Server{})
			add("24", "error after messages", "ServerStream", w.accept+": gzip\n", one(0, w.payload("first n=1 code=9 detail")), script.Server{})
		} else {
			add("17", "gzip without content", path, w.encoding+": gzip\n", "", script.Server{})
		}
	}
	return cases
}

func framingCases() []serverCase {
	var cases []serverCase
	for _, w := range wires {
		add := func(item, name, path, body string) {
			cases = append(cases, serverCase{
				name: fmt.Sprintf("%s %s %s %s", item, w.name, path, name),
				path: path, header: w.header, body: body,
			})
		}
		if !w.framed {
			add("37", "empty body", "Unary", "")
			add("86", "garbage", "Unary", "\xff\xfe\xfd")
			add("38", "unknown field", "Unary", map[bool]string{true: `{"fileName":"hello","extra":[1]}`, false: message("hello") + "\x10\x01"}[w.json])
			add("86", "two values", "Unary", w.payload("a")+w.payload("b"))
			continue
		}
		hello := envelope(0, w.payload("hello"))
		var paths []string
		if w.unary() {
			paths = append(paths, "Unary")
		}
		for _, path := range append(paths, "ServerStream", "ClientStream", "BidiStream") {
			add("29", "prefix cut off", path, hello[:3])
			add("29", "prefix alone", path, hello[:5])
			add("29", "message cut off", path, hello[:len(hello)-1])
			add("29", "second prefix cut off", path, hello+hello[:2])
			add("29", "second message cut off", path, hello+hello[:7])
			add("30", "flag bit unknown", path, envelope(4, w.payload("hello")))
			add("30", "flag bits unknown", path, envelope(0xf0, w.payload("hello")))
			add("31", "end flag alone", path, envelope(2, "{}"))
			add("31", "end flag after a message", path, hello+envelope(2, "{}"))
			add("31", "end flag with an error", path, hello+envelope(2, `{"error":{"code":"internal"}}`))
			add("32", "trailer flag", path, hello+envelope(0x80, "grpc-status: 0\r\n"))
			add("35", "no message", path, "")
			add("35", "two messages", path, hello+hello)
			add("37", "empty payload", path, envelope(0, ""))
			add("38", "unknown field", path, envelope(0, map[bool]string{true: `{"fileName":"hello","extra":[1]}`, false: message("hello") + "\x10\x01"}[w.json]))
			add("86", "garbage", path, envelope(0, "\xff\xfe\xfd"))
			add("86", "garbage second", path, hello+envelope(0, "\xff\xfe\xfd"))
		}
	}
	return cases
}

func errorCases() []serverCase {
	return []serverCase{
		{name: "1 unknown method", path: "Unknown", header: protoHeader, body: message("hello")},
		{name: "1 case of the method", path: "unary", header: protoHeader, body: message("hello")},
		{name: "72 duplicate request metadata", path: "Unary", header: protoHeader + "Multi: 1\nMulti: 2\nMulti: 3\nMulti-Bin: AQ\nMulti-Bin: Ag==\n", body: message("see")},
		{name: "72 duplicate request metadata grpc", path: "Unary", header: grpcHeader + "Multi: 1\nMulti: 2\nMulti-Bin: AQ,Ag==\n", body: envelope(0, message("see"))},
		{name: "90 reserved request metadata", path: "Unary", header: protoHeader + "Grpc-Status: 3\nConnect-Extra: 1\nTrailer-X: 2\n", body: message("see")},
		{name: "73 caller's user agent", path: "Unary", header: protoHeader + "User-Agent: user: agent\n", body: message("see")},
	}
}

func getCases() []serverCase {
	var cases []serverCase
	add := func(item, name, query, header string) {
		cases = append(cases, serverCase{name: item + " GET " + name, verb: http.MethodGet, path: "Get?" + query, header: header})
	}
	text := func(text string) string { return "message=" + url.QueryEscape(jsonMessage(text)) }
	add("56", "json", "connect=v1&encoding=json&"+text("hello"), "")
	add("56", "other order", text("hello")+"&encoding=json&connect=v1", "")
	add("56", "unknown parameter", "extra=1&connect=v1&encoding=json&"+text("hello"), "")
	add("56", "parameter twice", "connect=v1&encoding=json&"+text("first")+"&"+text("second"), "")
	add("12", "without version", "encoding=json&"+text("hello"), "")
	add("12", "version wrong", "connect=v2&encoding=json&"+text("hello"), "")
	add("12", "version in the header", "encoding=json&"+text("hello"), "Connect-Protocol-Version: 1\n")
	add("57", "without encoding", "connect=v1&"+text("hello"), "")
	add("57", "unknown encoding", "connect=v1&encoding=thrift&"+text("hello"), "")
	add("57", "without message", "connect=v1&encoding=json", "")
	add("57", "without message proto", "connect=v1&encoding=proto", "")
	add("57", "empty message json", "connect=v1&encoding=json&message=", "")
	add("57", "empty message proto", "connect=v1&encoding=proto&message=", "")
	add("57", "empty message proto base64", "connect=v1&encoding=proto&base64=1&message=", "")
	add("58", "base64", "connect=v1&encoding=proto&base64=1&message=CgVoZWxsbw", "")
	add("58", "base64 padded", "connect=v1&encoding=proto&base64=1&message=CgVoZWxsbw%3D%3D", "")
	add("58", "base64 with the other alphabet", "connect=v1&encoding=proto&base64=1&message=%2B%2F%2B%2F", "")
	add("58", "base64 malformed", "connect=v1&encoding=proto&base64=1&message=%21%21", "")
	add("58", "base64 other value", "connect=v1&encoding=json&base64=0&"+text("hello"), "")
	add("58", "base64 value true", "connect=v1&encoding=json&base64=true&"+text("hello"), "")
	add("59", "compression", "connect=v1&encoding=json&base64=1&compression=gzip&message="+url.QueryEscape(base64url(gzipped(jsonMessage("hello")))), "")
	add("59", "compression unknown", "connect=v1&encoding=json&compression=zstd&"+text("hello"), "")
	add("59", "compression identity", "connect=v1&encoding=json&compression=identity&"+text("hello"), "")
	add("59", "compression empty", "connect=v1&encoding=json&compression=&"+text("hello"), "")
	add("59", "compression of nothing", "connect=v1&encoding=json&compression=gzip&message=", "")
	add("60", "timeout", "connect=v1&encoding=json&"+text("see"), "Connect-Timeout-Ms: 60000\n")
	add("60", "what the handler sees", "connect=v1&encoding=json&"+text("see"), "Meta: a\n")
	add("61", "answer compressed", "connect=v1&encoding=json&"+text("big=2000"), "Accept-Encoding: gzip\n")
	add("61", "vary of the handler", "connect=v1&encoding=json&"+text("vary"), "")
	add("61", "error", "connect=v1&encoding=json&"+text("code=5 detail"), "Accept-Encoding: gzip\n")
	add("61", "metadata", "connect=v1&encoding=json&"+text("header"), "")
	add("53", "not modified", "connect=v1&encoding=json&"+text("notmodified"), "If-None-Match: old\n")
	add("53", "not modified wrapped", "connect=v1&encoding=json&"+text("header notmodified wrapped"), "If-None-Match: old\n")
	add("86", "garbage", "connect=v1&encoding=json&message=%FF", "")
	add("86", "malformed query", "connect=v1&encoding=json&message=%zz", "")
	add("55", "content type json", "connect=v1&encoding=json&"+text("hello"), jsonHeader)
	add("55", "content type grpc", "connect=v1&encoding=json&"+text("hello"), grpcHeader)
	cases = append(cases,
		serverCase{name: "59 GET with a body", verb: http.MethodGet, path: "Get?connect=v1&encoding=json&" + text("hello"), body: "body"},
		serverCase{name: "12 GET without version but required", server: script.Server{RequireHeader: true}, verb: http.MethodGet, path: "Get?encoding=json&" + text("hello")},
		serverCase{name: "12 GET with version required", server: script.Server{RequireHeader: true}, verb: http.MethodGet, path: "Get?connect=v1&encoding=json&" + text("hello")},
		serverCase{name: "25 GET over the limit", server: script.Server{ReadMaxBytes: 10}, verb: http.MethodGet, path: "Get?connect=v1&encoding=json&" + text("hello")},
		serverCase{name: "55 GET on a stream", verb: http.MethodGet, path: "ServerStream?connect=v1&encoding=json&" + text("hello")},
		serverCase{name: "55 POST on the same method", path: "Get", header: jsonHeader, body: jsonMessage("see")},
	)
	return cases
}

func timeoutCases() []serverCase {
	var cases []serverCase
	connectUnary, connectStream := wires[0], wires[2]
	grpc, web := wires[4], wires[6]
	add := func(item string, w wire, path, header, text string) {
		cases = append(cases, serverCase{
			name: fmt.Sprintf("%s %s %s %s", item, w.name, strings.ReplaceAll(strings.TrimSpace(header), ":", ""), text),
			path: path, header: w.header + header, body: w.request(text),
		})
	}
	for _, value := range []string{"60000", "9999999999", "12345678901", "0", "-1", "abc", "", "+5000", "5 ", "1.5", "0000000001000", "99999999999999999999"} {
		add("75", connectUnary, "Unary", "Connect-Timeout-Ms: "+value+"\n", "see")
		add("75", connectStream, "ServerStream", "Connect-Timeout-Ms: "+value+"\n", "see")
	}
	for _, value := range []string{"1M", "60S", "60000m", "60000000u", "99999999n", "99999999M", "99999999H", "100000000S", "5x", "S", "", "5", "-1S", "+1S", "0n", "0S", "1.5S", "1SS"} {
		add("77", grpc, "Unary", "Grpc-Timeout: "+value+"\n", "see")
		add("77", web, "ServerStream", "Grpc-Timeout: "+value+"\n", "see")
	}
	for _, w := range wires {
		header := "Grpc-Timeout: 30m\n"
		if strings.HasPrefix(w.name, "connect") {
			header = "Connect-Timeout-Ms: 30\n"
		}
		if w.unary() {
			add("79", w, "Unary", header, "wait")
		}
		if w.stream() {
			add("79 stream", w, "ServerStream", header, "wait")
		}
	}
	return cases
}
