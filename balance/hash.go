// SPDX-License-Identifier: Apache-2.0

// Hashes that are the same in all processes.

package balance

import "math/bits"

// The parameters of FNV-1a with 64 bits (draft-eastlake-fnv, section 5).
const (
	fnvOffset = 0xcbf29ce484222325
	fnvPrime  = 0x100000001b3
)

// fnv1a returns the hash FNV-1a of a text. hash/maphash has another seed in each process,
// and clients must agree. XXH64 would be faster for texts of hundreds of bytes; keys have
// about ten, and this is three lines that any language has.
func fnv1a(s string) uint64 {
	h := uint64(fnvOffset)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return h
}

// mix is a bijection in which each bit of the result depends on all bits of x: a product
// of FNV-1a's has low bits that depend on few, and equal high bits for short texts.
func mix(x uint64) uint64 {
	x ^= x >> 32
	x *= golden
	x ^= bits.RotateLeft64(x, 25) ^ bits.RotateLeft64(x, 47)
	x *= 0xd6e8feb86659fd93
	return x ^ x>>32
}

// hashKey returns the hash of a call's key.
func hashKey(key string) uint64 { return mix(fnv1a(key)) }

// id returns a hash of the endpoint's address.
func (e *endpoint) id() uint64 {
	if h := e.hash.Load(); h != 0 {
		return h
	}
	h := max(hashKey(e.Addr), 1)
	e.hash.Store(h)
	return h
}
