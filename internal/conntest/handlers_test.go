// SPDX-License-Identifier: Apache-2.0

// This file makes handlers and calls of all kinds look alike, so that one test
// covers the four kinds and the GET.

package conntest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
	"github.com/seed-b7c59c10/connect/internal/gen/conntest/v1/conntestv1connect"
)

type (
	request  = connect.Request[conntestv1.Request]
	response = connect.Response[conntestv1.Response]
)

// handlers is a TestService of functions; a method without one answers
// unimplemented.
type handlers struct {
	unary        func(context.Context, *request) (*response, error)
	get          func(context.Context, *request) (*response, error)
	serverStream func(context.Context, *request, *connect.ServerStream[conntestv1.Response]) error
	clientStream func(context.Context, *connect.ClientStream[conntestv1.Request]) (*response, error)
	bidi         func(context.Context, *connect.BidiStream[conntestv1.Request, conntestv1.Response]) error
}

var errNoHandler = connect.NewError(connect.CodeUnimplemented, errors.New("the test has no handler for this"))

func (h handlers) Unary(ctx context.Context, r *request) (*response, error) {
	if h.unary == nil {
		return nil, errNoHandler
	}
	return h.unary(ctx, r)
}

func (h handlers) Get(ctx context.Context, r *request) (*response, error) {
	if h.get == nil {
		return nil, errNoHandler
	}
	return h.get(ctx, r)
}

func (h handlers) ServerStream(ctx context.Context, r *request, s *connect.ServerStream[conntestv1.Response]) error {
	if h.serverStream == nil {
		return errNoHandler
	}
	return h.serverStream(ctx, r, s)
}

func (h handlers) ClientStream(ctx context.Context, s *connect.ClientStream[conntestv1.Request]) (*response, error) {
	if h.clientStream == nil {
		return nil, errNoHandler
	}
	return h.clientStream(ctx, s)
}

func (h handlers) Bidi(ctx context.Context, s *connect.BidiStream[conntestv1.Request, conntestv1.Response]) error {
	if h.bidi == nil {
		return errNoHandler
	}
	return h.bidi(ctx, s)
}

// --- kinds ---

// A kind is a method of TestService.
type kind string

const (
	unary        kind = "Unary"
	get          kind = "Get"
	serverStream kind = "ServerStream"
	clientStream kind = "ClientStream"
	bidi         kind = "Bidi"
)

var allKinds = []kind{unary, get, serverStream, clientStream, bidi}

// kinds are those that the mode's engine can carry.
func (m mode) kinds() []kind {
	if m.engine.duplex {
		return allKinds
	}
	return allKinds[:len(allKinds)-1]
}

// procedure is the kind's path.
func (k kind) procedure() string { return "/" + conntestv1connect.TestServiceName + "/" + string(k) }

// sendsMany reports whether the client may send any number of messages.
func (k kind) sendsMany() bool { return k == clientStream || k == bidi }

// receivesMany reports whether the client may receive any number of messages.
func (k kind) receivesMany() bool { return k == serverStream || k == bidi }

// streamType is the kind in a connect.Spec.
func (k kind) streamType() connect.StreamType {
	switch k {
	case serverStream:
		return connect.StreamTypeServer
	case clientStream:
		return connect.StreamTypeClient
	case bidi:
		return connect.StreamTypeBidi
	}
	return connect.StreamTypeUnary
}

// --- the handler's side ---

// An exchange is a call as its handler sees it, of whatever kind.
type exchange struct {
	kind    kind
	header  http.Header // of the request
	spec    connect.Spec
	peer    connect.Peer
	answer  http.Header // of the response
	trailer http.Header
	// receive returns the next request, then io.EOF.
	receive func() (*conntestv1.Request, error)
	// send sends a response. The last one counts where there is one only.
	send func(*conntestv1.Response) error
}

// receiveAll reads all requests.
func (x *exchange) receiveAll() ([]*conntestv1.Request, error) {
	var all []*conntestv1.Request
	for {
		message, err := x.receive()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, message)
	}
}

// everyKind serves all methods with one function.
func everyKind(serve func(context.Context, *exchange) error) handlers {
	one := func(k kind) func(context.Context, *request) (*response, error) {
		return func(ctx context.Context, r *request) (*response, error) {
			answer := connect.NewResponse(new(conntestv1.Response))
			err := serve(ctx, &exchange{
				kind: k, header: r.Header(), spec: r.Spec(), peer: r.Peer(),
				answer: answer.Header(), trailer: answer.Trailer(),
				receive: once(r.Msg),
				send:    func(m *conntestv1.Response) error { answer.Msg = m; return nil },
			})
			if err != nil {
				return nil, err
			}
			return answer, nil
		}
	}
	return handlers{
		unary: one(unary),
		get:   one(get),
		serverStream: func(ctx context.Context, r *request, s *connect.ServerStream[conntestv1.Response]) error {
			return serve(ctx, &exchange{
				kind: serverStream, header: r.Header(), spec: r.Spec(), peer: r.Peer(),
				answer: s.ResponseHeader(), trailer: s.ResponseTrailer(),
				receive: once(r.Msg), send: s.Send,
			})
		},
		clientStream: func(ctx context.Context, s *connect.ClientStream[conntestv1.Request]) (*response, error) {
			answer := connect.NewResponse(new(conntestv1.Response))
			err := serve(ctx, &exchange{
				kind: clientStream, header: s.RequestHeader(), spec: s.Spec(), peer: s.Peer(),
				answer: answer.Header(), trailer: answer.Trailer(),
				receive: func() (*conntestv1.Request, error) {
					if s.Receive() {
						return s.Msg(), nil
					}
					if err := s.Err(); err != nil {
						return nil, err
					}
					return nil, io.EOF
				},
				send: func(m *conntestv1.Response) error { answer.Msg = m; return nil },
			})
			if err != nil {
				return nil, err
			}
			return answer, nil
		},
		bidi: func(ctx context.Context, s *connect.BidiStream[conntestv1.Request, conntestv1.Response]) error {
			return serve(ctx, &exchange{
				kind: bidi, header: s.RequestHeader(), spec: s.Spec(), peer: s.Peer(),
				answer: s.ResponseHeader(), trailer: s.ResponseTrailer(),
				receive: s.Receive, send: s.Send,
			})
		},
	}
}

// once returns a message and then io.EOF.
func once(message *conntestv1.Request) func() (*conntestv1.Request, error) {
	return func() (*conntestv1.Request, error) {
		if message == nil {
			return nil, io.EOF
		}
		m := message
		message = nil
		return m, nil
	}
}

// echo answers what the requests ask for: their text and data, or data of a
// size, count times where the kind allows, then their failure.
var echo = everyKind(func(_ context.Context, x *exchange) error {
	var received int32
	for {
		r, err := x.receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		received++
		count := int32(1)
		if x.kind.receivesMany() && r.GetCount() > 0 {
			count = r.GetCount()
		}
		for i := range count {
			m := &conntestv1.Response{Text: r.GetText(), Data: r.GetData(), Count: i}
			if r.GetSize() > 0 {
				m.Data = make([]byte, r.GetSize())
			}
			if x.kind == clientStream {
				m.Count = received
			}
			if err := x.send(m); err != nil {
				return err
			}
		}
		if f := r.GetFailure(); f != nil {
			return failure(f)
		}
	}
})

// failure makes an error as described.
func failure(f *conntestv1.Failure) error {
	err := connect.NewError(connect.Code(f.GetCode()), errors.New(f.GetMessage()))
	for _, d := range f.GetDetails() {
		detail, e := connect.NewErrorDetail(d)
		if e != nil {
			return e
		}
		err.AddDetail(detail)
	}
	for key, value := range f.GetMetadata() {
		err.Meta().Add(key, value)
	}
	return err
}

// --- the client's side ---

// An outcome is all that a client gets from a call.
type outcome struct {
	messages []*conntestv1.Response
	header   http.Header
	trailer  http.Header
	err      error
}

// call makes a call of a kind, sends all requests, and receives to the end.
func call(
	ctx context.Context,
	client conntestv1connect.TestServiceClient,
	k kind,
	header http.Header,
	requests ...*conntestv1.Request,
) outcome {
	switch k {
	case unary, get, serverStream:
		if len(requests) != 1 {
			panic(fmt.Sprintf("a call of %s takes one message", k))
		}
		r := connect.NewRequest(requests[0])
		merge(r.Header(), header)
		if k == serverStream {
			return callServerStream(ctx, client, r)
		}
		method := client.Unary
		if k == get {
			method = client.Get
		}
		answer, err := method(ctx, r)
		return oneAnswer(answer, err)
	case clientStream:
		stream := client.ClientStream(ctx)
		merge(stream.RequestHeader(), header)
		for _, r := range requests {
			if err := stream.Send(r); err != nil {
				break // CloseAndReceive returns the reason
			}
		}
		return oneAnswer(stream.CloseAndReceive())
	case bidi:
		return callBidi(ctx, client, header, requests)
	}
	panic("no such kind: " + k)
}

func oneAnswer(answer *response, err error) outcome {
	if err != nil {
		return outcome{err: err}
	}
	return outcome{
		messages: []*conntestv1.Response{answer.Msg},
		header:   answer.Header(),
		trailer:  answer.Trailer(),
	}
}

func callServerStream(ctx context.Context, client conntestv1connect.TestServiceClient, r *request) (o outcome) {
	stream, err := client.ServerStream(ctx, r)
	if err != nil {
		return outcome{err: err}
	}
	for stream.Receive() {
		o.messages = append(o.messages, stream.Msg())
	}
	o.err = stream.Err()
	o.header, o.trailer = stream.ResponseHeader(), stream.ResponseTrailer()
	if err := stream.Close(); err != nil && o.err == nil {
		o.err = fmt.Errorf("closing: %w", err)
	}
	return o
}

// callBidi receives while it sends, as flow control demands.
func callBidi(
	ctx context.Context,
	client conntestv1connect.TestServiceClient,
	header http.Header,
	requests []*conntestv1.Request,
) (o outcome) {
	stream := client.Bidi(ctx)
	merge(stream.RequestHeader(), header)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for _, r := range requests {
			if stream.Send(r) != nil {
				break // Receive returns the reason
			}
		}
		_ = stream.CloseRequest()
	}()
	for {
		message, err := stream.Receive()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				o.err = err
			}
			break
		}
		o.messages = append(o.messages, message)
	}
	<-sent
	o.header, o.trailer = stream.ResponseHeader(), stream.ResponseTrailer()
	if err := stream.CloseResponse(); err != nil && o.err == nil {
		o.err = fmt.Errorf("closing: %w", err)
	}
	return o
}

// merge adds all values of one header to another.
func merge(to, from http.Header) {
	for key, values := range from {
		for _, v := range values {
			to.Add(key, v)
		}
	}
}

// forKinds runs a subtest for each kind that the mode can carry.
func forKinds(t *testing.T, m mode, test func(*testing.T, kind)) {
	t.Helper()
	for _, k := range m.kinds() {
		t.Run(string(k), func(t *testing.T) { test(t, k) })
	}
}
