// SPDX-License-Identifier: Apache-2.0

//go:build race

package conntest

// soakCalls is how many calls a soak makes within `make test`: few, because the race
// detector makes each of them about ten times as slow.
const soakCalls = 250

// soakTransfers is how many large messages go each way at the end of a soak.
const soakTransfers = 6

// soakStreams is how many streams a soak of one behaviour has in each mode.
const soakStreams = 10

// wholeMatrix is whether the full matrix has all codecs and compressions on all engines
// that it has in full.
const wholeMatrix = false

// manyMessages is how many messages a stream of TestManyMessages has.
const manyMessages = 30
