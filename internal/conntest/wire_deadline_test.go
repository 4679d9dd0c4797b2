// SPDX-License-Identifier: Apache-2.0

// This file tests items 75 to 79 of the checklist: timeouts on the wire, and the codes of calls that ended early. Where
// time passes, it passes inside testing/synctest.

package conntest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// wireDeadline asks a handler with a timeout header and returns what remained of the deadline in the handler.
func wireDeadline(t *testing.T, dialect wireDialect, kind connect.StreamType, pairs ...string) (reply wireReply, left time.Duration, limited bool) {
	t.Helper()
	handler := wireHandler(kind, func(ctx context.Context, call *wireCall) error {
		if _, err := call.receive(); err != nil {
			return err
		}
		if deadline, ok := ctx.Deadline(); ok {
			left, limited = time.Until(deadline), true
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return call.send("hi")
	})
	reply = wirePost(t, handler, dialect.contentType(kind, "proto"), dialect.body(kind, "hi"), pairs...)
	return reply, left, limited
}

// Protocol: Timeout-Milliseconds → {positive integer as ASCII string of at most 10 digits}. Decision: digits only.
func TestItem75_ConnectTimeout(t *testing.T) {
	for _, kind := range wireKinds {
		t.Run(kind.String(), func(t *testing.T) {
			for value, want := range map[string]time.Duration{
				"60000": time.Minute, "0000060000": time.Minute, "9999999999": 9999999999 * time.Millisecond,
			} {
				reply, left, limited := wireDeadline(t, wireConnect, kind, "Connect-Timeout-Ms", value)
				wantEnd(t, wireConnect.end(t, kind, reply), 0)
				if !limited || left > want || left < want-30*time.Second {
					t.Errorf("deadline after %q: got %v (%v), want about %v", value, left, limited, want)
				}
			}
			reply, _, limited := wireDeadline(t, wireConnect, kind)
			wantEnd(t, wireConnect.end(t, kind, reply), 0)
			wantSame(t, "deadline without a header", limited, false)

			reply, _, _ = wireDeadline(t, wireConnect, kind, "Connect-Timeout-Ms", "0")
			wantEnd(t, wireConnect.end(t, kind, reply), connect.CodeDeadlineExceeded)
			if kind == connect.StreamTypeUnary {
				wantSame(t, "HTTP status after a timeout of 0", reply.status, 504)
			}
			for _, value := range []string{
				"10000000000", "00000000001", "12345678901234567890", "-1", "+5000", "abc", "1.5", "1e3", "5s", "0x10", "1_000", "5,5", "1 0",
			} {
				reply, _, limited := wireDeadline(t, wireConnect, kind, "Connect-Timeout-Ms", value)
				wantEnd(t, wireConnect.end(t, kind, reply), connect.CodeInvalidArgument)
				wantSame(t, "handler reached after "+value, limited, false)
				if kind == connect.StreamTypeUnary {
					wantSame(t, "HTTP status after "+value, reply.status, 400)
				}
			}
		})
	}
	reply := wireGet(t, "encoding=json&message=%22hi%22", "Connect-Timeout-Ms", "+5000")
	wantSame(t, "HTTP status of GET", reply.status, 400)
}

// wireTimeoutHeader makes a call in fake time and returns the header of the request that was sent.
func wireTimeoutHeader(t *testing.T, dialect wireDialect, kind connect.StreamType, timeout time.Duration, name string) (value string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		out := wireInvoke(ctx, kind, wireScript(func(req *http.Request) (*http.Response, error) {
			value = req.Header.Get(name)
			return dialect.answer(kind, "hi").Do(req)
		}), wireStub, dialect.client, "hello")
		if out.err != nil {
			t.Errorf("call with a timeout of %v: %v", timeout, out.err)
		}
	})
	return value
}

func TestItem76_ConnectTimeoutOfTheClient(t *testing.T) {
	for _, kind := range wireKinds {
		for timeout, want := range map[time.Duration]string{
			time.Nanosecond:                "1",
			500 * time.Microsecond:         "1",
			999999 * time.Nanosecond:       "1",
			time.Millisecond:               "1",
			time.Second:                    "1000",
			24 * time.Hour:                 "86400000",
			9999999999 * time.Millisecond:  "9999999999",
			10000000000 * time.Millisecond: "",
			100 * 365 * 24 * time.Hour:     "",
		} {
			got := wireTimeoutHeader(t, wireConnect, kind, timeout, "Connect-Timeout-Ms")
			wantSame(t, fmt.Sprintf("Connect-Timeout-Ms for %v", timeout), got, want)
		}
	}
}

// grpcTimeout decodes a Grpc-Timeout by hand.
func grpcTimeout(t *testing.T, value string) time.Duration {
	t.Helper()
	if len(value) < 2 || len(value) > 9 {
		t.Fatalf("Grpc-Timeout %q: want 1 to 8 digits and a unit", value)
	}
	units := map[byte]time.Duration{
		'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
	}
	unit, ok := units[value[len(value)-1]]
	number, err := strconv.ParseUint(value[:len(value)-1], 10, 32)
	if !ok || err != nil {
		t.Fatalf("Grpc-Timeout %q: %v", value, err)
	}
	return time.Duration(number) * unit
}

// gRPC over HTTP/2: TimeoutValue → {positive integer as ASCII string of at most 8 digits}; units H M S m u n.
func TestItem77_GRPCTimeout(t *testing.T) {
	wireEachGRPC(t, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		for value, want := range map[string]time.Duration{
			"60S": time.Minute, "1M": time.Minute, "60000m": time.Minute, "60000000u": time.Minute, "00000060S": time.Minute,
			"1H": time.Hour, "99999999S": 99999999 * time.Second, "99999999M": 99999999 * time.Minute, "2562047H": 2562047 * time.Hour,
		} {
			reply, left, limited := wireDeadline(t, dialect, kind, "Grpc-Timeout", value)
			wantEnd(t, dialect.end(t, kind, reply), 0)
			if !limited || left > want || left < want-30*time.Second {
				t.Errorf("deadline after %q: got %v (%v), want about %v", value, left, limited, want)
			}
		}
		for _, value := range []string{"99999999H", "2562048H"} {
			reply, left, limited := wireDeadline(t, dialect, kind, "Grpc-Timeout", value)
			wantEnd(t, dialect.end(t, kind, reply), 0)
			if limited {
				t.Errorf("deadline after %q: got %v, want none", value, left)
			}
		}
		for _, value := range []string{"0n", "0S", "0H", "1n"} {
			reply, _, _ := wireDeadline(t, dialect, kind, "Grpc-Timeout", value)
			wantEnd(t, dialect.end(t, kind, reply), connect.CodeDeadlineExceeded)
		}
		for _, value := range []string{"100000000S", "000000001S", "1", "S", "1x", "1s", "1h", "+1S", "-1S", "1.5S", "1 S", "1SS", "0x1S", "1_0S"} {
			reply, _, limited := wireDeadline(t, dialect, kind, "Grpc-Timeout", value)
			wantSame(t, "HTTP status after "+value, reply.status, 200)
			wantEnd(t, dialect.end(t, kind, reply), connect.CodeInvalidArgument)
			wantSame(t, "handler reached after "+value, limited, false)
		}
		// The client: at most 8 digits, and as exact as they allow.
		for _, timeout := range []time.Duration{
			1, 99999999, 100000000, time.Millisecond, time.Second, 1500 * time.Millisecond, time.Hour, 27 * time.Hour,
			99999999 * time.Second, 100000000 * time.Second, 200 * 365 * 24 * time.Hour,
		} {
			value := wireTimeoutHeader(t, dialect, kind, timeout, "Grpc-Timeout")
			if got := grpcTimeout(t, value); (got - timeout).Abs() > timeout/1000000 {
				t.Errorf("Grpc-Timeout for %v: got %q, which is %v", timeout, value, got)
			}
		}
		grpcTimeout(t, wireTimeoutHeader(t, dialect, kind, 1<<63-1, "Grpc-Timeout"))
	})
	// An expired deadline is sent as "0n", if it is sent at all.
	for _, dialect := range wireGRPCs {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
			defer cancel()
			out := wireInvoke(ctx, connect.StreamTypeUnary, wireScript(func(req *http.Request) (*http.Response, error) {
				if got := req.Header.Get("Grpc-Timeout"); got != "0n" {
					t.Errorf("Grpc-Timeout: got %q, want %q", got, "0n")
				}
				return nil, req.Context().Err()
			}), wireStub, dialect.client, "hello")
			wantFault(t, out.err, connect.CodeDeadlineExceeded)
		})
	}
}

func TestItem78_DeadlineReachesTheHandler(t *testing.T) {
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		name, value := "Grpc-Timeout", "60S"
		if dialect.name == connect.ProtocolConnect {
			name, value = "Connect-Timeout-Ms", "60000"
		}
		reply, left, limited := wireDeadline(t, dialect, kind, name, value)
		wantEnd(t, dialect.end(t, kind, reply), 0)
		if !limited || left > time.Minute || left < 30*time.Second {
			t.Errorf("deadline in the handler: got %v (%v), want about a minute", left, limited)
		}
		// The client ends the call also when the server does not.
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			out := wireInvoke(ctx, kind, wireScript(func(req *http.Request) (*http.Response, error) {
				go func() { _, _ = io.Copy(io.Discard, req.Body) }()
				<-req.Context().Done() // a transport waits so while a server is silent
				_ = req.Body.Close()
				return nil, &url.Error{Op: "Post", URL: req.URL.String(), Err: req.Context().Err()}
			}), wireStub, dialect.client, "hello")
			wantFault(t, out.err, connect.CodeDeadlineExceeded)
		})
	})
}

// stalledBody delivers its bytes, then blocks until the context ends, and fails as a transport that lost the stream.
type stalledBody struct {
	io.Reader
	ctx context.Context
	err error
}

func (b *stalledBody) Read(p []byte) (int, error) {
	if n, err := b.Reader.Read(p); err == nil {
		return n, nil
	}
	<-b.ctx.Done()
	return 0, b.err
}

func (b *stalledBody) Close() error { return nil }

func TestItem79_EndedContexts(t *testing.T) {
	transportError := errors.New("transport: stream is gone")
	phases := map[string]func(dialect wireDialect, kind connect.StreamType) wireScript{
		"waiting for headers": func(wireDialect, connect.StreamType) wireScript {
			return func(req *http.Request) (*http.Response, error) {
				go func() { _, _ = io.Copy(io.Discard, req.Body) }()
				<-req.Context().Done()
				_ = req.Body.Close()
				return nil, &url.Error{Op: "Post", URL: req.URL.String(), Err: req.Context().Err()}
			}
		},
		"waiting for headers, transport error": func(wireDialect, connect.StreamType) wireScript {
			return func(req *http.Request) (*http.Response, error) {
				go func() { _, _ = io.Copy(io.Discard, req.Body) }()
				<-req.Context().Done()
				_ = req.Body.Close()
				return nil, &url.Error{Op: "Post", URL: req.URL.String(), Err: transportError}
			}
		},
		"waiting for the request to be read": func(wireDialect, connect.StreamType) wireScript {
			return func(req *http.Request) (*http.Response, error) {
				<-req.Context().Done()
				_ = req.Body.Close()
				return nil, req.Context().Err()
			}
		},
		"before the first message": func(dialect wireDialect, kind connect.StreamType) wireScript {
			return func(req *http.Request) (*http.Response, error) {
				go func() { _, _ = io.Copy(io.Discard, req.Body) }()
				res, _ := dialect.raw(kind, nil).response(req)
				res.Body = &stalledBody{strings.NewReader(""), req.Context(), transportError}
				return res, nil
			}
		},
		"inside a message": func(dialect wireDialect, kind connect.StreamType) wireScript {
			return func(req *http.Request) (*http.Response, error) {
				go func() { _, _ = io.Copy(io.Discard, req.Body) }()
				res, _ := dialect.raw(kind, nil).response(req)
				body := dialect.body(kind, "a message that is cut")
				res.Body = &stalledBody{strings.NewReader(string(body[:len(body)-3])), req.Context(), transportError}
				return res, nil
			}
		},
		"after the message": func(dialect wireDialect, kind connect.StreamType) wireScript {
			return func(req *http.Request) (*http.Response, error) {
				go func() { _, _ = io.Copy(io.Discard, req.Body) }()
				res, _ := dialect.raw(kind, nil).response(req)
				res.Body = &stalledBody{strings.NewReader(string(dialect.body(kind, "hi"))), req.Context(), transportError}
				return res, nil
			}
		},
	}
	endings := map[string]struct {
		start func(context.Context) (context.Context, context.CancelFunc)
		code  connect.Code
	}{
		"deadline": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, connect.CodeDeadlineExceeded},
		"cancel": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, connect.CodeCanceled},
		"deadline in the past": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithDeadline(ctx, time.Now().Add(-time.Second))
		}, connect.CodeDeadlineExceeded},
		"canceled before": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}, connect.CodeCanceled},
	}
	for phase, script := range phases {
		for ending, end := range endings {
			t.Run(phase+"/"+ending, func(t *testing.T) {
				wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
					synctest.Test(t, func(t *testing.T) {
						ctx, cancel := end.start(t.Context())
						defer cancel()
						// Several messages, so that a client that is not read blocks in Send.
						out := wireInvoke(ctx, kind, script(dialect, kind), wireStub, dialect.client, "one", "two", "three")
						wantFault(t, out.err, end.code)
					})
				})
			})
		}
	}
	// The same for a call with GET.
	for ending, end := range endings {
		t.Run("GET/"+ending, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := end.start(t.Context())
				defer cancel()
				client := connect.NewClient[wireText, wireText](wireScript(func(req *http.Request) (*http.Response, error) {
					<-req.Context().Done()
					return nil, req.Context().Err()
				}), wireStub, slices.Concat(wireConnect.client, []connect.ClientOption{connect.WithHTTPGet(), wireReadOnly})...)
				_, err := client.CallUnary(ctx, connect.NewRequest(wrapperspb.String("hi")))
				wantFault(t, err, end.code)
			})
		})
	}
}
