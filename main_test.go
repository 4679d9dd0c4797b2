// SPDX-License-Identifier: Apache-2.0

// Parts of all tests of the package: the check for leaked goroutines, and random
// values for tests of properties.

package connect

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	before := goroutines()
	status := m.Run()
	if leaked := leakedSince(before); status == 0 && len(leaked) > 0 {
		fmt.Fprintf(os.Stderr, "got %d goroutines that the tests left behind, want none:\n\n%s\n",
			len(leaked), strings.Join(leaked, "\n\n"))
		status = 1
	}
	os.Exit(status)
}

// leakedSince returns the stacks of goroutines that are not in before. Those
// that are about to end get the time to do so.
func leakedSince(before map[string]string) []string {
	var leaked []string
	for range 200 {
		if t, ok := http.DefaultTransport.(*http.Transport); ok {
			t.CloseIdleConnections()
		}
		leaked = leaked[:0]
		for id, stack := range goroutines() {
			if _, ok := before[id]; !ok {
				leaked = append(leaked, stack)
			}
		}
		if len(leaked) == 0 {
			return nil
		}
		time.Sleep(25 * time.Millisecond)
	}
	return leaked
}

// goroutines returns the stacks of all goroutines but those of the testing
// package and of signal handling, by "goroutine N".
func goroutines() map[string]string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	stacks := make(map[string]string)
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		id, rest, _ := strings.Cut(stack, " [")
		switch {
		case strings.Contains(rest, "os/signal."), strings.Contains(rest, "testing.(*M)"),
			strings.Contains(rest, "testing.(*T).Run"), strings.Contains(rest, "connect.goroutines("):
			continue
		}
		stacks[id] = stack
	}
	return stacks
}

// TestLeakCheck leaks a goroutine, which the check must find.
func TestLeakCheck(t *testing.T) {
	before := goroutines()
	started, release, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		close(started)
		<-release
	}()
	<-started
	after := goroutines()
	found := 0
	for id := range after {
		if _, ok := before[id]; !ok {
			found++
		}
	}
	close(release)
	<-done
	if found == 0 {
		t.Errorf("got no new goroutine among %d, want the one that was leaked", len(after))
	}
}

// randomly calls f with many generators, each with a seed of its own, so that a
// failure names the case that repeats it.
func randomly(t *testing.T, times int, f func(t *testing.T, r *rand.Rand)) {
	t.Helper()
	if testing.Short() {
		times = times/10 + 1
	}
	for seed := range times {
		f(t, rand.New(rand.NewPCG(uint64(seed), 0)))
		if t.Failed() {
			t.Fatalf("the failing seed is %d", seed)
		}
	}
}

// randomBytes returns up to most bytes of any value.
func randomBytes(r *rand.Rand, most int) []byte {
	b := make([]byte, r.IntN(most+1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// randomText returns a text: plain, with escapes, of several scripts, of any
// bytes, or empty.
func randomText(r *rand.Rand) string {
	switch r.IntN(6) {
	case 0:
		return ""
	case 1:
		return string(randomBytes(r, 40))
	case 2:
		return []string{"100%", "%zz", "%2", "%%%", "100%25", "\x00", "a\r\nb", "\ufffd", "\xff\xfe", "%C3%B6", " both ends "}[r.IntN(11)]
	case 3:
		return []string{"schön", "名前が違う", "naïve\tcafé\n", "🙂"}[r.IntN(4)]
	}
	b := make([]byte, 1+r.IntN(30))
	for i := range b {
		b[i] = byte('!' + r.IntN('~'-'!'+1))
	}
	return string(b)
}

// randomCode returns one of the sixteen codes.
func randomCode(r *rand.Rand) Code {
	return codeMin + Code(r.IntN(int(codeMax-codeMin)+1))
}

// randomHeader returns metadata as applications set it: canonical keys, values
// that a header may have, some of them several times.
func randomHeader(r *rand.Rand) http.Header {
	const tokens = "abcdefghijklmnopqrstuvwxyz0123456789-_.!#$%&'*+^`|~"
	h := make(http.Header)
	for range r.IntN(4) {
		b := make([]byte, 1+r.IntN(12))
		for i := range b {
			b[i] = tokens[r.IntN(len(tokens))]
		}
		key := http.CanonicalHeaderKey("X-" + string(b))
		for range 1 + r.IntN(3) {
			h[key] = append(h[key], randomValue(r))
		}
	}
	if r.IntN(4) == 0 {
		h["X-Data-Bin"] = []string{EncodeBinaryHeader(randomBytes(r, 30))}
	}
	return h
}

// randomValue returns a header value: printable ASCII, no space at the ends.
func randomValue(r *rand.Rand) string {
	b := make([]byte, r.IntN(20))
	for i := range b {
		b[i] = byte(' ' + r.IntN('~'-' '+1))
	}
	return strings.TrimSpace(string(b))
}

// randomDetails returns error details: of known and unknown types, with values
// that need not be valid.
func randomDetails(r *rand.Rand) []*ErrorDetail {
	var details []*ErrorDetail
	for range r.IntN(3) {
		name := []string{"google.protobuf.Duration", "acme.foo.v1.Reason", "google.protobuf.StringValue"}[r.IntN(3)]
		details = append(details, &ErrorDetail{typeURL: typeURLPrefix + name, value: string(randomBytes(r, 20))})
	}
	return details
}

// randomError returns an error as a handler may return it, nil sometimes.
func randomError(r *rand.Rand) *Error {
	if r.IntN(4) == 0 {
		return nil
	}
	e := &Error{code: randomCode(r), details: randomDetails(r), cause: messageError(randomText(r))}
	if r.IntN(2) == 0 {
		e.meta = randomHeader(r)
	}
	return e
}
