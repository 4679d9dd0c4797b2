// SPDX-License-Identifier: Apache-2.0

//go:build walljump

// A wall clock that is set. internal/walljump runs these tests, with a package time that
// has JumpWall.

package overload

import (
	"net/http"
	"testing"
	"time"
)

// TestWallClockBack sets the clock back by an hour, after which times pass: what was ends
// then, and not an hour later.
func TestWallClockBack(t *testing.T) {
	l := New(Adaptive(2, 64), Priority(func(http.Header) int { return -1 }))
	a := l.calls.(*adaptive)
	a.brake()
	l.full.note()
	var permits []permit
	for a.running() < a.size() {
		p, ok := a.acquire()
		if !ok {
			t.Fatal("got no permit below the limit")
		}
		permits = append(permits, p)
	}
	before := a.size()
	time.JumpWall(-time.Hour)
	defer time.JumpWall(time.Hour)
	for _, m := range []*moment{&a.fell, &a.eased, &l.full} {
		m.at.Add(-int64(fallingFor)) // that much later
	}
	if _, no := l.admit(&Call{header: http.Header{}}, false); no == nil || no.pushback() <= 0 {
		t.Errorf("got %+v at the limit, long after it has fallen, want a refusal with a time", no)
	}
	if a.ease(); a.size() != before+1 {
		t.Errorf("got a limit of %d after %d, want it eased by one", a.size(), before)
	}
	permits[0].Drop()
	permits[1].Drop()
	l.full.at.Add(-int64(pressure))
	if _, no := l.admit(&Call{header: http.Header{}}, false); no != nil {
		t.Errorf("got %+v for a call of low priority, long after the limit was reached, want a permit", no)
	}
}

// TestWallClockForward sets the clock forward by an hour, which is no hour that has passed.
func TestWallClockForward(t *testing.T) {
	for range 100 {
		began := time.Now()
		a := newAdaptive(2, 64)
		a.brake()
		before := a.size()
		time.JumpWall(time.Hour)
		falling := a.falling()
		a.ease()
		after := a.size()
		time.JumpWall(-time.Hour)
		if time.Since(began) > easeEvery {
			continue // the machine had no time for the test
		}
		if !falling || after != before {
			t.Errorf("got falling %v and a limit of %d after %d, want one that falls and is as it was", falling, after, before)
		}
		return
	}
	t.Error("got no two seconds in which nothing else ran")
}
