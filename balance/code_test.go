// SPDX-License-Identifier: Apache-2.0

// The codes of calls for which there is no endpoint.

package balance_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/balance"
)

// A failingResolver finds nothing.
type failingResolver struct{ err error }

func (r failingResolver) Watch(ctx context.Context, update func([]balance.Endpoint, error)) error {
	update(nil, r.err)
	<-ctx.Done()
	return nil
}

// causes are errors with a code or a meaning of their own: those of a time that was not the
// call's, and of calls that a resolver or a probe has made.
var causes = map[string]error{
	"plain":    errors.New("no route"),
	"time":     context.DeadlineExceeded,
	"canceled": context.Canceled,
	"i/o":      os.ErrDeadlineExceeded,
	"timeout":  &net.OpError{Op: "dial", Err: &net.DNSError{IsTimeout: true, UnwrapErr: context.DeadlineExceeded}},
	"coded":    connect.NewError(connect.CodePermissionDenied, errors.New("no token")),
	"a wire's": connect.NewWireError(connect.CodePermissionDenied, errors.New("no token")),
}

// TestCodeWithoutEndpoint has calls fail because the resolver has found nothing, or because
// no endpoint could be reached: with unavailable, unless the program has coded the cause.
func TestCodeWithoutEndpoint(t *testing.T) {
	for name, cause := range causes {
		for where, make := range map[string]func() (*balance.Balancer, error){
			"resolver": func() (*balance.Balancer, error) { return balance.New(failingResolver{cause}) },
			"dial": func() (*balance.Balancer, error) {
				return balance.New(balance.Static("a:1", "b:1"), balance.FailFast(), balance.DialContext(func(context.Context, string, string) (net.Conn, error) { return nil, cause }))
			},
			"dial, net/http": func() (*balance.Balancer, error) {
				return balance.New(balance.Static("a:1", "b:1"), balance.FailFast(), balance.NetHTTP(), balance.DialContext(func(context.Context, string, string) (net.Conn, error) { return nil, cause }))
			},
		} {
			t.Run(name+", "+where, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b, err := make()
					if err != nil {
						t.Fatal(err)
					}
					defer b.Close()
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					for _, path := range []string{pathUnary, pathServer} {
						for range 2 {
							_, err := call(ctx, clientOf(b, path, unknown, protocols["grpc"]), path)
							want := connect.CodeUnavailable
							if name == "coded" {
								want = connect.CodePermissionDenied
							}
							if connect.CodeOf(err) != want || connect.IsWireError(err) || !strings.Contains(err.Error(), cause.Error()) {
								t.Errorf("%s: got %v (wire error: %t), want %v with the cause", path, err, connect.IsWireError(err), want)
							}
						}
					}
				})
			})
		}
	}
}

// TestCodeOfWait has calls wait for an endpoint until their contexts end: with the code of
// that, whatever code the probe's error has.
func TestCodeOfWait(t *testing.T) {
	for name, cause := range causes {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, 1, false, echo)
				b := s.balancer(t, nil, balance.Probe(func(context.Context, connect.HTTPClient, string) error { return cause }, time.Minute))
				for _, path := range []string{pathUnary, pathServer} {
					expired, cancel := context.WithTimeout(t.Context(), time.Second)
					if _, err := call(expired, clientOf(b, path, unknown, protocols["grpc"]), path); connect.CodeOf(err) != connect.CodeDeadlineExceeded || connect.IsWireError(err) {
						t.Errorf("%s: got %v, want deadline_exceeded", path, err)
					}
					cancel()
					canceled, cancel := context.WithCancel(t.Context())
					time.AfterFunc(time.Second, cancel)
					if _, err := call(canceled, clientOf(b, path, unknown, protocols["grpc"]), path); connect.CodeOf(err) != connect.CodeCanceled || connect.IsWireError(err) {
						t.Errorf("%s: got %v, want canceled", path, err)
					}
				}
				b.Close()
				s.node("a").stop(t, false)
			})
		})
	}
}
