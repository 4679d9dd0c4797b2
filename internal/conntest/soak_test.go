// SPDX-License-Identifier: Apache-2.0

// This file is the soak: many calls of all kinds, protocols and codecs over one
// connection of the engine, a third of which end early in some way. No other call
// may fail, and no call may leave a goroutine, a stream or memory behind.

package conntest

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
)

var (
	soakTime = flag.Duration("soak", 0, "how long TestSoak makes calls on each engine; 0: it makes a fixed number")
	soakSeed = flag.Uint64("soakseed", 0, "what TestSoak's calls are chosen by; 0: a new one")
)

const (
	soakCallers  = 24
	soakTransfer = 4 << 20
	// soakHeap bounds what a soak may leave in memory. A stream's smallest piece of a
	// body is 2 KiB: a leak of one in a call in three is above it.
	soakHeap = 4 << 20
	// soakFaults is how many faults of one soak are reported in words.
	soakFaults = 10
)

// A soak is the calls over one connection.
type soak struct {
	t       *testing.T
	clients []soakClient
	base    context.Context
	stop    context.CancelCauseFunc

	calls, handlers atomic.Int64

	mu     sync.Mutex
	faults []string
	counts map[string]int // calls by how they were disturbed and how they ended
}

type soakClient struct {
	mode mode
	conntestv1connect.TestServiceClient
}

// TestSoak runs for each way to connect: one connection of the engine's own transport in
// cleartext, over TLS, and on a net.Conn that is no socket; and within an
// http.Transport; and without one, in process. On the third, which sees the frames, it checks the windows of
// the connection, too.
func TestSoak(t *testing.T) {
	closeHosts() // the balancer of one may connect again at any time, with goroutines of its own
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	for _, test := range []struct {
		name  string
		start func(http.Handler, network) (*server, error)
		watch bool
		dials int64
	}{
		{"h2c", tcp{engineServer: true, engineClient: singleTransport, direct: true}.start, false, 1},
		{"h2", tcp{engineServer: true, engineClient: singleTransport, direct: true, encrypted: true}.start, false, 1},
		{"watched", tcp{engineServer: true, engineClient: singleTransport}.start, true, 1},
		{"within", tcp{engineServer: true, engineClient: configureTransport, encrypted: true}.start, false, 1},
		{"inprocess", startInprocess, false, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Logf("to choose the same calls: -soakseed %d", seed)
			identity()
			soakBytes()
			before, heapBefore := goroutines(), heapInUse()
			s := runSoak(t, test.start, test.watch, test.dials, seed)
			if left := leaked(before); len(left) > 0 {
				t.Errorf("%d goroutines are left, the first one is\n%s", len(left), left[0])
			}
			s.clients = nil
			if grown := heapInUse() - heapBefore; grown > soakHeap {
				t.Errorf("%d KiB of memory are left after %d calls, want at most %d", grown>>10, s.calls.Load(), soakHeap>>10)
			}
		})
	}
}

// runSoak makes the calls and a last transfer in each direction. Then it closes the
// server and the connection.
func runSoak(t *testing.T, start func(http.Handler, network) (*server, error), watch bool, dials int64, seed uint64) *soak {
	s := &soak{t: t, counts: make(map[string]int)}
	s.base, s.stop = context.WithCancelCause(context.Background())
	defer s.stop(nil)
	network := &soakNetwork{watch: watch}
	_, handler := conntestv1connect.NewTestServiceHandler(s.service(), mode{}.handlerOptions()...)
	server, err := start(handler, network)
	wantNil(t, err)
	defer server.close()
	for _, protocol := range protocols {
		for _, codec := range codecs {
			for _, compression := range []string{"identity", "gzip"} {
				m := mode{protocol: protocol, codec: codec, compression: compression}
				site := &site{mode: m, url: server.url, transport: server.transport}
				s.clients = append(s.clients, soakClient{m, site.client(connect.WithHTTPGet(), connect.WithHTTPGetMaxURLSize(4<<10, true))})
			}
		}
	}
	s.call(soakPlan{client: &s.clients[0], kind: unary, requests: 1, answers: 1}) // makes the connection

	var callers sync.WaitGroup
	end := time.Now().Add(*soakTime)
	for i := range soakCallers {
		callers.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for s.base.Err() == nil {
				if n := s.calls.Add(1); *soakTime == 0 && n > soakCalls || *soakTime > 0 && time.Now().After(end) {
					break
				}
				s.call(s.plan(r))
			}
		})
	}
	callers.Wait()
	for deadline := time.Now().Add(guard); s.handlers.Load() > 0 && s.base.Err() == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.fault("%d handlers run %v after the last call", s.handlers.Load(), guard)
			s.stop(errHang)
		}
	}
	transfers := 0
	for i := range s.clients {
		for _, k := range []kind{unary, serverStream, clientStream, bidi} {
			if i%len(codecs) == int(k[0])%len(codecs) && transfers < soakTransfers { // some of them
				transfers++
				s.call(soakPlan{client: &s.clients[i], kind: k, id: 1, requests: 1, size: soakTransfer, answers: 1})
				s.call(soakPlan{client: &s.clients[i], kind: k, id: 2, requests: 1, answers: 1, answerSize: soakTransfer})
			}
		}
	}
	s.report(network, dials)
	return s
}

// report fails the test for each kind of fault.
func (s *soak) report(network *soakNetwork, dials int64) {
	t := s.t
	t.Helper()
	if n := network.dials.Load(); n != dials {
		t.Errorf("got %d connections, want %d", n, dials)
	}
	if s.base.Err() == nil {
		network.check(t)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var summary []string
	for what, n := range s.counts {
		summary = append(summary, fmt.Sprintf("%8d %s", n, what))
	}
	slices.SortFunc(summary, func(a, b string) int { return strings.Compare(a[8:], b[8:]) })
	t.Logf("calls:\n%s", strings.Join(summary, "\n"))
	for i, fault := range s.faults {
		if i == soakFaults {
			t.Errorf("and %d more", len(s.faults)-i)
			break
		}
		t.Error(fault)
	}
	if s.counts["undisturbed: ok"] == 0 {
		t.Error("no call that was left undisturbed succeeded")
	}
}

// fault notes a fault. It notes none once the soak was stopped.
func (s *soak) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.base.Err() == nil {
		s.faults = append(s.faults, fmt.Sprintf(format, args...))
	}
}

// heapInUse is the size of all objects that something still refers to.
func heapInUse() int64 {
	for range 3 { // pools give up what they have at the second
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// --- bytes ---

// soakBytes is what all messages of a soak are cut from.
var soakBytes = sync.OnceValue(func() []byte {
	r := rand.NewChaCha8([32]byte{})
	b := make([]byte, soakTransfer+1<<16)
	_, _ = r.Read(b)
	return b
})

// soakData is the data of a message: other messages of the call and other calls
// have others.
func soakData(id uint64, index, size int) []byte {
	from := (id*2503 + uint64(index)*31) % (1 << 16)
	return soakBytes()[from : from+uint64(size)]
}

// --- the handler's side ---

// service does what the plan in a request's header asks for.
func (s *soak) service() conntestv1connect.TestServiceHandler {
	return everyKind(func(ctx context.Context, x *exchange) error {
		s.handlers.Add(1)
		defer s.handlers.Add(-1)
		var p soakPlan
		if err := p.parse(x.header.Get("Soak-Plan")); err != nil {
			return err
		}
		sent := 0
		answer := func() error {
			m := &conntestv1.Response{Count: int32(sent), Data: soakData(p.id, sent, p.answerSize)}
			sent++
			return x.send(m)
		}
		for i := 0; ; i++ {
			r, err := x.receive()
			if isEOF(err) {
				if i != p.requests {
					return connect.NewError(connect.CodeDataLoss, fmt.Errorf("got %d requests, want %d", i, p.requests))
				}
				break
			}
			if err != nil {
				return err
			}
			if string(r.GetData()) != string(soakData(p.id, i, p.size)) {
				return connect.NewError(connect.CodeDataLoss, fmt.Errorf("request %d is not what was sent", i))
			}
			if p.action == actEarly || p.action == actEarlyFail || p.action == actWait || p.action == actPour {
				break
			}
			if x.kind == bidi {
				if err := answer(); err != nil {
					return err
				}
			}
		}
		switch p.action {
		case actWait:
			<-ctx.Done()
			return ctx.Err()
		case actPour:
			for {
				if err := answer(); err != nil {
					return err
				}
			}
		case actEarlyFail:
			return errSoak
		}
		for sent < p.answers {
			if err := answer(); err != nil {
				return err
			}
		}
		if p.action == actFail {
			return errSoak
		}
		return nil
	})
}
