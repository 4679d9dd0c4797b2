// SPDX-License-Identifier: Apache-2.0

// Tests of the outbox: order, gathering, errors, panics and the end.

package connect

import (
	"bytes"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
)

// gateWriter is a ResponseWriter whose Write waits for a token, if it has a gate.
type gateWriter struct {
	gate    chan struct{}
	writes  [][]byte
	flushes int
	fail    error
	panics  any
}

func (w *gateWriter) Header() http.Header { return http.Header{} }
func (w *gateWriter) WriteHeader(int)     {}
func (w *gateWriter) Flush()              { w.flushes++ }

func (w *gateWriter) Write(p []byte) (int, error) {
	if w.gate != nil {
		<-w.gate
	}
	if w.panics != nil {
		panic(w.panics)
	}
	if w.fail != nil {
		return 0, w.fail
	}
	w.writes = append(w.writes, bytes.Clone(p))
	return len(p), nil
}

func (w *gateWriter) String() string { return string(bytes.Join(w.writes, nil)) }

func TestOutboxSendsASingleMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &gateWriter{}
		o := newOutbox(w)
		for i, message := range []string{"a", "b", "c"} {
			if err := o.add([]byte(message)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // after it the message must be written
			if len(w.writes) != i+1 || w.flushes != i+1 {
				t.Fatalf("got %d writes and %d flushes, want %d", len(w.writes), w.flushes, i+1)
			}
			if !o.isIdle() {
				t.Fatal("got an outbox at work, want an idle one")
			}
		}
		o.end()
		if got, want := w.String(), "abc"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestOutboxGathersWhileAFlushIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &gateWriter{gate: make(chan struct{})}
		o := newOutbox(w)
		for _, message := range []string{"a", "b", "c", "d"} {
			if err := o.add([]byte(message)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if o.isIdle() {
			t.Error("got an idle outbox, want one at work")
		}
		close(w.gate)
		if err := o.drain(); err != nil {
			t.Fatal(err)
		}
		o.end()
		if len(w.writes) != 2 || string(w.writes[0]) != "a" || string(w.writes[1]) != "bcd" {
			t.Errorf("got writes %q, want a, then the rest together", w.writes)
		}
	})
}

func TestOutboxWritesTheRestAtItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &gateWriter{gate: make(chan struct{})}
		o := newOutbox(w)
		_ = o.add([]byte("a"))
		synctest.Wait()
		_ = o.add([]byte("b"))
		ended := make(chan struct{})
		go func() { o.end(); close(ended) }()
		synctest.Wait()
		select {
		case <-ended:
			t.Fatal("end returned while the goroutine writes")
		default:
		}
		close(w.gate)
		<-ended
		if got, want := w.String(), "ab"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestOutboxBoundsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &gateWriter{gate: make(chan struct{})}
		o := newOutbox(w)
		message := bytes.Repeat([]byte("x"), outboxMax/4)
		added, done := 0, make(chan struct{})
		go func() {
			defer close(done)
			for range 20 {
				_ = o.add(message)
				added++
			}
		}()
		synctest.Wait()
		if added < 5 || added > 8 { // four wait, and one to four are being written
			t.Errorf("got %d messages taken, want 5 to 8", added)
		}
		close(w.gate)
		<-done
		o.end()
		if got, want := len(w.String()), 20*len(message); got != want {
			t.Errorf("got %d bytes, want %d", got, want)
		}
		for _, write := range w.writes {
			if len(write) > outboxMax {
				t.Errorf("got a write of %d bytes, want at most %d", len(write), outboxMax)
			}
		}
	})
}

func TestOutboxTellsErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &gateWriter{fail: errors.New("the client is gone")}
		o := newOutbox(w)
		_ = o.add([]byte("a"))
		synctest.Wait()
		if err := o.add([]byte("b")); !errors.Is(err, w.fail) {
			t.Errorf("got %v, want %v", err, w.fail)
		}
		if err := o.drain(); !errors.Is(err, w.fail) {
			t.Errorf("got %v, want %v", err, w.fail)
		}
		o.end()
	})
}

func TestOutboxPanicsWhereTheHandlerRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox(&gateWriter{panics: http.ErrAbortHandler})
		_ = o.add([]byte("a"))
		synctest.Wait()
		if err := o.add([]byte("b")); err == nil {
			t.Error("got no error, want one")
		}
		defer func() {
			if got := recover(); got != http.ErrAbortHandler {
				t.Errorf("got panic %v, want %v", got, http.ErrAbortHandler)
			}
		}()
		o.end()
	})
}
