// SPDX-License-Identifier: Apache-2.0

// Handlers and callers that do not do their part: the other side waits or fails, memory is
// bounded, and nothing is left.

package inprocess_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect/inprocess"
)

// window is the most that one side may be ahead of the other: what waits in a pipe, and
// what a goroutine that copies holds.
const window = 64<<10 + 32<<10

// counted is a body without end that counts what was read.
type counted struct {
	read   atomic.Int64
	closed atomic.Int32
}

func (c *counted) Read(p []byte) (int, error) {
	if c.closed.Load() > 0 {
		return 0, io.ErrClosedPipe
	}
	c.read.Add(int64(len(p)))
	return len(p), nil
}

func (c *counted) Close() error {
	c.closed.Add(1)
	return nil
}

// inBubble runs a test in a bubble, which fails if a goroutine is left that waits.
func inBubble(t *testing.T, test func(*testing.T)) { t.Helper(); synctest.Test(t, test) }

// A handler that never reads holds its caller's body up after a window.
func TestHandlerNeverReads(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		body := new(counted)
		release := make(chan struct{})
		transport := withoutLog(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-release
		}))
		done := make(chan string)
		go func() { done <- outcome(transport.RoundTrip(newRequest(t, http.MethodPost, "/", body))) }()
		synctest.Wait()
		if got := body.read.Load(); got == 0 || got > window {
			t.Errorf("got %d bytes read ahead, want some and at most %d", got, window)
		}
		close(release)
		if got := <-done; !strings.Contains(got, "200 OK") {
			t.Errorf("got %s, want the answer", got)
		}
		synctest.Wait()
		if got := body.closed.Load(); got != 1 {
			t.Errorf("got %d closes of the body, want 1", got)
		}
	})
}

// A caller that never reads holds its handler up after a window, until it closes the body
// or its context ends: then the handler's writes fail, and its context ends.
func TestCallerNeverReads(t *testing.T) {
	for _, way := range []string{"close", "cancel", "deadline"} {
		inBubble(t, func(t *testing.T) {
			var written atomic.Int64
			failed := make(chan error, 1)
			transport := withoutLog(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for {
					n, err := w.Write(make([]byte, 1000))
					written.Add(int64(n))
					if err != nil {
						<-r.Context().Done()
						failed <- err
						return
					}
				}
			}))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			response, err := transport.RoundTrip(newRequest(t, http.MethodPost, "/", strings.NewReader("x")).WithContext(ctx))
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got := written.Load(); got < 1000 || got > window {
				t.Errorf("got %d bytes written ahead, want some and at most %d", got, window)
			}
			want := context.Canceled
			switch way {
			case "close":
				_ = response.Body.Close()
			case "cancel":
				cancel()
			case "deadline":
				time.Sleep(time.Minute)
				want = context.DeadlineExceeded
			}
			if err := <-failed; err == nil || !strings.Contains(err.Error(), "CANCEL") {
				t.Errorf("%s: got error %v of a write, want a reset with CANCEL", way, err)
			}
			if _, err := response.Body.Read(make([]byte, 1)); way != "close" && !errors.Is(err, want) {
				t.Errorf("%s: got error %v of a read, want %v", way, err, want)
			} else if err == nil {
				t.Errorf("%s: got no error of a read, want one", way)
			}
			_ = response.Body.Close()
		})
	}
}

// The caller's context ends: before the call, before the handler answers, in the middle of
// either body, after the handler's return. The caller returns, although the handler may
// not, and both sides see the end.
func TestCancelAtEveryPoint(t *testing.T) {
	for _, point := range []string{"before", "reading", "waiting", "flushed", "writing", "returned", "deaf"} {
		inBubble(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			release, ended := make(chan struct{}), make(chan struct{})
			transport := withoutLog(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(ended)
				switch point {
				case "reading":
					if _, err := io.ReadAll(r.Body); err == nil {
						t.Error("reading: got no error, want one")
					}
				case "waiting":
					<-r.Context().Done()
				case "flushed":
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
					if err := http.NewResponseController(w).Flush(); err == nil {
						t.Error("flushed: got no error of another Flush, want one")
					}
				case "writing":
					for {
						if _, err := w.Write(make([]byte, 100_000)); err != nil {
							return
						}
					}
				case "returned":
					_, _ = w.Write([]byte("some text"))
				case "deaf":
					<-release
				}
			}))
			body, end := io.Pipe()
			if point == "before" {
				cancel()
				close(ended)
			}
			result := make(chan error, 1)
			go func() {
				response, err := transport.RoundTrip(newRequest(t, http.MethodPost, "/", body).WithContext(ctx))
				if err == nil {
					<-ctx.Done()
					_, err = io.ReadAll(response.Body)
				}
				result <- err
			}()
			synctest.Wait()
			cancel()
			if err := <-result; !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v, want %v", point, err, context.Canceled)
			}
			synctest.Wait()
			if _, err := end.Write([]byte("x")); err == nil {
				t.Errorf("%s: got no error of a write to the request's body, want one, as it is closed", point)
			}
			close(release)
			<-ended
		})
	}
}

// A large body goes through in either direction, and takes little memory.
func TestLargeBodies(t *testing.T) {
	const size = 64 << 20
	sink := withoutLog(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	}))
	source := withoutLog(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		piece := make([]byte, 1<<20)
		for range size / len(piece) {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}))
	allocated := func(f func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	for name, f := range map[string]func() string{
		"request": func() string {
			r, err := sink.RoundTrip(newRequest(t, http.MethodPost, "/", io.LimitReader(new(counted), size)))
			if err != nil {
				return err.Error()
			}
			text, err := io.ReadAll(r.Body)
			return fmt.Sprint(string(text), err)
		},
		"response": func() string {
			r, err := source.RoundTrip(newRequest(t, http.MethodPost, "/", nil))
			if err != nil {
				return err.Error()
			}
			n, err := io.Copy(io.Discard, r.Body)
			return fmt.Sprint(n, " <nil>", err)
		},
	} {
		var got string
		bytes := allocated(func() { got = f() })
		if want := fmt.Sprint(size, " <nil><nil>"); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		if bytes > size/2 { // much less, except under the race detector, which drops pooled buffers
			t.Errorf("%s: got %d bytes allocated for %d, want at most half as many", name, bytes, size)
		}
	}
}

// A handler that leaves a goroutine behind disturbs nothing: its reads and writes fail.
func TestUseAfterReturn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		errs := make(chan error, 4)
		transport := withoutLog(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			go func() {
				<-r.Context().Done()
				_, err := w.Write([]byte("late"))
				errs <- err
				_, err = r.Body.Read(make([]byte, 1))
				errs <- err
				errs <- http.NewResponseController(w).Flush()
				w.WriteHeader(http.StatusTeapot)
				w.Header().Set("Late", "1")
			}()
			go func() { // waits for the caller when the handler returns
				_, err := w.Write(make([]byte, 1<<20))
				errs <- err
			}()
			synctest.Wait()
		}))
		response, err := transport.RoundTrip(newRequest(t, http.MethodPost, "/", strings.NewReader("x")))
		if err != nil {
			t.Fatal(err)
		}
		for range cap(errs) {
			if err := <-errs; err == nil {
				t.Error("got no error, want one")
			}
		}
		if body, err := io.ReadAll(response.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %d bytes and error %v, want %v: a part of the body is missing", len(body), err, io.ErrUnexpectedEOF)
		}
	})
}

// A handler that panics, or ends its goroutine, fails its call alone. A panic is logged.
func TestPanic(t *testing.T) {
	for what, end := range map[string]func(){
		"panic": func() { panic("some reason") },
		"abort": func() { panic(http.ErrAbortHandler) },
		"exit":  runtime.Goexit,
	} {
		var logged strings.Builder
		transport := inprocess.NewTransport(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { end() }))
		transport.ErrorLog = log.New(&logged, "", 0)
		_, err := transport.RoundTrip(newRequest(t, http.MethodPost, "/path", nil))
		if err == nil || !strings.Contains(err.Error(), "INTERNAL_ERROR") {
			t.Errorf("%s: got %v, want INTERNAL_ERROR", what, err)
		}
		if got := strings.Contains(logged.String(), "panic serving /path: some reason"); got != (what == "panic") {
			t.Errorf("%s: got log %q", what, logged.String())
		}
	}
}

// A ResponseWriter refuses more bytes than its Content-Length.
func TestTooLong(t *testing.T) {
	transport := withoutLog(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "4")
		_, _ = io.WriteString(w, "text")
		if _, err := io.WriteString(w, "more"); !errors.Is(err, http.ErrContentLength) {
			t.Errorf("got %v, want %v", err, http.ErrContentLength)
		}
	}))
	if got := outcome(transport.RoundTrip(newRequest(t, http.MethodPost, "/", nil))); !strings.Contains(got, ` "text" <nil>`) {
		t.Errorf("got %s, want the text", got)
	}
}

// The deadlines of a ResponseController end a read, and a write that waits for its caller.
func TestDeadlines(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		transport := withoutLog(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			_ = rc.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := r.Body.Read(make([]byte, 1)); kindOf(err) != "deadline" {
				t.Errorf("got %v of a read, want its deadline", err)
			}
			_ = rc.SetWriteDeadline(time.Now().Add(time.Second))
			if _, err := w.Write(make([]byte, 1<<20)); kindOf(err) != "deadline" {
				t.Errorf("got %v of a write, want its deadline", err)
			}
			<-r.Context().Done()
		}))
		body, end := io.Pipe()
		defer end.Close()
		start := time.Now()
		response, err := transport.RoundTrip(newRequest(t, http.MethodPost, "/", body))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if _, err := io.ReadAll(response.Body); err == nil || !strings.Contains(err.Error(), "INTERNAL_ERROR") {
			t.Errorf("got %v, want INTERNAL_ERROR", err)
		}
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("got the end after %v, want 3s", got)
		}
	})
}

func TestNilHandler(t *testing.T) {
	defer func() {
		if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "handler is nil") {
			t.Errorf("got %v, want a panic that names the handler", v)
		}
	}()
	inprocess.NewTransport(nil)
}

// TestSoak mixes calls: all ends of bodies, cancels and timeouts at random times, handlers
// that panic, return early or do not read. Every handler that has begun ends, every body is
// closed, and no goroutine is left, which the bubble checks.
func TestSoak(t *testing.T) {
	for seed := range uint64(2) {
		inBubble(t, func(t *testing.T) {
			var begun, ended, closed atomic.Int64
			transport := withoutLog(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				begun.Add(1)
				defer ended.Add(1)
				serveAny(w, r)
			}))
			var all sync.WaitGroup
			calls := int64(0)
			for i := range 8 {
				all.Go(func() {
					random := rand.New(rand.NewPCG(seed, uint64(i)))
					for range 150 {
						atomic.AddInt64(&calls, 1)
						callAny(t, transport, random, &closed)
					}
				})
			}
			all.Wait()
			synctest.Wait()
			time.Sleep(time.Minute) // for handlers that wait
			synctest.Wait()
			if begun.Load() == 0 || begun.Load() != ended.Load() {
				t.Errorf("seed %d: got %d handlers that ended of %d, want all", seed, ended.Load(), begun.Load())
			}
			if closed.Load() != calls {
				t.Errorf("seed %d: got %d closed bodies of %d, want all", seed, closed.Load(), calls)
			}
		})
	}
}

// serveAny does one of the things that handlers do, as the query asks.
func serveAny(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	switch r.URL.RawQuery {
	case "0":
		_, _ = io.Copy(w, r.Body)
	case "1":
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(make([]byte, 200_000))
	case "2":
		_ = rc.Flush()
		<-r.Context().Done()
	case "3":
		panic(http.ErrAbortHandler)
	case "4":
		_, _ = w.Write(make([]byte, 10))
		_ = rc.Flush()
		panic(http.ErrAbortHandler)
	case "5":
		time.Sleep(10 * time.Millisecond)
	case "6":
		_ = rc.SetReadDeadline(time.Now().Add(time.Millisecond))
		_ = rc.SetWriteDeadline(time.Now().Add(3 * time.Millisecond))
		_, _ = io.Copy(w, r.Body)
	}
}

// slowBody is a body that takes time, and counts its first Close.
type slowBody struct {
	io.Reader
	pause  time.Duration
	once   sync.Once
	done   chan struct{}
	closed *atomic.Int64
}

func (b *slowBody) Read(p []byte) (int, error) {
	select {
	case <-b.done:
		return 0, io.ErrClosedPipe
	case <-time.After(b.pause):
	}
	return b.Reader.Read(p)
}

func (b *slowBody) Close() error {
	b.once.Do(func() {
		close(b.done)
		b.closed.Add(1)
	})
	return nil
}

// callAny makes one call, and leaves it at some point.
func callAny(t *testing.T, transport http.RoundTripper, random *rand.Rand, closed *atomic.Int64) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	switch random.IntN(3) {
	case 0:
		timer := time.AfterFunc(time.Duration(random.IntN(8))*time.Millisecond, cancel)
		defer timer.Stop()
	case 1:
		var end context.CancelFunc
		ctx, end = context.WithTimeout(ctx, time.Duration(1+random.IntN(20))*time.Millisecond)
		defer end()
	}
	body := &slowBody{
		Reader: io.LimitReader(new(counted), int64(random.IntN(150_000))),
		pause:  time.Duration(random.IntN(3)) * time.Millisecond, done: make(chan struct{}), closed: closed,
	}
	r := newRequest(t, http.MethodPost, fmt.Sprintf("/?%d", random.IntN(7)), body)
	response, err := transport.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return
	}
	timer := time.AfterFunc(time.Second, cancel) // as the handler may wait for the end
	defer timer.Stop()
	switch random.IntN(4) {
	case 0:
		_ = response.Body.Close()
	case 1:
		_, _ = io.CopyN(io.Discard, response.Body, 1000)
		_ = response.Body.Close()
	case 2:
		_, _ = io.Copy(io.Discard, response.Body)
	}
}
