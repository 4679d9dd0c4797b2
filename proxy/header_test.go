// SPDX-License-Identifier: Apache-2.0

// This file tests the pure parts: timeouts, headers and frames.

package proxy

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTimeoutOf(t *testing.T) {
	for _, c := range []struct {
		contentType, key, value string
		want                    time.Duration
		ok                      bool
	}{
		{"application/json", "Connect-Timeout-Ms", "1500", 1500 * time.Millisecond, true},
		{"application/connect+proto", "Connect-Timeout-Ms", "0", 0, true},
		{"application/json", "Connect-Timeout-Ms", "", 0, false},
		{"application/json", "Connect-Timeout-Ms", "-1", 0, false},
		{"application/json", "Connect-Timeout-Ms", "1s", 0, false},
		{"application/json", "Connect-Timeout-Ms", "99999999999", 0, false},
		{"application/json", "Grpc-Timeout", "1S", 0, false},
		{"application/grpc", "Grpc-Timeout", "2H", 2 * time.Hour, true},
		{"application/grpc+proto", "Grpc-Timeout", "3M", 3 * time.Minute, true},
		{"application/grpc-web+json", "Grpc-Timeout", "4S", 4 * time.Second, true},
		{"application/grpc", "Grpc-Timeout", "5m", 5 * time.Millisecond, true},
		{"application/grpc", "Grpc-Timeout", "6u", 6 * time.Microsecond, true},
		{"application/grpc", "Grpc-Timeout", "7n", 7, true},
		{"application/grpc", "Grpc-Timeout", "9999999999H", 0, false},
		{"application/grpc", "Grpc-Timeout", "5", 0, false},
		{"application/grpc", "Grpc-Timeout", "S", 0, false},
		{"application/grpc", "Grpc-Timeout", "", 0, false},
		{"application/grpc", "Connect-Timeout-Ms", "5", 0, false},
	} {
		h := http.Header{"Content-Type": {c.contentType}, c.key: {c.value}}
		if got, ok := timeoutOf(h); got != c.want || ok != c.ok {
			t.Errorf("%s %s %q: got %v, %v, want %v, %v", c.contentType, c.key, c.value, got, ok, c.want, c.ok)
		}
	}
}

func TestAddForwarded(t *testing.T) {
	from := http.Header{
		"Kept": {"1", "2"}, "Kept-Bin": {"AA"}, "Authorization": {"a"}, "Connection": {"close, private ,"}, "Private": {"x"}, "Te": {"trailers"},
		"Grpc-Timeout": {"1S"}, "Connect-Protocol-Version": {"1"}, "Content-Type": {"application/json"}, "Via": {"1.1 a"}, "lower": {"x"}, "te": {"x"},
	}
	to := http.Header{"Kept": {"0"}}
	addForwarded(to, from)
	want := http.Header{"Kept": {"0", "1", "2"}, "Kept-Bin": {"AA"}, "Authorization": {"a"}, "lower": {"x"}}
	if diff := cmp.Diff(want, to); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

// frames finds the same place in a body however it is cut into reads.
func TestFrames(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var body []byte
		ends := map[int]bool{0: true}
		for range random.IntN(5) {
			n := random.IntN(600)
			body = append(body, byte(random.IntN(2)), 0, 0, byte(n>>8), byte(n))
			body = append(body, make([]byte, n)...)
			ends[len(body)] = true
		}
		f := &frames{endFlag: 0x80}
		for at := 0; at < len(body); {
			n := min(1+random.IntN(300), len(body)-at)
			f.pass(body[at : at+n])
			at += n
			if f.between() != ends[at] {
				t.Fatalf("after %d bytes of frames that end at %v: got between %v", at, ends, f.between())
			}
		}
		if f.ended {
			t.Fatal("got the end of a body without one")
		}
		if f.pass([]byte{0x80, 0, 0, 0, 0}); !f.ended || f.between() {
			t.Fatal("the last frame was not found")
		}
	}
	huge := &frames{}
	huge.pass([]byte{0, 0xff, 0xff, 0xff, 0xff})
	huge.pass(make([]byte, 1000))
	if huge.left != 0xffffffff-1000 {
		t.Errorf("got %d bytes left of a frame of 4 GiB", huge.left)
	}
}
