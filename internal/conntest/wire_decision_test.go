// SPDX-License-Identifier: Apache-2.0

// This file tests the decisions that the checklist does not number.

package conntest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
)

// A handler that returns neither response nor error, and a call without a request, are errors and no panics.
func TestDecision_NilNil(t *testing.T) {
	handlers := map[connect.StreamType]http.Handler{
		connect.StreamTypeUnary: connect.NewUnaryHandler(wireProcedure,
			func(context.Context, *connect.Request[wireText]) (*connect.Response[wireText], error) {
				return nil, nil
			}),
		connect.StreamTypeClient: connect.NewClientStreamHandler(wireProcedure,
			func(context.Context, *connect.ClientStream[wireText]) (*connect.Response[wireText], error) {
				return nil, nil
			}),
	}
	wireEach(t, []connect.StreamType{connect.StreamTypeUnary, connect.StreamTypeClient}, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		reply := wirePost(t, handlers[kind], dialect.contentType(kind, "proto"), dialect.body(kind, "hi"))
		end := dialect.end(t, kind, reply)
		wantEnd(t, end, connect.CodeInternal)
		wantContains(t, "message", end.message, wireProcedure)
	})
	for _, dialect := range wireDialects {
		t.Run(dialect.name+"/client", func(t *testing.T) {
			sent := 0
			client := connect.NewClient[wireText, wireText](wireScript(func(req *http.Request) (*http.Response, error) {
				sent++
				return nil, errors.New("sent")
			}), wireStub, dialect.client...)
			_, err := client.CallUnary(t.Context(), nil)
			wantFault(t, err, connect.CodeInvalidArgument)
			_, err = client.CallServerStream(t.Context(), nil)
			wantFault(t, err, connect.CodeInvalidArgument)
			wantSame(t, "HTTP requests", sent, 0)
		})
	}
}

// An unknown procedure is answered in the protocol of the caller.
func TestDecision_UnknownProcedure(t *testing.T) {
	handler := connect.NewUnknownProcedureHandler()
	connectError := func(t *testing.T, reply wireReply) {
		t.Helper()
		wantSame(t, "HTTP status", reply.status, http.StatusNotFound)
		wantSame(t, "Content-Type", reply.header.Get("Content-Type"), "application/json")
		var wire wireError
		if err := json.Unmarshal(reply.body, &wire); err != nil {
			t.Fatalf("body %q: %v", reply.body, err)
		}
		wantSame(t, "code", wire.Code, "unimplemented")
		wantContains(t, "message", wire.Message, wireProcedure)
	}
	for _, codec := range []string{"proto", "json"} {
		for _, kind := range wireKinds {
			t.Run("connect/"+kind.String()+"/"+codec, func(t *testing.T) {
				connectError(t, wirePost(t, handler, wireConnect.contentType(kind, codec), []byte(`"hi"`)))
			})
		}
		for _, dialect := range wireGRPCs {
			t.Run(dialect.name+"/"+codec, func(t *testing.T) {
				contentType := dialect.contentType(connect.StreamTypeUnary, codec)
				for _, name := range []string{contentType, strings.TrimSuffix(contentType, "+proto")} {
					reply := wirePost(t, handler, name, wireMessages("hi"))
					wantSame(t, "HTTP status", reply.status, 200)
					if got := reply.header.Get("Content-Type"); !strings.HasPrefix(got, strings.TrimSuffix(contentType, "+"+codec)) {
						t.Errorf("Content-Type: got %q, want that of the request, %q", got, name)
					}
					end := dialect.end(t, connect.StreamTypeUnary, reply)
					wantEnd(t, end, connect.CodeUnimplemented)
					wantContains(t, "message", end.message, wireProcedure)
				}
			})
		}
	}
	t.Run("connect/GET", func(t *testing.T) {
		connectError(t, wireAsk{method: "GET", target: wireProcedure + "?connect=v1&encoding=json&message=%22hi%22"}.ask(t, handler))
	})
	for name, ask := range map[string]wireAsk{
		"browser":  {method: "GET", header: wireHeader("Accept", "text/html")},
		"form":     {header: wireHeader("Content-Type", "application/x-www-form-urlencoded"), body: strings.NewReader("a=b")},
		"no type":  {body: strings.NewReader("x")},
		"PUT":      {method: "PUT", header: wireHeader("Content-Type", "text/plain"), body: strings.NewReader("x")},
		"over 1.1": {method: "GET", http1: true},
	} {
		t.Run("other/"+name, func(t *testing.T) {
			wantSame(t, "HTTP status", ask.ask(t, handler).status, http.StatusNotFound)
		})
	}
	t.Run("endless", func(t *testing.T) {
		for _, dialect := range wireDialects {
			body := &endlessBody{}
			serveDirect(handler, dialect.contentType(connect.StreamTypeUnary, "proto"), body)
			if got := body.read.Load(); got > wireDrain+wireBuffer {
				t.Errorf("%s: read %d bytes of the request, want at most %d", dialect.name, got, wireDrain+wireBuffer)
			}
		}
	})
}

// Without the option the text of a plain error is sent; with it only the code is, and interceptors see everything.
func TestDecision_PlainErrors(t *testing.T) {
	const secret = "dial tcp 10.1.2.3:5432: password rejected"
	for _, test := range []struct {
		err     error
		code    connect.Code
		message string // with the option
	}{
		{errors.New(secret), connect.CodeUnknown, ""},
		{fmt.Errorf("wrapped: %w", errors.New(secret)), connect.CodeUnknown, ""},
		{fmt.Errorf(secret+": %w", context.Canceled), connect.CodeCanceled, ""},
		{fmt.Errorf(secret+": %w", context.DeadlineExceeded), connect.CodeDeadlineExceeded, ""},
		{connect.NewError(connect.CodeAborted, errors.New("meant for the caller")), connect.CodeAborted, "meant for the caller"},
		{fmt.Errorf(secret+": %w", connect.NewError(connect.CodeAborted, errors.New("meant for the caller"))), connect.CodeAborted, "meant for the caller"},
	} {
		wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
			send := func(options ...connect.HandlerOption) (wireReply, wireEnd) {
				reply := wirePost(t, wireFail(kind, test.err, options...), dialect.contentType(kind, "proto"), dialect.body(kind, "hi"))
				return reply, dialect.end(t, kind, reply)
			}
			_, end := send()
			wantEnd(t, end, test.code)
			if test.message == "" {
				wantSame(t, "message without the option", end.message, test.err.Error())
			}

			var seen error
			watch := connect.WithInterceptors(errorWatch{&seen})
			reply, end := send(connect.WithSafeErrors(), watch)
			wantEnd(t, end, test.code)
			wantSame(t, "message with the option", end.message, test.message)
			everything := fmt.Sprint(reply.header, reply.trailer, string(reply.body))
			if strings.Contains(everything, "10.1.2.3") || strings.Contains(everything, "wrapped") {
				t.Errorf("response: got %s, want nothing of the cause in it", everything)
			}
			if seen == nil || seen.Error() != test.err.Error() {
				t.Errorf("error in the interceptor: got %v, want %v", seen, test.err)
			}
		})
	}
}

// errorWatch keeps the error that a handler returns.
type errorWatch struct{ seen *error }

func (w errorWatch) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		res, err := next(ctx, req)
		*w.seen = err
		return res, err
	}
}

func (w errorWatch) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (w errorWatch) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		err := next(ctx, conn)
		*w.seen = err
		return err
	}
}

// Without an option, both sides take messages of up to 16 MiB; 0 means no limit.
func TestDecision_ReceiveLimit(t *testing.T) {
	const limit = 16 << 20
	// Tag, four bytes of length: the message has 5 bytes more than its text.
	equal, more := strings.Repeat("a", limit-5), strings.Repeat("a", limit-4)
	wantSame(t, "size of the message", len(wireProto(equal)), limit)
	wantSame(t, "size of the larger message", len(wireProto(more)), limit+1)
	sink := func(options ...connect.HandlerOption) http.Handler {
		return wireHandler(connect.StreamTypeUnary, func(_ context.Context, call *wireCall) error {
			text, err := call.receive()
			if err != nil {
				return err
			}
			return call.send(strconv.Itoa(len(text)))
		}, options...)
	}
	kind := connect.StreamTypeUnary
	for _, dialect := range wireDialects {
		t.Run(dialect.name, func(t *testing.T) {
			ask := func(text string, options ...connect.HandlerOption) wireEnd {
				return dialect.end(t, kind, wirePost(t, sink(options...), dialect.contentType(kind, "proto"), dialect.body(kind, text)))
			}
			end := ask(equal)
			wantEnd(t, end, 0)
			wantTexts(t, end.texts(t), strconv.Itoa(len(equal)))
			wantEnd(t, ask(more), connect.CodeResourceExhausted)
			end = ask(more, connect.WithReadMaxBytes(0))
			wantEnd(t, end, 0)
			wantTexts(t, end.texts(t), strconv.Itoa(len(more)))

			call := func(text string, options ...connect.ClientOption) wireOutcome {
				return dialect.call(t, kind, dialect.answer(kind, text), options...)
			}
			out := call(equal)
			if out.err != nil {
				t.Fatal(out.err)
			}
			wantSame(t, "text received", len(out.texts[0]), len(equal))
			wantFault(t, call(more).err, connect.CodeResourceExhausted)
			out = call(more, connect.WithReadMaxBytes(0))
			if out.err != nil {
				t.Fatal(out.err)
			}
			wantSame(t, "text received without a limit", len(out.texts[0]), len(more))
		})
	}
	// Streams are limited message by message, from the prefix.
	over := []byte{0, 0x01, 0, 0, 0x01}
	wireEach(t, wireKinds[1:], func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		reply := wirePost(t, wireEcho(kind), dialect.contentType(kind, "proto"), over)
		wantEnd(t, dialect.end(t, kind, reply), connect.CodeResourceExhausted)
		out := dialect.call(t, kind, dialect.raw(kind, over))
		wantFault(t, out.err, connect.CodeResourceExhausted)
		// Without a limit the same bytes are only cut off.
		reply = wirePost(t, wireEcho(kind, connect.WithReadMaxBytes(0)), dialect.contentType(kind, "proto"), over)
		wantEnd(t, dialect.end(t, kind, reply), connect.CodeInternal)
	})
}
