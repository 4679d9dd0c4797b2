// SPDX-License-Identifier: Apache-2.0

//go:build race

package conntest

// soakCalls is how many calls a soak makes within `make test`: few, because the race
// detector makes each of them about ten times as slow.
const soakCalls = 250
