// SPDX-License-Identifier: Apache-2.0

// The order in which a call ends whose time is over.

package connect

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// deadlineWriter counts the read deadlines that it is given.
type deadlineWriter struct {
	http.ResponseWriter
	reads int
}

func (w *deadlineWriter) SetReadDeadline(time.Time) error {
	w.reads++
	return nil
}

// TestLimitAfterContext: reads end after the context has, however late its timer is.
func TestLimitAfterContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &deadlineWriter{ResponseWriter: httptest.NewRecorder()}
		ctx, cancel := context.WithCancel(t.Context())
		limit := &timeLimit{rc: http.NewResponseController(w), deadline: time.Now(), cancel: cancel, over: ctx.Done()}
		limit.timer = time.NewTimer(time.Hour)
		go limit.pass()
		synctest.Wait()
		if w.reads != 0 {
			t.Error("a read ended before the context")
		}
		cancel()
		synctest.Wait()
		if w.reads != 1 {
			t.Errorf("got %d read deadlines after the context's end, want 1", w.reads)
		}
		limit.end()
	})
}
