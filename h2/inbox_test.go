// SPDX-License-Identifier: Apache-2.0

// The inbox by itself: order, ends, deadlines, and the reuse of memory.

package h2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// put puts all of p in, as the reading goroutine does.
func (in *inbox) putAll(p []byte) {
	for len(p) > 0 {
		n := copy(in.space(len(p)), p)
		in.put(n)
		p = p[n:]
	}
	in.signal()
}

// TestInboxOrder puts and takes pieces of random sizes at the same time.
func TestInboxOrder(t *testing.T) {
	var in inbox
	random := rand.New(rand.NewPCG(1, 2))
	want := make([]byte, 3<<20)
	for i := range want {
		want[i] = byte(random.Uint32())
	}
	go func() {
		random := rand.New(rand.NewPCG(3, 4))
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 1+random.IntN(1<<random.IntN(18)))
			in.putAll(rest[:n])
			rest = rest[n:]
		}
		in.end(io.EOF)
		in.signal()
	}()
	var got []byte
	for {
		p := make([]byte, 1+random.IntN(1<<random.IntN(17)))
		n, err := in.read(context.Background(), p)
		got = append(got, p[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got other bytes than were put, %d of %d", len(got), len(want))
	}
}

// TestInboxError makes sure that what arrived before an error can be read.
func TestInboxError(t *testing.T) {
	var in inbox
	in.putAll([]byte("abc"))
	broken := errors.New("broken")
	in.end(broken)
	in.end(io.EOF) // too late
	p := make([]byte, 2)
	for _, want := range []struct {
		text string
		err  error
	}{{"ab", nil}, {"c", nil}, {"", broken}, {"", broken}} {
		n, err := in.read(context.Background(), p)
		if string(p[:n]) != want.text || err != want.err {
			t.Errorf("got %q, %v, want %q, %v", p[:n], err, want.text, want.err)
		}
	}
}

func TestInboxAbandoned(t *testing.T) {
	var in inbox
	in.putAll(make([]byte, 5000))
	gone := errors.New("gone")
	if n := in.abandon(gone); n != 5000 {
		t.Errorf("got %d bytes that were not read, want 5000", n)
	}
	if in.space(10); in.put(10) {
		t.Error("bytes were kept that nobody will read")
	}
	if n, err := in.read(context.Background(), make([]byte, 10)); n != 0 || err != gone {
		t.Errorf("got %d, %v, want %v", n, err, gone)
	}
	if n := in.abandon(io.EOF); n != 0 {
		t.Errorf("got %d bytes from an empty inbox", n)
	}
	if in.first != nil {
		t.Error("memory is kept")
	}
}

// TestInboxAbandonedWhileFilled abandons between space and put: the reading
// goroutine still writes to the memory, so no other inbox may get it.
func TestInboxAbandonedWhileFilled(t *testing.T) {
	var in inbox
	space := in.space(100)
	in.abandon(errors.New("gone"))
	others := newChunk(100)
	defer others.free()
	if &others.data[:1][0] == &space[0] {
		t.Error("memory that is being written to was given away")
	}
	if in.put(len(space)) {
		t.Error("bytes were kept that nobody will read")
	}
}

func TestInboxWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var in inbox
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := in.read(ctx, make([]byte, 1)); err != context.DeadlineExceeded {
			t.Errorf("got %v, want the context's end", err)
		}
		in.setDeadline(time.Now().Add(time.Minute))
		start := time.Now()
		if _, err := in.read(t.Context(), make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("got %v after %v, want the deadline", err, time.Since(start))
		}
		in.putAll([]byte("x")) // after the deadline nothing is read
		if _, err := in.read(t.Context(), make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		for _, later := range []time.Time{{}, time.Now().Add(time.Hour), time.Now().Add(-1)} {
			in.setDeadline(later)
			if n, err := in.read(t.Context(), make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %d, %v after the deadline was moved to %v, want it to stay", n, err, later)
			}
		}
	})
}

// TestInboxDeadlineMoves moves a deadline that has not passed.
func TestInboxDeadlineMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var in inbox
		in.setDeadline(time.Now().Add(time.Second))
		in.setDeadline(time.Time{})
		time.Sleep(time.Minute)
		in.putAll([]byte("x"))
		if n, err := in.read(t.Context(), make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("got %d, %v without a deadline", n, err)
		}
		in.setDeadline(time.Now().Add(-1))
		if _, err := in.read(t.Context(), make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
	})
}

// TestInboxDeadlineOfWholeBody lets a deadline pass after all has arrived: it is read
// to its last byte, not cut off with io.EOF.
func TestInboxDeadlineOfWholeBody(t *testing.T) {
	var in inbox
	in.putAll([]byte("whole"))
	in.end(io.EOF)
	in.setDeadline(time.Now().Add(-1))
	p := make([]byte, 10)
	if n, err := in.read(t.Context(), p); string(p[:n]) != "whole" || err != io.EOF {
		t.Errorf("got %q, %v, want the body and io.EOF", p[:n], err)
	}
}
