// SPDX-License-Identifier: Apache-2.0

// This file tests items 80 to 83 of the checklist: what transports do to calls.

//lint:file-ignore SA1019 programs still use the transport of x/net, whose errors are not net/http's

package conntest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-b7c59c10/connect"
	"golang.org/x/net/http2"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// wireResets are the codes of RST_STREAM that have a meaning for a call.
var wireResets = map[http2.ErrCode]connect.Code{
	http2.ErrCodeNo:                 connect.CodeInternal,
	http2.ErrCodeProtocol:           connect.CodeInternal,
	http2.ErrCodeInternal:           connect.CodeInternal,
	http2.ErrCodeFlowControl:        connect.CodeInternal,
	http2.ErrCodeSettingsTimeout:    connect.CodeInternal,
	http2.ErrCodeFrameSize:          connect.CodeInternal,
	http2.ErrCodeCompression:        connect.CodeInternal,
	http2.ErrCodeConnect:            connect.CodeInternal,
	http2.ErrCodeRefusedStream:      connect.CodeUnavailable,
	http2.ErrCodeCancel:             connect.CodeCanceled,
	http2.ErrCodeEnhanceYourCalm:    connect.CodeResourceExhausted,
	http2.ErrCodeInadequateSecurity: connect.CodePermissionDenied,
}

func TestItem80_ResetStreams(t *testing.T) {
	clients := map[string]func(*testing.T) *http.Client{
		"net/http": func(t *testing.T) *http.Client { return wireTransport(t, false) }, // or the engine
		"x/net": func(t *testing.T) *http.Client {
			transport := &http2.Transport{
				AllowHTTP: true,
				DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, addr)
				},
			}
			t.Cleanup(transport.CloseIdleConnections)
			return &http.Client{Transport: transport}
		},
	}
	for name, newClient := range clients {
		for reset, want := range wireResets {
			t.Run(name+"/"+reset.String(), func(t *testing.T) {
				wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
					contentType := dialect.contentType(kind, "proto")
					call := func(answer func(*http2.Framer, uint32)) wireOutcome {
						addr := h2Serve(t, answer)
						ctx, cancel := context.WithTimeout(t.Context(), wirePatience)
						defer cancel()
						return wireInvoke(ctx, kind, newClient(t), addr+wireProcedure, dialect.client, "hello")
					}
					out := call(func(framer *http2.Framer, id uint32) {
						h2Headers(framer, id, false, ":status", "200", "content-type", contentType)
						_ = framer.WriteRSTStream(id, reset)
					})
					wantFault(t, out.err, want)
					wantTexts(t, out.texts)
					if reset == http2.ErrCodeRefusedStream || reset == http2.ErrCodeProtocol {
						return // transports retry these by themselves if no header has come
					}
					out = call(func(framer *http2.Framer, id uint32) { _ = framer.WriteRSTStream(id, reset) })
					wantFault(t, out.err, want)
				})
			})
		}
	}
	// A reset that arrives after the deadline gets the deadline's code.
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		reset := http2.StreamError{StreamID: 1, Code: http2.ErrCodeCancel, Cause: errors.New("received from peer")}
		for _, early := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				out := wireInvoke(ctx, kind, wireScript(func(req *http.Request) (*http.Response, error) {
					go func() { _, _ = io.Copy(io.Discard, req.Body) }()
					if early {
						<-ctx.Done()
						_ = req.Body.Close()
						return nil, &url.Error{Op: "Post", URL: req.URL.String(), Err: reset}
					}
					res, _ := dialect.raw(kind, nil).response(req)
					res.Body = &stalledBody{strings.NewReader(""), ctx, reset}
					return res, nil
				}), wireStub, dialect.client, "hello")
				wantFault(t, out.err, connect.CodeDeadlineExceeded)
			})
		}
	})
}

func TestItem81_NoResponse(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()

	// The server reads something and closes the connection.
	rude, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := rude.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1))
			conn.Close()
		}
	}()
	t.Cleanup(func() { rude.Close(); <-done })
	plain := wireServer(t, wireEcho(connect.StreamTypeUnary))

	for name, base := range map[string]string{
		"refused":          "http://" + closed.Addr().String(),
		"hung up":          "http://" + rude.Addr().String(),
		"TLS to plaintext": "https://" + plain.Listener.Addr().String(),
		"no such host":     "http://host.invalid",
	} {
		for _, http1 := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/HTTP1 %v", name, http1), func(t *testing.T) {
				wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
					client := wireTransport(t, http1)
					if strings.HasPrefix(base, "https") {
						client = &http.Client{Transport: engineTransport(t, http1, new(http.Transport))}
					}
					ctx, cancel := context.WithTimeout(t.Context(), wirePatience)
					defer cancel()
					out := wireInvoke(ctx, kind, client, base+wireProcedure, dialect.client, "hello")
					wantFault(t, out.err, connect.CodeUnavailable)
				})
			})
		}
	}
	// io.EOF of a transport is not the clean end of a stream.
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		for _, failure := range []error{io.EOF, &url.Error{Op: "Post", URL: wireStub, Err: io.EOF}, errors.New("no route"), io.ErrUnexpectedEOF} {
			client := connect.NewClient[wireText, wireText](wireScript(func(req *http.Request) (*http.Response, error) {
				_ = req.Body.Close()
				return nil, failure
			}), wireStub, dialect.client...)
			var err error
			if kind == connect.StreamTypeBidi {
				stream := client.CallBidiStream(t.Context())
				_ = stream.Send(wrapperspb.String("hi"))
				_, err = stream.Receive()
				_ = stream.CloseRequest()
				_ = stream.CloseResponse()
			} else {
				err = wireInvoke(t.Context(), kind, wireScript(func(req *http.Request) (*http.Response, error) {
					_ = req.Body.Close()
					return nil, failure
				}), wireStub, dialect.client, "hi").err
			}
			wantFault(t, err, connect.CodeUnavailable)
			if errors.Is(err, io.EOF) {
				t.Errorf("error %v looks like the end of a stream", err)
			}
		}
	})
}

func TestItem82_NothingBlocksAfterTheContext(t *testing.T) {
	for _, dialect := range wireDialects {
		for _, kind := range []connect.StreamType{connect.StreamTypeClient, connect.StreamTypeBidi} {
			t.Run(dialect.name+"/"+kind.String(), func(t *testing.T) {
				started, release := make(chan struct{}), make(chan struct{})
				returned := make(chan struct{})
				defer func() {
					close(release)
					<-returned
				}()
				script := wireScript(func(req *http.Request) (*http.Response, error) {
					defer close(returned)
					close(started)
					<-release // whatever the context does
					_ = req.Body.Close()
					return nil, errors.New("too late")
				})
				client := connect.NewClient[wireText, wireText](script, wireStub, dialect.client...)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if kind == connect.StreamTypeClient {
					stream := client.CallClientStream(ctx)
					within(t, "Send(nil)", func() { _ = stream.Send(nil) })
					<-started
					cancel()
					var err error
					within(t, "Send", func() { _ = stream.Send(wrapperspb.String("hi")) })
					within(t, "CloseAndReceive", func() { _, err = stream.CloseAndReceive() })
					wantFault(t, err, connect.CodeCanceled)
					return
				}
				stream := client.CallBidiStream(ctx)
				within(t, "Send(nil)", func() { _ = stream.Send(nil) })
				<-started
				received := make(chan error, 1)
				go func() {
					_, err := stream.Receive() // blocks until the context ends
					received <- err
				}()
				cancel()
				var err error
				within(t, "Receive", func() { err = <-received })
				wantFault(t, err, connect.CodeCanceled)
				within(t, "Receive again", func() { _, err = stream.Receive() })
				wantFault(t, err, connect.CodeCanceled)
				within(t, "Send", func() { err = stream.Send(wrapperspb.String("hi")) })
				if err == nil {
					t.Error("Send after the context: got no error")
				}
				within(t, "ResponseHeader", func() { _ = stream.ResponseHeader() })
				within(t, "ResponseTrailer", func() { _ = stream.ResponseTrailer() })
				within(t, "CloseRequest", func() { _ = stream.CloseRequest() })
				within(t, "CloseResponse", func() { _ = stream.CloseResponse() })
			})
		}
	}
}

// brokenWriter fails every write of a body.
type brokenWriter struct {
	http.ResponseWriter
	err error
}

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }
func (w brokenWriter) Flush()                    {}

func TestItem83_VanishedClient(t *testing.T) {
	kinds := []connect.StreamType{connect.StreamTypeServer, connect.StreamTypeBidi}
	wireEach(t, kinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		for _, failure := range []error{
			syscall.EPIPE, syscall.ECONNRESET,
			&net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE},
			&net.OpError{Op: "write", Net: "tcp", Err: syscall.ECONNRESET},
			errors.New("client disconnected"), errors.New("http2: stream closed"),
		} {
			var got error
			handler := wireHandler(kind, func(_ context.Context, call *wireCall) error {
				if _, err := call.receive(); err != nil {
					return err
				}
				got = call.send("hi")
				return got
			})
			req := httptest.NewRequest(http.MethodPost, wireProcedure, bytes.NewReader(wireMessages("hi")))
			req.Proto, req.ProtoMajor, req.ProtoMinor = "HTTP/2.0", 2, 0
			req.Header.Set("Content-Type", dialect.contentType(kind, "proto"))
			handler.ServeHTTP(brokenWriter{httptest.NewRecorder(), failure}, req)
			wantFault(t, got, connect.CodeCanceled)
		}
		// A client that resets its stream, with the frames that HTTP/2 has for it.
		failed := make(chan error, 1)
		handler := wireHandler(kind, func(_ context.Context, call *wireCall) error {
			if _, err := call.receive(); err != nil {
				failed <- err
				return err
			}
			for {
				if err := call.send("again and again"); err != nil {
					failed <- err
					return err
				}
			}
		})
		client := newH2Client(t, wireServer(t, handler).Listener.Addr().String())
		client.open(dialect.contentType(kind, "proto"))
		if err := client.framer.WriteData(1, kind == connect.StreamTypeServer, wireMessages("hi")); err != nil {
			t.Fatal(err)
		}
		for { // wait for the first message
			frame, err := client.framer.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := frame.(*http2.DataFrame); ok {
				break
			}
		}
		if err := client.framer.WriteRSTStream(1, http2.ErrCodeCancel); err != nil {
			t.Fatal(err)
		}
		var err error
		within(t, "Send in the handler", func() { err = <-failed })
		wantFault(t, err, connect.CodeCanceled)
	})
}
