// SPDX-License-Identifier: Apache-2.0

// Which code an error gets, and that net/http's resets are recognised.

package connect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// foreignReset has the shape of golang.org/x/net/http2's stream error.
type foreignReset struct {
	StreamID uint32
	Code     foreignCode
	Cause    error
}

type foreignCode uint32

func (foreignReset) Error() string { return "foreign reset" }

// threeFields has as many fields, and is no stream error.
type threeFields struct{ A, B, C int }

func (threeFields) Error() string { return "three fields" }

// TestFault checks which of an error and a context decides the code.
// [checklist 54, 79–81]
func TestFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alive := context.Background()
		canceled, cancel := context.WithCancel(alive)
		cancel()
		late, cancelLate := context.WithTimeout(alive, time.Second)
		defer cancelLate()
		time.Sleep(time.Second)
		// The deadline has passed, but the context's timer has not fired.
		overdue := deadlineOnly{alive, time.Now()}
		early := deadlineOnly{alive, time.Now().Add(time.Nanosecond)}
		coded := NewError(CodeDataLoss, errors.New("coded"))
		reset := resetError{1, resetEnhanceYourCalm, nil}
		tooLarge := &http.MaxBytesError{Limit: 5}
		plain := errors.New("plain")
		for _, c := range []struct {
			name string
			ctx  context.Context
			err  error
			want Code
		}{
			{"plain", alive, plain, CodeAborted},
			{"plain, canceled", canceled, plain, CodeCanceled},
			{"plain, late", late, plain, CodeDeadlineExceeded},
			{"plain, late by the deadline alone", overdue, plain, CodeDeadlineExceeded},
			{"plain, early", early, plain, CodeAborted},
			{"coded", alive, coded, CodeDataLoss},
			{"coded, canceled", canceled, coded, CodeDataLoss},
			{"coded, wrapped", late, fmt.Errorf("wrapped: %w", coded), CodeDataLoss},
			{"context's error", alive, context.Canceled, CodeCanceled},
			{"context's error, wrapped", alive, fmt.Errorf("wrapped: %w", context.DeadlineExceeded), CodeDeadlineExceeded},
			{"context's error beats the context", late, context.Canceled, CodeCanceled},
			{"timeout of the system", alive, fmt.Errorf("read: %w", os.ErrDeadlineExceeded), CodeDeadlineExceeded},
			{"reset", alive, reset, CodeResourceExhausted},
			{"reset, wrapped", alive, fmt.Errorf("wrapped: %w", reset), CodeResourceExhausted},
			{"reset, canceled", canceled, reset, CodeCanceled},
			{"reset by CANCEL, late", late, resetError{1, resetCancel, nil}, CodeDeadlineExceeded},
			{"reset by CANCEL, late by the deadline alone", overdue, resetError{1, resetCancel, nil}, CodeDeadlineExceeded},
			{"reset by CANCEL", alive, resetError{1, resetCancel, nil}, CodeCanceled},
			{"foreign reset", alive, foreignReset{1, 0x7, nil}, CodeUnavailable},
			{"foreign reset, wrapped", alive, fmt.Errorf("wrapped: %w", foreignReset{1, 0x7, nil}), CodeUnavailable},
			{"three fields", alive, threeFields{1, 2, 3}, CodeAborted},
			{"http.MaxBytesReader", alive, fmt.Errorf("read: %w", tooLarge), CodeResourceExhausted},
			{"http.MaxBytesReader, canceled", canceled, tooLarge, CodeCanceled},
		} {
			err := fault(c.ctx, c.err, CodeAborted)
			if CodeOf(err) != c.want {
				t.Errorf("%s: got %v, want %v", c.name, err, c.want)
			}
			if _, same := c.err.(threeFields); !same && !errors.Is(err, c.err) {
				t.Errorf("%s: got %v, want %v in it", c.name, err, c.err)
			}
		}
		if err := fault(canceled, nil, CodeAborted); err != nil {
			t.Errorf("no error: got %v", err)
		}
	})
}

// TestFaultOf checks the codes of errors that a handler returns.
func TestFaultOf(t *testing.T) {
	coded := NewError(CodeDataLoss, errors.New("coded"))
	for _, c := range []struct {
		err  error
		want Code
	}{
		{errors.New("plain"), CodeUnknown},
		{fmt.Errorf("wrapped: %w", coded), CodeDataLoss},
		{fmt.Errorf("wrapped: %w", context.Canceled), CodeCanceled},
		{fmt.Errorf("wrapped: %w", context.DeadlineExceeded), CodeDeadlineExceeded},
		{fmt.Errorf("dial: %w", os.ErrDeadlineExceeded), CodeDeadlineExceeded},
		{fmt.Errorf("write: %w", syscall.EPIPE), CodeCanceled},
		{fmt.Errorf("read: %w", syscall.ECONNRESET), CodeCanceled},
		{&http.MaxBytesError{Limit: 5}, CodeUnknown},
		{resetError{1, resetEnhanceYourCalm, nil}, CodeUnknown},
		{foreignReset{1, 0x7, nil}, CodeUnknown},
		{io.ErrUnexpectedEOF, CodeUnknown},
	} {
		if got := faultOf(c.err); got.code != c.want || !errors.Is(got, c.err) && got != coded {
			t.Errorf("%v: got %v, want %v", c.err, got, c.want)
		}
	}
}

// deadlineOnly is a context whose timer has not fired.
type deadlineOnly struct {
	context.Context
	deadline time.Time
}

func (d deadlineOnly) Deadline() (time.Time, bool) { return d.deadline, true }

func TestReadFault(t *testing.T) {
	for _, c := range []struct {
		err   error
		proto int
		want  Code
	}{
		{io.ErrUnexpectedEOF, 1, CodeInternal},
		{io.ErrUnexpectedEOF, 2, CodeInternal},
		{io.EOF, 1, CodeInternal},
		{fmt.Errorf("cut: %w", io.ErrUnexpectedEOF), 1, CodeInternal},
		{fmt.Errorf("read: %w", syscall.ECONNRESET), 1, CodeCanceled},
		{fmt.Errorf("read: %w", syscall.EPIPE), 1, CodeCanceled},
		{errors.New("client disconnected"), 2, CodeCanceled},
		{errors.New("malformed chunk"), 1, CodeInvalidArgument},
		{&http.MaxBytesError{Limit: 1}, 1, CodeResourceExhausted},
		{NewError(CodeAborted, nil), 1, CodeAborted},
	} {
		err := readFault(context.Background(), c.err, c.proto, CodeInvalidArgument)
		if CodeOf(err) != c.want || errors.Is(err, io.EOF) {
			t.Errorf("%v, HTTP/%d: got %v, want %v and no io.EOF in it", c.err, c.proto, err, c.want)
		}
	}
}

// TestResetCodes holds HTTP/2's codes. [checklist 80]
func TestResetCodes(t *testing.T) {
	for code, want := range map[resetCode]Code{
		0x0: CodeInternal, // NO_ERROR
		0x1: CodeInternal, // PROTOCOL_ERROR
		0x2: CodeInternal, // INTERNAL_ERROR
		0x3: CodeInternal, // FLOW_CONTROL_ERROR
		0x4: CodeInternal, // SETTINGS_TIMEOUT
		0x6: CodeInternal, // FRAME_SIZE_ERROR
		0x7: CodeUnavailable,
		0x8: CodeCanceled,
		0x9: CodeInternal, // COMPRESSION_ERROR
		0xa: CodeInternal, // CONNECT_ERROR
		0xb: CodeResourceExhausted,
		0xc: CodePermissionDenied,
	} {
		if got, ok := code.code(); !ok || got != want {
			t.Errorf("%#x: got %v, want %v", uint32(code), got, want)
		}
	}
	// What these mean depends on what was under way.
	for _, code := range []resetCode{0x5 /* STREAM_CLOSED */, 0xd /* HTTP_1_1_REQUIRED */, 0xe} {
		if got, ok := code.code(); ok {
			t.Errorf("%#x: got %v, want none", uint32(code), got)
		}
	}
}

// TestResets: the errors that net/http reports on either side of a reset stream
// are recognised, without their text.
func TestResets(t *testing.T) {
	seen := make(chan error, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if err := rc.Flush(); err != nil {
			t.Error(err)
		}
		if r.URL.Path == "/abort" {
			panic(http.ErrAbortHandler)
		}
		_, err := io.Copy(io.Discard, r.Body)
		seen <- err
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()

	response, err := server.Client().Get(server.URL + "/abort")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	if code, ok := resetOf(err); !ok || code != 0x2 || response.ProtoMajor != 2 {
		t.Errorf("a handler that aborts, HTTP/%d: got %T %v, reset %t with %#x, want INTERNAL_ERROR", response.ProtoMajor, err, err, ok, code)
	}
	if got := CodeOf(fault(context.Background(), err, CodeUnavailable)); got != CodeInternal {
		t.Errorf("a handler that aborts: got %v, want %v", got, CodeInternal)
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, newPipe(ctx))
	if err != nil {
		t.Fatal(err)
	}
	response, err = server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	cancel()
	err = <-seen
	if code, ok := resetOf(err); !ok || code != resetCancel {
		t.Errorf("a client that gives up: got %T %v, reset %t with %#x, want CANCEL", err, err, ok, code)
	}
	if got := CodeOf(readFault(context.Background(), err, 2, CodeInvalidArgument)); got != CodeCanceled {
		t.Errorf("a client that gives up: got %v, want %v", got, CodeCanceled)
	}
	if _, ok := resetOf(errors.New("stream error: stream ID 1; CANCEL")); ok {
		t.Error("a text that looks like a reset: got a reset")
	}
}

// TestErrorBasics checks the text, the code and the cause of an Error.
func TestErrorBasics(t *testing.T) {
	cause := errors.New("cause")
	e := NewError(CodeNotFound, cause)
	if e.Error() != "not_found: cause" || e.Message() != "cause" || e.Code() != CodeNotFound || !errors.Is(e, cause) {
		t.Errorf("got %v", e)
	}
	if got := NewError(CodeNotFound, nil); got.Error() != "not_found" || got.Message() != "" || got.Unwrap() != nil {
		t.Errorf("no cause: got %v", got)
	}
	var none *Error
	if none.Message() != "" || none.Unwrap() != nil || none.Code() != CodeUnknown {
		t.Errorf("nil: got %v", none)
	}
	if e.Meta() == nil || len(e.Meta()) != 0 {
		t.Errorf("got metadata %v, want an empty header", e.Meta())
	}
	e.Meta().Set("X-A", "1")
	if e.Meta().Get("X-A") != "1" {
		t.Error("metadata is lost")
	}
	if IsWireError(e) || !IsWireError(fmt.Errorf("wrapped: %w", NewWireError(CodeNotFound, cause))) || IsWireError(nil) || IsWireError(cause) {
		t.Error("IsWireError mistakes one for the other")
	}
	notModified := NewNotModifiedError(http.Header{"Etag": {`"1"`}})
	if !IsNotModifiedError(fmt.Errorf("wrapped: %w", notModified)) || notModified.Code() != CodeUnknown || IsNotModifiedError(e) || IsNotModifiedError(nil) {
		t.Errorf("got %v", notModified)
	}
}

// TestErrorDetailCopies: a program cannot change a detail through its bytes.
func TestErrorDetailCopies(t *testing.T) {
	d := &ErrorDetail{typeURL: typeURLPrefix + "acme.foo.v1.Reason", value: "abc"}
	clear(d.Bytes())
	if !bytes.Equal(d.Bytes(), []byte("abc")) || d.Type() != "acme.foo.v1.Reason" {
		t.Errorf("got %q of %q", d.Bytes(), d.Type())
	}
	if v, err := d.Value(); err == nil {
		t.Errorf("a type that nobody knows: got %v", v)
	}
	if v, err := (&ErrorDetail{typeURL: typeURLPrefix + "google.protobuf.Duration", value: "\xff"}).Value(); err == nil {
		t.Errorf("bytes that are no message: got %v", v)
	}
	if d, err := NewErrorDetail(nil); err == nil {
		t.Errorf("nil: got %v", d)
	}
}

type quicError struct {
	Remote    bool
	ErrorCode uint64
}

func (e *quicError) Error() string { return "stream canceled" }

type errorWithField struct{ Remote string }

func (errorWithField) Error() string { return "of a test" }

// TestAbandoned: which errors of a write say that the client has ended the response.
func TestAbandoned(t *testing.T) {
	for err, want := range map[error]bool{
		errors.New("client disconnected"):          true,
		errors.New("http2: stream closed"):         true,
		&quicError{Remote: true}:                   true,
		fmt.Errorf("a: %w", &quicError{true, 268}): true,
		&quicError{Remote: false}:                  false,
		(*quicError)(nil):                          false,
		errorWithField{"true"}:                     false,
		errors.New("disk full"):                    false,
	} {
		if got := abandoned(err); got != want {
			t.Errorf("%v: got %v, want %v", err, got, want)
		}
	}
}
