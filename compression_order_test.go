// SPDX-License-Identifier: Apache-2.0

// Tests of the order in which compressions are preferred.

package connect

import (
	"net/http"
	"strings"
	"testing"
)

func orderedConfig(names string, order ...string) *config {
	c := newConfig("/s/m")
	for name := range strings.FieldsSeq(names) {
		c.compressions.register(newCompression(name, newGzip().newDecompressor, newGzip().newCompressor))
	}
	WithCompressionOrder(order...).applyToHandler(c)
	return c
}

// TestOrderedChoice: among equal weights the handler's order decides, and a higher
// weight is stronger than the order.
func TestOrderedChoice(t *testing.T) {
	for _, c := range []struct{ order, accept, want string }{
		{"", "gzip, br, zstd", "gzip"},
		{"zstd br", "gzip, br, zstd", "zstd"},
		{"zstd br", "gzip, br", "br"},
		{"zstd br", "gzip", "gzip"},
		{"gzip", "zstd, br, gzip", "gzip"},
		{"gzip", "zstd, br", "zstd"}, // the client's order for the rest
		{"zstd", "gzip, zstd;q=0.9", "gzip"},
		{"zstd", "gzip;q=0.5, zstd;q=0.5", "zstd"},
		{"zstd", "*", "zstd"},
		{"zstd", "gzip, *", "zstd"},
		{"zstd", "gzip, *;q=0.5", "gzip"},
		{"zstd", "identity;q=1, zstd;q=0.5", ""},
		{"zstd", "zstd;q=0, gzip", "gzip"},
	} {
		config := orderedConfig("br zstd", strings.Fields(c.order)...)
		if err := config.compressions.sort(); err != nil {
			t.Fatal(err)
		}
		got := ""
		if chosen := config.compressions.choose([]string{c.accept}, nil); chosen != nil {
			got = chosen.name
		}
		if got != c.want {
			t.Errorf("order %q, client %q: got %q, want %q", c.order, c.accept, got, c.want)
		}
	}
}

// TestOrderedList: the accept header lists the order first, then the rest as they are.
func TestOrderedList(t *testing.T) {
	for order, want := range map[string]string{
		"":          "zstd,br,gzip",
		"gzip":      "gzip,zstd,br",
		"br gzip":   "br,gzip,zstd",
		"br br":     "br,zstd,gzip",
		"gzip zstd": "gzip,zstd,br",
	} {
		config := orderedConfig("br zstd", strings.Fields(order)...)
		if err := config.compressions.sort(); err != nil {
			t.Fatal(err)
		}
		if got := config.compressions.accept[0]; got != want {
			t.Errorf("order %q: got %q, want %q", order, got, want)
		}
	}
}

// TestUnknownOrder: a misspelt name shows at the construction.
func TestUnknownOrder(t *testing.T) {
	for _, name := range []string{"gzpi", "identity", ""} {
		func() {
			defer func() {
				got, _ := recover().(string)
				if want := "connect: WithCompressionOrder: unknown compression"; !strings.HasPrefix(got, want) {
					t.Errorf("%q: got panic %q, want one that begins with %q", name, got, want)
				}
			}()
			newHandlerConfig("/s/m", StreamTypeUnary, []HandlerOption{WithCompressionOrder(name)})
		}()
		if _, err := newClientConfig(http.DefaultClient, "http://localhost/s/m", []ClientOption{WithCompressionOrder("gzip", name)}); CodeOf(err) != CodeUnknown {
			t.Errorf("%q: got %v, want a client's error with code unknown", name, err)
		}
	}
	// A later option may bring the compression.
	newHandlerConfig("/s/m", StreamTypeUnary, []HandlerOption{
		WithCompressionOrder("br"), WithCompression("br", newGzip().newDecompressor, newGzip().newCompressor)})
}

// TestAccepts: which compressions a client takes.
func TestAccepts(t *testing.T) {
	cs := orderedConfig("br zstd").compressions
	for _, c := range []struct {
		accept string
		want   string // of br, gzip and zstd
	}{
		{"gzip", "gzip"},
		{"GZIP, br;q=0.1", "br gzip"},
		{"gzip;q=0", ""},
		{"*", "br gzip zstd"},
		{"*, gzip;q=0", "br zstd"},
		{"*;q=0, gzip", "gzip"},
		{"identity", ""},
		{"", "zstd"}, // no header: that of the request
	} {
		var accept []string
		if c.accept != "" {
			accept = []string{c.accept}
		}
		used, _ := cs.get("zstd")
		var got []string
		for _, name := range []string{"br", "gzip", "zstd"} {
			if found, _ := cs.get(name); cs.accepts(accept, used, found) {
				got = append(got, name)
			}
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%q: got %q, want %q", c.accept, got, c.want)
		}
	}
}
