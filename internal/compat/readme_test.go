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

// tableHead begins each of the README's tables of differences.
const tableHead = "| | connect-go | here | `dropin` |\n"

// asConnectGo is the last cell of a row whose difference the drop-in does not have.
const asConnectGo = "as connect-go"

// dropInCells are the last cells that a row of the README's table may have: the
// drop-in has no difference of any other sort.
var dropInCells = []string{asConnectGo, "as here: a bound", "as here: speed"}

// row is a row of the README's table: its first and its last cell.
type row struct{ name, dropIn string }

// TestREADME checks that each difference belongs to a row of the README's table or is
// of a sort that needs none, that a difference or a test elsewhere shows each row, and
// that the drop-in has the differences that the rows give it.
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

// tableRows returns the rows of the README's tables of differences.
func tableRows(readme string) (rows []row) {
	for _, table := range strings.Split(readme, tableHead)[1:] {
		for line := range strings.Lines(table) {
			cells := strings.Split(line, " | ")
			if len(cells) == 1 && !strings.HasPrefix(line, "|---") {
				break
			}
			if len(cells) == 4 {
				rows = append(rows, row{strings.TrimPrefix(cells[0], "| "), strings.TrimSuffix(cells[3], " |\n")})
			}
		}
	}
	return rows
}

// disagreements returns the faults: rows without a difference, differences without
// their row, and rows whose last cell is not what the differences show.
func disagreements(rows []row, differences []difference) (wrong []string) {
	shown := make(map[string]bool)
	dropIn := make(map[string]string)
	for _, row := range rows {
		dropIn[row.name] = row.dropIn
		if !slices.Contains(dropInCells, row.dropIn) {
			wrong = append(wrong, fmt.Sprintf("row %q: the drop-in's cell is %q, not one of %q", row.name, row.dropIn, dropInCells))
		}
	}
	for _, d := range differences {
		switch d.row {
		case rowText, rowBounds, rowSpeed:
			continue
		}
		shown[d.row] = true
		cell, found := dropIn[d.row]
		switch {
		case !found:
			wrong = append(wrong, fmt.Sprintf("item %s (%s): the README has no row %q", d.item, d.reason, d.row))
		case (cell == asConnectGo) != (d.on == "root"):
			wrong = append(wrong, fmt.Sprintf("item %s (%s) is on %q: row %q has %q for the drop-in", d.item, d.reason, d.on, d.row, cell))
		}
	}
	for name := range shownElsewhere {
		shown[name] = true
		if cell, found := dropIn[name]; !found {
			wrong = append(wrong, fmt.Sprintf("shownElsewhere: the README has no row %q", name))
		} else if cell == asConnectGo {
			wrong = append(wrong, fmt.Sprintf("shownElsewhere: no comparison shows that row %q is not the drop-in's", name))
		}
	}
	for _, row := range rows {
		if !shown[row.name] {
			wrong = append(wrong, fmt.Sprintf("row %q: no difference has it", row.name))
		}
	}
	return wrong
}

// TestDisagreements checks that the check above finds rows and differences that do not
// agree.
func TestDisagreements(t *testing.T) {
	const bound = "as here: a bound"
	rows := tableRows("x | y | z | d\n\n" + tableHead + "|---|---|---|---|\n| a | 1 | 2 | " + asConnectGo + " |\n| `b` | 1 | 2 | " + bound + " |\n\nc | d | e | f\n")
	if want := []row{{"a", asConnectGo}, {"`b`", bound}}; !slices.Equal(rows, want) {
		t.Fatalf("rows: got %q, want %q", rows, want)
	}
	for name := range shownElsewhere {
		rows = append(rows, row{name, bound})
	}
	a, b := difference{row: "a", on: "root"}, difference{row: "`b`"}
	for _, test := range []struct {
		name string
		rows []row
		list []difference
		want int
	}{
		{"agreement", rows, []difference{a, b}, 0},
		{"a sort without rows", rows, []difference{a, b, {row: rowText}, {row: rowSpeed, on: "root"}}, 0},
		{"a row without a difference", rows, []difference{a}, 1},
		{"rows without a difference", rows, nil, 2},
		{"no such row", rows, []difference{a, b, {row: "c"}}, 1},
		{"no row", rows, []difference{a, b, {}}, 1},
		{"the drop-in has a difference that its row denies", rows, []difference{{row: "a"}, b}, 1},
		{"the drop-in lacks a difference that its row gives it", rows, []difference{a, {row: "`b`", on: "root"}}, 1},
		{"a row of no sort", append([]row{{"d", "as here"}}, rows...), []difference{a, b, {row: "d"}}, 1},
		{"a row without a cell", append([]row{{"d", ""}}, rows...), []difference{a, b, {row: "d"}}, 1},
	} {
		if got := disagreements(test.rows, test.list); len(got) != test.want {
			t.Errorf("%s: got %q, want %d", test.name, got, test.want)
		}
	}
	for name := range shownElsewhere {
		denied := append(slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.name == name }), row{name, asConnectGo})
		if got := disagreements(denied, []difference{a, b}); len(got) != 1 {
			t.Errorf("%s, which the drop-in would not have: got %q, want 1", name, got)
		}
	}
}
