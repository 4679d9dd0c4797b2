// SPDX-License-Identifier: Apache-2.0

// What a client cannot see: which times count, the table of rates, timeouts.

package overload

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A counting limit counts how permits end.
type counting struct {
	fixed
	recorded, dropped, brakes int
}

func (c *counting) acquire() (permit, bool) { return c, true }
func (c *counting) Record()                 { c.recorded++ }
func (c *counting) Drop()                   { c.dropped++ }
func (c *counting) brake()                  { c.brakes++ }

// TestTimesThatCount has calls that end by themselves, that are cancelled, that expire, and
// whose handlers panic.
func TestTimesThatCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(counting)
		l := New()
		l.calls = c
		path := "/a.S/B"
		serve := func(header [2]string, f func(cancel context.CancelFunc)) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r := httptest.NewRequest(http.MethodPost, path, nil).WithContext(ctx)
			if header[0] != "" {
				r.Header.Set(header[0], header[1])
			}
			defer func() { _ = recover() }()
			l.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { f(cancel) })).ServeHTTP(httptest.NewRecorder(), r)
		}
		quick := func(context.CancelFunc) {}
		slow := func(context.CancelFunc) { time.Sleep(time.Second) }
		want := func(what string, recorded, dropped int) {
			t.Helper()
			if c.recorded != recorded || c.dropped != dropped {
				t.Errorf("%s: got %d recorded and %d dropped, want %d and %d", what, c.recorded, c.dropped, recorded, dropped)
			}
			c.recorded, c.dropped = 0, 0
		}
		second := [2]string{"Grpc-Timeout", "1S"}
		serve([2]string{}, quick)
		serve([2]string{}, slow)
		serve(second, quick)
		serve([2]string{"Connect-Timeout-Ms", "1001"}, slow)
		want("calls that ended", 4, 0)
		serve([2]string{}, func(cancel context.CancelFunc) { cancel() })
		serve(second, func(cancel context.CancelFunc) { cancel() })
		serve(second, func(context.CancelFunc) { panic("test") })
		want("cancelled calls, and a panic", 0, 3)
		serve(second, slow)
		serve([2]string{"Connect-Timeout-Ms", "1000"}, func(cancel context.CancelFunc) { slow(cancel); cancel() })
		want("expired calls", 0, 2)
		for range 2 {
			for range expiredMax - 3 {
				serve(second, slow)
			}
			serve(second, quick)
		}
		want("expired calls, and now and then one that ended", 2, 2*expiredMax-6)
		if c.brakes != 0 {
			t.Errorf("got %d brakes, want none", c.brakes)
		}
		for range 2 * expiredMax {
			serve(second, slow)
		}
		want("many expired calls in a row", 0, 2*expiredMax)
		if c.brakes != 2 {
			t.Errorf("got %d brakes, want 2", c.brakes)
		}
		l.kinds.known.Store(&known{procedures: map[string]bool{"/a.S/Stream": true}})
		path = "/a.S/Stream"
		for range 2 * expiredMax {
			serve(second, slow)
			serve([2]string{}, quick)
		}
		want("streams", 0, 0)
		if c.brakes != 2 || l.Stats().Streams != 0 {
			t.Errorf("got %d brakes and %d streams that run, want 2 and 0", c.brakes, l.Stats().Streams)
		}
	})
}

// TestTable has more keys than a table holds, and long ones.
func TestTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRates(0.001, 1, func(c *Call) string { return c.Procedure })
		allowed := func(key string) bool { return r.take(&Call{Procedure: key}) == 0 }
		long := strings.Repeat("x", 1<<16)
		if !allowed("kept") || !allowed(long) || allowed(long) || !allowed(long+"y") || !allowed("") || allowed("") {
			t.Error("got a first call refused or a second one allowed, want one of each key")
		}
		for i := range 3 * keysMax {
			if !allowed(fmt.Sprint(i)) {
				t.Fatalf("got the first call of key %d refused", i)
			}
			if i%1000 == 0 && allowed("kept") {
				t.Fatal("got a second call of a key allowed that is used all the time")
			}
			if len(r.table) > keysMax {
				t.Fatalf("got %d keys, want at most %d", len(r.table), keysMax)
			}
		}
		if !allowed("0") || !allowed(long) {
			t.Error("got a key refused that was forgotten, want it to begin anew")
		}
		n := 0
		for b := r.order.next; b != &r.order; b = b.next {
			if n++; r.table[b.key] != b || b.next.prev != b || len(b.key) > keyMax {
				t.Fatalf("got key %q at another place in the table, or a broken ring", b.key)
			}
		}
		if n != len(r.table) || n != keysMax {
			t.Errorf("got %d in the ring and %d in the table, want %d", n, len(r.table), keysMax)
		}
	})
}

// TestWait checks that a call that comes when it was asked to is let in.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, perSecond := range []float64{0.01, 1, 3, 1000, 1e6} {
			r := newRates(perSecond, 2, nil)
			for r.take(nil) == 0 {
			}
			for range 20 {
				wait := r.take(nil)
				if most := time.Duration(float64(time.Second)/perSecond) + time.Millisecond; wait <= 0 || wait > most {
					t.Fatalf("rate %v: got %v to wait, want more than 0 and at most %v", perSecond, wait, most)
				}
				time.Sleep((wait + time.Millisecond - 1) / time.Millisecond * time.Millisecond)
				if again := r.take(nil); again != 0 {
					t.Fatalf("rate %v: got a call refused for %v after its wait of %v", perSecond, again, wait)
				}
				for r.take(nil) == 0 {
				}
			}
		}
	})
}

// TestWaitIsBounded has rates of next to nothing, with which the next call would be let in
// after centuries: the client is told to come back in a day.
func TestWaitIsBounded(t *testing.T) {
	for _, perSecond := range []float64{1e-9, 1e-12, 1e-300, math.SmallestNonzeroFloat64} {
		r := newRates(perSecond, 1, nil)
		r.take(nil)
		if wait := r.take(nil); wait != waitMost {
			t.Errorf("rate %v: got %v to wait, want %v", perSecond, wait, waitMost)
		}
	}
}

func TestTimeoutOf(t *testing.T) {
	for _, c := range []struct {
		value string
		unit  byte
		want  time.Duration
	}{
		{"100", 'm', 100 * time.Millisecond},
		{"9999999999", 'm', 9999999999 * time.Millisecond},
		{"1H", 0, time.Hour}, {"2M", 0, 2 * time.Minute}, {"3S", 0, 3 * time.Second},
		{"4m", 0, 4 * time.Millisecond}, {"5u", 0, 5 * time.Microsecond}, {"6n", 0, 6},
		{"99999999H", 0, 0}, // longer than a time.Duration
		{"", 0, 0}, {"", 'm', 0}, {"S", 0, 0}, {"1", 0, 0}, {"1x", 0, 0}, {"-1S", 0, 0}, {"1.5S", 0, 0},
		{"99999999999", 'm', 0}, {strings.Repeat("9", 1000) + "S", 0, 0},
	} {
		if got := timeoutOf(c.value, c.unit); got != c.want {
			t.Errorf("%.20q: got %v, want %v", c.value, got, c.want)
		}
	}
}

func FuzzTimeoutOf(f *testing.F) {
	f.Add("99999999H", true)
	f.Add("10", false)
	f.Fuzz(func(t *testing.T, value string, grpc bool) {
		unit := byte('m')
		if grpc {
			unit = 0
		}
		if got := timeoutOf(value, unit); got < 0 {
			t.Errorf("%q: got %v, want no negative time", value, got)
		}
	})
}

// TestFalling has the limit change for different reasons.
func TestFalling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Adaptive(2, 64))
		run := func(at int, each time.Duration, rounds int) {
			for range rounds {
				var permits []permit
				for range at {
					if p, ok := l.calls.acquire(); ok {
						permits = append(permits, p)
					}
				}
				time.Sleep(each)
				for _, p := range permits {
					p.Record()
				}
			}
		}
		run(20, 10*time.Millisecond, 500)
		if l.calls.falling() {
			t.Errorf("got a limit of %d that falls under steady load, want one that does not", l.calls.size())
		}
		before := l.calls.size()
		run(before, 300*time.Millisecond, 60)
		if got := l.calls.size(); got >= before || !l.calls.falling() {
			t.Errorf("got a limit of %d after %d, falling %v, when calls take 30 times as long, want it to fall", got, before, l.calls.falling())
		}
		if _, no := l.admit(&Call{}, false); no != nil {
			t.Errorf("got %+v below the limit, want a permit", no)
		}
		for range l.calls.size() {
			_, _ = l.calls.acquire()
		}
		if _, no := l.admit(&Call{}, false); no == nil || !no.stop {
			t.Errorf("got %+v at a limit that falls, want a refusal that stops", no)
		}
		time.Sleep(fallingFor)
		if _, no := l.admit(&Call{}, false); no == nil || no.stop {
			t.Errorf("got %+v long after, want a refusal with a time", no)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a load that only goes away
		l := New(Adaptive(2, 64))
		for range 3000 {
			p, ok := l.calls.acquire()
			if !ok {
				t.Fatal("got no permit for one call at once")
			}
			time.Sleep(10 * time.Millisecond)
			p.Record()
		}
		if size := l.calls.size(); size >= startLimit || l.calls.falling() {
			t.Errorf("got a limit of %d, falling %v, with one call at once, want less than %d, and no call told to stay away", size, l.calls.falling(), startLimit)
		}
	})
}

func TestPushback(t *testing.T) {
	values := make(map[int64]bool)
	for wait := time.Duration(1); wait < 24*time.Hour; wait += wait/1000 + 1 {
		r := &refusal{wait: wait}
		got := time.Duration(r.pushback()) * time.Millisecond
		if got < wait || got > wait+wait/64+2*time.Millisecond {
			t.Fatalf("got a pushback of %v for %v, want as long or a little longer", got, wait)
		}
		values[r.pushback()] = true
	}
	if len(values) > 1500 {
		t.Errorf("got %d different values within a day, want few", len(values))
	}
}

// TestAnswersKept has more different refusals than are kept.
func TestAnswersKept(t *testing.T) {
	l := New()
	for i := range 2 * answersMax {
		r := &recorder{header: make(http.Header)}
		l.refuseDirect(recorded{r}, t.Context(), "/a.S/B", [][2]string{{fieldType, fmt.Sprintf("application/x%d", i)}}, "", "", &refusal{text: errLimit, wait: time.Second})
		if r.status != http.StatusTooManyRequests {
			t.Fatalf("got status %d of refusal %d, want 429", r.status, i)
		}
	}
	l.refuseDirect(recorded{&recorder{header: make(http.Header)}}, t.Context(), "/a.S/B", [][2]string{{fieldType, strings.Repeat("x", 1000)}}, "", "", &refusal{text: errLimit})
	if got := len(l.answers.kept); got > answersMax {
		t.Errorf("got %d answers kept, want at most %d", got, answersMax)
	}
	last := answerKey{contentType: "application/proto", text: errLimit, pushback: 1000}
	l.refuseDirect(recorded{&recorder{header: make(http.Header)}}, t.Context(), "/a.S/B", [][2]string{{fieldType, last.contentType}}, "", "", &refusal{text: errLimit, wait: time.Second})
	if l.answers.kept[last] == nil {
		t.Error("got no answer kept after many content types that a client has made up, want the last one")
	}
	for key := range l.answers.kept {
		if len(key.contentType) > askedMax {
			t.Errorf("got an answer kept for a content type of %d bytes, want at most %d", len(key.contentType), askedMax)
		}
	}
}

// A direct call that a recorder records.
type recorded struct{ *recorder }

func (d recorded) DirectField(name, value string) { d.header.Add(name, value) }
func (d recorded) DirectTrailer(name, value string) {
	d.header.Add(http.TrailerPrefix+name, value)
}

// TestPriorityBounds has the priorities that a header's number can be at the ends.
func TestPriorityBounds(t *testing.T) {
	for priority, want := range map[int]bool{math.MinInt: false, math.MinInt + 1: false, -1: true, math.MaxInt: true} {
		l := New(Fixed(16), Priority(func(http.Header) int { return priority }))
		l.full.note()
		p, no := l.admit(&Call{header: http.Header{}}, false)
		if got := no == nil; got != want {
			t.Errorf("got a call of priority %d let in %v, want %v", priority, got, want)
		}
		if p != nil {
			p.Drop()
		}
	}
}

// TestShortDeadlines has a client whose deadlines no server can meet: its calls do not take
// the limit from the others.
func TestShortDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(counting)
		l := New()
		l.calls = c
		h := l.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Millisecond) }))
		for range 4 * expiredMax {
			r := httptest.NewRequest(http.MethodPost, "/a.S/B", nil)
			r.Header.Set("Grpc-Timeout", "1n")
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
		if c.brakes != 0 || c.dropped != 4*expiredMax {
			t.Errorf("got %d brakes and %d calls dropped, want 0 and %d", c.brakes, c.dropped, 4*expiredMax)
		}
	})
}

// TestFixedExact has refusals at once: none of them is counted, even for a moment, in which
// it would keep out a call for which there is room.
func TestFixedExact(t *testing.T) {
	const most = 2
	f := newFixed(most)
	for range most {
		if _, ok := f.acquire(); !ok {
			t.Fatal("got a refusal within the limit")
		}
	}
	var tooMany atomic.Int64
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 100_000 {
				if _, ok := f.acquire(); ok || f.running() != most {
					tooMany.Add(1)
				}
			}
		})
	}
	group.Wait()
	if got := tooMany.Load(); got != 0 {
		t.Errorf("got %d times another number than %d that run, want none", got, most)
	}
}
