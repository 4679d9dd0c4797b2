// SPDX-License-Identifier: Apache-2.0

// Answers that are cut off, and those that are wrong: only the former are repeated.

package retry_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/retry"
)

// An answering transport answers each request with a head and a body that end with err.
type answering struct {
	contentType string
	header      http.Header
	body        []byte
	err         error
	requests    int
}

func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	a.requests++
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	header := a.header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	header.Set("Content-Type", a.contentType)
	if a.contentType == "" {
		header.Set("Content-Type", r.Header.Get("Content-Type"))
	}
	body := io.Reader(bytes.NewReader(a.body))
	if a.err != nil {
		body = io.MultiReader(body, failingReader{a.err})
	}
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/2.0", ProtoMajor: 2, Request: r,
		Header: header, Trailer: make(http.Header), Body: io.NopCloser(body), ContentLength: -1,
	}, nil
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// reset returns the errors of transports for a stream that was reset.
func reset(code uint32) []error {
	return []error{
		h2.StreamError{StreamID: 3, Code: h2.ErrCode(code), Cause: errors.New("received from the peer")},
		http2.StreamError{StreamID: 3, Code: http2.ErrCode(code)}, // it has no As method
	}
}

// TestLost lists how an answer ends, and whether an idempotent call is repeated. Others
// never are.
func TestLost(t *testing.T) {
	for name, c := range map[string]struct {
		errs  []error // of the body
		again bool
	}{
		"the body ends too early":         {[]error{io.ErrUnexpectedEOF}, true},
		"the connection was reset":        {[]error{syscall.ECONNRESET, &net.OpError{Op: "read", Err: syscall.ECONNRESET}}, true},
		"the connection was closed":       {[]error{net.ErrClosed, errors.New("http2: client connection lost")}, true},
		"reset, no error":                 {reset(0x0), true},
		"reset, as after a panic":         {reset(0x2), true},
		"reset, a broken protocol":        {reset(0x1), false},
		"reset, flow control":             {reset(0x3), false},
		"reset, compression":              {reset(0x9), false},
		"reset, canceled":                 {reset(0x8), false},
		"reset, too many calls":           {reset(0xb), false},
		"reset, insecure":                 {reset(0xc), false},
		"garbage that a transport codes":  {[]error{connect.NewError(connect.CodeInternal, errors.New("garbage"))}, false},
		"a limit of a transport":          {[]error{&http.MaxBytesError{Limit: 1}}, false},
		"a transport's own unknown error": {[]error{connect.NewError(connect.CodeUnknown, io.ErrUnexpectedEOF)}, false},
	} {
		for _, err := range c.errs {
			wantRequests(t, fmt.Sprintf("%s (%T)", name, err), &answering{err: err}, c.again)
		}
	}
}

// TestWrongAnswers has servers that answer something else than the protocol's: another
// attempt would get the same.
func TestWrongAnswers(t *testing.T) {
	frame := func(flags byte, payload string) []byte {
		return append([]byte{flags, 0, 0, 0, byte(len(payload))}, payload...)
	}
	for name, a := range map[string]answering{
		"another content type":       {contentType: "text/html", body: []byte("<html>")},
		"another codec":              {contentType: "application/grpc+json", body: frame(0, "{}")},
		"unknown flags":              {body: frame(0x7e, "")},
		"bytes that are no message":  {body: frame(0, "\x0a\xff")},
		"compressed without a word":  {body: frame(1, "x")},
		"an unknown compression":     {header: http.Header{"Grpc-Encoding": {"zip"}}, body: frame(1, "x")},
		"broken compression":         {header: http.Header{"Grpc-Encoding": {"gzip"}}, body: frame(1, "\x1f\x8b")},
		"more than the client takes": {body: frame(0, "\x0a\x40"+string(make([]byte, 0x40)))},
		"a second message":           {body: append(frame(0, ""), frame(0, "")...), header: http.Header{"Grpc-Status": {"0"}}},
	} {
		wantRequests(t, name, &a, false)
	}
}

// wantRequests makes idempotent calls and others, and checks how often they are made.
func wantRequests(t *testing.T, name string, a *answering, again bool) {
	t.Helper()
	for level, want := range map[connect.IdempotencyLevel]int{unknown: 1, idempotent: 3} {
		if !again {
			want = 1
		}
		for _, path := range []string{pathUnary, pathServer, pathClient, pathBidi} {
			synctest.Test(t, func(t *testing.T) {
				a.requests = 0
				client := connect.NewClient[message, message](&http.Client{Transport: a}, "http://test.local"+path, connect.WithGRPC(),
					connect.WithReadMaxBytes(32), connect.WithIdempotency(level), connect.WithInterceptors(retry.New()))
				_, err := call(t.Context(), client, path)
				if err == nil || a.requests != want {
					t.Errorf("%s, %s, %v: got %v after %d requests, want an error after %d", name, path, level, err, a.requests, want)
				}
			})
		}
	}
}
