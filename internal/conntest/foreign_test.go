// SPDX-License-Identifier: Apache-2.0

// This file tests a handler that returns the error of a call that it makes itself: what of
// the other server's reaches its client.

package conntest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

// A foreignCase is a way in which a call to another server fails.
type foreignCase struct {
	name string
	// backend answers with an error; nil for a call that does not reach a server.
	backend error
	status  int // of a response that is not RPC's, 0 for none
	expired bool
	code    connect.Code // of the error as the handler gets it
	sent    bool         // a server sent it
	safe    connect.Code // with the option
}

var foreignCases = []foreignCase{
	{name: "sent", backend: connect.NewError(connect.CodePermissionDenied, errors.New("secret of the backend")), code: connect.CodePermissionDenied, sent: true, safe: connect.CodeUnknown},
	{name: "sent, timeout", backend: connect.NewError(connect.CodeDeadlineExceeded, errors.New("secret of the backend")), code: connect.CodeDeadlineExceeded, sent: true, safe: connect.CodeDeadlineExceeded},
	{name: "not reached", code: connect.CodeUnavailable, safe: connect.CodeUnknown},
	{name: "no protocol", status: http.StatusBadGateway, code: connect.CodeUnavailable, safe: connect.CodeUnknown},
	{name: "expired", expired: true, code: connect.CodeDeadlineExceeded, safe: connect.CodeDeadlineExceeded},
}

// call makes the call that fails, and returns its error.
func (c foreignCase) call(t *testing.T, m mode, k kind) error {
	t.Helper()
	var back *site
	switch {
	case c.status != 0:
		back = m.serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Backend", "secret")
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, "secret page")
		}))
	case c.backend != nil:
		back = m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			_, _ = x.receiveAll()
			e := c.backend.(*connect.Error).WithDetails(durationpb.New(1))
			e.Meta().Set("Backend", "secret")
			return e
		}))
	default:
		back = m.serve(t, everyKind(func(_ context.Context, x *exchange) error { return x.send(new(conntestv1.Response)) }))
	}
	client := back.client()
	if c.status == 0 && c.backend == nil && !c.expired {
		client = back.clientOn(&http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("dial tcp 10.1.2.3:443: secret")
		}}})
	}
	ctx := testContext(t)
	if c.expired {
		expired, cancel := context.WithTimeout(ctx, 0)
		defer cancel()
		ctx = expired
	}
	err := call(ctx, client, k, nil, text("x")).err
	wantCode(t, err, c.code)
	wantEqual(t, "a server sent it", connect.IsWireError(err), c.sent)
	return err
}

// By default a handler passes code, text and details on, as connect-go does, and no
// metadata. With WithSafeErrors it passes on a code alone.
func TestForeignErrors(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		for _, c := range foreignCases {
			forKinds(t, m, func(t *testing.T, k kind) {
				received := c.call(t, m, k)
				for _, wrap := range []func(error) error{
					func(err error) error { return err },
					func(err error) error { return fmt.Errorf("call the backend: %w", err) },
				} {
					fail := everyKind(func(context.Context, *exchange) error { return wrap(received) })
					err := call(testContext(t), m.serve(t, fail).client(), k, nil, text("x")).err
					wantCode(t, err, c.code)
					if got, want := asConnectError(t, err), asConnectError(t, received); got.Message() != want.Message() || len(got.Details()) != len(want.Details()) {
						t.Fatalf("%s: got %q and %d details, want %q and %d", c.name, got.Message(), len(got.Details()), want.Message(), len(want.Details()))
					}
					wantValues(t, c.name, asConnectError(t, err).Meta(), "Backend")

					err = call(testContext(t), m.serve(t, fail, handlerOptions(connect.WithSafeErrors())).client(), k, nil, text("x")).err
					wantCode(t, err, c.safe)
					got := asConnectError(t, err)
					wantEqual(t, c.name+": message", got.Message(), "")
					wantEqual(t, c.name+": details", len(got.Details()), 0)
					wantValues(t, c.name, got.Meta(), "Backend")
				}
			})
		}
	})
}

// A transport's own error, which has a code, is the program's: it is neither marked nor
// copied.
func TestForeignErrorOfTransport(t *testing.T) {
	own := connect.NewError(connect.CodeUnauthenticated, errors.New("log in first"))
	client := connect.NewClient[wireText, wireText](wireScript(func(*http.Request) (*http.Response, error) { return nil, own }), wireStub)
	_, received := client.CallUnary(t.Context(), connect.NewRequest(new(wireText)))
	if !errors.Is(received, own) {
		t.Errorf("got %v, want the transport's own", received)
	}
	d := wireDialects[0]
	reply := wirePost(t, wireFail(connect.StreamTypeUnary, received, connect.WithSafeErrors()), d.contentType(connect.StreamTypeUnary, "proto"), nil)
	end := d.end(t, connect.StreamTypeUnary, reply)
	wantEnd(t, end, connect.CodeUnauthenticated)
	if !strings.Contains(end.message, "log in first") {
		t.Errorf("got %q", end.message)
	}
}
