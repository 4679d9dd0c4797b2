// SPDX-License-Identifier: Apache-2.0

// The small parts: subjects, fields, the buffer, errors, options.

package natsrpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/internal/tried"
)

func TestSubjects(t *testing.T) {
	for _, test := range []struct{ prefix, path, want string }{
		{"rpc", "/acme.v1.Service/Do_It2", "rpc.acme.v1.Service.Do_It2"},
		{"acme-eu.rpc", "/S/M", "acme-eu.rpc.S.M"},
		{"", "/S/M", ""}, {"a..b", "/S/M", ""}, {"a.*", "/S/M", ""}, {"a b", "/S/M", ""}, {">", "/S/M", ""}, {".a", "/S/M", ""}, {"a:80", "/S/M", ""},
		{"rpc", "", ""}, {"rpc", "/", ""}, {"rpc", "/S", ""}, {"rpc", "S/M", ""}, {"rpc", "/S/", ""}, {"rpc", "//M", ""}, {"rpc", "/S/M/", ""}, {"rpc", "/api/S/M", ""},
		{"rpc", "/S.*/M", ""}, {"rpc", "/S/*", ""}, {"rpc", "/S/>", ""}, {"rpc", "/S/M.N", ""}, {"rpc", "/S /M", ""}, {"rpc", "/S\t/M", ""}, {"rpc", "/S\r\n/M", ""},
		{"rpc", "/S..T/M", ""}, {"rpc", "/.S/M", ""}, {"rpc", "/S./M", ""}, {"rpc", "/é.S/M", ""}, {"rpc", "/$SRV.S/M", ""},
		{"rpc", "/" + strings.Repeat("a", maxName) + "/M", ""},
	} {
		got, err := subjectOf(test.prefix, test.path)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%q, %q: got %q and error %v, want %q", test.prefix, test.path, got, err, test.want)
		}
		if test.want == "" {
			continue
		}
		if path, err := pathOf(test.prefix, got); path != test.path || err != nil {
			t.Errorf("%q: got path %q and error %v, want %q", got, path, err, test.path)
		}
	}
	for _, subject := range []string{"", "rpc", "rpc.", "rpc.M", "rpc..M", "other.S.M", "rpc.S.M N"} {
		if path, err := pathOf("rpc", subject); err == nil {
			t.Errorf("%q: got path %q, want an error", subject, path)
		}
	}
}

func FuzzSubject(f *testing.F) {
	f.Add("rpc", "/acme.v1.S/M")
	f.Add("a.b", "/S/*")
	f.Fuzz(func(t *testing.T, prefix, path string) {
		subject, err := subjectOf(prefix, path)
		if err != nil {
			return
		}
		if strings.ContainsAny(subject, " *>\t\r\n") || strings.Contains(subject, "..") {
			t.Fatalf("got subject %q, want no wildcards and blanks", subject)
		}
		if again, err := pathOf(prefix, subject); err != nil || again != path {
			t.Fatalf("got path %q and error %v, want %q", again, err, path)
		}
	})
}

// No HTTP field becomes one of this protocol or of NATS, in either direction.
func TestFieldHygiene(t *testing.T) {
	from := http.Header{
		"nats-msg-id": {"1"}, "Nats-Trace-Dest": {"x"}, "NATS-Expected-Stream": {"x"}, "Rpc-Status": {"200"}, "rPC-Window": {"9"},
		"Connection": {"close"}, "Transfer-Encoding": {"x"}, "x-lower": {"1"}, "X-Lower": {"2"}, "Content-Type": {"a/b"}, "X-Empty": {""},
	}
	h := make(nats.Header)
	if err := packFields(h, "", from, nil); err != nil {
		t.Fatal(err)
	}
	got := http.Header(h)
	if values := got["X-Lower"]; len(values) != 2 {
		t.Errorf("got values %q, want both", values)
	}
	delete(got, "X-Lower")
	if want := (http.Header{"Content-Type": {"a/b"}, "X-Empty": {""}}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, bad := range []http.Header{{"A b": {"1"}}, {"": {"1"}}, {"A": {"x\r\nNats-Msg-Id: 1"}}, {"A": {"\x00"}}, {"A:": {"1"}}} {
		if err := packFields(make(nats.Header), "", bad, nil); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%q: got %v, want invalid_argument", bad, err)
		}
	}
	back := parseFields(nats.Header{
		"nats-msg-id": {"1"}, "Rpc-Status": {"200"}, "content-type": {"a/b"}, "bad name": {"1"}, "X": {"a\x00b", "c"}, "Rpc-Trailer-Y": {"1"},
	}, "")
	if want := (http.Header{"Content-Type": {"a/b"}, "X": {"c"}}); !reflect.DeepEqual(back, want) {
		t.Errorf("got %v, want %v", back, want)
	}
	trailers := parseFields(nats.Header{"rpc-trailer-x": {"1"}, "Rpc-Trailer-": {"2"}, "Rpc-Trailer-Rpc-Status": {"3"}, "Rpc-Trailer-Nats-Y": {"4"}, "Z": {"5"}}, fieldTrailerPrefix)
	if want := (http.Header{"X": {"1"}}); !reflect.DeepEqual(trailers, want) {
		t.Errorf("got %v, want %v", trailers, want)
	}
}

// A peer may list as many trailers as fit into a header. The work is not the square of that:
// then this test would take minutes.
func TestAnnounced(t *testing.T) {
	var all strings.Builder
	const n = 1 << 18
	for i := range n {
		all.WriteString(strconv.Itoa(i) + ", ")
	}
	got := announced([]string{all.String(), "x-a, X-A,, content-length,Trailer", "transfer-encoding"})
	if _, ok := got["X-A"]; !ok || len(got) != n+1 {
		t.Errorf("got %d keys, X-A is %v, want it and %d others", len(got), ok, n)
	}
	if got := announced([]string{"", "Trailer"}); got != nil {
		t.Errorf("got %v, want nothing", got)
	}
}

func TestHeaderSize(t *testing.T) {
	h := nats.Header{"A": {"b", "cd"}, "Long": {""}}
	if got, want := headerSize(h), len("NATS/1.0\r\nA: b\r\nA: cd\r\nLong: \r\n\r\n"); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
	if err := checkHeader(h, headerSize(h)+frameOverhead-1); connect.CodeOf(err) != connect.CodeResourceExhausted {
		t.Errorf("got %v, want resource_exhausted", err)
	}
}

// The buffer gives back what it got, and holds little more memory than that.
func TestBuffer(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 5))
		var b buffer
		var want, got []byte
		for range 300 {
			if r.IntN(2) == 0 {
				p := make([]byte, []int{0, 1, 7, 500, partSize, 3 * partSize}[r.IntN(6)])
				for i := range p {
					p[i] = byte(r.Uint32())
				}
				want = append(want, p...)
				b.add(p)
			} else {
				p := make([]byte, r.IntN(2*partSize))
				got = append(got, p[:b.read(p)]...)
			}
			held := 0
			for _, part := range b.parts {
				held += cap(part)
			}
			if limit := 2*(len(want)-len(got)) + 4*partSize; b.own > 0 && held > 3*limit {
				t.Fatalf("seed %d: got %d bytes of memory for %d, want at most %d", seed, held, len(want)-len(got), 3*limit)
			}
		}
		for p := make([]byte, 1000); ; {
			n := b.read(p)
			if n == 0 {
				break
			}
			got = append(got, p[:n]...)
		}
		if !bytes.Equal(got, want) || len(b.parts) != 0 {
			t.Fatalf("seed %d: got %d bytes, want the %d that were added", seed, len(got), len(want))
		}
	}
	var b buffer
	for range 10_000 { // single bytes share memory
		b.add([]byte{1})
	}
	if got := len(b.parts); got > 10_000/partSize+2 {
		t.Errorf("got %d parts for 10000 bytes, want them together", got)
	}
}

func TestResetOf(t *testing.T) {
	for _, test := range []struct {
		err         error
		code        connect.Code
		unprocessed bool
		text        string
	}{
		{context.Canceled, connect.CodeCanceled, false, "context canceled"},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), connect.CodeDeadlineExceeded, false, "x: context deadline exceeded"},
		{errorf(connect.CodeInternal, "broken"), connect.CodeInternal, false, "broken"},
		{unprocessed(connect.CodeUnavailable, "full"), connect.CodeUnavailable, true, "full"},
		{errors.New("some error"), connect.CodeUnknown, false, "some error"},
	} {
		r, err := parseReset(packReset(resetOf(test.err)))
		if want := (reset{test.code, test.unprocessed, test.text}); err != nil || r != want {
			t.Errorf("%v: got %+v and error %v, want %+v", test.err, r, err, want)
		}
		if got := errorOf(r, "server"); connect.CodeOf(got) != test.code || tried.Unprocessed(got) != test.unprocessed {
			t.Errorf("%v: got %v, want its code and proof", test.err, got)
		}
	}
}

func TestPublishErrors(t *testing.T) {
	for err, want := range map[error]connect.Code{
		nats.ErrMaxPayload: connect.CodeResourceExhausted, nats.ErrHeadersNotSupported: connect.CodeFailedPrecondition,
		nats.ErrConnectionClosed: connect.CodeUnavailable, nats.ErrReconnectBufExceeded: connect.CodeUnavailable, nats.ErrBadSubject: connect.CodeInternal,
	} {
		if got := publishError(err); connect.CodeOf(got) != want || !errors.Is(got, err) {
			t.Errorf("%v: got %v, want %v", err, got, want)
		}
	}
}

func TestParseViolation(t *testing.T) {
	for text, want := range map[string]string{
		`Permissions Violation for Publish to "rpc.S.M"`:                      "true rpc.S.M true",
		`Permissions Violation for Subscription to "rpc.S.*" using queue "q"`: "false rpc.S.* true",
		`Permissions Violation`: "false  false",
	} {
		publish, subject, ok := parseViolation(fmt.Errorf("%w: %s", nats.ErrPermissionViolation, text))
		if got := fmt.Sprint(publish, " ", subject, " ", ok); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if _, _, ok := parseViolation(errors.New(`Permissions Violation for Publish to "a"`)); ok {
		t.Error("got a violation of another error, want none")
	}
}

func TestOptionPanics(t *testing.T) {
	for want, f := range map[string]func(){
		"Window(1)":                    func() { Window(1) },
		"Window(2147483648)":           func() { Window(1 << 31) },
		"KeepAlive(0s)":                func() { KeepAlive(0) },
		"Prefix: ":                     func() { Prefix("a.*") },
		"Queue: ":                      func() { Queue("") },
		"Services: ":                   func() { Services("acme v1") },
		"MaxCalls(0)":                  func() { MaxCalls(0) },
		"ErrorLog: ":                   func() { ErrorLog(nil) },
		"NewTransport: the connection": func() { NewTransport(nil) },
		"MaxPending(0)":                func() { MaxPending(0) },
		"OnPoison: ":                   func() { OnPoison(nil) },
		"Parallel(0)":                  func() { Parallel(0) },
		"Redelivery(0, 0s)":            func() { Redelivery(0, 0) },
		"DeadLetters: the JetStream":   func() { DeadLetters(nil, "a") },
		"OnFailure: ":                  func() { OnFailure(nil) },
		"NewGateway: the transport":    func() { NewGateway(nil, "rpc") },
		"NewGateway: invalid":          func() { NewGateway(NewTransport(new(nats.Conn)), "a*") },
		"Serve: the connection":        func() { _, _ = Serve(nil, http.NotFoundHandler()) },
		"Serve: the handler":           func() { _, _ = Serve(new(nats.Conn), nil) },
		"NewTransport: an option":      func() { NewTransport(new(nats.Conn), nil) },
		"Serve: an option":             func() { _, _ = Serve(new(nats.Conn), http.NotFoundHandler(), nil) },
		"NewEvent: an option":          func() { _, _ = NewEvent("a", nil, nil) },
		"Subscribe: an option":         func() { events([]EventOption{nil}) },
	} {
		func() {
			defer func() {
				if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), want) {
					t.Errorf("got %v, want a panic with %q", v, want)
				}
			}()
			f()
		}()
	}
}

// bodyStream returns a server's stream whose OPEN had no bytes, and a function that has it
// take the next frame.
func bodyStream(t *testing.T) (*stream, func(end bool, body string, h nats.Header) *nats.Msg) {
	t.Helper()
	l, err := acquire(connectQuiet(t), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.release)
	st := newStream(l, testWindow, time.Hour)
	st.s.server, st.s.opened, st.peer = true, true, "_INBOX.a.1"
	seq := uint64(0)
	return st, func(end bool, body string, h nats.Header) *nats.Msg {
		m := &nats.Msg{Reply: st.peer, Header: h, Data: appendFrame(nil, frame{kind: frameData, end: end, seq: seq, payload: []byte(body)})}
		seq++
		f, err := parseFrame(m.Data)
		if err != nil || !st.handle(m, f) {
			t.Fatalf("got error %v, want the frame to be taken", err)
		}
		return m
	}
}

// Neither side gets more bytes than the other declares, nor takes fewer for the whole body.
func TestDeclaredLength(t *testing.T) {
	for body, test := range map[string]struct {
		got string
		err error
	}{"abc": {"abc", nil}, "ab": {"ab", errCutBody}, "abcd": {"abc", errLongBody}} {
		for _, client := range []bool{false, true} {
			st, take := bodyStream(t)
			r := &http.Request{Method: http.MethodPost, ContentLength: 3}
			var b io.Reader = &requestBody{st, r, bodyLength{left: 3}}
			if client {
				st.client, st.s.server, st.s.headed, st.s.accepted = true, false, true, true
				st.head = nats.Header{fieldStatus: {"200"}, "Content-Length": {"3"}}
				b = st.response(r, st.head, func() bool { return true }).Body
			}
			take(false, body[:1], nil)
			take(true, body[1:], nil)
			for n, want := range []string{test.got, ""} { // the error stays
				got, err := io.ReadAll(b)
				if string(got) != want || err != test.err {
					t.Errorf("%q, client %v, time %d: got %q and error %v, want %q and %v", body, client, n, got, err, want, test.err)
				}
			}
		}
	}
	// A response without a body may have the length that another one would have.
	for method, status := range map[string]string{http.MethodHead: "200", http.MethodGet: "304"} {
		st, take := bodyStream(t)
		st.client, st.s.server, st.s.headed, st.s.accepted = true, false, true, true
		st.head = nats.Header{fieldStatus: {status}, "Content-Length": {"3"}}
		take(true, "", nil)
		if _, err := io.ReadAll(st.response(&http.Request{Method: method}, st.head, func() bool { return true }).Body); err != nil {
			t.Errorf("%s with status %s: got error %v, want none", method, status, err)
		}
	}
}

// A part of a body does not hold the message in which it came if that has a large header:
// otherwise a peer could fill a window with messages of a few bytes of body each.
func TestLargeHeaderIsNotHeld(t *testing.T) {
	st, take := bodyStream(t)
	want := bytes.Repeat([]byte("a"), partSize)
	for _, size := range []int{0, 100 << 10} { // of the header
		m := take(false, string(want), nats.Header{"A": {strings.Repeat("x", size)}})
		clear(m.Data) // which shows whose memory the buffer has
		got := make([]byte, partSize)
		if n, err := st.readBody(got); n != partSize || err != nil {
			t.Fatalf("got %d bytes and error %v, want %d", n, err, partSize)
		}
		if held := !bytes.Equal(got, want); held != (size == 0) {
			t.Errorf("header of %d bytes: the message is held: %v", size, held)
		}
	}
}
