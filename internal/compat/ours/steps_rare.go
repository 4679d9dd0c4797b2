// SPDX-License-Identifier: Apache-2.0

// This file holds the steps of programs whose functions fail at odd moments, and of
// messages that cannot be sent.

package ours

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing/iotest"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
	"google.golang.org/protobuf/types/known/durationpb"
)

// rareSteps are the steps of this file, each in the three protocols.
func rareSteps() (all []Step) {
	for _, p := range []struct {
		name    string
		options []connect.ClientOption
	}{{"connect", nil}, {"grpc", []connect.ClientOption{connect.WithGRPC()}}, {"web", []connect.ClientOption{connect.WithGRPCWeb()}}} {
		add := func(name string, f func(s *steps, options []connect.ClientOption)) {
			all = append(all, Step{name + ", " + p.name, func(s *steps) { f(s, p.options) }})
		}
		add("initializer ends a message", initializerEndsMessage)
		add("initializer ends a stream", initializerEndsStream)
		add("status after an error of a codec", statusAfterCodec)
		add("status that a codec cannot read", unreadableStatus)
		add("compression ends a message", compressionEnds)
	}
	return append(all,
		Step{"status that a codec cannot write", unwritableStatus},
		Step{"trailers without values", emptyTrailers},
		Step{"headers and trailers without values, received", emptyReceived},
		Step{"trailers that are there before the end", earlyTrailers},
		Step{"GET whose answer cannot be sent", unsendableGET},
		Step{"message cannot be sent, no flusher", unsendableUnflushed},
		Step{"no flusher", unflushed},
		Step{"compression fails at the end", endNotCompressed},
		Step{"compression fails in its steps", compressionSteps},
		Step{"header with the name of a trailer", trailerAsHeader},
		Step{"header that middleware has set", headerOfMiddleware},
		Step{"error writer, odd errors", oddErrors},
	)
}

// ends are errors that look like the end of a stream.
func ends() []error {
	return []error{
		io.EOF, fmt.Errorf("%sends: %w", script.User, io.EOF),
		connect.NewError(connect.CodeAborted, io.EOF),
		connect.NewWireError(connect.CodeAborted, fmt.Errorf("%sends: %w", script.User, io.EOF)),
	}
}

// at returns an initializer that returns an error at one of its calls.
func at(call int, err error) func(connect.Spec, any) error {
	return func(connect.Spec, any) error {
		if call--; call == -1 {
			return err
		}
		return nil
	}
}

func initializerEndsMessage(s *steps, options []connect.ClientOption) {
	for _, err := range ends() {
		for call := range 2 {
			s.t.Add("%v at call %d", err, call)
			res, failed := s.client(s.unary(echo, connect.WithRequestInitializer(at(call, err))), options...).CallUnary(context.Background(), connect.NewRequest(text("go")))
			response(s.t, res, failed)
			initial := connect.WithResponseInitializer(at(call, err))
			res, failed = s.client(s.unary(echo), append(options, initial)...).CallUnary(context.Background(), connect.NewRequest(text("go")))
			response(s.t, res, failed)
			handler := connect.NewClientStreamHandler(stepProcedure, func(context.Context, *connect.ClientStream[Message]) (*connect.Response[Message], error) {
				return connect.NewResponse(text("done")), nil
			}, s.handlerOptions()...)
			res, failed = s.client(handler, append(options, initial)...).CallClientStream(context.Background()).CloseAndReceive()
			response(s.t, res, failed)
			server := s.server(func(context.Context, *connect.ServerStream[Message]) error { return nil }, connect.WithRequestInitializer(at(call, err)))
			stream, failed := s.client(server, options...).CallServerStream(context.Background(), connect.NewRequest(text("go")))
			failure(s.t, "open", failed)
			s.t.Add("received %v", stream.Receive())
			failure(s.t, "error", stream.Err())
		}
	}
}

func initializerEndsStream(s *steps, options []connect.ClientOption) {
	for _, err := range ends() {
		s.t.Add("%v", err)
		handler := connect.NewClientStreamHandler(stepProcedure, func(_ context.Context, stream *connect.ClientStream[Message]) (*connect.Response[Message], error) {
			s.t.Add("handler %v %v", stream.Receive(), stream.Receive())
			failure(s.t, "handler", stream.Err())
			return connect.NewResponse(text("done")), stream.Err()
		}, s.handlerOptions(connect.WithRequestInitializer(at(1, err)))...)
		stream := s.client(handler, options...).CallClientStream(context.Background())
		failure(s.t, "send", stream.Send(text("go")))
		res, failed := stream.CloseAndReceive()
		response(s.t, res, failed)

		bidi := s.bidi(func(_ context.Context, stream *connect.BidiStream[Message, Message]) error {
			for i := range 3 {
				msg, err := stream.Receive()
				s.received(fmt.Sprintf("handler %d", i), msg, err)
			}
			return errors.Join(stream.Send(text("one")), stream.Send(text("two")))
		}, connect.WithRequestInitializer(at(1, err)))
		both := s.client(bidi, append(options, connect.WithResponseInitializer(at(1, err)))...).CallBidiStream(context.Background())
		failure(s.t, "send", both.Send(text("go")))
		failure(s.t, "close", both.CloseRequest())
		for i := range 4 {
			msg, err := both.Receive()
			s.received(fmt.Sprintf("receive %d", i), msg, err)
		}
		failure(s.t, "close", both.CloseResponse())
	}
}

func statusAfterCodec(s *steps, options []connect.ClientOption) {
	for _, status := range []error{nil, connect.NewError(connect.CodeAborted, errors.New(script.User+"aborted"))} {
		handler := s.bidi(func(_ context.Context, stream *connect.BidiStream[Message, Message]) error {
			stream.ResponseTrailer().Set("After", "one")
			for _, word := range []string{"stop", "one"} {
				_ = stream.Send(text(word)) // the client may have closed
			}
			return status
		}, connect.WithCodec(endingCodec{}))
		client := s.client(handler, append(options, connect.WithCodec(endingCodec{}))...)
		stream := client.CallBidiStream(context.Background())
		failure(s.t, "close", stream.CloseRequest())
		conn, _ := stream.Conn()
		s.all(conn, 4)
		failure(s.t, "close", stream.CloseResponse())

		one := connect.NewClientStreamHandler(stepProcedure, func(_ context.Context, stream *connect.ClientStream[Message]) (*connect.Response[Message], error) {
			if err := stream.Conn().Send(text("stop")); status != nil {
				return nil, errors.Join(err, status)
			}
			return connect.NewResponse(text("stop")), nil
		}, s.handlerOptions(connect.WithCodec(endingCodec{}))...)
		calls := s.client(one, append(options, connect.WithCodec(endingCodec{}))...).CallClientStream(context.Background())
		for range 2 {
			res, err := calls.CloseAndReceive()
			response(s.t, res, err)
		}
	}
}

// endingStatus is a codec "proto" whose error for gRPC's status wraps io.EOF.
type endingStatus struct{ script.ProtoCodec }

func (c endingStatus) Unmarshal(data []byte, message any) error {
	if _, ok := message.(*Message); ok {
		return c.ProtoCodec.Unmarshal(data, message)
	}
	return io.EOF
}

func unreadableStatus(s *steps, options []connect.ClientOption) {
	handler := s.server(func(_ context.Context, stream *connect.ServerStream[Message]) error {
		stream.ResponseTrailer().Set("After", "one")
		failure(s.t, "send", stream.Send(text("one")))
		return withDetails(connect.NewError(connect.CodeAborted, errors.New(script.User+"aborted")))
	})
	for _, codec := range []connect.Codec{script.ProtoCodec{Status: "fails"}, endingStatus{}} {
		stream, err := s.client(handler, append(options, connect.WithCodec(codec))...).CallServerStream(context.Background(), connect.NewRequest(text("go")))
		failure(s.t, "open", err)
		conn, _ := stream.Conn()
		s.all(conn, 3)
		failure(s.t, "close", stream.Close())
	}
}

// bytesAndError is a codec "proto" that returns gRPC's status with an error, or no bytes
// for it and no error.
type bytesAndError struct {
	script.ProtoCodec
	err error
}

func (c bytesAndError) Marshal(message any) ([]byte, error) {
	if _, ok := message.(*Message); ok {
		return c.ProtoCodec.Marshal(message)
	}
	if c.err == nil {
		return nil, nil
	}
	return []byte("status"), c.err
}

func unwritableStatus(s *steps) {
	for _, codec := range []connect.Codec{bytesAndError{err: errors.New(script.User + "fails")}, bytesAndError{}} {
		for _, limit := range []int{0, 60} {
			handler := s.bidi(func(_ context.Context, stream *connect.BidiStream[Message, Message]) error {
				failure(s.t, "send", stream.Send(nil))
				return withDetails(connect.NewError(connect.CodeAborted, errors.New(script.User+"aborted")))
			}, connect.WithCodec(codec), connect.WithSendMaxBytes(limit))
			for _, contentType := range []string{"application/grpc", "application/grpc-web"} {
				s.post(handler, contentType, "")
			}
		}
	}
}

// jsonMessage is the message of an error in the end of a Connect stream.
var jsonMessage = regexp.MustCompile(`"message":"[^"]*"`)

// post records the answer of a handler to a request, as it is on the wire.
func (s *steps) post(handler http.Handler, contentType, body string, headers ...string) {
	client, url := s.serve(handler)
	req, err := http.NewRequest(http.MethodPost, url+stepProcedure, strings.NewReader(body))
	if err != nil {
		s.t.Add("no request")
		return
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept-Encoding", "identity")
	for _, header := range headers {
		key, value, _ := strings.Cut(header, ": ")
		req.Header.Set(key, value)
	}
	res, err := client.Do(req)
	if err != nil {
		s.t.Add("%s: no response", contentType)
		return
	}
	data, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	s.t.Add("%s: %d, failed %v", contentType, res.StatusCode, err != nil)
	s.t.Header("header", userOnly(res.Header))
	maps.DeleteFunc(res.Trailer, func(_ string, values []string) bool { return len(values) == 0 }) // announced alone
	s.t.Header("trailer", res.Trailer)
	for len(data) >= 5 && data[0]&^0x83 == 0 && res.StatusCode == http.StatusOK {
		size := min(len(data), 5+int(data[3])<<8+int(data[4]))
		lines := strings.Split(string(data[5:size]), "\r\n")
		slices.Sort(lines)
		s.t.Add("frame %#x", data[0])
		for _, line := range lines {
			if !strings.HasPrefix(line, "grpc-message") {
				s.t.Add("%q", jsonMessage.ReplaceAllString(line, `"message":…`))
			}
		}
		data = data[size:]
	}
}

func emptyTrailers(s *steps) {
	for _, err := range []error{nil, connect.NewError(connect.CodeAborted, errors.New(script.User+"aborted"))} {
		handler := s.bidi(func(_ context.Context, stream *connect.BidiStream[Message, Message]) error {
			stream.ResponseTrailer()["Empty"] = []string{}
			stream.ResponseTrailer()["Nil"] = nil
			stream.ResponseTrailer()["One"] = []string{"one"}
			if coded := new(connect.Error); errors.As(err, &coded) {
				coded.Meta()["Nil"] = []string{"of the error"}
				coded.Meta()["None"] = []string{}
			}
			return err
		})
		for _, contentType := range []string{"application/connect+proto", "application/grpc", "application/grpc-web"} {
			s.post(handler, contentType, "")
		}
	}
}

// answering is a transport with one answer.
type answering func() *http.Response

func (a answering) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
	res := a()
	res.Status, res.StatusCode, res.Proto, res.ProtoMajor, res.Request, res.ContentLength = "200 OK", http.StatusOK, "HTTP/2.0", 2, req, -1
	return res, nil
}

// answered returns a client whose calls all have one answer.
func (s *steps) answered(answer answering, options ...connect.ClientOption) *connect.Client[Message, Message] {
	return connect.NewClient[Message, Message](&http.Client{Transport: answer}, "http://compat.test"+stepProcedure, append(append([]connect.ClientOption{}, s.clients...), options...)...)
}

func emptyReceived(s *steps) {
	end := `{"metadata":{"empty":[],"Nil":null,"one":["one"]}%s}`
	for _, failed := range []string{"", `,"error":{"code":"aborted"}`} {
		frame := fmt.Sprintf(end, failed)
		stream := s.answered(func() *http.Response {
			return &http.Response{Header: http.Header{"Content-Type": {"application/connect+proto"}, "Empty": {}},
				Body: io.NopCloser(strings.NewReader(fmt.Sprintf("\x02\x00\x00\x00%c%s", len(frame), frame)))}
		}).CallBidiStream(context.Background())
		failure(s.t, "close", stream.CloseRequest())
		_, err := stream.Receive()
		failure(s.t, "receive", err)
		s.t.Header("header", userOnly(stream.ResponseHeader()))
		s.t.Header("trailer", stream.ResponseTrailer())
	}
	for _, major := range []int{0, 1} {
		announced := s.answered(func() *http.Response {
			return &http.Response{ProtoMajor: major, Header: http.Header{"Content-Type": {"application/grpc"}, "Empty": {}, "Grpc-Status": {"0"}},
				Trailer: http.Header{"Grpc-Status": nil, "After": nil}, Body: http.NoBody}
		}, connect.WithGRPC()).CallBidiStream(context.Background())
		failure(s.t, "close", announced.CloseRequest())
		_, err := announced.Receive()
		failure(s.t, "receive", err)
		s.t.Header("header", userOnly(announced.ResponseHeader()))
		s.t.Header("trailer", announced.ResponseTrailer())
	}
}

// fillingBody is a body whose trailers come with its end.
type fillingBody struct {
	io.Reader
	fill   func()
	closed bool
}

func (b *fillingBody) Close() error {
	b.closed = true
	return nil
}

func (b *fillingBody) Read(p []byte) (int, error) {
	if b.closed {
		return 0, errors.New(script.User + "closed")
	}
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		b.fill()
	}
	return n, err
}

func earlyTrailers(s *steps) {
	for _, status := range []string{"0", "10"} {
		for _, words := range [][]string{{"bad"}, {"stop"}, {"bad", "one"}, {"bad" + strings.Repeat("large", 20_000)}} {
			for _, early := range []bool{true, false} {
				var body strings.Builder
				for _, word := range words {
					_, _ = body.Write([]byte{0, 0, byte(len(word) >> 16), byte(len(word) >> 8), byte(len(word))})
					_, _ = body.WriteString(word)
				}
				stream := s.answered(func() *http.Response {
					res := &http.Response{Header: http.Header{"Content-Type": {"application/grpc+raw"}}, Trailer: http.Header{"Grpc-Status": nil}}
					fill := func() { res.Trailer["Grpc-Status"], res.Trailer["After"] = []string{status}, []string{"one"} }
					if early {
						fill()
					}
					res.Body = &fillingBody{Reader: iotest.DataErrReader(strings.NewReader(body.String())), fill: fill}
					return res
				}, connect.WithGRPC(), connect.WithCodec(endingCodec{})).CallBidiStream(context.Background())
				failure(s.t, "close", stream.CloseRequest())
				_, err := stream.Receive()
				failure(s.t, "receive", err)
				s.t.Header("trailer", stream.ResponseTrailer())
			}
		}
	}
}

func unsendableGET(s *steps) {
	for _, limit := range []int{0, 60} {
		handler := s.unary(func(_ context.Context, req *connect.Request[Message]) (*connect.Response[Message], error) {
			if req.Msg.GetFileName() == "fail" {
				err := connect.NewError(connect.CodeAborted, errors.New(script.User+"aborted"))
				err.Meta().Set("Vary", "Error")
				return nil, err
			}
			res := connect.NewResponse(text("end"))
			if limit > 0 {
				res = connect.NewResponse(text(strings.Repeat("large", 100)))
			}
			res.Header().Set("Vary", "Handler")
			res.Trailer().Set("After", "one")
			return res, nil
		}, connect.WithIdempotency(connect.IdempotencyNoSideEffects), connect.WithCodec(endingCodec{}), connect.WithSendMaxBytes(limit))
		for _, word := range []string{"go", "fail"} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				r := httptest.NewRequest(method, stepProcedure+"?encoding=raw&message="+word, nil)
				r.Header.Set("Content-Type", "application/raw")
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				s.t.Add("%s %s: %d", method, word, w.Code)
				s.t.Header("header", userOnly(w.Result().Header))
			}
		}
	}
}

// unflushable is a ResponseWriter of middleware that forwards no Flush, and has an Unwrap.
type unflushable struct{ inside http.ResponseWriter }

func (u unflushable) Header() http.Header         { return u.inside.Header() }
func (u unflushable) Write(p []byte) (int, error) { return u.inside.Write(p) }
func (u unflushable) WriteHeader(status int)      { u.inside.WriteHeader(status) }
func (u unflushable) Unwrap() http.ResponseWriter { return u.inside }

// hideFlush returns a handler behind such middleware.
func hideFlush(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(unflushable{w}, r) })
}

func unsendableUnflushed(s *steps) {
	for _, msg := range []*Message{nil, text("end")} {
		handler := connect.NewClientStreamHandler(stepProcedure, func(_ context.Context, stream *connect.ClientStream[Message]) (*connect.Response[Message], error) {
			if msg == nil {
				failure(s.t, "send", stream.Conn().Send(nil))
			} else {
				failure(s.t, "send", stream.Conn().Send(msg))
			}
			res := connect.NewResponse(text("done"))
			res.Header().Set("Late", "yes")
			return res, nil
		}, s.handlerOptions(connect.WithCodec(endingCodec{}))...)
		for _, contentType := range []string{"application/connect+raw", "application/grpc+raw", "application/grpc-web+raw"} {
			s.post(handler, contentType, "")
			s.post(hideFlush(handler), contentType, "")
		}
	}
}

func unflushed(s *steps) {
	handler := s.server(func(_ context.Context, stream *connect.ServerStream[Message]) error { return stream.Send(text("one")) })
	for _, contentType := range []string{"application/connect+proto", "application/grpc", "application/grpc-web"} {
		s.post(hideFlush(handler), contentType, "\x00\x00\x00\x00\x00")
	}
}

func trailerAsHeader(s *steps) {
	for _, err := range []*connect.Error{nil, connect.NewError(connect.CodeAborted, errors.New(script.User+"aborted"))} {
		handler := s.unary(func(ctx context.Context, _ *connect.Request[Message]) (*connect.Response[Message], error) {
			info, _ := connect.CallInfoForHandlerContext(ctx)
			info.ResponseHeader().Set("Trailer-After", "header")
			info.ResponseTrailer().Set("After", "trailer")
			if err != nil {
				err.Meta().Set("Trailer-After", "error")
				return nil, err
			}
			return connect.NewResponse(text("done")), nil
		})
		s.post(handler, "application/proto", "")
	}
}

func headerOfMiddleware(s *steps) {
	handler := s.unary(func(ctx context.Context, _ *connect.Request[Message]) (*connect.Response[Message], error) {
		info, _ := connect.CallInfoForHandlerContext(ctx)
		info.ResponseHeader().Set("Before", "handler")
		return nil, connect.NewError(connect.CodeAborted, errors.New(script.User+"aborted"))
	})
	s.post(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Before", "middleware")
		handler.ServeHTTP(w, r)
	}), "application/grpc-web", "\x00\x00\x00\x00\x00")
}

func oddErrors(s *steps) {
	coded := connect.NewError(connect.CodeAborted, errors.New(script.User+"aborted"))
	coded.Meta()["lower"] = []string{"lost"}
	coded.Meta()["Before"] = []string{"error"}
	detail, err := connect.NewErrorDetail(durationpb.New(1))
	failure(s.t, "detail", err)
	coded.AddDetail(detail)
	writer := connect.NewErrorWriter(s.handlerOptions()...)
	for _, err := range []error{nil, context.Canceled, fmt.Errorf("%swrapped: %w", script.User, context.DeadlineExceeded), coded} {
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Before", "middleware")
			failure(s.t, "write", writer.Write(w, r, err))
		})
		for _, contentType := range []string{"application/proto", "application/connect+proto", "application/grpc", "application/grpc-web"} {
			s.post(handler, contentType, "")
		}
	}
}
