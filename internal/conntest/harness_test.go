// SPDX-License-Identifier: Apache-2.0

// This file holds the modes that a test runs over.

package conntest

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
)

// A mode is one cell of the matrix. Its fields are for the clients of a site; every
// site serves all protocols, codecs and compressions.
type mode struct {
	protocol    string // connect, grpc or grpcweb
	codec       string // proto, json or flip
	engine      engine
	compression string // identity, gzip or one more
	// bubble is true if the test runs inside a synctest bubble: on a network in
	// memory, with a clock that jumps when all goroutines wait.
	bubble bool
}

var (
	protocols = []string{"connect", "grpc", "grpcweb"}
	codecs    = []string{"proto", "json", "flip"}
)

func (m mode) String() string {
	return m.protocol + "/" + m.codec + "/" + m.engine.name + "/" + m.compression
}

// peerProtocol is the mode's protocol as connect.Peer names it.
func (m mode) peerProtocol() string {
	switch m.protocol {
	case "grpc":
		return connect.ProtocolGRPC
	case "grpcweb":
		return connect.ProtocolGRPCWeb
	}
	return connect.ProtocolConnect
}

// allModes is the full matrix: protocol × codec × engine × {identity, gzip, one
// more}. The third compression changes from cell to cell, so that each of them
// meets each protocol, codec and engine somewhere. An engine with part set has one
// compression for each protocol and codec. With the race detector an engine has one codec
// for each protocol, as goroutines are the same for all of them; h2c has the whole matrix,
// and direct-h2c all codecs.
func allModes() []mode {
	var modes []mode
	for p, protocol := range protocols {
		for c, codec := range codecs {
			for e, engine := range engines {
				if !wholeMatrix && c != (p+e)%len(codecs) && engine.name != "h2c" && engine.name != "direct-h2c" {
					continue
				}
				third := extraCompressions[(p+c+e)%len(extraCompressions)].name
				for i, compression := range []string{"identity", "gzip", third} {
					part := engine.part || !wholeMatrix && engine.name != "h2c"
					if part && i != (p+c+e)%3 {
						continue
					}
					modes = append(modes, mode{protocol: protocol, codec: codec, engine: engine, compression: compression})
				}
			}
		}
	}
	return modes
}

// fewModes is protocol × engine; codec and compression change from cell to
// cell. It is for tests whose subject does not touch the bytes of a message.
func fewModes() []mode {
	var modes []mode
	for p, protocol := range protocols {
		for e, engine := range engines {
			third := extraCompressions[(p+e)%len(extraCompressions)].name
			modes = append(modes, mode{
				protocol:    protocol,
				codec:       codecs[(p+e)%len(codecs)],
				engine:      engine,
				compression: []string{"identity", "gzip", third}[(p+2*e)%3],
			})
		}
	}
	return modes
}

// A filter reports whether a test runs in a mode.
type filter func(mode) bool

func duplex(m mode) bool    { return m.engine.duplex }
func inConnect(m mode) bool { return m.protocol == "connect" }

// overNetwork leaves out the rows without connections, for tests of these.
func overNetwork(m mode) bool { return !m.engine.inprocess }

// run runs a test in every mode, in parallel.
func run(t *testing.T, test func(*testing.T, mode), filters ...filter) {
	t.Helper()
	t.Parallel()
	runModes(t, allModes(), test, filters)
}

// runFew runs a test over every protocol and engine, in parallel.
func runFew(t *testing.T, test func(*testing.T, mode), filters ...filter) {
	t.Helper()
	t.Parallel()
	runModes(t, fewModes(), test, filters)
}

// runAlone runs a test over every protocol and engine while no other test runs.
func runAlone(t *testing.T, test func(*testing.T, mode)) {
	t.Helper()
	for _, m := range fewModes() {
		t.Run(m.String(), func(t *testing.T) { test(t, m) })
	}
}

func runModes(t *testing.T, modes []mode, test func(*testing.T, mode), filters []filter) {
	t.Helper()
	for _, m := range modes {
		if slices.ContainsFunc(filters, func(f filter) bool { return !f(m) }) {
			continue
		}
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			test(t, m)
		})
	}
}

// runTimed runs a test about time over every protocol and engine: in a bubble
// where the engine works in memory, elsewhere in real time. Real time decides how
// long the test takes, and not its result.
func runTimed(t *testing.T, test func(*testing.T, mode), filters ...filter) {
	t.Helper()
	t.Parallel()
	identity() // not inside a bubble
	runModes(t, fewModes(), func(t *testing.T, m mode) {
		if !m.engine.memory {
			test(t, m)
			return
		}
		synctest.Test(t, func(t *testing.T) {
			m.bubble = true
			test(t, m)
		})
	}, filters)
}

// short is a time that a test can wait. Within it a call should reach the point that
// the test is about; if it does not, the result must be the same.
func (m mode) short() time.Duration {
	if m.bubble {
		return 10 * time.Second
	}
	return 100 * time.Millisecond
}
