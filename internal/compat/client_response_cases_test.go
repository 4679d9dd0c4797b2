// SPDX-License-Identifier: Apache-2.0

// This file holds the responses that are wrong or odd, and those to GET requests.

package compat

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/seed-b7c59c10/connect/internal/compat/script"
)

// reversedBase64 returns data in base64 in reverse order.
func reversedBase64(text string) string {
	data, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return base64.RawStdEncoding.EncodeToString([]byte(reversed(string(data))))
}

// responseCases are responses that are wrong in the same way for each dialect.
func responseCases() []clientCase {
	var cases []clientCase
	for _, d := range dialects {
		for _, kind := range []script.Kind{script.Unary, script.ClientStream, script.ServerStream, script.BidiStream} {
			w := d.wireFor(kind)
			add := func(item, name string, answer answer) {
				cases = append(cases, clientCase{
					name:   fmt.Sprintf("%s %s %s %s", item, d.name, kind, name),
					client: d.client, call: script.Call{Kind: kind, Messages: []string{"hello"}}, answer: answer,
				})
			}
			for _, status := range []int{201, 204, 302, 304, 400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 418, 429, 431, 499, 500, 501, 502, 503, 504, 505, 800} {
				add("42", fmt.Sprintf("status %d", status), answer{status: status, header: "Content-Type: text/html\nMeta: a\n", body: "<html>"})
			}
			add("49", "content type other", answer{header: "Content-Type: text/html\n", body: "<html>"})
			add("49", "content type missing", answer{body: w.request("answer")})
			other := d.ok(kind, "", "", "answer")
			other.header = strings.NewReplacer("proto", "thrift", "json", "thrift", "application/grpc\n", "application/grpc+thrift\n").Replace(other.header)
			add("49", "codec other", other)
			swapped := d.ok(kind, "", "", "answer")
			if w.json {
				swapped.header = strings.Replace(swapped.header, "json", "proto", 1)
			} else {
				swapped.header = strings.NewReplacer("proto", "json", "application/grpc\n", "application/grpc+json\n").Replace(swapped.header)
			}
			add("49", "codec swapped", swapped)
			charset := d.ok(kind, "", "", "answer")
			charset.header = strings.Replace(charset.header, "\n", "; charset=utf-8\n", 1)
			add("6", "charset", charset)
			upper := d.ok(kind, "", "", "answer")
			upper.header = strings.ToUpper(upper.header)
			add("6", "content type upper case", upper)
			add("63", "empty", answer{header: contentTypeOf(w)})
			garbage := d.ok(kind, "", "")
			if w.framed {
				garbage.body = envelope(0, "\xff\xfe") + garbage.body
			} else {
				garbage.body = "\xff\xfe"
			}
			add("86", "garbage", garbage)
			old := d.ok(kind, "", "", "answer")
			old.http1 = true
			add("9", "over HTTP/1.1", old)
			hello := w.request("answer")
			for name, broken := range map[string]error{"fails": errors.New(script.User + "broken"), "is cut off": io.ErrUnexpectedEOF} {
				add("81", "body "+name+" at once", answer{header: contentTypeOf(w), bodyError: broken})
				add("81", "body "+name, answer{header: contentTypeOf(w), body: hello[:len(hello)-1], bodyError: broken})
			}
			if !w.framed {
				add("81", "page in an unknown encoding", answer{status: 503, header: "Content-Type: text/html\nContent-Encoding: x\n", body: "<html>"})
				add("81", "error that cannot be inflated", answer{status: 429, header: "Content-Type: application/json\nContent-Encoding: gzip\n", body: `{"code":"aborted"}`})
				add("81", "error that is cut off", answer{status: 429, header: "Content-Type: application/json\n", body: `{"code":"aborted"`, bodyError: io.ErrUnexpectedEOF})
				continue
			}
			for name, body := range map[string]string{
				"prefix cut off": hello[:3], "prefix alone": hello[:5], "message cut off": hello[:len(hello)-1],
				"second prefix cut off": hello + hello[:2], "second message cut off": hello + hello[:7],
			} {
				cut := d.ok(kind, "", "")
				cut.body = body
				add("29", name, cut)
			}
			for _, flags := range []byte{2, 4, 0x80, 0xf0} {
				odd := d.ok(kind, "", "")
				odd.body = envelope(flags, w.payload("answer")) + odd.body
				add("30", fmt.Sprintf("flags %#02x", flags), odd)
			}
			end := d.ok(kind, "", "", "answer")
			end.body += hello
			add("31", "bytes after the end", end)
			lost := d.ok(kind, "", "", "answer")
			lost.bodyError = io.ErrUnexpectedEOF
			add("81", "connection lost at the end", lost)
			add("81", "connection lost", answer{header: contentTypeOf(w), bodyError: syscall.ECONNRESET})
			add("81", "connection broken", answer{header: contentTypeOf(w), bodyError: errors.New(script.User + "broken")})
			add("81", "connection broken in a message", answer{header: contentTypeOf(w), body: hello[:6], bodyError: errors.New(script.User + "broken")})
			large := d.ok(kind, "", "")
			large.body = "\x00\xff\xff\xff\xffabc" + large.body
			add("28", "length of 4 GiB", large)
		}
	}
	return cases
}

// connectResponseCases are answers to unary calls of the Connect protocol.
func connectResponseCases() []clientCase {
	var cases []clientCase
	add := func(item, name string, answer answer) {
		cases = append(cases, clientCase{
			name: fmt.Sprintf("%s connect Unary %s", item, name),
			call: script.Call{Kind: script.Unary, Messages: []string{"hello"}}, answer: answer,
		})
	}
	detail := func(kind, value, debug string) string {
		return fmt.Sprintf(`[{"type":%q,"value":%q,"debug":%s}]`, kind, value, debug)
	}
	const name = "google.protobuf.SourceContext"
	encoded := base64.RawStdEncoding.EncodeToString([]byte(message("detail")))
	padded := base64.StdEncoding.EncodeToString([]byte(message("details")))
	for item, bodies := range map[string]map[string]string{
		"44": {
			"null": `null`, "empty object": `{}`, "empty": ``, "code null": `{"code":null,"message":"user: a"}`,
			"code unknown": `{"code":"other","message":"user: a"}`, "code missing": `{"message":"user: a"}`,
			"code number": `{"code":5,"message":"user: a"}`, "code number unknown": `{"code":99,"message":"user: a"}`,
			"code ok": `{"code":"ok","message":"user: a"}`, "code upper case": `{"code":"NOT_FOUND","message":"user: a"}`,
			"code_17": `{"code":"code_17","message":"user: a"}`, "code_5": `{"code":"code_5","message":"user: a"}`,
			"message missing": `{"code":"not_found"}`, "message null": `{"code":"not_found","message":null}`,
			"message number": `{"code":"not_found","message":5}`, "array": `[]`, "text": `"not_found"`, "not JSON": `<html>`,
			"bytes after": `{"code":"not_found","message":"user: a"} x`,
		},
		"46": {
			"unknown fields":          `{"code":"aborted","message":"user: a","extra":{"a":[1]}}`,
			"unknown field of detail": connectError("aborted", `[{"type":"`+name+`","value":"`+encoded+`","extra":1}]`),
			"debug wrong":             connectError("aborted", detail(name, encoded, `"garbage"`)),
			"debug null":              connectError("aborted", detail(name, encoded, `null`)),
		},
		"48": {
			"detail":                 connectError("aborted", detail(name, encoded, `{}`)),
			"detail padded":          connectError("aborted", detail(name, padded, `{}`)),
			"detail with URL":        connectError("aborted", detail("type.googleapis.com/"+name, encoded, `{}`)),
			"detail of unknown type": connectError("aborted", detail("acme.v1.Unknown", encoded, `{}`)),
			"detail not base64":      connectError("aborted", detail(name, "!!", `{}`)),
			"detail unreadable":      connectError("aborted", detail(name, "/////w", `{}`)),
			"details null":           connectError("aborted", `null`),
			"details empty":          connectError("aborted", `[]`),
			"details object":         connectError("aborted", `{}`),
			"detail null":            connectError("aborted", `[null]`),
			"detail empty":           connectError("aborted", `[{}]`),
			"two details":            connectError("aborted", `[{"type":"`+name+`","value":"`+encoded+`"},{"type":"`+name+`","value":""}]`),
		},
	} {
		for name, body := range bodies {
			add(item, name, answer{status: 409, header: jsonHeader, body: body})
		}
	}
	add("43", "error as proto", answer{status: 403, header: protoHeader, body: connectError("aborted", "")})
	add("43", "error with charset", answer{status: 403, header: "Content-Type: application/json; charset=utf-8\n", body: connectError("aborted", "")})
	add("43", "error with upper case", answer{status: 403, header: "Content-Type: Application/JSON\n", body: connectError("aborted", "")})
	add("43", "error as problem", answer{status: 403, header: "Content-Type: application/problem+json\n", body: connectError("aborted", "")})
	add("43", "error without type", answer{status: 403, body: connectError("aborted", "")})
	add("43", "error with status 200", answer{header: jsonHeader, body: connectError("aborted", "")})
	add("51", "error metadata", answer{status: 403, header: jsonHeader + "Meta: a\nMeta: b\nTrailer-Meta: c\nTrailer-After: d\nDate: now\n", body: connectError("aborted", "")})
	add("50", "trailer spelled", answer{header: protoHeader + "Trailer-After: a\nTrailer: X\n", body: message("answer"), trailer: "Real: b\n"})
	add("42", "created", answer{status: 201, header: protoHeader, body: message("answer")})
	return cases
}

// endStreamCases are ends of streams in the Connect protocol.
func endStreamCases() []clientCase {
	var cases []clientCase
	hello := envelope(0, message("answer"))
	for _, kind := range []script.Kind{script.ServerStream, script.ClientStream} {
		for name, payload := range map[string]string{
			"45 empty object": `{}`, "45 null": `null`, "45 empty": ``, "45 array": `[]`, "45 not JSON": `<html>`,
			"45 error null": `{"error":null}`, "45 error empty": `{"error":{}}`, "45 error text": `{"error":"x"}`,
			"45 code missing":        `{"error":{"message":"user: a"}}`,
			"45 code null":           `{"error":{"code":null,"message":"user: a"}}`,
			"45 code unknown":        `{"error":{"code":"other","message":"user: a"}}`,
			"45 code number":         `{"error":{"code":5,"message":"user: a"}}`,
			"45 code_17":             `{"error":{"code":"code_17","message":"user: a"}}`,
			"46 unknown fields":      `{"error":{"code":"aborted","message":"user: a","extra":1},"extra":[]}`,
			"72 metadata":            `{"metadata":{"after":["a","b"],"After-Bin":["AP8"],"other":["c"]}}`,
			"72 metadata null":       `{"metadata":null}`,
			"72 metadata empty list": `{"metadata":{"after":[]}}`,
			"72 metadata not a list": `{"metadata":{"after":"a"}}`,
			"51 metadata and error":  `{"metadata":{"after":["a"]},"error":{"code":"aborted","message":"user: a"}}`,
			"90 reserved metadata":   `{"metadata":{"content-type":["a"],"grpc-status":["5"],"connect-extra":["b"]}}`,
			"45 bytes after":         `{} x`,
			"48 detail":              `{"error":{"code":"aborted","message":"user: a","details":[{"type":"google.protobuf.SourceContext","value":"CgZkZXRhaWw"}]}}`,
		} {
			item, name, _ := strings.Cut(name, " ")
			cases = append(cases, clientCase{
				name:   fmt.Sprintf("%s connect end of %s %s", item, kind, name),
				call:   script.Call{Kind: kind, Messages: []string{"hello"}},
				answer: answer{header: connectHeader + "Meta: a\n", body: hello + envelope(2, payload)},
			})
		}
		cases = append(cases, clientCase{
			name: fmt.Sprintf("33 connect end of %s missing", kind), call: script.Call{Kind: kind, Messages: []string{"hello"}},
			answer: answer{header: connectHeader, body: hello},
		}, clientCase{
			name: fmt.Sprintf("31 connect end of %s twice", kind), call: script.Call{Kind: kind, Messages: []string{"hello"}},
			answer: answer{header: connectHeader, body: hello + envelope(2, "{}") + envelope(2, "{}")},
		}, clientCase{
			name: fmt.Sprintf("33 connect HTTP trailers in place of the end of %s", kind), call: script.Call{Kind: kind, Messages: []string{"hello"}},
			answer: answer{header: connectHeader, body: hello, trailer: "After: a\n"},
		})
	}
	return cases
}

// grpcResponseCases are trailers and headers of gRPC.
func grpcResponseCases() []clientCase {
	var cases []clientCase
	hello := envelope(0, message("answer"))
	for _, kind := range []script.Kind{script.Unary, script.ServerStream} {
		add := func(item, name string, answer answer) {
			answer.header = "Content-Type: application/grpc\n" + answer.header
			cases = append(cases, clientCase{
				name:   fmt.Sprintf("%s grpc %s %s", item, kind, name),
				client: script.Client{Protocol: "grpc"}, call: script.Call{Kind: kind, Messages: []string{"hello"}}, answer: answer,
			})
		}
		add("63", "status missing", answer{body: hello, trailer: "After: a\n"})
		add("63", "trailers missing", answer{body: hello})
		add("64", "trailers only", answer{header: "Grpc-Status: 5\nGrpc-Message: user: a\nMeta: a\n"})
		add("64", "trailers only ok", answer{header: "Grpc-Status: 0\n"})
		add("64", "status in the header with a body", answer{header: "Grpc-Status: 5\n", body: hello})
		add("64", "status in the header with trailers", answer{header: "Grpc-Status: 5\n", trailer: "Grpc-Status: 6\nGrpc-Message: user: b\n"})
		add("64", "status in both", answer{header: "Grpc-Status: 5\n", body: hello, trailer: "Grpc-Status: 0\n"})
		for _, status := range []string{"abc", "", "-1", "17", "99999", "4294967296", "99999999999999999999", "05", " 5", "5 ", "+5", "0x5"} {
			add("70", fmt.Sprintf("status %q", status), answer{trailer: "Grpc-Status: " + status + "\nGrpc-Message: user: a\n"})
		}
		for _, text := range []string{"user: 100%", "user: bad%zz", "user: cut%4", "user: %C3%B6", "user: %ff", "user: a+b", "user: %e2%82%ac", "user: ö", ""} {
			add("68", fmt.Sprintf("message %q", text), answer{trailer: "Grpc-Status: 5\nGrpc-Message: " + text + "\n"})
		}
		details := statusDetails(9, "user: from the details")
		add("69", "details", answer{trailer: "Grpc-Status: 5\nGrpc-Message: user: a\nGrpc-Status-Details-Bin: " + details + "\n"})
		add("69", "details padded", answer{trailer: "Grpc-Status: 5\nGrpc-Status-Details-Bin: " + details + strings.Repeat("=", (4-len(details)%4)%4) + "\n"})
		add("69", "details not base64", answer{trailer: "Grpc-Status: 5\nGrpc-Message: user: a\nGrpc-Status-Details-Bin: !!\n"})
		add("69", "details unreadable", answer{trailer: "Grpc-Status: 5\nGrpc-Message: user: a\nGrpc-Status-Details-Bin: /////w\n"})
		add("69", "details with code 0", answer{trailer: "Grpc-Status: 5\nGrpc-Message: user: a\nGrpc-Status-Details-Bin: " + statusDetails(0, "user: b") + "\n"})
		add("69", "details with code 99", answer{trailer: "Grpc-Status: 5\nGrpc-Message: user: a\nGrpc-Status-Details-Bin: " + statusDetails(99, "user: b") + "\n"})
		add("69", "details and ok", answer{body: hello, trailer: "Grpc-Status: 0\nGrpc-Status-Details-Bin: " + details + "\n"})
		for _, status := range []string{"reverse", "fails"} {
			for name, details := range map[string]string{"": details, " in reverse": reversedBase64(details)} {
				cases = append(cases, clientCase{
					name:   fmt.Sprintf("codec grpc %s status %s, details%s", kind, status, name),
					client: script.Client{Protocol: "grpc", ProtoCodec: status}, call: script.Call{Kind: kind, Messages: []string{"hello"}},
					answer: answer{header: "Content-Type: application/grpc\n", trailer: "Grpc-Status: 5\nGrpc-Message: user: a\nGrpc-Status-Details-Bin: " + details + "\n"},
				}, clientCase{
					name:   fmt.Sprintf("codec web %s status %s, details%s", kind, status, name),
					client: script.Client{Protocol: "grpcweb", ProtoCodec: status}, call: script.Call{Kind: kind, Messages: []string{"hello"}},
					answer: answer{header: webHeader, body: envelope(0x80, "grpc-status: 5\r\ngrpc-status-details-bin: "+details+"\r\n")},
				})
			}
		}
		add("72", "metadata", answer{header: "Meta: a\nMeta-Bin: AAE\n", body: hello, trailer: "Grpc-Status: 5\nAfter: a\nAfter: b\nAfter-Bin: AAE=\n"})
		add("62", "status 500 with trailers", answer{status: 500, body: hello, trailer: "Grpc-Status: 5\nGrpc-Message: user: a\n"})
		add("62", "status 503 with status in the header", answer{status: 503, header: "Grpc-Status: 5\nGrpc-Message: user: a\n"})
		add("66", "error after a message", answer{body: hello, trailer: "Grpc-Status: 5\nGrpc-Message: user: a\n"})
		add("63", "connection lost and trailers", answer{body: hello, trailer: "Grpc-Status: 5\n", bodyError: io.ErrUnexpectedEOF})
	}
	cases = append(cases, clientCase{
		name: "7 grpc bare for json", client: script.Client{Protocol: "grpc", JSON: true}, call: script.Call{Kind: script.Unary},
		answer: answer{header: "Content-Type: application/grpc\n", body: envelope(0, jsonMessage("answer")), trailer: "Grpc-Status: 0\n"},
	}, clientCase{
		name: "7 grpc proto", client: script.Client{Protocol: "grpc"}, call: script.Call{Kind: script.Unary},
		answer: answer{header: "Content-Type: application/grpc+proto\n", body: envelope(0, message("answer")), trailer: "Grpc-Status: 0\n"},
	}, clientCase{
		name: "7 web bare", client: script.Client{Protocol: "grpcweb"}, call: script.Call{Kind: script.Unary},
		answer: answer{header: "Content-Type: application/grpc-web\n", body: envelope(0, message("answer")) + envelope(0x80, "grpc-status: 0\r\n")},
	})
	return cases
}

// webResponseCases are ends of gRPC-Web.
func webResponseCases() []clientCase {
	var cases []clientCase
	hello := envelope(0, message("answer"))
	for _, kind := range []script.Kind{script.Unary, script.ServerStream} {
		add := func(item, name string, answer answer) {
			answer.header = webHeader + answer.header
			cases = append(cases, clientCase{
				name:   fmt.Sprintf("%s web %s %s", item, kind, name),
				client: script.Client{Protocol: "grpcweb"}, call: script.Call{Kind: kind, Messages: []string{"hello"}}, answer: answer,
			})
		}
		for name, block := range map[string]string{
			"lower case": "grpc-status: 0\r\nafter: a\r\n", "upper case": "GRPC-STATUS: 0\r\nAfter: a\r\n",
			"without space": "grpc-status:0\r\nafter:a\r\n", "without last line end": "grpc-status: 0\r\nafter: a",
			"blank line": "grpc-status: 0\r\n\r\n", "line feeds": "grpc-status: 0\nafter: a\n",
			"folded": "grpc-status: 0\r\nafter: a\r\n b\r\n", "no colon": "grpc-status: 0\r\nafter\r\n",
			"empty": "", "twice": "grpc-status: 0\r\nafter: a\r\nafter: b\r\n", "error": "grpc-status: 5\r\ngrpc-message: user%3A a\r\nafter: b\r\n",
			"status missing": "after: a\r\n", "status twice": "grpc-status: 5\r\ngrpc-status: 0\r\n", "space in key": "grpc-status : 0\r\n",
			"no key": ": a\r\ngrpc-status: 0\r\n", "colon in value": "grpc-status: 0\r\nafter: a: b\r\n",
			"spaces around value": "grpc-status:  0  \r\nafter: \t a \r\n", "bytes above ASCII": "grpc-status: 0\r\nafter: \xc3\xb6\r\n",
		} {
			add("32", "trailers "+name, answer{body: hello + envelope(0x80, block)})
		}
		add("65", "trailers only", answer{header: "Grpc-Status: 5\nGrpc-Message: user: a\nMeta: a\n"})
		add("65", "trailers only ok", answer{header: "Grpc-Status: 0\n"})
		add("65", "body wins over the header", answer{header: "Grpc-Status: 5\n", body: hello + envelope(0x80, "grpc-status: 0\r\n")})
		add("65", "end alone wins over the header", answer{header: "Grpc-Status: 0\n", body: envelope(0x80, "grpc-status: 5\r\n")})
		add("65", "status in the header with a body", answer{header: "Grpc-Status: 5\n", body: hello})
		add("65", "HTTP trailers", answer{body: hello, trailer: "Grpc-Status: 0\n"})
		add("32", "no end", answer{body: hello})
		add("31", "bytes after the end", answer{body: hello + envelope(0x80, "grpc-status: 0\r\n") + "x"})
		add("31", "message after the end", answer{body: envelope(0x80, "grpc-status: 0\r\n") + hello})
		add("31", "end twice", answer{body: hello + envelope(0x80, "grpc-status: 0\r\n") + envelope(0x80, "grpc-status: 5\r\n")})
		add("69", "details", answer{body: envelope(0x80, "grpc-status: 5\r\ngrpc-status-details-bin: "+statusDetails(9, "user: b")+"\r\n")})
		add("62", "status 500", answer{status: 500, body: envelope(0x80, "grpc-status: 5\r\n")})
	}
	return cases
}

func clientGetCases() []clientCase {
	var cases []clientCase
	add := func(item, name string, change func(*script.Client), call script.Call, answer answer) {
		client := script.Client{Get: true}
		if change != nil {
			change(&client)
		}
		call.Kind = script.Unary
		if call.Messages == nil {
			call.Messages = []string{"hello"}
		}
		cases = append(cases, clientCase{name: item + " GET " + name, client: client, call: call, answer: answer})
	}
	ok := answer{header: protoHeader, body: message("answer")}
	okJSON := answer{header: jsonHeader, body: jsonMessage("answer")}
	add("56", "proto", nil, script.Call{}, ok)
	add("56", "json", func(c *script.Client) { c.JSON = true }, script.Call{}, okJSON)
	add("56", "json of odd bytes", func(c *script.Client) { c.JSON = true }, script.Call{Messages: []string{"a b+c&d=é/?#%"}}, okJSON)
	add("56", "empty message", nil, script.Call{Messages: []string{""}}, ok)
	add("56", "gzip", func(c *script.Client) { c.SendGzip = true }, script.Call{Messages: []string{strings.Repeat("x", 50)}}, ok)
	add("56", "gzip json", func(c *script.Client) { c.SendGzip, c.JSON = true, true }, script.Call{}, okJSON)
	add("56", "gzip below the minimum", func(c *script.Client) { c.SendGzip, c.CompressMinBytes = true, 100 }, script.Call{}, ok)
	add("60", "timeout", nil, script.Call{Timeout: time.Hour}, ok)
	add("get", "query in the client's URL", nil, script.Call{URL: "http://compat.test?a=b&c="}, ok)
	for _, fallback := range []bool{false, true} {
		raw := answer{header: "Content-Type: application/raw\n", body: "answer"}
		add("get", fmt.Sprintf("codec without MarshalStable, fallback %v", fallback), func(c *script.Client) { c.RawCodec, c.GetFallback = true, fallback }, script.Call{}, raw)
		// The message has 7 bytes; reversed it is no shorter. Its URL has 91 bytes, and 111 with the compression.
		for _, limit := range []struct{ minimum, message, url int }{{1, 6, 0}, {100, 6, 0}, {100, 7, 0}, {1, 0, 91}, {1, 0, 90}, {100, 0, 90}, {100, 7, 90}} {
			name := fmt.Sprintf("reverse from %d, message of at most %d, URL of at most %d, fallback %v", limit.minimum, limit.message, limit.url, fallback)
			add("get", name, func(c *script.Client) {
				c.Reverse, c.SendCompression, c.CompressMinBytes = true, "reverse", limit.minimum
				c.SendMaxBytes, c.GetMaxURL, c.GetFallback = limit.message, limit.url, fallback
			}, script.Call{}, ok)
		}
	}
	add("60", "metadata", nil, script.Call{Header: header("Meta: a\nIf-None-Match: x\n")}, ok)
	add("60", "interceptor", func(c *script.Client) { c.Interceptor = true }, script.Call{}, ok)
	// The whole URL of the plain call below has 96 bytes.
	for _, size := range []int{1, 80, 90, 94, 95, 96, 97, 98, 100, 120, 1000} {
		for _, fallback := range []bool{false, true} {
			add("60", fmt.Sprintf("URL of at most %d, fallback %v", size, fallback), func(c *script.Client) { c.GetMaxURL, c.GetFallback = size, fallback }, script.Call{}, ok)
		}
		add("60", fmt.Sprintf("URL of at most %d, gzip", size), func(c *script.Client) { c.GetMaxURL, c.SendGzip = size, true }, script.Call{Messages: []string{strings.Repeat("x", 300)}}, ok)
	}
	add("25", "send limit", func(c *script.Client) { c.SendMaxBytes = 3 }, script.Call{}, ok)
	add("53", "not modified", nil, script.Call{}, answer{status: 304, header: "Etag: new\nMeta: a\n"})
	add("53", "error", nil, script.Call{}, answer{status: 404, header: jsonHeader, body: connectError("not_found", "")})
	add("55", "grpc ignores it", func(c *script.Client) { c.Protocol = "grpc" }, script.Call{}, dialects[2].ok(script.Unary, "", "", "answer"))
	cases = append(cases, clientCase{
		name: "53 POST not modified", call: script.Call{Kind: script.Unary}, answer: answer{status: 304, header: "Etag: new\n"},
	})
	return cases
}

// transportCases are errors of the transport.
func transportCases() []clientCase {
	var cases []clientCase
	for _, d := range dialects {
		for _, kind := range kinds {
			for name, err := range map[string]error{
				"refused": syscall.ECONNREFUSED, "EOF": io.EOF, "unexpected EOF": io.ErrUnexpectedEOF,
				"other": errors.New("user: transport"), "canceled": context.Canceled, "deadline": context.DeadlineExceeded,
			} {
				cases = append(cases, clientCase{
					name:   fmt.Sprintf("81 %s %s transport %s", d.name, kind, name),
					client: d.client, call: script.Call{Kind: kind, Messages: []string{"hello"}}, answer: answer{err: err},
				})
			}
		}
	}
	for _, url := range []string{"compat.test", "http://compat.test/base", "http://compat.test/base/", "://", "ftp://compat.test", "http://user:secret@compat.test"} {
		cases = append(cases, clientCase{
			name: fmt.Sprintf("1 URL %q", url), call: script.Call{Kind: script.Unary, Messages: []string{"hello"}, URL: url},
			answer: answer{header: protoHeader, body: message("answer")},
		})
	}
	return cases
}

func clientLimitCases() []clientCase {
	const mebi = 1 << 20
	var cases []clientCase
	for _, d := range dialects {
		for _, kind := range []script.Kind{script.Unary, script.ServerStream, script.ClientStream} {
			w := d.wireFor(kind)
			add := func(item, name string, change func(*script.Client), text string, answer answer) {
				cases = append(cases, clientCase{
					name:   fmt.Sprintf("%s %s %s %s", item, d.name, kind, name),
					client: with(d.client, change), call: script.Call{Kind: kind, Messages: []string{text}}, answer: answer,
				})
			}
			text := strings.Repeat("x", 100)
			exact := len(w.payload(text))
			compressed := func(text string) answer {
				a := d.ok(kind, w.encoding+": gzip\n", "")
				payload := gzipped(w.payload(text))
				if w.framed {
					payload = envelope(1, payload)
				}
				a.body = payload + a.body
				return a
			}
			measured := func(a answer) answer { a.measure = true; return a }
			add("25", "answer as large as the limit", func(c *script.Client) { c.ReadMaxBytes = exact }, "", d.ok(kind, "", "", text))
			add("25", "answer larger than the limit", func(c *script.Client) { c.ReadMaxBytes = exact - 1 }, "", d.ok(kind, "", "", text))
			add("25", "inflated answer as large as the limit", func(c *script.Client) { c.ReadMaxBytes = exact }, "", compressed(text))
			add("25", "inflated answer larger than the limit", func(c *script.Client) { c.ReadMaxBytes = exact - 1 }, "", compressed(text))
			add("25", "4 MiB over a limit of 1 KiB", func(c *script.Client) { c.ReadMaxBytes = 1024 }, "", measured(d.ok(kind, "", "", strings.Repeat("x", 4*mebi))))
			add("25", "4 MiB inflated over a limit of 64 KiB", func(c *script.Client) { c.ReadMaxBytes, c.Inflated = 64<<10, &script.Counter{} }, "", measured(compressed(strings.Repeat("x", 4*mebi))))
			add("25", "send limit", func(c *script.Client) { c.SendMaxBytes = exact - 1 }, text, d.ok(kind, "", "", "answer"))
			add("25", "send limit kept", func(c *script.Client) { c.SendMaxBytes = exact }, text, d.ok(kind, "", "", "answer"))
			add("25", "send limit with gzip", func(c *script.Client) { c.SendMaxBytes, c.SendGzip = exact-1, true }, text+text, d.ok(kind, "", "", "answer"))
			add("25", "error larger than the limit", func(c *script.Client) { c.ReadMaxBytes = 10 }, "", d.failed(kind, 9, codeNames[9], ""))
			if w.json || kind == script.ClientStream || kind == script.ServerStream && d.client.Protocol != "" {
				continue // one case for each way to read a body is enough
			}
			add("receive limit", "17 MiB", func(c *script.Client) {}, "", d.ok(kind, "", "", strings.Repeat("x", 17*mebi)))
			add("receive limit", "17 MiB without limit", func(c *script.Client) { c.ReadMaxBytes = -1 }, "", d.ok(kind, "", "", strings.Repeat("x", 17*mebi)))
		}
	}
	return cases
}
