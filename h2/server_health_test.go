// SPDX-License-Identifier: Apache-2.0

// HTTP2Config.SendPingTimeout of a server: is the client still there?

package h2_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

func TestServerAsksSilentClients(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		s := startServer(t, answerOK, func(server *http.Server, _ *h2.ServerConfig) {
			server.HTTP2 = &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second}
		})
		p := dial(t, s)
		p.get(1)
		p.wantAnswer(1, "200")
		time.Sleep(time.Minute)
		synctest.Wait()
		asked := p.count(func(f *frame) bool { return f.Type == http2.FramePing && f.Flags&http2.FlagPingAck == 0 })
		if asked < 5 || asked > 7 {
			t.Errorf("got %d PINGs in a silent minute, want one in 10 seconds", asked)
		}
		if p.over() {
			t.Fatalf("got the connection ended, want it to go on: %s", p.story())
		}
		began := time.Now()
		p.mute.Store(true)
		p.wantClosed()
		within(t, "the time until a dead client is given up", time.Since(began), 5*time.Second, 16*time.Second)
	})
}
