// SPDX-License-Identifier: Apache-2.0

// Calls of all kinds, and what they find out about endpoints.

package balance_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
)

// TestCalls makes calls of all kinds in all protocols, over both kinds of transports.
// Each endpoint answers, and no use of an endpoint is left.
func TestCalls(t *testing.T) {
	for _, http1 := range []bool{false, true} {
		for name, protocol := range protocols {
			for _, path := range []string{pathUnary, pathServer, pathClient, pathBidi} {
				if http1 && (path == pathBidi || name == "grpc") {
					continue
				}
				t.Run(fmt.Sprintf("http1 %v/%s%s", http1, name, path), func(t *testing.T) {
					s := newSite(t, 3, http1, echo)
					b := s.balancer(t, nil, balance.RoundRobin())
					c := clientOf(b, path, unknown, protocol)
					if _, err := call(t.Context(), c, path); err != nil {
						t.Fatal(err)
					}
					allReady(t, b, 3)
					seen := make(map[string]int)
					for range 30 {
						texts, err := call(t.Context(), c, path)
						if err != nil {
							t.Fatal(err)
						}
						if want := map[string]int{pathUnary: 1, pathClient: 1}[path]; len(texts) != max(want, 1) && len(texts) != 3 {
							t.Fatalf("got %d messages of one call", len(texts))
						}
						if len(slices.Compact(texts)) != 1 {
							t.Fatalf("got messages %v of one call, want those of one endpoint", texts)
						}
						seen[texts[0]]++
					}
					if len(seen) != 3 || seen["a"] != 10 || seen["b"] != 10 {
						t.Errorf("got calls at %v, want 10 at each of 3", seen)
					}
					wantIdle(t, b)
				})
			}
		}
	}
}

// TestPlain sends requests without the interceptor, and with net/http's types.
func TestPlain(t *testing.T) {
	s := newSite(t, 2, false, echo)
	b := s.balancer(t, nil, balance.RoundRobin())
	for i := range 20 {
		if i == 1 {
			allReady(t, b, 2)
		}
		res, err := b.HTTPClient().Post("http://test.local"+pathUnary, "application/json", strings.NewReader(`"x"`))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK || len(body) == 0 {
			t.Errorf("got %d %q and %v, want an answer", res.StatusCode, body, err)
		}
		_ = res.Body.Close()
	}
	bare := connect.NewClient[message, message](b.HTTPClient(), "http://test.local"+pathUnary)
	for range 20 {
		if _, err := ask(t.Context(), bare); err != nil {
			t.Fatal(err)
		}
	}
	wantIdle(t, b)
	for _, e := range b.Status().Endpoints {
		if e.Latency <= 0 {
			t.Errorf("got latency %v of %s, want one", e.Latency, e.Addr)
		}
	}
}

// TestLarge sends messages that the direct path does not take.
func TestLarge(t *testing.T) {
	s := newSite(t, 2, false, func(_ context.Context, _ *node, _ int64, text string) (string, error) { return text, nil })
	b := s.balancer(t, nil)
	text := strings.Repeat("x", 1<<20)
	for _, protocol := range protocols {
		c := clientOf(b, pathUnary, unknown, protocol)
		res, err := c.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String(text)))
		if err != nil || res.Msg.Value != text {
			t.Fatalf("got %v, want the message back", err)
		}
	}
	wantIdle(t, b)
}

// TestErrors checks that callers see the errors of servers as they are, and can find the
// endpoint.
func TestErrors(t *testing.T) {
	s := newSite(t, 1, false, func(context.Context, *node, int64, string) (string, error) {
		return "", connect.NewError(connect.CodeNotFound, errors.New("no such thing"))
	})
	b := s.balancer(t, nil)
	for name, protocol := range protocols {
		for _, path := range []string{pathUnary, pathServer, pathClient, pathBidi} {
			_, err := call(t.Context(), clientOf(b, path, unknown, protocol), path)
			var e *connect.Error
			if !errors.As(err, &e) || e.Code() != connect.CodeNotFound || !connect.IsWireError(err) || err.Error() != "not_found: no such thing" {
				t.Errorf("%s%s: got %v, want the server's error", name, path, err)
			}
			if got := balance.EndpointOf(err); got != "a" {
				t.Errorf("%s%s: got endpoint %q, want a", name, path, got)
			}
		}
	}
	wantIdle(t, b)
}

// TestOrigins makes calls to two hosts of one Balancer: each has connections of its own.
func TestOrigins(t *testing.T) {
	s := newSite(t, 2, false, echo)
	b := s.balancer(t, nil)
	for _, host := range []string{"one.local", "two.local"} {
		c := connect.NewClient[message, message](b.HTTPClient(), "http://"+host+pathUnary, b.Options())
		if _, err := ask(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	origins := make(map[string]int)
	for _, e := range b.Status().Endpoints {
		origins[e.Origin]++
	}
	if len(origins) != 2 || origins["http://one.local"] != 2 || origins["http://two.local"] != 2 {
		t.Errorf("got endpoints %v, want two for each host", origins)
	}
	for i := range 100 {
		c := connect.NewClient[message, message](b.HTTPClient(), fmt.Sprintf("http://h%d.local%s", i, pathUnary), b.Options())
		if _, err := ask(t.Context(), c); err != nil {
			if !strings.Contains(err.Error(), "64 is the most") {
				t.Errorf("got %v, want an error that has the limit", err)
			}
			if i < 62 {
				t.Errorf("got the error at host %d, want it at 62", i)
			}
			return
		}
	}
	t.Error("got answers for 102 hosts, want an error")
}

// TestNew lists what New refuses.
func TestNew(t *testing.T) {
	for name, make := range map[string]func() (*balance.Balancer, error){
		"no resolver":  func() (*balance.Balancer, error) { return balance.New(nil) },
		"no endpoint":  func() (*balance.Balancer, error) { return balance.New(balance.Static()) },
		"no port":      func() (*balance.Balancer, error) { return balance.New(balance.Static("10.0.0.1:80", "10.0.0.2:")) },
		"port as name": func() (*balance.Balancer, error) { return balance.New(balance.Static("10.0.0.1:http")) },
		"nil option":   func() (*balance.Balancer, error) { return balance.New(balance.Static("10.0.0.1:80"), nil) },
		"DNS option":   func() (*balance.Balancer, error) { return balance.New(balance.DNS("greet.example:80", nil)) },
		"DNS":          func() (*balance.Balancer, error) { return balance.New(balance.DNS("greet.example")) },
	} {
		b, err := make()
		if err == nil {
			b.Close()
			t.Errorf("%s: got no error, want one", name)
		} else if !strings.HasPrefix(err.Error(), "balance: ") {
			t.Errorf("%s: got %v, want an error of package balance", name, err)
		}
	}
	for name, make := range map[string]func(){
		"Eject":       func() { balance.Eject(balance.Ejection{MaxPercent: 101}) },
		"Panic":       func() { balance.Panic(1.5) },
		"Zone":        func() { balance.Zone("") },
		"Subset":      func() { balance.Subset(0, "a") },
		"SlowStart":   func() { balance.SlowStart(-1) },
		"Transport":   func() { balance.Transport(nil) },
		"DialContext": func() { balance.DialContext(nil) },
		"Probe":       func() { balance.Probe(nil, 1) },
	} {
		func() {
			defer func() {
				if text := fmt.Sprint(recover()); !strings.HasPrefix(text, "balance: "+name) {
					t.Errorf("%s: got panic %q, want one that names the option", name, text)
				}
			}()
			make()
		}()
	}
}

// TestURLs lists URLs that a Balancer cannot serve.
func TestURLs(t *testing.T) {
	s := newSite(t, 1, false, echo)
	b := s.balancer(t, nil)
	for _, u := range []string{"ftp://test.local/", "http:///x"} {
		_, err := b.HTTPClient().Get(u)
		if err == nil {
			t.Errorf("%s: got no error, want one", u)
		}
	}
}
