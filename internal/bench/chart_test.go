// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// TestChartTitles checks that each bar of a panel has a title of its own.
func TestChartTitles(t *testing.T) {
	titles := make(map[string]string)
	for _, name := range charted {
		var bar result
		for _, entry := range entries {
			if r := (result{Library: entry.library, Protocol: entry.protocol, Transport: entry.transport}); r.String() == name {
				bar = r
			}
		}
		title := bar.title()
		if title == "" || strings.HasPrefix(title, ",") {
			t.Errorf("%s: got the title %q", name, title)
		}
		if other := titles[title]; other != "" {
			t.Errorf("%s and %s: got the title %q for both", other, name, title)
		}
		titles[title] = name
	}
}
