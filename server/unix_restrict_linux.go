// SPDX-License-Identifier: Apache-2.0

// The mode that a Unix socket's file begins with, on Linux.

package server

import "syscall"

// restrict sets the mode of a socket that is not bound: bind gives it to the file.
func restrict(fd uintptr) { _ = syscall.Fchmod(int(fd), uint32(defaultMode)) }
