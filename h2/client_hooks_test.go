// SPDX-License-Identifier: Apache-2.0

// Functions of the program that do not return as a client needs it: no call waits for them
// for ever.

package h2_test

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
)

// TestDialReturnsNothing has DialContext return neither a connection nor an error, or not
// return at all. The call fails, and a later one dials again.
func TestDialReturnsNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fail func()
		want string
	}{
		{func() {}, "DialContext returned neither"},
		{runtime.Goexit, "ended its goroutine"},
	} {
		bubble(t, func(t *testing.T) {
			network := newMemoryNetwork()
			defer network.Close()
			s := &fakeServer{t: t, network: network}
			failed := false
			client := newClient(t, nil, &h2.TransportConfig{
				DialContext: func(ctx context.Context, kind, address string) (net.Conn, error) {
					if failed {
						return network.dialContext(ctx, kind, address)
					}
					failed = true
					c.fail()
					return nil, nil
				},
			})
			o := call(client, get(timeout(t, time.Second)))
			o.wantText(t, c.want)
			if !unprocessed(o.err) {
				t.Errorf("got %v, want an error that says that no peer has the request", o.err)
			}
			time.Sleep(time.Second) // until it may dial again
			done := begin(client, get(t.Context()))
			p := s.accept()
			p.respond(p.request().StreamID, "200", "ok")
			receive(t, "a response", done).want(t, http.StatusOK, "ok")
		})
	}
}
