// SPDX-License-Identifier: Apache-2.0

// This file tests items 85 to 90 of the checklist: buffers, unreadable messages, interceptors, panics, identities and names that
// must stay apart from each other.

package conntest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// A transport may still read a request body after it has returned the response.
func TestItem85_BuffersInFlight(t *testing.T) {
	kinds := []connect.StreamType{connect.StreamTypeUnary, connect.StreamTypeServer}
	wireEach(t, kinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		var bodies []io.ReadCloser
		script := wireScript(func(req *http.Request) (*http.Response, error) {
			bodies = append(bodies, req.Body)
			res, _ := dialect.answer(kind, "early").response(req)
			return res, nil
		})
		text := func(i int) string { return strings.Repeat(string(rune('a'+i)), 1000) }
		for i := range 20 {
			out := wireInvoke(t.Context(), kind, script, wireStub, dialect.client, text(i))
			if out.err != nil {
				t.Fatal(out.err)
			}
			wantTexts(t, out.texts, "early")
		}
		for i, body := range bodies {
			data, err := io.ReadAll(body)
			_ = body.Close()
			if err != nil {
				continue // the body may refuse a late Read
			}
			if want := dialect.body(kind, text(i)); !bytes.Equal(data, want) {
				t.Errorf("body %d read after the call: got %.20x…, want %.20x…", i, data, want)
			}
		}
	})
}

func TestItem85_EarlyResponse(t *testing.T) {
	large := strings.Repeat("x", 8<<20)
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		server := wireServer(t, wireEcho(kind, connect.WithReadMaxBytes(1024)))
		ctx, cancel := context.WithTimeout(t.Context(), wirePatience)
		defer cancel()
		out := wireInvoke(ctx, kind, wireTransport(t, false), server.URL+wireProcedure, dialect.client, large)
		wantFault(t, out.err, connect.CodeResourceExhausted)
	})
}

// A message that cannot be parsed is invalid_argument on either side, as in the reference.
func TestItem86_UnparseableMessages(t *testing.T) {
	badProto := []byte{0x0a, 0x05, 'x'} // promises more than it has
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		for _, test := range []struct {
			codec, encoding string
			payload         []byte
		}{
			{"proto", "", badProto},
			{"proto", "", []byte{0xff, 0xff, 0xff}},
			{"proto", "", []byte{0x0a, 0x02, 0xff, 0xfe}}, // a string that is not UTF-8
			{"json", "", []byte(`{"value":`)},
			{"json", "", []byte(`{}`)},
			{"json", "", []byte(`"a" "b"`)},
			{"proto", "gzip", []byte("this is no gzip")},
			{"proto", "gzip", wireGzip(wireProto("cut off"))[:15]},
			{"proto", "gzip", wireGzip(badProto)},
		} {
			body, pairs := test.payload, []string(nil)
			if test.encoding != "" {
				pairs = []string{dialect.encodingHeader(kind), test.encoding}
			}
			flags := byte(0)
			if test.encoding != "" {
				flags = flagCompressed
			}
			if dialect.framed(kind) {
				body = wireFrame(flags, body)
			}
			reply := wirePost(t, wireEcho(kind), dialect.contentType(kind, test.codec), body, pairs...)
			wantEnd(t, dialect.end(t, kind, reply), connect.CodeInvalidArgument)

			answer := dialect.answer(kind, "")
			rest, _ := io.ReadAll(answer.body)
			if dialect.framed(kind) {
				rest = rest[5:]
			}
			answer.body = bytes.NewReader(wireJoin(body, rest))
			answer.header.Set("Content-Type", dialect.contentType(kind, test.codec))
			if test.encoding != "" {
				answer.header.Set(dialect.encodingHeader(kind), test.encoding)
			}
			var options []connect.ClientOption
			if test.codec == "json" {
				options = append(options, connect.WithProtoJSON())
			}
			out := dialect.call(t, kind, answer, options...)
			wantFault(t, out.err, connect.CodeInvalidArgument)
			wantTexts(t, out.texts)
		}
	})
	// An empty JSON response is none either (37).
	out := wireConnect.call(t, connect.StreamTypeUnary, wireAnswer{header: wireHeader("Content-Type", "application/json")}, connect.WithProtoJSON())
	wantFault(t, out.err, connect.CodeInvalidArgument)
	reply := wireGet(t, "encoding=json&message=%7B")
	wantSame(t, "HTTP status of GET", reply.status, 400)
	wantEnd(t, wireConnect.end(t, connect.StreamTypeUnary, reply), connect.CodeInvalidArgument)
}

// renewing is an interceptor that makes a client context of its own.
type renewing struct{}

func (renewing) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		ctx, _ = connect.NewClientContext(ctx)
		return next(ctx, req)
	}
}

func (renewing) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		ctx, _ = connect.NewClientContext(ctx)
		return next(ctx, spec)
	}
}

func (renewing) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

func TestItem87_NewClientContextInAnInterceptor(t *testing.T) {
	pass := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc { return next })
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		for name, chain := range map[string][]connect.Interceptor{
			"outer": {renewing{}, pass}, "inner": {pass, renewing{}},
		} {
			t.Run(name, func(t *testing.T) {
				var sent atomic.Int64
				script := wireScript(func(req *http.Request) (*http.Response, error) {
					sent.Add(1)
					return dialect.answer(kind, "hi").Do(req)
				})
				options := append(slices.Clone(dialect.client), connect.WithInterceptors(chain...))
				ctx, _ := connect.NewClientContext(t.Context())
				out := wireInvoke(ctx, kind, script, wireStub, options, "hi")
				if out.err == nil {
					t.Fatal("call: got no error, want a refusal")
				}
				wantSame(t, "HTTP requests", sent.Load(), 0)
			})
		}
	})
}

func TestItem88_PanicsInHandlers(t *testing.T) {
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		body, contentType := dialect.body(kind, "hi"), dialect.contentType(kind, "proto")
		cut := func(t *testing.T, handler http.Handler, http1 bool) {
			t.Helper()
			server := wireServer(t, handler)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+wireProcedure, bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", contentType)
			res, err := wireTransport(t, http1).Do(req)
			if err == nil {
				_, err = io.ReadAll(res.Body)
				res.Body.Close()
			}
			if err == nil {
				t.Errorf("HTTP/1.1 %v: got a complete response with status %d, want the connection cut", http1, res.StatusCode)
			}
			out := wireInvoke(t.Context(), kind, wireTransport(t, http1), server.URL+wireProcedure, dialect.client, "hi")
			if http1 {
				wantFault(t, out.err, connect.CodeUnavailable)
			} else {
				wantFault(t, out.err, connect.CodeUnavailable, connect.CodeInternal) // RST_STREAM (80)
			}
		}
		var recovered atomic.Int64
		recovering := connect.WithRecover(func(_ context.Context, spec connect.Spec, _ http.Header, value any) error {
			recovered.Add(1)
			return connect.NewError(connect.CodeAborted, fmt.Errorf("%s: %v", spec.Procedure, value))
		})
		panics := func(value any, options ...connect.HandlerOption) http.Handler {
			return wireHandler(kind, func(context.Context, *wireCall) error { panic(value) }, options...)
		}
		for _, http1 := range []bool{true, false} {
			if http1 && kind == connect.StreamTypeBidi {
				continue
			}
			cut(t, panics("boom"), http1)
			cut(t, panics(http.ErrAbortHandler), http1)
			cut(t, panics(http.ErrAbortHandler, recovering), http1)
		}
		wantSame(t, "ErrAbortHandler seen by WithRecover", recovered.Load(), 0)
		end := dialect.end(t, kind, wirePost(t, panics("boom", recovering), contentType, body))
		wantEnd(t, end, connect.CodeAborted)
		wantSame(t, "message", end.message, wireProcedure+": boom")
		wantSame(t, "panics seen by WithRecover", recovered.Load(), 1)
	})
}

func TestItem89_ClientCertificates(t *testing.T) {
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "wire authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	if err != nil {
		t.Fatal(err)
	}
	authority, err = x509.ParseCertificate(authorityDER)
	if err != nil {
		t.Fatal(err)
	}
	clientKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	clientDER, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "wire client"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, authority, clientKey.Public(), authorityKey)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority)

	type identity struct{}
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		var name string
		handler := wireHandler(kind, func(ctx context.Context, call *wireCall) error {
			name, _ = ctx.Value(identity{}).(string)
			return call.send("hi")
		})
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx := context.WithValue(r.Context(), identity{}, r.TLS.PeerCertificates[0].Subject.CommonName)
			handler.ServeHTTP(w, r.WithContext(ctx))
		}))
		server.EnableHTTP2 = true
		server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		configureEngine(t, server.Config)
		server.StartTLS()
		t.Cleanup(server.Close)
		call := func(certificates ...tls.Certificate) wireOutcome {
			roots := x509.NewCertPool()
			roots.AddCert(server.Certificate())
			transport := engineTransport(t, false, &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certificates},
			})
			ctx, cancel := context.WithTimeout(t.Context(), wirePatience)
			defer cancel()
			return wireInvoke(ctx, kind, &http.Client{Transport: transport}, server.URL+wireProcedure, dialect.client, "hi")
		}
		out := call(tls.Certificate{Certificate: [][]byte{clientDER}, PrivateKey: clientKey})
		if out.err != nil {
			t.Fatal(out.err)
		}
		wantSame(t, "name in the handler", name, "wire client")
		wantFault(t, call().err, connect.CodeUnavailable) // without a certificate
	})
}

// Protocol: keys beginning with "connect-" (and, in gRPC, "grpc-") are reserved for the protocol.
func TestItem90_ReservedMetadata(t *testing.T) {
	reserved := []string{
		"Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin", "Grpc-Encoding", "Grpc-Accept-Encoding",
		"Connect-Content-Encoding", "Connect-Accept-Encoding", "Connect-Protocol-Version", "Content-Type", "Content-Encoding",
	}
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		handler := wireHandler(kind, func(_ context.Context, call *wireCall) error {
			for _, name := range reserved {
				call.info.ResponseTrailer().Set(name, "evil")
				if kind == connect.StreamTypeUnary {
					call.info.ResponseHeader().Set(name, "evil")
				}
			}
			call.info.ResponseTrailer().Set("X-End", "e")
			return call.send("hi")
		})
		reply := wirePost(t, handler, dialect.contentType(kind, "proto"), dialect.body(kind, "hi"))
		end := dialect.end(t, kind, reply)
		wantEnd(t, end, 0)
		wantTexts(t, end.texts(t), "hi")
		wantSame(t, "a trailer beside them", end.trailer.Get("X-End"), "e")
		for _, header := range []http.Header{reply.header, reply.trailer, end.trailer} {
			for _, name := range []string{"Grpc-Status", "Grpc-Message", "Grpc-Encoding", "Connect-Content-Encoding", "Content-Encoding", "Content-Type"} {
				if slices.Contains(header.Values(name), "evil") {
					t.Errorf("%s: got the value that the handler had set", name)
				}
			}
		}

		var seen http.Header
		client := connect.NewClient[wireText, wireText](wireScript(func(req *http.Request) (*http.Response, error) {
			seen = req.Header.Clone()
			return dialect.answer(kind, "hi").Do(req)
		}), wireStub, dialect.client...)
		evil := func(header http.Header) {
			for _, name := range reserved {
				header.Set(name, "evil")
			}
		}
		switch kind {
		case connect.StreamTypeUnary:
			req := connect.NewRequest(wrapperspb.String("hi"))
			evil(req.Header())
			if _, err := client.CallUnary(t.Context(), req); err != nil {
				t.Fatal(err)
			}
		case connect.StreamTypeServer:
			req := connect.NewRequest(wrapperspb.String("hi"))
			evil(req.Header())
			stream, err := client.CallServerStream(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			for stream.Receive() {
			}
			_ = stream.Close()
		default:
			return // their headers are open to the caller until the first Send
		}
		wantSame(t, "Content-Type", strings.TrimSuffix(seen.Get("Content-Type"), "+proto"), strings.TrimSuffix(dialect.contentType(kind, "proto"), "+proto"))
		wantSame(t, dialect.acceptHeader(kind), seen.Get(dialect.acceptHeader(kind)), "gzip")
		if dialect.name == connect.ProtocolConnect {
			wantSame(t, "Connect-Protocol-Version", seen.Get("Connect-Protocol-Version"), "1")
		}
	})
}
