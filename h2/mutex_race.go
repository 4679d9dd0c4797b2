// SPDX-License-Identifier: Apache-2.0

// Ownership, checked in builds with the race detector.

//go:build race

package h2

import (
	"bytes"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
)

// A mutex is a [sync.Mutex] that remembers the goroutine that holds it.
type mutex struct {
	inner  sync.Mutex
	holder atomic.Uint64
}

// Lock locks the mutex.
func (m *mutex) Lock() {
	m.inner.Lock()
	m.holder.Store(goroutine())
}

// Unlock unlocks the mutex.
func (m *mutex) Unlock() {
	m.assertHeld()
	m.holder.Store(0)
	m.inner.Unlock()
}

// assertHeld panics unless the goroutine that calls holds the mutex.
func (m *mutex) assertHeld() {
	if got, want := goroutine(), m.holder.Load(); got != want {
		panic("h2: goroutine " + strconv.FormatUint(got, 10) + " needs the connection's mutex, which goroutine " + strconv.FormatUint(want, 10) + " holds")
	}
}

// An owner is the goroutine that a struct belongs to.
type owner struct{ id atomic.Uint64 }

// take makes the goroutine that calls the owner.
func (o *owner) take() { o.id.Store(goroutine()) }

// assert panics unless the goroutine that calls is the owner.
func (o *owner) assert() {
	if got, want := goroutine(), o.id.Load(); got != want && want != 0 {
		panic("h2: goroutine " + strconv.FormatUint(got, 10) + " uses what belongs to the reading goroutine " + strconv.FormatUint(want, 10))
	}
}

// goroutine returns the number of the goroutine that calls, which begins its stack
// trace: "goroutine 7 [running]".
func goroutine() uint64 {
	var buf [64]byte
	text := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	digits, _, _ := bytes.Cut(text, []byte(" "))
	id, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil {
		panic("h2: no goroutine number in " + string(buf[:]))
	}
	return id
}
