// SPDX-License-Identifier: Apache-2.0

// This file lists the tests of published suites that fail on the library, where, and why.

package compat

// blackBoxDifferences are wanted: tests of the reference that compare the text of
// an error, which is for people, and those that a decision contradicts.
var blackBoxDifferences = []difference{
	{
		item:   "text",
		reason: "a message over the limit: the text",
		tests:  []string{"TestHandlerWithReadMaxBytes/*/read_max_plus_one"},
		lines:  []string{"connect_ext_test.go:1628"},
	},
	{
		item:   "text",
		reason: "a message over the limit: the text",
		tests:  []string{"TestHandlerWithReadMaxBytes/*/read_max_large"},
		lines:  []string{"connect_ext_test.go:1646"},
	},
	{
		item:   "text",
		reason: "a message over the limit: the text",
		tests:  []string{"TestClientWithReadMaxBytes/*/read_max_plus_one"},
		lines:  []string{"connect_ext_test.go:1809"},
	},
	{
		item:   "text",
		reason: "a message over the limit: the text",
		tests:  []string{"TestClientWithReadMaxBytes/*/read_max_large"},
		lines:  []string{"connect_ext_test.go:1828"},
	},
	{
		item:   "text",
		reason: "an error's body over the limit: the text",
		tests:  []string{"TestClientWithReadMaxBytesUnaryError/over_read_max"},
		lines:  []string{"connect_ext_test.go:1884"},
	},
	{
		item:   "text",
		reason: "a message over the limit for sending: the text",
		tests: []string{
			"TestHandlerWithSendMaxBytes/connect/send_max_plus_one",
			"TestHandlerWithSendMaxBytes/grpc/send_max_plus_one",
			"TestHandlerWithSendMaxBytes/grpcweb/send_max_plus_one",
		},
		lines: []string{"connect_ext_test.go:1975"},
	},
	{
		item:   "text",
		reason: "a message over the limit for sending: the text, which has the length before compression",
		tests:  []string{"TestHandlerWithSendMaxBytes/*_gzip/send_max_large"},
		lines:  []string{"connect_ext_test.go:1995"},
	},
	{
		item:   "text",
		reason: "a message over the limit for sending: the text",
		tests:  []string{"TestHandlerWithSendMaxBytes/*/send_max_large"},
		except: []string{"*_gzip/send_max_large"},
		lines:  []string{"connect_ext_test.go:1997"},
	},
	{
		item:   "text",
		reason: "a message over the limit for sending: the text",
		tests: []string{
			"TestClientWithSendMaxBytes/connect/send_max_plus_one",
			"TestClientWithSendMaxBytes/grpc/send_max_plus_one",
			"TestClientWithSendMaxBytes/grpcweb/send_max_plus_one",
		},
		lines: []string{"connect_ext_test.go:2218"},
	},
	{
		item:   "text",
		reason: "a message over the limit for sending: the text, which has the length before compression",
		tests:  []string{"TestClientWithSendMaxBytes/*_gzip/send_max_large"},
		lines:  []string{"connect_ext_test.go:2238"},
	},
	{
		item:   "text",
		reason: "a message over the limit for sending: the text",
		tests:  []string{"TestClientWithSendMaxBytes/*/send_max_large"},
		except: []string{"*_gzip/send_max_large"},
		lines:  []string{"connect_ext_test.go:2240"},
	},
	{
		item:   "text",
		reason: "HTTP/1.1 under a bidi stream: the text",
		tests:  []string{"TestBidiRequiresHTTP2"},
		lines:  []string{"connect_ext_test.go:1306"},
	},
	{
		item:   "text",
		reason: "a response of another type from an interceptor: the text",
		tests:  []string{"TestInterceptorReturnsWrongType"},
		lines:  []string{"connect_ext_test.go:1589"},
	},
	{
		item:   "text",
		reason: "a writer that cannot flush: the text names its type, and where a Flush was looked for",
		tests:  []string{"TestUnflushableResponseWriter/*"},
		lines:  []string{"connect_ext_test.go:2666"},
	},
	{
		item:   "text",
		reason: "a stream that ends early or late: the text says how far it came",
		tests: []string{
			"TestStreamUnexpectedEOF/*_partial_frame",
			"TestStreamUnexpectedEOF/*_excess_eof",
			"TestStreamUnexpectedEOF/connect_missing_end",
		},
		lines: []string{"connect_ext_test.go:3193"},
	},
	{
		item:   "text",
		reason: "an unknown compression: the text says how to make it known",
		tests:  []string{"TestNewClient_InitFailure/*"},
		lines:  []string{"client_ext_test.go:66", "client_ext_test.go:75", "client_ext_test.go:84", "client_ext_test.go:90"},
	},
	{
		item:   "text",
		reason: "an interceptor that calls NewClientContext: the text says what to do instead",
		tests: []string{
			"TestNewClientContextInInterceptor/simple_api/*_interceptor/unary",
			"TestNewClientContextInInterceptor/simple_api/*_interceptor/server_stream",
			"TestNewClientContextInInterceptor/generics_api/*_interceptor/*",
		},
		lines: []string{
			"interceptor_ext_test.go:70", "interceptor_ext_test.go:83", "interceptor_ext_test.go:137", "interceptor_ext_test.go:149",
			"interceptor_ext_test.go:279", "interceptor_ext_test.go:291", "interceptor_ext_test.go:305", "interceptor_ext_test.go:311",
			"interceptor_ext_test.go:333", "interceptor_ext_test.go:338", "interceptor_ext_test.go:342",
			"interceptor_ext_test.go:371", "interceptor_ext_test.go:383", "interceptor_ext_test.go:397", "interceptor_ext_test.go:403",
			"interceptor_ext_test.go:425", "interceptor_ext_test.go:430", "interceptor_ext_test.go:434",
		},
	},
	{
		item:   "nil",
		reason: "a handler that returns neither a response nor an error answers internal, without a panic",
		tests:  []string{"TestHandlerReturnsNilResponse"},
		lines:  []string{"connect_ext_test.go:2935"},
	},
	{
		item:   "status",
		reason: "gRPC's status is Protobuf whatever codec goes by the name of proto: a codec that fails costs no error its code",
		tests:  []string{"TestGRPCMarshalStatusError"},
		lines:  []string{"connect_ext_test.go:1187", "connect_ext_test.go:1188"},
	},
}

// Faults to mend. Items are those of issue 11; "A" is behind a middleware's writer
// that acts on trailers when it is flushed: it is not flushed after they are set.
var (
	blackBoxFaults = []difference{
		{
			item:   "6",
			reason: "client interceptors do not see the headers that the library sets",
			tests:  []string{"TestOnionOrderingEndToEnd"},
			lines:  []string{"interceptor_ext_test.go:583"},
		},
		{
			item:   "11",
			reason: "interceptors behind one that calls NewClientContext run",
			tests:  []string{"TestNewClientContextInInterceptor/*/first_interceptor/*"},
			lines: []string{
				"interceptor_ext_test.go:73", "interceptor_ext_test.go:86", "interceptor_ext_test.go:99", "interceptor_ext_test.go:112",
				"interceptor_ext_test.go:281", "interceptor_ext_test.go:293", "interceptor_ext_test.go:313", "interceptor_ext_test.go:345",
			},
		},
		{
			item:   "11",
			reason: "the conn of a call that failed forgets headers",
			tests:  []string{"TestNewClientContextInInterceptor/generics_api/*_interceptor/bidi_stream"},
			lines: []string{
				"interceptor_ext_test.go:324", "interceptor_ext_test.go:326", "interceptor_ext_test.go:328",
				"interceptor_ext_test.go:416", "interceptor_ext_test.go:418", "interceptor_ext_test.go:420",
			},
		},
		{
			item:   "11",
			reason: "a missing Grpc-Status among trailers is internal, not unknown",
			tests:  []string{"TestStreamUnexpectedEOF/*_missing_status"},
			lines:  []string{"connect_ext_test.go:3192", "connect_ext_test.go:3193"},
		},
		{
			item:   "A",
			reason: "a middleware's writer is not flushed after the trailers are set",
			tests:  []string{"TestGRPCMissingTrailersError/*"},
			lines: []string{
				"connect_ext_test.go:1232", "connect_ext_test.go:1240", "connect_ext_test.go:1247",
				"connect_ext_test.go:1255", "connect_ext_test.go:1264",
			},
		},
	}
	vanguardFaults = []difference{
		{
			item:   "5",
			reason: "an answer of one message that is not compressed names an encoding",
			tests:  []string{"TestMux_RPCxRPC/*/GetBook_success", "TestMux_RESTxRPC/*/CreateBook"},
			lines:  []string{"*"},
			some:   true,
			on:     "root", // the drop-in compresses it
		},
		{
			item:   "4",
			reason: "a Content-Length on a middleware's writer",
			tests:  []string{"TestTranscoder_BufferTooLargeFails/enveloping_writer/must_buffer_response/*"},
			lines:  []string{"*"},
		},
		{
			item:   "10",
			reason: "a Send behind a middleware's writer that fails returns nil",
			tests:  []string{"TestTranscoder_BufferTooLargeFails/transforming_writer/must_buffer_response_stream/*"},
			lines:  []string{"*"},
		},
	}
)
