// SPDX-License-Identifier: Apache-2.0

// How many calls TestInFlight makes with the race detector.

//go:build race

package drain_test

const inFlight = 1000
