// SPDX-License-Identifier: Apache-2.0

// Package consul makes a service a native member of the service mesh of Consul: it has an
// identity, connections are TLS on both sides, intentions decide who may call, and instances
// are found by name. Generated code does not change:
//
//	svc, err := consul.NewService("web", apiClient) // *api.Client
//	defer svc.Close()
//
//	server := &http.Server{Handler: mux, TLSConfig: svc.ServerTLSConfig()}
//	client := pingv1connect.NewPingServiceClient(svc.HTTPClient(), "https://ping.service.consul")
//
// A [Service] gets its certificate and the roots of the mesh from the agent, in the background,
// and follows their rotation. It fails closed: without them no handshake succeeds, and the
// roots of the system are never used. On each connection, resumed ones included, both sides
// check the chain of the peer's certificate, its SPIFFE ID and the trust domain; a server asks
// the agent about its intentions, too.
//
// # Calls
//
// [Service.Serve], [Service.Handler] and [Service.Authorize] decide about each call, by the
// intentions with permissions for paths, methods and headers (L7). The service has these from a
// blocking query, so that a change acts at once, also on calls that go on. A server that has
// only the configuration of [Service.ServerTLSConfig] decides about connections, and refuses
// peers whose intention has permissions, as nothing would check them.
//
// # Tests
//
// Package consultest has an agent in memory. [NewDevServiceWithTLSConfig] needs no agent.
//
// The package is written from the documentation of Consul's HTTP API. It uses
// github.com/hashicorp/consul/api (MPL-2.0), and nothing of Consul itself.
package consul
