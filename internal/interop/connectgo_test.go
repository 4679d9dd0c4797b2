// SPDX-License-Identifier: Apache-2.0

// This file runs all cases between this library and connect-go: protocol × codec × HTTP version, both ways. Where this library runs
// on the engine, connect-go runs on net/http.

package interop_test

import (
	"net/http"
	"slices"
	"testing"

	peerconnect "connectrpc.com/connect"
	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/interop"
	"github.com/seed-b7c59c10/connect/internal/interop/ours"
	"github.com/seed-b7c59c10/connect/internal/interop/peer"
)

const (
	maxURL      = 4096 // of a GET
	minCompress = 1024 // smaller messages of a server go uncompressed; the libraries have different defaults
)

var (
	protocols = []string{"connect", "grpc", "grpcweb"}
	codecs    = []string{"proto", "json"}
)

func TestConnectGo(t *testing.T) {
	for _, pair := range []struct {
		name    string
		ours    bool // the server is ours
		handler http.Handler
		dial    func(client *http.Client, url, protocol, codec string) clients
	}{
		{"server=ours", true, ours.NewHandler(connect.WithCompressMinBytes(minCompress)), peerClients},
		{"server=connect-go", false, peer.NewHandler(peerconnect.WithCompressMinBytes(minCompress)), ourClients},
	} {
		t.Run(pair.name, func(t *testing.T) {
			for _, x := range []transport{http1, h2c, h2tls, engineH2C, engineTLS} {
				t.Run(string(x), func(t *testing.T) {
					server, dialled := x, x.foreign()
					if !pair.ours {
						server, dialled = x.foreign(), x
					}
					url := serve(t, server, pair.handler)
					client := httpClient(t, dialled)
					for _, protocol := range protocols {
						for _, codec := range codecs {
							t.Run(protocol+"/"+codec, func(t *testing.T) {
								cases := slices.Concat(standardCases, connectCases)
								if protocol == "connect" {
									cases = append(cases, getCases...)
								}
								if !x.bidi() {
									cases = append(cases, testCase{name: "bidi_refused", run: bidiRefused})
								}
								runCases(t, cases, x.bidi(), pair.dial(client, url, protocol, codec))
							})
						}
					}
				})
			}
		})
	}
}

func ourClients(client *http.Client, url, protocol, codec string) clients {
	options := []connect.ClientOption{connect.WithHTTPGet(), connect.WithHTTPGetMaxURLSize(maxURL, true)}
	switch protocol {
	case "grpc":
		options = append(options, connect.WithGRPC())
	case "grpcweb":
		options = append(options, connect.WithGRPCWeb())
	}
	if codec == "json" {
		options = append(options, connect.WithProtoJSON())
	}
	dial := func(more ...connect.ClientOption) interop.Client {
		return ours.NewClient(client, url, slices.Concat(options, more)...)
	}
	return clients{
		plain:    dial(),
		gzip:     dial(connect.WithSendGzip()),
		identity: dial(connect.WithAcceptCompression("gzip", nil, nil)),
	}
}

func peerClients(client *http.Client, url, protocol, codec string) clients {
	options := []peerconnect.ClientOption{peerconnect.WithHTTPGet(), peerconnect.WithHTTPGetMaxURLSize(maxURL, true)}
	switch protocol {
	case "grpc":
		options = append(options, peerconnect.WithGRPC())
	case "grpcweb":
		options = append(options, peerconnect.WithGRPCWeb())
	}
	if codec == "json" {
		options = append(options, peerconnect.WithProtoJSON())
	}
	dial := func(more ...peerconnect.ClientOption) interop.Client {
		return peer.NewClient(client, url, slices.Concat(options, more)...)
	}
	return clients{
		plain:    dial(),
		gzip:     dial(peerconnect.WithSendGzip()),
		identity: dial(peerconnect.WithAcceptCompression("gzip", nil, nil)),
	}
}
