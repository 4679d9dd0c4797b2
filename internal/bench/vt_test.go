// SPDX-License-Identifier: Apache-2.0

// The options for vtprotobuf's methods and for the reuse of requests, on messages
// that vtprotobuf has generated.

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/seed-b7c59c10/connect"
	benchv1 "github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1"
	"github.com/seed-b7c59c10/connect/internal/bench/gen/bench/v1/benchv1connect"
)

// echoing answers with the request's own bytes, and keeps each request.
type echoing struct {
	benchv1connect.UnimplementedBenchServiceHandler
	seen chan *benchv1.Payload
}

func (s echoing) Echo(_ context.Context, request *connect.Request[benchv1.Payload]) (*connect.Response[benchv1.Payload], error) {
	s.seen <- request.Msg
	if string(request.Msg.Data) == "panic" {
		panic(http.ErrAbortHandler)
	}
	if string(request.Msg.Data) == "fail" {
		return nil, errors.New("failed")
	}
	return connect.NewResponse(&benchv1.Payload{Data: request.Msg.GetData()}), nil
}

// TestVT makes calls with the options on both sides or on one: the other side cannot
// see a difference.
func TestVT(t *testing.T) {
	s := echoing{seen: make(chan *benchv1.Payload, 1)}
	for _, test := range []struct {
		name    string
		handler []connect.HandlerOption
		client  []connect.ClientOption
	}{
		{"both", []connect.HandlerOption{connect.WithVTProto(), connect.WithRequestReuse()}, []connect.ClientOption{connect.WithVTProto()}},
		{"handler", []connect.HandlerOption{connect.WithVTProto()}, nil},
		{"client", nil, []connect.ClientOption{connect.WithVTProto(), connect.WithGRPC()}},
		{"reuse", []connect.HandlerOption{connect.WithRequestReuse()}, []connect.ClientOption{connect.WithGRPCWeb()}},
		{"JSON", []connect.HandlerOption{connect.WithVTProto(), connect.WithRequestReuse()}, []connect.ClientOption{connect.WithProtoJSON()}},
		{"gzip", []connect.HandlerOption{connect.WithVTProto(), connect.WithRequestReuse()}, []connect.ClientOption{connect.WithVTProto(), connect.WithSendGzip()}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, handler := benchv1connect.NewBenchServiceHandler(s, test.handler...)
			server := httptest.NewUnstartedServer(handler)
			server.EnableHTTP2 = true
			server.StartTLS()
			defer server.Close()
			client := benchv1connect.NewBenchServiceClient(server.Client(), server.URL, test.client...)
			for _, size := range []int{0, 1, 64, 4 << 10, 1 << 20, 3, 0} { // also smaller ones after larger ones
				data := bytes.Repeat([]byte{byte(size % 251)}, size)
				res, err := client.Echo(t.Context(), connect.NewRequest(&benchv1.Payload{Data: data}))
				<-s.seen
				if err != nil || !bytes.Equal(res.Msg.Data, data) {
					t.Errorf("%d bytes: got %d, %v", size, len(res.Msg.GetData()), err)
				}
			}
		})
	}
}

// TestVTBytes compares what the codecs write, with unknown fields.
func TestVTBytes(t *testing.T) {
	message := &benchv1.StreamRequest{Data: []byte("abc"), Count: -7}
	message.ProtoReflect().SetUnknown([]byte{0xf8, 0x3f, 0x01})
	var bodies [][]byte
	for _, options := range [][]connect.ClientOption{nil, {connect.WithVTProto()}} {
		client := connect.NewClient[benchv1.StreamRequest, benchv1.Payload](recording(func(body []byte) { bodies = append(bodies, body) }), "http://localhost/a.B/C", options...)
		if _, err := client.CallUnary(t.Context(), connect.NewRequest(message)); err == nil {
			t.Error("got no error of a client that sends nothing")
		}
	}
	back := new(benchv1.StreamRequest)
	if len(bodies) != 2 || !bytes.Equal(bodies[0], bodies[1]) {
		t.Errorf("got %x, want twice the same", bodies)
	} else if err := proto.Unmarshal(bodies[1], back); err != nil || !proto.Equal(back, message) {
		t.Errorf("got %v, %v, want %v", back, err, message)
	}
}

// recording is a client that records bodies.
type recording func([]byte)

func (r recording) Do(request *http.Request) (*http.Response, error) {
	var body bytes.Buffer
	_, err := body.ReadFrom(request.Body)
	r(body.Bytes())
	return nil, errors.Join(errors.New("recorded"), err)
}

// TestRequestReuse makes the calls of a handler one after the other. A request is
// used again after an answer, and is empty then; not after an error, which may contain
// parts of it, not after a panic, and not without the option.
func TestRequestReuse(t *testing.T) {
	s := echoing{seen: make(chan *benchv1.Payload, 1)}
	call := func(handler http.Handler, text string) (seen *benchv1.Payload) {
		defer func() {
			_ = recover() // http.ErrAbortHandler
			seen = <-s.seen
		}()
		body, err := proto.Marshal(&benchv1.Payload{Data: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		request := httptest.NewRequest(http.MethodPost, benchv1connect.BenchServiceEchoProcedure, bytes.NewReader(body))
		request.Header.Set("Content-Type", "application/proto")
		handler.ServeHTTP(httptest.NewRecorder(), request)
		return nil
	}
	_, plain := benchv1connect.NewBenchServiceHandler(s, connect.WithVTProto())
	if message := call(plain, "text"); string(message.Data) != "text" {
		t.Errorf("got %q: the message of a handler without the option was cleared", message.Data)
	}
	_, reusing := benchv1connect.NewBenchServiceHandler(s, connect.WithVTProto(), connect.WithRequestReuse())
	for _, text := range []string{"text", "x"} {
		if message := call(reusing, text); len(message.Data) != 0 || cap(message.Data) == 0 {
			t.Errorf("got %q with room for %d bytes after the call, want none and some", message.Data, cap(message.Data))
		}
	}
	for _, text := range []string{"fail", "panic"} {
		if message := call(reusing, text); string(message.Data) != text {
			t.Errorf("got %q: the message of a call that ended with %q was cleared", message.Data, text)
		}
	}
}

// BenchmarkVT compares the codecs and the reuse, through a handler without a network.
func BenchmarkVT(b *testing.B) {
	discard := echoing{seen: make(chan *benchv1.Payload, 1)}
	for _, size := range []int{64, 4 << 10, 64 << 10, 1 << 20} {
		body, err := proto.Marshal(&benchv1.Payload{Data: make([]byte, size)})
		if err != nil {
			b.Fatal(err)
		}
		for _, test := range []struct {
			name    string
			options []connect.HandlerOption
		}{
			{"default", nil},
			{"vt", []connect.HandlerOption{connect.WithVTProto()}},
			{"vt+reuse", []connect.HandlerOption{connect.WithVTProto(), connect.WithRequestReuse()}},
		} {
			b.Run(fmt.Sprintf("%d/%s", size, test.name), func(b *testing.B) {
				_, handler := benchv1connect.NewBenchServiceHandler(discard, append(test.options, connect.WithCompressMinBytes(2<<20))...)
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for b.Loop() {
					request := httptest.NewRequest(http.MethodPost, benchv1connect.BenchServiceEchoProcedure, bytes.NewReader(body))
					request.Header.Set("Content-Type", "application/proto")
					handler.ServeHTTP(nowhere{make(http.Header)}, request)
					<-discard.seen
				}
			})
		}
	}
}

// nowhere is a ResponseWriter that drops everything.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header            { return n.header }
func (n nowhere) Write(data []byte) (int, error) { return len(data), nil }
func (n nowhere) WriteHeader(int)                {}
