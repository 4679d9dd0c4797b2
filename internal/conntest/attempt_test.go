// SPDX-License-Identifier: Apache-2.0

// This file tests connect.NewAttempt: attempts at one call, at the same time and one
// after the other.

package conntest

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// hedged is an interceptor that makes n attempts at once, each with its number in a
// header, and returns the result of attempt winner when all have returned. wrap, if
// not nil, makes a request of the program's own type.
func hedged(t *testing.T, n, winner int, wrap func(connect.AnyRequest) connect.AnyRequest) connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, r connect.AnyRequest) (response connect.AnyResponse, err error) {
			if wrap != nil {
				r = wrap(r)
			}
			var attempts sync.WaitGroup
			var cancels []context.CancelFunc
			defer attempts.Wait()
			won := make(chan func(), 1)
			for i := range n {
				ctx, cancel := context.WithCancel(ctx)
				cancels = append(cancels, cancel)
				ctx, attempt, commit := connect.NewAttempt(ctx, r)
				attempt.Header().Set("Attempt", strconv.Itoa(i))
				wantEqual(t, "an attempt's procedure", attempt.Spec().Procedure, r.Spec().Procedure)
				attempts.Go(func() {
					got, failed := next(ctx, attempt)
					if i == winner {
						response, err = got, failed
						won <- commit
					}
				})
			}
			commit := <-won
			for _, cancel := range cancels {
				cancel()
			}
			attempts.Wait()
			commit()
			return response, err
		}
	}
}

func TestAttempts(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		const n, winner = 3, 1
		seen := make(chan http.Header, 1)
		serve := func(ctx context.Context, r *request) (*response, error) {
			number := r.Header().Get("Attempt")
			if number != strconv.Itoa(winner) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			seen <- r.Header().Clone()
			answer := connect.NewResponse(&conntestv1.Response{Text: r.Msg.GetText()})
			answer.Header().Set("Answered", number)
			answer.Trailer().Set("Trailing", number)
			return answer, nil
		}
		site := m.serve(t, handlers{unary: serve, get: serve})
		for name, wrap := range map[string]func(connect.AnyRequest) connect.AnyRequest{
			"a Request": nil,
			"a type that embeds one": func(r connect.AnyRequest) connect.AnyRequest {
				return &moreRequest{r, http.Header{"Mine": {"more"}, "Asked": r.Header()["Asked"]}}
			},
			"a type that embeds a *Request": func(r connect.AnyRequest) connect.AnyRequest {
				return &typedRequest{r.(*request), http.Header{"Mine": {"more"}, "Asked": r.Header()["Asked"]}}
			},
		} {
			client := site.client(connect.WithInterceptors(hedged(t, n, winner, wrap)), connect.WithHTTPGet())
			for _, k := range []kind{unary, get} {
				ctx, info := connect.NewClientContext(testContext(t))
				info.RequestHeader().Set("Asked", "by info")
				r := requestOf("x")
				method, verb := client.Unary, http.MethodPost
				if k == get {
					method = client.Get
					if m.protocol == "connect" && stable(m) {
						verb = http.MethodGet
					}
				}
				got, err := method(ctx, r)
				wantNil(t, err)
				wantEqual(t, name+": text", got.Msg.GetText(), "x")
				wantValues(t, name+": response header", got.Header(), "Answered", "1")
				wantValues(t, name+": header of the CallInfo", info.ResponseHeader(), "Answered", "1")
				wantValues(t, name+": trailer of the CallInfo", info.ResponseTrailer(), "Trailing", "1")
				wantEqual(t, name+": method of the CallInfo", info.HTTPMethod(), verb)
				wantEqual(t, name+": method of the request", r.HTTPMethod(), verb)
				wantEqual(t, name+": procedure of the CallInfo", info.Spec().Procedure, k.procedure())
				wantValues(t, name+": header of the request", r.Header(), "Attempt")
				header := <-seen
				wantValues(t, name+": request header", header, "Asked", "by info")
				if wrap != nil {
					wantValues(t, name+": request header", header, "Mine", "more")
				}
			}
		}
	})
}

// A typedRequest embeds a *connect.Request, and so all its methods.
type typedRequest struct {
	*request
	header http.Header
}

func (r *typedRequest) Header() http.Header { return r.header }

// If an interceptor replaces the CallInfo, its attempts fail as its calls do.
func TestAttemptsCheckTheContext(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, echo).client(connect.WithInterceptors(connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
			return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
				ctx, _ = connect.NewClientContext(ctx)
				ctx, attempt, commit := connect.NewAttempt(ctx, r)
				defer commit()
				return next(ctx, attempt)
			}
		})))
		_, err := client.Unary(testContext(t), requestOf("x"))
		wantEqual(t, "code", connect.CodeOf(err), connect.CodeUnknown)
	})
}
