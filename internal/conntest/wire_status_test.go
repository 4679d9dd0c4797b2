// SPDX-License-Identifier: Apache-2.0

// This file tests items 67 to 71 of the checklist: how gRPC writes messages, details, codes and binary values.

package conntest

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// gRPC over HTTP/2: Percent-Byte-Unencoded → 1*( %x20-%x24 / %x26-%x7E ); Percent-Byte-Encoded → "%" 2HEXDIGIT ; 0-9 A-F.
func TestItem67_PercentEncodedMessage(t *testing.T) {
	var ascii strings.Builder
	for b := range byte(0x80) {
		ascii.WriteByte(b)
	}
	messages := []string{"plain text", "n\u00f6t\n100%", "%41", "a+b&c=d/e?f", "\u65e5\u672c\u8a9e", "\U0001f642", "[" + ascii.String() + "]"}
	wireEachGRPC(t, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		for _, message := range messages {
			var want strings.Builder
			for _, b := range []byte(message) {
				if b < 0x20 || b > 0x7e || b == '%' {
					fmt.Fprintf(&want, "%%%02X", b)
				} else {
					want.WriteByte(b)
				}
			}
			reply := wirePost(t, wireFail(kind, connect.NewError(connect.CodeAborted, errors.New(message))), dialect.contentType(kind, "proto"), wireMessages("hi"))
			wantSame(t, "grpc-message", dialect.end(t, kind, reply).message, want.String())

			for _, encoded := range []string{want.String(), strings.ReplaceAll(want.String(), "%C3%B6", "%c3%b6")} {
				out := dialect.call(t, kind, wireStatus(dialect, kind, nil, "Grpc-Status", "10", "Grpc-Message", encoded))
				wantFault(t, out.err, connect.CodeAborted)
				wantSame(t, "message", asConnectError(t, out.err).Message(), message)
			}
		}
	})
	wantSame(t, "an example in full", func() string {
		reply := wirePost(t, wireFail(0, connect.NewError(connect.CodeAborted, errors.New("n\u00f6t\n100%"))), "application/grpc", wireMessages("hi"))
		return reply.trailer.Get("Grpc-Message")
	}(), "n%C3%B6t%0A100%25")
}

// gRPC over HTTP/2: "When decoding invalid values, implementations MUST NOT error or throw away the message."
// Decision: the code is kept, and the text as it was received.
func TestItem68_MalformedPercentEncoding(t *testing.T) {
	wireEachGRPC(t, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		for _, message := range []string{"100%", "bad%zz", "%", "%%", "%2", "%2g", "a%b", "50% off", "%G0 and %0G"} {
			out := dialect.call(t, kind, wireStatus(dialect, kind, nil, "Grpc-Status", "10", "Grpc-Message", message))
			wantFault(t, out.err, connect.CodeAborted)
			wantSame(t, "message", asConnectError(t, out.err).Message(), message)

			only := dialect.raw(kind, nil)
			only.header.Set("Grpc-Status", "10")
			only.header.Set("Grpc-Message", message)
			out = dialect.call(t, kind, only)
			wantFault(t, out.err, connect.CodeAborted)
			wantSame(t, "message of trailers-only", asConnectError(t, out.err).Message(), message)
		}
	})
}

// wireStatusProto is a google.rpc.Status with one detail.
func wireStatusProto(code int32, message string, detail proto.Message) []byte {
	value, _ := proto.Marshal(detail)
	var packed []byte
	packed = protowire.AppendTag(packed, 1, protowire.BytesType)
	packed = protowire.AppendString(packed, "type.googleapis.com/"+string(detail.ProtoReflect().Descriptor().FullName()))
	packed = protowire.AppendTag(packed, 2, protowire.BytesType)
	packed = protowire.AppendBytes(packed, value)
	var data []byte
	data = protowire.AppendTag(data, 1, protowire.VarintType)
	data = protowire.AppendVarint(data, uint64(code))
	data = protowire.AppendTag(data, 2, protowire.BytesType)
	data = protowire.AppendString(data, message)
	data = protowire.AppendTag(data, 3, protowire.BytesType)
	return protowire.AppendBytes(data, packed)
}

func TestItem69_StatusDetails(t *testing.T) {
	wireEachGRPC(t, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		failure := connect.NewError(connect.CodeAborted, errors.New("text"))
		reply := wirePost(t, wireFail(kind, failure), dialect.contentType(kind, "proto"), wireMessages("hi"))
		end := dialect.end(t, kind, reply)
		if values, ok := end.trailer["Grpc-Status-Details-Bin"]; ok {
			t.Errorf("grpc-status-details-bin without details: got %q, want none", values)
		}

		for size := range 3 { // so that padding would be 0, 1 and 2 characters
			message := "text" + strings.Repeat("x", size)
			want := wireStatusProto(int32(connect.CodeAborted), message, wrapperspb.String("detail"))
			failure := connect.NewError(connect.CodeAborted, errors.New(message))
			detail, err := connect.NewErrorDetail(wrapperspb.String("detail"))
			if err != nil {
				t.Fatal(err)
			}
			failure.AddDetail(detail)
			reply := wirePost(t, wireFail(kind, failure), dialect.contentType(kind, "proto"), wireMessages("hi"))
			got := dialect.end(t, kind, reply).trailer.Get("Grpc-Status-Details-Bin")
			wantSame(t, "grpc-status-details-bin", got, base64.RawStdEncoding.EncodeToString(want))

			// The Protobuf status overrides the two fields beside it.
			for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.StdEncoding} {
				out := dialect.call(t, kind, wireStatus(dialect, kind, nil,
					"Grpc-Status", "5", "Grpc-Message", "other", "Grpc-Status-Details-Bin", encoding.EncodeToString(want)))
				wantFault(t, out.err, connect.CodeAborted)
				coded := asConnectError(t, out.err)
				wantSame(t, "message", coded.Message(), message)
				wantSame(t, "details", len(coded.Details()), 1)
				wantSame(t, "type", coded.Details()[0].Type(), "google.protobuf.StringValue")
				value, err := coded.Details()[0].Value()
				if err != nil {
					t.Fatal(err)
				}
				if !proto.Equal(value, wrapperspb.String("detail")) {
					t.Errorf("detail: got %v, want %v", value, wrapperspb.String("detail"))
				}
			}
		}
	})
}

// Decision: a status out of range is "unknown", and the message has the number.
func TestItem70_StatusNumbers(t *testing.T) {
	wireEachGRPC(t, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		for _, test := range wireCodes {
			out := dialect.call(t, kind, wireStatus(dialect, kind, nil, "Grpc-Status", fmt.Sprint(int(test.code))))
			wantFault(t, out.err, test.code)
		}
		for _, status := range []string{"17", "42", "99999", "2147483648", "4294967295", "4294967296", "4294967301", "18446744073709551616"} {
			out := dialect.call(t, kind, wireStatus(dialect, kind, nil, "Grpc-Status", status))
			wantFault(t, out.err, connect.CodeUnknown)
			wantContains(t, "error", out.err.Error(), status)
		}
		for _, status := range []string{"abc", "-1", "1.0", "0x5", "5x"} {
			out := dialect.call(t, kind, wireStatus(dialect, kind, nil, "Grpc-Status", status))
			wantFault(t, out.err, connect.CodeUnknown)
		}
		out := dialect.call(t, kind, wireStatus(dialect, kind, wireMessages("hi"), "Grpc-Status", "0"))
		if out.err != nil {
			t.Fatalf("status 0: %v", out.err)
		}
		// The same for a status in the details.
		for _, code := range []int32{17, -1, 99999} {
			data := wireStatusProto(code, "text", wrapperspb.String("detail"))
			out := dialect.call(t, kind, wireStatus(dialect, kind, nil,
				"Grpc-Status", "5", "Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString(data)))
			wantFault(t, out.err, connect.CodeUnknown, connect.CodeNotFound)
		}
	})
}

// Protocol, "Unary-Request": binary headers are emitted without padding, and accepted with and without.
func TestItem71_BinaryHeaders(t *testing.T) {
	for size := range 6 {
		data := []byte{0xfb, 0xff, 0x00, 0x3e, 0x3f, 0x7f}[:size]
		plain, padded := base64.RawStdEncoding.EncodeToString(data), base64.StdEncoding.EncodeToString(data)
		wantSame(t, "EncodeBinaryHeader", connect.EncodeBinaryHeader(data), plain)
		for _, value := range []string{plain, padded} {
			got, err := connect.DecodeBinaryHeader(value)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("DecodeBinaryHeader(%q): got %x, %v, want %x", value, got, err, data)
			}
		}
		wireEach(t, wireKinds[:1], func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
			var received [][]byte
			handler := wireHandler(kind, func(_ context.Context, call *wireCall) error {
				received = nil
				for _, line := range call.info.RequestHeader().Values("X-Data-Bin") {
					for part := range strings.SplitSeq(line, ",") {
						value, err := connect.DecodeBinaryHeader(strings.TrimSpace(part))
						if err != nil {
							return err
						}
						received = append(received, value)
					}
				}
				call.info.ResponseHeader().Set("X-Data-Bin", connect.EncodeBinaryHeader(data))
				return call.send("hi")
			})
			reply := wirePost(t, handler, dialect.contentType(kind, "proto"), dialect.body(kind, "hi"),
				"X-Data-Bin", plain+","+padded, "X-Data-Bin", padded)
			wantEnd(t, dialect.end(t, kind, reply), 0)
			wantSame(t, "values", len(received), 3)
			for _, value := range received {
				if !bytes.Equal(value, data) {
					t.Errorf("value: got %x, want %x", value, data)
				}
			}
			wantSame(t, "X-Data-Bin", reply.header.Get("X-Data-Bin"), plain)
		})
	}
}
