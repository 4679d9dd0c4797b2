// SPDX-License-Identifier: Apache-2.0

// Package consultest is a Consul agent inside of a test: it answers over HTTP as an agent
// with the service mesh does, with a certificate authority of its own, and holds all state in
// memory. Nothing is installed, and no other program runs:
//
//	agent, err := consultest.NewAgent()
//	defer agent.Close()
//	svc, err := consul.NewService("web", agent.Client(""))
//
// The agent has the endpoints that members of the mesh use: roots and leaves of the authority,
// authorize, intentions, instances, prepared queries, registration with health checks. Queries
// block as an agent's do, with X-Consul-Index. Methods do what operators do: rotate the
// authority, change intentions, make an instance critical. [Agent.Intercept] breaks the agent:
// it is a middleware around all endpoints, for tests of what happens then.
//
// It was written from the documentation of the HTTP API, and compared with agents 1.8.7 and
// 1.22.7. It is no Consul: there is one node, and no cluster, namespace or partition.
package consultest
