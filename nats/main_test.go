// SPDX-License-Identifier: Apache-2.0

// The check of all tests for goroutines that are left behind. Tests that need a NATS server
// are in internal/natstest.

package natsrpc

import (
	"testing"

	"github.com/seed-b7c59c10/connect/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
