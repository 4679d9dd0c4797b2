// SPDX-License-Identifier: Apache-2.0

// This file lists the tests that do not apply to the engine.

package nethttptest_test

import (
	"slices"
	"strings"
	"testing"
)

// An exclusion is a test that must fail in some modes.
type exclusion struct {
	modes  string // names, separated by spaces
	test   string
	reason string
	// tries is for a test that fails now and then, because goroutines race: it must
	// pass once in so many tries. Zero means that it fails always.
	tries int
	fault bool // it is one of faults
}

// exclusions are the tests that do not apply to the engine.
var exclusions = []exclusion{
	// Parts of net/http that are not exported, so that the engine cannot use them.
	{modes: "server own both", test: "TestServerKeepAlivesEnabled/h2",
		reason: "http.Server has no exported way to find out that SetKeepAlivesEnabled(false) was called"},
	{modes: "client both", test: "TestTransportIdleConnTimeout/h2",
		reason: "reads the pool of Go's own HTTP/2 client, by its type"},
	{modes: "client both", test: "TestCancelRequestMidBody/h2",
		reason: "wants an error that net/http does not export, for a request whose Cancel was closed"},
	{modes: "client both", test: "TestClientTimeoutCancel/h2",
		reason: "wants an error that net/http does not export, for a request whose Cancel was closed"},
	{modes: "client both", test: "TestTransportCancelRequest/h2/RequestCancel",
		reason: "wants an error that net/http does not export, for a request whose Cancel was closed"},
	{modes: "client both", test: "TestTransportCancelRequestWithBody/h2/RequestCancel",
		reason: "wants an error that net/http does not export, for a request whose Cancel was closed"},

	// What an h2.Server leaves to its own methods.
	{modes: "own", test: "TestServerShutdown/h2",
		reason: "calls Shutdown of the http.Server: that of the h2.Server is the one that waits for connections"},
	{modes: "own", test: "TestServerShutdownStateNew/h2",
		reason: "calls Shutdown of the http.Server: that of the h2.Server is the one that waits for connections"},

	// Timeouts that net/http gets right only with its own types: after RoundTrip or
	// during a dial http.Client finds that the context is over before it has noted why.
	{modes: "client both", test: "TestClientTimeout/h2", tries: 10,
		reason: "net/http's own wait for a dial returns before http.Client has noted that its Timeout has passed, as with x/net's transport"},
	{modes: "client both", test: "TestClientTimeout_Headers/h2", tries: 10,
		reason: "net/http's own wait for a dial returns before http.Client has noted that its Timeout has passed, as with x/net's transport"},

	// The text of errors, which the engine words in its own way.
	{modes: "client both", test: "TestWriteDeadlineEnforcedPerStream/h2",
		reason: "wants the words of Go's own HTTP/2 for a stream that the peer has reset"},

	// Where the engine is stricter.
	{modes: "server own both", test: "TestStarRequestMethod/FOO/h2",
		reason: "the path \"*\" is for OPTIONS only [RFC 9113, section 8.3.1]: the engine answers 400"},
	{modes: "server own both", test: "TestH12_HandlerWritesTooLittle",
		reason: "a response that is shorter than its Content-Length ends with a reset, and not as if it were whole"},
	{modes: "server own both", test: "TestTrailersServerToClient/h2",
		reason: "no Content-Length is sent by itself where trailers follow, as with HTTP/1.1"},
}

// ---- faults to mend ----

// faults are the tests that fail by a fault of the engine. The aim is an empty list.
var faults = []exclusion{}

// ---- the list by mode, and its check ----

// listed returns the exclusions and faults of a mode, by test.
func (m mode) listed() map[string]exclusion {
	listed := map[string]exclusion{}
	for _, e := range exclusions {
		if slices.Contains(strings.Fields(e.modes), m.name) {
			listed[e.test] = e
		}
	}
	for _, e := range faults {
		if slices.Contains(strings.Fields(e.modes), m.name) {
			e.fault = true
			listed[e.test] = e
		}
	}
	return listed
}

// covered reports whether a test or one above it is listed.
func covered(listed map[string]exclusion, name string) bool {
	for test := range listed {
		if name == test || strings.HasPrefix(name, test+"/") {
			return true
		}
	}
	return false
}

// checkExclusions fails unless the list is sound in itself.
func checkExclusions(t *testing.T) {
	t.Helper()
	seen := map[string]bool{}
	for _, e := range append(exclusions, faults...) {
		if strings.TrimSpace(e.reason) == "" {
			t.Errorf("%s is listed without a reason", e.test)
		}
		for _, name := range strings.Fields(e.modes) {
			if !slices.ContainsFunc(modes, func(m mode) bool { return m.name == name }) {
				t.Errorf("%s is listed for mode %q, which there is not", e.test, name)
			}
			if key := name + " " + e.test; seen[key] {
				t.Errorf("%s is listed twice for mode %s", e.test, name)
			} else {
				seen[key] = true
			}
		}
	}
}
