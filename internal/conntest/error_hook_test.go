// SPDX-License-Identifier: Apache-2.0

// This file tests error hooks: which errors they see, and what clients get.

package conntest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// hooked records what a hook is called with.
type hooked struct {
	mu   sync.Mutex
	seen []error
	spec connect.Spec
	info bool
}

// hook returns a hook that records its error and returns what replace does.
func (h *hooked) hook(replace func(error) error) connect.HandlerOption {
	return connect.WithErrorHook(func(ctx context.Context, spec connect.Spec, err error) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		_, h.info = connect.CallInfoForHandlerContext(ctx)
		h.seen, h.spec = append(h.seen, err), spec
		return replace(err)
	})
}

// take returns the errors seen since the last take.
func (h *hooked) take() []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := h.seen
	h.seen = nil
	return seen
}

// last returns the procedure of the last call, and whether its context had a CallInfo.
func (h *hooked) last() (procedure string, info bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.spec.Procedure, h.info
}

func keep(error) error { return nil }

// A hook sees each failed call once, and its error takes the place of the call's. An
// error stays one, whatever the hook returns.
func TestErrorHook(t *testing.T) {
	cause := errors.New("password=secret")
	tests := []struct {
		name    string
		err     error // of the handler
		replace func(error) error
		options []connect.HandlerOption
		code    connect.Code
		text    string
	}{
		{name: "kept", err: cause, replace: keep, code: connect.CodeUnknown, text: "password=secret"},
		{name: "kept, safe", err: cause, replace: keep, options: []connect.HandlerOption{connect.WithSafeErrors()}, code: connect.CodeUnknown},
		{name: "replaced", err: cause, replace: func(error) error {
			return connect.NewError(connect.CodeUnavailable, errors.New("sorry")).WithDetails(durationpb.New(1))
		}, options: []connect.HandlerOption{connect.WithSafeErrors()}, code: connect.CodeUnavailable, text: "sorry"},
		{name: "replaced by a plain one, safe", err: cause, replace: func(error) error { return errors.New("secret, too") },
			options: []connect.HandlerOption{connect.WithSafeErrors()}, code: connect.CodeUnknown},
		{name: "code 0", err: cause, replace: func(error) error { return connect.NewError(0, errors.New("no code")) }, code: connect.CodeUnknown, text: "no code"},
		{name: "success", replace: func(error) error { return errors.New("never") }},
	}
	runFew(t, func(t *testing.T, m mode) {
		for _, test := range tests {
			h := new(hooked)
			client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
				if _, err := x.receiveAll(); err != nil {
					return err
				}
				if test.err != nil {
					return test.err
				}
				return x.send(new(conntestv1.Response))
			}), handlerOptions(h.hook(test.replace)), handlerOptions(test.options...)).client()
			for _, k := range m.kinds() {
				err := call(testContext(t), client, k, nil, text("x")).err
				seen := h.take()
				if test.code == 0 {
					wantNil(t, err)
					wantEqual(t, test.name+": errors that the hook saw", len(seen), 0)
					continue
				}
				wantCode(t, err, test.code)
				wantEqual(t, test.name+": message", asConnectError(t, err).Message(), test.text)
				if len(seen) != 1 || !errors.Is(seen[0], cause) {
					t.Fatalf("%s: the hook got %v, want %v once", test.name, seen, cause)
				}
				procedure, info := h.last()
				wantEqual(t, test.name+": procedure", procedure, k.procedure())
				wantEqual(t, test.name+": has CallInfo", info, true)
				_, ok := connect.DetailOf[*durationpb.Duration](err)
				wantEqual(t, test.name+": has the detail", ok, test.name == "replaced")
			}
		}
	})
}

// Hooks run in the order of their options, each with the error of the one before.
func TestErrorHooksInOrder(t *testing.T) {
	add := func(s string) connect.HandlerOption {
		return connect.WithErrorHook(func(_ context.Context, _ connect.Spec, err error) error { return fmt.Errorf("%s(%w)", s, err) })
	}
	h := new(hooked)
	handler := wireFail(connect.StreamTypeUnary, errors.New("x"), add("a"), h.hook(keep), add("b"))
	dialect := wireDialects[0]
	reply := wirePost(t, handler, dialect.contentType(connect.StreamTypeUnary, "proto"), nil)
	wantSame(t, "message", dialect.end(t, connect.StreamTypeUnary, reply).message, "b(a(x))")
	wantSame(t, "error of the second hook", fmt.Sprint(h.take()), "[a(x)]")
	defer func() {
		if got := fmt.Sprint(recover()); got != "connect: WithErrorHook needs a function" {
			t.Errorf("a nil hook: got %q", got)
		}
	}()
	connect.WithErrorHook(nil)
}

// A hook sees the errors that the library finds before interceptors and handlers run, and
// those of gates; what it returns is all that the client gets.
func TestErrorHookBeforeInterceptors(t *testing.T) {
	long := bytes.Repeat([]byte("a"), 100)
	tests := []struct {
		name   string
		header func(d wireDialect, kind connect.StreamType) []string
		body   func(d wireDialect, kind connect.StreamType) []byte
		code   connect.Code
		proto  bool // an error of Protobuf
	}{
		{name: "malformed message", code: connect.CodeInvalidArgument, proto: true,
			body: func(d wireDialect, kind connect.StreamType) []byte {
				if d.framed(kind) {
					return wireFrame(0, []byte("\xff\xff"))
				}
				return []byte("\xff\xff")
			}},
		{name: "message over the limit", code: connect.CodeResourceExhausted,
			body: func(d wireDialect, kind connect.StreamType) []byte { return d.body(kind, string(long)) }},
		{name: "unknown compression", code: connect.CodeUnimplemented,
			header: func(d wireDialect, kind connect.StreamType) []string { return []string{d.encodingHeader(kind), "lzma"} }},
		{name: "bad timeout", code: connect.CodeInvalidArgument,
			header: func(d wireDialect, _ connect.StreamType) []string {
				return []string{map[bool]string{true: "Connect-Timeout-Ms", false: "Grpc-Timeout"}[d.name == "connect"], "soon"}
			}},
		{name: "gate", code: connect.CodeUnauthenticated,
			header: func(wireDialect, connect.StreamType) []string { return []string{"Refuse", "yes"} }},
	}
	for _, test := range tests {
		wireEach(t, wireKinds, func(t *testing.T, d wireDialect, kind connect.StreamType) {
			h := new(hooked)
			gate := func(ctx context.Context, _ connect.Spec, _ connect.Peer, header http.Header) (context.Context, error) {
				if header.Get("Refuse") != "" {
					return nil, connect.NewError(connect.CodeUnauthenticated, errors.New("refused"))
				}
				return nil, nil
			}
			handler := wireEcho(kind, connect.WithReadMaxBytes(50), connect.WithRequestGate(gate), h.hook(func(error) error {
				return connect.NewError(connect.CodeAborted, errors.New("request refused"))
			}))
			body, header := d.body(kind, "hi"), []string(nil)
			if test.body != nil {
				body = test.body(d, kind)
			}
			if test.header != nil {
				header = test.header(d, kind)
			}
			end := d.end(t, kind, wirePost(t, handler, d.contentType(kind, "proto"), body, header...))
			wantEnd(t, end, connect.CodeAborted)
			wantSame(t, "message", end.message, "request refused")
			seen := h.take()
			if len(seen) != 1 || connect.CodeOf(seen[0]) != test.code || errors.Is(seen[0], proto.Error) != test.proto {
				t.Errorf("the hook got %v, want one error with %v", seen, test.code)
			}
		})
	}
}

// What is no call has no hook: the answers are plain HTTP.
func TestErrorHookIsForCalls(t *testing.T) {
	h := new(hooked)
	option := h.hook(func(error) error { return connect.NewError(connect.CodeAborted, nil) })
	unary, bidi := wireEcho(connect.StreamTypeUnary, option), wireEcho(connect.StreamTypeBidi, option)
	for name, c := range map[string]struct {
		handler http.Handler
		ask     wireAsk
		status  int
	}{
		"method":       {unary, wireAsk{method: http.MethodPut}, http.StatusMethodNotAllowed},
		"content type": {unary, wireAsk{header: wireHeader("Content-Type", "text/plain")}, http.StatusUnsupportedMediaType},
		"HTTP/1.1":     {bidi, wireAsk{header: wireHeader("Content-Type", "application/connect+proto"), http1: true}, http.StatusHTTPVersionNotSupported},
		"unknown path": {connect.NewUnknownProcedureHandler(option), wireAsk{method: http.MethodGet}, http.StatusNotFound},
	} {
		wantSame(t, name, c.ask.ask(t, c.handler).status, c.status)
		wantSame(t, name+": errors that the hook saw", len(h.take()), 0)
	}
}

// An ErrorWriter and the handler of unknown procedures call the hooks of their options.
func TestErrorHookOfWriters(t *testing.T) {
	for _, d := range wireDialects {
		for _, kind := range wireKinds {
			h := new(hooked)
			option := h.hook(func(err error) error {
				if connect.CodeOf(err) == connect.CodeUnimplemented {
					return connect.NewError(connect.CodeUnimplemented, errors.New("no"))
				}
				return nil
			})
			writer := connect.NewErrorWriter(option, connect.WithSafeErrors())
			for name, c := range map[string]struct {
				handler http.Handler
				code    connect.Code
				text    string
				saw     string
			}{
				"writer": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_ = writer.Write(w, r, errors.New("secret"))
				}), connect.CodeUnknown, "", "secret"},
				"writer, nil": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_ = writer.Write(w, r, nil)
				}), connect.CodeUnknown, "no error was given", "no error was given"},
				"unknown": {connect.NewUnknownProcedureHandler(option), connect.CodeUnimplemented, "no", wireProcedure + " is not a procedure"},
				"unknown, other code": {connect.NewUnknownProcedureHandler(connect.WithErrorHook(func(ctx context.Context, spec connect.Spec, err error) error {
					h.mu.Lock()
					h.seen, h.spec = append(h.seen, err), spec
					h.mu.Unlock()
					return connect.NewError(connect.CodePermissionDenied, errors.New("go away"))
				})), connect.CodePermissionDenied, "go away", wireProcedure + " is not a procedure"},
			} {
				reply := wirePost(t, c.handler, d.contentType(kind, "proto"), d.body(kind, "hi"))
				where := d.name + "/" + kind.String() + "/" + name
				if d.name == "connect" && strings.HasPrefix(name, "unknown") {
					wantSame(t, where+": HTTP status", reply.status, map[connect.Code]int{
						connect.CodeUnimplemented: 404, connect.CodePermissionDenied: map[bool]int{true: 200, false: 403}[d.framed(kind)],
					}[c.code])
				}
				if d.name != "connect" || !d.framed(kind) || c.code != connect.CodeUnimplemented { // that one is JSON without a frame
					end := d.end(t, kind, reply)
					wantEnd(t, end, c.code)
					wantSame(t, where, end.message, c.text)
				} else {
					wantContains(t, where, string(reply.body), c.text)
				}
				seen := h.take()
				if len(seen) != 1 || !strings.Contains(seen[0].Error(), c.saw) {
					t.Errorf("%s: the hook got %v, want one error with %q", where, seen, c.saw)
				}
				procedure, _ := h.last()
				wantSame(t, where+": procedure", procedure, wireProcedure)
			}
		}
	}
}

// A panic of a hook is one of the handler: net/http cuts the call, and nothing hangs.
func TestErrorHookPanics(t *testing.T) {
	for _, kind := range wireKinds {
		handler := wireFail(kind, errors.New("x"), connect.WithErrorHook(func(context.Context, connect.Spec, error) error {
			panic(http.ErrAbortHandler)
		}))
		d := wireDialects[0]
		func() {
			defer func() {
				if got := recover(); got != http.ErrAbortHandler {
					t.Errorf("%v: got %v, want the hook's panic", kind, got)
				}
			}()
			r := httptest.NewRequest(http.MethodPost, wireProcedure, bytes.NewReader(d.body(kind, "hi")))
			r.ProtoMajor = 2
			r.Header.Set("Content-Type", d.contentType(kind, "proto"))
			handler.ServeHTTP(httptest.NewRecorder(), r)
		}()
	}
}

// A new error of the program's is sent whole, whatever it wraps, and so is one that a hook
// makes of a received one.
func TestForeignErrorsPassedOn(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		own := connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("the account: %w", foreignCases[0].call(t, m, unary)))
		hook := connect.WithErrorHook(func(_ context.Context, _ connect.Spec, err error) error {
			if e, ok := errors.AsType[*connect.Error](err); ok && connect.IsWireError(err) {
				return connect.NewError(e.Code(), errors.New(e.Message()))
			}
			return nil
		})
		received := connect.NewWireError(connect.CodeNotFound, errors.New("by another way"))
		for _, test := range []struct {
			err  error
			code connect.Code
			text string
		}{
			{own, connect.CodeFailedPrecondition, "the account: permission_denied: secret of the backend"},
			{received, connect.CodeNotFound, "by another way"},
		} {
			client := m.serve(t, everyKind(func(context.Context, *exchange) error { return test.err }), handlerOptions(connect.WithSafeErrors(), hook)).client()
			err := call(testContext(t), client, unary, nil, text("x")).err
			wantCode(t, err, test.code)
			wantEqual(t, "message", asConnectError(t, err).Message(), test.text)
		}
	})
}
