// SPDX-License-Identifier: Apache-2.0

// Reports of the service's state, as sd_notify(3) sends them.

package systemd

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// The states that most services report.
const (
	Ready    = "READY=1"    // the service has started
	Stopping = "STOPPING=1" // the service ends
)

// notifyWait bounds the time for a socket that takes no datagram.
const notifyWait = time.Second

// Notify sends states, such as [Ready] or "STATUS=7 calls", to the socket that the
// environment variable NOTIFY_SOCKET names: a path, or the name of an abstract socket after
// "@". It returns false and no error if the variable is unset, as for units without
// Type=notify. It waits for at most a second, and is safe for concurrent use.
func Notify(states ...string) (sent bool, err error) {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" || len(states) == 0 {
		return false, nil
	}
	if address[0] != '/' && address[0] != '@' {
		return false, fmt.Errorf("systemd: NOTIFY_SOCKET is %q, expected an absolute path, or an abstract socket's name after \"@\"", address)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return false, fmt.Errorf("systemd: opening NOTIFY_SOCKET: %w", err)
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(notifyWait)); err != nil {
		return false, fmt.Errorf("systemd: sending to NOTIFY_SOCKET: %w", err)
	}
	if _, err := conn.Write([]byte(strings.Join(states, "\n"))); err != nil {
		return false, fmt.Errorf("systemd: sending to NOTIFY_SOCKET: %w", err)
	}
	return true, nil
}
