// SPDX-License-Identifier: Apache-2.0

// Limits of calls in a time, for each key of a bounded table.

package overload

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	keysMax = 10_000 // of a table
	keyMax  = 128    // bytes of a key in a table

	waitMost = 24 * time.Hour // that a client is told, also if it is refused again then
)

// A Key returns the key of a call whose calls count together, such as a peer or a tenant.
// It may return "", which is a key as any other. Calls may come from several goroutines at
// once, and c is valid during the call only.
type Key func(c *Call) string

// ByPeer is a [Key]: the client's IP address, and of an IPv6 address the first 64 bits,
// because a single client has all addresses that begin with them. Behind a proxy all calls
// are the proxy's: write a Key that reads the field in which the proxy names the client, and
// which it sets, whatever the client has sent in it.
func ByPeer(c *Call) string {
	host, _, err := net.SplitHostPort(c.Peer)
	if err != nil {
		return c.Peer // a socket without ports
	}
	if strings.IndexByte(host, ':') < 0 {
		return host
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if addr = addr.Unmap().WithZone(""); addr.Is4() {
		return addr.String()
	}
	prefix, _ := addr.Prefix(64)
	return prefix.String()
}

// ByField returns a [Key]: the first value of a field of the header, such as "x-tenant".
func ByField(name string) Key {
	check(name != "", "ByField(\"\"): expected the name of a field")
	return func(c *Call) string { return c.Field(name) }
}

// Rate limits the calls of each key to perSecond, and to burst at once after a pause.
// Streams count when they begin. key is [ByPeer], [ByField] or a function of the program;
// nil counts all calls together. Several rates hold together, in the order of the
// options: a call that a later one refuses counts for the earlier ones.
//
// The table of a rate has the 10 000 keys that were used last. A key that is not among
// them begins anew, with the whole burst.
func Rate(perSecond float64, burst int, key Key) Option {
	check(perSecond > 0 && burst >= 1, "Rate(%v, %d): expected a positive rate and a burst of at least 1", perSecond, burst)
	return func(l *Limiter) { l.rates = append(l.rates, newRates(perSecond, burst, key)) }
}

// rates has a bucket of tokens for each key. mu guards the table.
type rates struct {
	perSecond float64
	burst     int
	key       Key // nil: one bucket for all calls
	text      error

	mu    sync.Mutex
	table map[string]*bucket
	order bucket // a ring: next was used last, prev first
}

// A bucket is an element of the ring.
type bucket struct {
	limiter    *rate.Limiter
	key        string
	prev, next *bucket
}

func newRates(perSecond float64, burst int, key Key) *rates {
	r := &rates{perSecond: perSecond, burst: burst, key: key, table: make(map[string]*bucket)}
	whose := "all clients together make"
	if key != nil {
		whose = "the client makes"
	}
	r.text = fmt.Errorf("%s more than %v calls a second (burst %d): call again later, as the error's metadata says", whose, perSecond, burst)
	r.order.prev, r.order.next = &r.order, &r.order
	return r
}

// take takes a token for a call. If there is none, it returns when there will be one.
func (r *rates) take(c *Call) (wait time.Duration) {
	limiter := r.find(r.keyOf(c))
	now := time.Now()
	if limiter.AllowN(now, 1) {
		return 0
	}
	missing := 1 - limiter.TokensAt(now)
	seconds := min(missing/r.perSecond, waitMost.Seconds()) // the rate may be next to nothing
	return max(time.Duration(seconds*float64(time.Second)), time.Millisecond)
}

// giveBack undoes a take that returned 0.
func (r *rates) giveBack(c *Call) { r.find(r.keyOf(c)).AllowN(time.Now(), -1) }

// keyOf returns the key of a call as it is in the table.
func (r *rates) keyOf(c *Call) string {
	if r.key == nil {
		return ""
	}
	key := r.key(c)
	if len(key) > keyMax {
		sum := sha256.Sum256([]byte(key))
		key = string(sum[:])
	}
	return key
}

// find returns the limiter of a key, and makes it the one that was used last.
func (r *rates) find(key string) *rate.Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.table[key]
	switch {
	case b == nil && len(r.table) >= keysMax:
		b = r.order.prev
		delete(r.table, b.key)
		b.unlink()
		*b = bucket{limiter: rate.NewLimiter(rate.Limit(r.perSecond), r.burst)}
	case b == nil:
		b = &bucket{limiter: rate.NewLimiter(rate.Limit(r.perSecond), r.burst)}
	case b == r.order.next:
		return b.limiter
	default:
		b.unlink()
	}
	if b.key == "" && key != "" {
		b.key = strings.Clone(key) // not the whole header of which it may be a part
	}
	r.table[b.key] = b
	b.prev, b.next = &r.order, r.order.next
	b.prev.next, b.next.prev = b, b
	return b.limiter
}

func (b *bucket) unlink() { b.prev.next, b.next.prev = b.next, b.prev }
