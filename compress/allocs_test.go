// SPDX-License-Identifier: Apache-2.0

//go:build !race

// Allocation budgets. The race detector makes pools forget at random.

package compress_test

import (
	"bytes"
	"io"
	"testing"
)

// A decompressor that keeps its decoder makes few allocations per message.
func TestReuseSavesAllocations(t *testing.T) {
	each(t, func(t *testing.T, f format) {
		packed := pack(t, f.compress(), text(20_000))
		d, source, buf := f.decompress(), bytes.NewReader(nil), make([]byte, 32<<10)
		allocations := testing.AllocsPerRun(50, func() {
			source.Reset(packed)
			_ = d.Reset(source)
			for {
				if _, err := d.Read(buf); err == io.EOF {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			_ = d.Close()
		})
		// brotli makes its context maps anew for each block.
		if limit := map[string]float64{"br": 20}[f.name]; allocations > limit+2 {
			t.Errorf("got %v allocations per message, want at most %v", allocations, limit+2)
		}
	})
}
