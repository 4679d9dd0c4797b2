// SPDX-License-Identifier: Apache-2.0

// Writing to a socket without waiting: not possible on this system.

//go:build !unix

package h2

import "net"

func newTryWriter(net.Conn) tryWriter { return nil }
