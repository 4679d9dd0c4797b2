// SPDX-License-Identifier: Apache-2.0

// Ownership, as ordinary builds have it: not checked. mutex_race.go checks it.

//go:build !race

package h2

import "sync"

// A mutex is a [sync.Mutex]. Builds with the race detector check with assertHeld that
// the goroutine that calls it holds the mutex.
type mutex struct{ sync.Mutex }

func (*mutex) assertHeld() {}

// An owner is the goroutine that a struct belongs to. Builds with the race detector
// check with assert that it is the one that calls.
type owner struct{}

func (*owner) take()   {}
func (*owner) assert() {}
