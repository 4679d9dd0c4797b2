// SPDX-License-Identifier: Apache-2.0

// Writing to peers that take little at a time.

package h2

import (
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// A slowConn takes a byte each time that a second has passed, until its deadline.
type slowConn struct {
	net.Conn
	deadline time.Time
	taken    int
	stalls   int // after so many bytes it takes nothing
}

func (c *slowConn) SetWriteDeadline(t time.Time) error {
	c.deadline = t
	return nil
}

func (c *slowConn) Write(p []byte) (n int, err error) {
	for ; n < len(p); n++ {
		next := time.Now().Add(time.Second)
		if c.taken == c.stalls || next.After(c.deadline) {
			time.Sleep(time.Until(c.deadline))
			return n, os.ErrDeadlineExceeded
		}
		time.Sleep(time.Until(next))
		c.taken++
	}
	return n, nil
}

// TestWriteProgress writes a piece that takes longer than the timeout, of which some is
// taken within each: that extends it. A peer that takes nothing does not.
func TestWriteProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &slowConn{stalls: -1}
		w := &writer{nc: c, timeout: 10 * time.Second}
		if err := w.write(make([]byte, 1000)); err != nil || c.taken != 1000 {
			t.Errorf("got %v after %d bytes, want all 1000", err, c.taken)
		}
		c = &slowConn{stalls: 500}
		w.nc = c
		start := time.Now()
		if err := w.write(make([]byte, 1000)); err != errWriteStalled || c.taken != 500 {
			t.Errorf("got %v after %d bytes, want %v after 500", err, c.taken, errWriteStalled)
		}
		if took := time.Since(start); took > 520*time.Second {
			t.Errorf("got the error after %v, want it within the timeout", took)
		}
	})
}
