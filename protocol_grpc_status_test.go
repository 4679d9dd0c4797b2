// SPDX-License-Identifier: Apache-2.0

// gRPC's statuses, messages and trailer lines: there and back, and
// against Protobuf's own idea of google.rpc.Status.

package connect

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
)

// statusType is google.rpc.Status: built here, so that nothing is registered.
var statusType = func() protoreflect.MessageDescriptor {
	field := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type, label descriptorpb.FieldDescriptorProto_Label) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{Name: proto.String(name), JsonName: proto.String(name),
			Number: proto.Int32(number), Type: kind.Enum(), Label: label.Enum()}
	}
	const (
		one  = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL
		many = descriptorpb.FieldDescriptorProto_LABEL_REPEATED
	)
	details := field("details", 3, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, many)
	details.TypeName = proto.String(".google.protobuf.Any")
	_ = anypb.File_google_protobuf_any_proto // its file is registered
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("test/status.proto"), Package: proto.String("test"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/any.proto"},
		MessageType: []*descriptorpb.DescriptorProto{{
			Name: proto.String("Status"),
			Field: []*descriptorpb.FieldDescriptorProto{
				field("code", 1, descriptorpb.FieldDescriptorProto_TYPE_INT32, one),
				field("message", 2, descriptorpb.FieldDescriptorProto_TYPE_STRING, one),
				details,
			},
		}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		panic(err)
	}
	return file.Messages().Get(0)
}()

// statusOf returns the error in a google.rpc.Status message.
func statusOf(m protoreflect.Message) *Error {
	fields := statusType.Fields()
	e := &Error{
		code:  Code(uint32(m.Get(fields.ByNumber(1)).Int())),
		cause: messageError(m.Get(fields.ByNumber(2)).String()),
	}
	list := m.Get(fields.ByNumber(3)).List()
	for i := range list.Len() {
		a := list.Get(i).Message()
		e.details = append(e.details, &ErrorDetail{
			typeURL: a.Get(a.Descriptor().Fields().ByNumber(1)).String(),
			value:   string(a.Get(a.Descriptor().Fields().ByNumber(2)).Bytes()),
		})
	}
	return e
}

// TestStatusOfProtobuf: the bytes are those of the Protobuf library, in both
// directions.
func TestStatusOfProtobuf(t *testing.T) {
	randomly(t, 4000, func(t *testing.T, r *rand.Rand) {
		want := randomError(r)
		if want == nil {
			return
		}
		data := appendStatus(nil, want)
		want.cause = messageError(validUTF8(want.Message()))

		m := dynamicpb.NewMessage(statusType)
		if err := proto.Unmarshal(data, m); err != nil {
			t.Fatalf("Protobuf does not read %x: %v", data, err)
		}
		if err := sameError(statusOf(m), want); err != nil {
			t.Errorf("Protobuf reads another status: %v", err)
		}
		theirs, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(theirs, data) {
			t.Errorf("got %x, Protobuf writes %x", data, theirs)
		}
		got, err := parseStatus(theirs)
		if err != nil {
			t.Fatal(err)
		}
		if err := sameError(got, want); err != nil {
			t.Error(err)
		}
		if !got.wire {
			t.Error("got an error that the server did not send")
		}
	})
}

// FuzzStatus compares parseStatus with the Protobuf library on any bytes. Ours
// takes texts that are not UTF-8 as they are; in all else they agree.
func FuzzStatus(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(appendStatus(nil, &Error{code: CodeNotFound, cause: messageError("text"), details: []*ErrorDetail{{typeURL: typeURLPrefix + "a.B", value: "xyz"}}}))
	f.Add([]byte{0x08})                               // a tag without a value
	f.Add([]byte{0x12, 0xff, 0xff, 0xff, 0xff, 0x0f}) // a length of 4 GiB
	f.Add([]byte{0x0a, 0x01, 0x05})                   // the code as bytes
	f.Add([]byte{0x08, 0x05, 0x0a, 0x01, 0x05})       // the code, then the same as bytes
	f.Add([]byte{0x10, 0x05})                         // the message as a number
	f.Add([]byte{0x12, 0x01, 'a', 0x10, 0x05})        // the message, then the same as a number
	f.Add([]byte{0x1a, 0x04, 0x0a, 0x00, 0x12, 0x00}) // an empty Any
	f.Add([]byte{0x1a, 0x02, 0x0a, 0x7f})             // a broken Any
	f.Add([]byte{0x1a, 0x02, 0x08, 0x01})             // a type URL as a number
	f.Add([]byte{0x18, 0x01})                         // details as a number
	f.Add(bytes.Repeat([]byte{0x0b}, 20000))          // groups without an end
	f.Add(protowire.AppendVarint([]byte{0x08}, math.MaxUint64))
	f.Add(protowire.AppendVarint([]byte{0x08}, 1<<32+5))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseStatus(data)
		m := dynamicpb.NewMessage(statusType)
		theirs := proto.Unmarshal(data, m)
		if err != nil {
			if theirs == nil {
				t.Errorf("got error %v, Protobuf reads %v", err, m)
			}
			return
		}
		for _, d := range got.details {
			_, _ = d.Value() // any bytes: no panic
			_ = d.Type()
		}
		// What was read can be written and read again.
		again, err := parseStatus(appendStatus(nil, got))
		if err != nil {
			t.Fatalf("got %v, which is not read again: %v", got, err)
		}
		clean := *got
		clean.cause = messageError(validUTF8(got.Message()))
		if err := sameError(again, &clean); got.code.valid() && err != nil {
			t.Errorf("read again: %v", err)
		}
		if theirs != nil {
			return // such as a text that is not UTF-8
		}
		if err := sameError(got, statusOf(m)); err != nil {
			t.Error(err)
		}
	})
}

func TestMessageTable(t *testing.T) {
	for _, c := range []struct{ text, wire string }{
		{"", ""},
		{"plain text, with ~ and !", "plain text, with ~ and !"},
		{"100%", "100%25"},
		{"nöt\n100%", "n%C3%B6t%0A100%25"},
		{"\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n",
			"%09%0Atest with whitespace%0D%0Aand Unicode BMP %E2%98%BA and non-BMP %F0%9F%98%88%09%0A"}, // gRPC's interop test special_status_message
		{"\x00\x1f\x7f\xff", "%00%1F%7F%FF"},
	} {
		if got := encodeMessage(c.text); got != c.wire {
			t.Errorf("encodeMessage(%q): got %q, want %q", c.text, got, c.wire)
		}
		if got := decodeMessage(c.wire); got != c.text {
			t.Errorf("decodeMessage(%q): got %q, want %q", c.wire, got, c.text)
		}
	}
	// Broken escapes stay as they are. [checklist 68]
	for wire, want := range map[string]string{
		"100%":        "100%",
		"%":           "%",
		"%2":          "%2",
		"%%":          "%%",
		"bad%zz":      "bad%zz",
		"%zz%41":      "%zzA",
		"%%41":        "%A",
		"%4%41":       "%4A",
		"%+1":         "%+1",
		"%-1":         "%-1",
		"%_1":         "%_1",
		"%0x":         "%0x",
		"%c3%b6":      "ö",
		"a%00b":       "a\x00b",
		"\xff%41\xfe": "\xffA\xfe",
	} {
		if got := decodeMessage(wire); got != want {
			t.Errorf("decodeMessage(%q): got %q, want %q", wire, got, want)
		}
	}
}

// FuzzMessage: every text comes back, and everything is decoded to something
// that is no longer.
func FuzzMessage(f *testing.F) {
	for _, s := range []string{"", "a", "100%", "%zz", "%C3%B6", "%2", " a ", "\r\n", "\xff", "%25%", "日本"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		wire := encodeMessage(text)
		for i := range len(wire) {
			if c := wire[i]; c < ' ' || c > '~' {
				t.Fatalf("encodeMessage(%q): got %q with the byte %#x", text, wire, c)
			}
		}
		if wire != strings.TrimSpace(wire) {
			t.Errorf("encodeMessage(%q): got %q, whose ends HTTP takes off", text, wire)
		}
		if got := decodeMessage(wire); got != text {
			t.Errorf("got %q by way of %q, want %q", got, wire, text)
		}
		got := decodeMessage(text)
		if len(got) > len(text) || !strings.Contains(text, "%") && got != text {
			t.Errorf("decodeMessage(%q): got %q", text, got)
		}
	})
}

// TestStatusHeaders checks the errors that clients read from gRPC's status headers.
// [checklist 63, 68–70]
func TestStatusHeaders(t *testing.T) {
	details := func(e *Error) string { return EncodeBinaryHeader(appendStatus(nil, e)) }
	detail := &ErrorDetail{typeURL: typeURLPrefix + "a.B", value: "x"}
	for _, c := range []struct {
		name                     string
		status, message, details string
		want                     *Error
		contains                 string // in the message, instead of want's
	}{
		{"success", "0", "", "", nil, ""},
		{"success, with a message", "0", "fine", "", nil, ""},
		{"success, two digits", "00", "", "", nil, ""},
		{"code", "5", "gone", "", NewError(CodeNotFound, messageError("gone")), ""},
		{"padded code", "05", "gone", "", NewError(CodeNotFound, messageError("gone")), ""},
		{"last code", "16", "", "", NewError(CodeUnauthenticated, nil), ""},
		{"first number that is no code", "17", "text", "", &Error{code: CodeUnknown}, `"17"`},
		{"large number", "99999", "text", "", &Error{code: CodeUnknown}, `"99999"`},
		{"huge number", "99999999999999999999", "text", "", &Error{code: CodeUnknown}, "text"},
		{"negative", "-1", "text", "", &Error{code: CodeUnknown}, `"-1"`},
		{"sign", "+5", "text", "", &Error{code: CodeUnknown}, `"+5"`},
		{"name", "NOT_FOUND", "text", "", &Error{code: CodeUnknown}, "text"},
		{"space", " 5", "text", "", &Error{code: CodeUnknown}, "text"},
		{"broken message", "5", "100%", "", NewError(CodeNotFound, messageError("100%")), ""},
		{"details alone", "5", "", details(&Error{code: CodeAborted, cause: messageError("inner"), details: []*ErrorDetail{detail}}),
			&Error{code: CodeAborted, cause: messageError("inner"), details: []*ErrorDetail{detail}}, ""},
		{"details win", "5", "outer", details(&Error{code: CodeAborted, cause: messageError("inner")}),
			&Error{code: CodeAborted, cause: messageError("inner")}, ""},
		{"details with padding", "5", "outer", base64.StdEncoding.EncodeToString(appendStatus(nil, &Error{code: CodeAborted, cause: messageError("in.")})),
			&Error{code: CodeAborted, cause: messageError("in.")}, ""},
		{"details without a valid code", "5", "outer", details(&Error{code: 77, cause: messageError("inner"), details: []*ErrorDetail{detail}}),
			&Error{code: CodeNotFound, cause: messageError("outer"), details: []*ErrorDetail{detail}}, ""},
		{"details of a success", "0", "", details(&Error{code: CodeAborted}), nil, ""},
		{"details that are not base64", "5", "outer", "!", &Error{code: CodeInternal}, "Grpc-Status-Details-Bin"},
		{"details that are not Protobuf", "5", "outer", EncodeBinaryHeader([]byte{0x08}), &Error{code: CodeInternal}, "Grpc-Status-Details-Bin"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := http.Header{headerGRPCStatus: {c.status}, headerGRPCMessage: {c.message}}
			if c.details != "" {
				h[headerGRPCDetails] = []string{c.details}
			}
			got := grpcError(h, nil)
			if c.contains != "" {
				if got == nil || got.code != c.want.code || !strings.Contains(got.Message(), c.contains) {
					t.Errorf("got %s, want %v with %q", tell(got), c.want.code, c.contains)
				}
				return
			}
			if err := sameError(got, c.want); err != nil {
				t.Error(err)
			}
		})
	}
	if got := grpcError(http.Header{}, nil); got == nil || got.code != CodeInternal {
		t.Errorf("no status: got %s, want %v", tell(got), CodeInternal)
	}
}

// TestTrailerLines: the trailers block, there and back.
func TestTrailerLines(t *testing.T) {
	randomly(t, 3000, func(t *testing.T, r *rand.Rand) {
		want := randomHeader(r)
		block := appendTrailers(nil, want)
		for line := range strings.SplitSeq(strings.TrimSuffix(string(block), "\r\n"), "\r\n") {
			key, _, ok := strings.Cut(line, ": ")
			if len(block) > 0 && (!ok || key != strings.ToLower(key)) {
				t.Errorf("got line %q, want a lower-case key, a colon and a space", line)
			}
		}
		got, err := parseTrailers(block)
		if err != nil {
			t.Fatalf("%q: %v", block, err)
		}
		if len(got) != len(want) {
			t.Errorf("got %q, want %q", got, want)
		}
		for key := range want {
			if !slices.Equal(got[key], want[key]) {
				t.Errorf("%s: got %q, want %q", key, got[key], want[key])
			}
		}
	})
}

// TestTrailerKeys: no key and no value can begin another line.
func TestTrailerKeys(t *testing.T) {
	for _, evil := range []http.Header{
		{"X-A\r\ngrpc-status: 0\r\nx-b": {"v"}},
		{"X-A\ngrpc-status: 0\nx-b": {"v"}},
		{"X-A: v\r\ngrpc-status": {"0"}},
		{"X-A": {"v\r\ngrpc-status: 0"}},
		{"X-A": {"v\ngrpc-status: 0"}},
		{"": {"v"}},
		{"X A": {"v"}},
		{":status": {"200"}},
		{"X-Ä": {"v"}},
	} {
		evil["X-Good"] = []string{"1"}
		block := appendTrailers(nil, evil)
		got, err := parseTrailers(block)
		if err != nil {
			t.Errorf("%q: got %q, which is not read: %v", evil, block, err)
			continue
		}
		if got.Get(headerGRPCStatus) != "" || len(got) > 2 || got.Get("X-Good") != "1" {
			t.Errorf("%q: got %q", evil, got)
		}
	}
}

func TestTrailerTable(t *testing.T) {
	for _, c := range []struct {
		block string
		want  string // as fmt prints the header, "" is an error
	}{
		{"", "map[]"},
		{"\r\n", "map[]"},
		{"grpc-status: 0\r\n", "map[Grpc-Status:[0]]"},
		{"grpc-status:0\r\n", "map[Grpc-Status:[0]]"},
		{"Grpc-Status: 0", "map[Grpc-Status:[0]]"},
		{"GRPC-STATUS:\t0 \r\nGRPC-MESSAGE:\r\n", "map[Grpc-Message:[] Grpc-Status:[0]]"},
		{"a: 1\nb: 2\na: 3\n", "map[A:[1 3] B:[2]]"},
		{"a: b: c\r\n", "map[A:[b: c]]"},
		{"a\r\n", ""},
		{": 1\r\n", ""},
		{"a : 1\r\n", ""},
		{"a: 1\r\n folded\r\n", ""},
	} {
		got, err := parseTrailers([]byte(c.block))
		if (err == nil) != (c.want != "") {
			t.Errorf("parseTrailers(%q): got %v, %v, want %q", c.block, got, err, c.want)
		} else if err == nil && fmt.Sprint(got) != c.want {
			t.Errorf("parseTrailers(%q): got %v, want %s", c.block, got, c.want)
		}
	}
}

// FuzzTrailers: any block is refused or read, in bounds, and then written and
// read as the same; the end that it makes is one of the sixteen codes.
func FuzzTrailers(f *testing.F) {
	for _, s := range []string{
		"", "grpc-status: 0\r\n", "grpc-status: 5\r\ngrpc-message: a%20b\r\n", "GRPC-STATUS:13\n", "a", ":", "a:b\r\r\n", "a\x00:b\n",
		"grpc-status: 7\r\ngrpc-status-details-bin: CAcSAWE\r\n", "x-é: 1\r\n", "\n\n\n", "a: 1\r\n b\r\n", "grpc-status: 99\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		got, err := parseTrailers(block)
		e := dialectWeb.decodeEnd(wireEnd{hasBody: true, body: block})
		if err != nil {
			if e.err == nil || e.err.code != CodeInternal {
				t.Errorf("%q: got %s, want %v", block, tell(e.err), CodeInternal)
			}
			return
		}
		if e.err != nil && !e.err.code.valid() {
			t.Errorf("%q: got code %d", block, e.err.code)
		}
		if e.err == nil && strings.Trim(first(got, headerGRPCStatus), "0") != "" {
			t.Errorf("%q: got success of status %q", block, first(got, headerGRPCStatus))
		}
		lines, values := bytes.Count(block, []byte("\n"))+1, 0
		for key := range got {
			values += len(got[key])
			if strings.ContainsAny(key, "\r\n \t") {
				t.Errorf("%q: got key %q", block, key)
			}
		}
		if values > lines {
			t.Errorf("%q: got %d values of %d lines", block, values, lines)
		}
		clean := make(http.Header)
		for key := range got {
			if validKey(key) {
				for _, value := range got[key] {
					clean[key] = append(clean[key], strings.Trim(strings.ReplaceAll(value, "\r", " "), " \t"))
				}
			}
		}
		again, err := parseTrailers(appendTrailers(nil, got))
		if err != nil {
			t.Fatalf("%q: got %q, written and not read: %v", block, got, err)
		}
		if fmt.Sprintf("%q", again) != fmt.Sprintf("%q", clean) {
			t.Errorf("%q: got %q, written and read %q", block, clean, again)
		}
	})
}

// validKey reports whether s can be a header's key. [RFC 9110, section 5.6.2]
func validKey(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return false
		}
	}
	return s != ""
}
