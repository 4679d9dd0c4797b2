// SPDX-License-Identifier: Apache-2.0

// This file lets clients of both libraries make one call against a scripted HTTP response and writes down both sides.

package compat

import (
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/compat/ours"
	"github.com/seed-b7c59c10/connect/internal/compat/script"
	"github.com/seed-b7c59c10/connect/internal/compat/theirs"
)

// clientCase is one call and the response that it gets.
type clientCase struct {
	name   string // begins with the checklist items
	client script.Client
	call   script.Call
	answer answer
}

// answer is a scripted HTTP response. Zero fields: status 200, no body.
type answer struct {
	status  int
	header  string // lines "Key: value"
	body    string
	trailer string // lines "Key: value"
	// bodyError ends the body in place of io.EOF; err takes the place of the
	// whole response. errWaitForContext stands for the error of the request's
	// context when it ends.
	bodyError, err error
	// measure adds a line on whether the client read the whole body or, when
	// client.Inflated is set, whether it inflated far more than it needed.
	measure bool
	http1   bool // it is over HTTP/1.1
}

var errWaitForContext = errors.New("wait for the context")

func TestClient(t *testing.T) {
	t.Parallel() // see TestServer
	for _, test := range clientCases() {
		t.Run(test.name, func(t *testing.T) {
			// In bubbles, deadlines pass when nothing else can happen, and
			// goroutines that are left behind fail the test.
			var want, got []string
			synctest.Test(t, func(t *testing.T) { want = converse(t, test, doTheirs) })
			synctest.Test(t, func(t *testing.T) { got = converse(t, test, doOurs) })
			judge(t, want, got)
			synctest.Test(t, func(t *testing.T) { got = converse(t, test, doDropIn) })
			judgeBy(t, listedOfDropIn, want, got)
		})
	}
}

// doer makes a call with a client of one side.
type doer func(context.Context, *http.Client, script.Client, script.Call) script.Transcript

func doTheirs(ctx context.Context, client *http.Client, config script.Client, call script.Call) script.Transcript {
	return theirs.Do(ctx, client, config, call)
}

func doOurs(ctx context.Context, client *http.Client, config script.Client, call script.Call) script.Transcript {
	return ours.Do(ctx, client, config, call)
}

// doDropIn makes a call with a client as the drop-in's NewClient returns it.
func doDropIn(ctx context.Context, client *http.Client, config script.Client, call script.Call) script.Transcript {
	return ours.Do(ctx, client, config, call, connect.WithConnectGoBehavior())
}

// converse makes the call and returns the transcript of the request, then that of
// the caller.
func converse(t *testing.T, test clientCase, do doer) []string {
	t.Helper()
	transport := &scripted{answer: test.answer}
	if test.client.Inflated != nil {
		test.client.Inflated = &script.Counter{}
	}
	result := do(t.Context(), &http.Client{Transport: transport}, test.client, test.call)
	synctest.Wait()
	lines := append(transport.request.Lines, result.Lines...)
	if test.answer.measure {
		var measured script.Transcript
		if test.client.Inflated == nil {
			measured.Add("read whole body: %v", transport.body.read >= len(test.answer.body))
		} else {
			measured.Add("inflated over 1 MiB: %v", test.client.Inflated.N > 1<<20)
		}
		lines = append(lines, measured.Lines...)
	}
	if transport.body != nil && !transport.body.closed {
		lines = append(lines, "response body left open")
	}
	return lines
}

// scripted is a transport that reads a whole request, then gives one answer.
// Like net/http's it closes the request's body when the context ends.
type scripted struct {
	answer  answer
	request script.Transcript
	body    *scriptedBody
}

func (s *scripted) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if err := ctx.Err(); err != nil {
		s.request.Add("%s after the context's end", req.Method)
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	if req.Body != nil {
		stop := context.AfterFunc(ctx, func() { _ = req.Body.Close() })
		defer stop()
	}
	s.record(req)
	if err := s.answer.err; err != nil {
		if err == errWaitForContext {
			<-ctx.Done()
			err = ctx.Err()
		}
		return nil, err
	}
	res := &http.Response{
		StatusCode: s.answer.status, Proto: "HTTP/2.0", ProtoMajor: 2,
		Header: header(s.answer.header), Trailer: make(http.Header),
		ContentLength: -1, Request: req,
	}
	if s.answer.http1 {
		res.Proto, res.ProtoMajor, res.ProtoMinor = "HTTP/1.1", 1, 1
	}
	if res.StatusCode == 0 {
		res.StatusCode = http.StatusOK
	}
	res.Status = http.StatusText(res.StatusCode)
	s.body = &scriptedBody{
		content: strings.NewReader(s.answer.body), end: s.answer.bodyError,
		trailer: header(s.answer.trailer), response: res, ctx: ctx,
	}
	res.Body = s.body
	return res, nil
}

// record writes down the request.
func (s *scripted) record(req *http.Request) {
	t := &s.request
	replayable := req.GetBody != nil || req.Body == nil || req.Body == http.NoBody
	t.Add("%s %s %s known length=%v replayable=%v", req.Method, req.URL.Redacted(), req.Host, req.ContentLength >= 0, replayable)
	recorded := req.Header.Clone()
	for _, key := range []string{"Connect-Timeout-Ms", "Grpc-Timeout"} {
		if value := recorded.Get(key); value != "" {
			recorded.Set(key, digits.ReplaceAllString(value, "(number)"))
		}
	}
	writeHeader(t, ">", recorded)
	if req.Body == nil {
		t.Add("body \"\"")
		return
	}
	body, err := io.ReadAll(req.Body)
	contentType := req.Header.Get("Content-Type")
	compression := req.Header.Get("Content-Encoding")
	if strings.HasPrefix(contentType, "application/grpc") {
		compression = req.Header.Get("Grpc-Encoding")
	} else if strings.HasPrefix(contentType, "application/connect+") {
		compression = req.Header.Get("Connect-Content-Encoding")
	}
	writeBody(t, contentType, compression, body)
	if err != nil {
		t.Add("request body cut off")
	}
	t.Header("> trailer", req.Trailer)
	_ = req.Body.Close()
}

// digits matches a timeout's number, which depends on the clock.
var digits = regexp.MustCompile(`[0-9]+`)

// scriptedBody is a response body that sets the trailers at its end.
type scriptedBody struct {
	content  *strings.Reader
	end      error
	trailer  http.Header
	response *http.Response
	ctx      context.Context
	read     int
	closed   bool
}

func (b *scriptedBody) Read(p []byte) (int, error) {
	n, err := b.content.Read(p)
	b.read += n
	if err == nil || n > 0 {
		return n, nil
	}
	switch b.end {
	case nil:
		for key, values := range b.trailer {
			b.response.Trailer[key] = values
		}
		return 0, io.EOF
	case errWaitForContext:
		<-b.ctx.Done()
		return 0, b.ctx.Err()
	}
	return 0, b.end
}

func (b *scriptedBody) Close() error {
	b.closed = true
	return nil
}
