// SPDX-License-Identifier: Apache-2.0

// Answers to questions of NATS's tools, for many services.

package natsrpc

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// The answer to INFO fits into a message: without schemas, if there are too many.
func TestInfoFits(t *testing.T) {
	const limit = 1 << 20
	for _, n := range []int{1, 6, 30} {
		var c config
		c.discoveryName, c.prefix, c.queue = "a", defaultPrefix, defaultQueue
		for i := range n {
			c.services = append(c.services, fmt.Sprintf("a.S%d", i))
		}
		d := newDiscovery(c)
		for _, e := range d.endpoints {
			e.info.Metadata["schema"] = strings.Repeat("x", schemaMax*4/3)
		}
		info := d.info(limit)
		data, err := json.Marshal(info)
		if err != nil || len(data) > limit || len(info.Endpoints) != n {
			t.Errorf("%d services: got %d bytes for %d and error %v, want at most %d", n, len(data), len(info.Endpoints), err, limit)
		}
		if got, want := len(data) > schemaMax, n < 30; got != want {
			t.Errorf("%d services: got schemas: %v, want %v", n, got, want)
		}
	}
}
