// SPDX-License-Identifier: Apache-2.0

// The process on the other side of a Unix socket.

package connect

import (
	"context"
	"net"
)

// UnixCredentials are those of the process on the other side of a Unix socket, as they
// were when it connected. The system vouches for them; a process that has passed the
// socket on to another one is still the one that they name.
type UnixCredentials struct {
	// UID and GID are the effective user and group.
	UID, GID uint32
	// PID is the process, 0 if it is not visible from this one's namespace. A
	// process may have ended, and its number may belong to another one since.
	PID int32
}

// unixKey is the key of the *UnixCredentials in the context of a connection.
type unixKey struct{}

// UnixConnContext makes the credentials of clients known to [Peer.Unix]: it is for
// [http.Server.ConnContext], and a function there can call it. It asks the system once
// for each connection. For connections that are not Unix sockets, and on systems other
// than Linux, it returns ctx.
func UnixConnContext(ctx context.Context, conn net.Conn) context.Context {
	credentials, ok := UnixCredentialsOf(conn)
	if !ok {
		return ctx
	}
	return context.WithValue(ctx, unixKey{}, &credentials)
}

// UnixCredentialsOf returns the credentials of the process on the other side of a Unix
// socket, also below TLS. It returns false if conn is none, on systems other than
// Linux, and if the system has none. A client can call it where it dials, to refuse a
// server that another user runs.
func UnixCredentialsOf(conn net.Conn) (UnixCredentials, bool) {
	for conn != nil {
		below, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = below.NetConn()
	}
	if conn == nil || !isUnix(conn.LocalAddr()) {
		return UnixCredentials{}, false // other sockets have no credentials, and Linux does not refuse the question
	}
	return peerCredentials(conn)
}

// isUnix reports whether an address is that of a Unix socket.
func isUnix(addr net.Addr) bool {
	switch addr := addr.(type) {
	case nil, *net.TCPAddr: // without a call
		return false
	case *net.UnixAddr:
		return addr != nil
	default:
		network := addr.Network()
		return network == "unix" || network == "unixpacket"
	}
}
