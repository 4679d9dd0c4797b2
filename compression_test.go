// SPDX-License-Identifier: Apache-2.0

// Compressions: the choice among them, their registry, and data that lies.

package connect

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// known returns compressions with some names. The first is preferred.
func known(names ...string) *compressions {
	cs := new(compressions)
	for i := range names {
		name := names[len(names)-1-i]
		cs.register(newCompression(name, func() Decompressor { return new(gzip.Reader) }, func() Compressor { return gzip.NewWriter(io.Discard) }))
	}
	return cs
}

// TestChoose holds answers to Accept-Encoding and its relatives.
// [checklist 19, 20]
func TestChoose(t *testing.T) {
	cs := known("br", "gzip", "zstd")
	for _, c := range []struct {
		accept string // lines, separated by "|"
		want   string // "" is identity
	}{
		{"gzip", "gzip"},
		{"GZIP", "gzip"},
		{"identity", ""},
		{"", ""},
		{"deflate", ""},
		{"gzip,br", "gzip"},
		{"br, gzip", "br"},
		{"deflate, zstd, gzip", "zstd"},
		{"zstd gzip", "zstd"},
		{"deflate|gzip", "gzip"},
		{"gzip;q=1.0", "gzip"},
		{"gzip; Q=1", "gzip"},
		{"gzip;q=0.1, br;q=0.2", "br"},
		{"gzip;q=0.2, br;q=0.2", "gzip"},
		{"gzip;q=0", ""},
		{"gzip;q=0.000, br", "br"},
		{"gzip;q=0, *", "br"},
		{"gzip;q=0, br;q=0, *", "zstd"},
		{"gzip;q=0, br;q=0, zstd;q=0, *", ""},
		{"*", "br"},
		{"*;q=0", ""},
		{"*;q=0.5", "br"},
		{"gzip, *;q=0", "gzip"},
		{"gzip, *", "gzip"},
		{"identity, gzip", "gzip"}, // identity is always acceptable and, unless weighed, the last resort
		{"identity;q=0, *", "br"},
		{"identity;q=1, gzip;q=0.1", ""},
		{"gzip;q=0.1, identity;q=0.2, br;q=0.1", ""},
		{"identity;q=0.5, gzip;q=0.5", "gzip"},
		{"identity;q=0.2, *;q=0.1", ""},
		{"identity;q=0.1, *;q=0.2", "br"},
		{"gzip;q=2", ""}, // no weight at all
		{"gzip;q=-1", ""},
		{"gzip;q=NaN", ""},
		{"gzip;q=", ""},
		{"gzip;level=9", "gzip"},
		{"gzip;level=9;q=0", ""},
		{" , ,, gzip ,", "gzip"},
		{";q=1", ""},
	} {
		got := ""
		if chosen := cs.choose(strings.Split(c.accept, "|"), nil); chosen != nil {
			got = chosen.name
		}
		if got != c.want {
			t.Errorf("%q: got %q, want %q", c.accept, got, c.want)
		}
	}
	used := cs.all[1]
	if got := cs.choose(nil, used); got != used {
		t.Errorf("no header: got %v, want what the request used", got)
	}
	if got := cs.choose([]string{"br"}, used); got != cs.all[0] {
		t.Errorf("got %v, want br", got)
	}
	if got := cs.choose([]string{"identity"}, used); got != nil {
		t.Errorf("got %v, want identity", got)
	}
}

// TestChooseFirst holds the answers of WithConnectGoBehavior.
func TestChooseFirst(t *testing.T) {
	cs := known("br", "gzip", "zstd")
	cs.register(newCompression("half", func() Decompressor { return new(gzip.Reader) }, nil))
	for _, c := range []struct {
		accept, used string
		want         string // "" is identity
	}{
		{"gzip", "", "gzip"},
		{"deflate, zstd, gzip", "", "zstd"},
		{"zstd gzip", "", "zstd"},
		{" ,, gzip,", "", "gzip"},
		{"identity, gzip", "", "gzip"},
		{"", "", ""},
		{"deflate", "", ""},
		{"GZIP", "", ""},
		{"*", "", ""},
		{"gzip;q=0, br", "", "br"},
		{"gzip;q=1", "", ""},
		{"half", "", ""}, // it cannot compress
		{"half, br", "", "br"},
		{"gzip", "br", "br"},
		{"identity", "br", "br"},
		{"gzip", "half", ""},
	} {
		used, _ := cs.get(c.used)
		got := ""
		if chosen := cs.chooseFirst([]string{c.accept}, used); chosen != nil {
			got = chosen.name
		}
		if got != c.want {
			t.Errorf("accepted %q, used %q: got %q, want %q", c.accept, c.used, got, c.want)
		}
	}
	if got := cs.chooseFirst(nil, nil); got != nil {
		t.Errorf("no header: got %v, want identity", got)
	}
}

// TestChooseWeights compares choose with the rules of RFC 9110, section 12.5.3,
// written down one by one: the acceptable compression of the greatest weight, of
// several the first in the list.
func TestChooseWeights(t *testing.T) {
	names := []string{"br", "gzip", "zstd"}
	cs := known(names...)
	randomly(t, 3000, func(t *testing.T, r *rand.Rand) {
		codings := []string{"br", "gzip", "zstd", "deflate", "*", "identity"}
		r.Shuffle(len(codings), func(i, j int) { codings[i], codings[j] = codings[j], codings[i] })
		codings = codings[:1+r.IntN(len(codings))]
		weights := make(map[string]int) // in tenths
		var items []string
		for _, coding := range codings {
			q := r.IntN(11)
			weights[coding] = q
			if q == 10 && r.IntN(2) == 0 {
				items = append(items, coding)
				continue
			}
			items = append(items, fmt.Sprintf("%s;q=%s", coding, strconv.FormatFloat(float64(q)/10, 'f', 1, 64)))
		}
		accept := strings.Join(items, ", ")

		weight := func(name string) int {
			if q, ok := weights[name]; ok {
				return q
			}
			return weights["*"] // 0 if there is none
		}
		want, best := "", 0
		for _, name := range append(codings, names...) { // in the list's order, then ours
			if strings.Contains("br gzip zstd", name) && weight(name) > best {
				want, best = name, weight(name)
			}
		}
		if weights["identity"] > best {
			want = ""
		}
		got := ""
		if chosen := cs.choose([]string{accept}, nil); chosen != nil {
			got = chosen.name
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", accept, got, want)
		}
	})
}

// FuzzAcceptEncoding: for any header, the choice is identity or a compression whose
// name is in the list, unless the list has a star.
func FuzzAcceptEncoding(f *testing.F) {
	for _, s := range []string{"gzip", "gzip;q=1.0, *;q=0", "br gzip", ",;,;q=,=", "*", "GZIP;Q=0.5;q=0", "gzip;q=1e-1", "gzip;q=0x1p-2", "identity;q=0"} {
		f.Add(s, "br")
	}
	cs := known("br", "gzip")
	f.Fuzz(func(t *testing.T, one, two string) {
		got := cs.choose([]string{one, two}, nil)
		again := cs.choose([]string{one, two}, cs.all[0])
		if got != again {
			t.Errorf("%q, %q: got %v and %v: what the request used counts only without a list", one, two, got, again)
		}
		joined := strings.ToLower(one + "," + two)
		if got != nil && !strings.Contains(joined, got.name) && !strings.Contains(joined, "*") {
			t.Errorf("%q, %q: got %q, which is not in the list", one, two, got.name)
		}
		for name, q := range acceptList([]string{one, two}) {
			if name == "" || name != strings.ToLower(name) || strings.ContainsAny(name, ", ;\t") || !(q >= 0 && q <= 1) {
				t.Errorf("%q, %q: got item %q, %v", one, two, name, q)
			}
		}
	})
}

// TestGzipLevel: the built-in gzip makes what the standard library's makes at its
// fastest level.
func TestGzipLevel(t *testing.T) {
	src := []byte(strings.Repeat("to be or not to be, that is the question; ", 100) + strings.Repeat("whether 'tis nobler ", 100))
	got := newBuffer(0)
	defer got.free()
	if err := newGzip().compress(got, src, false); err != nil {
		t.Fatal(err)
	}
	made := func(level int) []byte {
		var b bytes.Buffer
		w, err := gzip.NewWriterLevel(&b, level)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(src) // to memory
		_ = w.Close()
		return b.Bytes()
	}
	if want := made(gzip.BestSpeed); !bytes.Equal(got.data, want) {
		t.Errorf("got %d bytes, want the %d of level 1", len(got.data), len(want))
	}
	if other := made(gzip.DefaultCompression); bytes.Equal(got.data, other) {
		t.Error("the test does not tell the levels apart")
	}
}

func TestCompressionRegistry(t *testing.T) {
	cs := known("br", "gzip")
	if got := cs.String(); got != "br,gzip" || cs.accept[0] != got {
		t.Errorf("got %q, %q, want br,gzip", got, cs.accept)
	}
	before := *cs
	cs.register(newCompression("gzip", func() Decompressor { return new(gzip.Reader) }, func() Compressor { return gzip.NewWriter(io.Discard) }))
	if got := cs.String(); got != "gzip,br" {
		t.Errorf("replaced: got %q, want gzip,br", got)
	}
	if got := before.String(); got != "br,gzip" {
		t.Errorf("a copy from before: got %q, want br,gzip", got)
	}
	cs.register(newCompression("br", nil, nil))
	cs.register(newCompression("", nil, nil))
	if got := cs.String(); got != "gzip" {
		t.Errorf("removed: got %q, want gzip", got)
	}
	cs.register(newCompression("gzip", nil, nil))
	if got := cs.String(); got != "" || cs.accept != nil {
		t.Errorf("all removed: got %q, %q", got, cs.accept)
	}
	for _, name := range []string{"", "identity"} {
		if c, ok := cs.get(name); c != nil || !ok {
			t.Errorf("get(%q): got %v, %t, want identity", name, c, ok)
		}
	}
	if c, ok := cs.get("gzip"); c != nil || ok {
		t.Errorf("get of an unknown name: got %v, %t", c, ok)
	}
}

// TestSharedPools: the handlers and clients of one option share its idle compressors,
// as all share those of the standard gzip.
func TestSharedPools(t *testing.T) {
	zip := func() Compressor { return gzip.NewWriter(io.Discard) }
	unzip := func() Decompressor { return new(gzip.Reader) }
	added := WithCompression("zip", unzip, zip)
	accepted := WithAcceptCompression("zip", unzip, zip)
	handlers := [2]*config{newHandlerConfig("/s/a", StreamTypeUnary, []HandlerOption{added}), newHandlerConfig("/s/b", StreamTypeUnary, []HandlerOption{added})}
	var clients [2]*config
	for i := range clients {
		var err error
		if clients[i], err = newClientConfig(http.DefaultClient, "http://localhost/s/m", []ClientOption{accepted}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"zip", "gzip"} {
		for side, pair := range map[string][2]*config{"handlers": handlers, "clients": clients} {
			a, _ := pair[0].compressions.get(name)
			b, _ := pair[1].compressions.get(name)
			if a == nil || a != b {
				t.Errorf("%s of %s: got %p and %p, want the same", name, side, a, b)
			}
		}
	}
}

// TestOneDirection: with one constructor a compression works in one direction.
func TestOneDirection(t *testing.T) {
	gzip := newGzip()
	var cs compressions
	cs.register(newCompression("in", gzip.newDecompressor, nil))
	cs.register(newCompression("out", nil, gzip.newCompressor))
	if got := cs.accept; !slices.Equal(got, []string{"in"}) {
		t.Errorf("got %q accepted, want %q", got, "in")
	}
	for name, want := range map[string]struct{ received, sent bool }{"in": {true, false}, "out": {false, true}, "identity": {true, true}, "other": {}} {
		_, received := cs.received(name)
		_, sent := cs.sent(name)
		if received != want.received || sent != want.sent {
			t.Errorf("%s: got received %t and sent %t, want %+v", name, received, sent, want)
		}
	}
	in, _ := cs.received("in")
	for _, accept := range [][]string{nil, {"in"}, {"in, identity"}} {
		if c := cs.choose(accept, in); c != nil {
			t.Errorf("%q: got %q chosen, want none", accept, c.name)
		}
	}
	if c := cs.choose([]string{"in, *"}, in); c == nil || c.name != "out" {
		t.Errorf("got %v chosen, want out", c)
	}
}

func TestCompressions(t *testing.T) {
	c := newGzip()
	randomly(t, 300, func(t *testing.T, r *rand.Rand) {
		want := bytes.Repeat(randomBytes(r, 50), r.IntN(2000))
		packed := newBuffer(0)
		defer packed.free()
		if err := c.compress(packed, want, false); err != nil {
			t.Fatal(err)
		}
		for _, limit := range []int{0, len(want), len(want) + 1} {
			got := newBuffer(0)
			if err := c.decompress(got, packed.data, limit, false); err != nil || !bytes.Equal(got.data, want) {
				t.Errorf("%d bytes, limit %d: got %d bytes, %v", len(want), limit, len(got.data), err)
			}
			got.free()
		}
		if len(want) > 1 {
			got := newBuffer(0)
			err := c.decompress(got, packed.data, len(want)-1, false)
			if !errors.Is(err, errTooLarge) || len(got.data) > len(want) {
				t.Errorf("%d bytes, limit %d: got %d bytes, %v, want %v", len(want), len(want)-1, len(got.data), err, errTooLarge)
			}
			got.free()
		}
		cut := newBuffer(0)
		defer cut.free()
		if err := c.decompress(cut, packed.data[:r.IntN(len(packed.data))], 0, false); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("cut off: got %v, want an error that is not the end of a stream", err)
		}
	})
}

// TestBomb: a message that decompresses to more than the limit costs little more
// memory than the limit.
// [checklist 25]
func TestBomb(t *testing.T) {
	c := newGzip()
	var member bytes.Buffer
	w := gzip.NewWriter(&member)
	if _, err := w.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	bomb := bytes.Repeat(member.Bytes(), 256) // gzip's members follow each other
	const limit = 1 << 20
	got := allocated(func() {
		b := newBuffer(0)
		if err := c.decompress(b, bomb, limit, false); !errors.Is(err, errTooLarge) {
			t.Errorf("got %v, want %v", err, errTooLarge)
		}
		if len(b.data) != limit+1 {
			t.Errorf("got %d bytes, want a stop after %d", len(b.data), limit+1)
		}
		b.free()
	})
	if most := uint64(8 * limit); got > most {
		t.Errorf("a bomb of 256 MiB: got %d bytes allocated, want at most %d", got, most)
	}
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestCompressorErrors: an error of a compression has its name, and a compressor or
// decompressor that failed is not used again.
func TestCompressorErrors(t *testing.T) {
	broken := errors.New("broken")
	made := 0
	c := newCompression("x",
		func() Decompressor { made++; return &failingReader{broken} },
		func() Compressor { made++; return &failing{broken} })
	for range 3 {
		b := newBuffer(0)
		if err := c.compress(b, []byte("a"), false); !errors.Is(err, broken) || !strings.Contains(err.Error(), "compress with x") {
			t.Errorf("compress: got %v", err)
		}
		if err := c.decompress(b, []byte("a"), 0, false); !errors.Is(err, broken) || !strings.Contains(err.Error(), "decompress with x") {
			t.Errorf("decompress: got %v", err)
		}
		b.free()
	}
	if made != 6 {
		t.Errorf("got %d compressors and decompressors, want 6, one for each failed use", made)
	}
}

// failing is both a compressor and, as failingReader, a decompressor.
type failing struct{ err error }

func (f *failing) Write([]byte) (int, error) { return 0, f.err }
func (f *failing) Close() error              { return nil }
func (f *failing) Reset(io.Writer)           {}

type failingReader struct{ err error }

func (f *failingReader) Read([]byte) (int, error) { return 0, f.err }
func (f *failingReader) Close() error             { return nil }
func (f *failingReader) Reset(io.Reader) error    { return nil }
