// SPDX-License-Identifier: Apache-2.0

// Service configs: what they ask for, and those that are refused.

package retry_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/retry"
)

const config = `{
  "loadBalancingConfig": [{"round_robin": {}}],
  "somethingNew": {"a": [1, 2]},
  "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
  "methodConfig": [
    {"name": [{}], "timeout": "60s"},
    {"name": [{"service": "test.v1.S"}], "retryPolicy": {"maxAttempts": 9, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE", 10]}},
    {"name": [{"service": "test.v1.S", "method": "Server"}], "waitForReady": true, "timeout": "1.5s"},
    {"name": [{"service": "test.v1.S", "method": "Client"}], "hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "1s", "nonFatalStatusCodes": ["CANCELLED"]}}
  ]
}`

// TestServiceConfig calls procedures for which a config has different policies.
func TestServiceConfig(t *testing.T) {
	policy, err := retry.ParseServiceConfig([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	aborted := connect.NewError(connect.CodeAborted, errors.New("conflict"))
	for _, c := range []struct {
		path string
		err  error
		runs int
	}{
		{pathUnary, unavailable(), 5}, // nine count as five
		{pathUnary, aborted, 5},
		{pathUnary, connect.NewError(connect.CodeInternal, errors.New("bug")), 1},
		{pathServer, unavailable(), 1}, // the method's own config has no policy
	} {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, func(context.Context, int, http.Header, func() (*message, error), func(*message) error) error {
				return c.err
			})
			_, err := call(t.Context(), s.client(c.path, unknown, policy), c.path)
			if connect.CodeOf(err) != connect.CodeOf(c.err) {
				t.Errorf("%s: got %v, want the code of %v", c.path, err, c.err)
			}
			s.wantRuns(t, c.runs)
		})
	}
	synctest.Test(t, func(t *testing.T) { // the timeout of a method
		s := serve(t, func(ctx context.Context, _ int, _ http.Header, _ func() (*message, error), _ func(*message) error) error {
			<-ctx.Done()
			return ctx.Err()
		})
		const want = 1500 * time.Millisecond
		began := time.Now()
		_, err := call(t.Context(), s.client(pathServer, unknown, policy), pathServer)
		if took := time.Since(began); took != want || connect.CodeOf(err) != connect.CodeDeadlineExceeded {
			t.Errorf("got %v after %v, want deadline_exceeded after %v", err, took, want)
		}
	})
}

// TestServiceConfigRefused lists configs that have a mistake, and the text that the error contains.
func TestServiceConfigRefused(t *testing.T) {
	method := func(rest string) string { return `{"methodConfig": [{"name": [{"service": "a.B"}], ` + rest + `}]}` }
	policy := func(rest string) string {
		return method(`"retryPolicy": {"maxAttempts": 3, "initialBackoff": "1s", "maxBackoff": "1s", "backoffMultiplier": 1, "retryableStatusCodes": [14]` + rest + `}`)
	}
	if _, err := retry.ParseServiceConfig([]byte(policy(""))); err != nil {
		t.Errorf("got %v for the config without a mistake", err)
	}
	for name, c := range map[string]struct{ config, text string }{
		"no JSON":            {`{`, "unexpected end of JSON"},
		"two policies":       {method(`"retryPolicy": {}, "hedgingPolicy": {}`), "a retryPolicy and a hedgingPolicy"},
		"one attempt":        {policy(`, "maxAttempts": 1`), "maxAttempts of at least 2"},
		"no codes":           {policy(`, "retryableStatusCodes": []`), "retryableStatusCodes"},
		"code OK":            {policy(`, "retryableStatusCodes": ["OK"]`), "not a status code"},
		"code 0":             {policy(`, "retryableStatusCodes": [0]`), "not a status code"},
		"unknown code":       {policy(`, "retryableStatusCodes": ["BUSY"]`), `"BUSY" is not a status code`},
		"number as backoff":  {policy(`, "initialBackoff": 1`), "not a duration"},
		"negative backoff":   {policy(`, "initialBackoff": "-1s"`), "positive initialBackoff"},
		"zero timeout":       {method(`"timeout": "0s"`), "expected a positive one"},
		"bound of a request": {method(`"maxRequestMessageBytes": 4`), "connect.WithSendMaxBytes"},
		"bound of an answer": {method(`"maxResponseMessageBytes": 4`), "connect.WithReadMaxBytes"},
		"hedge of one":       {method(`"hedgingPolicy": {"maxAttempts": 1}`), "maxAttempts of at least 2"},
		"named twice":        {`{"methodConfig": [{"name": [{"service": "a.B"}]}, {"name": [{"service": "a.B"}]}]}`, "named twice"},
		"method alone":       {`{"methodConfig": [{"name": [{"method": "C"}]}]}`, "without a service"},
		"slash":              {`{"methodConfig": [{"name": [{"service": "a.B/C"}]}]}`, "contains a slash"},
		"throttling":         {`{"retryThrottling": {"maxTokens": 2000, "tokenRatio": 1}}`, "maxTokens <= 1000"},
	} {
		if _, err := retry.ParseServiceConfig([]byte(c.config)); err == nil || !strings.HasPrefix(err.Error(), "retry: ") || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.text)
		}
	}
}

// FuzzServiceConfig has no config make ParseServiceConfig panic.
func FuzzServiceConfig(f *testing.F) {
	f.Add([]byte(config))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = retry.ParseServiceConfig(data)
	})
}
