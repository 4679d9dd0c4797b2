// SPDX-License-Identifier: Apache-2.0

// Compressions: their registry, their pools, and the choice among them.

package connect

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	compressionGzip     = "gzip"
	compressionIdentity = "identity"
)

// errTooLarge is the error of a read that would exceed a limit.
var errTooLarge = errors.New("message too large")

// A Compressor compresses the bytes that are written to it. [*gzip.Writer] is
// one. The library keeps compressors in a pool: one call at a time uses a
// compressor, and resets it first.
type Compressor interface {
	io.Writer

	// Close writes the bytes that the compressor still holds. It does not close
	// the writer below.
	Close() error
	// Reset drops the compressor's state and makes it write to another writer.
	Reset(io.Writer)
}

// A Decompressor reads decompressed data. [*gzip.Reader] is one. The library
// keeps decompressors in a pool: one call at a time uses a decompressor, and
// resets it first. A decompressor should decompress no more than Read asks for,
// so that [WithReadMaxBytes] bounds its work.
type Decompressor interface {
	io.Reader

	// Close releases the decompressor's resources. It does not close the reader
	// below.
	Close() error
	// Reset drops the decompressor's state and makes it read from another reader.
	Reset(io.Reader) error
}

// compression is one algorithm with its idle compressors and decompressors, which all
// handlers and clients share that got it from the same option.
type compression struct {
	name            string
	value           []string // name, as a header's value
	newDecompressor func() Decompressor
	newCompressor   func() Compressor
	decompressors   sync.Pool
	compressors     sync.Pool
}

func newCompression(name string, newDecompressor func() Decompressor, newCompressor func() Compressor) *compression {
	return &compression{name: name, value: []string{name}, newDecompressor: newDecompressor, newCompressor: newCompressor}
}

// standardGzip is what handlers and clients have by default. They share its idle
// compressors: each holds more than half a MiB.
var standardGzip = newGzip()

// newGzip returns the standard library's gzip at its fastest level, see
// docs/adr/0006.
func newGzip() *compression {
	return newCompression(compressionGzip,
		func() Decompressor { return new(gzip.Reader) },
		func() Compressor {
			w, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // a level that exists cannot fail
			return w
		},
	)
}

// compress appends the compressed form of src to dst. If asIs is true, errors are those
// of connect-go, see WithConnectGoBehavior, and a message without bytes is not written.
func (c *compression) compress(dst *buffer, src []byte, asIs bool) error {
	p, ok := c.compressors.Get().(*pooledCompressor)
	if !ok {
		p = &pooledCompressor{Compressor: c.newCompressor()}
	}
	p.dst = dst
	p.Reset(&p.bufferSink)
	if len(src) > 0 || !asIs {
		if _, err := p.Compressor.Write(src); err != nil {
			return fmt.Errorf("compress with %s: %w", c.name, err)
		}
	}
	if err := p.Close(); err != nil {
		if asIs {
			return errorf(CodeInternal, "compress with %s: close: %w", c.name, err)
		}
		return fmt.Errorf("compress with %s: %w", c.name, err)
	}
	p.dst = nil
	c.compressors.Put(p)
	return nil
}

// pooledCompressor is a compressor with a writer between it and the buffer. After a
// message the writer drops the buffer. A second Reset of the compressor would do
// that, too, but costs as much as the compression of a small message.
type pooledCompressor struct {
	Compressor
	bufferSink
}

type bufferSink struct{ dst *buffer }

func (s *bufferSink) Write(p []byte) (int, error) { return s.dst.Write(p) }

// decompress appends the decompressed form of src to dst. It stops with
// errTooLarge as soon as the result exceeds limit bytes; limit 0 is no limit. A
// decompressor that failed does not go back to the pool. If asIs is true, errors are
// those of connect-go: only those of Read keep a code of their own, and any may wrap
// io.EOF.
func (c *compression) decompress(dst *buffer, src []byte, limit int, asIs bool) error {
	r, ok := c.decompressors.Get().(Decompressor)
	if !ok {
		r = c.newDecompressor()
	}
	if err := r.Reset(bytes.NewReader(src)); err != nil {
		if asIs {
			return errorf(CodeInvalidArgument, "decompress with %s: reset: %w", c.name, err)
		}
		return fmt.Errorf("decompress with %s: %w", c.name, corrupt(err))
	}
	if err := dst.readAll(r, 4*len(src), limit); err != nil {
		_ = r.Close()
		if errors.Is(err, errTooLarge) {
			return err
		}
		if !asIs {
			err = corrupt(err)
		}
		return fmt.Errorf("decompress with %s: %w", c.name, err)
	}
	if err := r.Close(); err != nil {
		if asIs {
			return errorf(CodeUnknown, "decompress with %s: close: %w", c.name, err)
		}
		return fmt.Errorf("decompress with %s: close: %w", c.name, corrupt(err))
	}
	_ = r.Reset(emptyReader{}) // so that it does not keep src; most formats return an error for an empty source
	c.decompressors.Put(r)
	return nil
}

// corrupt returns io.ErrUnexpectedEOF for an io.EOF inside compressed data, which
// is not the end of the stream.
func corrupt(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// emptyReader has no bytes. It is an [io.ByteReader], so that decompressors
// allocate no buffer for it.
type emptyReader struct{}

func (emptyReader) Read([]byte) (int, error) { return 0, io.EOF }
func (emptyReader) ReadByte() (byte, error)  { return 0, io.EOF }

// compressions are the algorithms of a handler or client. The one registered last
// comes first.
type compressions struct {
	all    []*compression
	accept []string // their names as one header value, nil if there are none
	order  []string // names, the preferred one first: see WithCompressionOrder
}

// register adds an algorithm, or replaces the one with its name. With one
// constructor it works in one direction; without any, it is removed.
func (cs *compressions) register(c *compression) {
	if c.name == "" {
		return
	}
	cs.all = slices.DeleteFunc(slices.Clone(cs.all), func(other *compression) bool { return other.name == c.name })
	if c.newDecompressor != nil || c.newCompressor != nil {
		cs.all = slices.Insert(cs.all, 0, c)
	}
	cs.list()
}

// list makes the header value.
func (cs *compressions) list() {
	cs.accept = nil
	if names := cs.String(); names != "" {
		cs.accept = []string{names}
	}
}

// sort moves the algorithms of the order to the front, in that order. It returns an
// error for a name that is none of an algorithm.
func (cs *compressions) sort() error {
	if len(cs.order) == 0 {
		return nil
	}
	for _, name := range cs.order {
		if c, _ := cs.get(name); c == nil {
			return fmt.Errorf("WithCompressionOrder: unknown compression %q: add it with WithCompression or WithAcceptCompression; there is %v", name, cs)
		}
	}
	cs.all = slices.Clone(cs.all)
	slices.SortStableFunc(cs.all, func(a, b *compression) int { return cs.rank(a.name) - cs.rank(b.name) })
	cs.list()
	return nil
}

// rank returns the place of an algorithm in the order. All that are not in it share
// the place after the last one.
func (cs *compressions) rank(name string) int {
	for i, other := range cs.order {
		if other == name {
			return i
		}
	}
	return len(cs.order)
}

// String lists the names of the algorithms that can be received, the preferred
// one first.
func (cs *compressions) String() string {
	var names []string
	for _, c := range cs.all {
		if c.newDecompressor != nil {
			names = append(names, c.name)
		}
	}
	return strings.Join(names, ",")
}

// received returns the algorithm that an encoding header names: nil and true for
// identity, false for an algorithm without a decompressor.
func (cs *compressions) received(name string) (*compression, bool) {
	c, ok := cs.get(name)
	if c != nil && c.newDecompressor == nil {
		return nil, false
	}
	return c, ok
}

// sent returns the algorithm with a name, for sending: nil and true for identity,
// false for an algorithm without a compressor.
func (cs *compressions) sent(name string) (*compression, bool) {
	c, ok := cs.get(name)
	if c != nil && c.newCompressor == nil {
		return nil, false
	}
	return c, ok
}

func (cs *compressions) get(name string) (*compression, bool) {
	if name == "" || name == compressionIdentity {
		return nil, true
	}
	for _, c := range cs.all {
		if c.name == name {
			return c, true
		}
	}
	return nil, false
}

// choose returns the compression of an answer, nil for identity. The client's
// accept header lists those that it accepts: choose takes the one with the
// highest weight, and of several the first in the handler's order, or else in the
// client's. It takes identity if the client names it with a higher weight than these. A
// client without such a header gets the compression that it used itself. [RFC 9110, section 12.5.3; Connect protocol,
// "Accept-Encoding"; grpc/doc/compression.md]
func (cs *compressions) choose(accept []string, used *compression) *compression {
	switch {
	case len(accept) == 0:
		if used != nil && used.newCompressor == nil {
			return nil
		}
		return used
	case len(accept) == 1:
		if c, ok := cs.sent(accept[0]); ok { // one name, the usual case
			return c
		}
	}
	var (
		best     *compression
		bestRank int
		bestQ    float64
		plainQ   float64 // of identity
		named    []string
		anyQ     float64 // of the algorithms that are not named
	)
	consider := func(c *compression, q float64) {
		if rank := cs.rank(c.name); q > bestQ || q > 0 && q == bestQ && rank < bestRank {
			best, bestRank, bestQ = c, rank, q
		}
	}
	for name, q := range acceptList(accept) {
		switch c, known := cs.sent(name); {
		case name == "*":
			anyQ = q
			continue
		case known && c != nil:
			consider(c, q)
		case known:
			plainQ = q
		}
		named = append(named, name)
	}
	for _, c := range cs.all {
		if anyQ > 0 && c.newCompressor != nil && !slices.Contains(named, strings.ToLower(c.name)) {
			consider(c, anyQ)
		}
	}
	if plainQ > bestQ {
		return nil
	}
	return best
}

// chooseFirst is choose as connectrpc.com/connect has it: the compression that the
// client used itself, and otherwise the first known name in its list. A name with a
// weight is not known.
func (cs *compressions) chooseFirst(accept []string, used *compression) *compression {
	if used != nil || len(accept) == 0 {
		return cs.choose(nil, used)
	}
	for name := range strings.FieldsFuncSeq(accept[0], func(r rune) bool { return r == ',' || r == ' ' }) {
		if c, known := cs.sent(name); known && c != nil {
			return c
		}
	}
	return nil
}

// accepts reports whether a client takes answers in a compression. It takes that of
// its request if it has no accept header.
func (cs *compressions) accepts(accept []string, used, c *compression) bool {
	if len(accept) == 0 {
		return c == used
	}
	anyQ, found := 0.0, false
	for name, q := range acceptList(accept) {
		switch {
		case name == strings.ToLower(c.name):
			if found = true; q > 0 {
				return true
			}
		case name == "*":
			anyQ = q
		}
	}
	return anyQ > 0 && !found
}

// acceptList yields the names in an Accept-Encoding list, in lower case, with
// their weights. White space separates names, too: some clients write no comma.
// A malformed weight counts as 0.
func acceptList(values []string) func(yield func(string, float64) bool) {
	return func(yield func(string, float64) bool) {
		for _, value := range values {
			for item := range strings.SplitSeq(value, ",") {
				coding, params, weighted := strings.Cut(item, ";")
				q := 1.0
				if weighted {
					q = weight(params)
				}
				for name := range strings.FieldsSeq(coding) {
					if !yield(strings.ToLower(name), q) {
						return
					}
				}
			}
		}
	}
}

// weight returns the value of the parameter q, 1 if there is none.
func weight(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		key, value, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.TrimSpace(key), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || !(q >= 0 && q <= 1) {
				return 0
			}
			return q
		}
	}
	return 1
}
