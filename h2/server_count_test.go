// SPDX-License-Identifier: Apache-2.0

// The arguments of HTTP2Config.CountError.

package h2_test

import (
	"net/http"
	"slices"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"github.com/seed-b7c59c10/connect/h2"
)

// TestServerCountError breaks a rule on a stream, and then one on the connection.
func TestServerCountError(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var got []string
		s := startServer(t, answerOK, func(server *http.Server, _ *h2.ServerConfig) {
			server.HTTP2 = &http.HTTP2Config{CountError: func(fault string) {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, fault)
			}}
		})
		p := dial(t, s)
		p.get(1)
		p.wantAnswer(1, "200")
		p.headers(3, true, ":method", "GET", ":scheme", "http", ":path", "/", "Upper", "case")
		p.wantReset(3, http2.ErrCodeProtocol)
		p.raw(http2.FramePing, 0, 0, "short")
		p.wantGoAway(http2.ErrCodeFrameSize)
		p.wantClosed()
		mu.Lock()
		defer mu.Unlock()
		if want := []string{"stream_protocol_error", "conn_frame_size_error"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
