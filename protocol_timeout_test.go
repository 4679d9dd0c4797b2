// SPDX-License-Identifier: Apache-2.0

// Timeouts as the protocols write them.

package connect

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestGRPCTimeoutTable(t *testing.T) {
	for _, c := range []struct {
		d    time.Duration
		wire string
	}{
		{-time.Hour, "0n"},
		{0, "0n"},
		{1, "1n"},
		{99_999_999, "99999999n"},
		{100_000_000, "100000u"},
		{100_000_001, "100001u"},
		{time.Second, "1000000u"},
		{99_999_999 * time.Microsecond, "99999999u"},
		{99_999_999*time.Microsecond + 1, "100000m"},
		{99_999_999 * time.Millisecond, "99999999m"},
		{100_000 * time.Second, "100000S"},
		{99_999_999 * time.Second, "99999999S"},
		{100_000_000 * time.Second, "1666667M"},
		{99_999_999 * time.Minute, "99999999M"},
		{100_000_000 * time.Minute, "1666667H"},
		{math.MaxInt64, "2562048H"},
	} {
		if got := formatGRPCTimeout(c.d); got != c.wire {
			t.Errorf("formatGRPCTimeout(%v): got %q, want %q", c.d, got, c.wire)
		}
	}
	for _, c := range []struct {
		wire  string
		d     time.Duration
		timed bool
		ok    bool
	}{
		{"0n", 0, true, true},
		{"0H", 0, true, true},
		{"00000001S", time.Second, true, true},
		{"45u", 45 * time.Microsecond, true, true},
		{"99999999n", 99_999_999, true, true},
		{"99999999S", 99_999_999 * time.Second, true, true},
		{"99999999M", 99_999_999 * time.Minute, true, true},
		{"2562047H", 2_562_047 * time.Hour, true, true},
		{"2562048H", 0, false, true}, // more than a time.Duration holds
		{"99999999H", 0, false, true},
		{"", 0, false, false},
		{"S", 0, false, false},
		{"1", 0, false, false},
		{"12", 0, false, false},
		{"1s", 0, false, false},
		{"1x", 0, false, false},
		{"+1S", 0, false, false},
		{"-1S", 0, false, false},
		{" 1S", 0, false, false},
		{"1 S", 0, false, false},
		{"1S ", 0, false, false},
		{"1_0S", 0, false, false},
		{"0x1S", 0, false, false},
		{"1.5S", 0, false, false},
		{"１S", 0, false, false}, // a digit, but not of ASCII
		{"100000000n", 0, false, false},
		{"000000001n", 0, false, false},
	} {
		d, timed, err := parseGRPCTimeout(c.wire)
		if d != c.d || timed != c.timed || (err == nil) != c.ok {
			t.Errorf("parseGRPCTimeout(%q): got %v, %t, %v, want %v, %t, ok %t", c.wire, d, timed, err, c.d, c.timed, c.ok)
		}
	}
}

func TestConnectTimeoutTable(t *testing.T) {
	for d, wire := range map[time.Duration]string{
		-1:                      "1",
		0:                       "1",
		1:                       "1",
		time.Millisecond - 1:    "1",
		time.Millisecond:        "1",
		time.Millisecond + 1:    "2",
		5 * time.Second:         "5000",
		9_999_999_999 * 1e6:     "9999999999",
		9_999_999_999*1e6 + 1:   "",
		10_000_000_000 * 1e6:    "",
		math.MaxInt64:           "",
		9_999_999_999*1e6 - 1e6: "9999999998",
	} {
		if got := formatConnectTimeout(d); got != wire {
			t.Errorf("formatConnectTimeout(%d): got %q, want %q", d, got, wire)
		}
	}
	for _, c := range []struct {
		wire string
		d    time.Duration
		ok   bool
	}{
		{"0", 0, true},
		{"5000", 5 * time.Second, true},
		{"0000000001", time.Millisecond, true},
		{"9999999999", 9_999_999_999 * time.Millisecond, true},
		{"", 0, false},
		{"10000000000", 0, false},
		{"00000000001", 0, false},
		{"+5000", 0, false},
		{"-5000", 0, false},
		{"5s", 0, false},
		{"1e3", 0, false},
		{"1.0", 0, false},
		{" 1", 0, false},
		{"foo", 0, false},
	} {
		d, timed, err := parseConnectTimeout(c.wire)
		if d != c.d || timed != c.ok || (err == nil) != c.ok {
			t.Errorf("parseConnectTimeout(%q): got %v, %t, %v, want %v, ok %t", c.wire, d, timed, err, c.d, c.ok)
		}
	}
}

// TestTimeouts: a written timeout is never shorter than the original, is at most a
// unit longer, and grows with it.
func TestTimeouts(t *testing.T) {
	forms := map[string]facts{"connect": unaryFacts, "grpc": grpcFacts}
	for name, f := range forms {
		t.Run(name, func(t *testing.T) {
			parse := func(d time.Duration) (time.Duration, bool) {
				s := f.formatTTL(d)
				if s == "" {
					return math.MaxInt64, false
				}
				got, timed, err := f.parseTTL(s)
				if err != nil {
					t.Fatalf("%v: got %q, which is not read: %v", d, s, err)
				}
				if !timed {
					return math.MaxInt64, false
				}
				return got, true
			}
			randomly(t, 20000, func(t *testing.T, r *rand.Rand) {
				a := time.Duration(r.Int64() >> r.IntN(63))
				got, timed := parse(a)
				if got < a {
					t.Errorf("%v: got %v, which is shorter", a, got)
				}
				if most := a/100_000 + time.Millisecond; timed && got-a > most {
					t.Errorf("%v: got %v, want at most %v longer", a, got, most)
				}
				b := a + time.Duration(r.Int64N(1<<(1+r.IntN(40))))
				if b < a {
					return // overflow
				}
				if longer, _ := parse(b); longer < got {
					t.Errorf("%v becomes %v, the longer %v becomes %v", a, got, b, longer)
				}
			})
		})
	}
}

// FuzzTimeouts: a timeout that was read is exact and within bounds, and is the same
// after it is written and read again.
func FuzzTimeouts(f *testing.F) {
	for _, s := range []string{"", "0", "5000", "9999999999", "10000000000", "+1", "-1", "1S", "99999999H", "99999999M", "0n", "1x", "S", "+1S", "\x001S"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for name, fc := range map[string]facts{"connect": unaryFacts, "grpc": grpcFacts} {
			d, timed, err := fc.parseTTL(s)
			if err != nil {
				if timed || d != 0 {
					t.Errorf("%s: parse %q: got %v, %t with error %v", name, s, d, timed, err)
				}
				if name == "connect" && len(s) > 0 && len(s) <= 10 && strings.Trim(s, "0123456789") == "" {
					t.Errorf("%s: parse %q: got %v", name, s, err)
				}
				continue
			}
			if d < 0 || !timed && d != 0 {
				t.Errorf("%s: parse %q: got %v, %t", name, s, d, timed)
			}
			digits := strings.TrimRight(s, "numMSH")
			if digits == "" || strings.Trim(digits, "0123456789") != "" || len(s) > 10 {
				t.Errorf("%s: parse %q: got %v, want an error", name, s, d)
			}
			if !timed {
				continue
			}
			want := d
			if d == 0 && name == "connect" {
				want = time.Millisecond // the least that is written
			}
			again, _, err := fc.parseTTL(fc.formatTTL(d))
			if err != nil || again != want {
				t.Errorf("%s: parse %q: got %v, written and read %v, %v", name, s, d, again, err)
			}
		}
	})
}
