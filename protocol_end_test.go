// SPDX-License-Identifier: Apache-2.0

// Ends as inverse pairs: decodeEnd reads what encodeEnd writes, for all dialects.

package connect

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"
)

// passEnd takes an end through a dialect: encoded, over the wire, decoded. It
// returns all metadata that arrives, headers before trailers.
func passEnd(t *testing.T, d *dialect, e end, sent bool) (end, http.Header) {
	t.Helper()
	encoded := d.encodeEnd(e, sent)
	w := wireEnd{
		status:  encoded.status,
		header:  overTheWire(t, encoded.header),
		trailer: overTheWire(t, encoded.trailer),
		body:    encoded.body,
		hasBody: encoded.hasBody,
		empty:   !sent,
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if !d.framed {
		w.hasBody = true // the body that was read, which may be empty
	} else if encoded.hasBody != (d.endFlag != 0 && (sent || d == dialectStream)) {
		t.Errorf("end frame: got %t for sent %t, flag %#x", encoded.hasBody, sent, d.endFlag)
	}
	if sent && len(encoded.header) > 0 && d.framed {
		t.Errorf("got headers %v after the headers were sent", encoded.header)
	}
	before := w.header.Clone()
	got := d.decodeEnd(w)
	if diff := cmp.Diff(w.header, before); diff != "" {
		t.Errorf("decodeEnd changed the caller's header (-got +want):\n%s", diff)
	}
	metadata := make(http.Header)
	if got.header != nil {
		addHeader(metadata, got.header)
	} else {
		addHeader(metadata, w.header)
	}
	if !got.inHeader {
		addHeader(metadata, got.trailer)
	}
	return got, metadata
}

// custom returns the application's part of the metadata, as it is after the wire.
func custom(t *testing.T, h http.Header) http.Header {
	clean := make(http.Header)
	addMetadata(clean, h, false)
	return overTheWire(t, clean)
}

// tell returns an error's text, "success" for none.
func tell(e *Error) string {
	if e == nil {
		return "success"
	}
	return e.Error()
}

// sameError compares the parts of two errors that are sent, except for metadata.
func sameError(got, want *Error) error {
	switch {
	case got == nil && want == nil:
		return nil
	case got == nil || want == nil:
		return fmt.Errorf("got %s, want %s", tell(got), tell(want))
	case got.code != want.code:
		return fmt.Errorf("got code %v, want %v", got.code, want.code)
	case got.Message() != want.Message():
		return fmt.Errorf("got message %q, want %q", got.Message(), want.Message())
	case len(got.details) != len(want.details):
		return fmt.Errorf("got %d details, want %d", len(got.details), len(want.details))
	}
	for i := range got.details {
		if got.details[i].typeURL != want.details[i].typeURL || got.details[i].value != want.details[i].value {
			return fmt.Errorf("detail %d: got %q, want %q", i, got.details[i], want.details[i])
		}
	}
	return nil
}

func TestEnds(t *testing.T) {
	all := map[string]*dialect{"get": dialectGet}
	for name, d := range dialects {
		all[name] = d
	}
	for name, d := range all {
		t.Run(name, func(t *testing.T) {
			randomly(t, 4000, func(t *testing.T, r *rand.Rand) {
				e := end{err: randomError(r)}
				if r.IntN(2) == 0 {
					e.trailer = randomHeader(r)
				}
				if e.err != nil {
					e.err.wire = r.IntN(4) == 0
				}
				sent := r.IntN(2) == 0
				if !d.framed && e.err != nil {
					sent = false // an unframed message is the last thing sent
				}
				got, metadata := passEnd(t, d, e, sent)

				want := e.err
				if want != nil {
					text := validUTF8(want.Message())
					want = &Error{code: want.code, details: want.details, cause: messageError(text)}
				}
				if err := sameError(got.err, want); err != nil {
					t.Error(err)
				}
				if got.err != nil && !got.err.wire {
					t.Errorf("got an error that the client found, want one that the server sent: %v", got.err)
				}
				wantMeta := make(http.Header)
				addHeader(wantMeta, e.trailer)
				if e.err != nil && !e.err.wire {
					addHeader(wantMeta, e.err.meta)
				}
				if d == dialectGet {
					wantMeta.Add(headerVary, headerAcceptEncoding)
				}
				if got, want := custom(t, metadata), custom(t, wantMeta); !sameHeader(got, want) {
					t.Errorf("metadata: got %q, want %q", got, want)
				}
				if !d.framed && !sameHeader(got.trailer, overTheWire(t, e.trailer)) {
					t.Errorf("trailers: got %q, want %q", got.trailer, e.trailer)
				}
			})
		})
	}
}

// validUTF8 returns a text as it is received: with U+FFFD for each byte that is not
// UTF-8.
func validUTF8(s string) string {
	return string([]rune(s))
}

// sameHeader compares headers; the order counts among the values of a key only,
// and not between an error's metadata and the trailers.
func sameHeader(a, b http.Header) bool {
	if len(a) != len(b) {
		return false
	}
	for key := range a {
		x, y := slices.Clone(a[key]), slices.Clone(b[key])
		slices.Sort(x)
		slices.Sort(y)
		if !slices.Equal(x, y) {
			return false
		}
	}
	return true
}

// TestEndOrder: several values of a key keep their order. [checklist 72]
func TestEndOrder(t *testing.T) {
	want := []string{"c", "a", "b", "a"}
	eachDialect(t, func(t *testing.T, d *dialect) {
		for _, sent := range []bool{false, true} {
			_, metadata := passEnd(t, d, end{trailer: http.Header{"X-Order": want}}, sent)
			if got := metadata["X-Order"]; !slices.Equal(got, want) {
				t.Errorf("sent %t: got %q, want %q", sent, got, want)
			}
		}
	})
}

// TestEndReserved: trailers of the application with the protocols' keys do not change
// the outcome. [checklist 51, 90]
func TestEndReserved(t *testing.T) {
	lie, err := NewErrorDetail(durationpb.New(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	reserved := http.Header{
		headerGRPCStatus:  {"0"},
		headerGRPCMessage: {"lie"},
		headerGRPCDetails: {EncodeBinaryHeader(appendStatus(nil, &Error{code: CodeAborted, details: []*ErrorDetail{lie}}))},
		headerContentType: {"text/html"},
	}
	eachDialect(t, func(t *testing.T, d *dialect) {
		for _, sent := range []bool{false, true} {
			for _, want := range []*Error{nil, NewError(CodeNotFound, errors.New("truth"))} {
				if !d.framed && want != nil && sent {
					continue
				}
				for _, e := range []end{{err: want, trailer: reserved}, {err: withMeta(want, reserved)}} {
					got, _ := passEnd(t, d, e, sent)
					if err := sameError(got.err, want); err != nil {
						t.Errorf("sent %t, trailer %t: %v", sent, e.trailer != nil, err)
					}
				}
			}
		}
	})
}

func withMeta(e *Error, meta http.Header) *Error {
	if e == nil {
		return nil
	}
	return &Error{code: e.code, cause: e.cause, meta: meta}
}

// TestEndCodes: an error whose code is not one of the sixteen stays an error.
func TestEndCodes(t *testing.T) {
	c := new(config)
	if got := c.outcome(NewError(0, errors.New("broken"))); got.code != CodeUnknown || got.Message() != "broken" {
		t.Errorf("code 0: got %v, want %v", got, CodeUnknown)
	}
	eachDialect(t, func(t *testing.T, d *dialect) {
		for _, code := range []Code{codeMax + 1, 99, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
			got, _ := passEnd(t, d, end{err: NewError(code, errors.New("broken"))}, d.framed)
			if got.err == nil || got.err.code != CodeUnknown {
				t.Errorf("code %d: got %s, want %v", code, tell(got.err), CodeUnknown)
			}
			e := NewError(code, errors.New("broken"))
			e.details = []*ErrorDetail{{typeURL: typeURLPrefix + "google.protobuf.Empty", value: ""}}
			got, _ = passEnd(t, d, end{err: e}, d.framed)
			if got.err == nil || got.err.code != CodeUnknown {
				t.Errorf("code %d with details: got %s, want %v", code, tell(got.err), CodeUnknown)
			}
		}
	})
}

// TestEndMinimal: an end that is too large is sent without details and metadata.
func TestEndMinimal(t *testing.T) {
	e := randomError(rand.New(rand.NewPCG(1, 1)))
	for e == nil || len(e.details) == 0 || len(e.meta) == 0 {
		e = randomError(rand.New(rand.NewPCG(rand.Uint64(), 1)))
	}
	got := end{err: e, trailer: http.Header{"X-Large": {strings.Repeat("a", 1000)}}}.minimal()
	if len(got.trailer) > 0 || len(got.err.details) > 0 || len(got.err.meta) > 0 {
		t.Errorf("got %+v, want code and message only", got)
	}
	if got.err.code != e.code || got.err.Message() != e.Message() {
		t.Errorf("got %v, want %v", got.err, e)
	}
	got = end{trailer: http.Header{"X-Large": {strings.Repeat("a", 1000)}}}.minimal()
	if got.err == nil || got.err.code != CodeResourceExhausted || len(got.trailer) > 0 {
		t.Errorf("trailers that are too large: got %+v, want %v", got, CodeResourceExhausted)
	}
}

// TestNotModified: a 304 is for GET only. [checklist 53]
func TestNotModified(t *testing.T) {
	e := end{err: NewNotModifiedError(http.Header{"Etag": {`"1"`}})}
	w := dialectGet.encodeEnd(e, false)
	if w.status != http.StatusNotModified || w.hasBody || len(w.body) > 0 || w.header.Get("Etag") != `"1"` || w.header.Get(headerContentType) != "" {
		t.Errorf("GET: got %+v, want an empty 304 with the ETag", w)
	}
	if got := dialectGet.decodeEnd(w); !IsNotModifiedError(got.err) {
		t.Errorf("GET: got %v, want a not-modified error", got.err)
	}
	w = dialectUnary.encodeEnd(e, false)
	if w.status != http.StatusInternalServerError || !w.hasBody {
		t.Errorf("POST: got %+v, want a 500 with a body", w)
	}
	if got := dialectUnary.decodeEnd(wireEnd{status: http.StatusNotModified, header: http.Header{}}); IsNotModifiedError(got.err) || got.err == nil {
		t.Errorf("a 304 to a POST: got %v, want another error", got.err)
	}
}

// TestMissingEnds: a body without its end is an error. [checklist 33, 63, 64]
func TestMissingEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		d    *dialect
		w    wireEnd
		want Code // 0 is success
	}{
		{"stream, nothing", dialectStream, wireEnd{status: 200}, CodeInternal},
		{"stream, empty frame", dialectStream, wireEnd{status: 200, hasBody: true}, CodeInternal},
		{"grpc, nothing", dialectGRPC, wireEnd{status: 200}, CodeInternal},
		{"grpc, trailers without status", dialectGRPC, wireEnd{trailer: http.Header{"X-A": {"b"}}}, CodeUnknown},
		{"grpc, header status after a body", dialectGRPC, wireEnd{header: http.Header{headerGRPCStatus: {"0"}}}, CodeInternal},
		{"grpc, header status, no body", dialectGRPC, wireEnd{header: http.Header{headerGRPCStatus: {"5"}}, empty: true}, CodeNotFound},
		{"grpc, trailer beats header", dialectGRPC, wireEnd{header: http.Header{headerGRPCStatus: {"5"}}, trailer: http.Header{headerGRPCStatus: {"0"}}, empty: true}, 0},
		{"web, nothing", dialectWeb, wireEnd{}, CodeInternal},
		{"web, empty frame", dialectWeb, wireEnd{hasBody: true}, CodeInternal},
		{"web, HTTP trailers do not count", dialectWeb, wireEnd{trailer: http.Header{headerGRPCStatus: {"0"}}}, CodeInternal},
		{"web, header status after a body", dialectWeb, wireEnd{header: http.Header{headerGRPCStatus: {"0"}}}, CodeInternal},
		{"web, header status, empty frame", dialectWeb, wireEnd{header: http.Header{headerGRPCStatus: {"5"}}, hasBody: true, empty: true}, CodeNotFound},
		{"web, header status, no body", dialectWeb, wireEnd{header: http.Header{headerGRPCStatus: {"5"}}, empty: true}, CodeNotFound},
		{"web, body beats header", dialectWeb, wireEnd{header: http.Header{headerGRPCStatus: {"5"}}, hasBody: true, body: []byte("grpc-status: 0\r\n"), empty: true}, 0},
		{"web, malformed", dialectWeb, wireEnd{hasBody: true, body: []byte("grpc-status\r\n")}, CodeInternal},
	} {
		got := c.d.decodeEnd(c.w)
		switch {
		case c.want == 0 && got.err != nil:
			t.Errorf("%s: got %v, want success", c.name, got.err)
		case c.want != 0 && (got.err == nil || got.err.code != c.want):
			t.Errorf("%s: got %v, want %v", c.name, got.err, c.want)
		}
	}
	if got := dialectStream.decodeEnd(wireEnd{}); !errors.Is(got.err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want io.ErrUnexpectedEOF in it", got.err)
	}
}
