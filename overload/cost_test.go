// SPDX-License-Identifier: Apache-2.0

// What a refused call costs a server, beside one that is let in: with the connection, and
// without the work of a client.

package overload_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"log"
	"net"
	"net/http"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-b7c59c10/connect/h2"
	"github.com/seed-b7c59c10/connect/overload"
)

// A wire is a client that does next to nothing: it sends requests that were encoded before,
// and reads no more of the responses than where they end.
type wire struct {
	nc     net.Conn
	r      *bufio.Reader
	block  []byte // the header block of the next request
	again  []byte // that of all but the first: as clients do, it has the fields from the table
	body   []byte
	nextID uint32
	out    []byte
}

const (
	frameData, frameHeaders, frameSettings, frameWindowUpdate = 0, 1, 4, 8
	flagEndStream, flagAck, flagEndHeaders                    = 1, 1, 4
)

func appendFrame(b []byte, kind, flags byte, id uint32, payload []byte) []byte {
	b = append(b, byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload)), kind, flags)
	b = binary.BigEndian.AppendUint32(b, id)
	return append(b, payload...)
}

// appendField adds a field to a block, and to the server's table. [RFC 7541, section 6.2.1]
func appendField(b []byte, name, value string) []byte {
	b = append(b, 0x40, byte(len(name)))
	b = append(b, name...)
	b = append(b, byte(len(value)))
	return append(b, value...)
}

func newWire(nc net.Conn, contentType string) (*wire, error) {
	w := &wire{nc: nc, r: bufio.NewReaderSize(nc, 1<<16), nextID: 1}
	fields := [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "test.local"}, {":path", pathUnary}, {"content-type", contentType}, {"te", "trailers"}, {"user-agent", "test"}}
	for i, f := range fields {
		w.block = appendField(w.block, f[0], f[1])
		w.again = append(w.again, 0x80|byte(62+len(fields)-1-i)) // 62 is what was added last [RFC 7541, sections 2.3.3, 6.1]
	}
	message, err := proto.Marshal(wrapperspb.String("a"))
	if err != nil {
		return nil, err
	}
	if contentType != "application/proto" {
		w.body = binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	}
	w.body = append(w.body, message...)
	start := appendFrame([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frameSettings, 0, 0, nil)
	start = appendFrame(start, frameWindowUpdate, 0, 0, []byte{0x7f, 0, 0, 0})
	_, err = nc.Write(start)
	return w, err
}

// calls makes n calls at once, and returns when all have ended.
func (w *wire) calls(n int) error {
	w.out = w.out[:0]
	for range n {
		w.out = appendFrame(w.out, frameHeaders, flagEndHeaders, w.nextID, w.block)
		w.out = appendFrame(w.out, frameData, flagEndStream, w.nextID, w.body)
		w.nextID += 2
		w.block = w.again
	}
	if _, err := w.nc.Write(w.out); err != nil {
		return err
	}
	for n > 0 {
		head, err := w.r.Peek(9)
		if err != nil {
			return err
		}
		kind, flags := head[3], head[4]
		if _, err := w.r.Discard(9 + int(head[0])<<16 + int(head[1])<<8 + int(head[2])); err != nil {
			return err
		}
		switch {
		case kind == frameSettings && flags&flagAck == 0:
			if _, err := w.nc.Write(appendFrame(nil, frameSettings, flagAck, 0, nil)); err != nil {
				return err
			}
		case (kind == frameHeaders || kind == frameData) && flags&flagEndStream != 0:
			n--
		}
	}
	return nil
}

// BenchmarkServer is the CPU time of a server for a call that is let in and answered by a
// handler that does nothing, and for one that is refused: one call after the other, and 64
// at once over a connection. That of the client is in it, and is small.
func BenchmarkServer(b *testing.B) {
	for _, contentType := range []string{"application/proto", "application/grpc", "application/grpc-web"} {
		for _, atOnce := range []int{1, 64} {
			for _, c := range []struct {
				name string
				h    http.Handler
			}{
				{"let in", overload.Handler(new(service).handler())},
				{"refused", overload.Handler(new(service).handler(), overload.Rate(1e-9, 1, nil))},
			} {
				b.Run(contentType+"/"+map[int]string{1: "one", 64: "64 at once"}[atOnce]+"/"+c.name, func(b *testing.B) {
					listener, err := net.Listen("tcp", "localhost:0")
					if err != nil {
						b.Fatal(err)
					}
					server := &http.Server{Handler: c.h, ErrorLog: log.New(io.Discard, "", 0)}
					if err := h2.ConfigureServer(server, nil); err != nil {
						b.Fatal(err)
					}
					go func() { _ = server.Serve(listener) }()
					defer server.Close()
					nc, err := net.Dial("tcp", listener.Addr().String())
					if err != nil {
						b.Fatal(err)
					}
					defer nc.Close()
					w, err := newWire(nc, contentType)
					if err == nil {
						err = w.calls(1)
					}
					if err != nil {
						b.Fatal(err)
					}
					b.ReportAllocs()
					b.ResetTimer()
					began := cpuTime()
					for left := b.N; left > 0; left -= atOnce {
						if err := w.calls(min(left, atOnce)); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(cpuTime()-began)/float64(b.N), "cpu-ns/op")
				})
			}
		}
	}
}
