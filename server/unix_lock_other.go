// SPDX-License-Identifier: Apache-2.0

// Systems without flock.

//go:build !unix || solaris || illumos || aix

package server

import "time"

func lockFolder(string, time.Duration) (unlock func(), err error) { return func() {}, nil }
