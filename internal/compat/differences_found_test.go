// SPDX-License-Identifier: Apache-2.0

// This file lists the wanted differences in the steps that random programs have found.

package compat

var foundDifferences = []difference{
	{
		item:   "steps",
		row:    "the second message of a request or response of one",
		on:     "root",
		reason: "a second message has the code that a program's mistake has, whatever the context; an error of a context is that of the context",
		tests: []string{
			"TestSteps/second_message_of_a_request_of_one,_after_the_context",
		},
		lines: []string{
			"- send *",
			"+ send *",
			`+ open is "context deadline exceeded"`,
		},
	},
	{
		item:   "steps",
		row:    "a GET of a client",
		on:     "root",
		reason: "a codec that cannot be used for GETs makes a POST",
		tests: []string{
			"TestSteps/GET_with_a_codec_that_cannot_be_used_for_it",
		},
		lines: []string{
			"- error *",
			`+ message "go"`,
			"+ header Content-Type: application/raw",
			"+ error resource_exhausted",
		},
	},
	{
		item:   "steps",
		row:    "an error whose code is 0",
		on:     "root",
		reason: "an error is no success",
		tests: []string{
			"TestSteps/end_without_a_code_that_is_too_large",
		},
		lines: []string{
			`- "{*`,
			`+ "{*`,
			`- "grpc-status: 8"`,
			`+ "grpc-status: 2"`,
			"- trailer *",
			"+ trailer Grpc-Status: 2",
		},
	},
	{
		item:   "steps",
		row:    "response metadata under the protocols' own names, of streams or in lower case",
		on:     "root",
		reason: "the protocols' own fields stay theirs",
		tests: []string{
			"TestSteps/content_type_as_a_trailer",
		},
		lines: []string{
			`- "{*`,
			`+ "{*`,
			"- header Content-Type: *",
		},
	},
	{
		item:   "steps",
		row:    "a stream's methods after an error, the end or a close",
		on:     "root",
		reason: "a handler that sends headers alone sees that its client has left",
		tests: []string{
			"TestSteps/sends_after_the_client_has_left",
		},
		lines: []string{
			"+ send *",
		},
	},
	{
		item:   "steps",
		row:    "metadata of an error that was not sent as one",
		on:     "root",
		reason: "a failed call's metadata is what the response had",
		tests: []string{
			"TestSteps/not_modified_with_trailers",
		},
		lines: []string{
			"+ error meta After: one",
		},
	},
	{
		item:   "steps",
		row:    "how often an initializer is called",
		on:     "root",
		reason: "a GET whose context has ended has no response",
		tests: []string{
			"TestSteps/initializer_of_a_GET_whose_context_ends",
		},
		lines: []string{
			"- client initializes",
		},
	},
}
