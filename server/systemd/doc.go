// SPDX-License-Identifier: Apache-2.0

// Package systemd takes the listening sockets that systemd passes to a service, and reports
// the service's state to it. Package server uses it for addresses that begin with
// "systemd:"; programs with servers of their own can use it alone.
//
// systemd opens the sockets of a .socket unit and keeps them while the service restarts:
// clients that connect in between wait, and none is refused. A service on a port below 1024
// then needs no privilege.
//
// # Sockets
//
// The protocol is that of sd_listen_fds_with_names(3): the environment variables
// LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES describe the file descriptors from number 3 on.
// [Take] and [TakeAll] read them at their first call, remove them from the environment, and
// set close-on-exec on the descriptors, so that no child process inherits either. If
// LISTEN_PID is unset or names another process, there are no sockets. Values that make no
// sense, and descriptors that are no listening stream sockets, are errors of each call; the
// program keeps descriptors that the package does not understand as they are.
//
// # State
//
// [Notify] speaks the protocol of sd_notify(3), for units with Type=notify.
package systemd
