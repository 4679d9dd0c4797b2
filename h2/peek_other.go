// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package h2

import "net"

// canPeek reports that there is no way to look at a socket's bytes without taking them.
func canPeek(net.Conn) bool { return false }

func peekPreface(net.Conn) (greets bool, err error) { panic("h2: peekPreface without canPeek") }
