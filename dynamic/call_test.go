// SPDX-License-Identifier: Apache-2.0

// This file calls generated handlers with dynamic clients, and dynamic handlers with
// generated and dynamic clients.

package dynamic_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/dynamic"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
)

// serve is a dynamic handler of any kind: it answers with the text of all requests, as
// often as the first request asks, or fails with its failure.
func serve(_ context.Context, s *dynamic.Stream) error {
	var texts []string
	count, failing := int64(1), ""
	for {
		request, err := s.Receive()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		texts = append(texts, get(request, "text").String())
		if n := get(request, "count").Int(); n > 0 {
			count = n
		}
		if f := get(request, "failure").Message(); f.IsValid() {
			failing = f.Get(f.Descriptor().Fields().ByName("message")).String()
		}
	}
	s.ResponseHeader().Set("Method", string(s.Method().Name()))
	s.ResponseTrailer().Set("Peer-Protocol", s.Peer().Protocol)
	if failing != "" {
		return connect.NewError(connect.CodeAborted, errors.New(failing))
	}
	if dynamic.KindOf(s.Method())&connect.StreamTypeServer == 0 {
		count = 1
	}
	for i := range count {
		response := s.NewResponse()
		set(response, "text", protoreflect.ValueOfString(strings.Join(texts, "+")))
		set(response, "count", protoreflect.ValueOfInt32(int32(i)))
		if err := s.Send(response); err != nil {
			return err
		}
	}
	return nil
}

func get(m *dynamic.Message, field protoreflect.Name) protoreflect.Value {
	return m.Get(m.Descriptor().Fields().ByName(field))
}

func set(m *dynamic.Message, field protoreflect.Name, value protoreflect.Value) {
	m.Set(m.Descriptor().Fields().ByName(field), value)
}

// service is all methods of the schema, with dynamic handlers.
func service(schema *dynamic.Schema, options ...connect.HandlerOption) http.Handler {
	var handlers []*connect.Handler
	for method := range schema.Methods() {
		handlers = append(handlers, dynamic.NewHandler(method, serve, options...))
	}
	return connect.NewServiceHandler(handlers, options...)
}

// requestOf makes a dynamic request from JSON.
func requestOf(t *testing.T, method protoreflect.MethodDescriptor, text string) *dynamic.Message {
	t.Helper()
	m := dynamicpb.NewMessage(method.Input())
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	return m
}

// callAny calls a method of any kind with requests, and returns the responses as text
// and count.
func callAny(ctx context.Context, client *connect.Client[dynamic.Message, dynamic.Message], kind connect.StreamType, requests ...*dynamic.Message) (got []string, header, trailer http.Header, err error) {
	add := func(m *dynamic.Message) {
		got = append(got, fmt.Sprintf("%s %d", get(m, "text"), get(m, "count").Int()))
	}
	switch kind {
	case connect.StreamTypeUnary:
		response, err := client.CallUnary(ctx, connect.NewRequest(requests[0]))
		if err != nil {
			return nil, nil, nil, err
		}
		add(response.Msg)
		return got, response.Header(), response.Trailer(), nil
	case connect.StreamTypeServer:
		stream, err := client.CallServerStream(ctx, connect.NewRequest(requests[0]))
		if err != nil {
			return nil, nil, nil, err
		}
		for stream.Receive() {
			add(stream.Msg())
		}
		defer stream.Close()
		return got, stream.ResponseHeader(), stream.ResponseTrailer(), stream.Err()
	case connect.StreamTypeClient:
		stream := client.CallClientStream(ctx)
		for _, request := range requests {
			if err := stream.Send(request); err != nil {
				break
			}
		}
		response, err := stream.CloseAndReceive()
		if err != nil {
			return nil, nil, nil, err
		}
		add(response.Msg)
		return got, response.Header(), response.Trailer(), nil
	default:
		stream := client.CallBidiStream(ctx)
		defer stream.CloseResponse()
		for _, request := range requests {
			if err := stream.Send(request); err != nil {
				break
			}
		}
		if err := stream.CloseRequest(); err != nil {
			return nil, nil, nil, err
		}
		for {
			response, err := stream.Receive()
			if errors.Is(err, io.EOF) {
				return got, stream.ResponseHeader(), stream.ResponseTrailer(), nil
			}
			if err != nil {
				return got, nil, nil, err
			}
			add(response)
		}
	}
}

// Protocol × codec × engine × kind, with dynamic handlers and clients.
func TestMatrix(t *testing.T) {
	schema := testSchema(t)
	for _, e := range engines {
		url, httpClient := e.start(t, service(schema))
		for protocol, protocolOption := range protocols {
			for codec, codecOption := range map[string]connect.ClientOption{
				"proto": connect.WithClientOptions(),
				"json":  connect.WithCodec(dynamic.NewJSONCodec(schema.Types())),
			} {
				for method := range schema.Methods() {
					kind := dynamic.KindOf(method)
					if kind == connect.StreamTypeBidi && e.name == "h1" {
						continue
					}
					t.Run(strings.Join([]string{e.name, protocol, codec, string(method.Name())}, "/"), func(t *testing.T) {
						client := dynamic.NewClient(httpClient, url+"/", method, protocolOption, codecOption, connect.WithHTTPGet())
						got, header, trailer, err := callAny(testContext(t), client, kind,
							requestOf(t, method, `{"text":"a","count":3}`), requestOf(t, method, `{"text":"b"}`))
						if err != nil {
							t.Fatal(err)
						}
						text, count := "a", 1
						if kind&connect.StreamTypeClient != 0 {
							text = "a+b"
						}
						if kind&connect.StreamTypeServer != 0 {
							count = 3
						}
						var want []string
						for i := range count {
							want = append(want, fmt.Sprintf("%s %d", text, i))
						}
						if diff := cmp.Diff(want, got); diff != "" {
							t.Errorf("responses: want -, got +:\n%s", diff)
						}
						if got, want := header.Get("Method"), string(method.Name()); got != want {
							t.Errorf("got header %q, want %q", got, want)
						}
						if got := trailer.Get("Peer-Protocol"); got != protocol {
							t.Errorf("got trailer %q, want %q", got, protocol)
						}
						_, _, _, err = callAny(testContext(t), client, kind, requestOf(t, method, `{"failure":{"message":"as asked"}}`))
						wantError(t, err, connect.CodeAborted, "as asked")
					})
				}
			}
		}
	}
}

// A generated client and a dynamic handler understand each other, and the other way
// round.
func TestWithGenerated(t *testing.T) {
	schema := testSchema(t)
	url, httpClient := engines[1].start(t, service(schema))
	client := conntestv1connect.NewTestServiceClient(httpClient, url, connect.WithGRPC())
	response, err := client.Unary(testContext(t), connect.NewRequest(&conntestv1.Request{Text: "x"}))
	if err != nil {
		t.Fatal(err)
	}
	if got := response.Msg.GetText(); got != "x" {
		t.Errorf("got %q, want %q", got, "x")
	}

	_, handler := conntestv1connect.NewTestServiceHandler(generated{})
	url, httpClient = engines[1].start(t, handler)
	method := methodOf(t, schema, "Unary")
	answer, err := dynamic.NewClient(httpClient, url, method).CallUnary(testContext(t), connect.NewRequest(requestOf(t, method, `{"text":"y"}`)))
	if err != nil {
		t.Fatal(err)
	}
	if got := get(answer.Msg, "text").String(); got != "y" {
		t.Errorf("got %q, want %q", got, "y")
	}
}

type generated struct {
	conntestv1connect.UnimplementedTestServiceHandler
}

func (generated) Unary(_ context.Context, r *connect.Request[conntestv1.Request]) (*connect.Response[conntestv1.Response], error) {
	return connect.NewResponse(&conntestv1.Response{Text: r.Msg.GetText()}), nil
}

// Fields that the schema does not know come back byte by byte.
func TestUnknownFields(t *testing.T) {
	schema := testSchema(t)
	method := methodOf(t, schema, "Unary")
	unknown := protoreflect.RawFields("\xfa\x7f\x03abc\x80\x80\x01\x07") // fields 2047 and 2048
	handler := connect.NewUnaryHandlerSimple(dynamic.Procedure(method), func(_ context.Context, request *dynamic.Message) (*dynamic.Message, error) {
		response := dynamicpb.NewMessage(method.Output())
		response.SetUnknown(request.GetUnknown())
		return response, nil
	}, dynamic.WithMethod(method))
	url, httpClient := engines[0].start(t, handler)
	request := dynamicpb.NewMessage(method.Input())
	request.SetUnknown(unknown)
	response, err := dynamic.NewClient(httpClient, url, method).CallUnary(testContext(t), connect.NewRequest(request))
	if err != nil {
		t.Fatal(err)
	}
	if got := response.Msg.GetUnknown(); string(got) != string(unknown) {
		t.Errorf("got unknown fields %q, want %q", got, unknown)
	}
}

// Nil messages are empty ones, as with generated types.
func TestNilMessages(t *testing.T) {
	schema := testSchema(t)
	handlers := []*connect.Handler{
		connect.NewUnaryHandler("/conntest.v1.TestService/Unary", func(context.Context, *connect.Request[dynamic.Message]) (*connect.Response[dynamic.Message], error) {
			return connect.NewResponse[dynamic.Message](nil), nil
		}, dynamic.WithMethod(methodOf(t, schema, "Unary"))),
		connect.NewClientStreamHandler("/conntest.v1.TestService/ClientStream", func(_ context.Context, stream *connect.ClientStream[dynamic.Message]) (*connect.Response[dynamic.Message], error) {
			for stream.Receive() {
			}
			return connect.NewResponse[dynamic.Message](nil), stream.Err()
		}, dynamic.WithMethod(methodOf(t, schema, "ClientStream"))),
	}
	for _, e := range engines {
		url, httpClient := e.start(t, connect.NewServiceHandler(handlers))
		for _, h := range handlers {
			method, err := schema.Method(h.Spec().Procedure)
			if err != nil {
				t.Fatal(err)
			}
			client := dynamic.NewClient(httpClient, url, method)
			if got, _, _, err := callAny(testContext(t), client, dynamic.KindOf(method), nil); err != nil || len(got) != 1 || got[0] != " 0" {
				t.Errorf("%s: got %q and error %v, want one empty message", method.Name(), got, err)
			}
		}
	}
}

// A message of another type, no type, or the client's method for another kind fail
// before anything is sent.
func TestWrongMessages(t *testing.T) {
	schema := testSchema(t)
	url, httpClient := engines[1].start(t, service(schema))
	unary, bidi := methodOf(t, schema, "Unary"), methodOf(t, schema, "Bidi")
	wrong := dynamicpb.NewMessage(unary.Output())

	client := dynamic.NewClient(httpClient, url, unary)
	_, err := client.CallUnary(testContext(t), connect.NewRequest(wrong))
	wantError(t, err, connect.CodeInvalidArgument, "message is a conntest.v1.Response: expected a conntest.v1.Request")
	_, err = client.CallUnary(testContext(t), connect.NewRequest(new(dynamic.Message)))
	wantError(t, err, connect.CodeInvalidArgument, "message has no type: expected a conntest.v1.Request")
	_, _, _, err = callAny(testContext(t), client, connect.StreamTypeServer, requestOf(t, unary, "{}"))
	wantError(t, err, connect.CodeInvalidArgument, "it is a unary method, and was called as a server one")
	_, _, _, err = callAny(testContext(t), client, connect.StreamTypeClient, requestOf(t, unary, "{}"))
	wantError(t, err, connect.CodeInvalidArgument, "it is a unary method, and was called as a client one")

	streams := dynamic.NewClient(httpClient, url, bidi)
	_, err = streams.CallUnary(testContext(t), connect.NewRequest(requestOf(t, bidi, "{}")))
	wantError(t, err, connect.CodeInvalidArgument, "it is a bidi method, and was called as a unary one")
	stream := streams.CallBidiStream(testContext(t))
	wantError(t, stream.Send(wrong), connect.CodeInvalidArgument, "expected a conntest.v1.Request")
	_ = stream.CloseResponse()

	other := connect.NewClient[conntestv1.Request, conntestv1.Response](httpClient, url+dynamic.Procedure(unary), dynamic.WithMethod(unary))
	_, err = other.CallUnary(testContext(t), connect.NewRequest(&conntestv1.Request{}))
	wantError(t, err, connect.CodeOf(err), "has messages of the type *conntestv1.Response: expected *dynamicpb.Message")
}

// A handler that sends another type, two responses for one, or none.
func TestWrongHandlers(t *testing.T) {
	schema := testSchema(t)
	for name, c := range map[string]struct {
		method, text string
		serve        func(context.Context, *dynamic.Stream) error
	}{
		"type, unary":  {"Unary", "expected a conntest.v1.Response", sendRequest},
		"type, server": {"ServerStream", "expected a conntest.v1.Response", sendRequest},
		"two":          {"ClientStream", "returns one message: the handler has sent it", sendTwo},
		"none":         {"Unary", "returned neither a response nor an error", func(context.Context, *dynamic.Stream) error { return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			method := methodOf(t, schema, c.method)
			url, httpClient := engines[1].start(t, dynamic.NewHandler(method, c.serve))
			_, _, _, err := callAny(testContext(t), dynamic.NewClient(httpClient, url, method), dynamic.KindOf(method), requestOf(t, method, "{}"))
			wantError(t, err, connect.CodeInternal, c.text)
		})
	}
}

func sendRequest(_ context.Context, s *dynamic.Stream) error {
	return s.Send(dynamicpb.NewMessage(s.Method().Input()))
}

func sendTwo(_ context.Context, s *dynamic.Stream) error {
	_ = s.Send(nil)
	return s.Send(nil)
}

// A handler whose constructor does not fit the method is a mistake of the program.
func TestWithMethodOfAnotherKind(t *testing.T) {
	method := methodOf(t, testSchema(t), "Bidi")
	for _, procedure := range []string{dynamic.Procedure(method), "/a.B/C"} {
		func() {
			defer func() {
				if got, want := fmt.Sprint(recover()), "WithMethod of the bidi method conntest.v1.TestService.Bidi"; !strings.Contains(got, want) {
					t.Errorf("got panic %q, want %q in it", got, want)
				}
			}()
			connect.NewUnaryHandlerSimple(procedure, func(_ context.Context, m *dynamic.Message) (*dynamic.Message, error) { return m, nil }, dynamic.WithMethod(method))
		}()
	}
}

// A request that is no message of the schema is the caller's fault.
func TestBadBytes(t *testing.T) {
	schema := testSchema(t)
	url, httpClient := engines[0].start(t, service(schema))
	for contentType, body := range map[string]string{"application/proto": "\x0a\xff", "application/json": `{"text":1}`} {
		response, err := httpClient.Post(url+"/conntest.v1.TestService/Unary", contentType, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if response.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), `"invalid_argument"`) {
			t.Errorf("%s: got %d %s, want 400 and invalid_argument", contentType, response.StatusCode, text)
		}
	}
}

// Large messages pass up to the limit.
func TestLargeMessages(t *testing.T) {
	schema := testSchema(t)
	method := methodOf(t, schema, "Unary")
	url, httpClient := engines[2].start(t, service(schema, connect.WithReadMaxBytes(1<<20)))
	client := dynamic.NewClient(httpClient, url, method, connect.WithGRPC())
	request := dynamicpb.NewMessage(method.Input())
	set(request, "text", protoreflect.ValueOfString(strings.Repeat("x", 1<<20-proto.Size(request)-4)))
	if _, err := client.CallUnary(testContext(t), connect.NewRequest(request)); err != nil {
		t.Errorf("got error %v for %d bytes, want none", err, proto.Size(request))
	}
	set(request, "count", protoreflect.ValueOfInt32(1))
	_, err := client.CallUnary(testContext(t), connect.NewRequest(request))
	wantError(t, err, connect.CodeResourceExhausted, "")
}
