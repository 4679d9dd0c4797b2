// SPDX-License-Identifier: Apache-2.0

//go:build !race

package conntest

// soakCalls is how many calls a soak makes within `make test`.
const soakCalls = 3000
