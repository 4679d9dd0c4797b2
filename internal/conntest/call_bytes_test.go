// SPDX-License-Identifier: Apache-2.0

// This file compares the bytes that call interceptors count with those on the wire.

package conntest

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/http"
	"testing"

	"github.com/seed-b7c59c10/connect"
	conntestv1 "github.com/seed-b7c59c10/connect/internal/gen/conntest/v1"
)

// The bytes that interceptors see are those that went over HTTP. The bodies are read
// and taken apart outside of the library.
func TestCallBytes(t *testing.T) {
	run(t, func(t *testing.T, m mode) {
		atHandler, atClient := newCallLog(), newCallLog()
		bodies := make(chan [2]*bytes.Buffer, 1)
		site := m.serve(t, echo, handlerOptions(connect.WithCallInterceptors(atHandler.wrap)), wrapped(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				up, down := new(bytes.Buffer), new(bytes.Buffer)
				r.Body = io.NopCloser(io.TeeReader(r.Body, up))
				next.ServeHTTP(&teeWriter{w, down}, r)
				bodies <- [2]*bytes.Buffer{up, down}
			})
		}))
		client := site.client(connect.WithCallInterceptors(atClient.wrap))
		forKinds(t, m, func(t *testing.T, k kind) {
			if k == get && m.protocol == "connect" {
				return // the message is in the URL
			}
			requests := []*conntestv1.Request{{Text: "a", Count: 3, Data: noise(300)}}
			if k.sendsMany() {
				requests = append(requests, text("b"), &conntestv1.Request{}, &conntestv1.Request{Text: "large", Data: noise(70 << 10)})
			}
			o := call(testContext(t), client, k, nil, requests...)
			wantNil(t, o.err)
			b := await(t, "bodies", bodies)
			h, c := await(t, "handler's interceptor", atHandler.done), await(t, "client's interceptor", atClient.done)
			framed := m.protocol != "connect" || k != unary
			up, down := messageBytes(t, b[0].Bytes(), framed), messageBytes(t, b[1].Bytes(), framed)
			wantEqual(t, "client: bytes sent", c.stats.Sent.WireBytes, up)
			wantEqual(t, "handler: bytes received", h.stats.Received.WireBytes, up)
			wantEqual(t, "handler: bytes sent", h.stats.Sent.WireBytes, down)
			wantEqual(t, "client: bytes received", c.stats.Received.WireBytes, down)
		})
	})
}

// teeWriter copies a response.
type teeWriter struct {
	http.ResponseWriter
	to io.Writer
}

func (w *teeWriter) Write(b []byte) (int, error) {
	_, _ = w.to.Write(b)
	return w.ResponseWriter.Write(b)
}

func (w *teeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// messageBytes returns the bytes of the messages in a body, without the end frame.
func messageBytes(t *testing.T, body []byte, framed bool) (n int64) {
	t.Helper()
	if !framed {
		return int64(len(body))
	}
	for len(body) > 0 {
		size := 5 + int(binary.BigEndian.Uint32(body[1:5]))
		if body[0]&^1 == 0 {
			n += int64(size)
		}
		body = body[size:]
	}
	return n
}
