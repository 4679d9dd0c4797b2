// SPDX-License-Identifier: Apache-2.0

// The allocations of a call that succeeds, compared with a plain transport. It needs a
// build without the race detector, which allocates itself.

//go:build !race

package balance_test

import (
	"context"
	"net"
	"net/http"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/retry"
)

// allocsOf returns the fewest allocations of a call, of both ends, of several runs.
func allocsOf(t *testing.T, c *client) float64 {
	t.Helper()
	request := wrapperspb.String("a")
	best := 1e9
	for range 3 {
		best = min(best, testing.AllocsPerRun(100, func() {
			if _, err := c.CallUnary(context.Background(), connect.NewRequest(request)); err != nil {
				t.Fatal(err)
			}
		}))
	}
	return best
}

// TestAllocs compares calls through a Balancer with calls through one h2.Transport, of
// clients without interceptors, and of clients with one. There is one allocation more: the
// response that ends the use of the endpoint, or the call that the interceptor puts into
// the context. Retries add none to those of an interceptor that reads the request's headers,
// as they do for the attempts that may follow.
func TestAllocs(t *testing.T) {
	nodes := newNetwork()
	handler := handlerOf(nodes.node("a"), echo)
	server := &http.Server{Handler: handler}
	if err := h2.ConfigureServer(server, nil); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") // net.Pipe allocates for deadlines
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	address := listener.Addr().String()
	transport := h2.NewTransport(nil)
	defer func() {
		_ = transport.Close()
		_ = server.Close()
		<-served
	}()
	nothing := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc { return next })
	headers := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
			_ = request.Header()
			return next(ctx, request)
		}
	})
	for name, protocol := range protocols {
		plain := func(options ...connect.ClientOption) float64 {
			options = append(options, protocol, connect.WithIdempotency(idempotent))
			return allocsOf(t, connect.NewClient[message, message](&http.Client{Transport: transport}, "http://"+address+pathUnary, options...))
		}
		bare, intercepted, read := plain(), plain(connect.WithInterceptors(nothing)), plain(connect.WithInterceptors(headers))
		for policy, option := range map[string]balance.Option{
			"PeakEWMA": balance.PeakEWMA(), "RoundRobin": balance.RoundRobin(), "Weighted": balance.Weighted(), "LeastRequest": balance.LeastRequest(3),
		} {
			if name != "grpc" && policy != "PeakEWMA" {
				continue // protocols and policies have nothing to do with each other
			}
			b, err := balance.New(balance.Static(address), option, balance.SlowStart(1))
			if err != nil {
				t.Fatal(err)
			}
			balanced := func(options ...connect.ClientOption) float64 {
				options = append(options, protocol, connect.WithIdempotency(idempotent))
				return allocsOf(t, connect.NewClient[message, message](b.HTTPClient(), "http://test.local"+pathUnary, options...))
			}
			for _, test := range []struct {
				what      string
				got, most float64
			}{
				{"without interceptors", balanced(), bare + 1},
				{"with Options", balanced(b.Options()), intercepted + 1},
				{"with retries and Options", balanced(connect.WithInterceptors(retry.New()), b.Options()), read + 1},
			} {
				t.Logf("%s, %s, %s: %v allocations a call", name, policy, test.what, test.got)
				if test.got > test.most {
					t.Errorf("%s, %s, %s: got %v allocations a call, want at most %v, one more than through one transport", name, policy, test.what, test.got, test.most)
				}
			}
			b.Close()
		}
	}
}
