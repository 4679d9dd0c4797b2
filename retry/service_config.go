// SPDX-License-Identifier: Apache-2.0

// The service config of gRPC, in JSON, as a policy.

package retry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/seed-b7c59c10/connect"
)

// attemptsMost is the most attempts that a service config can ask for. [gRFC A6]
const attemptsMost = 5

// ParseServiceConfig returns the policy that a service config of gRPC asks for, in
// JSON: of methodConfig the name, timeout, retryPolicy and hedgingPolicy, and
// retryThrottling. More than five attempts count as five. Calls for which the config
// names no policy are not repeated.
//
// Fields that concern other parts of a client, such as loadBalancingConfig, and unknown
// ones are ignored. It is an error if a field has a value that gRPC does not allow, a
// method has two policies, or the config sets maxRequestMessageBytes or
// maxResponseMessageBytes, for which the client has [connect.WithSendMaxBytes] and
// [connect.WithReadMaxBytes]. The options apply after the config.
//
// The format is google.golang.org/grpc's ServiceConfig, specified in
// grpc/service_config/service_config.proto and gRFC A6.
func ParseServiceConfig(config []byte, options ...Option) (*Policy, error) {
	var c serviceConfig
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, fmt.Errorf("retry: parsing a service config: %w", explain(err))
	}
	for _, o := range options {
		if isNil(o) {
			return nil, errors.New("retry: ParseServiceConfig: an option is nil")
		}
	}
	all := []Option{Attempts(1)}
	if t := c.RetryThrottling; t != nil {
		if t.MaxTokens <= 0 || t.MaxTokens > 1000 || t.TokenRatio <= 0 {
			return nil, fmt.Errorf("retry: retryThrottling: got maxTokens %v and tokenRatio %v: expected 0 < maxTokens <= 1000 and a positive ratio", t.MaxTokens, t.TokenRatio)
		}
		all = append(all, Tokens(t.MaxTokens, t.TokenRatio))
	}
	seen := make(map[string]bool)
	for i, m := range c.MethodConfig {
		found, err := m.options()
		if err != nil {
			return nil, fmt.Errorf("retry: methodConfig[%d]: %w", i, err)
		}
		for _, name := range m.Name {
			key := "/" + name.Service + "/" + name.Method
			switch {
			case name.Service == "" && name.Method != "":
				return nil, fmt.Errorf("retry: methodConfig[%d]: name has method %q without a service", i, name.Method)
			case strings.Contains(name.Service+name.Method, "/"):
				return nil, fmt.Errorf("retry: methodConfig[%d]: name %q, %q contains a slash", i, name.Service, name.Method)
			case seen[key]:
				return nil, fmt.Errorf("retry: methodConfig[%d]: service %q, method %q is named twice", i, name.Service, name.Method)
			}
			seen[key] = true
			if name.Service == "" { // the default of all methods
				for _, o := range found {
					all = append(all, o)
				}
				continue
			}
			all = append(all, For(key, append([]RuleOption{reset}, found...)...))
		}
	}
	return New(append(all, options...)...), nil
}

// explain returns an error that names the field whose value is of a wrong type, and what
// it should be, for one of [json.Unmarshal].
func explain(err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err
	}
	field, got, expected := "", wrong.Value, "an object"
	if wrong.Field != "" {
		field = wrong.Field + ": "
	}
	if len(got) > 40 {
		got = got[:40] + "…"
	}
	switch wrong.Type {
	case reflect.TypeFor[duration]():
		expected = "a duration such as \"1.5s\""
	case reflect.TypeFor[code]():
		expected = "a status code of an error, such as \"UNAVAILABLE\" or 14"
	default:
		switch wrong.Type.Kind() {
		case reflect.Int:
			expected = "a whole number"
		case reflect.Float64:
			expected = "a number"
		case reflect.String:
			expected = "a string"
		case reflect.Slice:
			expected = "an array"
		}
	}
	return fmt.Errorf("%sgot %s, expected %s", field, got, expected)
}

// reset makes a rule that of a method without a policy: the default of all methods does
// not apply to a method that the config names.
func reset(r *rule) {
	r.attempts, r.timeout, r.overall, r.codes, r.hedge = 1, 0, 0, nil, hedge{}
}

type serviceConfig struct {
	MethodConfig    []methodConfig `json:"methodConfig"`
	RetryThrottling *struct {
		MaxTokens  float64 `json:"maxTokens"`
		TokenRatio float64 `json:"tokenRatio"`
	} `json:"retryThrottling"`
}

type methodConfig struct {
	Name []struct {
		Service string `json:"service"`
		Method  string `json:"method"`
	} `json:"name"`
	Timeout       *duration      `json:"timeout"`
	RetryPolicy   *retryPolicy   `json:"retryPolicy"`
	HedgingPolicy *hedgingPolicy `json:"hedgingPolicy"`

	MaxRequestMessageBytes  json.RawMessage `json:"maxRequestMessageBytes"`
	MaxResponseMessageBytes json.RawMessage `json:"maxResponseMessageBytes"`
}

type retryPolicy struct {
	MaxAttempts          int       `json:"maxAttempts"`
	InitialBackoff       duration  `json:"initialBackoff"`
	MaxBackoff           duration  `json:"maxBackoff"`
	BackoffMultiplier    float64   `json:"backoffMultiplier"`
	RetryableStatusCodes []code    `json:"retryableStatusCodes"`
	PerAttemptRecv       *duration `json:"perAttemptRecvTimeout"`
}

type hedgingPolicy struct {
	MaxAttempts         int      `json:"maxAttempts"`
	HedgingDelay        duration `json:"hedgingDelay"`
	NonFatalStatusCodes []code   `json:"nonFatalStatusCodes"`
}

// options returns the options of one methodConfig.
func (m *methodConfig) options() ([]RuleOption, error) {
	var all []RuleOption
	switch {
	case m.RetryPolicy != nil && m.HedgingPolicy != nil:
		return nil, fmt.Errorf("it has a retryPolicy and a hedgingPolicy: expected one of them")
	case m.MaxRequestMessageBytes != nil:
		return nil, fmt.Errorf("maxRequestMessageBytes is not supported: use connect.WithSendMaxBytes")
	case m.MaxResponseMessageBytes != nil:
		return nil, fmt.Errorf("maxResponseMessageBytes is not supported: use connect.WithReadMaxBytes")
	}
	if t := m.Timeout; t != nil {
		if *t <= 0 {
			return nil, fmt.Errorf("timeout is %v: expected a positive one", time.Duration(*t))
		}
		all = append(all, func(r *rule) { r.overall = time.Duration(*t) })
	}
	if p := m.RetryPolicy; p != nil {
		if p.MaxAttempts < 2 || p.InitialBackoff <= 0 || p.MaxBackoff <= 0 || p.BackoffMultiplier <= 0 || len(p.RetryableStatusCodes) == 0 {
			return nil, fmt.Errorf("retryPolicy: expected maxAttempts of at least 2, positive initialBackoff, maxBackoff and backoffMultiplier, and retryableStatusCodes")
		}
		all = append(all, Attempts(min(p.MaxAttempts, attemptsMost)), codesOf(p.RetryableStatusCodes),
			func(r *rule) {
				r.backoff = backoff{time.Duration(p.InitialBackoff), time.Duration(p.MaxBackoff), p.BackoffMultiplier}
			})
		if t := p.PerAttemptRecv; t != nil {
			if *t <= 0 {
				return nil, fmt.Errorf("retryPolicy: perAttemptRecvTimeout is %v: expected a positive one", time.Duration(*t))
			}
			all = append(all, AttemptTimeout(time.Duration(*t)))
		}
	}
	if p := m.HedgingPolicy; p != nil {
		if p.MaxAttempts < 2 || p.HedgingDelay < 0 {
			return nil, fmt.Errorf("hedgingPolicy: expected maxAttempts of at least 2 and no negative hedgingDelay")
		}
		all = append(all, Hedge(time.Duration(p.HedgingDelay), min(p.MaxAttempts, attemptsMost)), codesOf(p.NonFatalStatusCodes))
	}
	return all, nil
}

func codesOf(codes []code) RuleOption {
	all := make([]connect.Code, len(codes))
	for i, c := range codes {
		all[i] = connect.Code(c)
	}
	return Codes(all...)
}

// A duration is a google.protobuf.Duration in JSON, such as "1.5s".
type duration time.Duration

func (d *duration) UnmarshalJSON(data []byte) error {
	var p durationpb.Duration
	if err := protojson.Unmarshal(data, &p); err != nil {
		return &json.UnmarshalTypeError{Value: string(data), Type: reflect.TypeFor[duration]()}
	}
	*d = duration(p.AsDuration())
	return nil
}

// A code is a status code of gRPC: its name in upper case, or its number.
type code connect.Code

func (c *code) UnmarshalJSON(data []byte) error {
	var got connect.Code
	text := bytes.ToLower(bytes.Trim(data, `"`))
	if string(text) == "cancelled" {
		text = []byte("canceled")
	}
	var number uint32
	err := json.Unmarshal(text, &number)
	if err == nil {
		got = connect.Code(number)
	} else {
		err = got.UnmarshalText(text)
	}
	if err != nil || got < connect.CodeCanceled || got > connect.CodeUnauthenticated {
		return &json.UnmarshalTypeError{Value: string(data), Type: reflect.TypeFor[code]()}
	}
	*c = code(got)
	return nil
}
