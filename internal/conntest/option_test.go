// SPDX-License-Identifier: Apache-2.0

// This file tests the options of handlers and clients that are not limits.

package conntest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"google.golang.org/protobuf/proto"
)

// --- gates ---

// A gate runs before any message is decoded and before the interceptors.
func TestRequestGate(t *testing.T) {
	type key struct{}
	run(t, func(t *testing.T, m mode) {
		var events journal
		gate := func(name string) connect.HandlerOption {
			return connect.WithRequestGate(func(ctx context.Context, spec connect.Spec, peer connect.Peer, header http.Header) (context.Context, error) {
				events.note("gate %s", name)
				switch {
				case spec.IsClient || spec.Schema == nil || peer.Protocol != m.peerProtocol() || peer.Addr == "":
					return nil, fmt.Errorf("got spec %+v and peer %+v", spec, peer)
				case header.Get("Token") == "":
					err := connect.NewError(connect.CodeUnauthenticated, errors.New("no token"))
					err.Meta().Set("Ask", "nicely")
					return nil, err
				case name == "second":
					return nil, nil // keeps the context
				}
				return context.WithValue(ctx, key{}, header.Get("Token")), nil
			})
		}
		site := m.serve(t, everyKind(func(ctx context.Context, x *exchange) error {
			events.note("handler")
			if got := ctx.Value(key{}); got != "secret" {
				return fmt.Errorf("got %v in the context, want the gate's value", got)
			}
			_, err := x.receiveAll()
			return err
		}), handlerOptions(gate("first"), connect.WithInterceptors(events.noting("interceptor")), gate("second")))
		forKinds(t, m, func(t *testing.T, k kind) {
			o := call(testContext(t), site.client(), k, nil, text("x"))
			wantCode(t, o.err, connect.CodeUnauthenticated)
			var err *connect.Error
			errors.As(o.err, &err)
			wantValues(t, "error metadata", err.Meta(), "Ask", "nicely")
			wantEvents(t, "refused", events.take(), "gate first")
			o = call(testContext(t), site.client(), k, http.Header{"Token": {"secret"}}, text("x"))
			wantNil(t, o.err)
			if got := events.take(); strings.Join(got[:4], ", ") != "gate first, gate second, interceptor in, handler" {
				t.Fatalf("accepted: got %q", got)
			}
		})
	})
}

// A gate refuses before it matters whether the message can be decoded.
func TestRequestGateComesBeforeDecoding(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		site := m.serve(t, echo, handlerOptions(
			connect.WithReadMaxBytes(10),
			connect.WithRequestGate(func(context.Context, connect.Spec, connect.Peer, http.Header) (context.Context, error) {
				return nil, connect.NewError(connect.CodePermissionDenied, errors.New("not you"))
			}),
		))
		for _, k := range []kind{unary, get, serverStream} {
			o := call(testContext(t), site.client(), k, nil, &conntestv1.Request{Data: noise(1000)})
			wantCode(t, o.err, connect.CodePermissionDenied)
		}
	})
}

func TestNilRequestGatePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("got no panic, want one at construction")
		}
	}()
	connect.WithRequestGate(nil)
}

// --- recover ---

func TestRecover(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		recovered := make(chan any, 1)
		site := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			requests, err := x.receiveAll()
			if err != nil {
				return err
			}
			panic("oh no: " + requests[0].GetText())
		}), handlerOptions(connect.WithRecover(func(ctx context.Context, spec connect.Spec, header http.Header, value any) error {
			if ctx == nil || spec.Procedure == "" || header.Get("Asked") != "yes" {
				return fmt.Errorf("got %v, %+v and %v", ctx, spec, header)
			}
			recovered <- value
			return connect.NewError(connect.CodeDataLoss, fmt.Errorf("recovered from %v in %s", value, spec.Procedure))
		})))
		forKinds(t, m, func(t *testing.T, k kind) {
			o := call(testContext(t), site.client(), k, http.Header{"Asked": {"yes"}}, text("x"))
			wantCode(t, o.err, connect.CodeDataLoss)
			var err *connect.Error
			errors.As(o.err, &err)
			wantEqual(t, "message", err.Message(), "recovered from oh no: x in "+k.procedure())
			wantEqual(t, "recovered value", (<-recovered).(string), "oh no: x")
		})
	})
}

// Recovery covers interceptors that come after it too.
func TestRecoverCoversInterceptors(t *testing.T) {
	panicking := interceptor{
		unary: func(connect.UnaryFunc) connect.UnaryFunc {
			return func(context.Context, connect.AnyRequest) (connect.AnyResponse, error) { panic("interceptor") }
		},
		handler: func(connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
			return func(context.Context, connect.StreamingHandlerConn) error { panic("interceptor") }
		},
	}
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, echo, handlerOptions(
			connect.WithRecover(func(context.Context, connect.Spec, http.Header, any) error {
				return connect.NewError(connect.CodeAborted, errors.New("recovered"))
			}),
			connect.WithInterceptors(panicking),
		)).client()
		for _, k := range m.kinds() {
			wantCode(t, call(testContext(t), client, k, nil, text("x")).err, connect.CodeAborted)
		}
	})
}

// http.ErrAbortHandler keeps its meaning (checklist item 88).
func TestRecoverLeavesAbortHandler(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		aborted := make(chan any, 1)
		client := m.serve(t, everyKind(func(context.Context, *exchange) error {
			panic(http.ErrAbortHandler)
		}), alone, handlerOptions(connect.WithRecover(func(context.Context, connect.Spec, http.Header, any) error {
			t.Error("WithRecover's function ran")
			return errors.New("recovered")
		})), wrapped(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() {
					v := recover()
					aborted <- v
					if v != nil {
						panic(v)
					}
				}()
				next.ServeHTTP(w, r)
			})
		})).client()
		for _, k := range m.kinds() {
			if err := call(testContext(t), client, k, nil, text("x")).err; err == nil {
				t.Fatalf("%s: got no error, want one", k)
			}
			wantEqual(t, "panic", await(t, "server", aborted), any(http.ErrAbortHandler))
		}
	})
}

// A panic without WithRecover ends the one call and no other, and the server
// goes on.
func TestPanicCutsTheCall(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		hold := make(chan struct{})
		arrived := make(chan struct{}, 1)
		client := m.serve(t, everyKind(func(_ context.Context, x *exchange) error {
			requests, err := x.receiveAll()
			if err != nil {
				return err
			}
			switch requests[0].GetText() {
			case "panic":
				panic("on purpose")
			case "hold":
				arrived <- struct{}{}
				<-hold
			}
			return x.send(text2("fine"))
		}), alone).client()
		held := make(chan outcome, 1)
		go func() { held <- call(testContext(t), client, unary, nil, text("hold")) }()
		await(t, "held call", arrived)
		for _, k := range m.kinds() {
			err := call(testContext(t), client, k, nil, text("panic")).err
			switch code := connect.CodeOf(err); {
			case err == nil:
				t.Fatalf("%s: got no error, want one", k)
			case code != connect.CodeUnavailable && code != connect.CodeInternal && code != connect.CodeUnknown:
				t.Fatalf("%s: got %v (%v), want unavailable, internal or unknown", k, code, err)
			}
			wantNil(t, call(testContext(t), client, k, nil, text("x")).err)
		}
		close(hold)
		wantNil(t, await(t, "held call", held).err)
	})
}

// --- initializers and conditional options ---

// Initializers see every message before it is decoded, and may refuse.
func TestInitializers(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		var requests, responses atomic.Int64
		site := m.serve(t, echo, handlerOptions(connect.WithRequestInitializer(func(spec connect.Spec, message any) error {
			requests.Add(1)
			r, ok := message.(*conntestv1.Request)
			if !ok || spec.IsClient || spec.Schema == nil || !proto.Equal(r, new(conntestv1.Request)) {
				return fmt.Errorf("got %T %v in %+v", message, message, spec)
			}
			return nil
		})))
		client := site.client(connect.WithResponseInitializer(func(spec connect.Spec, message any) error {
			responses.Add(1)
			r, ok := message.(*conntestv1.Response)
			if !ok || !spec.IsClient || spec.Schema == nil || !proto.Equal(r, new(conntestv1.Response)) {
				return fmt.Errorf("got %T %v in %+v", message, message, spec)
			}
			return nil
		}))
		forKinds(t, m, func(t *testing.T, k kind) {
			requests.Store(0)
			responses.Store(0)
			wantNil(t, call(testContext(t), client, k, nil, text("x")).err)
			// A stream may initialize one more message before it sees the end.
			if n := requests.Load(); n != 1 && !(k.sendsMany() && n == 2) {
				t.Fatalf("the handler's initializer ran %d times, want once for each message", n)
			}
			if n := responses.Load(); n < 1 || n > 2 || n == 2 && !k.receivesMany() {
				t.Fatalf("the client's initializer ran %d times, want once for each message", n)
			}
		})
		refusing := m.serve(t, echo, handlerOptions(connect.WithRequestInitializer(func(connect.Spec, any) error {
			return connect.NewError(connect.CodeFailedPrecondition, errors.New("no such schema"))
		}))).client()
		refused := m.serve(t, echo).client(connect.WithResponseInitializer(func(connect.Spec, any) error {
			return errors.New("no such schema")
		}))
		for _, k := range m.kinds() {
			if err := call(testContext(t), refusing, k, nil, text("x")).err; err == nil || !strings.Contains(err.Error(), "no such schema") {
				t.Fatalf("%s: handler: got %v, want its initializer's error", k, err)
			}
			if err := call(testContext(t), refused, k, nil, text("x")).err; err == nil || !strings.Contains(err.Error(), "no such schema") {
				t.Fatalf("%s: client: got %v, want its initializer's error", k, err)
			}
		}
	})
}

// Conditional options apply to the methods that they choose.
func TestConditionalHandlerOptions(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		var asked atomic.Int64
		client := m.serve(t, echo, handlerOptions(connect.WithConditionalHandlerOptions(func(spec connect.Spec) []connect.HandlerOption {
			asked.Add(1)
			if spec.Procedure != unary.procedure() || spec.IsClient || spec.Schema == nil {
				return nil
			}
			return []connect.HandlerOption{connect.WithReadMaxBytes(100)}
		}))).client()
		for _, k := range m.kinds() {
			err := call(testContext(t), client, k, nil, &conntestv1.Request{Data: noise(1000)}).err
			if k == unary {
				wantCode(t, err, connect.CodeResourceExhausted)
			} else {
				wantNil(t, err)
			}
		}
		if asked.Load() < int64(len(allKinds)) {
			t.Fatalf("the condition was asked %d times, want once for each method", asked.Load())
		}
	})
}

// WithRequireConnectProtocolHeader changes nothing for clients of the library.
func TestRequireConnectProtocolHeader(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		client := m.serve(t, echo, handlerOptions(connect.WithRequireConnectProtocolHeader())).client(connect.WithHTTPGet())
		for _, k := range m.kinds() {
			if k == get && m.codec == "flip" {
				continue // has no stable form for a GET
			}
			wantNil(t, call(testContext(t), client, k, nil, text("x")).err)
		}
	})
}

// --- compression ---

// encodings is an HTTP client that shows the headers of each call.
func (s *site) encodings(t *testing.T, seen func(request, response http.Header)) doerFunc {
	t.Helper()
	return func(r *http.Request) (*http.Response, error) {
		res, err := s.httpClient().Do(r)
		if err == nil {
			seen(r.Header, res.Header)
		}
		return res, err
	}
}

// encodingHeader is the header that names a call's compression.
func (m mode) encodingHeader(k kind) string {
	switch {
	case m.protocol != "connect":
		return "Grpc-Encoding"
	case k == unary || k == get:
		return "Content-Encoding"
	}
	return "Connect-Content-Encoding"
}

// The mode's compression is the one on the wire, both ways.
func TestCompressionIsUsed(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		site := m.serve(t, echo)
		forKinds(t, m, func(t *testing.T, k kind) {
			var sent, received string
			client := site.clientOn(site.encodings(t, func(request, response http.Header) {
				sent, received = request.Get(m.encodingHeader(k)), response.Get(m.encodingHeader(k))
			}))
			wantNil(t, call(testContext(t), client, k, nil, &conntestv1.Request{Data: make([]byte, 1000)}).err)
			want := m.compression
			if want == "identity" {
				if sent != "" && sent != "identity" || received != "" && received != "identity" {
					t.Fatalf("got encodings %q and %q, want none", sent, received)
				}
				return
			}
			wantEqual(t, "request encoding", sent, want)
			wantEqual(t, "response encoding", received, want)
		})
	})
}

// A handler compresses responses to a client that accepts it and does not compress itself.
func TestResponseOnlyCompression(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		m.compression = "" // clientOptions then leaves the defaults
		site := m.serve(t, echo)
		for _, k := range m.kinds() {
			var sent, received string
			client := site.clientOn(site.encodings(t, func(request, response http.Header) {
				sent, received = request.Get(m.encodingHeader(k)), response.Get(m.encodingHeader(k))
			}))
			wantNil(t, call(testContext(t), client, k, nil, &conntestv1.Request{Data: make([]byte, 1000)}).err)
			wantEqual(t, string(k)+": request encoding", strings.TrimPrefix(sent, "identity"), "")
			wantEqual(t, string(k)+": response encoding", received, "gzip")
		}
	})
}

// countingCompressor counts the messages that are compressed.
type countingCompressor struct {
	zlibCompressor
	closed *atomic.Int64
}

func (c *countingCompressor) Close() error {
	c.closed.Add(1)
	return c.zlibCompressor.Close()
}

// Small messages stay as they are, in both directions (checklist item 21).
func TestCompressMinBytes(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		var byHandler, byClient atomic.Int64
		newDecompressor := func() connect.Decompressor { return new(zlibDecompressor) }
		compressor := func(count *atomic.Int64) func() connect.Compressor {
			return func() connect.Compressor { return &countingCompressor{newZlibCompressor(), count} }
		}
		m.compression = ""
		client := m.serve(t, echo, handlerOptions(
			connect.WithCompression("counted", newDecompressor, compressor(&byHandler)),
			connect.WithCompressMinBytes(500),
		)).client(
			connect.WithAcceptCompression("counted", newDecompressor, compressor(&byClient)),
			connect.WithSendCompression("counted"),
			connect.WithCompressMinBytes(500),
		)
		for _, k := range m.kinds() {
			byHandler.Store(0)
			byClient.Store(0)
			o := call(testContext(t), client, k, nil, &conntestv1.Request{Text: strings.Repeat("s", 100)})
			wantNil(t, o.err)
			wantEqual(t, string(k)+": small requests compressed", byClient.Load(), 0)
			wantEqual(t, string(k)+": small responses compressed", byHandler.Load(), 0)
			o = call(testContext(t), client, k, nil, &conntestv1.Request{Text: strings.Repeat("l", 600)})
			wantNil(t, o.err)
			wantEqual(t, "text", len(o.messages[0].GetText()), 600)
			wantEqual(t, string(k)+": large requests compressed", byClient.Load(), 1)
			wantEqual(t, string(k)+": large responses compressed", byHandler.Load(), 1)
		}
	})
}

// A handler refuses a request in a compression that it does not have, with a
// message that lists those it has (checklist item 14).
func TestUnknownRequestCompression(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		m.compression = ""
		client := m.serve(t, echo).client(
			connect.WithAcceptCompression("strange",
				func() connect.Decompressor { return new(zlibDecompressor) },
				func() connect.Compressor { return newZlibCompressor() }),
			connect.WithSendCompression("strange"))
		for _, k := range m.kinds() {
			err := call(testContext(t), client, k, nil, text("x")).err
			wantCode(t, err, connect.CodeUnimplemented)
			if !strings.Contains(err.Error(), "strange") || !strings.Contains(err.Error(), "gzip") {
				t.Fatalf("%s: got %q, want it to name strange and gzip", k, err)
			}
		}
	})
}

// A client that names a compression it does not have cannot call.
func TestUnregisteredSendCompression(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		m.compression = ""
		client := m.serve(t, echo, wrapped(func(http.Handler) http.Handler {
			return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("sent %s", r.URL) })
		})).client(connect.WithSendCompression("strange"))
		for _, k := range m.kinds() {
			err := call(testContext(t), client, k, nil, text("x")).err
			if err == nil || !strings.Contains(err.Error(), "strange") {
				t.Fatalf("%s: got %v, want an error that names strange", k, err)
			}
		}
	})
}

// A handler without the client's compression answers plain.
func TestCompressionRemovedFromHandler(t *testing.T) {
	runFew(t, func(t *testing.T, m mode) {
		m.compression = ""
		site := m.serve(t, echo, handlerOptions(connect.WithCompression("gzip", nil, nil)))
		for _, k := range m.kinds() {
			var received string
			client := site.clientOn(site.encodings(t, func(_, response http.Header) {
				received = response.Get(m.encodingHeader(k))
			}))
			wantNil(t, call(testContext(t), client, k, nil, text("x")).err)
			wantEqual(t, string(k)+": response encoding", strings.TrimPrefix(received, "identity"), "")
		}
	})
}
