// SPDX-License-Identifier: Apache-2.0

// Transcripts: the bytes that clients and servers send in each protocol and kind of
// call, over HTTP/1.1 of net/http, compared with files that people can read. Run
// with -rewrite to write the files again, and look at the difference.

package connect

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/transcripts anew")

// The procedures of the transcripts' service. Its messages are strings, and the text
// of a request selects the outcome: see transcriptOutcome.
const (
	transcriptUnary  = "/test.v1.Echo/Unary"
	transcriptGet    = "/test.v1.Echo/Get"
	transcriptServer = "/test.v1.Echo/ServerStream"
	transcriptClient = "/test.v1.Echo/ClientStream"
	transcriptBidi   = "/test.v1.Echo/BidiStream"
)

type stringValue = wrapperspb.StringValue

// transcriptOutcome returns the error that the text of a request selects.
func transcriptOutcome(text string) error {
	switch text {
	case "fail":
		e := NewError(CodeFailedPrecondition, errors.New("not 100%: schön"))
		d, err := NewErrorDetail(durationpb.New(90 * time.Second))
		if err != nil {
			return err
		}
		e.AddDetail(d)
		e.Meta().Set("X-Error-Meta", "m")
		return e
	case "plain":
		return errors.New("a plain error")
	case "unmodified":
		return NewNotModifiedError(http.Header{"Etag": {`"1"`}})
	}
	return nil
}

func transcriptMux() *http.ServeMux {
	mux := http.NewServeMux()
	options := WithHandlerOptions(WithCompression("gzip", nil, nil), WithCompression("runs", newUnruns, newRuns), WithCompressMinBytes(20))
	unary := func(_ context.Context, r *Request[stringValue]) (*Response[stringValue], error) {
		if err := transcriptOutcome(r.Msg.Value); err != nil {
			return nil, err
		}
		res := NewResponse(wrapperspb.String(r.Msg.Value))
		res.Header().Set("X-Header", "h")
		res.Trailer().Set("X-Trailer", "t")
		if r.HTTPMethod() == http.MethodGet {
			res.Header().Set("Vary", "Cookie") // besides the value that the protocol adds
		}
		return res, nil
	}
	mux.Handle(transcriptUnary, NewUnaryHandler(transcriptUnary, unary, options))
	mux.Handle(transcriptGet, NewUnaryHandler(transcriptGet, unary, options, WithIdempotency(IdempotencyNoSideEffects)))
	mux.Handle(transcriptServer, NewServerStreamHandler(transcriptServer,
		func(_ context.Context, r *Request[stringValue], s *ServerStream[stringValue]) error {
			s.ResponseHeader().Set("X-Header", "h")
			s.ResponseTrailer().Set("X-Trailer", "t")
			for i := range 2 {
				if err := s.Send(wrapperspb.String(fmt.Sprintf("%s %d", r.Msg.Value, i))); err != nil {
					return err
				}
			}
			return transcriptOutcome(r.Msg.Value)
		}, options))
	mux.Handle(transcriptClient, NewClientStreamHandler(transcriptClient,
		func(_ context.Context, s *ClientStream[stringValue]) (*Response[stringValue], error) {
			var all []string
			for s.Receive() {
				if err := transcriptOutcome(s.Msg().Value); err != nil {
					return nil, err
				}
				all = append(all, s.Msg().Value)
			}
			res := NewResponse(wrapperspb.String(strings.Join(all, "+")))
			res.Trailer().Set("X-Trailer", "t")
			return res, s.Err()
		}, options))
	mux.Handle(transcriptBidi, NewBidiStreamHandler(transcriptBidi,
		func(context.Context, *BidiStream[stringValue, stringValue]) error { return nil }, options))
	mux.Handle("/test.v1.Echo/", NewUnknownProcedureHandler(options))
	return mux
}

// runs is a compression that writes each run of a byte as its length and the
// byte: unlike gzip's, its bytes do not depend on the Go release.
type runs struct {
	w    io.Writer
	last byte
	n    byte
}

func newRuns() Compressor { return &runs{} }

func (c *runs) Reset(w io.Writer) { *c = runs{w: w} }

func (c *runs) Close() error { return c.flush() }

func (c *runs) Write(p []byte) (int, error) {
	for i, b := range p {
		if c.n > 0 && (b != c.last || c.n == 255) {
			if err := c.flush(); err != nil {
				return i, err
			}
		}
		c.last, c.n = b, c.n+1
	}
	return len(p), nil
}

func (c *runs) flush() error {
	if c.n == 0 {
		return nil
	}
	_, err := c.w.Write([]byte{c.n, c.last})
	c.n = 0
	return err
}

// unruns is the inverse of runs.
type unruns struct {
	r    io.Reader
	last byte
	n    byte
}

func newUnruns() Decompressor { return &unruns{} }

func (d *unruns) Reset(r io.Reader) error { *d = unruns{r: r}; return nil }

func (d *unruns) Close() error { return nil }

func (d *unruns) Read(p []byte) (int, error) {
	for i := range p {
		if d.n == 0 {
			var pair [2]byte
			if _, err := io.ReadFull(d.r, pair[:]); err != nil {
				return i, err
			}
			d.n, d.last = pair[0], pair[1]
			if d.n == 0 {
				return i, errors.New("a run of no bytes")
			}
		}
		p[i] = d.last
		d.n--
	}
	return len(p), nil
}

// transcriptCall makes one call and returns its outcome as a text.
type transcriptCall struct {
	name    string
	options []ClientOption
	call    func(ctx context.Context, at func(procedure string, more ...ClientOption) *Client[stringValue, stringValue]) string
}

// found returns messages, trailers and the error as a text.
func found(trailer http.Header, err error, messages ...*stringValue) string {
	var b strings.Builder
	for _, m := range messages {
		fmt.Fprintf(&b, "message %q\n", m.GetValue())
	}
	for _, key := range slices.Sorted(headerKeys(trailer)) {
		fmt.Fprintf(&b, "trailer %s: %q\n", key, trailer[key])
	}
	if err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintf(&b, "error %v\n", err)
		if e, ok := asError(err); ok {
			for _, d := range e.Details() {
				value, _ := d.Value()
				fmt.Fprintf(&b, "detail %s %v\n", d.Type(), value.(*durationpb.Duration).AsDuration())
			}
			fmt.Fprintf(&b, "from the server %t\n", IsWireError(err))
		}
	}
	return b.String()
}

func headerKeys(h http.Header) func(func(string) bool) {
	return func(yield func(string) bool) {
		for key := range h {
			if !yield(key) {
				return
			}
		}
	}
}

func transcriptCalls() []transcriptCall {
	type clientAt = func(procedure string, more ...ClientOption) *Client[stringValue, stringValue]
	unary := func(procedure, text string, more ...ClientOption) func(context.Context, clientAt) string {
		return func(ctx context.Context, at clientAt) string {
			r := NewRequest(wrapperspb.String(text))
			r.Header().Set("X-Request", "r")
			res, err := at(procedure, more...).CallUnary(ctx, r)
			if err != nil {
				return found(nil, err)
			}
			return found(res.Trailer(), nil, res.Msg)
		}
	}
	server := func(text string, more ...ClientOption) func(context.Context, clientAt) string {
		return func(ctx context.Context, at clientAt) string {
			s, err := at(transcriptServer, more...).CallServerStream(ctx, NewRequest(wrapperspb.String(text)))
			if err != nil {
				return found(nil, err)
			}
			var got []*stringValue
			for s.Receive() {
				got = append(got, s.Msg())
			}
			err = s.Err()
			return found(s.ResponseTrailer(), errors.Join(err, s.Close()), got...)
		}
	}
	client := func(texts ...string) func(context.Context, clientAt) string {
		return func(ctx context.Context, at clientAt) string {
			s := at(transcriptClient).CallClientStream(ctx)
			for _, text := range texts {
				if err := s.Send(wrapperspb.String(text)); err != nil && !errors.Is(err, io.EOF) {
					return found(nil, err)
				}
			}
			res, err := s.CloseAndReceive()
			if err != nil {
				return found(nil, err)
			}
			return found(res.Trailer(), nil, res.Msg)
		}
	}
	bidi := func(ctx context.Context, at clientAt) string {
		s := at(transcriptBidi).CallBidiStream(ctx)
		defer s.CloseResponse()
		if err := s.CloseRequest(); err != nil {
			return found(nil, err)
		}
		msg, err := s.Receive()
		if err != nil {
			return found(nil, err)
		}
		return found(nil, nil, msg)
	}
	timed := func(f func(context.Context, clientAt) string) func(context.Context, clientAt) string {
		return func(ctx context.Context, at clientAt) string {
			ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
			defer cancel()
			return f(ctx, at)
		}
	}
	const long = "long enough to compress"
	packed := []ClientOption{WithAcceptCompression("runs", newUnruns, newRuns), WithSendCompression("runs"), WithCompressMinBytes(20)}
	get := []ClientOption{WithHTTPGet(), WithIdempotency(IdempotencyNoSideEffects)}

	var calls []transcriptCall
	for _, p := range []struct {
		name    string
		options []ClientOption
	}{
		{"connect_proto", nil},
		{"connect_json", []ClientOption{WithProtoJSON()}},
		{"grpc", []ClientOption{WithGRPC()}},
		{"grpcweb", []ClientOption{WithGRPCWeb()}},
	} {
		add := func(name string, call func(context.Context, clientAt) string) {
			calls = append(calls, transcriptCall{p.name + "_" + name, p.options, call})
		}
		add("unary", unary(transcriptUnary, "hello"))
		add("unary_empty", unary(transcriptUnary, ""))
		add("unary_timeout", timed(unary(transcriptUnary, "hello")))
		add("unary_error", unary(transcriptUnary, "fail"))
		add("unary_plain_error", unary(transcriptUnary, "plain"))
		add("unary_compressed", unary(transcriptUnary, long, packed...))
		add("unary_below_minimum", unary(transcriptUnary, "short", packed...))
		add("unary_unknown_compression", unary(transcriptUnary, "hello", WithAcceptCompression("other", newUnruns, newRuns), WithSendCompression("other")))
		add("unknown_procedure", unary("/test.v1.Echo/Missing", "hello"))
		add("server_stream", server("hello"))
		add("server_stream_error", server("fail"))
		add("server_stream_compressed", server(long, packed...))
		add("client_stream", client("a", "b"))
		add("client_stream_empty", client())
		add("client_stream_error", client("a", "fail"))
		add("bidi_stream", bidi)
		if strings.HasPrefix(p.name, "connect") {
			add("get", unary(transcriptGet, "hello & more", get...))
			add("get_error", unary(transcriptGet, "fail", get...))
			add("get_not_modified", unary(transcriptGet, "unmodified", get...))
			add("get_compressed", unary(transcriptGet, strings.Repeat("a", 50), append(slices.Clone(get), append(packed, WithHTTPGetMaxURLSize(110, true))...)...))
		}
	}
	return calls
}

// TestTranscripts runs each call in a bubble, where time stands still and the
// network is a pair of pipes: two runs have the same bytes.
func TestTranscripts(t *testing.T) {
	dir := filepath.Join("testdata", "transcripts")
	calls := transcriptCalls()
	if *rewrite {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	names := make(map[string]bool)
	for _, c := range calls {
		file := c.name + ".txt"
		names[file] = true
		t.Run(c.name, func(t *testing.T) {
			var got string
			synctest.Test(t, func(t *testing.T) { got = transcribe(t, c) })
			path := filepath.Join(dir, file)
			if *rewrite {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
			}
		})
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !names[entry.Name()] {
			t.Errorf("%s: got a file without a call", entry.Name())
		}
	}
}

// transcribe makes a call and returns the bytes on the wire and the outcome.
func transcribe(t *testing.T, c transcriptCall) string {
	network := newPipeNetwork()
	server := &http.Server{Handler: transcriptMux()}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(network)
	}()
	transport := &http.Transport{DialContext: network.dial, MaxConnsPerHost: 1}
	at := func(procedure string, more ...ClientOption) *Client[stringValue, stringValue] {
		options := append([]ClientOption{WithAcceptCompression("gzip", nil, nil)}, c.options...)
		return NewClient[stringValue, stringValue](&http.Client{Transport: transport}, "http://test.example"+procedure, append(options, more...)...)
	}
	outcome := c.call(context.Background(), at)
	synctest.Wait()
	transport.CloseIdleConnections()
	_ = server.Close()
	<-served
	synctest.Wait()
	sent, received := network.recorded()
	return render("> ", sent, true, t) + "\n" + render("< ", received, false, t) + "\n" + outcome
}
