// SPDX-License-Identifier: Apache-2.0

// This file starts a program that links this library and the reference.

package compat

import "testing"

// TestLinkBoth fails when both register the same Protobuf file or message:
// then the program panics before main.
func TestLinkBoth(t *testing.T) {
	got := goCommand(t, ".", "run", "./both")
	want := "ours: aborted: started\ntheirs: aborted: started\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
