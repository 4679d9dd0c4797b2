// SPDX-License-Identifier: Apache-2.0

// Honest clients that end many streams early are not cut off.

package h2_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// TestServerPatience ends ten times as many streams early as the bucket has tokens,
// in ways in which honest clients do. Each waits for its handler to end.
func TestServerPatience(t *testing.T) {
	t.Parallel()
	begun := func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	orAtOnce := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Wait") != "" {
			<-r.Context().Done()
		}
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		fields  []string
		wait    time.Duration // before the reset
		answers int           // streams that complete, for each that is reset
		cut     bool          // want the connection to end
	}{
		"at once":                            {untilGone, nil, 0, 0, true},
		"at once, with a timeout":            {untilGone, []string{"grpc-timeout", "10m"}, 0, 0, true},
		"at once, with a timeout of no time": {untilGone, []string{"connect-timeout-ms", "0"}, 0, 0, true},
		"the response had begun":             {begun, nil, 0, 0, false},
		"after the timeout of gRPC":          {untilGone, []string{"grpc-timeout", "10m"}, 10 * time.Millisecond, 0, false},
		"after the timeout of Connect":       {untilGone, []string{"connect-timeout-ms", "5"}, 5 * time.Millisecond, 0, false},
		"after a timeout, late on the way":   {untilGone, []string{"grpc-timeout", "9m"}, 5 * time.Millisecond, 0, false},
		"after a while":                      {untilGone, nil, 20 * time.Millisecond, 0, false},
		"hedged, the other one completes":    {orAtOnce, []string{"x-wait", "1"}, 0, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := startServer(t, c.handler)
				p := dial(t, s)
				id := uint32(1)
				began := time.Now()
				for range 10 * controlBurst {
					p.post(id, c.fields...)
					synctest.Wait()
					time.Sleep(c.wait)
					p.reset(id, http2.ErrCodeCancel)
					synctest.Wait()
					id += 2
					for range c.answers {
						p.get(id)
						synctest.Wait()
						id += 2
					}
					if !p.writable() {
						break
					}
				}
				if !c.cut {
					p.wantAlive()
					return
				}
				p.wantGoAway(http2.ErrCodeEnhanceYourCalm)
				if n := int64(time.Since(began).Seconds()*controlRate) + controlBurst; s.started.Load() > n+1 {
					t.Errorf("got %d handlers, want at most %d", s.started.Load(), n)
				}
			})
		})
	}
}
