// SPDX-License-Identifier: Apache-2.0

// A gateway from HTTP to the bus.

package natsrpc

import (
	"fmt"
	"net/http"
	"net/http/httputil"

	"github.com/seed-b7c59c10/connect/proxy"
)

// NewGateway returns a handler that forwards the calls of HTTP clients to the servers with a
// prefix, in any of the three protocols and without a schema, as package proxy does:
//
//	http.ListenAndServe(":8080", natsrpc.NewGateway(natsrpc.NewTransport(nc), "rpc"))
//
// Everybody who reaches the gateway may call all that its NATS user may: limit one or the
// other. Options are those of package proxy, such as proxy.WithRewrite, which sees the URL
// of the bus. The other direction needs no code of this package: [Serve] takes a proxy of
// package proxy as its handler.
//
// NewGateway panics if transport is nil or the prefix is invalid.
func NewGateway(transport *Transport, prefix string, options ...proxy.Option) http.Handler {
	if transport == nil {
		panic("natsrpc: NewGateway: the transport is nil: pass that of natsrpc.NewTransport")
	}
	if err := checkName("subject prefix", prefix, "-"); err != nil {
		panic(fmt.Sprintf("natsrpc: NewGateway: %v", err))
	}
	onBus := proxy.WithRewrite(func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "nats", prefix })
	p, err := proxy.New("http://bus.invalid", append([]proxy.Option{proxy.WithTransport(transport), onBus}, options...)...)
	if err != nil {
		panic(fmt.Sprintf("natsrpc: NewGateway: %v", err))
	}
	return p
}
