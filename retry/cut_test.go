// SPDX-License-Identifier: Apache-2.0

// Connections that are cut at each moment of an answer, over TCP: calls of which the
// program has seen nothing are repeated if they are idempotent, and no others are.

package retry_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/retry"
)

// listen serves the service over TCP, HTTP/1.1 and HTTP/2, and returns the address.
func listen(t testing.TB, f service) (*site, string) {
	t.Helper()
	s := new(site)
	server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: s.handler(f)}
	if err := h2.ConfigureServer(server, nil); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	return s, listener.Addr().String()
}

// A moment finds the place to cut in the bytes that a server has sent on a connection. If
// it is not among these yet, it returns how many of them come before it for certain.
type moment func(sent []byte) (at int, found bool)

// A cutter is a TCP proxy that cuts the first connections that come to a moment.
type cutter struct {
	listener net.Listener
	backend  string
	working  sync.WaitGroup

	at    moment
	reset bool         // with a TCP reset; otherwise the connection closes after the last byte
	left  atomic.Int64 // cuts that are still to come

	mu        sync.Mutex
	forwarded []byte // what the client got on the first connection
}

func newCutter(t testing.TB, backend string, at moment, cuts int) *cutter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{listener: listener, backend: backend, at: at}
	c.left.Store(int64(cuts))
	c.working.Go(func() {
		for number := 0; ; number++ {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			c.working.Go(func() { c.serve(client.(*net.TCPConn), number == 0) })
		}
	})
	return c
}

// close waits for all connections: the transports must be closed.
func (c *cutter) close() {
	_ = c.listener.Close()
	c.working.Wait()
}

func (c *cutter) serve(client *net.TCPConn, first bool) {
	defer client.Close()
	dialed, err := net.Dial("tcp", c.backend)
	if err != nil {
		return
	}
	server := dialed.(*net.TCPConn)
	defer server.Close()
	c.working.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.CloseWrite()
		_, _ = io.Copy(io.Discard, client) // so that closing sends no reset
	})
	var sent []byte
	passed := 0
	for chunk := make([]byte, 16<<10); ; {
		n, err := server.Read(chunk)
		sent = append(sent, chunk[:n]...)
		at, found := len(sent), false
		// A connection counts when it is cut, not when it is opened: net/http's transport
		// at times dials one more than it uses after a connection ended.
		if c.left.Load() > 0 {
			if at, found = c.at(sent); found {
				c.left.Add(-1)
			}
		}
		if _, failed := client.Write(sent[passed:max(at, passed)]); failed != nil {
			return
		}
		passed = max(at, passed)
		if first {
			c.mu.Lock()
			c.forwarded = slices.Clone(sent[:passed])
			c.mu.Unlock()
		}
		switch {
		case found && c.reset:
			_ = client.SetLinger(0)
			return
		case found || err != nil:
			_ = client.CloseWrite()
			_ = server.Close()
			_, _ = io.Copy(io.Discard, client) // until the client closes it, too
			return
		}
	}
}

// text is in the first message of each answer.
const text = "the first message"

// The moments of an answer.
const (
	beforeHead    = "before the head"
	afterHead     = "after the head"
	insideMessage = "inside of the message"
	afterMessage  = "after the message"
)

// momentOf returns the moment with a name on connections of a version of HTTP.
func momentOf(name string, http2 bool) moment {
	return func(sent []byte) (int, bool) {
		switch place := bytes.Index(sent, []byte(text)); {
		case name == insideMessage && place >= 0:
			return place + len(text)/2, true
		case name == afterMessage && place >= 0 && !http2:
			return place + len(text), true
		case !http2 && name == beforeHead:
			return 0, len(sent) > 0
		case !http2 && name == afterHead:
			end := bytes.Index(sent, []byte("\r\n\r\n")) + 4
			return max(end, 0), end >= 4
		case !http2:
			return min(len(sent), max(place, 0)), false
		}
		const prefix, data, headers = 9, 0, 1
		for at := 0; ; {
			if len(sent) < at+prefix {
				return at, false
			}
			length := int(binary.BigEndian.Uint32(sent[at:]) >> 8)
			end := at + prefix + length
			switch kind := sent[at+3]; {
			case name == beforeHead && kind == headers:
				return at, true
			case len(sent) < end:
				return at, false
			case name == afterHead && kind == headers,
				name == afterMessage && kind == data && bytes.Contains(sent[at:end], []byte(text)):
				return end, true
			}
			at = end
		}
	}
}

// versions are transports by version of HTTP.
var versions = map[string]struct {
	http2 bool
	open  func() (transport http.RoundTripper, end func())
}{
	"h2": {true, func() (http.RoundTripper, func()) {
		t := h2.NewTransport(nil)
		return t, func() { _ = t.Close() }
	}},
	"net/http's HTTP/2": {true, func() (http.RoundTripper, func()) {
		t := &http.Transport{Protocols: new(http.Protocols)}
		t.Protocols.SetUnencryptedHTTP2(true)
		return t, t.CloseIdleConnections
	}},
	"HTTP/1.1": {false, func() (http.RoundTripper, func()) {
		t := new(http.Transport)
		return t, t.CloseIdleConnections
	}},
}

// eachAnswer calls f for each version, protocol and kind that go together.
func eachAnswer(f func(version, protocol, path string)) {
	for version, v := range versions {
		for protocol := range protocols {
			for _, path := range []string{pathUnary, pathServer, pathClient, pathBidi} {
				if v.http2 || protocol != "grpc" && path != pathBidi {
					f(version, protocol, path)
				}
			}
		}
	}
}

// answer is what a service sends at each run.
func answer(stream bool) service {
	return func(_ context.Context, _ int, _ http.Header, in func() (*message, error), out func(*message) error) error {
		for {
			if _, err := in(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return err
			}
		}
		if err := out(wrapperspb.String(text)); err != nil || !stream {
			return err
		}
		return out(wrapperspb.String("the second"))
	}
}

// cutCall makes a call whose connection is cut, and returns what the program gets.
func cutCall(t testing.TB, c *cutter, version, protocol, path string, level connect.IdempotencyLevel, header ...string) ([]string, error) {
	transport, end := versions[version].open()
	defer end()
	options := append([]connect.ClientOption{connect.WithIdempotency(level),
		connect.WithInterceptors(retry.New(retry.Backoff(time.Microsecond, time.Microsecond, 1)))}, protocols[protocol]...)
	client := connect.NewClient[message, message](&http.Client{Transport: transport}, "http://"+c.listener.Addr().String()+path, options...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ctx, info := connect.NewClientContext(ctx)
	for pair := range slices.Chunk(header, 2) {
		info.RequestHeader().Set(pair[0], pair[1])
	}
	return call(ctx, client, path)
}

// TestCut cuts the connections of the first two attempts at a moment of the answer.
func TestCut(t *testing.T) {
	eachAnswer(func(version, protocol, path string) {
		for _, name := range []string{beforeHead, afterHead, insideMessage, afterMessage} {
			streams := path == pathServer || path == pathBidi
			if name == afterMessage && !streams && (path == pathClient || protocol != "grpc") {
				continue // the end comes with the message
			}
			for _, level := range []connect.IdempotencyLevel{unknown, idempotent} {
				t.Run(fmt.Sprintf("%s/%s%s/%s/%v", version, protocol, path, name, level), func(t *testing.T) {
					s, address := listen(t, answer(streams))
					c := newCutter(t, address, momentOf(name, versions[version].http2), 2)
					got, err := cutCall(t, c, version, protocol, path, level)
					c.close()
					want, runs := []string{text}, 3
					if streams {
						want = append(want, "the second")
					}
					switch {
					case name == afterMessage && streams: // the program has seen it
						want, runs = []string{text}, 1
					case level == unknown:
						want, runs = nil, 1
					}
					s.wantRuns(t, runs)
					if !slices.Equal(got, want) || (err == nil) != (runs == 3) {
						t.Errorf("got %q and %v, want %q", got, err, want)
					}
					if n := retry.AttemptsOf(err); err != nil && n != 1 {
						t.Errorf("got %d attempts in the error, want 1", n)
					}
				})
			}
		}
	})
}

// TestCutAnywhere cuts the first connection after a number of bytes, whatever they are. An
// idempotent call gets its answer, unless the program has seen a message.
func TestCutAnywhere(t *testing.T) {
	const step = 7
	eachAnswer(func(version, protocol, path string) {
		t.Run(version+"/"+protocol+path, func(t *testing.T) {
			streams := path == pathServer || path == pathBidi
			var runs sync.Map // by call: an attempt that was cut early may run after its call
			_, address := listen(t, func(ctx context.Context, run int, header http.Header, in func() (*message, error), out func(*message) error) error {
				n, _ := runs.LoadOrStore(header.Get("Number"), new(atomic.Int64))
				n.(*atomic.Int64).Add(1)
				return answer(streams)(ctx, run, header, in, out)
			})
			repeated := 0
			for at, cut := 0, true; cut; at += step {
				cut = false
				c := newCutter(t, address, func(sent []byte) (int, bool) {
					cut = len(sent) > at
					return min(at, len(sent)), cut
				}, 1)
				c.reset = at/step%3 == 2
				number := fmt.Sprint(at)
				got, err := cutCall(t, c, version, protocol, path, idempotent, "Number", number)
				c.close()
				counted, _ := runs.LoadOrStore(number, new(atomic.Int64))
				runs := counted.(*atomic.Int64).Load()
				switch seen := bytes.Contains(c.forwarded, []byte(text)); {
				case runs > 2 || err == nil && got[0] != text:
					t.Errorf("cut after %d bytes: got %q and %d runs, want the answer after 1 or 2", at, got, runs)
				case err != nil && (!seen || runs != 1 || path == pathUnary || streams && len(got) == 0):
					t.Errorf("cut after %d bytes: got %q, %v and %d runs, want an answer or a message before it", at, got, err, runs)
				case runs == 2:
					repeated++
				}
			}
			if repeated == 0 {
				t.Error("got no call that was repeated, want some")
			}
		})
	})
}
