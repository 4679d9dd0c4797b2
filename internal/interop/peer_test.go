// SPDX-License-Identifier: Apache-2.0

// This file tests that one program can link both libraries, and that one source compiles against either.

package interop_test

import (
	"flag"
	"go/format"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

var rewrite = flag.Bool("rewrite", false, "rewrite peer/ from ours/ instead of comparing them")

const (
	ourPath  = "github.com/seed-b7c59c10/connect"
	peerPath = "connectrpc.com/connect"
)

// TestPeerSource compares peer/ with ours/ under another import path: the same source compiles with connect-go.
// Run it with -rewrite after a change of ours/.
func TestPeerSource(t *testing.T) {
	sources, err := filepath.Glob("ours/*.go")
	if err != nil || len(sources) == 0 {
		t.Fatalf("looking for ours/*.go: got %d files and error %v", len(sources), err)
	}
	for _, source := range sources {
		data, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer(
			`"`+ourPath+`"`, `"`+peerPath+`"`,
			"package ours\n", "package peer\n",
			"Package ours is a client and a server of gRPC's test service on this library.",
			"Package peer is a client and a server of gRPC's test service on connect-go: package ours with another import path.",
		).Replace(string(data))
		spdx, rest, _ := strings.Cut(text, "\n")
		want, err := format.Source([]byte(spdx + "\n\n// Code generated from package ours by peer_test.go. DO NOT EDIT.\n" + rest))
		if err != nil {
			t.Fatal(err)
		}
		target := filepath.Join("peer", filepath.Base(source))
		if *rewrite {
			if err := os.WriteFile(target, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(target)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s is not %s with another import path: run go test -run TestPeerSource -rewrite .", target, source)
		}
	}
}

// TestRegistry looks at the Protobuf types of this program, which links this library and connect-go. Two packages that
// register one name make the program panic at start, unless an environment variable turns that off. So the variable must
// be unset, connect-go's type must be its own, and this library must register nothing.
func TestRegistry(t *testing.T) {
	if value, set := os.LookupEnv("GOLANG_PROTOBUF_REGISTRATION_CONFLICT"); set {
		t.Errorf("GOLANG_PROTOBUF_REGISTRATION_CONFLICT: got %q, want it unset: it hides conflicts", value)
	}
	theirs := 0
	protoregistry.GlobalTypes.RangeMessages(func(kind protoreflect.MessageType) bool {
		switch path := reflect.TypeOf(kind.Zero().Interface()).Elem().PkgPath(); {
		case path == ourPath || strings.HasPrefix(path, ourPath+"/"):
			t.Errorf("%s registers %s, want no Protobuf type of this library", path, kind.Descriptor().FullName())
		case strings.HasPrefix(path, peerPath+"/"):
			theirs++
		}
		return true
	})
	if theirs == 0 {
		t.Error("no Protobuf type of connect-go is registered: this program does not link it as it should")
	}
}
