// SPDX-License-Identifier: Apache-2.0

// Request bodies in pooled buffers, with transports that keep the rules of
// http.RoundTripper and with some that break them.

package connect

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// TestLentBuffer: the buffer is freed when its owner and all readers are done, and not
// before. Afterwards it can neither be read nor opened.
func TestLentBuffer(t *testing.T) {
	watched := new(watchedPool)
	withPool(watched, func() {
		b := newBuffer(0)
		b.data = append(b.data, "some bytes"...)
		l := new(lentBuffer)
		l.lend(b)
		first, err := l.reader()
		if err != nil {
			t.Fatal(err)
		}
		if n, err := first.Read(make([]byte, 4)); n != 4 || err != nil {
			t.Errorf("got %d bytes, %v, want 4", n, err)
		}
		second, err := l.reader()
		if err != nil {
			t.Fatal(err)
		}
		_ = first.Close()
		_ = first.Close()
		if n, err := first.Read(make([]byte, 4)); n != 0 || err == nil || err == io.EOF {
			t.Errorf("closed: got %d bytes, %v, want an error that is not the end", n, err)
		}
		l.giveBack()
		if len(watched.freed) != 0 {
			t.Error("freed while a reader is open")
		}
		third, err := l.reader()
		if err != nil {
			t.Errorf("while a reader is open: got %v, want another reader", err)
		}
		for _, r := range []io.ReadCloser{second, third} {
			if got, err := io.ReadAll(r); string(got) != "some bytes" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
			_ = r.Close()
		}
		if len(watched.freed) != 1 {
			t.Errorf("got %d buffers back, want 1", len(watched.freed))
		}
		if _, err := l.reader(); err != errLentBack {
			t.Errorf("after the end: got %v, want %v", err, errLentBack)
		}
		_ = second.Close()
	})
	for _, fault := range watched.check() {
		t.Error(fault)
	}
}

// TestLentBufferConcurrently: readers that are read, closed and opened by several
// goroutines return the bytes that were lent, or an error.
func TestLentBufferConcurrently(t *testing.T) {
	watched := new(watchedPool)
	withPool(watched, func() {
		for range 50 {
			b := newBuffer(0)
			b.data = append(b.data, bytes.Repeat([]byte{7}, 1000)...)
			l := new(lentBuffer)
			l.lend(b)
			var wg sync.WaitGroup
			for range 4 {
				r, err := l.reader()
				if err != nil {
					t.Fatal(err)
				}
				wg.Go(func() {
					p := make([]byte, 10)
					for {
						n, err := r.Read(p)
						if bytes.Count(p[:n], []byte{7}) != n {
							t.Errorf("got %x", p[:n])
						}
						if err != nil {
							return
						}
					}
				})
				wg.Go(func() { _ = r.Close() })
				wg.Go(func() { _ = r.Close() })
			}
			wg.Go(l.giveBack)
			wg.Wait()
			if _, err := l.reader(); err != errLentBack {
				t.Fatalf("got %v, want %v", err, errLentBack)
			}
		}
	})
	if len(watched.freed) != 50 {
		t.Errorf("got %d buffers back, want 50", len(watched.freed))
	}
	for _, fault := range watched.check() {
		t.Error(fault)
	}
}

// roundTripper is a transport that is no [http.Transport].
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answerOf returns a response of unary Connect with an empty message.
func answerOf(r *http.Request) *http.Response {
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/proto"}}, Body: http.NoBody,
	}
}

// TestLateTransports: transports that keep a request's body after they have returned,
// read it twice, or misuse it, never read bytes of another call.
func TestLateTransports(t *testing.T) {
	message := wrapperspb.String(string(bytes.Repeat([]byte("lent"), 50_000)))
	want, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	var late sync.WaitGroup // of the reads after transports have returned
	ended := make(chan struct{})
	whole := func(what string, r io.Reader) {
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got %d bytes, %v, want the %d of the message", what, len(got), err, len(want))
		}
	}
	for name, c := range map[string]struct {
		transport roundTripper
		code      Code // 0 is success
		back      bool // the buffer comes back
	}{
		"reads after it returned": {func(r *http.Request) (*http.Response, error) {
			late.Go(func() {
				<-ended
				whole("late", r.Body)
				_ = r.Body.Close()
				if n, err := r.Body.Read(make([]byte, 1)); n > 0 || err == nil {
					t.Errorf("after Close: got %d bytes, %v", n, err)
				}
			})
			return answerOf(r), nil
		}, 0, true},
		"closes after it returned, twice, while it reads": {func(r *http.Request) (*http.Response, error) {
			late.Go(func() {
				<-ended
				got, err := io.ReadAll(r.Body)
				if !bytes.HasPrefix(want, got) || err == nil && len(got) < len(want) {
					t.Errorf("got %d bytes that are not the message's, %v", len(got), err)
				}
			})
			for range 2 {
				late.Go(func() { <-ended; _ = r.Body.Close() })
			}
			return answerOf(r), nil
		}, 0, true},
		"tries three times": {func(r *http.Request) (*http.Response, error) {
			_, _ = r.Body.Read(make([]byte, 1000))
			_ = r.Body.Close()
			for range 2 {
				body, err := r.GetBody()
				if err != nil {
					t.Errorf("GetBody: %v", err)
					continue
				}
				whole("again", body)
				late.Go(func() { <-ended; _ = body.Close() })
			}
			return answerOf(r), nil
		}, 0, true},
		"opens the body after the call": {func(r *http.Request) (*http.Response, error) {
			_ = r.Body.Close()
			late.Go(func() {
				<-ended
				if body, err := r.GetBody(); err == nil {
					t.Errorf("got a body of type %T after the call, want an error", body)
				}
			})
			return answerOf(r), nil
		}, 0, true},
		"never closes": {func(r *http.Request) (*http.Response, error) {
			late.Go(func() { <-ended; whole("never closed", r.Body) })
			return answerOf(r), nil
		}, 0, false},
		"fails, and reads later": {func(r *http.Request) (*http.Response, error) {
			late.Go(func() { <-ended; whole("failed", r.Body); _ = r.Body.Close() })
			return nil, errors.New("no route")
		}, CodeUnavailable, true},
		"returns nothing": {func(r *http.Request) (*http.Response, error) {
			late.Go(func() { <-ended; whole("nothing", r.Body); _ = r.Body.Close() })
			return nil, nil
		}, CodeUnavailable, true},
		"has no body": {func(r *http.Request) (*http.Response, error) {
			response := answerOf(r)
			response.Body = nil
			return response, r.Body.Close()
		}, 0, true},
		"promises a body that is not there": {func(r *http.Request) (*http.Response, error) {
			response := answerOf(r)
			response.Body, response.ContentLength = nil, 3
			return response, r.Body.Close()
		}, CodeUnavailable, true},
	} {
		t.Run(name, func(t *testing.T) {
			ended = make(chan struct{})
			watched := new(watchedPool)
			withPool(watched, func() {
				client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](&http.Client{Transport: c.transport}, "http://test.example/test.v1.Late/Call")
				_, err := client.CallUnary(context.Background(), NewRequest(message))
				if got := CodeOf(err); err != nil && got != c.code || (err == nil) != (c.code == 0) {
					t.Errorf("got %v, want code %v", err, c.code)
				}
				for range 20 { // these must not get the buffer that is lent
					b := newBuffer(0)
					b.reserve(len(want))
					b.data = append(b.data, make([]byte, len(want))...)
					b.free()
				}
				close(ended)
				late.Wait()
			})
			for _, fault := range watched.check() {
				t.Error(fault)
			}
			watched.mu.Lock()
			defer watched.mu.Unlock()
			if out := watched.taken - len(watched.freed); (out == 0) != c.back {
				t.Errorf("got %d buffers that did not come back", out)
			}
		})
	}
}

// TestEarlyAnswers: net/http's transports go on writing after the answer has arrived.
// They send the lent bytes or nothing, while other calls use buffers.
func TestEarlyAnswers(t *testing.T) {
	const size = 300_000
	for _, version := range []int{1, 2} {
		var bad sync.Map
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/proto")
			if r.Header.Get("X-Early") != "" {
				return // the rest of the body is read, or refused, by net/http
			}
			got, err := io.ReadAll(r.Body)
			if err == nil && bytes.Count(got[len(got)-size:], []byte(r.Header.Get("X-Letter"))) != size {
				bad.Store(r.Header.Get("X-Letter"), true)
			}
		}))
		server.EnableHTTP2 = version == 2
		server.StartTLS()
		watched := new(watchedPool)
		withPool(watched, func() {
			var wg sync.WaitGroup
			for worker := range 4 {
				letter := string(rune('a' + worker))
				message := wrapperspb.String(string(bytes.Repeat([]byte(letter), size)))
				client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+"/test.v1.Early/Call")
				wg.Go(func() {
					for i := range 20 {
						request := NewRequest(message)
						request.Header().Set("X-Letter", letter)
						if i%2 == 0 {
							request.Header().Set("X-Early", "1")
						}
						// An answer that is early may also come as a broken connection.
						if _, err := client.CallUnary(context.Background(), request); err != nil && i%2 == 1 && CodeOf(err) != CodeUnavailable {
							t.Errorf("HTTP/%d: %v", version, err)
						}
					}
				})
			}
			wg.Wait()
			server.Close()
			server.Client().CloseIdleConnections()
		})
		bad.Range(func(letter, _ any) bool {
			t.Errorf("HTTP/%d: the body of %v had bytes of another message", version, letter)
			return true
		})
		for _, fault := range watched.check() {
			t.Error(fault)
		}
	}
}
