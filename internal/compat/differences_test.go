// SPDX-License-Identifier: Apache-2.0

// This file says what a wanted difference from the reference is and lists those of the API.

package compat

import "slices"

// wantedAPI holds wanted incompatible API changes by apidiff's text, with the reason.
var wantedAPI = map[string]string{}

// difference is one wanted difference in behaviour. In names and lines, "*"
// stands for any text.
type difference struct {
	item   string // in the protocol checklist, or the name of its decision
	reason string
	tests  []string // names as go test prints them: each of them must show the difference
	except []string // but not these
	lines  []string // "- " what only the reference does, "+ " what only we do
	some   bool     // some of the tests show it: which, is held elsewhere
	on     string   // for a published suite: the only foundation where tests show it
}

var differences = slices.Concat(serverDifferences, clientDifferences)
