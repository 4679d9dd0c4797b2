// SPDX-License-Identifier: Apache-2.0

// Package reflection serves and calls grpc.reflection, with which grpcurl, buf curl, grpcui,
// Postman and other programs list, describe and call the services of a server without its
// schema: both versions, v1 and v1alpha.
//
// A [Reflector] takes the services from a [registry.Registry], to which a program adds its
// handlers as it mounts them:
//
//	var procedures registry.Registry
//	mux.Handle(procedures.Add(greetv1connect.NewGreetServiceHandler(greeter{})))
//	reflection.New(&procedures).Mount(mux)
//
// The registry also has the options that the schema gives each procedure, such as access
// rules of the program's own: see [registry.Procedure.Options].
//
// A [Client] lists the services of any server and loads their schema; package dynamic calls
// them. A [Resolver] is a registry that loads what is looked up, for codecs and for JSON with
// google.protobuf.Any.
//
// # Names
//
// The package registers no Protobuf name. A program may also link
// google.golang.org/grpc/reflection or connectrpc.com/grpcreflect.
//
// # Compared with connectrpc.com/grpcreflect
//
// The package has what grpcreflect has, and answers these threads of its tracker and those
// of its neighbours:
//
//   - grpcreflect-go #87: nothing is listed by hand, so that no service is forgotten: health,
//     and reflection itself, are there if they are in the registry.
//   - grpcreflect-go #75: Mount mounts both versions, because some programs call one alone.
//   - grpcreflect-go #48: grpc.health.v1 and grpc.reflection have their own names and
//     descriptors, without a table of exceptions.
//   - grpcreflect-go #77: nothing is registered, and so nothing twice.
//   - grpcreflect-go #51: the details of errors are found, and a message without extensions
//     has an empty list of them, which grpcurl needs to print the details.
//   - grpcreflect-go #41: a client.
//   - grpc-go #6152: services and methods are found if they are mounted, and not because they
//     are linked.
//   - grpc-go #6770: a file that is imported by a wrong path is an error that names the file
//     and the one that imports it, and not an empty file.
package reflection
