// SPDX-License-Identifier: Apache-2.0

// The writing half of a rawPeer: frames in the order and shape that a test needs, also
// against the rules.

package h2_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// write sends frames. Once that has failed nothing more is sent.
func (p *rawPeer) write(f func(w *http2.Framer) error) {
	p.writing.Lock()
	defer p.writing.Unlock()
	if p.broken == nil {
		_ = p.conn.SetWriteDeadline(time.Now().Add(patience))
		p.broken = f(p.framer)
	}
}

// writable reports whether the server still takes what is sent.
func (p *rawPeer) writable() bool {
	p.writing.Lock()
	defer p.writing.Unlock()
	if p.broken != nil && !errors.Is(p.broken, syscall.EPIPE) && !errors.Is(p.broken, net.ErrClosed) {
		p.t.Fatalf("writing: %v", p.broken)
	}
	return p.broken == nil
}

// bytes sends what need not be frames.
func (p *rawPeer) bytes(b string) {
	p.write(func(*http2.Framer) error {
		_, err := io.WriteString(p.conn, b)
		return err
	})
}

// preface sends the client's preface in one piece: the reading goroutine may have
// something to acknowledge in between.
func (p *rawPeer) preface(settings ...http2.Setting) {
	p.write(func(w *http2.Framer) error {
		if _, err := io.WriteString(p.conn, http2.ClientPreface); err != nil {
			return err
		}
		return w.WriteSettings(settings...)
	})
}

func (p *rawPeer) settings(settings ...http2.Setting) {
	p.write(func(w *http2.Framer) error { return w.WriteSettings(settings...) })
}

func (p *rawPeer) ping(data [8]byte) {
	p.write(func(w *http2.Framer) error { return w.WritePing(false, data) })
}

func (p *rawPeer) data(id uint32, end bool, b []byte) {
	p.write(func(w *http2.Framer) error { return w.WriteData(id, end, b) })
}

func (p *rawPeer) reset(id uint32, code http2.ErrCode) {
	p.write(func(w *http2.Framer) error { return w.WriteRSTStream(id, code) })
}

func (p *rawPeer) window(id, increase uint32) {
	p.write(func(w *http2.Framer) error { return w.WriteWindowUpdate(id, increase) })
}

func (p *rawPeer) priority(id, on uint32) {
	p.write(func(w *http2.Framer) error { return w.WritePriority(id, http2.PriorityParam{StreamDep: on}) })
}

func (p *rawPeer) goAway(last uint32, code http2.ErrCode) {
	p.write(func(w *http2.Framer) error { return w.WriteGoAway(last, code, nil) })
}

// raw sends a frame of any type with any payload.
func (p *rawPeer) raw(kind http2.FrameType, flags http2.Flags, id uint32, payload string) {
	p.write(func(w *http2.Framer) error { return w.WriteRawFrame(kind, flags, id, []byte(payload)) })
}

// encode returns the names and values as a field block that continues the
// connection's dynamic table.
func (p *rawPeer) encode(namesAndValues ...string) []byte {
	p.block.Reset()
	for pair := range slices.Chunk(namesAndValues, 2) {
		_ = p.hpack.WriteField(hpack.HeaderField{Name: pair[0], Value: pair[1]})
	}
	return bytes.Clone(p.block.Bytes())
}

// headers sends a field section, in several frames if it is long.
func (p *rawPeer) headers(id uint32, end bool, namesAndValues ...string) {
	p.fragments(id, end, 16<<10, p.encode(namesAndValues...))
}

// fragments sends an encoded field block in frames of at most size bytes.
func (p *rawPeer) fragments(id uint32, end bool, size int, block []byte) {
	first := block[:min(size, len(block))]
	block = block[len(first):]
	p.write(func(w *http2.Framer) error {
		return w.WriteHeaders(http2.HeadersFrameParam{
			StreamID: id, EndStream: end, EndHeaders: len(block) == 0, BlockFragment: first,
		})
	})
	for len(block) > 0 {
		next := block[:min(size, len(block))]
		block = block[len(next):]
		p.write(func(w *http2.Framer) error { return w.WriteContinuation(id, len(block) == 0, next) })
	}
}

// get makes a request without a body.
func (p *rawPeer) get(id uint32, namesAndValues ...string) {
	p.headers(id, true, slices.Concat(requestHead("GET"), namesAndValues)...)
}

// post begins a request that has a body.
func (p *rawPeer) post(id uint32, namesAndValues ...string) {
	p.headers(id, false, slices.Concat(requestHead("POST"), namesAndValues)...)
}

func requestHead(method string) []string {
	return []string{":method", method, ":scheme", "http", ":path", "/", ":authority", "server.test"}
}
