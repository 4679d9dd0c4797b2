// SPDX-License-Identifier: Apache-2.0

//go:build !race

package balance_test

// raceEnabled is true with the race detector, with which tests make fewer calls.
const raceEnabled = false
