// SPDX-License-Identifier: Apache-2.0

// The context of a request by itself.

package h2

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestStreamContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		base, endBase := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		defer endBase()
		c := &streamContext{Context: base}
		if c.Err() != nil || c.Value(key{}) != "value" {
			t.Errorf("got %v, %v", c.Err(), c.Value(key{}))
		}
		child, cancel := context.WithTimeout(c, time.Hour)
		defer cancel()
		calls := 0
		context.AfterFunc(c, func() { calls++ })
		if stop := context.AfterFunc(c, func() { t.Error("a stopped function was called") }); !stop() {
			t.Error("the function could not be stopped")
		}
		if got := len(c.after); got != 2 {
			t.Errorf("got %d functions that wait, want those of the child and of AfterFunc", got)
		}
		c.cancel(context.Canceled)
		c.cancel(context.Canceled)
		synctest.Wait()
		<-c.Done()
		<-child.Done()
		if calls != 1 || c.Err() != context.Canceled || child.Err() != context.Canceled {
			t.Errorf("got %d calls, %v, %v", calls, c.Err(), child.Err())
		}
		late := make(chan struct{})
		context.AfterFunc(c, func() { close(late) })
		<-late
	})
}

// TestStreamContextAskedLate asks for the channel after the end.
func TestStreamContextAskedLate(t *testing.T) {
	c := &streamContext{Context: context.Background()}
	c.cancel(context.Canceled)
	<-c.Done()

	base, cancel := context.WithCancel(context.Background())
	cancel()
	c = &streamContext{Context: base}
	<-c.Done()
	if c.Err() != context.Canceled {
		t.Errorf("got %v, want the connection's end", c.Err())
	}
}
