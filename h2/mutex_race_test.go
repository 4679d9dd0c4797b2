// SPDX-License-Identifier: Apache-2.0

//go:build race

package h2

import "testing"

// TestOwnership: what is not owned is found out.
func TestOwnership(t *testing.T) {
	t.Parallel()
	panics := func(f func()) (panicked bool) {
		defer func() { panicked = recover() != nil }()
		f()
		return false
	}
	var m mutex
	if !panics(m.assertHeld) {
		t.Error("want a mutex that is not held to be found out")
	}
	m = mutex{}
	for range checkEvery - 1 {
		m.Lock()
		m.Unlock()
	}
	m.Lock()
	m.assertHeld()
	found := make(chan bool)
	go func() { found <- panics(m.assertHeld) }()
	if !<-found {
		t.Error("want a goroutine that does not hold the mutex to be found out")
	}
	m.Unlock()

	var o owner
	o.take()
	for range 2 * checkEvery {
		o.assert()
	}
	go func() {
		found <- panics(func() {
			for range checkEvery {
				o.assert()
			}
		})
	}()
	if !<-found {
		t.Error("want a goroutine that is not the owner to be found out")
	}
}
