// SPDX-License-Identifier: Apache-2.0

// Many calls of one connection that end at once, by either side: no fault of the server's,
// so the connection goes on.

package h2_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

// openMany opens n calls on one connection, which have their heads, and returns them with the
// numbers of their streams.
func openMany(t *testing.T, ctx context.Context, n int) (client *h2.Transport, p *rawPeer, bodies []*http.Response, ids []uint32) {
	s, client := newFake(t, &h2.TransportConfig{MaxConnsPerHost: 1})
	opened := make(chan *http.Response, n)
	for range n {
		go func() {
			res, err := client.RoundTrip(get(ctx))
			if err != nil {
				t.Errorf("got error %v, want a head", err)
			}
			opened <- res
		}()
	}
	p = s.accept()
	for range n {
		id := p.request().StreamID
		ids = append(ids, id)
		p.headers(id, false, ok...)
	}
	for range n {
		bodies = append(bodies, receive(t, "a head", opened))
	}
	return client, p, bodies, ids
}

// wantOther makes one more call on the connection.
func wantOther(t *testing.T, client *h2.Transport, p *rawPeer) {
	t.Helper()
	p.wantAlive()
	done := begin(client, get(t.Context()))
	p.respond(p.request().StreamID, "200", "ok")
	receive(t, "a response", done).want(t, http.StatusOK, "ok")
}

// TestManyGivenUp gives up 300 calls at once, whose DATA is under way: some of each, in turn.
func TestManyGivenUp(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		client, p, bodies, ids := openMany(t, ctx, 300)
		cancel()
		settle()
		for range 10 {
			for _, id := range ids {
				p.data(id, false, []byte("late"))
			}
		}
		wantOther(t, client, p)
		for _, res := range bodies {
			_ = res.Body.Close()
		}
	})
}

// TestManyReset has the server reset more calls at once than a bucket has tokens.
func TestManyReset(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		client, p, bodies, ids := openMany(t, t.Context(), 1200)
		for _, id := range ids {
			p.reset(id, http2.ErrCodeInternal)
		}
		wantOther(t, client, p)
		for _, res := range bodies {
			_ = res.Body.Close()
		}
	})
}
