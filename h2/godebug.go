// SPDX-License-Identifier: Apache-2.0

// The switches with which an operator turns net/http's HTTP/2 off, and this package's
// with it.

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

// switchedOff reports whether a switch has the value 0 in the environment variable
// GODEBUG, or else in the settings that the program was built with.
// [https://go.dev/doc/godebug]
func switchedOff(name string) bool {
	value, ok := godebugValue(os.Getenv("GODEBUG"), name)
	if !ok {
		value, _ = godebugValue(builtWith(), name)
	}
	return value == "0"
}

// godebugValue returns the value of a setting in a list of them. The last one counts;
// what follows a "#" chooses among the places that ask, and is for debugging.
func godebugValue(list, name string) (value string, ok bool) {
	for setting := range strings.SplitSeq(list, ",") {
		if key, v, _ := strings.Cut(setting, "="); key == name {
			value, _, _ = strings.Cut(v, "#")
			ok = true
		}
	}
	return value, ok
}

// builtWith returns the settings of //go:debug lines and of go.mod.
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
