// SPDX-License-Identifier: Apache-2.0

// Package lambda serves handlers in AWS Lambda, behind function URLs, API Gateway (REST and
// HTTP APIs) and Application Load Balancers:
//
//	import runtime "github.com/aws/aws-lambda-go/lambda"
//
//	runtime.Start(lambda.New(mux))        // responses are buffered
//	runtime.Start(lambda.New(mux).Stream) // they are streamed
//
// The package has no dependency: a [Function] has the methods that the runtime looks for.
//
// # What works
//
// Connect and gRPC-Web, with all kinds of calls but bidirectional ones, whose directions wait
// for each other: Lambda gets a request as a whole. Messages of a server's stream arrive one by
// one if the response is streamed, and all at the end otherwise. The context of a call ends at
// the function's deadline.
//
// gRPC does not work: its status is in HTTP trailers, and no event carries them. A gRPC call
// gets the status unimplemented, with this reason, and does not reach the handler.
//
// Requests and responses in binary are in base64 within events. Function URLs, HTTP APIs and
// load balancers take care of that; a REST API needs */* among its binary media types. A REST
// API's stage is not part of the path; that of an HTTP API is, unless it is $default: remove
// it with [net/http.StripPrefix].
//
// # Limits
//
// Lambda carries 6 MB of a buffered response. A handler that writes more gets an error from
// Write, and the client resource_exhausted, with this reason. A request may have 6 MB, which
// Lambda itself enforces.
//
// # Bad input
//
// An event that is not JSON, or not of HTTP, is an error of the invocation. A body that is not
// base64 though the event says so, and a path, a method or a query that cannot be parsed, are
// answered with 400. A handler's panic is an error of the invocation; if a streamed response
// has begun, it breaks off.
package lambda
