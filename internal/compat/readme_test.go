// SPDX-License-Identifier: Apache-2.0

// This file compares the lists of wanted differences with the README's table.

package compat

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestREADME checks that each difference belongs to a row of the README's table or is
// of a sort that needs none, and that a difference or a test elsewhere shows each row.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := tableRows(string(readme))
	if len(rows) < 10 {
		t.Fatalf("the README's table has the rows %q, want more", rows)
	}
	for _, wrong := range disagreements(rows, slices.Concat(differences, blackBoxDifferences)) {
		t.Error(wrong)
	}
	for row, shown := range shownElsewhere {
		source, err := os.ReadFile(filepath.Join("../..", shown.file))
		if err != nil || !strings.Contains(string(source), "\nfunc "+shown.test+"(t *testing.T) {") {
			t.Errorf("row %q: %s has no %s (%v)", row, shown.file, shown.test, err)
		}
	}
}

// tableRows returns the first cells of the README's table of differences.
func tableRows(readme string) (rows []string) {
	_, table, _ := strings.Cut(readme, "| | connect-go | here |\n")
	for line := range strings.Lines(table) {
		cells := strings.Split(line, " | ")
		if len(cells) == 1 && !strings.HasPrefix(line, "|---") {
			break
		}
		if len(cells) == 3 {
			rows = append(rows, strings.TrimPrefix(cells[0], "| "))
		}
	}
	return rows
}

// disagreements returns the faults: rows without a difference, and differences without
// their row.
func disagreements(rows []string, differences []difference) (wrong []string) {
	shown := make(map[string]bool)
	for _, d := range differences {
		switch d.row {
		case rowText, rowBounds, rowSpeed:
			continue
		}
		shown[d.row] = true
		if !slices.Contains(rows, d.row) {
			wrong = append(wrong, fmt.Sprintf("item %s (%s): the README has no row %q", d.item, d.reason, d.row))
		}
	}
	for row := range shownElsewhere {
		shown[row] = true
		if !slices.Contains(rows, row) {
			wrong = append(wrong, fmt.Sprintf("shownElsewhere: the README has no row %q", row))
		}
	}
	for _, row := range rows {
		if !shown[row] {
			wrong = append(wrong, fmt.Sprintf("row %q: no difference has it", row))
		}
	}
	return wrong
}

// TestDisagreements checks that the check above finds rows and differences that do not
// agree.
func TestDisagreements(t *testing.T) {
	rows := tableRows("x | y | z\n\n| | connect-go | here |\n|---|---|---|\n| a | 1 | 2 |\n| `b` | 1 | 2 |\n\nc | d | e\n")
	if want := []string{"a", "`b`"}; !slices.Equal(rows, want) {
		t.Fatalf("rows: got %q, want %q", rows, want)
	}
	for row := range shownElsewhere {
		rows = append(rows, row)
	}
	for _, test := range []struct {
		row  []string
		want int
	}{
		{[]string{"a", "`b`", rowText}, 0},
		{[]string{"a"}, 1},
		{[]string{"a", "`b`", "c"}, 1},
		{[]string{"a", "`b`", ""}, 1},
		{nil, 2},
	} {
		var ds []difference
		for _, row := range test.row {
			ds = append(ds, difference{row: row})
		}
		if got := disagreements(rows, ds); len(got) != test.want {
			t.Errorf("%q: got %q, want %d", test.row, got, test.want)
		}
	}
}
