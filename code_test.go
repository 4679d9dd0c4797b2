// SPDX-License-Identifier: Apache-2.0

// The tables of codes: names, numbers, HTTP statuses.

package connect

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestCodes holds the Connect protocol's table. [checklist 41]
func TestCodes(t *testing.T) {
	table := []struct {
		code   Code
		number uint32
		name   string
		status int
	}{
		{CodeCanceled, 1, "canceled", 499},
		{CodeUnknown, 2, "unknown", 500},
		{CodeInvalidArgument, 3, "invalid_argument", 400},
		{CodeDeadlineExceeded, 4, "deadline_exceeded", 504},
		{CodeNotFound, 5, "not_found", 404},
		{CodeAlreadyExists, 6, "already_exists", 409},
		{CodePermissionDenied, 7, "permission_denied", 403},
		{CodeResourceExhausted, 8, "resource_exhausted", 429},
		{CodeFailedPrecondition, 9, "failed_precondition", 400},
		{CodeAborted, 10, "aborted", 409},
		{CodeOutOfRange, 11, "out_of_range", 400},
		{CodeUnimplemented, 12, "unimplemented", 501},
		{CodeInternal, 13, "internal", 500},
		{CodeUnavailable, 14, "unavailable", 503},
		{CodeDataLoss, 15, "data_loss", 500},
		{CodeUnauthenticated, 16, "unauthenticated", 401},
	}
	if got, want := len(table), int(codeMax); got != want {
		t.Fatalf("got %d codes, want %d", got, want)
	}
	for _, c := range table {
		if uint32(c.code) != c.number || c.code.String() != c.name || !c.code.valid() {
			t.Errorf("got %d, %v, valid %t, want %d, %s", uint32(c.code), c.code, c.code.valid(), c.number, c.name)
		}
		if got := c.code.HTTPStatus(); got != c.status {
			t.Errorf("%v: got status %d, want %d", c.code, got, c.status)
		}
		var read Code
		if err := read.UnmarshalText([]byte(c.name)); err != nil || read != c.code {
			t.Errorf("%s: read %v, %v", c.name, read, err)
		}
	}
	for _, code := range []Code{0, 17, 1 << 31, 1<<32 - 1} {
		if got, want := code.String(), fmt.Sprintf("code_%d", uint32(code)); got != want || code.valid() {
			t.Errorf("%d: got %q, valid %t, want %q", uint32(code), got, code.valid(), want)
		}
		if got := code.HTTPStatus(); got != 500 {
			t.Errorf("%v: got status %d, want 500", code, got)
		}
	}
}

// TestHTTPCodes holds the table of codes for responses without one.
// [checklist 42]
func TestHTTPCodes(t *testing.T) {
	known := map[int]Code{
		400: CodeInternal, 401: CodeUnauthenticated, 403: CodePermissionDenied, 404: CodeUnimplemented,
		429: CodeUnavailable, 502: CodeUnavailable, 503: CodeUnavailable, 504: CodeUnavailable,
	}
	for status := range 1000 {
		want, ok := known[status]
		if !ok {
			want = CodeUnknown
		}
		if got := CodeFromHTTPStatus(status); got != want {
			t.Errorf("%d: got %v, want %v", status, got, want)
		}
	}
}

func TestCodeTexts(t *testing.T) {
	for _, text := range []string{"", "Canceled", "NOT_FOUND", "not found", "cancelled", "5", "code_", "code_5", "code_-1", "code_+17",
		"code_4294967296", "code_0x20", "code_ 17", "code_1_7", " canceled", "canceled "} {
		code := CodeAborted
		if err := code.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", text)) || code != CodeAborted {
			t.Errorf("%q: got %v, %v, want an error that tells the text", text, code, err)
		}
	}
	data, err := json.Marshal(map[string]Code{"a": CodeNotFound, "b": 99})
	if err != nil || string(data) != `{"a":"not_found","b":"code_99"}` {
		t.Errorf("got %s, %v", data, err)
	}
}

// FuzzCode: a text is refused, or is the text of the code that it is read as, but for
// zeros before the number.
func FuzzCode(f *testing.F) {
	for _, s := range []string{"canceled", "code_17", "code_017", "code_0", "code_5", "code_4294967295", "", "unauthenticated"} {
		f.Add(s, uint32(len(s)))
	}
	f.Fuzz(func(t *testing.T, text string, number uint32) {
		var code Code
		plain := text
		if digits, ok := strings.CutPrefix(text, "code_0"); ok {
			plain = "code_" + cmp.Or(strings.TrimLeft(digits, "0"), "0")
		}
		if err := code.UnmarshalText([]byte(text)); err == nil && code.String() != plain {
			t.Errorf("%q: got %v", text, code)
		}
		data, err := Code(number).MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if err := code.UnmarshalText(data); err != nil || code != Code(number) {
			t.Errorf("%d: got %v by way of %q, %v", number, code, data, err)
		}
	})
}

func TestCodeOf(t *testing.T) {
	inner := NewError(CodeNotFound, errors.New("inner"))
	var none *Error
	for _, c := range []struct {
		err  error
		want Code
	}{
		{nil, CodeUnknown},
		{errors.New("plain"), CodeUnknown},
		{inner, CodeNotFound},
		{fmt.Errorf("wrapped: %w", inner), CodeNotFound},
		{NewError(CodeAborted, inner), CodeAborted},
		{errors.Join(errors.New("plain"), inner), CodeNotFound},
		{none, CodeUnknown},
		{fmt.Errorf("wrapped: %w", none), CodeUnknown},
	} {
		if got := CodeOf(c.err); got != c.want {
			t.Errorf("CodeOf(%v): got %v, want %v", c.err, got, c.want)
		}
	}
}
