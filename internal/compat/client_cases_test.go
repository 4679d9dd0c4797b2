// SPDX-License-Identifier: Apache-2.0

// This file is the table of calls that clients of both libraries make, and of the responses that they get.

package compat

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/seed-b7c59c10/connect/internal/compat/script"
	"google.golang.org/protobuf/encoding/protowire"
)

// dialect is one protocol and codec of a client.
type dialect struct {
	name   string
	client script.Client
	wire   wire // of responses to streaming calls
	unary  wire // of responses to unary calls
}

var dialects = []dialect{
	{"connect proto", script.Client{}, wires[2], wires[0]},
	{"connect json", script.Client{JSON: true}, wires[3], wires[1]},
	{"grpc proto", script.Client{Protocol: "grpc"}, wires[4], wires[4]},
	{"grpc json", script.Client{Protocol: "grpc", JSON: true}, wires[5], wires[5]},
	{"web proto", script.Client{Protocol: "grpcweb"}, wires[6], wires[6]},
	{"web json", script.Client{Protocol: "grpcweb", JSON: true}, wires[7], wires[7]},
}

// wireFor returns the wire of a kind.
func (d dialect) wireFor(kind script.Kind) wire {
	if kind == script.Unary || kind == script.UnarySimple {
		return d.unary
	}
	return d.wire
}

// ok returns a successful answer with messages and the trailer lines "key: value".
func (d dialect) ok(kind script.Kind, header, trailer string, texts ...string) answer {
	w := d.wireFor(kind)
	a := answer{header: contentTypeOf(w) + header, body: w.request(texts...)}
	switch {
	case d.client.Protocol == "grpc":
		a.trailer = "Grpc-Status: 0\n" + trailer
	case d.client.Protocol == "grpcweb":
		a.body += envelope(0x80, "grpc-status: 0\r\n"+crlf(trailer))
	case w.framed:
		a.body += envelope(2, endStream("", trailer))
	default:
		for line := range strings.Lines(trailer) {
			a.header += "Trailer-" + line
		}
	}
	return a
}

// failed returns an answer with an error after the messages, with no details.
func (d dialect) failed(kind script.Kind, code int, name, trailer string, texts ...string) answer {
	w := d.wireFor(kind)
	a := answer{header: contentTypeOf(w), body: w.request(texts...)}
	status := fmt.Sprintf("Grpc-Status: %d\nGrpc-Message: user%%3A t%%C3%%A9st\n", code) + trailer
	switch {
	case d.client.Protocol == "grpc":
		a.trailer = status
	case d.client.Protocol == "grpcweb":
		a.body += envelope(0x80, strings.ToLower(crlf(status)))
	case w.framed:
		a.body += envelope(2, endStream(connectError(name, ""), trailer))
	default:
		a.status = http.StatusTeapot
		a.header = jsonHeader
		for line := range strings.Lines(trailer) {
			a.header += "Trailer-" + line
		}
		a.body = connectError(name, "")
	}
	return a
}

// contentTypeOf is the header of a wire's requests without the lines that only requests have.
func contentTypeOf(w wire) string { return strings.Replace(w.header, "Te: trailers\n", "", 1) }

func crlf(lines string) string { return strings.ReplaceAll(lines, "\n", "\r\n") }

// connectError is an error in Connect's JSON with the raw JSON of its details.
func connectError(code, details string) string {
	if details != "" {
		details = `,"details":` + details
	}
	return fmt.Sprintf(`{"code":%q,"message":"user: tést"%s}`, code, details)
}

// endStream is the payload of Connect's end of a stream.
func endStream(failure, trailer string) string {
	var fields []string
	if failure != "" {
		fields = append(fields, `"error":`+failure)
	}
	var metadata []string
	for key, values := range header(trailer) {
		var quoted []string
		for _, value := range values {
			quoted = append(quoted, fmt.Sprintf("%q", value))
		}
		metadata = append(metadata, fmt.Sprintf("%q:[%s]", strings.ToLower(key), strings.Join(quoted, ",")))
	}
	if len(metadata) > 0 {
		fields = append(fields, `"metadata":{`+strings.Join(metadata, ",")+`}`)
	}
	return "{" + strings.Join(fields, ",") + "}"
}

// statusDetails encodes a google.rpc.Status with one detail.
func statusDetails(code uint64, text string) string {
	detail := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "type.googleapis.com/google.protobuf.SourceContext")
	detail = protowire.AppendString(protowire.AppendTag(detail, 2, protowire.BytesType), message("detail"))
	data := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), code)
	data = protowire.AppendString(protowire.AppendTag(data, 2, protowire.BytesType), text)
	data = protowire.AppendBytes(protowire.AppendTag(data, 3, protowire.BytesType), detail)
	return base64.RawStdEncoding.EncodeToString(data)
}

var kinds = []script.Kind{
	script.Unary, script.UnarySimple, script.ClientStream, script.ClientStreamSimple,
	script.ServerStream, script.BidiStream, script.BidiStreamSimple,
}

// single reports whether a kind has exactly one response message.
func single(kind script.Kind) bool {
	return strings.HasPrefix(string(kind), "Unary") || strings.HasPrefix(string(kind), "ClientStream")
}

var codeNames = []string{
	"ok", "canceled", "unknown", "invalid_argument", "deadline_exceeded", "not_found", "already_exists",
	"permission_denied", "resource_exhausted", "failed_precondition", "aborted", "out_of_range",
	"unimplemented", "internal", "unavailable", "data_loss", "unauthenticated",
}

func clientCases() []clientCase {
	var cases []clientCase
	for _, group := range [][]clientCase{
		everyKindCases(), clientCompressionCases(), responseCases(), connectResponseCases(), endStreamCases(),
		grpcResponseCases(), webResponseCases(), clientGetCases(), transportCases(), clientLimitCases(),
		againCases(),
	} {
		cases = append(cases, group...)
	}
	return cases
}

// everyKindCases crosses dialects and kinds with the normal course of a call.
func everyKindCases() []clientCase {
	var cases []clientCase
	for _, d := range dialects {
		for _, kind := range kinds {
			add := func(item, name string, call script.Call, answer answer) {
				call.Kind = kind
				cases = append(cases, clientCase{
					name:   fmt.Sprintf("%s %s %s %s", item, d.name, kind, name),
					client: d.client, call: call, answer: answer,
				})
			}
			hello := script.Call{Messages: []string{"hello"}}
			meta := script.Call{Messages: []string{"hello"}, Header: header("Meta: a\nMeta: b\nMeta-Bin: AAE\n")}
			add("13", "one message", hello, d.ok(kind, "", "", "answer"))
			add("34", "empty answer", hello, d.ok(kind, "", "", ""))
			add("72", "metadata", meta, d.ok(kind, "Answer: one\nAnswer: two\nAnswer-Bin: AP8\n", "After: three\nAfter: four\nAfter-Bin: Af4\n", "answer"))
			add("73", "user agent", script.Call{Messages: []string{"hello"}, Header: header("User-Agent: user: agent\nX-User-Agent: user: other\n")}, d.ok(kind, "", "", "answer"))
			add("90", "reserved metadata", script.Call{Messages: []string{"hello"}, Header: header("Grpc-Status: 3\nConnect-Extra: 1\nGrpc-Trace-Bin: AAE\nDate: today\nContent-Type: text/plain\nHost: other.test\n")}, d.ok(kind, "", "", "answer"))
			add("76", "timeout", script.Call{Messages: []string{"hello"}, Timeout: time.Hour}, d.ok(kind, "", "", "answer"))
			add("76", "timeout too long to send", script.Call{Messages: []string{"hello"}, Timeout: 200 * 365 * 24 * time.Hour}, d.ok(kind, "", "", "answer"))
			for code := 1; code <= 16; code++ {
				add("41", fmt.Sprintf("code %d", code), hello, d.failed(kind, code, codeNames[code], ""))
			}
			add("51", "error metadata", hello, d.failed(kind, 9, codeNames[9], "After: three\nAfter: four\n"))
			add("79", "canceled before", script.Call{Messages: []string{"hello"}, Cancel: true}, d.ok(kind, "", "", "answer"))
			add("79", "deadline while waiting", script.Call{Messages: []string{"hello"}, Timeout: 20 * time.Millisecond}, answer{err: errWaitForContext})
			add("79", "deadline in the body", script.Call{Messages: []string{"hello"}, Timeout: 20 * time.Millisecond}, answer{header: contentTypeOf(d.wireFor(kind)), bodyError: errWaitForContext})
			add("36", "no answer", hello, d.ok(kind, "", ""))
			if d.wireFor(kind).framed {
				add("36", "two answers", hello, d.ok(kind, "", "", "one", "two"))
				add("66", "error after a message", hello, d.failed(kind, 14, codeNames[14], "After: three\n", "one"))
				add("37", "payload without bytes", hello, func() answer {
					a := d.ok(kind, "", "")
					a.body = envelope(0, "") + a.body
					return a
				}())
			}
			if strings.HasPrefix(string(kind), "ClientStream") || strings.HasPrefix(string(kind), "Bidi") {
				add("34", "several messages", script.Call{Messages: []string{"a", "", "c"}}, d.ok(kind, "", "", "answer"))
				add("34", "no message", script.Call{}, d.ok(kind, "", "", "answer"))
				add("40", "nil first", script.Call{NilFirst: true, Messages: []string{"a"}}, d.ok(kind, "", "", "answer"))
			} else if !strings.HasSuffix(string(kind), "Simple") {
				add("nil", "nil request", script.Call{NilCall: true}, d.ok(kind, "", "", "answer"))
			}
			if kind == script.Unary {
				for returned, item := range map[string]string{"nothing": "87", "nil response": "nil", "another message": "87"} {
					cases = append(cases, clientCase{
						name:   fmt.Sprintf("%s %s %s interceptor returns %s", item, d.name, kind, returned),
						client: with(d.client, func(c *script.Client) { c.Replace = returned }), call: script.Call{Kind: kind, Messages: []string{"hello"}}, answer: d.ok(kind, "", "", "answer"),
					})
				}
			}
			if !d.client.JSON {
				cases = append(cases, clientCase{
					name:   fmt.Sprintf("25 %s %s message cannot be encoded", d.name, kind),
					client: with(d.client, func(c *script.Client) { c.ProtoCodec = "fails" }),
					call:   script.Call{Kind: kind, Messages: []string{"unspeakable"}}, answer: d.ok(kind, "", "", "answer"),
				})
			}
			if !single(kind) {
				add("34", "several answers", hello, d.ok(kind, "", "", "one", "", "three"))
			}
			cases = append(cases, clientCase{
				name:   fmt.Sprintf("87 %s %s interceptor", d.name, kind),
				client: with(d.client, func(c *script.Client) { c.Interceptor = true }),
				call:   script.Call{Kind: kind, Messages: []string{"hello"}}, answer: d.ok(kind, "", "", "answer"),
			})
		}
	}
	return cases
}

func with(client script.Client, change func(*script.Client)) script.Client {
	change(&client)
	return client
}

func clientCompressionCases() []clientCase {
	var cases []clientCase
	for _, d := range dialects {
		for _, kind := range []script.Kind{script.Unary, script.ServerStream} {
			w := d.wireFor(kind)
			add := func(item, name string, change func(*script.Client), texts []string, answer answer) {
				client := d.client
				client.CompressMinBytes = 1
				if change != nil {
					change(&client)
				}
				cases = append(cases, clientCase{
					name:   fmt.Sprintf("%s %s %s %s", item, d.name, kind, name),
					client: client, call: script.Call{Kind: kind, Messages: texts}, answer: answer,
				})
			}
			hello := []string{"hello"}
			plain := d.ok(kind, "", "", "answer")
			add("21", "send gzip", func(c *script.Client) { c.SendGzip = true }, hello, plain)
			add("21", "send gzip below the minimum", func(c *script.Client) { c.SendGzip, c.CompressMinBytes = true, 100 }, hello, plain)
			add("21", "send gzip above the minimum", func(c *script.Client) { c.SendGzip, c.CompressMinBytes = true, 100 }, []string{strings.Repeat("x", 200)}, plain)
			add("21", "send gzip of nothing", func(c *script.Client) { c.SendGzip = true }, []string{""}, plain)
			add("21", "send gzip by default", func(c *script.Client) { c.SendGzip, c.CompressMinBytes = true, 0 }, hello, plain)
			add("21", "send gzip of nothing by default", func(c *script.Client) { c.SendGzip, c.CompressMinBytes = true, 0 }, []string{""}, plain)
			add("21", "send unknown", func(c *script.Client) { c.SendCompression = "zstd" }, hello, plain)
			add("23", "accept nothing", func(c *script.Client) { c.NoGzip = true }, hello, plain)
			add("20", "accept two", func(c *script.Client) { c.Reverse = true }, hello, plain)
			add("21", "send reverse", func(c *script.Client) { c.Reverse, c.SendCompression = true, "reverse" }, hello, plain)
			// compressed returns the answer with the message in an encoding.
			compressed := func(encoding string, flags byte, payload string) answer {
				a := d.ok(kind, w.encoding+": "+encoding+"\n", "")
				if w.framed {
					payload = envelope(flags, payload)
				}
				a.body = payload + a.body
				return a
			}
			add("24", "gzip answer", nil, hello, compressed("gzip", 1, gzipped(w.payload("answer"))))
			add("24", "reverse answer", func(c *script.Client) { c.Reverse = true }, hello, compressed("reverse", 1, reversed(w.payload("answer"))))
			add("15", "answer encoding unknown", nil, hello, compressed("zstd", 1, w.payload("answer")))
			add("15", "answer encoding removed", func(c *script.Client) { c.NoGzip = true }, hello, compressed("gzip", 1, gzipped(w.payload("answer"))))
			add("19", "answer identity", nil, hello, compressed("identity", 0, w.payload("answer")))
			add("86", "answer not gzip", nil, hello, compressed("gzip", 1, w.payload("answer")))
			add("86", "answer gzip cut off", nil, hello, compressed("gzip", 1, gzipped(w.payload("answer"))[:20]))
			if w.framed {
				add("19", "answer encoding without flag", nil, hello, compressed("gzip", 0, w.payload("answer")))
				add("16", "answer flag with identity", nil, hello, compressed("identity", 1, w.payload("answer")))
				add("16", "answer flag without encoding", nil, hello, func() answer {
					a := d.ok(kind, "", "")
					a.body = envelope(1, w.payload("answer")) + a.body
					return a
				}())
				add("18", "answer flag, empty", nil, hello, compressed("gzip", 1, ""))
			} else {
				add("17", "gzip answer without content", nil, hello, compressed("gzip", 1, ""))
			}
		}
	}
	stream := dialects[0]
	cases = append(cases,
		clientCase{name: "24 connect compressed error", call: script.Call{Kind: script.Unary}, answer: answer{
			status: 404, header: jsonHeader + "Content-Encoding: gzip\n", body: gzipped(connectError("not_found", ""))}},
		clientCase{name: "24 connect compressed error with unknown encoding", call: script.Call{Kind: script.Unary}, answer: answer{
			status: 404, header: jsonHeader + "Content-Encoding: zstd\n", body: connectError("not_found", "")}},
		clientCase{name: "24 connect compressed end of stream", call: script.Call{Kind: script.ServerStream}, answer: answer{
			header: connectHeader + "Connect-Content-Encoding: gzip\n",
			body:   stream.wire.request("one") + envelope(3, gzipped(endStream(connectError("aborted", ""), "After: a\n")))}},
		clientCase{name: "24 web compressed trailers", client: script.Client{Protocol: "grpcweb"}, call: script.Call{Kind: script.Unary}, answer: answer{
			header: webHeader + "Grpc-Encoding: gzip\n",
			body:   stream.wire.request("one") + envelope(0x81, gzipped("grpc-status: 0\r\nafter: a\r\n"))}},
	)
	return cases
}

// againCases are unary calls whose Request serves a second call.
func againCases() []clientCase {
	var cases []clientCase
	for _, d := range dialects {
		add := func(name string, change func(*script.Client), call script.Call) {
			call.Kind, call.Again = script.Unary, true
			cases = append(cases, clientCase{
				name:   fmt.Sprintf("again %s %s", d.name, name),
				client: with(d.client, change), call: call, answer: d.ok(script.Unary, "", "", "answer"),
			})
		}
		hello, none := []string{"hello"}, func(*script.Client) {}
		gzip := func(c *script.Client) { c.SendGzip = true }
		add("plain", none, script.Call{Messages: hello})
		add("deadline", none, script.Call{Messages: hello, Timeout: time.Minute})
		add("deadline, headers", none, script.Call{Messages: hello, Timeout: time.Minute, Header: http.Header{"Given": {"one", "two"}}})
		add("deadline that takes more digits than there are", none, script.Call{Messages: hello, Timeout: 200 * 24 * time.Hour})
		add("gzip", gzip, script.Call{Messages: hello})
		add("gzip, below the minimum", func(c *script.Client) { c.SendGzip, c.CompressMinBytes = true, 100 }, script.Call{Messages: hello})
		add("gzip, too large", func(c *script.Client) { c.SendGzip, c.SendMaxBytes = true, 2 }, script.Call{Messages: hello, Timeout: time.Minute})
		if d.client.Protocol == "" {
			add("GET", func(c *script.Client) { c.Get = true }, script.Call{Messages: hello, Timeout: time.Minute})
			add("GET that is a POST", func(c *script.Client) { c.Get, c.SendGzip, c.GetMaxURL, c.GetFallback = true, true, 10, true }, script.Call{Messages: hello})
			add("GET, URL too long", func(c *script.Client) { c.Get, c.SendGzip, c.GetMaxURL = true, true, 10 }, script.Call{Messages: hello, Timeout: time.Minute})
		}
	}
	return cases
}
