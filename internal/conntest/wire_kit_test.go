// SPDX-License-Identifier: Apache-2.0

// This file is the kit of the raw-wire tests: bytes by hand, what differs between the dialects, and assertions.

package conntest

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// wireText is the message of nearly all raw-wire tests: in Protobuf field 1 holds the text, in JSON it is a bare string.
type wireText = wrapperspb.StringValue

const (
	wireProcedure = "/wire.v1.WireService/Call"

	// wirePatience bounds waits that only a defect makes long; no test passes because it ran out.
	wirePatience = 20 * time.Second

	flagCompressed = 0x01
	flagConnectEnd = 0x02
	flagWebTrailer = 0x80
)

// ---- bytes ----

// wireProto is text as a Protobuf message.
func wireProto(text string) []byte {
	if text == "" {
		return nil
	}
	data := protowire.AppendTag(nil, 1, protowire.BytesType)
	return protowire.AppendString(data, text)
}

// wireFrame is one envelope: a flag byte, a 4-byte big-endian length, the payload.
func wireFrame(flags byte, payload []byte) []byte {
	data := []byte{flags, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(data[1:], uint32(len(payload)))
	return append(data, payload...)
}

// wireMessages is one uncompressed Protobuf envelope for each text.
func wireMessages(texts ...string) []byte {
	var data []byte
	for _, text := range texts {
		data = append(data, wireFrame(0, wireProto(text))...)
	}
	return data
}

func wireJoin(parts ...[]byte) []byte { return slices.Concat(parts...) }

func wireGzip(data []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(data)
	_ = w.Close()
	return out.Bytes()
}

func wireGunzip(t *testing.T, data []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("gunzip %q: %v", data, err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("gunzip %q: %v", data, err)
	}
	return plain
}

type wireEnvelope struct {
	flags   byte
	payload []byte
}

// wireSplit cuts a body into its envelopes; the body must end on a boundary.
func wireSplit(t *testing.T, body []byte) []wireEnvelope {
	t.Helper()
	var envelopes []wireEnvelope
	for rest := body; len(rest) > 0; {
		if len(rest) < 5 {
			t.Fatalf("body %x ends inside a prefix", body)
		}
		size := int64(binary.BigEndian.Uint32(rest[1:5]))
		if int64(len(rest)-5) < size {
			t.Fatalf("body %x ends inside a payload", body)
		}
		envelopes = append(envelopes, wireEnvelope{rest[0], rest[5 : 5+size]})
		rest = rest[5+size:]
	}
	return envelopes
}

// wireHeader builds a header from names and values in turn; a repeated name keeps all its values.
func wireHeader(pairs ...string) http.Header {
	header := make(http.Header)
	for i := 0; i+1 < len(pairs); i += 2 {
		header.Add(pairs[i], pairs[i+1])
	}
	return header
}

// wireFields parses a gRPC-Web trailer block as HTTP/1 header fields.
func wireFields(t *testing.T, block []byte) http.Header {
	t.Helper()
	header := make(http.Header)
	for line := range strings.SplitSeq(strings.TrimSuffix(string(block), "\r\n"), "\r\n") {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			t.Fatalf("trailer block %q: line %q has no colon", block, line)
		}
		header.Add(textproto.TrimString(name), textproto.TrimString(value))
	}
	return header
}

// ---- dialects ----

// wireDialect is what differs between the three protocols at both ends of the wire.
type wireDialect struct {
	name   string
	client []connect.ClientOption
}

var (
	wireConnect = wireDialect{name: connect.ProtocolConnect}
	wireGRPC    = wireDialect{name: connect.ProtocolGRPC, client: []connect.ClientOption{connect.WithGRPC()}}
	wireGRPCWeb = wireDialect{name: connect.ProtocolGRPCWeb, client: []connect.ClientOption{connect.WithGRPCWeb()}}

	wireDialects = []wireDialect{wireConnect, wireGRPC, wireGRPCWeb}
	wireKinds    = []connect.StreamType{
		connect.StreamTypeUnary, connect.StreamTypeClient, connect.StreamTypeServer, connect.StreamTypeBidi,
	}
)

// framed reports whether messages of this kind travel in envelopes.
func (d wireDialect) framed(kind connect.StreamType) bool {
	return d.name != connect.ProtocolConnect || kind != connect.StreamTypeUnary
}

func (d wireDialect) contentType(kind connect.StreamType, codec string) string {
	switch {
	case d.name == connect.ProtocolGRPC:
		return "application/grpc+" + codec
	case d.name == connect.ProtocolGRPCWeb:
		return "application/grpc-web+" + codec
	case kind == connect.StreamTypeUnary:
		return "application/" + codec
	default:
		return "application/connect+" + codec
	}
}

func (d wireDialect) encodingHeader(kind connect.StreamType) string {
	switch {
	case d.name != connect.ProtocolConnect:
		return "Grpc-Encoding"
	case kind == connect.StreamTypeUnary:
		return "Content-Encoding"
	default:
		return "Connect-Content-Encoding"
	}
}

func (d wireDialect) acceptHeader(kind connect.StreamType) string {
	switch {
	case d.name != connect.ProtocolConnect:
		return "Grpc-Accept-Encoding"
	case kind == connect.StreamTypeUnary:
		return "Accept-Encoding"
	default:
		return "Connect-Accept-Encoding"
	}
}

// body puts the texts on the wire as Protobuf messages, in envelopes where the kind has them.
func (d wireDialect) body(kind connect.StreamType, texts ...string) []byte {
	if d.framed(kind) {
		return wireMessages(texts...)
	}
	return wireProto(texts[0])
}

// wireEach runs a subtest for every dialect and kind of stream.
func wireEach(t *testing.T, kinds []connect.StreamType, f func(*testing.T, wireDialect, connect.StreamType)) {
	t.Helper()
	for _, dialect := range wireDialects {
		for _, kind := range kinds {
			t.Run(dialect.name+"/"+kind.String(), func(t *testing.T) { f(t, dialect, kind) })
		}
	}
}

// wireEachFramed is wireEach without unary Connect calls, whose bodies are one message whatever their length.
func wireEachFramed(t *testing.T, kinds []connect.StreamType, f func(*testing.T, wireDialect, connect.StreamType)) {
	t.Helper()
	for _, dialect := range wireDialects {
		for _, kind := range kinds {
			if dialect.framed(kind) {
				t.Run(dialect.name+"/"+kind.String(), func(t *testing.T) { f(t, dialect, kind) })
			}
		}
	}
}

// ---- assertions ----

// wantFault fails unless err is a *connect.Error with one of the codes.
func wantFault(t *testing.T, err error, codes ...connect.Code) {
	t.Helper()
	if err == nil {
		t.Fatalf("error: got none, want code %v", codes)
	}
	var coded *connect.Error
	if !errors.As(err, &coded) {
		t.Fatalf("error: got %T %v, want *connect.Error with code %v", err, err, codes)
	}
	if !slices.Contains(codes, coded.Code()) {
		t.Fatalf("code: got %v (%v), want %v", coded.Code(), err, codes)
	}
}

// wantEnd fails unless the server ended the call with one of the codes.
func wantEnd(t *testing.T, end wireEnd, codes ...connect.Code) {
	t.Helper()
	if !slices.Contains(codes, end.code) {
		t.Fatalf("code on the wire: got %v (%q), want %v", end.code, end.message, codes)
	}
}

func wantTexts(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("messages: got %q, want %q", got, want)
	}
}

func wantSame[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// wantRefusal fails the test unless a response is a line of text that begins with the procedure's path: no client takes it for a
// message or an error of a protocol.
func wantRefusal(t *testing.T, header http.Header, body []byte) {
	t.Helper()
	wantSame(t, "content type", header.Get("Content-Type"), "text/plain; charset=utf-8")
	wantSame(t, "options", header.Get("X-Content-Type-Options"), "nosniff")
	if line, rest, ok := strings.Cut(string(body), "\n"); !ok || rest != "" || !strings.HasPrefix(line, wireProcedure+" ") {
		t.Fatalf("body: got %q, want a line on %s", body, wireProcedure)
	}
}

func wantContains(t *testing.T, what, got, part string) {
	t.Helper()
	if !strings.Contains(got, part) {
		t.Fatalf("%s: got %q, want something with %q", what, got, part)
	}
}

// within runs f and fails when it does not return; only a defect makes it wait.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(wirePatience):
		t.Fatalf("%s: still blocked after %v", what, wirePatience)
	}
}
