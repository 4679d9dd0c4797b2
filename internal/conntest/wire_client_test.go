// SPDX-License-Identifier: Apache-2.0

// This file is the client half of the raw-wire kit: HTTP clients that answer with hand-made responses, and calls of every kind.

package conntest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-b7c59c10/connect"
)

// wireScript is an HTTP client that answers by hand.
type wireScript func(*http.Request) (*http.Response, error)

func (s wireScript) Do(req *http.Request) (*http.Response, error) { return s(req) }

// wireAnswer is a hand-made response.
type wireAnswer struct {
	status  int // 200 if 0
	header  http.Header
	trailer http.Header // arrives when the body has ended
	body    io.Reader
}

// wireBody counts the bytes that are read from a response and records its Close.
type wireBody struct {
	io.Reader
	read   atomic.Int64
	closed atomic.Bool
	once   sync.Once
	end    func() // called once, at the end of the body
}

func (b *wireBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, errors.New("read of a closed response body")
	}
	n, err := b.Reader.Read(p)
	b.read.Add(int64(n))
	if err != nil && b.end != nil {
		b.once.Do(b.end)
	}
	return n, err
}

func (b *wireBody) Close() error { b.closed.Store(true); return nil }

// response builds what a transport would return for the request.
func (a wireAnswer) response(req *http.Request) (*http.Response, *wireBody) {
	status := a.status
	if status == 0 {
		status = http.StatusOK
	}
	reader := a.body
	if reader == nil {
		reader = http.NoBody
	}
	header := a.header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	body := &wireBody{Reader: reader}
	res := &http.Response{
		Status:        strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status))),
		StatusCode:    status,
		Proto:         "HTTP/2.0",
		ProtoMajor:    2,
		Header:        header,
		Body:          body,
		ContentLength: -1,
		Request:       req,
	}
	body.end = func() { res.Trailer = a.trailer.Clone() }
	return res, body
}

// Do reads the whole request, then answers.
func (a wireAnswer) Do(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
	res, _ := a.response(req)
	return res, nil
}

// wireOutcome is the outcome of a client's call.
type wireOutcome struct {
	texts   []string
	err     error
	header  http.Header
	trailer http.Header
}

// wireInvoke makes one call of any kind, sends the texts, and reads all answers.
func wireInvoke(
	ctx context.Context, kind connect.StreamType, httpClient connect.HTTPClient, url string,
	options []connect.ClientOption, texts ...string,
) wireOutcome {
	client := connect.NewClient[wireText, wireText](httpClient, url, options...)
	var out wireOutcome
	switch kind {
	case connect.StreamTypeUnary:
		res, err := client.CallUnary(ctx, connect.NewRequest(&wireText{Value: texts[0]}))
		if out.err = err; err == nil {
			out.texts = []string{res.Msg.GetValue()}
			out.header, out.trailer = res.Header(), res.Trailer()
		}
	case connect.StreamTypeClient:
		stream := client.CallClientStream(ctx)
		for _, text := range texts {
			if err := stream.Send(&wireText{Value: text}); err != nil {
				break // CloseAndReceive returns the reason
			}
		}
		res, err := stream.CloseAndReceive()
		if out.err = err; err == nil {
			out.texts = []string{res.Msg.GetValue()}
			out.header, out.trailer = res.Header(), res.Trailer()
		}
	case connect.StreamTypeServer:
		stream, err := client.CallServerStream(ctx, connect.NewRequest(&wireText{Value: texts[0]}))
		if err != nil {
			out.err = err
			break
		}
		for stream.Receive() {
			out.texts = append(out.texts, stream.Msg().GetValue())
		}
		out.err = stream.Err()
		out.header, out.trailer = stream.ResponseHeader(), stream.ResponseTrailer()
		_ = stream.Close()
	default:
		stream := client.CallBidiStream(ctx)
		for _, text := range texts {
			if err := stream.Send(&wireText{Value: text}); err != nil {
				break // Receive returns the reason
			}
		}
		_ = stream.CloseRequest()
		for {
			msg, err := stream.Receive()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					out.err = err
				}
				break
			}
			out.texts = append(out.texts, msg.GetValue())
		}
		out.header, out.trailer = stream.ResponseHeader(), stream.ResponseTrailer()
		_ = stream.CloseResponse()
	}
	return out
}

// wireStub is the address of calls that use no network.
const wireStub = "http://stub.invalid" + wireProcedure

// call invokes a stubbed client of the dialect.
func (d wireDialect) call(
	t *testing.T, kind connect.StreamType, httpClient connect.HTTPClient, options ...connect.ClientOption,
) wireOutcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wirePatience)
	defer cancel()
	return wireInvoke(ctx, kind, httpClient, wireStub, append(slices.Clone(d.client), options...), "hello")
}

// answer is a well-formed successful response of the dialect with the given texts.
func (d wireDialect) answer(kind connect.StreamType, texts ...string) wireAnswer {
	answer := wireAnswer{header: wireHeader("Content-Type", d.contentType(kind, "proto"))}
	switch {
	case !d.framed(kind):
		answer.body = bytes.NewReader(wireProto(texts[0]))
	case d.name == connect.ProtocolConnect:
		answer.body = bytes.NewReader(wireJoin(wireMessages(texts...), wireFrame(flagConnectEnd, []byte("{}"))))
	case d.name == connect.ProtocolGRPCWeb:
		answer.body = bytes.NewReader(wireJoin(wireMessages(texts...), wireFrame(flagWebTrailer, []byte("grpc-status: 0\r\n"))))
	default:
		answer.body = bytes.NewReader(wireMessages(texts...))
		answer.trailer = wireHeader("Grpc-Status", "0")
	}
	return answer
}

// raw is a response of the dialect's content type with exactly this body and these trailers.
func (d wireDialect) raw(kind connect.StreamType, body []byte, trailer ...string) wireAnswer {
	answer := wireAnswer{
		header: wireHeader("Content-Type", d.contentType(kind, "proto")),
		body:   bytes.NewReader(body),
	}
	if len(trailer) > 0 {
		answer.trailer = wireHeader(trailer...)
	}
	return answer
}
