// SPDX-License-Identifier: Apache-2.0

// Package health serves and calls grpc.health.v1, the service with which load balancers,
// orchestrators and clients find out whether a server takes calls: Check, Watch and List,
// in all protocols. The meaning of the statuses is that of gRPC's document
// [health-checking.md] and of gRFC A90 (List).
//
// A [Server] holds the statuses. A program sets them, or adds a [Check] of what its services
// depend on, which [Server.Run] repeats:
//
//	status := health.New(greetv1connect.GreetServiceName)
//	status.AddCheck(health.Check{Name: "database", Probe: db.PingContext})
//	go status.Run(ctx)
//	mux.Handle(health.NewHandler(status))
//
// When the server drains, [Server.Shutdown] makes all services not serving and ends the
// calls of Watch, for which [net/http.Server.Shutdown] would otherwise wait.
//
// A [Client] calls the service of any server, and [Probe] makes the function that load
// balancers in this module take. The command in cmd/healthprobe does so from a shell.
//
// # Names
//
// The package registers no Protobuf name. A program may also link
// google.golang.org/grpc/health/grpc_health_v1, connectrpc.com/grpchealth, or code that it
// has generated from health.proto itself.
//
// # Compared with connectrpc.com/grpchealth
//
// The package has what grpchealth has, and answers these threads of its tracker:
//
//   - grpchealth-go #81: Watch is implemented, for each Server.
//   - grpchealth-go #83: a watcher gets the newest status, even if it reads slowly; statuses
//     in between may be left out.
//   - grpchealth-go #20: statuses are set at run time, and checks of dependencies run on a
//     schedule with a deadline, not within each call.
//   - grpchealth-go #75: the status of the whole server, which has the name "", is set like
//     any other.
//   - grpchealth-go #72: a client without generated code, and so without a conflict of names.
//
// [health-checking.md]: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
package health
