// SPDX-License-Identifier: Apache-2.0

// Which unary calls are repeated, how often, and when.

package retry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/retry"
)

const (
	unknown    = connect.IdempotencyUnknown
	idempotent = connect.IdempotencyIdempotent
	harmless   = connect.IdempotencyNoSideEffects
)

// withMeta returns an error that a server sends with metadata.
func withMeta(code connect.Code, key, value string) error {
	err := connect.NewError(code, errors.New("not now"))
	err.Meta().Set(key, value)
	return err
}

// TestRepeated lists what the server answers, and how often it then runs.
func TestRepeated(t *testing.T) {
	for name, c := range map[string]struct {
		err     error
		options []retry.Option
		runs    map[connect.IdempotencyLevel]int
	}{
		"unavailable":        {unavailable(), nil, map[connect.IdempotencyLevel]int{unknown: 1, idempotent: 3, harmless: 3}},
		"unavailable, named": {unavailable(), []retry.Option{retry.Codes(connect.CodeUnavailable)}, map[connect.IdempotencyLevel]int{unknown: 3, idempotent: 3}},
		"unavailable, named for another procedure": {unavailable(), []retry.Option{retry.For("/test.v1.S/Other", retry.Codes(connect.CodeUnavailable))},
			map[connect.IdempotencyLevel]int{unknown: 1, idempotent: 3}},
		"unavailable, named for the service":    {unavailable(), []retry.Option{retry.For("/test.v1.S/", retry.Attempts(4), retry.Codes(connect.CodeUnavailable))}, map[connect.IdempotencyLevel]int{unknown: 4}},
		"unavailable, one attempt":              {unavailable(), []retry.Option{retry.Attempts(1)}, map[connect.IdempotencyLevel]int{unknown: 1, harmless: 1}},
		"aborted":                               {connect.NewError(connect.CodeAborted, errors.New("conflict")), nil, map[connect.IdempotencyLevel]int{unknown: 1, harmless: 1}},
		"aborted, named":                        {connect.NewError(connect.CodeAborted, errors.New("conflict")), []retry.Option{retry.Codes(connect.CodeAborted)}, map[connect.IdempotencyLevel]int{unknown: 3, harmless: 3}},
		"another code is named":                 {unavailable(), []retry.Option{retry.Codes(connect.CodeAborted)}, map[connect.IdempotencyLevel]int{unknown: 1, harmless: 1}},
		"resource_exhausted":                    {connect.NewError(connect.CodeResourceExhausted, errors.New("quota")), nil, map[connect.IdempotencyLevel]int{unknown: 1, harmless: 1}},
		"resource_exhausted with pushback":      {withMeta(connect.CodeResourceExhausted, "Grpc-Retry-Pushback-Ms", "10"), nil, map[connect.IdempotencyLevel]int{unknown: 3, harmless: 3}},
		"resource_exhausted with Retry-After":   {withMeta(connect.CodeResourceExhausted, "Retry-After", "1"), nil, map[connect.IdempotencyLevel]int{unknown: 3, harmless: 3}},
		"unavailable with pushback":             {withMeta(connect.CodeUnavailable, "Grpc-Retry-Pushback-Ms", "0"), nil, map[connect.IdempotencyLevel]int{unknown: 3, harmless: 3}},
		"unavailable with a negative pushback":  {withMeta(connect.CodeUnavailable, "Grpc-Retry-Pushback-Ms", "-1"), nil, map[connect.IdempotencyLevel]int{unknown: 1, harmless: 1}},
		"unavailable with a broken pushback":    {withMeta(connect.CodeUnavailable, "Grpc-Retry-Pushback-Ms", "soon"), nil, map[connect.IdempotencyLevel]int{unknown: 1, harmless: 1}},
		"unavailable with a broken Retry-After": {withMeta(connect.CodeUnavailable, "Retry-After", "soon"), nil, map[connect.IdempotencyLevel]int{unknown: 1, harmless: 3}},
		"invalid_argument with pushback":        {withMeta(connect.CodeInvalidArgument, "Grpc-Retry-Pushback-Ms", "0"), nil, map[connect.IdempotencyLevel]int{unknown: 1, harmless: 1}},
	} {
		for level, runs := range c.runs {
			for protocol, options := range protocols {
				t.Run(fmt.Sprintf("%s/%v/%s", name, level, protocol), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						s := serve(t, func(context.Context, int, http.Header, func() (*message, error), func(*message) error) error {
							return c.err
						})
						_, err := call(t.Context(), s.client(pathUnary, level, retry.New(c.options...), options...), pathUnary)
						s.wantRuns(t, runs)
						if got := retry.AttemptsOf(err); got != runs {
							t.Errorf("got AttemptsOf %d for %v, want %d", got, err, runs)
						}
						if got, want := connect.CodeOf(err), connect.CodeOf(c.err); got != want {
							t.Errorf("got code %v, want that of the last attempt, %v", got, want)
						}
						if runs > 1 && !strings.Contains(err.Error(), fmt.Sprintf("%d attempts, no more: %d is the most", runs, runs)) {
							t.Errorf("got error %q, want one with the number of attempts and the reason", err)
						}
					})
				})
			}
		}
	}
}

// TestSucceedsLater has a server that answers at the third attempt: the caller sees that
// one alone.
func TestSucceedsLater(t *testing.T) {
	for protocol, options := range protocols {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var previous []string
				s := serve(t, func(_ context.Context, run int, header http.Header, in func() (*message, error), out func(*message) error) error {
					previous = append(previous, header.Get("Grpc-Previous-Rpc-Attempts")+header.Get("Token"))
					if run < 3 {
						return withMeta(connect.CodeUnavailable, "Number", strconv.Itoa(run))
					}
					return echo(in, out)
				})
				ctx, info := connect.NewClientContext(t.Context())
				policy := retry.New()
				// An interceptor after the policy adds to the header of each attempt.
				adding := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
					return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
						r.Header().Add("Token", "/once")
						r.Header()["Token"] = []string{strings.Join(r.Header()["Token"], "")}
						return next(ctx, r)
					}
				})
				c := connect.NewClient[message, message](&http.Client{Transport: s.transport}, "http://test.local"+pathUnary,
					append(options, connect.WithIdempotency(idempotent), connect.WithInterceptors(policy, adding))...)
				got, err := call(ctx, c, pathUnary)
				if err != nil || got[0] != "a" {
					t.Errorf("got %q, %v, want the answer", got, err)
				}
				if want := []string{"/once", "1/once", "2/once"}; strings.Join(previous, " ") != strings.Join(want, " ") {
					t.Errorf("got attempts %q, want %q", previous, want)
				}
				if info.ResponseHeader() == nil || info.ResponseHeader().Get("Number") != "" || info.HTTPMethod() != http.MethodPost {
					t.Errorf("got CallInfo with header %v and method %q, want those of the last attempt", info.ResponseHeader(), info.HTTPMethod())
				}
			})
		})
	}
}

// TestAttemptsSeeTheSameHeaders has an interceptor after the policy that changes all
// headers: at each attempt it sees those of the first, the library's among them.
func TestAttemptsSeeTheSameHeaders(t *testing.T) {
	for _, keys := range []int{0, 1, 30} {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, func(_ context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
				if run < 3 {
					return unavailable()
				}
				return echo(in, out)
			})
			var seen []http.Header
			changing := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
				return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
					h := r.Header().Clone()
					h.Del("Grpc-Previous-Rpc-Attempts")
					seen = append(seen, h)
					clear(r.Header())
					r.Header().Set("Added", "once")
					return next(ctx, r)
				}
			})
			c := connect.NewClient[message, message](&http.Client{Transport: s.transport}, "http://test.local"+pathUnary,
				connect.WithIdempotency(idempotent), connect.WithInterceptors(retry.New(), changing))
			request := connect.NewRequest(wrapperspb.String("a"))
			for i := range keys {
				request.Header().Set(fmt.Sprint("Key-", i), "value")
			}
			if _, err := c.CallUnary(t.Context(), request); err != nil {
				t.Fatal(err)
			}
			if len(seen) != 3 || seen[0].Get("User-Agent") == "" || seen[0].Get("Added") != "" || len(seen[0]) < keys {
				t.Fatalf("%d keys: got headers %v, want those of three attempts, with the library's", keys, seen)
			}
			for i, h := range seen[1:] {
				if !reflect.DeepEqual(h, seen[0]) {
					t.Errorf("%d keys: got %v at attempt %d, want %v as at the first", keys, h, i+2, seen[0])
				}
			}
		})
	}
}

// TestPushbackIsExact has servers that name the time of the next attempt.
func TestPushbackIsExact(t *testing.T) {
	for name, c := range map[string]struct {
		key  string
		want time.Duration
	}{
		"Grpc-Retry-Pushback-Ms": {"1234", 1234 * time.Millisecond},
		"Retry-After":            {"7", 7 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			var at []time.Time
			s := serve(t, func(_ context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
				at = append(at, time.Now())
				if run == 1 {
					return withMeta(connect.CodeUnavailable, name, c.key)
				}
				return echo(in, out)
			})
			_, err := call(t.Context(), s.client(pathUnary, unknown, retry.New()), pathUnary)
			if err != nil || len(at) != 2 || at[1].Sub(at[0]) != c.want {
				t.Errorf("%s: got error %v and runs at %v, want two with %v between", name, err, at, c.want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // a date
		began := time.Now()
		s := serve(t, func(_ context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
			if run == 1 {
				return withMeta(connect.CodeUnavailable, "Retry-After", began.Add(time.Minute).UTC().Format(http.TimeFormat))
			}
			return echo(in, out)
		})
		_, err := call(t.Context(), s.client(pathUnary, unknown, retry.New()), pathUnary)
		if took := time.Since(began); err != nil || took < 59*time.Second || took > time.Minute {
			t.Errorf("got error %v after %v, want an answer at the date, in a minute", err, took)
		}
	})
}

// TestDeadline has a pause that would be longer than the call may take: the last error
// comes at once.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(context.Context, int, http.Header, func() (*message, error), func(*message) error) error {
			return withMeta(connect.CodeUnavailable, "Grpc-Retry-Pushback-Ms", "5000")
		})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		began := time.Now()
		_, err := call(ctx, s.client(pathUnary, idempotent, retry.New()), pathUnary)
		if took := time.Since(began); took > 0 || connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(err.Error(), "1 attempt, no more: the deadline is sooner than the next, in 5s") {
			t.Errorf("got %v after %v, want the server's error at once, with the reason", err, took)
		}
		s.wantRuns(t, 1)
	})
}

// TestCanceledInAPause ends a call's context between two attempts.
func TestCanceledInAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(context.Context, int, http.Header, func() (*message, error), func(*message) error) error {
			return withMeta(connect.CodeUnavailable, "Grpc-Retry-Pushback-Ms", "60000")
		})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		_, err := call(ctx, s.client(pathUnary, idempotent, retry.New()), pathUnary)
		if took := time.Since(began); took != time.Second || err == nil || !strings.Contains(err.Error(), "the call's context has ended") {
			t.Errorf("got %v after %v, want an error after 1s", err, took)
		}
	})
}

// TestAttemptTimeout has a server that does not answer its first run.
func TestAttemptTimeout(t *testing.T) {
	for _, level := range []connect.IdempotencyLevel{unknown, idempotent} {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, func(ctx context.Context, run int, _ http.Header, in func() (*message, error), out func(*message) error) error {
				if run == 1 {
					<-ctx.Done()
					return ctx.Err()
				}
				return echo(in, out)
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := call(ctx, s.client(pathUnary, level, retry.New(retry.AttemptTimeout(time.Second))), pathUnary)
			switch {
			case level == unknown && (connect.CodeOf(err) != connect.CodeDeadlineExceeded || s.runs.Load() != 1):
				t.Errorf("not idempotent: got %v after %d runs, want deadline_exceeded after one", err, s.runs.Load())
			case level == idempotent && (err != nil || s.runs.Load() != 2):
				t.Errorf("idempotent: got %v after %d runs, want an answer after two", err, s.runs.Load())
			}
		})
	}
}

// A failing transport fails the first requests.
type failing struct {
	next  http.RoundTripper
	fails int
	err   error
	tried int
}

func (f *failing) RoundTrip(r *http.Request) (*http.Response, error) {
	f.tried++
	if f.tried <= f.fails {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
		return nil, f.err
	}
	return f.next.RoundTrip(r)
}

type notProcessed struct{ error }

func (notProcessed) Unprocessed() bool { return true }

// TestNotProcessed has transports that prove that a request did not run, and one that
// does not.
func TestNotProcessed(t *testing.T) {
	for name, c := range map[string]struct {
		fails    int
		err      error
		deadline bool
		tried    int // requests
		ok       bool
	}{
		"once":                     {1, notProcessed{errors.New("refused")}, false, 2, true},
		"again and again":          {100, notProcessed{errors.New("refused")}, false, 4, false}, // one is not counted
		"until the deadline":       {30, notProcessed{errors.New("refused")}, true, 31, true},
		"lost, and not idempotent": {1, errors.New("connection reset"), true, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serve(t, func(_ context.Context, _ int, _ http.Header, in func() (*message, error), out func(*message) error) error {
					return echo(in, out)
				})
				transport := &failing{next: s.transport, fails: c.fails, err: c.err}
				ctx := t.Context()
				if c.deadline {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Hour)
					defer cancel()
				}
				client := connect.NewClient[message, message](&http.Client{Transport: transport}, "http://test.local"+pathUnary, connect.WithInterceptors(retry.New()))
				_, err := call(ctx, client, pathUnary)
				if transport.tried != c.tried || (err == nil) != c.ok {
					t.Errorf("got %d requests and error %v, want %d", transport.tried, err, c.tried)
				}
			})
		})
	}
}

// TestDisabled has a context that switches retries off.
func TestDisabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(context.Context, int, http.Header, func() (*message, error), func(*message) error) error {
			return unavailable()
		})
		for _, path := range []string{pathUnary, pathServer} {
			if _, err := call(retry.Disable(t.Context()), s.client(path, idempotent, retry.New()), path); retry.AttemptsOf(err) != 1 {
				t.Errorf("%s: got %d attempts, want 1", path, retry.AttemptsOf(err))
			}
		}
		s.wantRuns(t, 2)
	})
}

// TestStorm makes many calls to a server that is down. The budget bounds the attempts.
func TestStorm(t *testing.T) {
	const calls = 2000
	for name, c := range map[string]struct {
		budget retry.Option
		extra  int64
	}{
		"10 tokens":   {retry.Tokens(10, 0.1), 5},
		"100 tokens":  {retry.Tokens(100, 0.1), 50},
		"the default": {retry.Ratio(0.2, 10), 10},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, func(context.Context, int, http.Header, func() (*message, error), func(*message) error) error {
				return unavailable()
			})
			policy := retry.New(c.budget, retry.Attempts(5), retry.Backoff(time.Nanosecond, time.Nanosecond, 1))
			client := s.client(pathUnary, idempotent, policy)
			for range calls {
				if _, err := call(t.Context(), client, pathUnary); err == nil {
					t.Fatal("got an answer, want an error")
				}
			}
			if got := s.runs.Load(); got > calls+c.extra || got == calls {
				t.Errorf("%s: got %d runs for %d calls, want at most %d more, and some", name, got, calls, c.extra)
			}
		})
	}
}

// TestNilOptions has options that are nil, as of a program that forgot one.
func TestNilOptions(t *testing.T) {
	var none retry.RuleOption
	for want, f := range map[string]func(){
		"retry: New: an option is nil":                func() { retry.New(retry.Attempts(2), nil) },
		"retry: New: an option is nil ":               func() { retry.New(none) },
		`retry: For("/acme.v1.S/"): an option is nil`: func() { retry.For("/acme.v1.S/", retry.Attempts(2), nil) },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); got != strings.TrimSpace(want) {
					t.Errorf("got panic %q, want %q", got, want)
				}
			}()
			f()
		}()
	}
	for _, option := range []retry.Option{nil, none} {
		if _, err := retry.ParseServiceConfig([]byte("{}"), option); err == nil || err.Error() != "retry: ParseServiceConfig: an option is nil" {
			t.Errorf("got %v from ParseServiceConfig, want an error that names it", err)
		}
	}
	retry.New(retry.Observe(nil), retry.WithBreaker(nil)) // none
}

// TestOptionsPanic lists options without a meaning.
func TestOptionsPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"Attempts":       func() { retry.Attempts(0) },
		"Backoff":        func() { retry.Backoff(0, 0, 0) },
		"AttemptTimeout": func() { retry.AttemptTimeout(0) },
		"Codes":          func() { retry.Codes(17) },
		"For":            func() { retry.For("acme.v1.S/Get") },
		"Buffer":         func() { retry.Buffer(2, 1) },
		"Tokens":         func() { retry.Tokens(0, 1) },
		"Ratio":          func() { retry.Ratio(-1, 1) },
		"Hedge":          func() { retry.Hedge(time.Second, 1) },
		"HedgeAt":        func() { retry.HedgeAt(95, 2) },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.HasPrefix(got, "retry: "+name+"(") {
					t.Errorf("got panic %q, want one that names %s", got, name)
				}
			}()
			f()
		}()
	}
}
