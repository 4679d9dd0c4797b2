// SPDX-License-Identifier: Apache-2.0

// Package validate checks messages against the rules in their schemas, with Protovalidate:
// the requests of all kinds of procedures, each message of a stream, and responses if
// [WithValidateResponses] is set. [New] returns an interceptor for handlers and clients:
//
//	rules := validate.New()
//	if err := rules.Compile(greetv1.File_greet_v1_greet_proto.Services().ByName("GreetService")); err != nil {
//		log.Fatal(err)
//	}
//	mux.Handle(greetv1connect.NewGreetServiceHandler(server{}, connect.WithInterceptors(rules)))
//
// # Errors
//
//   - A request that breaks rules fails with [connect.CodeInvalidArgument], on a handler
//     before the program's code sees the message, on a client before it is sent. The error
//     has a buf.validate.Violations as its detail, which [Violations] returns.
//   - A response that breaks rules fails with [connect.CodeInternal]. A client's error has
//     the details. A handler's has not, and its text names the type only: the client
//     cannot mend the response, and paths of violations may hold keys of maps. Both are
//     logged.
//   - Rules that do not compile, rules whose evaluation fails, and messages that are not
//     Protobuf messages are mistakes of the program: [connect.CodeInternal], with the
//     cause in the log and for [errors.As], but not in the text.
//
// A receiver of a stream whose message was refused may go on: the next Receive returns the
// next message. A sender whose message was refused has sent nothing, and may go on, too.
//
// # Bounds
//
// A peer chooses how many rules its message breaks. So a message is first checked up to
// its first violation. Only one of at most 64 KiB, in which messages are nested in at most 32
// levels, is then checked for all violations, of which the detail has at most 100, and at most
// 64 KiB. The text has up to 1 KiB.
//
// # Names
//
// The package uses buf.validate from the module that protovalidate and
// connectrpc.com/validate use, and registers no Protobuf name of its own.
//
// # Compared with connectrpc.com/validate
//
// The options are those of connectrpc.com/validate. Differences are the handler's errors of
// responses and of broken rules, above, and the bounds. The package answers these threads:
//
//   - validate-go #28 and #13: responses are checked, if a program asks for it.
//   - go-grpc-middleware #721: messages that are not Protobuf messages can be left out, with
//     [WithFilter], and clients are covered.
//   - protovalidate-go #179: an interceptor that checks only the fields of an update mask:
//     [WithValidationOptions] passes on a filter for each procedure.
package validate
