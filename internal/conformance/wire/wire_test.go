// SPDX-License-Identifier: Apache-2.0

// This file checks the pipe to the suite and the translations as inverse pairs.

package wire

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/seed-b7c59c10/connect/internal/conformance/conformancev1"
)

func TestReadWrite(t *testing.T) {
	var pipe bytes.Buffer
	sent := []*conformancev1.ServerCompatResponse{{Host: "a", Port: 1}, {}, {PemCert: make([]byte, 1000)}}
	for _, message := range sent {
		if err := Write(&pipe, message); err != nil {
			t.Fatal(err)
		}
	}
	whole := bytes.Clone(pipe.Bytes())
	for i, want := range sent {
		got := &conformancev1.ServerCompatResponse{}
		if err := Read(&pipe, got); err != nil || !proto.Equal(got, want) {
			t.Errorf("message %d: got %v, %v, want %v", i, got, err, want)
		}
	}
	if err := Read(&pipe, sent[0]); err != io.EOF {
		t.Errorf("after the last message: got %v, want EOF", err)
	}
	first := 4 + proto.Size(&conformancev1.ServerCompatResponse{Host: "a", Port: 1})
	for cut := 1; cut < first; cut++ {
		if err := Read(bytes.NewReader(whole[:cut]), sent[0]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: got %v, want an unexpected EOF", cut, err)
		}
	}
	if err := Read(strings.NewReader("\xff\xff\xff\xff"), sent[0]); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("4 GiB: got %v, want a refusal", err)
	}
}

func TestHeaders(t *testing.T) {
	want := http.Header{"X-A": {"1", "2"}, "X-B": {""}}
	got := make(http.Header)
	AddHeaders(got, Headers(want))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if list := Headers(want); list[0].GetName() != "X-A" || list[1].GetName() != "X-B" {
		t.Errorf("got %v, want it sorted", list)
	}
}

func TestErrors(t *testing.T) {
	detail, err := anypb.New(&conformancev1.Header{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	want := &conformancev1.Error{
		Code:    conformancev1.Code_CODE_ABORTED,
		Message: proto.String("no"),
		Details: []*anypb.Any{detail, detail},
	}
	made, err := ToError(&conformancev1.Error{Code: want.Code, Message: want.Message, Details: want.Details[:1]},
		&conformancev1.Header{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if got := FromError(made); !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := FromError(nil); got != nil {
		t.Errorf("got %v, want nil", got)
	}
	if got := FromError(errors.New("plain")); got.GetCode() != conformancev1.Code_CODE_UNKNOWN || got.GetMessage() != "plain" {
		t.Errorf("got %v, want unknown: plain", got)
	}
}

func TestCompression(t *testing.T) {
	names := map[string]bool{}
	for number := range conformancev1.Compression_name {
		name, option, err := Compression(conformancev1.Compression(number))
		if err != nil {
			t.Errorf("%d: %v", number, err)
		}
		if needs := name != "" && name != "gzip"; needs != (option != nil) {
			t.Errorf("%q: got option %v, want one: %v", name, option, needs)
		}
		names[name] = true
	}
	if len(names) != 6 {
		t.Errorf("got %v, want five names and none", names)
	}
	if _, _, err := Compression(99); err == nil {
		t.Error("99: got no error")
	}
}
