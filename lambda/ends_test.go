// SPDX-License-Identifier: Apache-2.0

// Handlers that end their goroutine, calls whose time is over, and the addresses of callers.

package lambda_test

import (
	"net/http"
	"testing"

	"github.com/seed-b7c59c10/connect/lambda"
)

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
