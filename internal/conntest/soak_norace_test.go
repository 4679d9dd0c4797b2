// SPDX-License-Identifier: Apache-2.0

//go:build !race

package conntest

// soakCalls is how many calls a soak makes within `make test`.
const soakCalls = 3000

// soakTransfers is how many large messages go each way at the end of a soak.
const soakTransfers = 24

// soakStreams is how many streams a soak of one behaviour has in each mode.
const soakStreams = 40

// wholeMatrix is whether the full matrix has all codecs and compressions on all engines
// that it has in full.
const wholeMatrix = true

// manyMessages is how many messages a stream of TestManyMessages has.
const manyMessages = 100
