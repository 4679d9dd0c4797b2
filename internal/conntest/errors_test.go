// SPDX-License-Identifier: Apache-2.0

// This file tests how the errors of handlers arrive at clients.

package conntest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// awkward is a message that no protocol can carry without encoding.
const awkward = "nöt 100%25, \"quoted\"\nsecond line\t\u2028 \\"

func TestErrorWithDetails(t *testing.T) {
	details := []proto.Message{
		durationpb.New(90 * time.Second),
		&conntestv1.Failure{Message: "a message of the application"},
		durationpb.New(0),
	}
	for _, test := range []struct {
		name     string
		messages int // that precede the error
	}{
		{"before messages", 0},
		{"after messages", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, func(t *testing.T, m mode) {
				client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
					if _, err := x.receiveAll(); err != nil {
						return err
					}
					merge(x.answer, metadata("Answer"))
					merge(x.trailer, metadata("Trailing"))
					for range test.messages {
						if err := x.send(text2("hello")); err != nil {
							return err
						}
					}
					err := connect.NewError(connect.CodeResourceExhausted, errors.New(awkward))
					merge(err.Meta(), metadata("Failed"))
					for _, d := range details {
						detail, e := connect.NewErrorDetail(d)
						if e != nil {
							return e
						}
						err.AddDetail(detail)
					}
					return err
				})).client()
				forKinds(t, m, func(t *testing.T, k kind) {
					o := call(testContext(t), client, k, nil, text("fail"))
					wantCode(t, o.err, connect.CodeResourceExhausted)
					if k.receivesMany() {
						wantEqual(t, "messages", len(o.messages), test.messages)
					}
					var err *connect.Error
					errors.As(o.err, &err)
					wantEqual(t, "message", err.Message(), awkward)
					wantEqual(t, "error text", err.Error(), "resource_exhausted: "+awkward)
					wantEqual(t, "is a wire error", connect.IsWireError(o.err), true)
					wantEqual(t, "details", len(err.Details()), len(details))
					for i, d := range err.Details() {
						got, e := d.Value()
						wantNil(t, e)
						if !proto.Equal(got, details[i]) {
							t.Fatalf("detail %d: got %v, want %v", i, got, details[i])
						}
						wantEqual(t, "detail type", d.Type(), string(details[i].ProtoReflect().Descriptor().FullName()))
					}
					wantMetadata(t, "error metadata", err.Meta(), "Failed")
					if k.receivesMany() {
						// A stream's handler owns its metadata, error or not.
						wantMetadata(t, "error metadata", err.Meta(), "Trailing")
						wantMetadata(t, "response header", o.header, "Answer")
					}
				})
			})
		})
	}
}

// text2 makes a response that carries a string.
func text2(s string) *conntestv1.Response { return &conntestv1.Response{Text: s} }

var allCodes = []connect.Code{
	connect.CodeCanceled, connect.CodeUnknown, connect.CodeInvalidArgument, connect.CodeDeadlineExceeded,
	connect.CodeNotFound, connect.CodeAlreadyExists, connect.CodePermissionDenied, connect.CodeResourceExhausted,
	connect.CodeFailedPrecondition, connect.CodeAborted, connect.CodeOutOfRange, connect.CodeUnimplemented,
	connect.CodeInternal, connect.CodeUnavailable, connect.CodeDataLoss, connect.CodeUnauthenticated,
}

func TestAllCodes(t *testing.T) {
	wantEqual(t, "codes", len(allCodes), 16)
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, echo).client()
		forKinds(t, m, func(t *testing.T, k kind) {
			for _, code := range allCodes {
				o := call(testContext(t), client, k, nil, &conntestv1.Request{
					Failure: &conntestv1.Failure{Code: uint32(code), Message: code.String() + " it is"},
				})
				wantCode(t, o.err, code)
				var err *connect.Error
				errors.As(o.err, &err)
				wantEqual(t, "message", err.Message(), code.String()+" it is")
				wantEqual(t, "is a wire error", connect.IsWireError(o.err), true)
				wantEqual(t, "details", len(err.Details()), 0)
			}
		})
	})
}

// An error that is not a *connect.Error gets a code too (checklist item 54).
func TestErrorsOfOtherTypes(t *testing.T) {
	wrapped := func(err error) error { return fmt.Errorf("looking it up: %w", err) }
	tests := []struct {
		name string
		err  error
		code connect.Code
		text string
	}{
		{"plain", errors.New("no luck"), connect.CodeUnknown, "no luck"},
		{"empty", errors.New(""), connect.CodeUnknown, ""},
		{"canceled", context.Canceled, connect.CodeCanceled, "context canceled"},
		{"wrapped canceled", wrapped(context.Canceled), connect.CodeCanceled, "context canceled"},
		{"deadline", context.DeadlineExceeded, connect.CodeDeadlineExceeded, "context deadline exceeded"},
		{"wrapped deadline", wrapped(context.DeadlineExceeded), connect.CodeDeadlineExceeded, "context deadline exceeded"},
		{"wrapped error", wrapped(connect.NewError(connect.CodeAborted, errors.New("lost"))), connect.CodeAborted, "lost"},
		{"no cause", connect.NewError(connect.CodeDataLoss, nil), connect.CodeDataLoss, ""},
	}
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			requests, err := x.receiveAll()
			if err != nil {
				return err
			}
			return tests[requests[0].GetCount()].err
		})).client()
		for i, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				for _, k := range m.kinds() {
					o := call(testContext(t), client, k, nil, &conntestv1.Request{Count: int32(i)})
					wantCode(t, o.err, test.code)
					if got := o.err.Error(); !strings.Contains(got, test.text) {
						t.Fatalf("%s: got %q, want it to contain %q", k, got, test.text)
					}
				}
			})
		}
	})
}

// With WithSafeErrors the text of errors that were not made for clients stays
// on the server; their code is the same, and interceptors see all.
func TestSafeErrors(t *testing.T) {
	tests := []struct {
		name string
		err  error
		code connect.Code
		text string
	}{
		{"plain", errors.New("password=secret"), connect.CodeUnknown, ""},
		{"deadline", fmt.Errorf("secret: %w", context.DeadlineExceeded), connect.CodeDeadlineExceeded, ""},
		{"coded", connect.NewError(connect.CodeNotFound, errors.New("for everybody")), connect.CodeNotFound, "for everybody"},
		{"wrapped", fmt.Errorf("secret: %w", connect.NewError(connect.CodeNotFound, errors.New("for everybody"))), connect.CodeNotFound, "for everybody"},
	}
	runFew(t, func(t *testing.T, m mode) {
		var mu sync.Mutex
		var seen error
		see := func(err error) {
			mu.Lock()
			seen = err
			mu.Unlock()
		}
		watching := interceptor{
			unary: func(next connect.UnaryFunc) connect.UnaryFunc {
				return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
					answer, err := next(ctx, r)
					see(err)
					return answer, err
				}
			},
			handler: func(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
				return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
					err := next(ctx, conn)
					see(err)
					return err
				}
			},
		}
		for _, test := range tests {
			client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
				if _, err := x.receiveAll(); err != nil {
					return err
				}
				return test.err
			}), handlerOptions(connect.WithSafeErrors(), connect.WithInterceptors(watching))).client()
			for _, k := range m.kinds() {
				err := call(testContext(t), client, k, nil, text("x")).err
				wantCode(t, err, test.code)
				var coded *connect.Error
				errors.As(err, &coded)
				wantEqual(t, test.name+": message", coded.Message(), test.text)
				mu.Lock()
				got := seen
				mu.Unlock()
				if !errors.Is(got, test.err) {
					t.Fatalf("%s: the interceptor got %v, want %v", test.name, got, test.err)
				}
			}
		}
	})
}

// An error that a handler got from another server keeps its code, text and details,
// but not that server's metadata (checklist item 52).
func TestWireErrorsKeepTheirMetadata(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			if _, err := x.receiveAll(); err != nil {
				return err
			}
			err := connect.NewWireError(connect.CodeNotFound, errors.New("downstream"))
			err.Meta().Set("Secret", "downstream's")
			return err
		})).client()
		forKinds(t, m, func(t *testing.T, k kind) {
			o := call(testContext(t), client, k, nil, text("x"))
			wantCode(t, o.err, connect.CodeNotFound)
			var err *connect.Error
			errors.As(o.err, &err)
			wantEqual(t, "message", err.Message(), "downstream")
			wantValues(t, "error metadata", err.Meta(), "Secret")
		})
	})
}

// Metadata of an error cannot overwrite the protocol's own headers (item 51).
func TestErrorMetadataCannotBreakTheProtocol(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			if _, err := x.receiveAll(); err != nil {
				return err
			}
			err := connect.NewError(connect.CodeNotFound, errors.New("not here"))
			for key, value := range map[string]string{
				"Content-Type": "text/html", "Content-Length": "1", "Content-Encoding": "br",
				"Grpc-Status": "0", "Grpc-Message": "fine", "Trailer": "X", "Transfer-Encoding": "chunked",
				"Keep-Alive": "timeout=1", "Upgrade": "other",
				"Connect-Content-Encoding": "br", "Grpc-Encoding": "br",
			} {
				err.Meta().Set(key, value)
			}
			err.Meta().Set("Kept", "yes")
			return err
		})).client()
		forKinds(t, m, func(t *testing.T, k kind) {
			o := call(testContext(t), client, k, nil, text("x"))
			wantCode(t, o.err, connect.CodeNotFound)
			var err *connect.Error
			errors.As(o.err, &err)
			wantEqual(t, "message", err.Message(), "not here")
			wantValues(t, "error metadata", err.Meta(), "Kept", "yes")
		})
	})
}

// If a handler returns neither a response nor an error, the call fails, and the
// message names the procedure.
func TestNilResponse(t *testing.T) {
	nothing := func(context.Context, *request) (*response, error) { return nil, nil }
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, handlers{
			unary: nothing,
			get:   nothing,
			clientStream: func(context.Context, *connect.ClientStream[conntestv1.Request]) (*response, error) {
				return nil, nil
			},
		}).client()
		for _, k := range []kind{unary, get, clientStream} {
			t.Run(string(k), func(t *testing.T) {
				o := call(testContext(t), client, k, nil, text("x"))
				wantCode(t, o.err, connect.CodeInternal)
				if got := o.err.Error(); !strings.Contains(got, k.procedure()) {
					t.Fatalf("got %q, want it to name %s", got, k.procedure())
				}
			})
		}
	})
}

// A call without a request fails, and the client sends nothing.
func TestNilRequest(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		site := m.serve(t, echo)
		client := site.clientOn(doerFunc(func(r *http.Request) (*http.Response, error) {
			t.Errorf("sent %s %s", r.Method, r.URL)
			return site.httpClient().Do(r)
		}))
		ctx := testContext(t)
		_, err := client.Unary(ctx, nil)
		wantCode(t, err, connect.CodeInvalidArgument)
		_, err = client.Get(ctx, nil)
		wantCode(t, err, connect.CodeInvalidArgument)
		stream, err := client.ServerStream(ctx, nil)
		wantCode(t, err, connect.CodeInvalidArgument)
		if stream != nil {
			t.Fatal("got a stream and an error")
		}
	})
}

// doerFunc is an HTTP client made of a function.
type doerFunc func(*http.Request) (*http.Response, error)

func (f doerFunc) Do(r *http.Request) (*http.Response, error) { return f(r) }

// An HTTP client that fails makes the call fail with unavailable, whatever the
// kind; its error stays reachable.
func TestTransportErrors(t *testing.T) {
	broken := errors.New("the cable is cut")
	runFew(t, func(t *testing.T, m mode) {
		site := m.serve(t, echo)
		client := site.clientOn(doerFunc(func(*http.Request) (*http.Response, error) { return nil, broken }))
		for _, k := range allKinds {
			o := call(testContext(t), client, k, nil, text("x"))
			wantCode(t, o.err, connect.CodeUnavailable)
			if !errors.Is(o.err, broken) {
				t.Fatalf("%s: got %v, want an error that wraps %v", k, o.err, broken)
			}
			wantEqual(t, "is a wire error", connect.IsWireError(o.err), false)
		}
	})
}

// A message that its codec cannot encode fails the call on the side that sends
// it, and only that call.
func TestUnencodableMessages(t *testing.T) {
	bad := "\xff is not UTF-8"
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			if _, err := x.receiveAll(); err != nil {
				return err
			}
			return x.send(text2(bad))
		})).client()
		forKinds(t, m, func(t *testing.T, k kind) {
			// The code of a message that cannot be sent is internal: the peer
			// cannot be at fault.
			o := call(testContext(t), client, k, nil, text("fine"))
			wantCode(t, o.err, connect.CodeInternal)
			if k.sendsMany() {
				return // call reports what the server saw
			}
			o = call(testContext(t), client, k, nil, text(bad))
			wantCode(t, o.err, connect.CodeInternal)
		})
	}, func(m mode) bool { return m.codec == "proto" || m.codec == "json" })
}

// An error of the transport does not hold the URL: a URL may hold the message and
// tokens, and programs log errors.
func TestErrorsDoNotTellURLs(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		s := m.serve(t, echo, alone)
		s.close()
		options := m.clientOptions(connect.WithHTTPGet(), connect.WithIdempotency(connect.IdempotencyNoSideEffects))
		client := connect.NewClient[conntestv1.Request, conntestv1.Response](
			s.httpClient(), s.url+conntestv1connect.TestServiceGetProcedure+"?token=secret", options...)
		_, unaryErr := client.CallUnary(testContext(t), requestOf("secret"))
		stream, streamErr := client.CallServerStream(testContext(t), requestOf("secret"))
		if streamErr == nil {
			stream.Receive()
			streamErr = stream.Err()
			stream.Close()
		}
		for _, err := range []error{unaryErr, streamErr} {
			wantCode(t, err, connect.CodeUnavailable)
			var named *url.Error
			if text := err.Error(); strings.Contains(text, "secret") || strings.Contains(text, "://") || strings.Contains(text, "message=") || errors.As(err, &named) {
				t.Errorf("got %q, want no URL in it", text)
			}
		}
	}, overNetwork) // a handler in the same process cannot be out of reach
}

// Metadata of an error that HTTP forbids in trailers arrives as long as nothing was
// sent.
func TestErrorMetadataForbiddenInTrailers(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		challenge := http.Header{"Www-Authenticate": {`Basic realm="a"`, "Bearer"}, "Cache-Control": {"no-store"}, "Proxy-Authenticate": {"Basic"}}
		client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			if x.header.Get("Answer") != "" {
				x.answer.Set("Answer", "yes")
			}
			err := connect.NewError(connect.CodeUnauthenticated, errors.New("sign in"))
			merge(err.Meta(), challenge)
			return err
		})).client()
		forKinds(t, m, func(t *testing.T, k kind) {
			for _, asked := range []http.Header{nil, {"Answer": {"yes"}}} {
				o := call(testContext(t), client, k, asked, text("x"))
				wantCode(t, o.err, connect.CodeUnauthenticated)
				var err *connect.Error
				errors.As(o.err, &err)
				for key, values := range challenge {
					wantValues(t, "error metadata", err.Meta(), key, values...)
				}
			}
		})
	})
}

// A received error unwraps to one, also without a message.
func TestErrorWithoutMessageUnwraps(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, everyKind(func(context.Context, *exchange) error { return connect.NewError(connect.CodeNotFound, nil) })).client()
		forKinds(t, m, func(t *testing.T, k kind) {
			o := call(testContext(t), client, k, nil, text("x"))
			wantCode(t, o.err, connect.CodeNotFound)
			var err *connect.Error
			errors.As(o.err, &err)
			if err.Unwrap() == nil || err.Message() != "" {
				t.Errorf("got message %q of %v, want an error without text", err.Message(), err.Unwrap())
			}
		})
	})
}

// A text that is not UTF-8 travels as U+FFFD, and costs neither the code nor the
// details.
func TestErrorTextThatIsNotUTF8(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			err := connect.NewError(connect.CodeDataLoss, errors.New("a\xff\xfeb\xc3"))
			detail, failed := connect.NewErrorDetail(durationpb.New(time.Second))
			if failed != nil {
				return failed
			}
			if x.header.Get("Detail") != "" {
				err.AddDetail(detail)
			}
			return err
		})).client()
		forKinds(t, m, func(t *testing.T, k kind) {
			for want, asked := range []http.Header{nil, {"Detail": {"yes"}}} {
				o := call(testContext(t), client, k, asked, text("x"))
				wantCode(t, o.err, connect.CodeDataLoss)
				var err *connect.Error
				errors.As(o.err, &err)
				wantEqual(t, "message", err.Message(), "a\uFFFD\uFFFDb\uFFFD")
				wantEqual(t, "details", len(err.Details()), want)
			}
		})
	})
}

// A request without a body is one of no bytes.
func TestNilBody(t *testing.T) {
	_, handler := conntestv1connect.NewTestServiceHandler(echo)
	for contentType, procedure := range map[string]string{
		"application/proto":          conntestv1connect.TestServiceUnaryProcedure,
		"application/json":           conntestv1connect.TestServiceUnaryProcedure,
		"application/connect+proto":  conntestv1connect.TestServiceServerStreamProcedure,
		"application/grpc":           conntestv1connect.TestServiceUnaryProcedure,
		"application/grpc-web+proto": conntestv1connect.TestServiceClientStreamProcedure,
	} {
		for _, length := range []int64{0, -1, 5} {
			for _, method := range []string{http.MethodPost, http.MethodGet} {
				r := &http.Request{Method: method, URL: parseURL("http://test" + procedure), ProtoMajor: 2, Header: http.Header{"Content-Type": {contentType}}, ContentLength: length}
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				if w.Code == http.StatusOK && w.Body.Len() == 0 && len(w.Result().Header) == 0 {
					t.Errorf("%s %s: got no answer", method, contentType)
				}
			}
		}
	}
	r := &http.Request{Method: http.MethodGet, URL: parseURL("http://test" + conntestv1connect.TestServiceGetProcedure + "?encoding=json&message={}"),
		ProtoMajor: 1, Header: http.Header{}, ContentLength: -1}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	wantEqual(t, "status of a GET", w.Code, http.StatusOK)
}
