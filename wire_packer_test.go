// SPDX-License-Identifier: Apache-2.0

// Messages packed and unpacked: limits, compressions, and faults of a peer.

package connect

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// text returns a message whose size is a little more than n bytes.
func text(n int) *wrapperspb.StringValue { return wrapperspb.String(strings.Repeat("ab", (n+1)/2)) }

func randomMessage(r *rand.Rand) proto.Message {
	if r.IntN(3) == 0 {
		s, err := structpb.NewStruct(map[string]any{"a": "b", "list": []any{1.5, nil, true}, "n": float64(r.IntN(100))})
		if err != nil {
			panic(err)
		}
		return s
	}
	return text(randomSize(r))
}

// TestPackers: an unpacker reads what a packer with the same codec and compression
// writes, framed or not.
func TestPackers(t *testing.T) {
	gzip := newGzip()
	for _, codec := range []Codec{protoCodec{}, jsonCodec{}, plainCodec{protoCodec{}}} {
		for _, used := range []*compression{nil, gzip} {
			for _, framed := range []bool{true, false} {
				t.Run(fmt.Sprintf("%T,gzip=%t,framed=%t", codec, used != nil, framed), func(t *testing.T) {
					randomly(t, 60, func(t *testing.T, r *rand.Rand) {
						testPacker(t, r, codec, used, framed)
					})
				})
			}
		}
	}
}

func testPacker(t *testing.T, r *rand.Rand, codec Codec, used *compression, framed bool) {
	p := packer{codec: codec, framed: framed, compression: used, minBytes: r.IntN(500)}
	var body []byte
	var sent []proto.Message
	count := 1
	if framed {
		count = r.IntN(6)
	}
	var anyCompressed bool
	for range count {
		msg := randomMessage(r)
		b, _, compressed, err := p.pack(msg)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := codec.Marshal(msg)
		if err != nil {
			t.Fatal(err)
		}
		// protojson varies its white space, but not within a process.
		if want := used != nil && len(plain) >= max(1, p.minBytes); compressed != want {
			t.Errorf("%d bytes, minimum %d: got compressed %t, want %t", len(plain), p.minBytes, compressed, want)
		}
		if framed {
			if flag := b.data[0]&flagCompressed != 0; flag != compressed {
				t.Errorf("got flag %t, want %t", flag, compressed)
			}
			if size := int(binary.BigEndian.Uint32(b.data[1:])); size != len(b.data)-prefixSize {
				t.Errorf("got size %d in the prefix, want %d", size, len(b.data)-prefixSize)
			}
		}
		anyCompressed = anyCompressed || compressed
		body = append(body, b.data...)
		b.free()
		sent = append(sent, msg)
	}
	u := unpacker{codec: codec, framed: framed, compression: used, hint: r.IntN(len(body) + 2)}
	if !framed && !anyCompressed {
		u.compression = nil // the header names none then
	}
	u.frames.src = chopped(r, body)
	defer u.free()
	for i, want := range sent {
		piece, err := u.next()
		if err != nil || piece.end {
			t.Fatalf("message %d: got %+v, %v", i, piece, err)
		}
		got := want.ProtoReflect().New().Interface()
		if err := u.unmarshal(piece.data, got, false); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if !proto.Equal(got, want) {
			t.Errorf("message %d: got another message", i)
		}
	}
	if piece, err := u.next(); err != io.EOF {
		t.Errorf("after the last message: got %+v, %v, want %v", piece, err, io.EOF)
	}
}

// plainCodec has none of a codec's optional methods.
type plainCodec struct{ c Codec }

func (p plainCodec) Name() string { return "plain" }

func (p plainCodec) Marshal(m any) ([]byte, error) { return p.c.Marshal(m) }

func (p plainCodec) Unmarshal(data []byte, m any) error { return p.c.Unmarshal(data, m) }

// TestPackErrors: limits are exact, and a message that cannot be marshalled is an
// error of the program.
func TestPackErrors(t *testing.T) {
	size := proto.Size(text(1000))
	for _, framed := range []bool{false, true} {
		for limit, ok := range map[int]bool{0: true, size - 1: false, size: true, size + 1: true} {
			p := packer{codec: protoCodec{}, framed: framed, limit: limit}
			b, _, _, err := p.pack(text(1000))
			if (err == nil) != ok || !ok && CodeOf(err) != CodeResourceExhausted {
				t.Errorf("%d bytes, limit %d: got %v, want ok %t", size, limit, err, ok)
			}
			if err == nil {
				b.free()
			}
		}
		p := packer{codec: protoCodec{}, framed: framed, limit: 200, compression: newGzip()}
		if b, _, compressed, err := p.pack(text(1000)); err != nil || !compressed {
			t.Errorf("the limit is of the wire: got compressed %t, %v", compressed, err)
		} else {
			b.free()
		}
		if _, _, _, err := p.pack("no message"); CodeOf(err) != CodeInternal {
			t.Errorf("not a message: got %v, want %v", err, CodeInternal)
		}
	}
}

// TestUnpackErrors checks the errors of an unpacker for bad input. [checklist 16–18,
// 25, 28–31, 34]
func TestUnpackErrors(t *testing.T) {
	gzip := newGzip()
	zipped := func(data []byte) []byte {
		b := newBuffer(0)
		defer b.free()
		if err := gzip.compress(b, data, false); err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(b.data)
	}
	large := frame(0, make([]byte, 101))
	for _, c := range []struct {
		name     string
		body     []byte
		unframed bool
		used     *compression
		single   bool
		want     Code // 0: as in err
		err      error
		messages int // before the error
	}{
		{name: "nothing", err: io.EOF},
		{name: "empty message", body: frame(0, nil), messages: 1, err: io.EOF},
		{name: "empty message, flagged", body: frame(flagCompressed, nil), used: gzip, messages: 1, err: io.EOF},
		{name: "empty message, flagged, identity", body: frame(flagCompressed, nil), want: CodeInternal},
		{name: "flagged, identity", body: frame(flagCompressed, []byte("abc")), want: CodeInternal},
		{name: "flagged, not compressed", body: frame(flagCompressed, []byte("abc")), used: gzip, want: CodeInvalidArgument},
		{name: "flagged, cut off", body: frame(flagCompressed, zipped([]byte("abc"))[:15]), used: gzip, want: CodeInvalidArgument},
		{name: "not flagged, compression", body: frame(0, []byte("abc")), used: gzip, messages: 1, err: io.EOF},
		{name: "limit", body: frame(0, make([]byte, 100)), messages: 1, err: io.EOF},
		{name: "above the limit", body: large, want: CodeResourceExhausted},
		{name: "above the limit, promised only", body: large[:prefixSize], want: CodeResourceExhausted},
		{name: "4 GiB promised", body: []byte{0, 0xff, 0xff, 0xff, 0xff}, want: CodeResourceExhausted},
		{name: "inflated, limit", body: frame(flagCompressed, zipped(make([]byte, 100))), used: gzip, messages: 1, err: io.EOF},
		{name: "inflated, above the limit", body: frame(flagCompressed, zipped(make([]byte, 101))), used: gzip, want: CodeResourceExhausted},
		{name: "second is too large", body: append(frame(0, []byte("a")), large...), messages: 1, want: CodeResourceExhausted},
		{name: "unknown flag", body: frame(1<<3, nil), want: CodeInternal},
		{name: "end flag of another dialect", body: frame(flagEndWeb, nil), want: CodeInternal},
		{name: "single", body: frame(0, []byte("a")), single: true, messages: 1, err: io.EOF},
		{name: "single, second", body: append(frame(0, []byte("a")), frame(0, []byte("b"))...), single: true, messages: 1, err: errSecondMessage},
		{name: "single, second too large", body: append(frame(0, []byte("a")), large[:prefixSize]...), single: true, messages: 1, err: errSecondMessage},
		{name: "cut prefix", body: []byte{0, 0, 0}, err: io.ErrUnexpectedEOF},
		{name: "cut payload", body: frame(0, []byte("abc"))[:7], err: io.ErrUnexpectedEOF},

		{name: "unframed, nothing", unframed: true, messages: 1, err: io.EOF},
		{name: "unframed, nothing, compression", unframed: true, used: gzip, messages: 1, err: io.EOF},
		{name: "unframed, limit", unframed: true, body: make([]byte, 100), messages: 1, err: io.EOF},
		{name: "unframed, above the limit", unframed: true, body: make([]byte, 101), want: CodeResourceExhausted},
		{name: "unframed, inflated, limit", unframed: true, body: zipped(make([]byte, 100)), used: gzip, messages: 1, err: io.EOF},
		{name: "unframed, inflated, above the limit", unframed: true, body: zipped(make([]byte, 101)), used: gzip, want: CodeResourceExhausted},
		{name: "unframed, not compressed", unframed: true, body: []byte("abc"), used: gzip, want: CodeInvalidArgument},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := unpacker{codec: protoCodec{}, framed: !c.unframed, endFlag: flagEndConnect, compression: c.used, limit: 100,
				single: c.single}
			u.frames.src = bytes.NewReader(c.body)
			defer u.free()
			for i := range c.messages {
				if p, err := u.next(); err != nil || p.end {
					t.Fatalf("message %d: got %+v, %v", i, p, err)
				}
			}
			_, err := u.next()
			switch {
			case c.want != 0 && (err == nil || CodeOf(err) != c.want):
				t.Errorf("got %v, want %v", err, c.want)
			case c.want == 0 && !errors.Is(err, c.err):
				t.Errorf("got %v, want %v", err, c.err)
			case c.want != 0 && errors.Is(err, io.EOF):
				t.Errorf("got %v, which looks like the end of the stream", err)
			}
		})
	}
	u := unpacker{codec: protoCodec{}, framed: true, endFlag: flagEndConnect, compression: gzip, limit: 100, single: true}
	u.frames.src = bytes.NewReader(append(frame(0, []byte("a")), frame(flagEndConnect|flagCompressed, zipped([]byte("{}")))...))
	defer u.free()
	if _, err := u.next(); err != nil {
		t.Error(err)
	}
	if p, err := u.next(); err != nil || !p.end || string(p.data) != "{}" || !u.ended {
		t.Errorf("end frame: got %+v, %v, want {}", p, err)
	}
	if err := u.unmarshal([]byte{0xff}, &wrapperspb.StringValue{}, false); CodeOf(err) != CodeInvalidArgument {
		t.Errorf("not a message: got %v, want %v", err, CodeInvalidArgument)
	}
}

// TestHeld: a stream that waits for a message holds the bytes that it has read ahead.
// One that waits for the rest of a message holds memory in proportion to the bytes
// that have arrived, even if the pool has buffers of any size.
func TestHeld(t *testing.T) {
	gzip := newGzip()
	big := noise[:16*bufferKept-100]
	zipped := newBuffer(0)
	defer zipped.free()
	if err := gzip.compress(zipped, big, false); err != nil {
		t.Fatal(err)
	}
	for name, large := range map[string][]byte{"plain": frame(0, big), "compressed": frame(flagCompressed, zipped.data)} {
		for poolName, pool := range map[string]bufferPool{"usual": new(sizedPools), "full": new(watchedPool), "none": noPool{}} {
			withPool(pool, func() {
				u := unpacker{codec: protoCodec{}, framed: true, compression: gzip}
				arrived := 0 // of the current message
				var most int // held between messages
				u.frames.src = readerFunc(func(p []byte) (int, error) {
					got := held(&u)
					if arrived%len(large) == 0 {
						most = max(most, got)
					}
					if bound := max(2*bufferKept, 33*(arrived%len(large))); got > bound {
						t.Errorf("%s, %s pool: got %d bytes held after %d of a message, want at most %d", name, poolName, got, arrived%len(large), bound)
					}
					from := arrived % len(large)
					n := copy(p, large[from:min(len(large), from+3000)])
					arrived += n
					return n, nil
				})
				for range 4 {
					if p, err := u.next(); err != nil || !bytes.Equal(p.data, big) {
						t.Fatalf("got %d bytes, %v, want %d", len(p.data), err, len(big))
					}
				}
				u.free()
				if most > bufferKept {
					t.Errorf("%s, %s pool: got %d bytes held between messages, want at most %d", name, poolName, most, bufferKept)
				}
			})
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// FuzzEnvelopes: any body ends with an error after messages within the limit,
// the same however it is chopped, in memory that the limit bounds.
func FuzzEnvelopes(f *testing.F) {
	gzip := newGzip()
	b := newBuffer(0)
	if err := gzip.compress(b, make([]byte, 300), false); err != nil {
		f.Fatal(err)
	}
	bomb := bytes.Clone(b.data)
	b.free()
	f.Add([]byte(nil), uint8(0), uint64(1))
	f.Add(frame(0, []byte("hello")), uint8(0), uint64(2))
	f.Add(append(frame(1, bomb), frame(2, []byte("{}"))...), uint8(flagEndConnect), uint64(3))
	f.Add(append(frame(0, nil), frame(0x80, []byte("grpc-status: 0\r\n"))...), uint8(flagEndWeb), uint64(4))
	f.Add([]byte{0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3}, uint8(0), uint64(5))
	f.Add(frame(3, bomb[:len(bomb)-4]), uint8(flagEndConnect), uint64(6))
	f.Add(frame(1, nil)[:4], uint8(0), uint64(7))
	const limit = 200
	f.Fuzz(func(t *testing.T, body []byte, endFlag uint8, seed uint64) {
		endFlag &^= flagCompressed
		read := func(src io.Reader) (pieces []string, err error) {
			u := unpacker{codec: protoCodec{}, framed: true, endFlag: endFlag, compression: gzip, limit: limit}
			u.frames.src = src
			defer u.free()
			for {
				p, err := u.next()
				if err != nil {
					return pieces, err
				}
				if len(p.data) > limit {
					t.Fatalf("got a message of %d bytes, want at most %d", len(p.data), limit)
				}
				pieces = append(pieces, fmt.Sprintf("%t %q", p.end, p.data))
				if held := held(&u); held > 2*bufferKept {
					t.Fatalf("got %d bytes held, want at most %d", held, 2*bufferKept)
				}
			}
		}
		whole, err := read(bytes.NewReader(body))
		if 5*len(whole) > len(body) {
			t.Errorf("got %d messages of %d bytes", len(whole), len(body))
		}
		if err == io.EOF && !complete(body) {
			t.Errorf("%x: got the end, want an error", body)
		}
		if err != io.EOF && errors.Is(err, io.EOF) {
			t.Errorf("%x: got %v, which looks like the end", body, err)
		}
		pieces, choppedErr := read(chopped(rand.New(rand.NewPCG(seed, 0)), body))
		if fmt.Sprint(err) != fmt.Sprint(choppedErr) || strings.Join(whole, "\n") != strings.Join(pieces, "\n") {
			t.Errorf("%x: got %q, %v in one piece, %q, %v in several", body, whole, err, pieces, choppedErr)
		}
	})
}

// FuzzBody: any unframed body is one message within the limit or an error, the
// same however it is chopped.
func FuzzBody(f *testing.F) {
	gzip := newGzip()
	for _, size := range []int{0, 1, 200, 201, 100_000} {
		b := newBuffer(0)
		if err := gzip.compress(b, make([]byte, size), false); err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.Clone(b.data), true, uint64(size))
		f.Add(bytes.Clone(b.data[:len(b.data)-3]), true, uint64(size))
		f.Add(append(bytes.Clone(b.data), "more"...), true, uint64(size))
		b.free()
	}
	f.Add([]byte("plain"), false, uint64(1))
	f.Add(make([]byte, 201), false, uint64(2))
	const limit = 200
	f.Fuzz(func(t *testing.T, body []byte, compressed bool, seed uint64) {
		read := func(src io.Reader) (string, error) {
			u := unpacker{codec: protoCodec{}, limit: limit}
			if compressed {
				u.compression = gzip
			}
			u.frames.src = src
			defer u.free()
			p, err := u.next()
			if err != nil {
				return "", err
			}
			if len(p.data) > limit || !compressed && !bytes.Equal(p.data, body) {
				t.Errorf("%x: got %x", body, p.data)
			}
			message := string(p.data)
			if _, err := u.next(); err != io.EOF {
				t.Errorf("%x: got %v after the message, want %v", body, err, io.EOF)
			}
			return message, nil
		}
		one, err := read(bytes.NewReader(body))
		several, choppedErr := read(chopped(rand.New(rand.NewPCG(seed, 0)), body))
		if one != several || fmt.Sprint(err) != fmt.Sprint(choppedErr) {
			t.Errorf("%x: got %q, %v in one piece, %q, %v in several", body, one, err, several, choppedErr)
		}
		if code := CodeOf(err); err != nil && code != CodeInvalidArgument && code != CodeResourceExhausted {
			t.Errorf("%x: got %v", body, err)
		}
		if len(body) > limit && CodeOf(err) != CodeResourceExhausted {
			t.Errorf("%d bytes: got %v, want %v", len(body), err, CodeResourceExhausted)
		}
	})
}

// complete reports whether a body consists of whole frames.
func complete(body []byte) bool {
	for len(body) >= prefixSize {
		size := uint64(binary.BigEndian.Uint32(body[1:])) + prefixSize
		if size > uint64(len(body)) {
			return false
		}
		body = body[size:]
	}
	return len(body) == 0
}

// held returns the capacity of an unpacker's buffers.
func held(u *unpacker) int {
	n := 0
	for _, b := range []*buffer{u.whole, u.inflated, u.frames.ahead, u.frames.large} {
		if b != nil {
			n += cap(b.data)
		}
	}
	return n
}

// TestFrameLimits: sizes are unsigned; a prefix of 4 GiB is no negative number.
// [checklist 28]
func TestFrameLimits(t *testing.T) {
	f := frameReader{src: bytes.NewReader([]byte{0, 0xff, 0xff, 0xff, 0xff})}
	defer f.free()
	if _, size, err := f.prefix(); err != nil || size != math.MaxUint32 {
		t.Errorf("got %d, %v, want %d", size, err, uint32(math.MaxUint32))
	}
}
