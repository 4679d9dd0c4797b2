// SPDX-License-Identifier: Apache-2.0

// Systems that do not report CPU time.

//go:build !unix

package overload_test

import "time"

func cpuTime() time.Duration { return 0 }
