// SPDX-License-Identifier: Apache-2.0

// This file compares two transcripts and judges their difference by the table of wanted ones.

package compat

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestMain fails a whole run, too, when a name or a line of the table of wanted
// differences has matched no test.
func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	whole := flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == "" && !testing.Short()
	if code == 0 && whole {
		for name, tb := range map[string]*table{"root": listed, "drop-in": listedOfDropIn} {
			for _, unused := range tb.unused() {
				fmt.Printf("differences_test.go: %s: %s\n", name, unused)
				code = 1
			}
		}
	}
	os.Exit(code)
}

// judge compares the transcripts of one case and checks the difference against
// the table of wanted ones.
func judge(t *testing.T, theirs, ours []string) {
	t.Helper()
	judgeBy(t, listed, theirs, ours)
}

// judgeBy is judge with a table.
func judgeBy(t *testing.T, listed *table, theirs, ours []string) {
	t.Helper()
	if len(theirs) == 0 || len(ours) == 0 {
		t.Fatal("empty transcript")
	}
	got := diff(theirs, ours)
	unlisted, absent := listed.match(t.Name(), got)
	if len(unlisted) > 0 {
		t.Errorf("difference (- theirs, + ours): got\n\t%s\nnot listed:\n\t%s\ntheirs:\n\t%s",
			strings.Join(got, "\n\t"), strings.Join(unlisted, "\n\t"), strings.Join(theirs, "\n\t"))
	}
	for _, d := range absent {
		t.Errorf("the difference of item %s does not occur (%s): got\n\t%s", d.item, d.reason, strings.Join(got, "\n\t"))
	}
}

// table is a list of wanted differences that notes which of its entries have matched.
type table struct {
	differences []difference
	mu          sync.Mutex
	used        map[*string]bool // elements of tests, except and lines
}

var (
	listed = &table{differences: differences, used: make(map[*string]bool)}
	// listedOfDropIn are those that the drop-in has, too.
	listedOfDropIn = &table{used: make(map[*string]bool), differences: slices.DeleteFunc(slices.Clone(differences), func(d difference) bool {
		return d.on == "root"
	})}
)

// match returns the lines of a test's difference that the table does not list, and
// the listed differences that the test does not show.
func (tb *table) match(test string, lines []string) (unlisted []string, absent []difference) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	wanted := make([]bool, len(lines))
	for i := range tb.differences {
		d := &tb.differences[i]
		if !tb.lists(d, test) {
			continue
		}
		occurs := false
		for j := range d.lines {
			for k, line := range lines {
				if glob(d.lines[j], line) {
					occurs, wanted[k], tb.used[&d.lines[j]] = true, true, true
				}
			}
		}
		if !occurs && !d.some {
			absent = append(absent, *d)
		}
	}
	for k, line := range lines {
		if !wanted[k] {
			unlisted = append(unlisted, line)
		}
	}
	return unlisted, absent
}

// lists reports whether a difference names a test.
func (tb *table) lists(d *difference, test string) bool {
	named := false
	for j := range d.tests {
		if glob(d.tests[j], test) {
			named, tb.used[&d.tests[j]] = true, true
		}
	}
	if !named {
		return false
	}
	for j := range d.except {
		if glob(d.except[j], test) {
			tb.used[&d.except[j]] = true
			return false
		}
	}
	return true
}

// unused returns the names and lines that have matched no test.
func (tb *table) unused() (unused []string) {
	for i := range tb.differences {
		d := &tb.differences[i]
		for j := range d.tests {
			if !tb.used[&d.tests[j]] {
				unused = append(unused, fmt.Sprintf("item %s, %s: no test is named %s", d.item, d.row, d.tests[j]))
			}
		}
		for j := range d.except {
			if !tb.used[&d.except[j]] {
				unused = append(unused, fmt.Sprintf("item %s, %s: no test is named %s", d.item, d.row, d.except[j]))
			}
		}
		for j := range d.lines {
			if !tb.used[&d.lines[j]] {
				unused = append(unused, fmt.Sprintf("item %s, %s: no test shows %q", d.item, d.row, d.lines[j]))
			}
		}
	}
	return unused
}

// glob reports whether a text matches a pattern in which "*" stands for any text.
func glob(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	first, last := parts[0], parts[len(parts)-1]
	if !strings.HasPrefix(text, first) || !strings.HasSuffix(text[len(first):], last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return true
}

// diff returns the lines that only one of two transcripts has, in order:
// theirs with "- ", ours with "+ ".
func diff(theirs, ours []string) []string {
	// The longest common subsequence by dynamic programming: transcripts are short.
	length := make([][]int, len(theirs)+1)
	for i := range length {
		length[i] = make([]int, len(ours)+1)
	}
	for i := len(theirs) - 1; i >= 0; i-- {
		for j := len(ours) - 1; j >= 0; j-- {
			if theirs[i] == ours[j] {
				length[i][j] = length[i+1][j+1] + 1
			} else {
				length[i][j] = max(length[i+1][j], length[i][j+1])
			}
		}
	}
	var lines []string
	i, j := 0, 0
	for i < len(theirs) || j < len(ours) {
		switch {
		case i < len(theirs) && j < len(ours) && theirs[i] == ours[j]:
			i, j = i+1, j+1
		case j == len(ours) || i < len(theirs) && length[i+1][j] >= length[i][j+1]:
			lines = append(lines, "- "+theirs[i])
			i++
		default:
			lines = append(lines, "+ "+ours[j])
			j++
		}
	}
	return lines
}

// TestDiff pins the lines that the comparison reports.
func TestDiff(t *testing.T) {
	for _, test := range []struct{ theirs, ours, want string }{
		{"", "", ""},
		{"a b c", "a b c", ""},
		{"a b c", "a x c", "- b,+ x"},
		{"a b", "a b c", "+ c"},
		{"a b", "b", "- a"},
		{"a a", "a", "- a"},
		{"a b", "b a", "- a,+ a"},
	} {
		got := strings.Join(diff(strings.Fields(test.theirs), strings.Fields(test.ours)), ",")
		if got != test.want {
			t.Errorf("diff(%q, %q): got %q, want %q", test.theirs, test.ours, got, test.want)
		}
	}
}

// TestJudgement pins that the table allows the differences that it lists and no
// other, and that it reports those that do not occur.
func TestJudgement(t *testing.T) {
	newTable := func() *table {
		return &table{
			used: make(map[*string]bool),
			differences: []difference{
				{item: "1", tests: []string{"T/a*", "T/b"}, lines: []string{"- x*", "+ y"}},
				{item: "2", tests: []string{"T/ab"}, lines: []string{"+ z"}},
			},
		}
	}
	for _, test := range []struct {
		name     string
		lines    []string
		unlisted []string
		absent   int
	}{
		{"T/c", nil, nil, 0},
		{"T/c", []string{"- x1"}, []string{"- x1"}, 0},
		{"T/a", []string{"- x1", "+ y"}, nil, 0},
		{"T/a", []string{"- x1", "+ z"}, []string{"+ z"}, 0},
		{"T/a", nil, nil, 1},
		{"T/ab", []string{"- x1", "+ z"}, nil, 0},
		{"T/ab", []string{"+ z"}, nil, 1},
		{"T/b", []string{"+ yy"}, []string{"+ yy"}, 1},
	} {
		unlisted, absent := newTable().match(test.name, test.lines)
		if !slices.Equal(unlisted, test.unlisted) || len(absent) != test.absent {
			t.Errorf("match(%q, %q): got %q and %d absent, want %q and %d", test.name, test.lines, unlisted, len(absent), test.unlisted, test.absent)
		}
	}
	tb := newTable()
	tb.match("T/b", []string{"+ y"})
	if got, want := len(tb.unused()), 4; got != want { // T/a*, "- x*", T/ab, "+ z"
		t.Errorf("unused: got %d (%q), want %d", got, tb.unused(), want)
	}
}

func TestGlob(t *testing.T) {
	for _, test := range []struct {
		pattern, text string
		want          bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"a*", "ab", true}, {"a*", "ba", false}, {"*", "", true}, {"*b", "ab", true},
		{"a*a", "a", false}, {"a*a", "aa", true}, {"a*b*c", "axbyc", true}, {"a*b*c", "acb", false}, {"*/1.1", "x/1.1", true},
	} {
		if got := glob(test.pattern, test.text); got != test.want {
			t.Errorf("glob(%q, %q): got %v, want %v", test.pattern, test.text, got, test.want)
		}
	}
}
