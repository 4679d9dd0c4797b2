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
	// tries is for a test that passes now and then, because goroutines race: it must
	// fail once in so many tries. Zero means that it fails always.
	tries int
	fault bool // it is one of faults
}

// exclusions are the tests that do not apply to the engine.
var exclusions = []exclusion{
	// What the engine cannot see or be seen by, being outside of net/http.
	{modes: "server both", test: "TestServerKeepAlivesEnabled/h2",
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
	{modes: "client both", test: "TestTransportCancelRequestBeforeDo/h2/RequestCancel", tries: 50,
		reason: "wants an error that net/http does not export; it is there if net/http sees Cancel before the engine does"},

	// What the engine says in words of its own.
	{modes: "client both", test: "TestWriteDeadlineEnforcedPerStream/h2",
		reason: "wants the words of Go's own HTTP/2 for a stream that the peer has reset"},

	// Where the engine is stricter.
	{modes: "server both", test: "TestStarRequestMethod/FOO/h2",
		reason: "the path \"*\" is for OPTIONS only [RFC 9113, section 8.3.1]: the engine answers 400"},
	{modes: "server both", test: "TestH12_HandlerWritesTooLittle",
		reason: "a response that is shorter than its Content-Length ends with a reset, and not as if it were whole"},
	{modes: "server both", test: "TestTrailersServerToClient/h2",
		reason: "no Content-Length is sent by itself where trailers follow, as with HTTP/1.1"},
}

// ---- faults to mend ----

// faults are the tests that fail by a fault of the engine. The list is there to
// become empty.
var faults = []exclusion{
	{modes: "client both", test: "TestTransportConnectionCloseOnResponse/h2", tries: 500,
		reason: "CloseIdleConnections returns before the connections are closed (conn.failLocked); as server, see there"},

	{modes: "client both", test: "TestClientTimeout/h2", tries: 50,
		reason: "the context of http.Client.Timeout is seen before its timer, by which net/http adds \"Client.Timeout\" (pooled)"},
	{modes: "client both", test: "TestClientTimeout_Headers/h2", tries: 50,
		reason: "the context of http.Client.Timeout is seen before its timer, by which net/http adds \"Client.Timeout\" (pooled)"},
	{modes: "client both", test: "TestTransportDiscardsUnneededConns/h2", tries: 50,
		reason: "clones the TLS configuration that a DialTLS shares, which then speaks HTTP/1.1 (ConfigureTransport)"},
	{modes: "client both", test: "TestDontCacheBrokenHTTP2Conn/h2",
		reason: "a connection whose first write failed is handed out (host.add)"},
	{modes: "client both", test: "TestTransportLimits1xxResponses/h2",
		reason: "MaxResponseHeaderBytes set after ConfigureTransport does not count, nor does it bound 1xx responses together (newTransport, inform)"},
	{modes: "client both", test: "TestTransportNewClientConnRoundTrip/h2", reason: noClientConn},
	{modes: "client both", test: "TestClientConnReserveAll/h2", reason: noClientConn},
	{modes: "client both", test: "TestClientConnReserveParallel/h2", reason: noClientConn},
	{modes: "client both", test: "TestClientConnReserveRelease/h2", reason: noClientConn},
	{modes: "client both", test: "TestClientConnReserveAndConsume/release/h2", reason: noClientConn},
	{modes: "client both", test: "TestClientConnReserveAndConsume/invalid_field_name/h2", reason: noClientConn},
	{modes: "client both", test: "TestClientConnReserveAndConsume/body_close/h2", reason: noClientConn},
	{modes: "client both", test: "TestClientConnReserveAndConsume/cancel/h2", reason: noClientConn},
	{modes: "client both", test: "TestClientConnReserveAndConsume/early_body_close/h2", reason: noClientConn},
	{modes: "client both", test: "TestClientConnRoundTripBlocks/h2", reason: noClientConn},
}

const noClientConn = "Transport.NewClientConn is refused: the RoundTripper of https has no method NewClientConn (pooled)"

// ---- the list as others read it ----

// listed returns what is listed for a mode, by test.
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
