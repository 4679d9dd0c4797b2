// SPDX-License-Identifier: Apache-2.0

// This file lists the wanted differences in when and how responses leave and end.

package compat

var responseDifferences = []difference{
	{
		item:   "steps",
		row:    "`Content-Length` and `Trailer` of answers in frames",
		on:     "root",
		reason: "net/http knows the length of a short answer, and over HTTP/1.1 the status of gRPC is announced",
		tests:  []string{"TestSteps/length_of_short_answers", "TestSteps/fields_of_HTTP/1.1"},
		lines: []string{
			"- connect length false", "+ connect length true",
			"- web length false", "+ web length true",
			"- web error length false", "+ web error length true",
			"- announced false", "+ announced true",
		},
	},
	{
		item:   "steps",
		row:    "response metadata under the protocols' own names, of streams or in lower case",
		on:     "root",
		reason: "headers that the protocols own are the library's, also where middleware has set them",
		tests:  []string{"TestSteps/headers_of_middleware"},
		lines:  []string{"- messages 2 flushed true", "+ messages 1 flushed false"},
	},
	{
		item:   "steps",
		row:    "a message that the handler of a client stream sends ahead of its end",
		on:     "root",
		reason: "the response has one message, so that it leaves with the end of the call",
		tests:  []string{"TestSteps/client_stream_answers_before_its_end"},
		lines:  []string{`- answer "one"`, `+ answer ""`},
	},
	{
		item:   "steps",
		row:    "a stream's methods after an error, the end or a close",
		on:     "root",
		reason: "an error and a close end the call: its handler ends, too, and each receive returns the same error",
		tests: []string{
			"TestSteps/close_of_a_response_that_has_not_begun",
			"TestSteps/close_after_a_failed_exchange",
			"TestSteps/handler_after_an_error_of_its_client",
			"TestSteps/end_that_is_too_large",
			"TestSteps/error_that_was_returned_before",
			"TestSteps/interceptor_refuses_the_end_of_a_request",
			"TestSteps/interceptor_ends_a_stream_at_once",
		},
		lines: []string{
			"- bidi *", "+ bidi true",
			"- client *", "+ client true",
			`- answer "one"`, `+ answer ""`,
			"- receive *", "+ receive *",
			"- handler receive *", "+ handler receive canceled",
			"- first After: one",
			"+ conn close response",
		},
	},
	{
		item:   "steps",
		row:    "a compression that fails",
		on:     "root",
		reason: "a program's code counts in each method, and an io.EOF inside a message is not the end of the stream",
		tests:  []string{"TestSteps/compression_fails_at_its_end"},
		lines:  []string{"- error *", "+ error *"},
	},
	{
		item:   "steps",
		row:    "an `ErrorWriter`",
		on:     "root",
		reason: "an error has one code, whoever writes it",
		tests:  []string{"TestSteps/error_writer_and_contexts"},
		lines:  []string{"- status 500", "+ status 499", "+ status 504"},
	},
	{
		item:   "steps",
		row:    "an `ErrorWriter`",
		on:     "root",
		reason: "HTTP/2 needs no names of trailers before them, and the body of HTTP/1.1 has an end of its own",
		tests:  []string{"TestSteps/error_writer_announces_trailers"},
		lines:  []string{"- announced *", "+ announced *"},
	},
	{
		item:   "81",
		row:    "a response whose body cannot be read",
		on:     "root",
		reason: "the connection is lost, or the message is cut off; an error that cannot be read says why",
		tests:  []string{"TestClient/81_*_body_*", "TestClient/81_*_page_in_an_unknown_encoding", "TestClient/81_*_error_that_*"},
		lines:  []string{"- error *", "+ error *"},
		some:   true,
	},
	{
		item:   "24",
		row:    rowSpeed,
		on:     "root",
		reason: "the frame that ends a stream is short: it is not compressed",
		tests:  []string{"TestSteps/end_that_cannot_be_compressed"},
		lines:  []string{"- receive *"},
	},
}
