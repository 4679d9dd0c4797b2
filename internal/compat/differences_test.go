// SPDX-License-Identifier: Apache-2.0

// This file defines a wanted difference from the reference and lists those of the API.

package compat

import "slices"

// wantedAPI holds wanted incompatible API changes by apidiff's text, with the reason.
var wantedAPI = map[string]string{}

// difference is one wanted difference in behaviour. In names and lines, "*"
// stands for any text.
type difference struct {
	item   string // in the protocol checklist, or the name of its decision
	row    string // of the README's table, its first cell; or one of the constants below
	reason string
	tests  []string // names as go test prints them: each of them must show the difference
	except []string // but not these
	lines  []string // "- " before a line of the reference alone, "+ " before one of ours alone
	some   bool     // only some of the tests show it; tests elsewhere check which
	on     string   // "root" if the drop-in does not have the difference, "" if it does
}

// Differences that have no row in the README's table: those of each sort are allowed.
const (
	rowText   = "(the text of errors)"
	rowBounds = "(bounds against hostile input)"
	rowSpeed  = "(speed)"
)

// shownElsewhere are rows of the README's table that no comparison shows, and the
// test that does.
var shownElsewhere = map[string]struct{ file, test string }{
	"the built-in gzip":                    {"compression_test.go", "TestGzipLevel"},
	"nested `google.protobuf.Any` in JSON": {"codec_json_test.go", "TestNestedAny"},
}

var differences = slices.Concat(serverDifferences, handlerDifferences, clientDifferences, stepDifferences, foundDifferences)
