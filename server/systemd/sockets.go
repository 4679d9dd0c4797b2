// SPDX-License-Identifier: Apache-2.0

// Sockets that systemd has opened. The process gets them once, so the package holds those
// that the program has not taken yet.

package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	firstFD = 3         // SD_LISTEN_FDS_START
	unnamed = "unknown" // of sockets when LISTEN_FDNAMES is unset
)

// ErrNone is the error of [Take] and [TakeAll] when systemd has passed no socket, or when
// all that match are taken.
var ErrNone = errors.New("systemd: no such socket")

// A socket is a listener and its name.
type socket struct {
	net.Listener
	name string
}

// left has the sockets that nothing has taken.
var left struct {
	sync.Mutex
	read    bool // the environment was read
	sockets []socket
	err     error // of reading the environment
}

// Take returns the listeners of the sockets with a name, in the order in which systemd has
// passed them: that of FileDescriptorName= in the socket's unit, by default the unit's name
// with ".socket" at its end. The caller owns them: later calls do not return them again.
//
// Take fails with [ErrNone] if there is no such socket, and with another error if the
// environment or a descriptor is invalid. It is safe for concurrent use.
func Take(name string) ([]net.Listener, error) {
	return take(func(s socket) bool { return s.name == name }, fmt.Sprintf("the name %q", name))
}

// TakeAll is Take for the sockets of all names.
func TakeAll() ([]net.Listener, error) {
	return take(func(socket) bool { return true }, "any name")
}

func take(matches func(socket) bool, wanted string) ([]net.Listener, error) {
	left.Lock()
	defer left.Unlock()
	if !left.read {
		left.read = true
		left.sockets, left.err = fromEnvironment()
	}
	if left.err != nil {
		return nil, left.err
	}
	var taken []net.Listener
	var names []string
	for _, s := range left.sockets {
		if matches(s) {
			taken = append(taken, s.Listener)
		}
		names = append(names, s.name)
	}
	if len(taken) == 0 {
		return nil, fmt.Errorf("%w: expected one with %s, and there are %d not taken yet: %q; name it with FileDescriptorName= in the socket's unit", ErrNone, wanted, len(names), names)
	}
	left.sockets = slices.DeleteFunc(left.sockets, matches)
	return taken, nil
}

// fromEnvironment reads the variables, removes them, and makes the listeners.
func fromEnvironment() ([]socket, error) {
	variables := make(map[string]string)
	for _, name := range []string{"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if value, ok := os.LookupEnv(name); ok {
			variables[name] = value
			_ = os.Unsetenv(name)
		}
	}
	names, err := parse(variables, os.Getpid())
	if err != nil {
		return nil, err
	}
	return openAll(names, listenerOf)
}

// openAll makes the listeners of the sockets with these names. If one fails it closes those
// before it.
func openAll(names []string, open func(fd int, name string) (net.Listener, error)) ([]socket, error) {
	var sockets []socket
	for i, name := range names {
		l, err := open(firstFD+i, name)
		if err != nil {
			for _, s := range sockets {
				_ = s.Close()
			}
			return nil, fmt.Errorf("systemd: taking the socket %q, file descriptor %d: %w", name, firstFD+i, err)
		}
		sockets = append(sockets, socket{l, name})
	}
	return sockets, nil
}

// parse returns the names of the sockets that the variables describe. pid is this process.
func parse(variables map[string]string, pid int) ([]string, error) {
	owner, ok := variables["LISTEN_PID"]
	if !ok {
		return nil, nil
	}
	number, err := strconv.Atoi(owner)
	if err != nil || number <= 0 {
		return nil, fmt.Errorf("systemd: LISTEN_PID is %q, expected the number of a process", owner)
	}
	if number != pid {
		return nil, nil // a parent's variables
	}
	count, err := strconv.Atoi(variables["LISTEN_FDS"])
	if err != nil || count < 0 || count > maxSockets {
		return nil, fmt.Errorf("systemd: LISTEN_FDS is %q, expected the number of sockets, at most %d", variables["LISTEN_FDS"], maxSockets)
	}
	list, ok := variables["LISTEN_FDNAMES"]
	if !ok {
		return slices.Repeat([]string{unnamed}, count), nil
	}
	var names []string
	if list != "" || count > 0 {
		names = strings.Split(list, ":")
	}
	if len(names) != count {
		return nil, fmt.Errorf("systemd: LISTEN_FDNAMES has %d names and LISTEN_FDS is %d, expected as many", len(names), count)
	}
	return names, nil
}

// maxSockets bounds the work for a LISTEN_FDS that makes no sense. It is more than systemd
// lets a process have open by default.
const maxSockets = 1 << 19
