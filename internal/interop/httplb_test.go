// SPDX-License-Identifier: Apache-2.0

// This file runs all cases through httplb, another project's HTTP client that balances load: over its own connections, and over
// the engine's.

package interop_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/bufbuild/httplb"
	"github.com/bufbuild/httplb/resolver"

	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/internal/interop"
	"github.com/seed-b7c59c10/connect/internal/interop/ours"
)

// addresses is a resolver that always has the same result.
type addresses []resolver.Address

func (a addresses) New(_ context.Context, _, _ string, receiver resolver.Receiver, _ <-chan struct{}) io.Closer {
	receiver.OnResolve(a)
	return io.NopCloser(nil)
}

// engineConnections has httplb use the engine's transport for each address.
type engineConnections struct{}

func (engineConnections) NewRoundTripper(_, _ string, config httplb.TransportConfig) httplb.RoundTripperResult {
	transport := h2.NewTransport(&h2.TransportConfig{DialContext: config.DialFunc})
	return httplb.RoundTripperResult{RoundTripper: transport, Close: func() { _ = transport.Close() }}
}

func TestHTTPLB(t *testing.T) {
	for _, row := range []struct {
		server  transport
		options []httplb.ClientOption
	}{
		{http1, nil},
		{engineH2C, []httplb.ClientOption{httplb.WithTransport("http", engineConnections{})}},
	} {
		t.Run(string(row.server), func(t *testing.T) {
			var served [3]atomic.Int64
			var found addresses
			for i := range served {
				handler := ours.NewHandler()
				u, err := url.Parse(serve(t, row.server, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					served[i].Add(1)
					handler.ServeHTTP(w, r)
				})))
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, resolver.Address{HostPort: u.Host})
			}
			balanced := httplb.NewClient(append(row.options, httplb.WithResolver(found))...)
			t.Cleanup(func() {
				if err := balanced.Close(); err != nil {
					t.Errorf("closing httplb's client: %v", err)
				}
			})
			client := &http.Client{Transport: interop.WatchTransport(balanced.Transport)}
			for _, protocol := range protocols {
				t.Run(protocol, func(t *testing.T) {
					cases := slices.Clone(standardCases)
					if protocol == "connect" {
						cases = append(cases, getCases...)
					}
					runCases(t, cases, row.server.bidi(), ourClients(client, "http://service.test", protocol, "proto"))
				})
			}
			for i := range served {
				if served[i].Load() == 0 {
					t.Errorf("got no call at server %d", i)
				}
			}
		})
	}
}
