// SPDX-License-Identifier: Apache-2.0

// Clients that are made while others call.

package consul_test

import (
	"fmt"
	"sync"
	"testing"
)

// TestOptionsAtOnce makes the options of many hosts at once. The race detector decides.
func TestOptionsAtOnce(t *testing.T) {
	web := newService(t, newAgent(t), "web")
	var making sync.WaitGroup
	for i := range 8 {
		making.Go(func() {
			for j := range 4 {
				web.Options(fmt.Sprintf("https://s%d-%d.service.consul", i, j))
			}
		})
	}
	making.Wait()
}
