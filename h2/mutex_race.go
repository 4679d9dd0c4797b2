// SPDX-License-Identifier: Apache-2.0

// Ownership, checked in builds with the race detector.
//
// Invariants. A check that compares goroutines runs every checkEvery uses; a check that
// the mutex is held runs at every use. A check panics: it has found a fault of this
// package.

//go:build race

package h2

import (
	"bytes"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
)

// checkEvery is how many uses of a mutex or an owner pass between two that compare
// goroutines. To find the number of a goroutine takes some microseconds; at every use,
// it would make builds with the race detector too slow to be used.
const checkEvery = 64

// A mutex is a [sync.Mutex] that checks whether it is held, and now and then by which
// goroutine.
type mutex struct {
	inner  sync.Mutex
	locks  uint64        // how often it was locked; guarded by inner
	holder atomic.Uint64 // number of the goroutine that holds it; 0: not found
}

// Lock locks the mutex.
func (m *mutex) Lock() {
	m.inner.Lock()
	if m.locks++; m.locks%checkEvery == 0 {
		m.holder.Store(goroutine())
	}
}

// Unlock unlocks the mutex.
func (m *mutex) Unlock() {
	m.assertHeld()
	m.holder.Store(0)
	m.inner.Unlock()
}

// assertHeld panics unless the mutex is held. Where the holder's number was found, the
// holder has to be the goroutine that calls.
func (m *mutex) assertHeld() {
	if m.inner.TryLock() {
		panic("h2: a goroutine needs the connection's mutex and does not hold it")
	}
	want := m.holder.Load()
	if want == 0 {
		return
	}
	if got := goroutine(); got != want {
		panic(fmt.Sprintf("h2: goroutine %d needs the connection's mutex, which goroutine %d holds", got, want))
	}
}

// An owner is the goroutine that a struct belongs to.
type owner struct {
	id   atomic.Uint64
	uses atomic.Uint64
}

// take makes the calling goroutine the owner.
func (o *owner) take() { o.id.Store(goroutine()) }

// assert panics, at every checkEvery-th use, unless the calling goroutine is the owner.
func (o *owner) assert() {
	if o.uses.Add(1)%checkEvery != 0 {
		return
	}
	if got, want := goroutine(), o.id.Load(); got != want && want != 0 {
		panic(fmt.Sprintf("h2: goroutine %d uses what belongs to the reading goroutine %d", got, want))
	}
}

// goroutine returns the number of the calling goroutine, with which its stack trace
// begins: "goroutine 7 [running]".
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
