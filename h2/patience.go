// SPDX-License-Identifier: Apache-2.0

// Patience: which streams that end early count as premature, as they do in an attack, and
// how many of those a server takes before it ends the connection.
//
// A client that opens streams and resets them at once, or makes the server reset them,
// has the server do work that it does not wait for (CVE-2023-44487, rapid reset;
// CVE-2025-8671, MadeYouReset). Honest clients reset streams, too: their callers cancel,
// their deadlines pass, their hedged calls lose. The work at a time is bounded by the
// limit on handlers, which counts reset streams until their handlers return. Beside
// that, a bucket of 1000 tokens (ServerConfig.ControlBurst), which gains 100 a second
// (ControlRate), bounds how often a stream may end prematurely. Like Envoy, which ends
// a connection when more than half of its streams were reset within a second of their
// beginning, it looks at how long a stream lived and at those that complete; like
// nghttp2, whose bucket has 1000 tokens and gains 33 a second, it forgives with time.
//
//   - A stream that the client resets costs a token, unless the response had begun, the
//     stream had lived for 20 ms, or at least half of the timeout that its request
//     carries (grpc-timeout, connect-timeout-ms) had passed: then the rest was spent on
//     the way.
//   - A stream that the server resets because of what the client sent costs a token. One
//     that it refuses because handlers still run whose streams the client has reset, without
//     a token, costs none: the client does not see these handlers. If the client resets such
//     a stream, too, that costs the token: it has not waited for the answer. These refusals
//     have a bucket of their own, ten times as large.
//   - A stream that completes gives one back.

package h2

import (
	"strconv"
	"time"
)

// prematureBefore is the age from which on a stream that ends is not premature. A client
// that resets streams at that age, with 250 open at a time, opens 12,500 a second at the
// most; one that takes its responses can ask for as many.
const prematureBefore = 20 * time.Millisecond

// unseenFactor is how many times as many streams a client may open while handlers still run
// that it does not see, as it may end prematurely: it goes on with its calls, and repeats
// those that were refused.
const unseenFactor = 10

// resetByPeerLocked notes that the client resets the stream, and reports whether that is
// premature and costs it a token.
func (s *serverStream) resetByPeerLocked() bool {
	if s.prematureLocked() {
		return true
	}
	s.abandoned = true
	s.sc.abandoned++
	return false
}

// prematureLocked reports whether a reset by the client, now, is premature.
func (s *serverStream) prematureLocked() bool {
	if s.w.headSent {
		return false
	}
	lived := time.Duration(clock() - s.openedAt)
	if lived >= prematureBefore {
		return false
	}
	timeout := s.timeout
	if s.pairs != nil {
		timeout = timeoutOf(s.pairs)
	}
	return timeout == 0 || lived < timeout/2
}

// timeoutOf returns the timeout that a request's fields carry, 0 if there is none.
func timeoutOf(fields [][2]string) time.Duration {
	for i := range fields {
		if d, ok := parseTimeout(fields[i][0], fields[i][1]); ok {
			return d
		}
	}
	return 0
}

// parseTimeout parses the two fields in which RPC clients send a timeout: a number of
// at most 8 digits and a unit [gRPC over HTTP2, "Timeout"], or of at most 10 digits,
// of milliseconds [Connect protocol, "Timeout"].
func parseTimeout(name, value string) (time.Duration, bool) {
	unit := time.Millisecond
	most := 10
	switch name {
	case "connect-timeout-ms":
	case "grpc-timeout":
		if value == "" {
			return 0, false
		}
		switch value[len(value)-1] {
		case 'H':
			unit = time.Hour
		case 'M':
			unit = time.Minute
		case 'S':
			unit = time.Second
		case 'm':
		case 'u':
			unit = time.Microsecond
		case 'n':
			unit = time.Nanosecond
		default:
			return 0, false
		}
		most = 8
		value = value[:len(value)-1]
	default:
		return 0, false
	}
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil || len(value) > most {
		return 0, false
	}
	return min(time.Duration(n), time.Hour/unit) * unit, true
}
