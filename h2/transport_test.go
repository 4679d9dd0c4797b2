// SPDX-License-Identifier: Apache-2.0

// The clients under test: a transport of its own and one within an
// http.Transport, against servers that keep the rules and one that need not.

package h2_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect/h2"
	"golang.org/x/net/http2"
)

// serverURL is the base of what is asked for on a memory network.
const serverURL = "http://server.test"

// behaves runs a test in a bubble for each kind of server and of client: what
// net/http promises must hold in all of them.
func behaves(t *testing.T, handler http.HandlerFunc, f func(t *testing.T, client *http.Client)) {
	t.Helper()
	servers := map[string]func(testing.TB, http.HandlerFunc) *memoryNetwork{
		"engine": func(t testing.TB, handler http.HandlerFunc) *memoryNetwork {
			return startServer(t, handler).network
		},
		"net/http": startStandard,
	}
	clients := map[string]func(testing.TB, *memoryNetwork) http.RoundTripper{
		"own": func(t testing.TB, n *memoryNetwork) http.RoundTripper { return newClient(t, n, nil) },
		"within": func(t testing.TB, n *memoryNetwork) http.RoundTripper {
			return newWithin(t, n, &http.Transport{ExpectContinueTimeout: time.Second}, nil)
		},
	}
	for server, start := range servers {
		for client, connect := range clients {
			t.Run(client+" to "+server, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					f(t, &http.Client{Transport: connect(t, start(t, handler))})
				})
			})
		}
	}
}

// startStandard serves cleartext HTTP/2 on net/http.
func startStandard(t testing.TB, handler http.HandlerFunc) *memoryNetwork {
	t.Helper()
	network := newMemoryNetwork()
	server := &http.Server{Handler: handler, Protocols: new(http.Protocols)}
	server.Protocols.SetUnencryptedHTTP2(true)
	served := make(chan error, 1)
	go func() { served <- server.Serve(network) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("got %v from Serve, want http.ErrServerClosed", err)
		}
	})
	return network
}

// newClient returns a transport that dials on the network, and closes it after
// the test.
func newClient(t testing.TB, n *memoryNetwork, config *h2.TransportConfig) *h2.Transport {
	t.Helper()
	if config == nil {
		config = new(h2.TransportConfig)
	}
	if config.DialContext == nil {
		config.DialContext = n.dialContext
	}
	transport := h2.NewTransport(config)
	t.Cleanup(func() {
		if err := transport.Close(); err != nil {
			t.Errorf("closing the transport: %v", err)
		}
	})
	return transport
}

// newWithin returns an http.Transport that was configured to use the engine for
// cleartext HTTP/2.
func newWithin(t testing.TB, n *memoryNetwork, standard *http.Transport, config *h2.TransportConfig) *http.Transport {
	t.Helper()
	standard.DialContext = n.dialContext
	standard.Protocols = new(http.Protocols)
	standard.Protocols.SetUnencryptedHTTP2(true)
	if err := h2.ConfigureTransport(standard, config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standard.CloseIdleConnections)
	return standard
}

func (n *memoryNetwork) dialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := memoryPipe()
	select {
	case n.accepted <- server:
		return client, nil
	case <-n.closed:
		return nil, errRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var errRefused = errors.New("connection refused by the test")

// ---- a server that need not keep the rules ----

// A fakeServer accepts the connections of a client.
type fakeServer struct {
	t       testing.TB
	network *memoryNetwork
}

// newFake returns a server that speaks frames, and a client of it.
func newFake(t testing.TB, config *h2.TransportConfig) (*fakeServer, *h2.Transport) {
	t.Helper()
	s := &fakeServer{t: t, network: newMemoryNetwork()}
	t.Cleanup(func() { _ = s.network.Close() })
	return s, newClient(t, s.network, config)
}

// accept takes the next connection, reads the client's preface and greets it with
// the settings.
func (s *fakeServer) accept(settings ...http2.Setting) *rawPeer {
	s.t.Helper()
	nc := s.silent()
	if err := http2.NewFramer(nc, nil).WriteSettings(settings...); err != nil {
		s.t.Fatal(err)
	}
	return newRawPeer(s.t, nc, false)
}

// silent takes the next connection and reads the client's preface, without a
// word.
func (s *fakeServer) silent() *memoryConn {
	s.t.Helper()
	nc, err := s.network.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = nc.Close() })
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(nc, preface); err != nil || string(preface) != http2.ClientPreface {
		s.t.Fatalf("got preface %q and error %v, want HTTP/2's", preface, err)
	}
	return nc.(*memoryConn)
}

// request waits for the head of the next request.
func (p *rawPeer) request() *frame {
	p.t.Helper()
	return p.await("a request", func(f *frame) bool {
		return f.Type == http2.FrameHeaders && field(f.fields, ":method") != ""
	})
}

// respond answers a request with a head and a body.
func (p *rawPeer) respond(id uint32, status, body string) {
	p.headers(id, body == "", ":status", status)
	if body != "" {
		p.data(id, true, []byte(body))
	}
}

// ---- calls ----

// An outcome is what a call came to.
type outcome struct {
	*http.Response
	body string
	err  error // of RoundTrip, or of reading the body
}

// call makes a request, reads the response to its end and closes it.
func call(rt http.RoundTripper, r *http.Request) outcome {
	res, err := rt.RoundTrip(r)
	if err != nil {
		return outcome{err: err}
	}
	body, err := io.ReadAll(res.Body)
	if closing := res.Body.Close(); err == nil {
		err = closing
	}
	return outcome{res, string(body), err}
}

// begin makes a call in a goroutine.
func begin(rt http.RoundTripper, r *http.Request) <-chan outcome {
	done := make(chan outcome, 1)
	go func() { done <- call(rt, r) }()
	return done
}

// get returns a request without a body.
func get(ctx context.Context) *http.Request { return request(ctx, http.MethodGet, nil) }

// request returns a request. The body's length is known if http.NewRequest finds
// it.
func request(ctx context.Context, method string, body io.Reader) *http.Request {
	r, err := http.NewRequestWithContext(ctx, method, serverURL+"/", body)
	if err != nil {
		panic(err)
	}
	return r
}

// want checks that a call came to a status and a body.
func (o outcome) want(t testing.TB, status int, body string) {
	t.Helper()
	switch {
	case o.err != nil:
		t.Fatalf("got error %v, want status %d", o.err, status)
	case o.StatusCode != status || o.body != body:
		t.Errorf("got status %d and body %.60q, want %d and %.60q", o.StatusCode, o.body, status, body)
	}
}

// wantError checks that a call failed with target.
func (o outcome) wantError(t testing.TB, target error) {
	t.Helper()
	if !errors.Is(o.err, target) {
		t.Errorf("got error %v, want %v", o.err, target)
	}
}

// wantCode checks that a call failed because its stream was reset with a code.
func (o outcome) wantCode(t testing.TB, code h2.ErrCode) {
	t.Helper()
	var reset h2.StreamError
	if !errors.As(o.err, &reset) || reset.Code != code {
		t.Errorf("got error %v, want a stream that was reset with %v", o.err, code)
	}
}

// wantText checks that a call failed with an error that has the text.
func (o outcome) wantText(t testing.TB, part string) {
	t.Helper()
	if o.err == nil || !strings.Contains(o.err.Error(), part) {
		t.Errorf("got error %v, want one that says %q", o.err, part)
	}
}

// settle waits until all goroutines of the bubble wait.
func settle() { synctest.Wait() }

// ---- bodies ----

// A watchedBody is the body of a request. It notes how it is treated: the
// transport has to close it once, and not to read it afterwards.
type watchedBody struct {
	io.Reader
	mu     sync.Mutex
	closes int
	late   int // reads that began after the closing
	closed chan struct{}
	reads  atomic.Int64
}

func watch(body io.Reader) *watchedBody {
	return &watchedBody{Reader: body, closed: make(chan struct{})}
}

// Read reads, and ends when the body is closed meanwhile.
func (b *watchedBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.closes > 0 {
		b.late++
	}
	b.mu.Unlock()
	b.reads.Add(1)
	return b.Reader.Read(p)
}

func (b *watchedBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closes++; b.closes == 1 {
		close(b.closed)
	}
	return nil
}

// wantClosed checks, when all is quiet, that the body was closed once and not
// read any more.
func (b *watchedBody) wantClosed(t testing.TB) {
	t.Helper()
	time.Sleep(10 * time.Millisecond) // a Read that waits is given a moment
	settle()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closes != 1 || b.late > 0 {
		t.Errorf("got a body that was closed %d times and read %d times later, want 1 and 0", b.closes, b.late)
	}
}

// A waitingBody gives no byte until it is closed.
type waitingBody struct{ *watchedBody }

func newWaitingBody() waitingBody {
	b := watch(nil)
	b.Reader = readerFunc(func([]byte) (int, error) {
		<-b.closed
		return 0, net.ErrClosed
	})
	return waitingBody{b}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
