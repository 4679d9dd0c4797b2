// SPDX-License-Identifier: Apache-2.0

// This file tests items 33 to 40 of the checklist: how many messages a call has, empty ones, and sending nothing.

package conntest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/protobuf/types/known/apipb"
)

func TestItem33_ConnectStreamWithoutEnd(t *testing.T) {
	for _, kind := range wireKinds[1:] {
		t.Run(kind.String(), func(t *testing.T) {
			for _, texts := range [][]string{nil, {"first"}, {"first", "second"}} {
				if kind == connect.StreamTypeClient && len(texts) > 1 {
					continue // the second message is a fault of its own (36)
				}
				out := wireConnect.call(t, kind, wireConnect.raw(kind, wireMessages(texts...)))
				wantFault(t, out.err, connect.CodeInternal, connect.CodeUnknown)
				if kind != connect.StreamTypeClient {
					wantTexts(t, out.texts, texts...)
				}
			}
		})
	}
}

func TestItem34_EmptyMessages(t *testing.T) {
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		received := 0
		handler := wireHandler(kind, func(_ context.Context, call *wireCall) error {
			for {
				text, err := call.receive()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					return err
				}
				received++
				if text != "" {
					return errors.New("message is not empty")
				}
			}
			if err := call.send(""); err != nil || kind&connect.StreamTypeServer == 0 {
				return err
			}
			return call.send("")
		})
		want, body := 1, dialect.body(kind, "")
		if kind&connect.StreamTypeClient != 0 {
			want, body = 3, wireMessages("", "", "")
		}
		end := dialect.end(t, kind, wirePost(t, handler, dialect.contentType(kind, "proto"), body))
		wantEnd(t, end, 0)
		wantSame(t, "messages received", received, want)
		texts := []string{""}
		if kind&connect.StreamTypeServer != 0 {
			texts = []string{"", ""}
		}
		wantTexts(t, end.texts(t), texts...)

		out := dialect.call(t, kind, dialect.answer(kind, texts...))
		if out.err != nil {
			t.Fatal(out.err)
		}
		wantTexts(t, out.texts, texts...)
	})
}

func TestItem35_NumberOfRequests(t *testing.T) {
	wireEachFramed(t, []connect.StreamType{connect.StreamTypeUnary, connect.StreamTypeServer}, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		for _, texts := range [][]string{{}, {"one", "two"}, {"one", "two", "three"}, {"", ""}} {
			called := false
			handler := wireHandler(kind, func(_ context.Context, call *wireCall) error {
				called = true
				return call.send("hi")
			})
			end := dialect.end(t, kind, wirePost(t, handler, dialect.contentType(kind, "proto"), wireMessages(texts...)))
			wantEnd(t, end, connect.CodeUnimplemented)
			wantSame(t, "handler called", called, false)
			wantTexts(t, end.texts(t))
		}
	})
}

func TestItem36_NumberOfResponses(t *testing.T) {
	wireEachFramed(t, []connect.StreamType{connect.StreamTypeUnary, connect.StreamTypeClient}, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		for _, texts := range [][]string{{}, {"one", "two"}, {"one", "two", "three"}, {"", ""}} {
			out := dialect.call(t, kind, dialect.answer(kind, texts...))
			wantFault(t, out.err, connect.CodeUnimplemented)
			wantTexts(t, out.texts)
		}
	})
}

func TestItem37_EmptyPayloads(t *testing.T) {
	kind := connect.StreamTypeUnary
	handler := wireEcho(kind, connect.WithIdempotency(connect.IdempotencyNoSideEffects))
	reply := wirePost(t, handler, "application/json", nil)
	wantSame(t, "HTTP status of an empty JSON body", reply.status, 400)
	wantEnd(t, wireConnect.end(t, kind, reply), connect.CodeInvalidArgument)

	reply = wireAsk{method: "GET", target: wireProcedure + "?encoding=json&message="}.ask(t, handler)
	wantSame(t, "HTTP status of an empty JSON message", reply.status, 400)
	wantEnd(t, wireConnect.end(t, kind, reply), connect.CodeInvalidArgument)

	reply = wirePost(t, handler, "application/proto", nil)
	wantSame(t, "HTTP status of an empty Protobuf body", reply.status, 200)
	wantSame(t, "message", string(reply.body), "")
}

func TestItem38_UnknownJSONFields(t *testing.T) {
	const input = `{"name":"a","later":{"x":[1,null,"y"]},"root":"b","@more":true}`
	handler := connect.NewUnaryHandler(wireProcedure,
		func(_ context.Context, req *connect.Request[apipb.Mixin]) (*connect.Response[apipb.Mixin], error) {
			return connect.NewResponse(req.Msg), nil
		})
	reply := wirePost(t, handler, "application/json", []byte(input))
	wantSame(t, "HTTP status", reply.status, 200)
	wantSame(t, "body", strings.ReplaceAll(string(reply.body), " ", ""), `{"name":"a","root":"b"}`)

	for _, dialect := range wireDialects {
		answer := dialect.answer(connect.StreamTypeUnary, "")
		rest, _ := io.ReadAll(answer.body)
		answer.body = strings.NewReader(input)
		if dialect.framed(connect.StreamTypeUnary) {
			answer.body = bytes.NewReader(wireJoin(wireFrame(0, []byte(input)), rest[5:]))
		}
		answer.header.Set("Content-Type", dialect.contentType(connect.StreamTypeUnary, "json"))
		options := append([]connect.ClientOption{connect.WithProtoJSON()}, dialect.client...)
		client := connect.NewClient[apipb.Mixin, apipb.Mixin](answer, wireStub, options...)
		res, err := client.CallUnary(t.Context(), connect.NewRequest(&apipb.Mixin{}))
		if err != nil {
			t.Fatalf("%s: %v", dialect.name, err)
		}
		wantSame(t, "name", res.Msg.GetName(), "a")
		wantSame(t, "root", res.Msg.GetRoot(), "b")
	}
}

func TestItem39_SendAfterTheServerEnded(t *testing.T) {
	for _, dialect := range wireDialects {
		failure := connect.NewError(connect.CodeAborted, errors.New("no more"))
		t.Run(dialect.name+"/client", func(t *testing.T) {
			server := wireServer(t, wireFail(connect.StreamTypeClient, failure))
			client := connect.NewClient[wireText, wireText](wireTransport(t, false), server.URL+wireProcedure, dialect.client...)
			within(t, "client stream", func() {
				stream := client.CallClientStream(t.Context())
				var err error
				for err == nil {
					err = stream.Send(&wireText{Value: "more"})
				}
				if !errors.Is(err, io.EOF) {
					t.Errorf("Send: got %v, want %v", err, io.EOF)
				}
				_, err = stream.CloseAndReceive()
				if connect.CodeOf(err) != connect.CodeAborted {
					t.Errorf("CloseAndReceive: got %v, want %v", err, failure)
				}
			})
		})
		t.Run(dialect.name+"/bidi", func(t *testing.T) {
			server := wireServer(t, wireFail(connect.StreamTypeBidi, failure))
			client := connect.NewClient[wireText, wireText](wireTransport(t, false), server.URL+wireProcedure, dialect.client...)
			within(t, "bidi stream", func() {
				stream := client.CallBidiStream(t.Context())
				var err error
				for err == nil {
					err = stream.Send(&wireText{Value: "more"})
				}
				if !errors.Is(err, io.EOF) {
					t.Errorf("Send: got %v, want %v", err, io.EOF)
				}
				_, err = stream.Receive()
				if connect.CodeOf(err) != connect.CodeAborted || errors.Is(err, io.EOF) {
					t.Errorf("Receive: got %v, want %v", err, failure)
				}
				_ = stream.CloseRequest()
				_ = stream.CloseResponse()
			})
		})
	}
}

func TestItem40_SendNil(t *testing.T) {
	for _, dialect := range wireDialects {
		t.Run(dialect.name+"/client", func(t *testing.T) {
			started := make(chan http.Header, 1)
			body := make(chan []byte, 1)
			script := wireScript(func(req *http.Request) (*http.Response, error) {
				started <- req.Header.Clone()
				data, _ := io.ReadAll(req.Body)
				body <- data
				_ = req.Body.Close()
				res, _ := dialect.answer(connect.StreamTypeBidi, "hi").response(req)
				return res, nil
			})
			client := connect.NewClient[wireText, wireText](script, wireStub, dialect.client...)
			within(t, "bidi stream", func() {
				stream := client.CallBidiStream(t.Context())
				stream.RequestHeader().Set("X-Early", "1")
				if err := stream.Send(nil); err != nil {
					t.Errorf("Send(nil): %v", err)
				}
				header := <-started // before any message
				if got := header.Get("X-Early"); got != "1" {
					t.Errorf("X-Early: got %q, want %q", got, "1")
				}
				_ = stream.CloseRequest()
				if data := <-body; len(data) != 0 {
					t.Errorf("body: got %x, want none", data)
				}
				_, _ = stream.Receive()
				_ = stream.CloseResponse()
			})
		})
		for _, kind := range []connect.StreamType{connect.StreamTypeServer, connect.StreamTypeBidi} {
			t.Run(dialect.name+"/"+kind.String(), func(t *testing.T) {
				seen := make(chan struct{})
				var handler http.Handler
				if kind == connect.StreamTypeServer {
					handler = connect.NewServerStreamHandler(wireProcedure,
						func(_ context.Context, _ *connect.Request[wireText], stream *connect.ServerStream[wireText]) error {
							stream.ResponseHeader().Set("X-Early", "1")
							if err := stream.Send(nil); err != nil {
								return err
							}
							<-seen
							return nil
						})
				} else {
					handler = connect.NewBidiStreamHandler(wireProcedure,
						func(_ context.Context, stream *connect.BidiStream[wireText, wireText]) error {
							stream.ResponseHeader().Set("X-Early", "1")
							if err := stream.Send(nil); err != nil {
								return err
							}
							<-seen
							return nil
						})
				}
				server := wireServer(t, handler)
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+wireProcedure, bytes.NewReader(wireMessages("hi")))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", dialect.contentType(kind, "proto"))
				var res *http.Response
				within(t, "response headers", func() { res, err = wireTransport(t, false).Do(req) })
				close(seen) // only now may the handler go on
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				wantSame(t, "X-Early", res.Header.Get("X-Early"), "1")
				body, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				end := dialect.end(t, kind, wireReply{res.StatusCode, res.Header, res.Trailer, body})
				wantEnd(t, end, 0)
				wantTexts(t, end.texts(t))
			})
		}
	}
}
