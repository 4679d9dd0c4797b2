// SPDX-License-Identifier: Apache-2.0

package h2

import "testing"

// TestGODEBUG reads lists of settings as package runtime does.
func TestGODEBUG(t *testing.T) {
	for list, want := range map[string]string{
		"":                               "-",
		"http2client=0":                  "0",
		"http2client=1":                  "1",
		"a=b,http2client=0,c=d":          "0",
		"http2client=0,http2client=1":    "1",
		"http2client=0#x":                "0",
		"xhttp2client=0":                 "-",
		"http2client":                    "",
		"http2debug=1,http2server=0":     "-",
		"http2client=1,http2client=0,a=": "0",
	} {
		got, ok := godebugValue(list, switchClient)
		if !ok {
			got = "-"
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", list, got, want)
		}
	}
	t.Setenv("GODEBUG", "http2client=0")
	if !switchedOff(switchClient) || switchedOff(switchServer) {
		t.Errorf("with http2client=0: got %v and %v, want true and false", switchedOff(switchClient), switchedOff(switchServer))
	}
}
