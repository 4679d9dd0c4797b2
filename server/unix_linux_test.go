// SPDX-License-Identifier: Apache-2.0

// The mode that a socket's file has before it gets its group.

package server

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestUnixNarrowAtFirst looks at the file before its group and mode are set. Even without an
// umask it is narrow.
func TestUnixNarrowAtFirst(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	folder, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "s")
	l, err := bindUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode(); got != fs.ModeSocket|defaultMode {
		t.Errorf("got the mode %v at first, want %v", got, fs.ModeSocket|defaultMode)
	}
}

// TestUnixAbstract listens without a file.
func TestUnixAbstract(t *testing.T) {
	l, err := unixSettings{}.listen("@" + strings.ReplaceAll(t.TempDir(), "/", "-"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
