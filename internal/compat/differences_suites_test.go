// SPDX-License-Identifier: Apache-2.0

// This file lists the tests of published suites that fail on the library, where, and why.

package compat

// blackBoxDifferences are intended: these tests of the reference compare the text of
// an error, which is for people, or contradict a decision of this library.
var blackBoxDifferences = []difference{
	{
		item:   "text",
		row:    rowText,
		reason: "a message over the limit: the text",
		tests:  []string{"TestHandlerWithReadMaxBytes/*/read_max_plus_one"},
		lines:  []string{"connect_ext_test.go:1628"},
	},
	{
		item:   "text",
		row:    rowText,
		reason: "a message over the limit: the text",
		tests:  []string{"TestHandlerWithReadMaxBytes/*/read_max_large"},
		lines:  []string{"connect_ext_test.go:1646"},
	},
	{
		item:   "text",
		row:    rowText,
		reason: "a message over the limit: the text",
		tests:  []string{"TestClientWithReadMaxBytes/*/read_max_plus_one"},
		lines:  []string{"connect_ext_test.go:1809"},
	},
	{
		item:   "text",
		row:    rowText,
		reason: "a message over the limit: the text",
		tests:  []string{"TestClientWithReadMaxBytes/*/read_max_large"},
		lines:  []string{"connect_ext_test.go:1828"},
	},
	{
		item:   "text",
		row:    rowText,
		reason: "an error's body over the limit: the text",
		tests:  []string{"TestClientWithReadMaxBytesUnaryError/over_read_max"},
		lines:  []string{"connect_ext_test.go:1884"},
	},
	{
		item:   "text",
		row:    rowText,
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
		row:    rowText,
		reason: "a message over the limit for sending: the text, which has the length before compression",
		tests:  []string{"TestHandlerWithSendMaxBytes/*_gzip/send_max_large"},
		lines:  []string{"connect_ext_test.go:1995"},
	},
	{
		item:   "text",
		row:    rowText,
		reason: "a message over the limit for sending: the text",
		tests:  []string{"TestHandlerWithSendMaxBytes/*/send_max_large"},
		except: []string{"*_gzip/send_max_large"},
		lines:  []string{"connect_ext_test.go:1997"},
	},
	{
		item:   "text",
		row:    rowText,
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
		row:    rowText,
		reason: "a message over the limit for sending: the text, which has the length before compression",
		tests:  []string{"TestClientWithSendMaxBytes/*_gzip/send_max_large"},
		lines:  []string{"connect_ext_test.go:2238"},
	},
	{
		item:   "text",
		row:    rowText,
		reason: "a message over the limit for sending: the text",
		tests:  []string{"TestClientWithSendMaxBytes/*/send_max_large"},
		except: []string{"*_gzip/send_max_large"},
		lines:  []string{"connect_ext_test.go:2240"},
	},
	{
		item:   "text",
		row:    rowText,
		reason: "HTTP/1.1 under a bidi stream: the text",
		tests:  []string{"TestBidiRequiresHTTP2"},
		lines:  []string{"connect_ext_test.go:1306"},
	},
	{
		item:   "text",
		row:    rowText,
		reason: "HTTP/1.1 under a bidi stream, refused by the server: the text names the ways to HTTP/2",
		tests:  []string{"TestBidiOverHTTP1"},
		lines:  []string{"connect_ext_test.go:2892"},
	},
	{
		item:   "text",
		row:    rowText,
		reason: "a response of another type from an interceptor: the text",
		tests:  []string{"TestInterceptorReturnsWrongType"},
		lines:  []string{"connect_ext_test.go:1589"},
	},
	{
		item:   "text",
		row:    rowText,
		reason: "a writer that cannot flush: the text names its type, and where a Flush was looked for",
		tests:  []string{"TestUnflushableResponseWriter/*"},
		lines:  []string{"connect_ext_test.go:2666"},
	},
	{
		item:   "text",
		row:    rowText,
		reason: "a stream that ends early or late: the text says how far it came",
		tests: []string{
			"TestStreamUnexpectedEOF/*_partial_frame",
			"TestStreamUnexpectedEOF/*_partial_payload",
			"TestStreamUnexpectedEOF/*_excess_eof",
			"TestStreamUnexpectedEOF/connect_missing_end",
		},
		lines: []string{"connect_ext_test.go:3193"},
	},
	{
		item:   "text",
		row:    rowText,
		reason: "an unknown compression: the text says how to make it known",
		tests:  []string{"TestNewClient_InitFailure/*"},
		lines:  []string{"client_ext_test.go:66", "client_ext_test.go:75", "client_ext_test.go:84", "client_ext_test.go:90"},
	},
	{
		item:   "text",
		row:    rowText,
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
		row:    "`nil` as a request, or as a response without an error",
		on:     "root",
		reason: "a handler that returns neither a response nor an error answers internal, without a panic",
		tests:  []string{"TestHandlerReturnsNilResponse"},
		lines:  []string{"connect_ext_test.go:2935"},
	},
	{
		item:   "status",
		row:    "gRPC's status where a codec of the program is called `proto`",
		on:     "root",
		reason: "gRPC's status is Protobuf whatever codec goes by the name of proto: a codec that fails costs no error its code",
		tests:  []string{"TestGRPCMarshalStatusError"},
		lines:  []string{"connect_ext_test.go:1187", "connect_ext_test.go:1188"},
	},
}
