// SPDX-License-Identifier: Apache-2.0

// Handlers that end their goroutine, calls whose time is over, and the addresses of callers.

package lambda_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/lambda"
)

// TestGoexit has a handler that ends its goroutine, as one that calls t.FailNow does.
func TestGoexit(t *testing.T) {
	for _, writes := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			function := lambda.New(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if writes {
					_, _ = io.WriteString(w, "half")
				}
				runtime.Goexit()
			}))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			response, err := function.Stream(ctx, []byte(`{"httpMethod":"GET","path":"/a"}`))
			if err == nil {
				_, err = io.ReadAll(response)
				_ = response.Close()
			}
			if err == nil || ctx.Err() != nil {
				t.Errorf("writes %v: got %v and %v of the context, want an error before the function's time is over", writes, err, ctx.Err())
			}
		})
	}
}

// TestTimeout has a call whose time is over while the runtime does not read: the handler does
// not wait for the end of the function's time.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		returned := make(chan error, 1)
		function := lambda.New(connect.NewServerStreamHandler(pathServer, func(_ context.Context, r *connect.Request[message], stream *connect.ServerStream[message]) error {
			for {
				if err := stream.Send(r.Msg); err != nil {
					returned <- err
					return err
				}
			}
		}))
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
		defer cancel()
		response, err := function.Stream(ctx, []byte(`{"httpMethod":"POST","path":"`+pathServer+`","isBase64Encoded":true,"body":"AAAAAAA=",
			"headers":{"Content-Type":"application/connect+proto","Connect-Timeout-Ms":"1000"}}`))
		if err != nil {
			t.Fatal(err)
		}
		<-returned
		if ctx.Err() != nil {
			t.Error("the handler has waited for the function's time")
		}
		if _, err := io.ReadAll(response); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v of the response, want it broken off", err)
		}
		_ = response.Close()
	})
}

// TestPeers has the lists of addresses that load balancers write. A client may begin them.
func TestPeers(t *testing.T) {
	var got string
	function := lambda.New(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr }))
	for headers, want := range map[string]string{
		`"headers":{"x-forwarded-for":"192.0.2.7"}`:                                  "192.0.2.7:0",
		`"headers":{"x-forwarded-for":"203.0.113.1, 192.0.2.7"}`:                     "192.0.2.7:0",
		`"headers":{"x-forwarded-for":"203.0.113.1, 192.0.2.7:4711"}`:                "192.0.2.7:0",
		`"headers":{"x-forwarded-for":"2001:db8::7"}`:                                "[2001:db8::7]:0",
		`"headers":{"x-forwarded-for":"[2001:db8::7]:4711"}`:                         "[2001:db8::7]:0",
		`"multiValueHeaders":{"x-forwarded-for":["203.0.113.1"," 192.0.2.7"]}`:       "192.0.2.7:0",
		`"multiValueHeaders":{"x-forwarded-for":["203.0.113.1, 192.0.2.7"]}`:         "192.0.2.7:0",
		`"multiValueHeaders":{"x-forwarded-for":["203.0.113.1","a, 192.0.2.7:123"]}`: "192.0.2.7:0",
	} {
		if _, err := function.Invoke(t.Context(), []byte(`{"requestContext":{"elb":{}},"httpMethod":"GET","path":"/",`+headers+`}`)); err != nil || got != want {
			t.Errorf("%s: got the peer %q and %v, want %q", headers, got, err, want)
		}
	}
}
