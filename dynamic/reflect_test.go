// SPDX-License-Identifier: Apache-2.0

// This file asks servers' reflection for schemas. internal/interop asks grpc-go's.

package dynamic_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/dynamic"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// rawCodec carries encoded messages.
type rawCodec struct{}

func (rawCodec) Name() string                  { return "proto" }
func (rawCodec) Marshal(m any) ([]byte, error) { return *m.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, m any) error {
	*m.(*[]byte) = append([]byte(nil), data...)
	return nil
}

// reflector serves reflection with a function from a question, as field and value, to
// an answer.
func reflector(version string, answer func(protowire.Number, string) []byte) http.Handler {
	return connect.NewBidiStreamHandler("/grpc.reflection."+version+".ServerReflection/ServerReflectionInfo",
		func(_ context.Context, stream *connect.BidiStream[[]byte, []byte]) error {
			for {
				question, err := stream.Receive()
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err != nil {
					return err
				}
				field, _, n := protowire.ConsumeTag(*question)
				value, _ := protowire.ConsumeString((*question)[n:])
				reply := answer(field, value)
				if err := stream.Send(&reply); err != nil {
					return err
				}
			}
		}, connect.WithCodec(rawCodec{}))
}

// field encodes a field of bytes.
func field(number protowire.Number, parts ...string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), strings.Join(parts, ""))
}

func failure(code uint64, text string) []byte {
	coded := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), code)
	return field(7, string(coded), string(field(2, text)))
}

func encoded(t *testing.T, m proto.Message) string {
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A server that has the test service and lists it with reflection itself. It does not
// send google/protobuf/any.proto, which the program has.
func honest(t *testing.T) func(protowire.Number, string) []byte {
	file := encoded(t, protodesc.ToFileDescriptorProto(conntestv1.File_conntest_v1_conntest_proto))
	return func(number protowire.Number, value string) []byte {
		switch {
		case number == 7:
			return field(6, string(field(1, string(field(1, "conntest.v1.TestService")))), string(field(1, string(field(1, "grpc.reflection.v1.ServerReflection")))))
		case number == 4 && value == "conntest.v1.TestService":
			return field(4, string(field(1, file)))
		}
		return failure(5, "there is no "+value)
	}
}

func TestReflect(t *testing.T) {
	for _, version := range []string{"v1", "v1alpha"} {
		for _, e := range engines[1:] {
			mux := http.NewServeMux()
			mux.Handle("/grpc.reflection."+version+".ServerReflection/", reflector(version, honest(t)))
			mux.Handle("/", connect.NewUnknownProcedureHandler())
			url, httpClient := e.start(t, mux)
			for protocol, option := range protocols {
				for _, services := range [][]string{nil, {"conntest.v1.TestService"}} {
					t.Run(fmt.Sprint(version, "/", e.name, "/", protocol, "/", len(services)), func(t *testing.T) {
						schema, err := dynamic.Reflect(testContext(t), httpClient, url+"/", services, option)
						if err != nil {
							t.Fatal(err)
						}
						methodOf(t, schema, "Bidi")
					})
				}
			}
			_, err := dynamic.Reflect(testContext(t), httpClient, url, []string{"a.Missing"})
			wantError(t, err, connect.CodeNotFound, "there is no a.Missing")
		}
	}
}

// Servers that do not answer as they should.
func TestReflectHostile(t *testing.T) {
	calls := 0
	many := func(number protowire.Number, _ string) []byte { // each file imports another one
		calls++
		text := fmt.Sprintf(`{"name":"f%d","dependency":["f%d"]}`, calls, calls+1)
		return field(4, string(field(1, encoded(t, fileOf(t, text)))))
	}
	for name, c := range map[string]struct {
		answer func(protowire.Number, string) []byte
		code   connect.Code
		text   string
	}{
		"garbage":         {func(protowire.Number, string) []byte { return []byte("\xff\xff\xff") }, connect.CodeInternal, "read the answer"},
		"cut off":         {func(protowire.Number, string) []byte { return []byte("\x22\x7f") }, connect.CodeInternal, "read the answer"},
		"empty":           {func(protowire.Number, string) []byte { return nil }, connect.CodeInternal, "field 4 is missing"},
		"other answer":    {func(protowire.Number, string) []byte { return field(6) }, connect.CodeInternal, "field 4 is missing"},
		"no descriptor":   {func(protowire.Number, string) []byte { return field(4, string(field(1, "\xff"))) }, connect.CodeInternal, "read the descriptor"},
		"odd code":        {func(protowire.Number, string) []byte { return failure(99, "odd") }, connect.CodeUnknown, "odd"},
		"files for ever":  {many, connect.CodeResourceExhausted, "more than 10000 files"},
		"no files at all": {func(protowire.Number, string) []byte { return field(4) }, connect.CodeUnknown, ""},
	} {
		t.Run(name, func(t *testing.T) {
			url, httpClient := engines[2].start(t, reflector("v1", c.answer))
			schema, err := dynamic.Reflect(testContext(t), httpClient, url, []string{"a.S"})
			if c.code == connect.CodeUnknown && c.text == "" {
				if err != nil {
					t.Errorf("got error %v, want an empty schema", err)
				} else if _, err := schema.Method("a.S/M"); err == nil {
					t.Error("got a method of an empty schema")
				}
				return
			}
			wantError(t, err, c.code, c.text)
		})
	}
}

// The caller's context ends the wait for a server that does not answer.
func TestReflectSilent(t *testing.T) {
	ctx, cancel := context.WithCancel(testContext(t))
	url, httpClient := engines[1].start(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	_, err := dynamic.Reflect(ctx, httpClient, url, nil)
	wantError(t, err, connect.CodeCanceled, "reflect "+strings.TrimPrefix(url, "http://"))
}
