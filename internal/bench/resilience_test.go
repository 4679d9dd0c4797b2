// SPDX-License-Identifier: Apache-2.0

// Tests of the comparisons with a slow backend and with overloaded servers: short runs
// whose calls are counted on both sides.

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

const testWarmUp, testLong = 100 * time.Millisecond, 200 * time.Millisecond

func TestCompareSlow(t *testing.T) {
	var out bytes.Buffer
	rows, err := compareSlow(t.Context(), &out, testWarmUp, testLong)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(slowEntries) {
		t.Fatalf("got %d rows, want %d", len(rows), len(slowEntries))
	}
	want := int(testLong * slowRate / time.Second)
	for i, row := range rows {
		name := slowEntries[i].name
		if row.name != name || !strings.Contains(out.String(), name) {
			t.Errorf("got row %q, want %q, also in the table:\n%s", row.name, name, out.String())
		}
		if len(row.took) != want || !slices.IsSorted(row.took) {
			t.Errorf("%s: got %d times, want %d that are sorted", name, len(row.took), want)
		}
		var served int64
		for _, n := range row.backends {
			served += n
		}
		if len(row.backends) != slowBackends || served != int64(want) {
			t.Errorf("%s: got %v calls at the backends, want %d at %d", name, row.backends, want, slowBackends)
		}
	}
}

func TestCompareStorm(t *testing.T) {
	var out bytes.Buffer
	rows, err := compareStorm(t.Context(), &out, testWarmUp, testLong)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", out.String())
	if len(rows) != len(stormEntries) {
		t.Fatalf("got %d rows, want %d", len(rows), len(stormEntries))
	}
	want := int(testLong * time.Duration(stormRate) / time.Second)
	for i, row := range rows {
		name := stormEntries[i].name
		if row.name != name || !strings.Contains(out.String(), name) {
			t.Errorf("got row %q, want %q, also in the table:\n%s", row.name, name, out.String())
		}
		if sum := row.good + row.refused + row.expired + row.other; row.made != want || sum != want {
			t.Errorf("%s: got %d calls and %d ends of calls, want %d of both", name, row.made, sum, want)
		}
		if len(row.took) != row.good || int64(row.good) > row.served {
			t.Errorf("%s: got %d times of %d good answers, and %d calls that were served", name, len(row.took), row.good, row.served)
		}
		switch {
		case strings.Contains(name, "overload."):
			if uint64(row.refused) > row.limited {
				t.Errorf("%s: got %d refusals, and %d from the limiter", name, row.refused, row.limited)
			}
		case !strings.Contains(name, "interceptor") && row.refused > 0:
			t.Errorf("%s: got %d refusals, want none", name, row.refused)
		}
		if row.other > 0 && !strings.Contains(out.String(), row.first.Error()) {
			t.Errorf("%s: got %d other errors, want the first one, %v, below the table", name, row.other, row.first)
		}
	}
}

// TestCompareInterrupted checks that both comparisons end with their context.
func TestCompareInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := compareSlow(ctx, io.Discard, time.Hour, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("slow: got error %v, want %v", err, context.Canceled)
	}
	if _, err := compareStorm(ctx, io.Discard, time.Hour, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("storm: got error %v, want %v", err, context.Canceled)
	}
}
