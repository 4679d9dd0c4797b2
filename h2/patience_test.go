// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"testing"
	"time"
)

func TestParseTimeout(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        time.Duration
		ok          bool
	}{
		{"grpc-timeout", "10m", 10 * time.Millisecond, true},
		{"grpc-timeout", "99999999H", time.Hour, true},
		{"grpc-timeout", "7u", 7 * time.Microsecond, true},
		{"grpc-timeout", "1S", time.Second, true},
		{"grpc-timeout", "0n", 0, true},
		{"grpc-timeout", "2M", 2 * time.Minute, true},
		{"grpc-timeout", "100000000m", 0, false},
		{"grpc-timeout", "m", 0, false},
		{"grpc-timeout", "", 0, false},
		{"grpc-timeout", "-1m", 0, false},
		{"grpc-timeout", "1x", 0, false},
		{"connect-timeout-ms", "250", 250 * time.Millisecond, true},
		{"connect-timeout-ms", "9999999999", time.Hour, true},
		{"connect-timeout-ms", "10000000000", 0, false},
		{"connect-timeout-ms", "1s", 0, false},
		{"x-timeout", "1", 0, false},
	} {
		if got, ok := parseTimeout(c.name, c.value); got != c.want || ok != c.ok {
			t.Errorf("%s %q: got %v, %v, want %v, %v", c.name, c.value, got, ok, c.want, c.ok)
		}
	}
}
