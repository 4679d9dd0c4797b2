// SPDX-License-Identifier: Apache-2.0

// This file lists the wanted differences in what programs see of calls step by step.

package compat

var stepDifferences = []difference{
	{
		item:   "steps",
		row:    "a stream's methods after an error, the end or a close",
		on:     "root",
		reason: "after an error a stream is over, and each call returns the same; the trailers are those that were received",
		tests: []string{
			"TestSteps/receive_again_*",
			"TestSteps/receive_after_close",
			"TestSteps/receive_on,_*",
			"TestSteps/send_after_close",
			"TestSteps/send_one_message_twice",
			"TestSteps/trailers_without_a_body",
		},
		lines: []string{
			"- handler *",
			"+ handler *",
			"- receive *",
			"+ receive *",
			"- trailer *",
			"- after internal",
			"+ after canceled",
			"- send after *",
			"+ send after internal",
			"- open *",
			"+ open internal",
			"+ received true",
		},
	},
	{
		item:   "steps",
		row:    "the trailers of a gRPC response without a body",
		on:     "root",
		reason: "the fields of the head that the protocols own are no trailers",
		tests: []string{
			"TestSteps/trailers_without_a_body",
		},
		lines: []string{
			"- trailers *",
			"+ trailers *",
		},
	},
	{
		item:   "steps",
		row:    "an `io.EOF` of a codec",
		on:     "root",
		reason: "the end of a stream is what the other side sends",
		tests: []string{
			"TestSteps/codec_ends_a_message",
			"TestSteps/codec_ends_a_stream",
		},
		lines: []string{
			`- send is "EOF"`,
			`+ send is "unexpected EOF"`,
			`- handler receive is "EOF"`,
			`+ handler receive is "unexpected EOF"`,
			`- handler send is "EOF"`,
			`+ handler send is "unexpected EOF"`,
			"- receive internal",
			"+ receive invalid_argument",
			"- error *",
			"+ error *",
			`- message ""`,
			"- header *",
		},
	},
	{
		item:   "steps",
		row:    "the headers of a response in frames, after a message that cannot be sent",
		on:     "root",
		reason: "nothing was written, so the handler can still set headers",
		tests: []string{
			"TestSteps/message_cannot_be_sent",
		},
		lines: []string{
			"+ header Late: yes",
		},
	},
	{
		item:   "steps",
		row:    "`application/json; charset=utf-8` where a codec of the program is called `json`",
		on:     "root",
		reason: "the parameter says nothing that JSON does not say itself",
		tests: []string{
			"TestSteps/charset_of_another_codec",
		},
		lines: []string{
			`- message "a"`,
			`+ message "a marked"`,
		},
	},
	{
		item:   "steps",
		row:    "what `WithRecover` covers",
		on:     "root",
		reason: "a panic of a gate or a codec ends a call as one of the handler does",
		tests: []string{
			"TestSteps/recover",
		},
		lines: []string{
			"- error *",
			"+ error *",
		},
	},
	{
		item:   "steps",
		row:    "the `CallInfo` of a handler's context",
		on:     "root",
		reason: "a call has one information, with the headers that are sent",
		tests: []string{
			"TestSteps/info_of_*",
		},
		lines: []string{
			"- gate false",
			"+ gate true",
			"- interceptor false",
			"+ interceptor true",
			"- handler *",
			"+ handler *",
			"+ response Before: middleware",
			"- header Before: middleware",
			"- error meta Before: middleware",
		},
	},
	{
		item:   "steps",
		row:    "a context of `NewClientContext` that an interceptor passes on",
		on:     "root",
		reason: "a caller would not find the response's headers; a handler's interceptor may make such a context for calls of its own",
		tests: []string{
			"TestSteps/context_of_another_call,_*",
		},
		lines: []string{
			"- error *",
			"+ error *",
			"- message *",
			"+ message *",
			"- header *",
			"+ header *",
			"- info *",
			"+ info *",
			"- open not coded",
			"+ open text *",
		},
	},
	{
		item:   "steps",
		row:    "how often an initializer is called",
		on:     "root",
		reason: "the end of a request or response of one message is not received into a message",
		tests: []string{
			"TestSteps/initializers",
		},
		lines: []string{
			"- handler initializes *",
			"- client initializes *",
		},
	},
	{
		item:   "steps",
		row:    "a request that a client's interceptor makes",
		on:     "root",
		reason: "the library's headers are not the program's, which cannot forget them",
		tests: []string{
			"TestSteps/request_of_an_interceptor",
		},
		lines: []string{
			"- error *",
			`+ message "other"`,
			"+ header *",
		},
	},
	{
		item:   "steps",
		row:    "the end of a request of one message, in the conn of an interceptor",
		on:     "root",
		reason: "the conn itself knows how many messages there are",
		tests: []string{
			"TestSteps/conn_of_an_interceptor",
		},
		lines: []string{
			"- receive *",
			"+ receive *",
		},
	},
	{
		item:   "steps",
		row:    "an `ErrorWriter`",
		on:     "root",
		reason: "it writes errors, and serves no procedure for which options could be",
		tests: []string{
			"TestSteps/error_writer",
		},
		lines: []string{
			`- conditional for "/"`,
			"- application/connect+proto: *",
			"+ application/connect+proto: *",
			"- trailer Grpc-Status: 0",
			"+ trailer Grpc-*",
			"- header Grpc-Status: 0",
			"+ header Grpc-*",
		},
	},
	{
		item:   "steps",
		row:    "a request whose body cannot be read",
		on:     "root",
		reason: "over HTTP/1.1 the body is malformed, over HTTP/2 the client is gone",
		tests: []string{
			"TestSteps/request_that_cannot_be_read",
		},
		lines: []string{
			"- HTTP/*",
			"+ HTTP/*",
		},
	},
	{
		item:   "steps",
		row:    "the `Query` of a handler's `Peer`",
		on:     "root",
		reason: "a query is the URL's, whatever the protocol",
		tests: []string{
			"TestSteps/query_of_a_peer",
		},
		lines: []string{
			"- connect: *",
			"+ connect: *",
			"- grpc: *",
			"+ grpc: *",
			"- grpcweb: *",
			"+ grpcweb: *",
		},
	},
	{
		item:   "steps",
		row:    "the trailers of a unary response that is refused",
		on:     "root",
		reason: "what the response means is read at its end",
		tests: []string{
			"TestSteps/trailers_of_a_response_that_is_refused",
		},
		lines: []string{
			"+ header Trailer-After: one",
			"- trailer After: one",
		},
	},
}
