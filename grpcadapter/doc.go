// SPDX-License-Identifier: Apache-2.0

// Package grpcadapter serves and calls services of grpc-go's generated code with
// [github.com/seed-b7c59c10/connect]: a program of grpc-go moves by a change of its
// main function. The services, with their grpc.ServerStreamingServer, metadata and
// statuses, and the code that calls clients stay as they are.
//
// On the server's side a [Server] takes the place of grpc.Server, as an
// [http.Handler]:
//
//	server := grpcadapter.NewServer()
//	greetv1.RegisterGreetServiceServer(server, &greeter{})
//	s := &http.Server{Addr: "localhost:8080", Handler: server, Protocols: new(http.Protocols)}
//	s.Protocols.SetHTTP1(true)
//	s.Protocols.SetUnencryptedHTTP2(true) // gRPC clients need HTTP/2
//	log.Fatal(s.ListenAndServe())
//
// On the client's side a [ClientConn] takes the place of grpc.ClientConn:
//
//	conn := grpcadapter.NewClientConn(http.DefaultClient, "https://api.acme.com", connect.WithGRPC())
//	client := greetv1.NewGreetServiceClient(conn)
//
// # What works as in grpc-go
//
// Package metadata for request headers, and grpc.SetHeader, grpc.SendHeader and
// grpc.SetTrailer for the response; peer.FromContext; grpc.Method; statuses with
// details, as errors in both directions; deadlines and cancellation; interceptors of
// services; the semantics of grpc.ServerStream and grpc.ClientStream, io.EOF among
// them; GetServiceInfo, and so the packages health and reflection of grpc-go. Errors
// of a ClientConn are statuses, and errors.As also finds a [connect.Error] in them.
//
// # What differs
//
//   - The transport is net/http's, or package h2's. TLS, connection age and
//     keep-alive are settings of an http.Server and an http.Transport;
//     grpc.ServerOption and grpc.DialOption, stats handlers, binary logs and
//     resolvers have no counterpart here. Options of the library take their place:
//     see [WithHandlerOptions].
//   - The limit of a received message is 16 MiB, not 4 MiB: [connect.WithReadMaxBytes]
//     changes it.
//   - A panic of a service ends its call, and not the program.
//   - The headers of a unary response are sent with the response: grpc.SendHeader
//     makes them final, and does not send them at once.
//   - A response of a stream of requests is sent when the service returns.
//   - The metadata of a request has no ":authority". The peer has no AuthInfo.
//   - Messages are Protobuf. Compressions are the library's, and grpc.SetSendCompressor
//     returns an error.
package grpcadapter
