// SPDX-License-Identifier: Apache-2.0

//go:build !race

package main

import (
	"os"
	"testing"
)

// TestMain makes this binary the program, where startWatched runs it as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-serve" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestAllocWaiting holds the memory of an idle connection and of a waiting stream: its
// goroutine has a stack of 4 KiB, which twice as deep frames would double.
func TestAllocWaiting(t *testing.T) {
	const idleMost, waitingMost = 16 << 10, 10 << 10
	idle, waiting, err := memoryOf(t.Context(), serveOwn)
	if err != nil {
		t.Fatal(err)
	}
	if idle > idleMost {
		t.Errorf("got %.1f KiB for an idle connection, want at most %d", idle/1024, idleMost>>10)
	}
	if waiting > waitingMost {
		t.Errorf("got %.1f KiB for a waiting stream, want at most %d", waiting/1024, waitingMost>>10)
	}
}
