// SPDX-License-Identifier: Apache-2.0

// This file tests errors that are larger than the header that their client takes.

package conntest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/h2"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const limitPath = "/limit.v1.Limit/"

// limitFailure is an error with details of n bytes.
func limitFailure(n int, text string) *connect.Error {
	err := connect.NewError(connect.CodeFailedPrecondition, errors.New(text))
	detail, wrong := connect.NewErrorDetail(wrapperspb.Bytes(bytes.Repeat([]byte{'d'}, n)))
	if wrong != nil {
		panic(wrong) // a message of Protobuf's own
	}
	err.AddDetail(detail)
	err.Meta().Set("Reason", "metadata")
	return err
}

// limitServer serves on the engine: errors of a unary call and of a stream with one
// message, and an echo.
func limitServer(t *testing.T, failure func() *connect.Error, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	unary := connect.NewUnaryHandler(limitPath+"Unary", func(context.Context, *connect.Request[wrapperspb.BytesValue]) (*connect.Response[wrapperspb.BytesValue], error) {
		return nil, failure()
	})
	stream := connect.NewServerStreamHandler(limitPath+"Stream", func(_ context.Context, _ *connect.Request[wrapperspb.BytesValue], s *connect.ServerStream[wrapperspb.BytesValue]) error {
		if err := s.Send(wrapperspb.Bytes(nil)); err != nil {
			return err
		}
		return failure()
	})
	trailer := connect.NewUnaryHandler(limitPath+"Trailer", func(context.Context, *connect.Request[wrapperspb.BytesValue]) (*connect.Response[wrapperspb.BytesValue], error) {
		res := connect.NewResponse(wrapperspb.Bytes(nil))
		res.Trailer().Set("Large", strings.Repeat("t", 70<<10))
		return res, nil
	})
	echo := connect.NewBidiStreamHandler(limitPath+"Echo", func(_ context.Context, s *connect.BidiStream[wrapperspb.BytesValue, wrapperspb.BytesValue]) error {
		for {
			msg, err := s.Receive()
			if err != nil {
				return nil
			}
			if err := s.Send(msg); err != nil {
				return err
			}
		}
	})
	service := connect.NewServiceHandler([]*connect.Handler{unary, stream, trailer, echo})
	mux := http.NewServeMux()
	mux.Handle(limitPath, wrap(service))
	server := &http.Server{Handler: mux, Protocols: new(http.Protocols)}
	server.Protocols.SetUnencryptedHTTP2(true)
	if err := h2.ConfigureServer(server, nil); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	wantNil(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // returns what Close makes it return
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return "http://" + listener.Addr().String()
}

// passing is a ResponseWriter of middleware.
type passing struct{ http.ResponseWriter }

func (p passing) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// limitWays are the ways from the engine to a handler.
var limitWays = map[string]func(http.Handler) http.Handler{
	"direct":   func(h http.Handler) http.Handler { return h },
	"requests": func(h http.Handler) http.Handler { return indirectHandler{h} },
	"middleware": func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(passing{w}, r) })
	},
}

type limitClient = connect.Client[wrapperspb.BytesValue, wrapperspb.BytesValue]

// limitCall calls a procedure and returns its error.
func limitCall(t *testing.T, client *limitClient, procedure string) error {
	t.Helper()
	if procedure != "Stream" {
		_, err := client.CallUnary(testContext(t), connect.NewRequest(wrapperspb.Bytes(nil)))
		return err
	}
	stream, err := client.CallServerStream(testContext(t), connect.NewRequest(wrapperspb.Bytes(nil)))
	wantNil(t, err)
	defer func() { _ = stream.Close() }()
	wantEqual(t, "received the message", stream.Receive(), true)
	wantEqual(t, "received another", stream.Receive(), false)
	return stream.Err()
}

// If the details of an error are too large for the client, the error arrives without
// them and mentions it; other calls on the connection go on. A larger limit lets all pass.
func TestDetailsLargerThanTheHeader(t *testing.T) {
	for way, wrap := range limitWays {
		for protocol, option := range map[string]connect.ClientOption{"grpc": connect.WithGRPC(), "grpcweb": connect.WithGRPCWeb()} {
			for _, limit := range []int64{0, 1 << 20} {
				for _, procedure := range []string{"Unary", "Stream"} {
					t.Run(fmt.Sprintf("%s/%s/%d/%s", way, protocol, limit, procedure), func(t *testing.T) {
						const size = 60 << 10
						url := limitServer(t, func() *connect.Error { return limitFailure(size, "not now") }, wrap)
						transport := h2.NewTransport(&h2.TransportConfig{MaxResponseHeaderBytes: limit})
						defer func() { _ = transport.Close() }()
						client := func(procedure string) *limitClient {
							return connect.NewClient[wrapperspb.BytesValue, wrapperspb.BytesValue](&http.Client{Transport: transport}, url+limitPath+procedure, option)
						}
						var neighbours []*connect.BidiStreamForClient[wrapperspb.BytesValue, wrapperspb.BytesValue]
						talk := func() {
							for _, n := range neighbours {
								wantNil(t, n.Send(wrapperspb.Bytes([]byte("hello"))))
								_, err := n.Receive()
								wantNil(t, err)
							}
						}
						for range 5 {
							neighbours = append(neighbours, client("Echo").CallBidiStream(testContext(t)))
						}
						talk()
						err := limitCall(t, client(procedure), procedure)
						talk()
						for _, n := range neighbours {
							wantNil(t, n.CloseRequest())
							_ = n.CloseResponse()
						}

						wantCode(t, err, connect.CodeFailedPrecondition)
						var e *connect.Error
						if !errors.As(err, &e) {
							t.Fatalf("got %T, want *connect.Error", err)
						}
						wantEqual(t, "metadata", e.Meta().Get("Reason"), "metadata")
						inBody := protocol == "grpcweb" && procedure == "Stream"
						if limit == 0 && !inBody {
							wantEqual(t, "details", len(e.Details()), 0)
							wantEqual(t, "message", e.Message(), fmt.Sprintf("not now (error details of %d bytes left out: the client accepts %d bytes of header)", size+4, 64<<10))
							return
						}
						wantEqual(t, "details", len(e.Details()), 1)
						wantEqual(t, "message", e.Message(), "not now")
					})
				}
			}
		}
	}
}

// A handler leaves out other parts that are too large, too: metadata first, then the end
// of the message. The code arrives.
func TestMetadataLargerThanTheHeader(t *testing.T) {
	const note = " (shortened: the client accepts 65536 bytes of header)"
	metadata := connect.NewError(connect.CodeAborted, errors.New("not now"))
	metadata.Meta().Set("Large", strings.Repeat("m", 70<<10))
	for way, wrap := range limitWays {
		for protocol, option := range map[string]connect.ClientOption{"grpc": connect.WithGRPC(), "grpcweb": connect.WithGRPCWeb()} {
			for name, c := range map[string]struct {
				failure   *connect.Error
				procedure string
				code      connect.Code
				text      string // the beginning
			}{
				"metadata": {metadata, "Unary", connect.CodeAborted, "not now" + note},
				"message":  {connect.NewError(connect.CodeAborted, errors.New(strings.Repeat("n", 70<<10))), "Unary", connect.CodeAborted, strings.Repeat("n", 60<<10)},
				"escaped":  {connect.NewError(connect.CodeAborted, errors.New(strings.Repeat("é", 20<<10))), "Unary", connect.CodeAborted, strings.Repeat("é", 10<<10)},
				"trailer":  {nil, "Trailer", connect.CodeResourceExhausted, note[1:]},
			} {
				t.Run(way+"/"+protocol+"/"+name, func(t *testing.T) {
					if protocol == "grpcweb" && name == "trailer" {
						return // gRPC-Web has its trailers in the body
					}
					url := limitServer(t, func() *connect.Error { return c.failure }, wrap)
					transport := h2.NewTransport(nil)
					defer func() { _ = transport.Close() }()
					client := connect.NewClient[wrapperspb.BytesValue, wrapperspb.BytesValue](&http.Client{Transport: transport}, url+limitPath+c.procedure, option)
					err := limitCall(t, client, c.procedure)
					wantCode(t, err, c.code)
					var e *connect.Error
					if !errors.As(err, &e) || !strings.HasPrefix(e.Message(), c.text) || !strings.HasSuffix(e.Message(), note[1:]) {
						t.Errorf("message: got %.200q, want %.200q … %q", err, c.text, note)
					}
				})
			}
		}
	}
}
