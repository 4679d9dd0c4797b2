// SPDX-License-Identifier: Apache-2.0

// What a Balancer adds to a unary call, with a transport that answers at once.

package balance

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/direct"
)

// An instant is a transport, its only target, and its only response.
type instant struct{}

func (instant) RoundTrip(*http.Request) (*http.Response, error) { return nil, io.EOF }

func (instant) PrepareDirect(http.RoundTripper, *url.URL, [][2]string) (direct.Target, error) {
	return instant{}, nil
}

func (instant) RoundTripDirect(context.Context, [][2]string, []byte) (io.ReadCloser, error) {
	return instant{}, nil
}

func (instant) Read([]byte) (int, error)                      { return 0, io.EOF }
func (instant) Close() error                                  { return nil }
func (instant) DirectHead() (int, [][2]string, int64)         { return http.StatusOK, nil, 0 }
func (instant) DirectTrailer() [][2]string                    { return nil }
func (instant) DirectServerTLS() (state *tls.ConnectionState) { return nil }

func piped(context.Context, string, string) (net.Conn, error) {
	conn, _ := net.Pipe()
	return conn, nil
}

func BenchmarkCall(b *testing.B) {
	for _, n := range []int{1, 4} {
		var set []string
		for i := range n {
			set = append(set, fmt.Sprintf("10.0.0.%d:1", i+1))
		}
		lb, err := New(Static(set...), Transport(func(Endpoint, Dial) http.RoundTripper { return instant{} }), DialContext(piped))
		if err != nil {
			b.Fatal(err)
		}
		defer lb.Close()
		target, err := lb.PrepareDirect(lb, &url.URL{Scheme: "http", Host: "test.local"}, nil)
		if err != nil {
			b.Fatal(err)
		}
		unary := interceptor{lb}.WrapUnary(func(ctx context.Context, _ connect.AnyRequest) (connect.AnyResponse, error) {
			_, err := target.RoundTripDirect(ctx, nil, nil)
			return nil, err
		})
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		b.Run(fmt.Sprintf("endpoints=%d/callers=1", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := unary(ctx, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("endpoints=%d/callers=many", n), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := unary(ctx, nil); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
