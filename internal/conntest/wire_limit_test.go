// SPDX-License-Identifier: Apache-2.0

// This file tests items 25 to 27 of the checklist: limits, and that they bound the work that hostile input causes.

package conntest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed-b7c59c10/connect"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	wireBuffer = 64 << 10  // the largest buffer a conn may fill before it looks at a limit
	wireDrain  = 256 << 10 // the most that may be read only to throw it away

	wireTooMuch = 64 << 20 // where endless input gives up, so that a defect fails instead of hanging
)

// endless is a decompressor without end, nearly, that counts what it has produced.
type endless struct{ inflated *atomic.Int64 }

func (e endless) Read(p []byte) (int, error) {
	if e.inflated.Load() > wireTooMuch {
		return 0, errors.New("inflated far too much")
	}
	clear(p)
	e.inflated.Add(int64(len(p)))
	return len(p), nil
}

func (endless) Close() error          { return nil }
func (endless) Reset(io.Reader) error { return nil }

// stored is gzip that does not make its input smaller.
func stored(data []byte) []byte {
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, gzip.NoCompression)
	_, _ = w.Write(data)
	_ = w.Close()
	return out.Bytes()
}

func TestItem25_ReadMaxBytes(t *testing.T) {
	const limit = 100
	fits, over := wireProto(strings.Repeat("a", 98)), wireProto(strings.Repeat("a", 99))
	for _, test := range []struct {
		name       string
		payload    []byte
		compressed bool
		code       connect.Code
	}{
		{"equal", fits, false, 0},
		{"one more", over, false, connect.CodeResourceExhausted},
		{"inflated equal", wireGzip(fits), true, 0},
		{"inflated one more", wireGzip(over), true, connect.CodeResourceExhausted},
		{"inflated far more", wireGzip(wireProto(strings.Repeat("a", 1<<20))), true, connect.CodeResourceExhausted},
		{"wire size", stored(fits), true, connect.CodeResourceExhausted},
	} {
		wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
			body, pairs := test.payload, []string(nil)
			flags := byte(0)
			if test.compressed {
				pairs, flags = []string{dialect.encodingHeader(kind), "gzip"}, flagCompressed
			}
			if dialect.framed(kind) {
				body = wireFrame(flags, body)
			}
			t.Run("server/"+test.name, func(t *testing.T) {
				pairs := append(pairs, dialect.acceptHeader(kind), "identity")
				reply := wirePost(t, wireEcho(kind, connect.WithReadMaxBytes(limit)), dialect.contentType(kind, "proto"), body, pairs...)
				if test.code != 0 && !dialect.framed(kind) {
					wantSame(t, "HTTP status", reply.status, http.StatusTooManyRequests)
				}
				if test.code == 0 {
					_, texts := wireDecode(t, dialect, kind, reply)
					wantTexts(t, texts, strings.Repeat("a", 98))
					return
				}
				wantEnd(t, dialect.end(t, kind, reply), test.code)
			})
			t.Run("client/"+test.name, func(t *testing.T) {
				answer := dialect.answer(kind, "")
				rest, _ := io.ReadAll(answer.body)
				if dialect.framed(kind) {
					rest = rest[5:]
				}
				answer.body = bytes.NewReader(wireJoin(body, rest))
				if test.compressed {
					answer.header.Set(dialect.encodingHeader(kind), "gzip")
				}
				out := dialect.call(t, kind, answer, connect.WithReadMaxBytes(limit))
				if test.code == 0 {
					if out.err != nil {
						t.Fatal(out.err)
					}
					wantTexts(t, out.texts, strings.Repeat("a", 98))
					return
				}
				wantFault(t, out.err, test.code)
				wantTexts(t, out.texts)
			})
		})
	}
}

// A response head of "error" is limited like any message.
func TestItem25_ReadMaxBytesOfErrors(t *testing.T) {
	long := `{"code":"aborted","message":"` + strings.Repeat("x", 1000) + `"}`
	out := wireConnect.call(t, connect.StreamTypeUnary, wireAnswer{
		status: 409, header: wireHeader("Content-Type", "application/json"), body: strings.NewReader(long),
	}, connect.WithReadMaxBytes(100))
	// Either the limit is reported, or the code that the HTTP status gives; the long text is not taken.
	wantFault(t, out.err, connect.CodeResourceExhausted, connect.CodeUnknown)
	if len(out.err.Error()) > 500 {
		t.Errorf("error of %d bytes under a limit of 100", len(out.err.Error()))
	}
}

// Decision (17, 18, 25, 26): inflating stops at the limit, give or take one buffer.
func TestItem25_InflatingStopsAtTheLimit(t *testing.T) {
	const limit = 1024
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		var inflated atomic.Int64
		newEndless := func() connect.Decompressor { return endless{&inflated} }
		newCompressor := func() connect.Compressor { return &xorCompressor{} }
		body := []byte("bomb")
		if dialect.framed(kind) {
			body = wireFrame(flagCompressed, body)
		}

		reply := wirePost(t, wireEcho(kind, connect.WithReadMaxBytes(limit), connect.WithCompressMinBytes(1<<20),
			connect.WithCompression("endless", newEndless, newCompressor)),
			dialect.contentType(kind, "proto"), body, dialect.encodingHeader(kind), "endless", dialect.acceptHeader(kind), "identity")
		wantEnd(t, dialect.end(t, kind, reply), connect.CodeResourceExhausted)
		if got := inflated.Load(); got <= limit || got > limit+wireBuffer {
			t.Errorf("server inflated %d bytes, want more than %d and at most %d", got, limit, limit+wireBuffer)
		}

		inflated.Store(0)
		answer := dialect.raw(kind, body)
		answer.header.Set(dialect.encodingHeader(kind), "endless")
		out := dialect.call(t, kind, answer, connect.WithReadMaxBytes(limit), connect.WithAcceptCompression("endless", newEndless, newCompressor))
		wantFault(t, out.err, connect.CodeResourceExhausted)
		if got := inflated.Load(); got <= limit || got > limit+wireBuffer {
			t.Errorf("client inflated %d bytes, want more than %d and at most %d", got, limit, limit+wireBuffer)
		}
	})
}

// allocated runs f and returns how many bytes were allocated meanwhile.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// What a prefix or a Content-Length claims is not allocated before it arrives, not even without a limit.
func TestItem25_ClaimedSizeIsNotAllocated(t *testing.T) {
	const most = 32 << 20
	claim := append([]byte{0, 0xff, 0xff, 0xff, 0xff}, "only this"...)
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		unlimited := connect.WithReadMaxBytes(0)
		handler := wireEcho(kind, unlimited)
		body := claim
		if !dialect.framed(kind) {
			body = wireProto("short")
		}
		if got := allocated(func() {
			req := httptest.NewRequest(http.MethodPost, wireProcedure, bytes.NewReader(body))
			req.Proto, req.ProtoMajor, req.ProtoMinor = "HTTP/2.0", 2, 0
			req.ContentLength = 1 << 32
			req.Header.Set("Content-Type", dialect.contentType(kind, "proto"))
			handler.ServeHTTP(httptest.NewRecorder(), req)
		}); got > most {
			t.Errorf("server allocated %d bytes for a claim of 4 GiB, want at most %d", got, most)
		}
		if got := allocated(func() {
			out := dialect.call(t, kind, wireScript(func(req *http.Request) (*http.Response, error) {
				_, _ = io.Copy(io.Discard, req.Body)
				_ = req.Body.Close()
				res, _ := dialect.raw(kind, body).response(req)
				res.ContentLength = 1 << 32
				return res, nil
			}), unlimited)
			if dialect.framed(kind) {
				wantFault(t, out.err, connect.CodeInternal)
			}
		}); got > most {
			t.Errorf("client allocated %d bytes for a claim of 4 GiB, want at most %d", got, most)
		}
	})
}

func TestItem26_LimitInTheMiddleOfAStream(t *testing.T) {
	const limit = 10
	fits, over := "12345678", "123456789"
	for _, dialect := range wireDialects {
		for _, kind := range []connect.StreamType{connect.StreamTypeClient, connect.StreamTypeBidi} {
			t.Run(dialect.name+"/"+kind.String(), func(t *testing.T) {
				reply := wirePost(t, wireEcho(kind, connect.WithReadMaxBytes(limit)), dialect.contentType(kind, "proto"),
					wireMessages(fits, fits, over, fits))
				end := dialect.end(t, kind, reply)
				wantEnd(t, end, connect.CodeResourceExhausted)
				if kind == connect.StreamTypeBidi {
					wantTexts(t, end.texts(t), fits, fits)
				}
			})
		}
		for _, kind := range []connect.StreamType{connect.StreamTypeServer, connect.StreamTypeBidi} {
			t.Run(dialect.name+"/client/"+kind.String(), func(t *testing.T) {
				out := dialect.call(t, kind, dialect.answer(kind, fits, fits, over, fits), connect.WithReadMaxBytes(limit))
				wantFault(t, out.err, connect.CodeResourceExhausted)
				wantTexts(t, out.texts, fits, fits)
			})
		}
	}
}

func TestItem27_LargeErrorUnderSendMaxBytes(t *testing.T) {
	const limit = 200
	wireEach(t, wireKinds, func(t *testing.T, dialect wireDialect, kind connect.StreamType) {
		failure := func(size int) error {
			err := connect.NewError(connect.CodeAborted, errors.New("short text"))
			detail, detailErr := connect.NewErrorDetail(wrapperspb.String(strings.Repeat("d", size)))
			if detailErr != nil {
				t.Fatal(detailErr)
			}
			err.AddDetail(detail)
			err.Meta().Set("X-Large", strings.Repeat("m", size))
			return err
		}
		send := func(size int) wireEnd {
			reply := wirePost(t, wireFail(kind, failure(size), connect.WithSendMaxBytes(limit)), dialect.contentType(kind, "proto"),
				dialect.body(kind, "hi"), dialect.acceptHeader(kind), "identity")
			return dialect.end(t, kind, reply)
		}
		end := send(1000)
		wantEnd(t, end, connect.CodeAborted)
		wantSame(t, "message", end.message, "short text")
		wantSame(t, "details", end.details, 0)
		if dialect.framed(kind) {
			wantSame(t, "metadata in the trailers", end.trailer.Get("X-Large"), "")
		}
		end = send(1)
		wantEnd(t, end, connect.CodeAborted)
		wantSame(t, "details of a small error", end.details, 1)
	})
}
