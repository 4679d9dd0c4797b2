// SPDX-License-Identifier: Apache-2.0

// Hooks of the program that fail on a server's connection.

package h2_test

import (
	"bytes"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/seed-b7c59c10/connect/h2"
)

// TestServerHookPanicsBesideHandler has CountError fail on the goroutine that reads, while
// a handler waits for its body. The connection ends, and the handler's wait with it.
func TestServerHookPanicsBesideHandler(t *testing.T) {
	t.Parallel()
	for what, fail := range map[string]func(){
		"panic":  func() { panic("the reason") },
		"Goexit": runtime.Goexit,
	} {
		bubble(t, func(t *testing.T) {
			s := startServer(t, func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
			}, func(s *http.Server, _ *h2.ServerConfig) {
				s.HTTP2 = &http.HTTP2Config{CountError: func(string) { fail() }}
			})
			p := dial(t, s)
			p.post(1)
			synctest.Wait()
			p.get(3, "connection", "close") // malformed
			p.wantClosed()
			synctest.Wait()
			if n := s.running.Load(); n != 0 {
				t.Errorf("%s: got %d handlers that wait, want none", what, n)
			}
		})
	}
}

// TestServerHookPanicsOnWorker has ConnState panic when a handler has returned on a
// goroutine of its own: that ends the connection, and not the program.
func TestServerHookPanicsOnWorker(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		var bad atomic.Bool
		var logged bytes.Buffer
		s := startServer(t, answerOK, func(s *http.Server, _ *h2.ServerConfig) {
			s.ErrorLog = log.New(&logged, "", 0)
			s.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateIdle && bad.Load() {
					panic("the reason")
				}
			}
		})
		p := dial(t, s)
		bad.Store(true)
		p.get(1)
		p.wantAnswer(1, "200")
		p.wantClosed()
		synctest.Wait()
		if !strings.Contains(logged.String(), "the reason") {
			t.Errorf("got log %.200q, want the panic", logged.String())
		}
	})
}
