// SPDX-License-Identifier: Apache-2.0

// The GODEBUG settings with which an operator turns net/http's HTTP/2 off, and this
// package with it.

package h2

import (
	"os"
	"runtime/debug"
	"strings"
	"sync"
)

const (
	switchClient = "http2client"
	switchServer = "http2server"
)

// switchedOff reports whether a setting has the value 0 in the environment variable
// GODEBUG, or, if it is absent there, in the settings that the program was built with.
// [https://go.dev/doc/godebug]
func switchedOff(name string) bool {
	value, ok := godebugValue(os.Getenv("GODEBUG"), name)
	if !ok {
		value, _ = godebugValue(builtWith(), name)
	}
	return value == "0"
}

// godebugValue returns the value of a setting in a list of them. The last one counts.
// The value ends at a "#": a suffix for debugging follows it.
func godebugValue(list, name string) (value string, ok bool) {
	for setting := range strings.SplitSeq(list, ",") {
		if key, v, _ := strings.Cut(setting, "="); key == name {
			value, _, _ = strings.Cut(v, "#")
			ok = true
		}
	}
	return value, ok
}

// builtWith returns the settings of the program's //go:debug lines and go.mod.
var builtWith = sync.OnceValue(func() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "DefaultGODEBUG" {
				return s.Value
			}
		}
	}
	return ""
})
