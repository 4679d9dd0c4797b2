// SPDX-License-Identifier: Apache-2.0

// Calls that are sent as HTTP GET: all their attempts are.

package retry_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/retry"
)

// A recording transport notes the method and the query of each request.
type recording struct {
	next http.RoundTripper

	mu    sync.Mutex
	noted []string
}

func (r *recording) RoundTrip(request *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.noted = append(r.noted, request.Method+" "+request.URL.RawQuery)
	r.mu.Unlock()
	return r.next.RoundTrip(request)
}

// TestGetStaysGet repeats and hedges calls by GET: each attempt has the method and the
// query of the first, and the call's CallInfo has the method.
func TestGetStaysGet(t *testing.T) {
	for name, policy := range map[string]func() *retry.Policy{
		"repeated": func() *retry.Policy { return retry.New() },
		"hedged":   func() *retry.Policy { return retry.New(retry.Hedge(10*time.Millisecond, 3)) },
	} {
		for level, want := range map[connect.IdempotencyLevel]string{harmless: http.MethodGet, idempotent: http.MethodPost} {
			t.Run(fmt.Sprintf("%s/%v", name, level), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := serve(t, func(ctx context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
						switch {
						case run == 3:
							return echo(in, out)
						case name == "hedged":
							<-ctx.Done()
							return ctx.Err()
						}
						return unavailable()
					})
					transport := &recording{next: s.transport}
					client := overTransport(transport, pathUnary, level, policy(), connect.WithHTTPGet())
					ctx, info := connect.NewClientContext(t.Context())
					request := connect.NewRequest(wrapperspb.String("a"))
					response, err := client.CallUnary(ctx, request)
					if err != nil || response.Msg.Value != "a" {
						t.Fatalf("got %v, %v, want the answer", response, err)
					}
					if len(transport.noted) != 3 {
						t.Errorf("got requests %q, want three", transport.noted)
					}
					for _, noted := range transport.noted {
						if noted != transport.noted[0] || !strings.HasPrefix(noted, want+" ") || (want == http.MethodGet) != strings.Contains(noted, "message=") {
							t.Errorf("got requests %q, want the same %s", transport.noted, want)
							break
						}
					}
					if info.HTTPMethod() != want || request.HTTPMethod() != want {
						t.Errorf("got method %q in the CallInfo and %q in the request, want %s", info.HTTPMethod(), request.HTTPMethod(), want)
					}
				})
			})
		}
	}
}
