// SPDX-License-Identifier: Apache-2.0

// This file compares the results of the exported functions that need no server.

package compat

import (
	"testing"

	"github.com/seed-b7c59c10/connect/internal/compat/ours"
	"github.com/seed-b7c59c10/connect/internal/compat/theirs"
)

func TestValues(t *testing.T) {
	judge(t, theirs.Values().Lines, ours.Values().Lines)
}
