// SPDX-License-Identifier: Apache-2.0

// Systems without systemd.

//go:build !unix

package systemd

import (
	"errors"
	"net"
)

func listenerOf(int, string) (net.Listener, error) { return nil, errors.ErrUnsupported }
