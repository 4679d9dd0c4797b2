// SPDX-License-Identifier: Apache-2.0

// Tests of the comparison with the last release, with programs that only
// pretend to run.

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pretend is a runner that answers for git, go and the two programs without starting them.
type pretend struct {
	t        *testing.T
	noTag    bool
	noBuild  bool
	archive  []byte
	commands []string
}

func (p *pretend) run(_ context.Context, _, program string, args ...string) ([]byte, error) {
	name := filepath.Base(program)
	p.commands = append(p.commands, name+" "+args[0])
	cpu := 100e3 // of this tree; the release is half as fast
	switch {
	case name == "git" && args[0] == "describe":
		if p.noTag {
			return nil, errors.New("fatal: No names found, cannot describe anything.")
		}
		return []byte("v1.2.3\n"), nil
	case name == "git" && args[0] == "rev-parse":
		return []byte("/\n"), nil
	case name == "git" && args[0] == "archive":
		return p.archive, nil
	case name == "go":
		if p.noBuild && args[0] == "build" {
			return nil, errors.New("undefined: connect.New")
		}
		return nil, nil
	case name == "before":
		cpu *= 2
	}
	data, err := json.Marshal(file{Cases: []caseReport{{Work: "unary-64", Results: []result{{
		Library: ours, Protocol: overGRPC, Transport: overH2C, Median: measurement{CPU: cpu, Allocs: cpu / 1e3},
	}}}}})
	if err != nil {
		p.t.Fatal(err)
	}
	return nil, os.WriteFile(args[slices.Index(args, "-json")+1], data, 0o644)
}

// archiveOf returns an archive with one file.
func archiveOf(t *testing.T, name string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Size: 2, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("ok")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCompareRelease(t *testing.T) {
	for name, c := range map[string]struct {
		pretend pretend
		want    []string
		without string
	}{
		"release":     {pretend{}, []string{"this tree against v1.2.3", "200.00  100.00  2.00 (2.00–2.00)", "200.0  100.0"}, "alone"},
		"no release":  {pretend{noTag: true}, []string{"no release to compare with: the figures of this tree alone", "100.00   100.0"}, "before"},
		"no building": {pretend{noBuild: true}, []string{"build with v1.2.3", "undefined: connect.New", "this tree alone"}, "before ÷ now"},
	} {
		t.Run(name, func(t *testing.T) {
			p := c.pretend
			p.t, p.archive = t, archiveOf(t, "go.mod")
			var out strings.Builder
			if err := compareRelease(context.Background(), p.run, &out); err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("got %s, want something with %q", out.String(), want)
				}
			}
			if strings.Contains(out.String(), c.without) {
				t.Errorf("got %s, want nothing with %q", out.String(), c.without)
			}
		})
	}
}

// TestTurns checks that no program always goes first.
func TestTurns(t *testing.T) {
	p := &pretend{t: t}
	turns, err := takeTurns(context.Background(), p.run, t.TempDir(), []string{"before", "now"})
	if err != nil {
		t.Fatal(err)
	}
	if len(turns[0]) != releaseTurns || len(turns[1]) != releaseTurns {
		t.Errorf("got %d and %d reports, want %d", len(turns[0]), len(turns[1]), releaseTurns)
	}
	first := make(map[string]int)
	for i := 0; i < len(p.commands); i += 2 {
		first[p.commands[i]]++
	}
	if first["before -work"] != releaseTurns/2 || first["now -work"] != releaseTurns/2 {
		t.Errorf("got %v, want each first half of the times", first)
	}
}

func TestReleaseWorksExist(t *testing.T) {
	for _, name := range releaseWorks {
		if !slices.ContainsFunc(works, func(w work) bool { return w.name == name }) {
			t.Errorf("no work is named %q", name)
		}
	}
}

func TestUnpackTree(t *testing.T) {
	dir := t.TempDir()
	if err := unpackTree(dir, archiveOf(t, "a/b.txt")); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "a", "b.txt")); err != nil || string(data) != "ok" {
		t.Errorf("got %q, %v", data, err)
	}
	if err := unpackTree(dir, archiveOf(t, "../out.txt")); err == nil {
		t.Error("got no error for a file outside")
	}
	if err := unpackTree(dir, archiveOf(t, "c.txt")[:513]); err == nil {
		t.Error("got no error for an archive that is cut")
	}
}
