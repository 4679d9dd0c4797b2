// SPDX-License-Identifier: Apache-2.0

// Service configs: what they ask for, and those that are refused.

package retry_test

import (
	"context"
	"errors"
	"net"
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
		"code OK":            {policy(`, "retryableStatusCodes": ["OK"]`), `methodConfig.retryPolicy.retryableStatusCodes: got "OK", expected a status code of an error`},
		"code 0":             {policy(`, "retryableStatusCodes": [0]`), "retryableStatusCodes: got 0, expected a status code"},
		"unknown code":       {policy(`, "retryableStatusCodes": ["BUSY"]`), `got "BUSY", expected a status code of an error, such as "UNAVAILABLE" or 14`},
		"number as backoff":  {policy(`, "initialBackoff": 1`), `methodConfig.retryPolicy.initialBackoff: got 1, expected a duration such as "1.5s"`},
		"text as backoff":    {policy(`, "maxBackoff": "soon"`), `methodConfig.retryPolicy.maxBackoff: got "soon", expected a duration`},
		"text as delay":      {method(`"hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "2 s"}`), "methodConfig.hedgingPolicy.hedgingDelay: got"},
		"object as timeout":  {method(`"timeout": {"seconds": 1, "nanos": 1000000, "more": "and more"}`), "methodConfig.timeout: got {"},
		"text as number":     {policy(`, "maxAttempts": "3"`), "methodConfig.retryPolicy.maxAttempts: got string, expected a whole number"},
		"half an attempt":    {policy(`, "maxAttempts": 2.5`), "methodConfig.retryPolicy.maxAttempts: got number 2.5, expected a whole number"},
		"text as factor":     {policy(`, "backoffMultiplier": "2"`), "methodConfig.retryPolicy.backoffMultiplier: got string, expected a number"},
		"a code, no list":    {policy(`, "retryableStatusCodes": 14`), "methodConfig.retryPolicy.retryableStatusCodes: got number, expected an array"},
		"a list of lists":    {policy(`, "retryableStatusCodes": [[14]]`), "methodConfig.retryPolicy.retryableStatusCodes: got [14], expected a status code"},
		"number as service":  {`{"methodConfig": [{"name": [{"service": 1}]}]}`, "methodConfig.name.service: got number, expected a string"},
		"name, no list":      {`{"methodConfig": [{"name": {}}]}`, "methodConfig.name: got object, expected an array"},
		"methods, no list":   {`{"methodConfig": {}}`, "methodConfig: got object, expected an array"},
		"text as throttling": {`{"retryThrottling": "much"}`, "retryThrottling: got string, expected an object"},
		"text as tokens":     {`{"retryThrottling": {"maxTokens": "10", "tokenRatio": 1}}`, "retryThrottling.maxTokens: got string, expected a number"},
		"a list":             {`[]`, "parsing a service config: got array, expected an object"},
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

// TestFallingBackoff has a service config whose pauses become shorter, and a server that
// cannot be reached: attempts do not follow each other without a pause.
func TestFallingBackoff(t *testing.T) {
	policy, err := retry.ParseServiceConfig([]byte(`{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 3,
		"initialBackoff": "1s", "maxBackoff": "1s", "backoffMultiplier": 0.001, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		attempts := 0
		client := overTransport(transportFunc(func(*http.Request) (*http.Response, error) {
			if attempts++; attempts == 1000 {
				cancel()
			}
			return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
		}), pathUnary, unknown, policy)
		if _, err := call(ctx, client, pathUnary); err == nil || attempts == 1000 {
			t.Errorf("got %v after %d attempts in a minute, want an error after about 120", err, attempts)
		}
	})
}
