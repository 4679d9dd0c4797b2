// SPDX-License-Identifier: Apache-2.0

// The bytes that have arrived and that the program has not read.

package natsrpc

// A buffer is a queue of bytes. The window bounds the bytes, and because small parts that
// follow others are copied together, also the memory: a peer that sends single bytes costs
// about as much as one that sends large frames. It has no lock.
type buffer struct {
	parts [][]byte
	off   int // how much of the first part was read
	own   int // free bytes at the end of the last part, if that is a copy
}

// partSize is the size of the copies. Larger parts, and a first one, are kept as they came.
const partSize = 4 << 10

// add appends p, which must not change any more.
func (b *buffer) add(p []byte) {
	for len(p) > 0 {
		switch {
		case b.own > 0 && (len(p) < partSize || len(p) <= b.own):
			last := b.parts[len(b.parts)-1]
			n := min(b.own, len(p))
			b.parts[len(b.parts)-1] = append(last, p[:n]...)
			b.own -= n
			p = p[n:]
		case len(p) >= partSize || len(b.parts) == 0:
			b.parts = append(b.parts, p)
			b.own = 0
			return
		default:
			b.parts = append(b.parts, make([]byte, 0, partSize))
			b.own = partSize
		}
	}
}

// read moves bytes to p.
func (b *buffer) read(p []byte) (n int) {
	for n < len(p) && len(b.parts) > 0 {
		m := copy(p[n:], b.parts[0][b.off:])
		n += m
		if b.off += m; b.off == len(b.parts[0]) {
			b.parts[0] = nil
			b.parts, b.off = b.parts[1:], 0
			if len(b.parts) == 0 {
				b.drop()
			}
		}
	}
	return n
}

// drop removes all bytes and frees the memory.
func (b *buffer) drop() { *b = buffer{} }
