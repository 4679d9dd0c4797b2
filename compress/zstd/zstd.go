// SPDX-License-Identifier: Apache-2.0

// Package zstd adds Zstandard (RFC 8878, content coding "zstd") to clients and
// handlers: cheap to decompress at a good ratio, the choice for calls between
// services.
//
// A peer may ask a decoder to keep a window of up to 8 MiB, the most that RFC
// 9659 allows on HTTP; see [MaxWindow]. The compressor of this package uses 1 MiB.
package zstd

import (
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/seed-b7c59c10/connect"
	"github.com/seed-b7c59c10/connect/compress"
	"github.com/seed-b7c59c10/connect/compress/internal/stream"
)

// Name is the algorithm's name on the wire, for [connect.WithSendCompression].
const Name = "zstd"

const (
	defaultLevel  = 3
	defaultWindow = 8 << 20 // RFC 9659, section 3

	// encoderWindow is the encoder's window. Messages are rarely larger, and a
	// pooled encoder holds about this much memory.
	encoderWindow = 1 << 20

	// keptWindow is the largest window whose buffer a decoder keeps for reuse.
	keptWindow = 1 << 20
)

// A Setting changes a default of this package. A nil one is ignored.
type Setting func(*settings)

type settings struct {
	level     int
	maxWindow int
}

// Level sets how hard to compress, on the scale of the zstd command: 1 is the
// fastest, 3 the default, 22 the smallest output. The encoder has four steps,
// which begin at 1, 3, 6 and 10; the levels between mean the step below them.
// Any other level panics.
func Level(level int) Setting {
	if level < 1 || level > 22 {
		panic(fmt.Sprintf("zstd: level %d, expected 1 to 22", level))
	}
	return func(s *settings) { s.level = level }
}

// MaxWindow sets the largest window in bytes that a peer's data may ask for:
// the memory that one message in flight may take, whatever its size. Data that
// asks for more is refused. The default is 8 MiB, and less than 1 KiB or more
// than 512 MiB panics.
func MaxWindow(bytes int) Setting {
	if bytes < zstd.MinWindowSize || bytes > zstd.MaxWindowSize {
		panic(fmt.Sprintf("zstd: window of %d bytes, expected %d to %d", bytes, zstd.MinWindowSize, zstd.MaxWindowSize))
	}
	return func(s *settings) { s.maxWindow = bytes }
}

// With makes zstd available to a client or a handler. All clients and handlers of one
// option share its pools. A test with a bubble of testing/synctest makes the option in
// the bubble: decoders hold channels, which must not leave it.
func With(settings ...Setting) connect.Option {
	return compress.With(Name,
		func() connect.Decompressor { return NewDecompressor(settings...) },
		func() connect.Compressor { return NewCompressor(settings...) },
	)
}

// NewCompressor returns a compressor to Reset before use. It starts no
// goroutine and needs no closing to be freed.
func NewCompressor(settings ...Setting) connect.Compressor {
	s := apply(settings)
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(s.level)),
		zstd.WithWindowSize(encoderWindow),
		zstd.WithEncoderConcurrency(1),
		zstd.WithLowerEncoderMem(true),
		zstd.WithZeroFrames(true), // an empty message is a frame for every decoder
	)
	if err != nil {
		panic("zstd: " + err.Error()) // every value is checked above
	}
	return stream.NewWriter(Name, enc)
}

// NewDecompressor returns a decompressor to Reset before use. It starts no
// goroutine and needs no closing to be freed.
func NewDecompressor(settings ...Setting) connect.Decompressor {
	s := apply(settings)
	return stream.NewReader(Name,
		func(source io.Reader) (stream.Decoder, error) { return newDecoder(source, s.maxWindow) },
		func(d stream.Decoder) bool { return d.(*decoder).large() },
	)
}

func apply(list []Setting) settings {
	s := settings{level: defaultLevel, maxWindow: defaultWindow}
	for _, set := range list {
		if set != nil {
			set(&s)
		}
	}
	return s
}

// decoder reads the header of the first frame, too: it has the size of the memory
// that the library's decoder allocates for a stream of one frame.
type decoder struct {
	*zstd.Decoder
	source io.Reader
	header []byte // the first bytes of the stream, up to its capacity
	last   []byte // the last bytes that were read, fewer than a magic number has
	frames int    // magic numbers, also those that blocks hold by chance
}

// magic begins each frame with content. [RFC 8878, section 3.1.1]
var magic = []byte{0x28, 0xb5, 0x2f, 0xfd}

func newDecoder(source io.Reader, maxWindow int) (*decoder, error) {
	d := &decoder{header: make([]byte, 0, zstd.HeaderMaxSize), last: make([]byte, 0, 2*len(magic))}
	dec, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1), // decodes in Read, without goroutines
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(uint64(maxWindow)),
		zstd.WithDecodeBuffersBelow(0), // never decodes a buffer whole in Reset
	)
	if err != nil {
		return nil, err
	}
	d.Decoder = dec
	return d, d.Reset(source)
}

// Reset starts a new stream without reading from it.
func (d *decoder) Reset(source io.Reader) error {
	d.source, d.header, d.last, d.frames = source, d.header[:0], d.last[:0], 0
	return d.Decoder.Reset((*watched)(d))
}

// large reports whether the decoder has allocated more memory than a pool should
// keep. A stream of several frames, or one that does not begin with content, may have
// asked for any window.
func (d *decoder) large() bool {
	var h zstd.Header
	if err := h.Decode(d.header); err != nil {
		return false // nothing was decoded
	}
	if d.frames > 1 || h.Skippable {
		return true
	}
	window := h.WindowSize
	if h.SingleSegment {
		window = h.FrameContentSize
	}
	return window > keptWindow
}

// watched is the decoder's source, as the decoder reads it.
type watched decoder

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.source.Read(p)
	if missing := cap(w.header) - len(w.header); missing > 0 {
		w.header = append(w.header, p[:min(n, missing)]...)
	}
	w.count(p[:n])
	return n, err
}

// count counts the magic numbers in the next bytes of the stream.
func (w *watched) count(p []byte) {
	const less = 3 // than a magic number has
	first := min(len(p), less)
	seam := append(w.last, p[:first]...)
	w.frames += bytes.Count(seam, magic) + bytes.Count(p, magic)
	if first < len(p) {
		seam = p
	}
	w.last = append(w.last[:0], seam[max(0, len(seam)-less):]...)
}
