// SPDX-License-Identifier: Apache-2.0

package protofile

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoregistry"
)

func TestParse(t *testing.T) {
	file := Parse(`name: "a/a.proto" package: "a" syntax: "proto3" message_type { name: "M" }`)
	if got := file.Messages().Get(0).FullName(); got != "a.M" {
		t.Errorf("got message %q, want a.M", got)
	}
	if _, err := protoregistry.GlobalFiles.FindFileByPath("a/a.proto"); err == nil {
		t.Error("got a registered file, want none")
	}
}

func TestParsePanics(t *testing.T) {
	for _, text := range []string{`name: 1`, `name: "a.proto" dependency: "b.proto"`, `name: "a.proto" message_type { name: "M" } message_type { name: "M" }`} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.HasPrefix(got, "protofile: parse the text of") {
					t.Errorf("%s: got panic %q, want one with the file's name", text, got)
				}
			}()
			Parse(text)
		}()
	}
}
