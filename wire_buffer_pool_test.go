// SPDX-License-Identifier: Apache-2.0

// The pool of buffers under watch: nothing is freed twice, used after it was
// freed, or different because it was used before.

package connect

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// watchedPool hands out new buffers only. A buffer that comes back is filled
// with a pattern and kept, so that a later use of it shows.
type watchedPool struct {
	mu     sync.Mutex
	taken  int
	freed  map[*buffer][]byte // all of their memory, as it must stay
	faults []string
}

const poison = 0xdb

func (p *watchedPool) get(size int) *buffer {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken++
	return &buffer{make([]byte, 0, max(size, bufferSize))}
}

func (p *watchedPool) put(b *buffer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.freed[b]; ok {
		p.faults = append(p.faults, fmt.Sprintf("freed twice:\n%s", debug.Stack()))
		return
	}
	if p.freed == nil {
		p.freed = make(map[*buffer][]byte)
	}
	data := b.data[:cap(b.data)]
	for i := range data {
		data[i] = poison
	}
	p.freed[b] = data
}

// check returns the faults, also those of uses after free.
func (p *watchedPool) check() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	faults := p.faults
	for b, data := range p.freed {
		if len(b.data) != 0 || cap(b.data) != len(data) {
			faults = append(faults, fmt.Sprintf("a freed buffer has %d bytes", len(b.data)))
		}
		if !bytes.Equal(data, bytes.Repeat([]byte{poison}, len(data))) {
			faults = append(faults, "a freed buffer was written to")
		}
	}
	return faults
}

// noPool makes all buffers and takes none back.
type noPool struct{}

func (noPool) get(size int) *buffer {
	if size <= bufferKept {
		return &buffer{make([]byte, 0, max(size, bufferSize))}
	}
	return nil
}

func (noPool) put(*buffer) {}

// switchedPool is the pool that tests change while goroutines of net/http may
// still free a buffer.
type switchedPool struct{ now atomic.Pointer[bufferPool] }

func (p *switchedPool) get(size int) *buffer { return (*p.now.Load()).get(size) }
func (p *switchedPool) put(b *buffer)        { (*p.now.Load()).put(b) }

var switched = func() *switchedPool {
	p := new(switchedPool)
	usual := buffers
	p.now.Store(&usual)
	buffers = p
	return p
}()

// withPool runs f with another pool of buffers.
func withPool(p bufferPool, f func()) {
	before := switched.now.Swap(&p)
	defer switched.now.Store(before)
	f()
}

// TestWatchedPool makes the faults that the pool must find.
func TestWatchedPool(t *testing.T) {
	for name, fault := range map[string]func(){
		"freed twice":   func() { b := newBuffer(0); b.free(); b.free() },
		"written later": func() { b := newBuffer(0); data := append(b.data, 1); b.free(); data[0] = 2 },
		"grown later":   func() { b := newBuffer(0); b.free(); b.data = append(b.data, 1) },
	} {
		p := new(watchedPool)
		withPool(p, fault)
		if len(p.check()) == 0 {
			t.Errorf("%s: got no fault", name)
		}
	}
	p := new(watchedPool)
	withPool(p, func() {
		b := newBuffer(0)
		b.data = append(b.data, "abc"...)
		data := b.data
		b.free()
		if string(data) == "abc" {
			t.Error("read later: got the bytes that were there")
		}
	})
	if faults := p.check(); len(faults) > 0 {
		t.Errorf("got %q, want no fault", faults)
	}
}

// TestPools runs one workload on the usual pool, on the watched one and on none: the
// outcomes are the same, and no buffer is misused.
func TestPools(t *testing.T) {
	for _, behavior := range []Option{WithOptions(), WithConnectGoBehavior()} {
		want := workload(t, behavior)
		var got []string
		withPool(noPool{}, func() { got = workload(t, behavior) })
		sameOutcomes(t, "without a pool", got, want)
		watched := new(watchedPool)
		withPool(watched, func() { got = workload(t, behavior) })
		sameOutcomes(t, "with a watched pool", got, want)
		for _, fault := range watched.check() {
			t.Error(fault)
		}
		if len(watched.freed) < watched.taken/2 || watched.taken < 200 {
			t.Errorf("got %d of %d buffers back", len(watched.freed), watched.taken)
		}
	}
}

// TestEndFillsBuffer reads streams whose end frame fills a buffer to its last byte. With
// connect-go's meaning both sides look for bytes after it: the look takes another buffer,
// and may come only once the end is decoded.
func TestEndFillsBuffer(t *testing.T) {
	end := []byte("\x00\x00\x00\x00\x00" + "\x02\x00\x00\x00\x00" + `{"metadata":{"k":["` + strings.Repeat("v", bufferSize))[:bufferSize]
	copy(end[len(end)-4:], `"]}}`)
	putPrefix(end[prefixSize:], flagEndConnect)
	value := string(end[2*prefixSize+len(`{"metadata":{"k":["`) : len(end)-4])
	respond := roundTripper(func(*http.Request) (*http.Response, error) {
		header := http.Header{headerContentType: {"application/connect+proto"}}
		return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 2, Header: header, Body: io.NopCloser(bytes.NewReader(end))}, nil
	})
	withPool(new(watchedPool), func() {
		client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](&http.Client{Transport: respond}, "http://host/a/b", WithConnectGoBehavior())
		stream, err := client.CallServerStream(t.Context(), NewRequest(wrapperspb.String("x")))
		if err != nil {
			t.Fatal(err)
		}
		for stream.Receive() {
		}
		if err := stream.Err(); err != nil || stream.ResponseTrailer().Get("k") != value {
			t.Errorf("client: got %v and a trailer of %d bytes, want no error and %d", err, len(stream.ResponseTrailer().Get("k")), len(value))
		}
		handler := NewClientStreamHandler("/a/b", func(_ context.Context, s *ClientStream[wrapperspb.StringValue]) (*Response[wrapperspb.StringValue], error) {
			for s.Receive() {
			}
			return NewResponse(wrapperspb.String("x")), s.Err()
		}, WithConnectGoBehavior())
		request := httptest.NewRequest(http.MethodPost, "/a/b", bytes.NewReader(end))
		request.Header.Set(headerContentType, "application/connect+proto")
		response := httptest.NewRecorder()
		handler.ServeHTTP(response, request)
		if got := response.Body.String(); strings.Contains(got, "error") {
			t.Errorf("handler: got %q, want no error", got)
		}
	})
}

func sameOutcomes(t *testing.T, name string, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: got %d outcomes, want %d", name, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: outcome %d: got %.200q, want %.200q", name, i, got[i], want[i])
		}
	}
}

// workload makes calls of every kind, protocol and outcome, several at a time,
// over loopback, and returns their outcomes, in order.
func workload(t *testing.T, behavior Option) []string {
	const procedure = "/test.Pool/"
	mux := http.NewServeMux()
	limit := WithOptions(behavior, WithReadMaxBytes(200<<10))
	mux.Handle(procedure+"Unary", NewUnaryHandler(procedure+"Unary",
		func(_ context.Context, r *Request[wrapperspb.StringValue]) (*Response[wrapperspb.StringValue], error) {
			if err := poolError(r.Msg); err != nil {
				return nil, err
			}
			return NewResponse(r.Msg), nil
		}, limit, WithIdempotency(IdempotencyNoSideEffects)))
	mux.Handle(procedure+"Server", NewServerStreamHandler(procedure+"Server",
		func(_ context.Context, r *Request[wrapperspb.StringValue], s *ServerStream[wrapperspb.StringValue]) error {
			for range 3 {
				if err := s.Send(r.Msg); err != nil {
					return err
				}
			}
			return poolError(r.Msg)
		}, limit))
	mux.Handle(procedure+"Client", NewClientStreamHandler(procedure+"Client",
		func(_ context.Context, s *ClientStream[wrapperspb.StringValue]) (*Response[wrapperspb.StringValue], error) {
			var all strings.Builder
			for s.Receive() {
				all.WriteString(s.Msg().Value)
				if err := poolError(s.Msg()); err != nil {
					return nil, err
				}
			}
			return NewResponse(wrapperspb.String(fmt.Sprint(hash(all.String())))), s.Err()
		}, limit))
	mux.Handle(procedure+"Bidi", NewBidiStreamHandler(procedure+"Bidi",
		func(_ context.Context, s *BidiStream[wrapperspb.StringValue, wrapperspb.StringValue]) error {
			for {
				msg, err := s.Receive()
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err == nil {
					err = poolError(msg)
				}
				if err != nil {
					return err
				}
				if err := s.Send(msg); err != nil {
					return err
				}
			}
		}, limit))
	server := httptest.NewUnstartedServer(mux)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()

	protocols := [][]ClientOption{nil, {WithProtoJSON()}, {WithGRPC()}, {WithGRPCWeb(), WithSendGzip()}, {WithSendGzip()}, {WithHTTPGet(), WithIdempotency(IdempotencyNoSideEffects)}}
	const workers, calls = 4, 15
	outcomes := make([]string, workers*calls)
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(worker), 7))
			for i := range calls {
				options := append([]ClientOption{limit}, protocols[r.IntN(len(protocols))]...)
				outcomes[worker*calls+i] = poolCall(server, procedure, r, options)
			}
		})
	}
	wg.Wait()
	return outcomes
}

// poolError returns the error that a message selects.
func poolError(msg *wrapperspb.StringValue) error {
	if !strings.HasPrefix(msg.Value, "!") {
		return nil
	}
	e := NewError(CodeAborted, errors.New(msg.Value[:min(len(msg.Value), 100)]))
	if d, err := NewErrorDetail(durationpb.New(time.Minute)); err == nil {
		e.AddDetail(d)
	}
	e.Meta().Set("X-Pool", "1")
	return e
}

func hash(s string) uint32 { return crc32.ChecksumIEEE([]byte(s)) }

// poolCall makes one random call and returns its outcome as a text.
func poolCall(server *httptest.Server, procedure string, r *rand.Rand, options []ClientOption) string {
	message := func() *wrapperspb.StringValue {
		var size int
		switch r.IntN(8) {
		case 0:
			size = 0
		case 1:
			size = 100_000 + r.IntN(60_000)
		case 2:
			size = 300_000 // above the limit, and long for a URL
		default:
			size = r.IntN(9000)
		}
		s := hex.EncodeToString(payloadOf(r, size/2))
		if r.IntN(6) == 0 {
			s = "!" + s
		}
		return wrapperspb.String(s)
	}
	kind := []string{"Unary", "Server", "Client", "Bidi"}[r.IntN(4)]
	client := NewClient[wrapperspb.StringValue, wrapperspb.StringValue](server.Client(), server.URL+procedure+kind, append(options, WithHTTPGetMaxURLSize(4000, true))...)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	outcome := func(texts []string, err error) string {
		if err != nil && !errors.Is(err, io.EOF) {
			details := 0
			if e, ok := asError(err); ok {
				details = len(e.details)
			}
			texts = append(texts, fmt.Sprintf("%v, %d details", err, details))
		}
		return kind + " " + strings.Join(texts, "|")
	}
	var texts []string
	add := func(msg *wrapperspb.StringValue) {
		texts = append(texts, fmt.Sprintf("%d:%08x", len(msg.GetValue()), hash(msg.GetValue())))
	}
	switch kind {
	case "Unary":
		res, err := client.CallUnary(ctx, NewRequest(message()))
		if err == nil {
			add(res.Msg)
		}
		return outcome(texts, err)
	case "Server":
		stream, err := client.CallServerStream(ctx, NewRequest(message()))
		if err != nil {
			return outcome(texts, err)
		}
		defer stream.Close()
		for stream.Receive() {
			add(stream.Msg())
		}
		return outcome(texts, stream.Err())
	case "Client":
		stream := client.CallClientStream(ctx)
		for range r.IntN(6) {
			_ = stream.Send(message()) // CloseAndReceive returns the error
		}
		res, err := stream.CloseAndReceive()
		if err == nil {
			add(res.Msg)
		}
		return outcome(texts, err)
	}
	stream := client.CallBidiStream(ctx)
	defer stream.CloseResponse()
	var failed error
	for range r.IntN(6) {
		msg := message()
		if failed != nil {
			continue
		}
		if err := stream.Send(msg); err != nil && !errors.Is(err, io.EOF) {
			failed = err
			continue
		}
		got, err := stream.Receive()
		if err != nil {
			failed = err
			continue
		}
		add(got)
	}
	if failed == nil {
		_ = stream.CloseRequest()
		_, failed = stream.Receive()
	}
	return outcome(texts, failed)
}
