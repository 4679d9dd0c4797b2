// SPDX-License-Identifier: Apache-2.0

// Package guidetest keeps README.md and docs/guide true: its tests compile and
// run each block of Go, shell and JSON that these pages print, and look up the errors
// that they quote.
package guidetest
