// SPDX-License-Identifier: Apache-2.0

// This file holds the requests about limits, options and the ErrorWriter.

package compat

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/seed-b7c59c10/connect/internal/compat/script"
)

func limitCases() []serverCase {
	const mebi = 1 << 20
	var cases []serverCase
	for _, w := range wires {
		path := "Unary"
		if !w.unary() {
			path = "ClientStream"
		}
		add := func(item, name, path string, server script.Server, header, body string, measure bool) {
			cases = append(cases, serverCase{
				name: fmt.Sprintf("%s %s %s %s", item, w.name, path, name), server: server,
				path: path, header: w.header + header, body: body, measure: measure,
			})
		}
		one := func(flags byte, payload string) string {
			if w.framed {
				return envelope(flags, payload)
			}
			return payload
		}
		text := strings.Repeat("x", 100)
		exact := len(w.payload(text))
		add("25", "as large as the limit", path, script.Server{ReadMaxBytes: exact}, "", w.request(text), false)
		add("25", "larger than the limit", path, script.Server{ReadMaxBytes: exact - 1}, "", w.request(text), false)
		add("25", "inflated as large as the limit", path, script.Server{ReadMaxBytes: exact}, w.encoding+": gzip\n", one(1, gzipped(w.payload(text))), false)
		add("25", "inflated larger than the limit", path, script.Server{ReadMaxBytes: exact - 1}, w.encoding+": gzip\n", one(1, gzipped(w.payload(text))), false)
		// Over HTTP/1.1 the answer to a client that is still sending may get lost
		// with the connection.
		cases = append(cases, serverCase{
			name: fmt.Sprintf("25 %s %s 4 MiB over a limit of 1 KiB", w.name, path), server: script.Server{ReadMaxBytes: 1024},
			path: path, header: w.header, body: w.request(strings.Repeat("x", 4*mebi)), version: "2", measure: true,
		})
		add("25", "4 MiB inflated over a limit of 64 KiB", path, script.Server{ReadMaxBytes: 64 << 10, Inflated: &script.Counter{}},
			w.encoding+": gzip\n", one(1, gzipped(w.payload(strings.Repeat("x", 4*mebi)))), true)
		add("25", "send limit", path, script.Server{SendMaxBytes: 100}, "", w.request("big=100"), false)
		add("25", "send limit kept", path, script.Server{SendMaxBytes: 200}, "", w.request("big=100"), false)
		add("25", "send limit with compression", path, script.Server{SendMaxBytes: 100, CompressMinBytes: 1}, w.accept+": gzip\n", w.request("big=5000"), false)
		add("27", "send limit and large error", path, script.Server{SendMaxBytes: 60}, "", w.request("code=9 detail errmeta"), false)
		if w.framed {
			for name, server := range map[string]script.Server{
				"": {SendMaxBytes: 60}, ", compressed": {SendMaxBytes: 190, CompressMinBytes: 1}, ", small when compressed": {SendMaxBytes: 450, CompressMinBytes: 1}, ", too small to compress": {SendMaxBytes: 60, CompressMinBytes: 1000},
			} {
				accept := ""
				if server.CompressMinBytes > 0 {
					accept = w.accept + ": gzip\n"
				}
				add("27", "send limit and large error"+name, "ServerStream", server, accept, w.request("code=9 detail errmeta"), false)
				add("27", "send limit and large error after a message"+name, "ServerStream", server, accept, w.request("first n=1 code=9 detail errmeta"), false)
				add("27", "send limit and large trailers"+name, "ServerStream", server, accept, w.request("n=1 header"), false)
			}
			add("26", "third message over the limit", "ClientStream", script.Server{ReadMaxBytes: exact - 1}, "", w.request("a", "b", text), false)
			cases = append(cases, serverCase{
				name: fmt.Sprintf("26 %s BidiStream third message over the limit", w.name), server: script.Server{ReadMaxBytes: exact - 1},
				path: "BidiStream", header: w.header, body: w.request("a", "b", text), version: "2",
			})
			add("25", "send limit after messages", "ServerStream", script.Server{SendMaxBytes: 60}, "", w.request("n=2"), false)
			cases = append(cases, serverCase{
				name: fmt.Sprintf("28 %s %s length of 4 GiB", w.name, path), server: script.Server{ReadMaxBytes: 1024},
				path: path, header: w.header, body: "\x00\xff\xff\xff\xffabc",
			})
		}
		if w.json && w.framed {
			continue // the other codec covers it
		}
		cases = append(cases, serverCase{
			name: fmt.Sprintf("receive limit %s %s 17 MiB", w.name, path), path: path, header: w.header,
			body: w.request("big=1 " + strings.Repeat("x", 17*mebi)), version: "2",
		}, serverCase{
			name: fmt.Sprintf("receive limit %s %s 17 MiB without limit", w.name, path), server: script.Server{ReadMaxBytes: -1},
			path: path, header: w.header, body: w.request("big=1 " + strings.Repeat("x", 17*mebi)), version: "2",
		})
	}
	return cases
}

func optionCases() []serverCase {
	var cases []serverCase
	for _, w := range wires {
		path := "Unary"
		if !w.unary() {
			path = "ServerStream"
		}
		add := func(item, name, path string, server script.Server, header, text string) {
			cases = append(cases, serverCase{
				name: fmt.Sprintf("%s %s %s %s", item, w.name, path, name), server: server,
				path: path, header: w.header + header, body: w.request(text),
			})
		}
		for _, status := range []string{"reverse", "fails"} {
			add("codec", "status "+status, path, script.Server{ProtoCodec: status}, "", "code=9 detail errmeta header")
			if w.stream() {
				add("codec", "status "+status, "ServerStream", script.Server{ProtoCodec: status}, "", "first n=1 code=9 detail")
			}
			add("codec", "status "+status+" without details", path, script.Server{ProtoCodec: status}, "", "code=9")
			cases = append(cases, serverCase{
				name: fmt.Sprintf("codec %s ErrorWriter status %s", w.name, status), server: script.Server{ProtoCodec: status},
				path: "/errorwriter", header: w.header + "Script: code=9 detail\n",
			})
		}
		if w.unary() {
			for returned, item := range map[string]string{"nothing": "nil", "nil response": "nil", "another message": "87"} {
				add(item, "interceptor returns "+returned, path, script.Server{Replace: returned}, "", "hello")
			}
		}
		add("88", "panic recovered", path, script.Server{Recover: true}, "", "header panic")
		add("88", "abort not recovered", path, script.Server{Recover: true}, "", "abort")
		add("87", "interceptor", path, script.Server{Interceptor: true}, "", "header")
		add("87", "interceptor and error", path, script.Server{Interceptor: true}, "", "code=5 errmeta")
		add("87", "gate open", path, script.Server{Gate: true}, "", "hello")
		add("87", "gate closed", path, script.Server{Gate: true}, "Refuse: yes\n", "hello")
		add("87", "gate before interceptor", path, script.Server{Gate: true, Interceptor: true}, "Refuse: yes\n", "hello")
		add("25", "option for one method", path, script.Server{ConditionalReadMax1: true}, "", "hello")
		if w.stream() {
			add("87", "interceptor", "ClientStream", script.Server{Interceptor: true}, "", "header")
			add("88", "panic recovered", "BidiStream", script.Server{Recover: true}, "", "panic")
			add("87", "gate closed", "BidiStream", script.Server{Gate: true}, "Refuse: yes\n", "hello")
		}
	}
	raw := script.Server{RawCodec: true}
	return append(cases,
		serverCase{name: "4 codec raw", server: raw, path: "Unary", header: "Content-Type: application/raw\n", body: "hello"},
		serverCase{name: "4 codec raw grpc", server: raw, path: "Unary", header: "Content-Type: application/grpc+raw\n", body: envelope(0, "hello")},
		serverCase{name: "4 codec raw stream", server: raw, path: "ServerStream", header: "Content-Type: application/connect+raw\n", body: envelope(0, "n=2")},
		serverCase{name: "4 codec raw GET", server: raw, verb: http.MethodGet, path: "Get?connect=v1&encoding=raw&message=hello"},
		serverCase{name: "86 codec raw refuses", server: raw, path: "Unary", header: "Content-Type: application/raw\n", body: "bad"},
		serverCase{name: "86 codec raw refuses grpc", server: raw, path: "Unary", header: "Content-Type: application/grpc+raw\n", body: envelope(0, "bad")},
	)
}

func errorWriterCases() []serverCase {
	var cases []serverCase
	for _, script := range []string{"code=0 detail", "code=16", "code=5 detail errmeta", "plain", "wrapped", "nothing", "wire errmeta", "code=4 wrapped"} {
		for _, w := range wires {
			cases = append(cases, serverCase{
				name: fmt.Sprintf("ErrorWriter %s %s", w.name, script), path: "/errorwriter",
				header: w.header + "Script: " + script + "\n", body: w.request("hello"),
			})
		}
		cases = append(cases,
			serverCase{name: "ErrorWriter GET " + script, verb: http.MethodGet, path: "/errorwriter?connect=v1&encoding=json&message=%7B%7D", header: "Script: " + script + "\n"},
			serverCase{name: "ErrorWriter GET with version header " + script, verb: http.MethodGet, path: "/errorwriter?encoding=json&message=%7B%7D", header: "Connect-Protocol-Version: 1\nScript: " + script + "\n"},
		)
	}
	for name, header := range map[string]string{
		"text": "Content-Type: text/plain\n", "none": "", "thrift": "Content-Type: application/thrift\n",
		"charset": "Content-Type: application/json; charset=utf-8\n", "grpc thrift": "Content-Type: application/grpc+thrift\n",
		"stream thrift": "Content-Type: application/connect+thrift\n", "web text": "Content-Type: application/grpc-web-text\n",
	} {
		cases = append(cases,
			serverCase{name: "ErrorWriter content type " + name, path: "/errorwriter", header: header + "Script: code=5\n"},
			serverCase{name: "ErrorWriter content type with required version " + name, server: script.Server{RequireHeader: true}, path: "/errorwriter", header: header + "Script: code=5\n"},
		)
	}
	return append(cases,
		serverCase{name: "ErrorWriter GET other", verb: http.MethodGet, path: "/errorwriter", header: "Script: code=5\n"},
		serverCase{name: "ErrorWriter GET without version", verb: http.MethodGet, path: "/errorwriter?encoding=json&message=%7B%7D", header: "Script: code=5\n"},
		serverCase{name: "ErrorWriter required version given", server: script.Server{RequireHeader: true}, path: "/errorwriter", header: protoHeader + "Connect-Protocol-Version: 1\nScript: code=5\n"},
		serverCase{name: "ErrorWriter send limit", server: script.Server{SendMaxBytes: 20}, path: "/errorwriter", header: protoHeader + "Script: code=5 detail errmeta\n"},
		serverCase{name: "ErrorWriter send limit of a stream", server: script.Server{SendMaxBytes: 20}, path: "/errorwriter", header: connectHeader + "Script: code=5 detail errmeta\n"},
		serverCase{name: "ErrorWriter send limit in grpc", server: script.Server{SendMaxBytes: 20}, path: "/errorwriter", header: grpcHeader + "Script: code=5 detail errmeta\n"},
		serverCase{name: "ErrorWriter gzip accepted", path: "/errorwriter", header: connectHeader + "Connect-Accept-Encoding: gzip\nScript: code=5 detail\n"},
		serverCase{name: "ErrorWriter PUT", verb: http.MethodPut, path: "/errorwriter", header: protoHeader + "Script: code=5\n"},
	)
}
